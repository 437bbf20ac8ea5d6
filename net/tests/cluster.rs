//! Nodes of one process over real sockets on the loopback interface.
use headcount::{EventKind, Filter, Tracker};
use headcount_net::{Cluster, Config, Interface, JoinError, MemberState, Status, StopReason};
use std::net::{Ipv4Addr, UdpSocket};

mod common;

use common::{PATIENCE, eventually, group, join, sees_each_change};

#[test]
fn r1_a_join_an_update_and_a_leave_are_seen_on_the_other_node() {
    let group = group();
    let (a, _cluster_a) = join(group, "a");
    let (b, _cluster_b) = join(group, "b");
    sees_each_change(&a, &b);
}

#[test]
fn a_late_joiner_gets_what_was_there_by_snapshot() {
    let group = group();
    let (a, _cluster_a) = join(group, "a");
    let session = a.session();
    let entries = (0..20_000).map(|i| (format!("room:{}", i % 100), format!("user-{i}"), "meta"));
    session.track_many(entries).unwrap();
    let (b, cluster_b) = join(group, "b");
    eventually("b has all", || b.len() == 20_000);
    assert!(cluster_b.wait_synced(PATIENCE));
    assert_eq!(cluster_b.members()[0].name, "a");
    assert!(cluster_b.stats().snapshot_lanes_taken > 0);
    session.untrack("room:1", "user-1").unwrap();
    eventually("the leave is seen", || b.len() == 19_999);
}

#[test]
fn r7_a_graceful_leave_empties_the_view_at_once_and_ends_the_membership() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    let (b, cluster_b) = join(group, "b");
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    eventually("b sees alice", || b.count("room") == 1);
    cluster_a.leave();
    cluster_a.leave();
    assert_eq!(cluster_a.status(), Status::Left);
    eventually("b sees alice no more", || b.count("room") == 0);
    assert!(cluster_b.members().is_empty());
    assert_eq!(a.count("room"), 1, "the tracker itself goes on");
    let (_, again) =
        (0, Config::new("test").node("a").multicast(group, Interface::Loopback).join(&a).unwrap());
    eventually("b sees alice again", || b.count("room") == 1);
    assert!(again.incarnation() > cluster_a.incarnation());
    assert!(cluster_b.members().iter().all(|member| member.state == MemberState::Up));
}

#[test]
fn r16_nodes_with_different_shard_counts_form_one_cluster() {
    let group = group();
    let nodes: Vec<(Tracker, Cluster)> = [1, 4, 64]
        .into_iter()
        .map(|shards| {
            let tracker = headcount::Config::default().shards(shards).build().unwrap();
            let config = Config::new("test").node(format!("n{shards}")).multicast(group, Interface::Loopback);
            let cluster = config.join(&tracker).unwrap();
            (tracker, cluster)
        })
        .collect();
    let sessions: Vec<_> = nodes.iter().map(|(tracker, _)| tracker.session()).collect();
    for (at, session) in sessions.iter().enumerate() {
        for i in 0..100 {
            session.track(format!("room:{}", i % 7), format!("user-{at}-{i}"), "").unwrap();
        }
    }
    for (tracker, _) in &nodes {
        eventually("everybody sees everybody", || tracker.len() == 300);
    }
}

#[test]
fn r17_what_is_not_the_clusters_is_counted_and_changes_nothing() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    let before = a.len();

    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = socket2::SockRef::from(&stranger);
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.set_multicast_ttl_v4(0).unwrap();
    // Nothing, noise, a header's beginning, an oversized one; to the group and to the node itself.
    let noise: Vec<Vec<u8>> =
        vec![vec![], b"hello".to_vec(), vec![0x48, 0xc7, 1, 0], vec![0xff; 1200], vec![7; 60_000]];
    for datagram in &noise {
        stranger.send_to(datagram, group).unwrap();
        stranger.send_to(datagram, cluster_a.local_addr()).unwrap();
    }
    let sent = 2 * noise.len() as u64;
    eventually("all are counted", || cluster_a.stats().malformed == sent);

    let foreign =
        Config::new("another").node("b").multicast(group, Interface::Loopback).join(&Tracker::new()).unwrap();
    eventually("the other cluster is heard and counted", || cluster_a.stats().foreign > 0);
    assert!(foreign.members().is_empty() && cluster_a.members().is_empty());
    assert_eq!((a.len(), cluster_a.status()), (before, Status::Running));

    let (b, _cluster_b) = join(group, "b");
    eventually("and the cluster goes on", || b.count("room") == 1);
}

#[test]
fn r19_a_second_node_of_the_same_name_is_refused_and_the_first_goes_on() {
    let group = group();
    let (a, cluster_a) = join(group, "twin");
    let second = Tracker::new();
    let config = Config::new("test").node("twin").multicast(group, Interface::Loopback);
    let refused = config.join(&second).unwrap_err();
    assert!(
        matches!(&refused, JoinError::Stopped(StopReason::DuplicateNode { name, other })
            if name == "twin" && *other == cluster_a.local_addr()),
        "{refused}"
    );
    assert_eq!(cluster_a.status(), Status::Running);
    let (b, _cluster_b) = join(group, "b");
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    eventually("the first is heard as before", || b.count("room") == 1);
    // The tracker that was refused is free for another name.
    let config = Config::new("test").node("twin-2").multicast(group, Interface::Loopback);
    let _third = config.join(&second).unwrap();
    eventually("and joins under it", || second.count("room") == 1);
}

#[test]
fn a_tracker_is_in_one_cluster_at_a_time() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    let again = || Config::new("test").node("a2").multicast(group, Interface::Loopback).join(&a);
    assert!(matches!(again(), Err(JoinError::AlreadyJoined)));
    cluster_a.leave();
    assert!(again().is_ok());
}

#[test]
fn an_interface_that_is_not_there_is_a_clear_error_and_frees_the_tracker() {
    let tracker = Tracker::new();
    // TEST-NET-3 (RFC 5737): nobody's address.
    let nowhere = Interface::V4(Ipv4Addr::new(203, 0, 113, 222));
    let config = Config::new("test").node("a").multicast(group(), nowhere).insecure(true);
    let refused = config.join(&tracker).unwrap_err();
    assert!(matches!(refused, JoinError::Io { .. }));
    let text = refused.to_string();
    assert!(text.contains("203.0.113.222") && text.contains("multicast group"), "{text}");
    assert!(Config::new("test").node("a").multicast(group(), Interface::Loopback).join(&tracker).is_ok());
}

#[test]
fn r13_track_and_untrack_at_once_end_right_everywhere_and_the_local_subscriber_sees_both() {
    let group = group();
    let (a, _cluster_a) = join(group, "a");
    let (b, cluster_b) = join(group, "b");
    let mut local = a.subscribe(Filter::topic("room"));
    let session = a.session();
    for _ in 0..1000 {
        session.track("room", "flash", "").unwrap();
        session.untrack("room", "flash").unwrap();
    }
    session.track("room", "end", "").unwrap();
    let seen = std::iter::from_fn(|| local.try_recv().ok());
    let joins = seen.filter(|event| matches!(&event.kind, EventKind::Join(entry) if entry.key() == b"flash"));
    assert_eq!(joins.count(), 1000);
    eventually("b ends right", || b.contains("room", "end") && b.count("room") == 1);
    assert!(cluster_b.wait_synced(PATIENCE));
    assert_eq!(b.count("room"), 1);
}
