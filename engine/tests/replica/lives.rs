//! ST19, ST20 and R4: lives of nodes, and which of them count.

use super::common::peer::Peer;
use super::common::{drain, life, listed, told, view};
use headcount::replica::{ApplyError, Joined, OriginError};
use headcount::{Config, EventKind, Filter, Incarnation, NodeId, NodeState};

const A: NodeId = NodeId(1);

#[test]
fn a_node_is_met_once_per_life() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let mut events = b.tracker.subscribe(Filter::nodes());
    assert_eq!(b.meet(&a), Joined::New);
    assert_eq!(b.meet(&a), Joined::Known);
    assert_eq!(told(&mut events), ["up 1.1"]);
    let node = b.tracker.node(A).unwrap();
    assert_eq!(
        (&node.name[..], node.incarnation, node.state, node.entries),
        ("met", life(1), NodeState::Up, 0)
    );
    assert!(node.heard_age.is_some());
    b.replica.origin_heard(A);
    b.replica.origin_heard(NodeId(9));
    assert_eq!(b.replica.highest_incarnation(A), Some(life(1)));
    assert_eq!(b.replica.highest_incarnation(NodeId(9)), None);
    assert_eq!(b.tracker.nodes().len(), 2);
}

#[test]
fn what_cannot_be_met_is_refused_and_nothing_changes() {
    let b = Peer::with(Config::default().node(NodeId(2)).origins_max(2).build().unwrap());
    let join = |id, epoch, lanes| b.replica.origin_join(NodeId(id), "x", life(epoch), lanes);
    assert_eq!(join(2, 9, 1), Err(OriginError::IsLocal));
    assert_eq!(join(1, 1, 0), Err(OriginError::Lanes { lanes: 0 }));
    assert_eq!(join(1, 1, 257), Err(OriginError::Lanes { lanes: 257 }));
    assert!(b.replica.state_of(A).is_none());
    assert_eq!(join(1, 1, 256), Ok(Joined::New));
    assert_eq!(join(3, 1, 1), Ok(Joined::New));
    assert_eq!(join(4, 1, 1), Err(OriginError::TooMany { max: 2 }));
    assert_eq!(join(3, 2, 1), Ok(Joined::Replaced), "a later life of a known node needs no room");
    assert!(b.replica.forget(A));
    assert_eq!(join(4, 1, 1), Ok(Joined::New), "a forgotten one makes room");
    assert_eq!(b.tracker.stats().nodes_remote, 2);
}

#[test]
fn st19_an_older_incarnation_never_wins_over_a_newer_one() {
    let (old, new, b) = (Peer::living(1, 1, 2), Peer::living(1, 2, 1), Peer::new(2, 2));
    let (on_old, on_new) = (old.tracker.session(), new.tracker.session());
    on_old.track("room", "old", "").unwrap();
    on_new.track("room", "new", "").unwrap();
    let said_by_old = old.replica.delta(on_old.entries()[0].entry_ref().lane, 0, usize::MAX).unwrap();
    b.pull(&new);
    let mut events = b.tracker.subscribe(Filter::all());
    let stale = b.replica.origin_join(A, "a", life(1), 2);
    assert_eq!(stale, Err(OriginError::Stale { highest: life(2) }));
    assert_eq!(b.apply(&old, &said_by_old), Err(ApplyError::Incarnation { known: life(2) }));
    let snapshot = old.replica.snapshot(said_by_old.lane()).unwrap();
    assert_eq!(b.take(&old, &snapshot, 0, 9), Err(ApplyError::Incarnation { known: life(2) }));
    assert!(drain(&mut events).is_empty());
    assert_eq!(listed(&b.tracker, "room"), ["new="]);

    // Not by the number of its clock, not by its nonce, and not after being forgotten either.
    let nonce = Incarnation { epoch: 2, nonce: 6 };
    assert_eq!(b.replica.origin_join(A, "a", nonce, 1), Err(OriginError::Stale { highest: life(2) }));
    b.replica.forget(A);
    b.replica.maintain(usize::MAX);
    assert_eq!(b.replica.highest_incarnation(A), Some(life(2)));
    assert_eq!(b.replica.origin_join(A, "a", life(1), 2), Err(OriginError::Stale { highest: life(2) }));
    assert_eq!(b.apply(&old, &said_by_old), Err(ApplyError::UnknownOrigin));
    assert_eq!(b.replica.origin_join(A, "a", life(2), 1), Ok(Joined::New), "the same life may come back");
}

#[test]
fn st19_the_fence_grows_with_every_life_that_was_seen() {
    let b = Peer::new(2, 1);
    for epoch in [3, 5] {
        b.replica.origin_join(A, "a", life(epoch), 1).unwrap();
        b.replica.forget(A);
    }
    assert_eq!(b.replica.highest_incarnation(A), Some(life(5)));
    for epoch in 0..5 {
        let stale = b.replica.origin_join(A, "a", life(epoch), 1);
        assert_eq!(stale, Err(OriginError::Stale { highest: life(5) }));
    }
    assert_eq!(b.replica.origin_join(A, "a", life(6), 1), Ok(Joined::New));
}

