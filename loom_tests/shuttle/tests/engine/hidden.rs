//! Other nodes that go down, come up, end and are purged, against reads and subscriptions.

use super::explore::{explore, random};
use super::stage::{meta, node, whole};
use crate::common::peer::Peer;
use crate::common::replay::Replay;
use crate::common::{life, view};
use headcount::{Filter, NodeId, NodeState, Session, Tracker};
use shuttle::thread;

const A: NodeId = NodeId(1);
const LOCAL: usize = 2;
const REMOTE: usize = 3;

fn living(id: u32, epoch: u32) -> Peer {
    let peer = Peer::with(node(id));
    peer.replica.set_identity(NodeId(id), "node", life(epoch));
    peer
}

fn fill(session: &Session, prefix: &str, entries: usize) {
    for at in 0..entries {
        let key = format!("{prefix}{at}");
        session.track("room", &key, meta(b"room", key.as_bytes(), 0, 8 + 60 * (at % 2))).unwrap();
    }
}

/// Two nodes, with entries of both in a topic of the second.
fn stage() -> (Peer, Peer, [Session; 2]) {
    let (a, b) = (living(1, 1), living(2, 1));
    let sessions = [a.tracker.session(), b.tracker.session()];
    fill(&sessions[0], "a", REMOTE);
    fill(&sessions[1], "b", LOCAL);
    b.pull(&a);
    (a, b, sessions)
}

/// Reads in every way: this node's entries are there, once; the other's at most once, whole, and with its name.
fn look(tracker: &Tracker, incarnations: &[u32]) {
    let mut seen = Vec::new();
    tracker.for_each("room", |entry| {
        whole(b"room", entry.key(), entry.meta());
        assert_eq!(entry.is_local(), entry.key()[0] == b'b', "whose is it? {entry:?}");
        if !entry.is_local() {
            let dot = entry.entry_ref();
            assert!(
                dot.node == A && incarnations.contains(&dot.incarnation.epoch),
                "a life that was not: {dot}"
            );
        }
        // Of two lives, one after the other, one read may see both.
        seen.push((entry.key().to_vec(), entry.entry_ref().incarnation));
    });
    for key in ["b0", "b1"] {
        assert_eq!(
            seen.iter().filter(|seen| seen.0 == key.as_bytes()).count(),
            1,
            "{key} is there throughout"
        );
        assert_eq!(tracker.get("room", key).len(), 1);
    }
    let listed = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), listed, "listed twice");
    assert!(tracker.get("room", "a0").len() <= 1);
}

/// While a node is hidden and shown, a count is that without or with all its entries and nothing between, reads show what they
/// must, and whoever subscribed before, or begins in the middle, arrives at the view by alternating joins and leaves.
#[test]
fn counts_are_exact_and_events_alternate_while_a_node_is_hidden_and_shown() {
    explore("counts_are_exact_and_events_alternate_while_a_node_is_hidden_and_shown", 300, || {
        let (_a, b, _sessions) = stage();
        let mut events = b.tracker.subscribe(Filter::topic("room"));
        let mut replay = Replay::of(&mut events);
        let ends = if random().below(2) == 0 { NodeState::Up } else { NodeState::Down };
        let mut later = thread::scope(|scope| {
            scope.spawn(|| {
                for state in [NodeState::Down, NodeState::Up, NodeState::Down, ends] {
                    b.replica.origin_state(A, state);
                }
            });
            scope.spawn(|| {
                for _ in 0..6 {
                    let count = b.tracker.count("room");
                    assert!(count == LOCAL || count == LOCAL + REMOTE, "a count of {count}");
                }
            });
            scope.spawn(|| {
                for _ in 0..2 {
                    look(&b.tracker, &[1]);
                }
            });
            let late = scope.spawn(|| {
                let mut events = b.tracker.subscribe(Filter::topic("room"));
                let replay = Replay::of(&mut events);
                (events, replay)
            });
            vec![late.join().unwrap()]
        });
        replay.drain(&mut events);
        for (events, replay) in later.iter_mut() {
            replay.drain(events);
        }
        for replay in [&replay, &later[0].1] {
            replay.assert_settled();
            assert_eq!(replay.entries, view(&b.tracker));
        }
        assert_eq!(b.tracker.count("room"), if ends == NodeState::Up { LOCAL + REMOTE } else { LOCAL });
        assert_eq!(b.tracker.snapshot("room").entries, b.tracker.list("room"));
    });
}

