//! Lanes that are not what their owner says, and lanes that find no room here: what becomes of them.

use super::few::{Few, MS};
use super::gate::Budget;
use super::*;
use headcount::Config;
use headcount::replica::{DeltaView, LaneCondition, Op};

/// Nodes of one lane each, in clear, whose streams lead somewhere.
fn of_one_lane(names: &[&str], config: impl Fn(usize) -> Config) -> Few {
    let mut few = Few::with(names, None, Budget::default(), |at| config(at).shards(1));
    few.connects = true;
    few.run(MS(600));
    for node in &few.nodes {
        assert_eq!(node.core.members.len(), names.len() - 1);
    }
    few
}

/// The lanes of each request that a node has made of an owner.
fn requests(few: &Few, at: usize, owner: NodeId) -> Vec<Vec<wire::Wanted>> {
    let said = few.streams.iter().filter(|(from, id, _)| *from == at && !id.is_incoming());
    let requests = said.filter_map(|(_, _, bytes)| {
        let mut buffer = wire::MessageBuffer::default();
        assert!(buffer.push(bytes));
        let (kind, body) = buffer.next().unwrap().expect("it is whole");
        match wire::Message::decode(kind, body) {
            Ok(wire::Message::Request { target_node, lanes, .. }) if target_node == owner.0 => Some(lanes),
            _ => None,
        }
    });
    requests.collect()
}

/// Everything that a node lists: topic, key, meta.
fn view(tracker: &Tracker) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let all = tracker.topics().into_iter().flat_map(|topic| tracker.list(&topic));
    let mut view: Vec<_> = all
        .map(|entry| (entry.topic().as_ref().to_vec(), entry.key().to_vec(), entry.meta().to_vec()))
        .collect();
    view.sort_unstable();
    view
}

#[test]
fn a_lane_that_has_diverged_is_found_out_by_its_owners_heartbeat_and_taken_anew_from_the_start() {
    let mut few = of_one_lane(&["a", "b"], |_| Config::default());
    let owner = few.nodes[0].core.node();
    few.nodes[0].session.track("room", "alice", "1").unwrap();
    few.run(MS(50));
    let (before, held) = (few.stats(1), few.nodes[1].core.replica.remote_lane(owner, 0).unwrap());
    assert_eq!((held.summary.clock, held.condition), (1, LaneCondition::Clean));
    // Somebody tells b as a's next change what a has never said, and then a's own change comes under that clock.
    let ops = [Op::Add { birth: 2, topic: b"room", key: b"mallory", meta: b"" }];
    let forged = DeltaView { lane: 0, lo: 1, hi: 2, ops: &ops };
    let life = few.nodes[0].core.incarnation();
    assert_eq!(few.nodes[1].core.replica.apply(owner, life, &forged), Ok(2));
    few.streams.clear();
    few.nodes[0].session.track("room", "bob", "2").unwrap();
    few.give(0, Input::Turn);
    // Equal clocks, and nothing under way: only a digest can tell.
    let lane = &few.nodes[1].core.members[&owner].lanes[0];
    assert!(lane.is_synced() && lane.clock == 2 && few.nodes[0].core.replica.lane_clock(0) == 2);
    assert_eq!(few.moved(1, &before), [""; 0]);
    let listed = |few: &Few| ["mallory", "bob"].map(|key| few.nodes[1].tracker.contains("room", key));
    assert_eq!(listed(&few), [true, false]);
    few.run(MS(1_000));
    assert_eq!(few.stats(1).digest_mismatches, before.digest_mismatches + 1);
    let requests = requests(&few, 1, owner);
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!((requests[0].len(), requests[0][0].base, requests[0][0].diverged), (1, 0, true));
    let stats = few.stats(1);
    assert_eq!(stats.snapshot_lanes_taken, before.snapshot_lanes_taken + 1);
    assert_eq!((stats.catch_ups_taken, stats.snapshots_failed), (before.catch_ups_taken, 0));
    assert_eq!(view(&few.nodes[1].tracker), view(&few.nodes[0].tracker));
    assert_eq!(few.nodes[1].tracker.len(), 2);
    let held = few.nodes[1].core.replica.remote_lane(owner, 0).unwrap();
    assert_eq!(
        (held.summary, held.condition),
        (few.nodes[0].core.replica.lane_summary(0), LaneCondition::Clean)
    );
    // And it is over: live changes go on from there.
    few.nodes[0].session.update("room", "alice", "3").unwrap();
    few.run(MS(1_000));
    assert_eq!(view(&few.nodes[1].tracker), view(&few.nodes[0].tracker));
    assert_eq!(few.stats(1).digest_mismatches, before.digest_mismatches + 1);
}