#[test]
fn r4_nothing_of_an_old_life_is_listed_once_a_later_one_is_met() {
    let (old, new, b) = (Peer::living(1, 1, 4), Peer::living(1, 2, 2), Peer::new(2, 2));
    let (on_old, on_new) = (old.tracker.session(), new.tracker.session());
    for key in ["a", "b", "c"] {
        on_old.track("room", key, "old").unwrap();
    }
    on_new.track("room", "a", "new").unwrap();
    b.pull(&old);
    let mut events = b.tracker.subscribe(Filter::all());
    assert_eq!(b.meet(&new), Joined::Replaced);
    let lines = told(&mut events);
    assert_eq!(lines, ["-a=old", "-b=old", "-c=old", "empty room", "down 1.1", "up 1.2"]);
    assert!(b.tracker.is_empty());
    // The old entries wait hidden, the new ones join beside them.
    b.pull(&new);
    assert_eq!(told(&mut events), ["first room", "+a=new"]);
    assert_eq!(b.tracker.stats().entries, 4);
    assert_eq!(b.tracker.get("room", "a"), new.tracker.get("room", "a"));
    b.replica.origin_state(A, NodeState::Down);
    b.replica.origin_state(A, NodeState::Up);
    assert_eq!(told(&mut events), ["-a=new", "empty room", "down 1.2", "first room", "+a=new", "up 1.2"]);
    assert!(!b.replica.maintain(usize::MAX));
    assert_eq!((b.tracker.stats().entries, b.tracker.len()), (1, 1));
    assert_eq!(view(&b.tracker), view(&new.tracker));
}

#[test]
fn a_life_that_ends_while_down_is_not_told_down_twice() {
    let b = Peer::new(2, 1);
    let mut events = b.tracker.subscribe(Filter::nodes());
    b.replica.origin_join(A, "a", life(1), 1).unwrap();
    b.replica.origin_state(A, NodeState::Down);
    b.replica.origin_join(A, "a", life(2), 1).unwrap();
    b.replica.forget(A);
    assert_eq!(told(&mut events), ["up 1.1", "down 1.1", "up 1.2", "down 1.2"]);
}

#[test]
fn node_events_go_to_who_asked_for_them() {
    let b = Peer::new(2, 1);
    let mut subscriptions = [
        b.tracker.subscribe(Filter::all()),
        b.tracker.subscribe(Filter::nodes()),
        b.tracker.subscribe(Filter::topic("room").with_nodes()),
        b.tracker.subscribe(Filter::topic("room")),
    ];
    b.replica.origin_join(A, "a", life(4), 1).unwrap();
    for (at, events) in subscriptions.iter_mut().enumerate() {
        let events = drain(events);
        assert_eq!(events.len(), usize::from(at < 3));
        for event in events {
            assert_eq!(event.kind, EventKind::NodeUp { node: A, incarnation: life(4) });
            assert_eq!((event.shard, event.version), (0, 0));
        }
    }
}

#[test]
fn a_resync_keeps_the_node_events_that_came_meanwhile() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    session.track("room", "alice", "").unwrap();
    let mut events = b.tracker.subscribe(Filter::all());
    b.pull(&a);
    let snapshot = events.resync();
    assert_eq!(snapshot, b.tracker.list("room"));
    assert!(drain(&mut events).is_empty());
    b.replica.origin_state(A, NodeState::Down);
    assert_eq!(told(&mut events), ["-alice=", "empty room", "down 1.1"]);
    assert!(events.resync().is_empty());
}

/// 10,000 lives of one node; what each costs in memory is measured in `memory.rs`.
#[test]
fn st20_ten_thousand_restarts_leave_nothing_behind() {
    let b = Peer::new(2, 4);
    let on_b = b.tracker.session();
    on_b.track("room", "bob", "").unwrap();
    let mut events = b.tracker.subscribe(Filter::nodes());
    for epoch in 1..=10_000 {
        let a = Peer::living(1, epoch, 1);
        let session = a.tracker.session();
        for key in ["x", "y"] {
            session.track("room", key, epoch.to_string()).unwrap();
        }
        b.pull(&a);
        assert!(!b.replica.maintain(usize::MAX));
        if epoch % 1000 == 0 || epoch < 3 {
            let stats = b.tracker.stats();
            assert_eq!(
                (stats.origins_purging, stats.nodes_remote, stats.entries, stats.topics),
                (0, 1, 3, 1)
            );
            assert_eq!(b.tracker.nodes().len(), 2);
            assert_eq!(listed(&b.tracker, "room"), ["bob=", &format!("x={epoch}"), &format!("y={epoch}")]);
            assert_eq!(b.replica.entries_of(A).len(), 2);
            assert_eq!(drain(&mut events).len(), if epoch == 1 { 1 } else { 2 * events_between(epoch) });
        }
    }
    assert_eq!(b.replica.highest_incarnation(A), Some(life(10_000)));
}

/// Lives since the last look.
fn events_between(epoch: u32) -> usize {
    match epoch {
        2 => 1,
        1000 => 998,
        _ => 1000,
    }
}