/// While a node's operations are applied and it goes down and comes up, subscribers arrive at the view, and the lanes agree in the end.
#[test]
fn what_is_applied_while_a_node_is_hidden_shows_when_it_is_back() {
    explore("what_is_applied_while_a_node_is_hidden_shows_when_it_is_back", 200, || {
        let (a, b, sessions) = stage();
        let mut events = b.tracker.subscribe(Filter::all());
        let mut replay = Replay::of(&mut events);
        replay.nodes.insert((A, life(1)));
        thread::scope(|scope| {
            scope.spawn(|| {
                for state in [NodeState::Down, NodeState::Up] {
                    b.replica.origin_state(A, state);
                }
            });
            scope.spawn(|| {
                for round in 1..4 {
                    sessions[0]
                        .update("room", "a0", meta(b"room", b"a0", round, 8 + 50 * round as usize))
                        .unwrap();
                    sessions[0].untrack("room", format!("a{round}")).unwrap();
                    fill_one(&sessions[0], &format!("a{}", round + 5));
                    b.pull(&a);
                }
            });
            scope.spawn(|| {
                for _ in 0..3 {
                    look(&b.tracker, &[1]);
                    replay.drain(&mut events);
                }
            });
        });
        b.pull(&a);
        replay.drain(&mut events);
        replay.assert_settled();
        assert_eq!(replay.entries, view(&b.tracker));
        assert!(b.agrees_with(&a));
        assert_eq!(view(&a.tracker).len() + LOCAL, view(&b.tracker).len());
    });
}

fn fill_one(session: &Session, key: &str) {
    session.track("room", key, meta(b"room", key.as_bytes(), 0, 8)).unwrap();
}

/// While lives end, are purged in slices and begin again under numbers and in slots that others had, reads never show a life
/// that was not, and what is there in the end is the last life's.
#[test]
fn lives_that_end_and_are_purged_are_never_mixed_up() {
    explore("lives_that_end_and_are_purged_are_never_mixed_up", 200, || {
        let (_a, b, _sessions) = stage();
        let mut events = b.tracker.subscribe(Filter::topic("room"));
        let mut replay = Replay::of(&mut events);
        let lives: Vec<(Peer, Session)> = (2..4)
            .map(|epoch| {
                let peer = living(1, epoch);
                let session = peer.tracker.session();
                fill(&session, "a", REMOTE);
                (peer, session)
            })
            .collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for (at, (peer, _)) in lives.iter().enumerate() {
                    if at == 1 {
                        b.replica.forget(A);
                    }
                    b.pull(peer);
                }
            });
            scope.spawn(|| {
                for _ in 0..4 {
                    b.replica.maintain(2);
                }
            });
            scope.spawn(|| {
                for _ in 0..3 {
                    look(&b.tracker, &[1, 2, 3]);
                    let count = b.tracker.count("room");
                    assert!((LOCAL..=LOCAL + REMOTE).contains(&count), "a count of {count}");
                }
            });
        });
        while b.replica.maintain(usize::MAX) {}
        replay.drain(&mut events);
        replay.assert_settled();
        assert_eq!(replay.entries, view(&b.tracker));
        assert_eq!(b.tracker.count("room"), LOCAL + REMOTE);
        assert!(b.agrees_with(&lives[1].0));
        let stats = b.tracker.stats();
        assert_eq!((stats.origins_purging, stats.entries), (0, LOCAL + REMOTE));
    });
}
