//! A life that follows another without a gap: the old one's entries are to be seen until the new one's are. R4.

use super::common::peer::Peer;
use super::common::replay::Replay;
use super::common::{drain, life, listed, told};
use headcount::replica::{ApplyError, Joined};
use headcount::{Filter, NodeId, NodeState, Session};

const A: NodeId = NodeId(1);

/// One that holds the first life of another, with two entries, and the second life of that with three, two of them the same.
fn restarted() -> (Peer, (Peer, Session), (Peer, Session)) {
    let (old, new, b) = (Peer::living(1, 1, 2), Peer::living(1, 2, 4), Peer::new(2, 2));
    let (on_old, on_new) = (old.tracker.session(), new.tracker.session());
    for (topic, key) in [("room", "alice"), ("lobby", "bob")] {
        on_old.track(topic, key, "old").unwrap();
        on_new.track(topic, key, "new").unwrap();
    }
    on_new.track("room", "carol", "new").unwrap();
    b.pull(&old);
    (b, (old, on_old), (new, on_new))
}

fn succeed(b: &Peer, epoch: u32, lanes: u16) -> Joined {
    b.replica.origin_succeed(A, "a", life(epoch), lanes).unwrap()
}

/// Everything of both lives' topics.
fn all(b: &Peer) -> Vec<String> {
    let mut all = [listed(&b.tracker, "room"), listed(&b.tracker, "lobby")].concat();
    all.sort();
    all
}

fn purged(b: &Peer) {
    while b.replica.maintain(1) {}
    assert_eq!(b.tracker.stats().origins_purging, 0);
}

#[test]
fn r4_a_life_that_succeeds_another_takes_its_place_in_one_go() {
    let (b, (old, _on_old), (new, on_new)) = restarted();
    let mut events = b.tracker.subscribe(Filter::all());
    let mut replay = Replay::of(&mut b.tracker.subscribe(Filter::all()));
    assert_eq!(succeed(&b, 2, 4), Joined::Succeeded);
    assert_eq!(succeed(&b, 2, 4), Joined::Known);
    b.pull(&new);
    assert!(told(&mut events).is_empty(), "nobody is told anything yet");
    assert_eq!(all(&b), ["alice=old", "bob=old"]);
    assert_eq!(b.tracker.node(A).unwrap().incarnation, life(2));
    assert_eq!(b.replica.state_of(A), Some(NodeState::Down), "until it is shown");
    let late = old.replica.delta(0, 0, usize::MAX).unwrap();
    assert_eq!(b.apply(&old, &late), Err(ApplyError::Incarnation { known: life(2) }), "the old one is over");
    // A subscription that begins meanwhile has what is to be seen.
    let mut later = b.tracker.subscribe(Filter::all());
    assert_eq!(later.take_snapshot().len(), 2);

    b.replica.origin_state(A, NodeState::Up);
    assert_eq!(all(&b), ["alice=new", "bob=new", "carol=new"]);
    replay.nodes.insert((A, life(1)));
    let happened = drain(&mut events);
    happened.iter().for_each(|event| replay.take(event));
    replay.assert_settled();
    assert_eq!(replay.nodes.iter().map(|&(_, life)| life).collect::<Vec<_>>(), [life(2)]);
    assert_eq!(replay.entries.len(), 3);
    let lines = told(&mut later);
    assert_eq!(lines.len(), 3 + 2 + 2, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("first") || line.contains("empty")), "{lines:?}");
    assert_eq!(lines[5..], ["down 1.1", "up 1.2"]);
    let joined = |line: &String| line.starts_with('+');
    assert!(lines[..3].iter().all(joined), "who comes is there before who goes: {lines:?}");
    on_new.track("room", "dave", "").unwrap();
    b.pull(&new);
    assert_eq!(told(&mut later), ["+dave="]);
    purged(&b);
    assert_eq!(b.tracker.stats().entries, 4);
}

#[test]
fn a_successor_that_goes_down_or_is_forgotten_takes_the_life_before_it_along() {
    for forget in [true, false] {
        let (b, _old, (new, _on_new)) = restarted();
        let mut events = b.tracker.subscribe(Filter::all());
        succeed(&b, 2, 4);
        b.pull(&new);
        if forget {
            assert!(b.replica.forget(A));
        } else {
            b.replica.origin_state(A, NodeState::Down);
        }
        assert!(all(&b).is_empty());
        let mut lines = told(&mut events);
        lines.retain(|line| !line.contains("empty"));
        lines.sort_unstable();
        assert_eq!(lines, ["-alice=old", "-bob=old", "down 1.1"], "the new one was never there");
        if !forget {
            b.replica.origin_state(A, NodeState::Up);
            assert_eq!(all(&b), ["alice=new", "bob=new", "carol=new"]);
        }
        purged(&b);
    }
}

#[test]
fn a_successor_of_a_successor_that_was_not_shown_yet_takes_its_place() {
    let (b, _old, (new, _on_new)) = restarted();
    let mut events = b.tracker.subscribe(Filter::all());
    assert_eq!(succeed(&b, 2, 4), Joined::Succeeded);
    b.pull(&new);
    let third = Peer::living(1, 3, 1);
    let session = third.tracker.session();
    session.track("room", "alice", "third").unwrap();
    assert_eq!(succeed(&b, 3, 1), Joined::Succeeded);
    b.pull(&third);
    assert!(told(&mut events).is_empty());
    assert_eq!(all(&b), ["alice=old", "bob=old"]);
    b.replica.origin_state(A, NodeState::Up);
    assert_eq!(all(&b), ["alice=third"]);
    assert!(told(&mut events).iter().all(|line| !line.contains("new") && !line.contains("1.2")));
    purged(&b);
    assert_eq!(b.tracker.stats().entries, 1);
}

#[test]
fn there_is_nothing_to_succeed_to_if_nobody_was_to_be_seen() {
    let (b, _old, (new, _on_new)) = restarted();
    b.replica.origin_state(A, NodeState::Down);
    assert_eq!(succeed(&b, 2, 4), Joined::Replaced);
    b.pull(&new);
    assert_eq!(all(&b), ["alice=new", "bob=new", "carol=new"], "it is shown at once");
    assert_eq!(b.replica.origin_succeed(NodeId(7), "g", life(1), 1), Ok(Joined::New));
    // An ordinary join ends a succession.
    assert_eq!(succeed(&b, 3, 1), Joined::Succeeded);
    assert_eq!(b.replica.origin_join(A, "a", life(4), 1), Ok(Joined::Replaced));
    assert!(all(&b).is_empty());
    purged(&b);
}

#[test]
fn successions_give_way_when_numbers_for_lives_run_out() {
    let b = Peer::with(headcount::Config::default().node(NodeId(2)).origins_max(2).build().unwrap());
    for round in 1..20 {
        for id in [1, 3] {
            b.replica.origin_succeed(NodeId(id), "x", life(round), 1).unwrap();
            if round % 3 == 0 {
                b.replica.origin_state(NodeId(id), NodeState::Up);
            }
        }
    }
    purged(&b);
    assert_eq!(b.tracker.stats().nodes_remote, 2);
}