#[test]
fn an_owner_over_its_limit_costs_nobody_else_anything_and_is_asked_again_at_leisure() {
    let limits = |at| if at == 1 { Config::default().origin_entries_max(10) } else { Config::default() };
    let mut few = of_one_lane(&["a", "b", "c"], limits);
    let owner = few.nodes[0].core.node();
    let before = few.stats(1);
    for n in 0..50 {
        few.nodes[0].session.track("room", format!("user-{n}"), "").unwrap();
    }
    for n in 0..8 {
        few.nodes[2].session.track("hall", format!("user-{n}"), "").unwrap();
    }
    few.streams.clear();
    few.run(MS(1_000));
    let counts = |few: &Few, at: usize| ["room", "hall"].map(|topic| few.nodes[at].tracker.count(topic));
    assert_eq!(counts(&few, 1), [10, 8]);
    assert_eq!([counts(&few, 0), counts(&few, 2)], [[50, 8]; 2], "who has room holds all");
    let first = few.stats(1).refused_operations - before.refused_operations;
    assert!(first >= 2, "the delta and the stream that was to mend it");
    // It is tried again, in case there is room now: after 50 ms, doubling, to 2 s and a quarter. No third node is asked to relay.
    few.run(MS(29_000));
    let asked = requests(&few, 1, owner).len();
    assert!((15..=25).contains(&asked), "asked {asked} times in 30 s");
    let stats = few.stats(1);
    assert_eq!(stats.refused_operations - before.refused_operations, asked as u64 + 1, "each is counted");
    assert_eq!(stats.snapshots_failed - before.snapshots_failed, asked as u64);
    assert_eq!((stats.relays_asked, stats.downs, stats.digest_mismatches), (0, 0, 0));
    assert_eq!(counts(&few, 1), [10, 8]);
    // Others are heard as ever, and the owner too once what it has fits.
    few.nodes[2].session.track("hall", "late", "").unwrap();
    few.run(MS(10));
    assert_eq!(counts(&few, 1)[1], 9);
    for n in 10..50 {
        few.nodes[0].session.untrack("room", format!("user-{n}")).unwrap();
    }
    few.run(MS(3_000));
    assert_eq!(view(&few.nodes[1].tracker), view(&few.nodes[0].tracker));
    assert_eq!(counts(&few, 1), [10, 9]);
}

#[test]
fn a_node_that_finds_no_place_is_refused_and_counted_and_the_others_are_all_there() {
    let limits = |at| if at == 0 { Config::default().origins_max(1) } else { Config::default() };
    let mut few = Few::with(&["a", "b", "c"], None, Budget::default(), limits);
    few.connects = true;
    for at in 1..3 {
        few.nodes[at].session.track("room", format!("user-{at}"), "").unwrap();
    }
    few.run(MS(2_000));
    assert_eq!(few.nodes[0].core.members.len(), 1);
    let listed = few.nodes[0].core.members.keys().map(|node| node.0).collect::<Vec<_>>();
    assert_eq!(few.nodes[0].tracker.count("room"), 1, "that of {listed:?}");
    assert_eq!(few.nodes[1].tracker.count("room"), 2, "who has room holds all");
    // Each second it is asked who it is, twenty times at most, and refused.
    let refused = few.stats(0).refused_nodes;
    few.run(MS(5_000));
    let more = few.stats(0).refused_nodes - refused;
    assert!(refused > 0 && (1..=105).contains(&more), "{refused} and {more} times");
    assert_eq!(few.nodes[0].tracker.count("room"), 1);
    assert_eq!((few.stats(0).downs, few.stats(0).snapshots_failed), (0, 0));
}
