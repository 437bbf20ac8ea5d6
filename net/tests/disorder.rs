//! Nodes of one process over real sockets that delay, reorder, double and drop what they receive, as a seeded generator draws.
use headcount::Tracker;
use headcount_net::{Cluster, Config, Interface, MemberState, SocketFaults};
use std::time::Duration;

mod common;

use common::{LOOPBACK, PATIENCE, eventually, free, group, view};

const MS: fn(u64) -> Duration = Duration::from_millis;
const NODES: usize = 3;

/// What its application does in one round: a key that stays, one that is updated over and over, one that goes again.
fn work(session: &headcount::Session, name: &str, round: usize) {
    session.track("stays", format!("{name}-{round}"), "meta").unwrap();
    match round {
        0 => session.track("changes", name, "0").unwrap(),
        _ => session.update("changes", name, round.to_string()).unwrap(),
    };
    session.track("goes", format!("{name}-{round}"), "").unwrap();
    session.untrack("goes", format!("{name}-{round}")).unwrap();
}

#[test]
fn r11_delays_reordering_and_duplicates_end_with_equal_views_and_nobody_down() {
    const ROUNDS: usize = 60;
    let group = group();
    let faults: Vec<SocketFaults> = (0..NODES as u64)
        .map(|seed| SocketFaults::new(seed).delay(MS(10), MS(30)).overtake(250).duplicate(50).lose(10))
        .collect();
    let nodes: Vec<(Tracker, Cluster)> = (0..NODES)
        .map(|at| {
            let tracker = Tracker::new();
            let config = Config::new("test").node(format!("n{at}")).multicast(group, Interface::Loopback);
            let cluster = config.faults(faults[at].clone()).join(&tracker).expect("joins");
            (tracker, cluster)
        })
        .collect();
    let sessions: Vec<_> = nodes.iter().map(|(tracker, _)| tracker.session()).collect();
    for round in 0..ROUNDS {
        for (at, session) in sessions.iter().enumerate() {
            work(session, &format!("n{at}"), round);
        }
        // So that changes set out in many datagrams, while those before them are on their way.
        let (tracker, _) = &nodes[round % NODES];
        eventually("one node sees the round", || tracker.count("stays") == NODES * (round + 1));
    }
    let last = (ROUNDS - 1).to_string();
    for (tracker, _) in &nodes {
        eventually("everything has come", || {
            let changes = tracker.list("changes");
            let is_last = changes.iter().all(|entry| entry.meta() == last.as_bytes());
            tracker.len() == NODES * (ROUNDS + 1) && changes.len() == NODES && is_last
        });
    }
    for (tracker, _) in &nodes {
        assert_eq!(view(tracker), view(&nodes[0].0));
        assert_eq!(tracker.count("goes"), 0);
    }
    for ((_, cluster), faults) in nodes.iter().zip(&faults) {
        let counts = faults.counts();
        assert!(counts.delayed > 100 && counts.overtaking > 20 && counts.duplicated > 5, "{counts:?}");
        let stats = cluster.stats();
        assert_eq!((stats.downs, stats.malformed, stats.digest_mismatches), (0, 0, 0));
        assert!(stats.gaps > 0 && stats.duplicates > 0, "nothing was out of order: {stats:?}");
    }
}

#[test]
fn r10_a_lane_comes_through_a_third_node_where_its_owner_is_not_heard() {
    const OWNER: usize = 0;
    const DEAF: usize = 1;
    const THIRD: usize = 2;
    let addrs: Vec<_> = (0..NODES).map(|_| free(LOOPBACK)).collect();
    let faults: Vec<SocketFaults> = (0..NODES as u64).map(SocketFaults::new).collect();
    let nodes: Vec<(Tracker, Cluster)> = (0..NODES)
        .map(|at| {
            let tracker = Tracker::new();
            let config = Config::new("test").node(format!("n{at}")).bind(addrs[at]);
            // Nobody is down however long a busy machine lets others wait.
            let config = config.down_after(MS(20_000)).down_limit(MS(60_000));
            let config = config.peers(addrs.iter().map(ToString::to_string)).faults(faults[at].clone());
            (tracker.clone(), config.join(&tracker).expect("joins"))
        })
        .collect();
    let sessions: Vec<_> = nodes.iter().map(|(tracker, _)| tracker.session()).collect();
    sessions[OWNER].track_many((0..1_000).map(|i| ("room", format!("before-{i}"), "meta"))).unwrap();
    for (tracker, _) in &nodes {
        eventually("all see the room", || tracker.count("room") == 1_000);
    }
    let stats = |at: usize| nodes[at].1.stats();
    assert_eq!((stats(DEAF).relays_asked, stats(DEAF).relayed_lanes_taken), (0, 0));

    // From here on no datagram of the owner reaches it, and it cannot connect to it.
    faults[DEAF].cut(addrs[OWNER]);
    let owner_here = || {
        let members = nodes[DEAF].1.members();
        members.into_iter().find(|member| member.node == nodes[OWNER].1.node_id()).expect("a member")
    };
    eventually("it holds the owner for up on the others' word", || {
        owner_here().state == MemberState::UpIndirect
    });
    for round in 0..5 {
        let key = format!("during-{round}");
        sessions[OWNER].track("room", key.as_str(), "meta").unwrap();
        sessions[OWNER].untrack("room", format!("before-{round}")).unwrap();
        eventually("the change comes through the third node", || {
            let room = &nodes[DEAF].0;
            room.contains("room", key.as_str()) && !room.contains("room", format!("before-{round}"))
        });
    }
    assert!(owner_here().heard_age > MS(400), "it has heard the owner itself: nothing was tried");
    assert!(faults[DEAF].counts().cut > 0);
    eventually("the lanes are counted", || {
        stats(DEAF).relayed_lanes_taken > 0 && stats(THIRD).relayed_lanes_sent > 0
    });
    assert_eq!((stats(THIRD).relayed_lanes_taken, stats(OWNER).relayed_lanes_taken), (0, 0));

    faults[DEAF].mend();
    eventually("it hears the owner again", || owner_here().state == MemberState::Up);
    sessions[OWNER].track("room", "after", "meta").unwrap();
    for (tracker, cluster) in &nodes {
        assert!(cluster.wait_synced(PATIENCE));
        eventually("the views are equal", || {
            tracker.contains("room", "after") && view(tracker) == view(&nodes[OWNER].0)
        });
        assert_eq!((cluster.stats().downs, cluster.stats().relayed_lanes_refused), (0, 0));
    }
}
