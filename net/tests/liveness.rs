//! Barriers and the node's view of itself, between real sockets.

mod common;

use common::{PATIENCE, eventually, group, join};
use headcount::Tracker;
use headcount_net::{BarrierError, Config, Interface, MemberState, Notice};
use std::time::Duration;

#[test]
fn after_a_barrier_every_other_node_finds_what_was_written_before_it() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    assert_eq!(cluster_a.barrier(PATIENCE), Ok(()), "alone, there is nobody to wait for");
    let (b, cluster_b) = join(group, "b");
    let (c, _cluster_c) = join(group, "c");
    eventually("all know each other", || cluster_a.members().len() == 2 && cluster_b.members().len() == 2);
    let (writer_a, writer_b) = (a.session(), b.session());
    for round in 0..50 {
        let key = format!("user-{round}");
        writer_a.track("room", &key, "").unwrap();
        assert_eq!(cluster_a.barrier(PATIENCE), Ok(()));
        assert!(b.contains("room", &key) && c.contains("room", &key), "round {round}");
        writer_b.track("hall", &key, "").unwrap();
        assert_eq!(cluster_b.barrier(PATIENCE), Ok(()));
        assert!(a.contains("hall", &key) && c.contains("hall", &key), "round {round}");
    }
    // From many threads at once.
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (session, cluster, others) = (a.session(), &cluster_a, [&b, &c]);
            scope.spawn(move || {
                let key = format!("thread-{thread}");
                session.track("room", &key, "").unwrap();
                assert_eq!(cluster.barrier(PATIENCE), Ok(()));
                assert!(others.iter().all(|other| other.contains("room", &key)));
                session.clear().unwrap();
            });
        }
    });
    assert!(cluster_a.members().iter().all(|member| member.state == MemberState::Up));
    assert_eq!(cluster_a.stale_since(), None);
    // What the system grants of a buffer is no trouble of this node's.
    let notices = std::iter::from_fn(|| cluster_a.wait_notice(Duration::ZERO));
    assert!(notices.into_iter().all(|notice| matches!(notice, Notice::SmallReceiveBuffer { .. })));
    assert!((1.0..=2.0).contains(&cluster_a.health().patience));
    cluster_a.leave();
    assert_eq!(cluster_a.barrier(PATIENCE), Err(BarrierError::NotAMember));
    assert_eq!(cluster_a.wait_notice(PATIENCE), None);
}

#[test]
fn a_barrier_without_time_says_who_is_missing() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    let (_b, _cluster_b) = join(group, "b");
    eventually("a knows b", || cluster_a.members().len() == 1);
    a.session().track("room", "alice", "").unwrap();
    let missing = vec!["b".to_owned()];
    assert_eq!(cluster_a.barrier(Duration::ZERO), Err(BarrierError::TimedOut { missing }));
    assert_eq!(cluster_a.barrier(PATIENCE), Ok(()));
}

#[test]
fn a_limit_below_the_time_to_be_down_is_refused_by_name() {
    let config = Config::new("test").multicast(group(), Interface::Loopback);
    let refused = config.down_after(Duration::from_secs(7)).join(&Tracker::new()).unwrap_err();
    assert!(refused.to_string().starts_with("down_limit is 6s"), "{refused}");
}
