//! Lanes through a third node, where the way to their owner is broken.

use super::stage::{MS, Stage, small, stage, stage_with};
use crate::core::MemberState;
use crate::sim::network::Weather;
use std::time::Duration;

fn state(stage: &Stage, of: usize, at: usize) -> MemberState {
    let node = stage.at(of).node;
    stage.at(at).core.peer(node).expect("it is known").state
}

/// How long it takes until a host lists so many entries of a topic.
fn until_listed(stage: &mut Stage, host: usize, topic: &str, count: usize) -> Duration {
    let since = stage.world.now;
    while stage.list(host, topic).len() != count {
        assert!(stage.world.now < since + MS(5_000), "n{host} lists {:?}", stage.keys(host, topic));
        stage.run(MS(10));
    }
    stage.world.now - since
}

#[test]
fn r10_relay_two_that_do_not_hear_each_other_see_each_others_changes_through_a_third() {
    for seed in 0..12 {
        let mut stage = stage(seed, &[2, 4, 1]);
        stage.track(0, "room", "alice", "");
        stage.track(2, "room", "carol", "");
        stage.agree(MS(500));
        if seed % 3 == 0 {
            stage.weather(Weather { loss: 100, late: 20, ..Weather::CALM });
        }
        stage.world.part(0, 2, MS(5_900));
        stage.run(MS(800));
        assert_eq!(
            (state(&stage, 0, 2), state(&stage, 2, 0)),
            (MemberState::UpIndirect, MemberState::UpIndirect)
        );
        let mut slowest = Duration::ZERO;
        for round in 0..3 {
            stage.track(0, "a's", &format!("{round}"), "");
            stage.update(2, "room", "carol", &format!("{round}"));
            stage.track(2, "c's", &format!("{round}"), "");
            slowest = slowest.max(until_listed(&mut stage, 2, "a's", round + 1));
            slowest = slowest.max(until_listed(&mut stage, 0, "c's", round + 1));
        }
        stage.untrack(0, "room", "alice");
        slowest = slowest.max(until_listed(&mut stage, 2, "room", 1));
        assert!(slowest <= MS(1_300), "seed {seed}: it took {slowest:?}");
        assert_eq!(
            (state(&stage, 0, 2), state(&stage, 2, 0)),
            (MemberState::UpIndirect, MemberState::UpIndirect)
        );
        assert!(stage.stats(1).relayed_lanes_sent > 0 && stage.stats(0).relayed_lanes_taken > 0);
        stage.settle();
        let downs: Vec<u64> = (0..3).map(|host| stage.stats(host).downs).collect();
        assert_eq!(downs, [0; 3]);
    }
}

#[test]
fn r10_relay_a_one_way_link_is_gone_round_in_both_directions() {
    for seed in 0..8 {
        let mut stage = stage(seed, &[1, 2, 2, 1]);
        // 0 is not heard by 2, but hears it; a stream needs both ways.
        stage.world.block_one_way(0, 2, MS(5_900));
        stage.run(MS(700));
        assert_eq!((state(&stage, 0, 2), state(&stage, 2, 0)), (MemberState::UpIndirect, MemberState::Up));
        stage.track(0, "room", "alice", "");
        stage.track(2, "room", "carol", "");
        until_listed(&mut stage, 2, "room", 2);
        let first = until_listed(&mut stage, 0, "room", 2);
        assert!(first <= MS(1_300), "seed {seed}: it took {first:?}");
        stage.settle();
        assert_eq!(stage.stats(2).downs, 0);
    }
}

#[test]
fn a_member_that_is_heard_and_gives_no_streams_is_relayed() {
    let mut stage = stage_with(5, &[1, 1, 1], |build| {
        build.limits.ring_datagrams = 2;
        build.timing.down_limit = MS(60_000);
    });
    // What 0 says comes to 2, what 2 says does not come to 0: no repairs, no streams.
    stage.world.block_one_way(2, 0, MS(40_000));
    // A burst that is lost to 2 alone, and more than the ring holds.
    stage.world.block_one_way(0, 2, MS(300));
    stage.fill(0, "room", 40);
    stage.run(MS(400));
    assert_eq!(state(&stage, 0, 2), MemberState::Up);
    let since = stage.world.now;
    while stage.list(2, "room").len() < 40 {
        assert!(stage.world.now < since + MS(20_000), "it is not relayed");
        stage.run(MS(100));
    }
    assert!(stage.stats(2).relayed_lanes_taken > 0);
    assert_eq!(state(&stage, 0, 2), MemberState::Up);
    stage.settle();
}

#[test]
fn a_relay_costs_the_change_and_nothing_while_there_is_none() {
    let mut stage = stage(6, &[1, 1, 1]);
    stage.fill(0, "room", 2_000);
    stage.agree(MS(1_000));
    stage.world.part(0, 2, MS(5_900));
    stage.run(MS(1_500));
    let before = stage.stats(2);
    stage.run(MS(1_500));
    let quiet = stage.stats(2);
    assert!(quiet.relays_asked - before.relays_asked >= 2);
    // Done, and nothing else, each time.
    let answers = 5 * (quiet.relays_asked - before.relays_asked);
    assert_eq!(quiet.snapshot_bytes_received - before.snapshot_bytes_received, answers);
    assert_eq!(quiet.relayed_lanes_taken, before.relayed_lanes_taken);
    stage.track(0, "room", "one more", "");
    until_listed(&mut stage, 2, "room", 2_001);
    let bytes = stage.stats(2).snapshot_bytes_received - quiet.snapshot_bytes_received;
    assert!(bytes < 200, "{bytes} B for one entry beside 2,000");
    stage.settle();
}

#[test]
fn what_never_stops_changing_is_relayed_too() {
    let mut stage = stage_with(7, &[1, 1, 1], small);
    stage.world.part(0, 2, MS(5_900));
    stage.run(MS(800));
    let mut seen = Vec::new();
    for step in 0..400 {
        stage.track(0, "room", &format!("{step}"), "");
        if step >= 8 {
            stage.untrack(0, "room", &format!("{}", step - 8));
        }
        stage.run(MS(8));
        let newest = stage.keys(2, "room").iter().filter_map(|key| key.parse::<u32>().ok()).max();
        seen.extend(newest);
    }
    seen.dedup();
    assert!(seen.len() >= 4 && seen.is_sorted(), "{seen:?}");
    stage.settle();
}

#[test]
fn who_holds_a_member_for_down_or_knows_another_life_of_it_relays_nothing() {
    let mut stage = stage(8, &[1, 1, 1]);
    stage.track(0, "room", "alice", "");
    stage.agree(MS(500));
    // The relay itself is cut off from 0 as well, later.
    stage.world.part(0, 2, MS(20_000));
    stage.run(MS(1_000));
    assert_eq!(state(&stage, 0, 2), MemberState::UpIndirect);
    stage.world.part(0, 1, MS(20_000));
    stage.run(MS(3_000));
    assert_eq!((state(&stage, 0, 1), state(&stage, 0, 2)), (MemberState::Down, MemberState::Down));
    let asked = stage.stats(2).relays_asked;
    stage.run(MS(2_000));
    assert_eq!(stage.stats(2).relays_asked, asked, "one that is down is not asked for");
    stage.settle();
}
