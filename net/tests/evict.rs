//! Entries that one node wants removed and another one owns.

use headcount::{EntryRef, Filter, Incarnation, NodeId, Tracker};
use headcount_net::{Cluster, Config, EvictError, Eviction, Interface};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

mod common;

use common::{PATIENCE, eventually, group};

fn join(group: SocketAddr, name: &str, obey: bool) -> (Tracker, Cluster) {
    let tracker = Tracker::new();
    let config = Config::new("test").node(name).multicast(group, Interface::Loopback).obey_evictions(obey);
    let cluster = config.join(&tracker).expect("joins");
    (tracker, cluster)
}

#[test]
fn the_owner_removes_an_entry_that_another_node_names_and_all_see_it_leave() {
    let group = group();
    let (a, cluster_a) = join(group, "a", true);
    let (b, cluster_b) = join(group, "b", false);
    let (c, _cluster_c) = join(group, "c", false);
    let session = a.session();
    let stale = session.track("room", "alice", "1").unwrap();
    let ghost = session.update("room", "alice", "2").unwrap();
    let others = [&b, &c];
    eventually("all see it", || {
        others.iter().all(|t| t.get("room", "alice").iter().any(|e| e.entry_ref() == ghost))
    });
    let mut events = a.subscribe(Filter::topic("room").without_snapshot());

    // A version that was replaced names nothing any more.
    assert_eq!(cluster_b.evict(stale, PATIENCE), Ok(Eviction::Gone));
    assert_eq!(a.count("room"), 1);
    assert_eq!(cluster_b.evict(ghost, PATIENCE), Ok(Eviction::Removed));
    assert!(a.count("room") == 0 && session.is_empty());
    eventually("all see it leave", || others.iter().all(|t| t.count("room") == 0));
    assert_eq!(cluster_b.evict(ghost, PATIENCE), Ok(Eviction::Gone));

    // The session goes on, and a new join is another entry.
    let again = session.track("room", "alice", "3").unwrap();
    assert_eq!(cluster_b.evict(ghost, PATIENCE), Ok(Eviction::Gone));
    eventually("all see it again", || {
        others.iter().all(|t| t.get("room", "alice").iter().any(|e| e.entry_ref() == again))
    });
    let told = std::iter::from_fn(|| events.try_recv().ok()).count();
    assert_eq!(told, 4, "a leave, an empty topic, a first and a join");
    eventually("a has counted", || {
        let stats = cluster_a.stats();
        (stats.evictions_obeyed, stats.evictions_refused) == (1, 0)
    });
    // An own entry is nobody else's business.
    assert_eq!(cluster_a.evict(again, Duration::ZERO), Ok(Eviction::Removed));
}

#[test]
fn a_node_that_was_not_told_to_obey_refuses() {
    let group = group();
    let (a, cluster_a) = join(group, "a", false);
    let (b, cluster_b) = join(group, "b", true);
    let session = a.session();
    let of = session.track("room", "alice", "1").unwrap();
    eventually("b sees it", || b.count("room") == 1);
    assert_eq!(cluster_b.evict(of, PATIENCE), Err(EvictError::NotAllowed { node: of.node }));
    assert_eq!(a.count("room"), 1);
    eventually("a has counted", || cluster_a.stats().evictions_refused == 1);
}

#[test]
fn nobody_answers_for_a_node_that_is_not_there_and_a_life_that_is_over_has_nothing() {
    let group = group();
    let (a, cluster_a) = join(group, "a", true);
    let (_b, cluster_b) = join(group, "b", true);
    let nobody = EntryRef { node: NodeId(7), incarnation: Incarnation::default(), lane: 0, clock: 1 };
    let short = Duration::from_millis(100);
    let asked = Instant::now();
    assert_eq!(cluster_b.evict(nobody, short), Err(EvictError::NoAnswer { node: NodeId(7), waited: short }));
    assert!(asked.elapsed() >= short);
    let of = a.session().track("room", "alice", "1").unwrap();
    let before = Incarnation { epoch: of.incarnation.epoch - 1, ..of.incarnation };
    eventually("b knows a", || cluster_b.members().len() == 1);
    assert_eq!(cluster_b.evict(EntryRef { incarnation: before, ..of }, PATIENCE), Ok(Eviction::Gone));
    cluster_a.leave();
    assert_eq!(cluster_a.evict(of, PATIENCE), Err(EvictError::NotAMember));
}

/// A client that comes back while its ghost is evicted stays, whichever comes first.
#[test]
fn a_join_beside_an_eviction_survives() {
    let group = group();
    let (a, _cluster_a) = join(group, "a", true);
    let (b, cluster_b) = join(group, "b", true);
    for round in 0..30 {
        let (dead, alive) = (a.session(), a.session());
        let ghost = dead.track("room", "alice", "ghost").unwrap();
        eventually("b sees the ghost", || b.get("room", "alice").iter().any(|e| e.entry_ref() == ghost));
        let outcome = std::thread::scope(|scope| {
            let evicting = scope.spawn(|| cluster_b.evict(ghost, PATIENCE));
            // The session takes its key over, or another one joins with it.
            let joined = match round % 2 {
                0 => alive.track("room", "alice", "back").unwrap(),
                _ => dead
                    .update("room", "alice", "back")
                    .or_else(|_| dead.track("room", "alice", "back"))
                    .unwrap(),
            };
            (evicting.join().expect("it ends"), joined)
        });
        let (evicted, joined) = outcome;
        if round % 2 == 0 {
            assert_eq!(evicted, Ok(Eviction::Removed));
        }
        let left: Vec<EntryRef> = a.get("room", "alice").iter().map(headcount::Entry::entry_ref).collect();
        assert_eq!(left, [joined], "round {round}: {evicted:?}");
        eventually("b sees the same", || {
            b.get("room", "alice").iter().map(headcount::Entry::entry_ref).collect::<Vec<_>>() == [joined]
        });
    }
}
