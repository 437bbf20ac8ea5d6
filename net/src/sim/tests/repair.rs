//! Requests for repair and their answers: who is asked, how often, what goes to whom, and what it may cost.

use super::stage::{MS, Stage, small, stage, stage_with};
use crate::core::Mode;
use crate::sim::network::Weather;
use crate::sim::process::Build;
use std::time::Duration;

const US: fn(u64) -> Duration = Duration::from_micros;
/// Copies take 20 to 40 µs.
const QUICK: Weather = Weather { delay_max: Duration::from_micros(20), ..Weather::CALM };

/// Nodes that do what they want to at the time when they want to.
fn prompt(build: &mut Build) {
    build.lag_max = US(1);
}

/// How often each of these hosts was brought what it had.
fn duplicates(stage: &Stage, hosts: std::ops::Range<usize>) -> Vec<u64> {
    hosts.map(|host| stage.stats(host).duplicates).collect()
}

fn prompt_stage(seed: u64, nodes: usize, mode: Mode) -> Stage {
    let mut stage = stage_with(seed, &vec![1; nodes], |build| {
        prompt(build);
        (build.mode, build.seeds) = (mode, vec![0]);
    });
    stage.weather(QUICK);
    stage.track(0, "room", "first", "");
    stage.run(MS(20));
    stage
}

/// Host 0 tracks something that these do not hear of, for so long.
fn lose(stage: &mut Stage, at: &[usize], spell: Duration) {
    at.iter().for_each(|&host| stage.world.block_one_way(0, host, spell));
    stage.track(0, "room", "lost", "");
}

#[test]
fn r2_what_several_lack_is_sent_again_once_to_all() {
    let mut stage = prompt_stage(1, 5, Mode::Multicast);
    let before = duplicates(&stage, 4..5);
    lose(&mut stage, &[1, 2, 3], MS(1));
    stage.run(MS(8));
    for host in 1..5 {
        assert_eq!(stage.keys(host, "room"), ["first", "lost"]);
        assert_eq!(stage.stats(host).naks_sent, u64::from(host < 4));
        assert_eq!(stage.stats(host).snapshot_bytes_received, 0);
    }
    let stats = stage.stats(0);
    assert_eq!((stats.repairs_sent, stats.repairs_to_group, stats.repairs_united), (1, 1, 2));
    assert_eq!(duplicates(&stage, 4..5), [before[0] + 1], "who had it gets it as well");
}

#[test]
fn r2_what_one_lacks_is_sent_to_it_alone() {
    let mut stage = prompt_stage(2, 5, Mode::Multicast);
    let before = duplicates(&stage, 1..5);
    lose(&mut stage, &[2], MS(1));
    stage.run(MS(8));
    assert_eq!(stage.keys(2, "room"), ["first", "lost"]);
    let stats = stage.stats(0);
    assert_eq!((stats.repairs_sent, stats.repairs_to_group, stats.repairs_united), (1, 0, 0));
    assert_eq!(duplicates(&stage, 1..5), before);
}

#[test]
fn r2_without_multicast_each_that_asks_gets_its_copy() {
    let mut stage = prompt_stage(3, 5, Mode::Unicast);
    let before = duplicates(&stage, 1..5);
    lose(&mut stage, &[1, 2, 3], MS(1));
    stage.run(MS(8));
    let stats = stage.stats(0);
    assert_eq!((stats.repairs_sent, stats.repairs_to_group, stats.repairs_united), (3, 0, 0));
    for host in 1..5 {
        assert_eq!(stage.keys(host, "room"), ["first", "lost"]);
        assert_eq!(stage.stats(host).naks_sent, u64::from(host < 4));
    }
    assert_eq!(duplicates(&stage, 1..5), before);
}

#[test]
fn r2_who_hears_what_others_asked_for_does_not_ask() {
    let mut stage = prompt_stage(4, 4, Mode::Multicast);
    // The others hear of it by the heartbeat behind it, 2 ms later; the last by the next change.
    lose(&mut stage, &[1, 2], MS(1));
    stage.world.block_one_way(0, 3, US(2_300));
    stage.run(US(2_600));
    stage.track(0, "room", "next", "");
    stage.run(MS(8));
    for host in 1..4 {
        assert_eq!(stage.keys(host, "room"), ["first", "lost", "next"]);
        let (sent, spared) = (stage.stats(host).naks_sent, stage.stats(host).naks_spared);
        assert_eq!((sent, spared), if host < 3 { (1, 0) } else { (0, 1) }, "n{host}");
    }
    assert_eq!((stage.stats(0).repairs_sent, stage.stats(0).repairs_to_group), (1, 1));
}

#[test]
fn r2_a_repair_that_is_lost_is_sent_again_but_not_within_its_linger() {
    let mut stage = prompt_stage(5, 3, Mode::Multicast);
    lose(&mut stage, &[1], MS(1));
    // The tail's heartbeat is heard, the request is heard, the answer is lost.
    stage.run(US(2_200));
    stage.world.block_one_way(0, 1, MS(3));
    // Asked again 4 ms after the first time: it may be on its way still.
    stage.run(MS(7));
    assert_eq!((stage.stats(1).naks_sent, stage.stats(0).repairs_sent), (2, 1));
    assert_eq!((stage.stats(0).repairs_lingering, stage.keys(1, "room").len()), (1, 1));
    // And 8 ms after that.
    stage.run(MS(10));
    assert_eq!((stage.stats(1).naks_sent, stage.stats(0).repairs_sent), (3, 2));
    assert_eq!(stage.keys(1, "room"), ["first", "lost"]);
}

#[test]
fn r3_a_node_behind_two_peers_asks_each_for_its_own_lanes_and_nobody_else() {
    let mut stage = stage_with(6, &[2, 4, 4, 2], prompt);
    stage.weather(QUICK);
    for host in 0..4 {
        stage.operate(host, 20);
    }
    stage.agree(MS(200));
    stage.run(MS(50));
    let before: Vec<_> = (0..4).map(|host| stage.stats(host)).collect();
    for owner in [0, 1] {
        stage.world.block_one_way(owner, 3, MS(1));
        stage.operate(owner, 12);
    }
    stage.run(MS(12));
    stage.agree(MS(1));
    let since = |host: usize, of: fn(&crate::NetStats) -> u64| of(&stage.stats(host)) - of(&before[host]);
    assert_eq!(since(3, |stats| stats.naks_sent), 2, "one for each owner, whatever the number of its lanes");
    let received: Vec<u64> = (0..4).map(|host| since(host, |stats| stats.naks_received)).collect();
    assert_eq!(received, [1, 1, 0, 0]);
    let repaired: Vec<u64> = (0..4).map(|host| since(host, |stats| stats.repairs_sent)).collect();
    assert!(repaired[0] > 0 && repaired[1] > 0 && repaired[2..] == [0, 0], "{repaired:?}");
    assert_eq!(since(3, |stats| stats.snapshot_bytes_received), 0);
}

#[test]
fn r11_a_fifth_of_everything_lost_is_repaired_without_a_stream() {
    for seed in 0..4 {
        let mut stage = stage(seed, &[4, 4, 4]);
        stage.run(MS(500));
        let before: Vec<u64> = (0..3).map(|host| stage.stats(host).snapshot_bytes_received).collect();
        stage.weather(Weather { loss: 200, ..Weather::CALM });
        let mut worst = Duration::ZERO;
        for round in 0..600 {
            stage.operate(round % 3, 8);
            stage.run(MS(5));
            if round % 100 == 99 {
                worst = worst.max(stage.agree(MS(2_000)));
            }
        }
        assert!(worst < MS(1_000), "it took {worst:?}");
        let after: Vec<u64> = (0..3).map(|host| stage.stats(host).snapshot_bytes_received).collect();
        assert_eq!(after, before, "over streams");
        stage.settle();
    }
}

#[test]
fn what_comes_while_a_stream_is_waited_for_counts_and_the_stream_is_let_go() {
    let mut stage = prompt_stage(8, 2, Mode::Multicast);
    // It hears the owner, which does not hear it: neither a request nor a stream gets through. A stream does not later, either.
    stage.weather(Weather { stream_break: 1000, ..QUICK });
    lose(&mut stage, &[1], MS(1));
    stage.world.block_one_way(1, 0, MS(450));
    stage.run(MS(400));
    let node = stage.at(0).node;
    let lane = |stage: &Stage| stage.at(1).core.peer_lane(node, 0).expect("it is known");
    assert!(lane(&stage).in_transfer, "so many requests in vain ask for a stream");
    stage.run(MS(120));
    assert_eq!(stage.keys(1, "room"), ["first", "lost"], "but go on");
    assert!(!lane(&stage).in_transfer && !lane(&stage).needs_snapshot);
    stage.run(MS(120));
    let failed = stage.stats(1).snapshots_failed;
    stage.run(MS(8_000));
    assert_eq!(stage.stats(1).snapshots_failed, failed, "a stream is tried that nobody needs");
    stage.settle();
}

#[test]
fn what_is_lost_beside_a_stream_is_asked_for_before_its_end() {
    let mut stage = stage_with(9, &[1, 1], |build| {
        small(build);
        (build.limits.bulk_bytes_per_s, build.limits.bulk_burst) = (200_000, 1);
    });
    stage.go(|world| {
        world.crash(1);
        Ok(())
    });
    stage.fill(0, "room", 300);
    stage.run(MS(50));
    stage.start(1);
    while stage.list(1, "room").is_empty() {
        stage.run(MS(1));
    }
    let node = stage.at(0).node;
    stage.track(0, "room", "heard", "");
    stage.run(MS(5));
    stage.world.block_one_way(0, 1, MS(1));
    stage.track(0, "room", "lost", "");
    stage.run(MS(60));
    assert!(stage.at(1).core.peer_lane(node, 0).is_some_and(|lane| lane.in_transfer), "it is over already");
    assert_eq!((stage.stats(1).naks_sent, stage.stats(0).repairs_sent), (1, 1));
    assert!(!stage.keys(1, "room").iter().any(|key| key == "lost"), "it waits for the stream");
    stage.run(MS(3_000));
    assert_eq!(stage.list(1, "room").len(), 302);
    assert_eq!(stage.stats(1).naks_sent, 1);
    stage.settle();
}

#[test]
fn changes_over_the_budget_wait_and_what_is_undone_meanwhile_is_not_told() {
    let mut stage = stage_with(10, &[1, 1, 1], |build| build.limits.send_bytes_per_s = 100_000);
    stage.run(MS(1_000));
    let before = stage.stats(0);
    // 300 kB, and a second to undo two thirds of it.
    stage.fill(0, "room", 1_050);
    stage.run(MS(500));
    let told = stage.stats(0).delta_bytes_sent - before.delta_bytes_sent;
    assert!(told < 110_000, "{told} B in half a second");
    for at in 350..1_050 {
        stage.untrack(0, "room", &format!("{at:060}"));
    }
    let after = stage.agree(MS(5_000));
    let stats = stage.stats(0);
    assert_eq!(stage.list(1, "room").len(), 350);
    assert!(stats.flushes_deferred > before.flushes_deferred);
    let told = stats.delta_bytes_sent - before.delta_bytes_sent;
    assert!(told < 150_000, "{told} B told, after {after:?}");
    assert_eq!((stage.stats(1).naks_sent, stage.stats(1).snapshot_lanes_taken), (0, 0), "nothing was lost");
    stage.settle();
}

#[test]
fn a_storm_of_one_slow_receivers_requests_is_bounded_and_delays_nobody_else() {
    // A sixteenth of it, which is left when one has dropped much, is enough for what is told.
    let budget = 3_200_000;
    let mut stage = stage_with(11, &[2, 2, 2], |build| build.limits.send_bytes_per_s = budget);
    stage.run(MS(1_000));
    let before = stage.stats(0);
    let seconds = 10;
    let mut worst = Duration::ZERO;
    for round in 0..seconds * 20 {
        // It hears one of its neighbours' datagrams in five.
        let until = stage.world.now + MS(40);
        stage.world.network.deafen(1, until);
        stage.operate(0, 40);
        stage.run(MS(40));
        let at = stage.track(0, "probe", &format!("{round}"), "");
        let mut waited = Duration::ZERO;
        while stage.refs(2, "probe").last() != Some(&at) {
            stage.run(US(500));
            waited += US(500);
            assert!(waited < MS(500), "probe {round} was not seen");
        }
        worst = worst.max(waited);
        stage.untrack(0, "probe", &format!("{round}"));
        stage.run(MS(10));
    }
    let stats = stage.stats(0);
    let repaired = stats.repair_bytes_sent - before.repair_bytes_sent;
    let told = stats.delta_bytes_sent - before.delta_bytes_sent;
    assert!(repaired > 0 && repaired <= 2 * told, "{repaired} B of repairs for {told} B told");
    assert!(stage.stats(1).naks_sent <= seconds * 60, "{} requests", stage.stats(1).naks_sent);
    assert_eq!(stage.stats(2).naks_sent, 0);
    assert!(worst <= MS(20), "a change was seen after {worst:?}");
    stage.settle();
}

#[test]
fn a_sender_whose_members_drop_slows_down_and_recovers() {
    let budget = 1_000_000;
    // What one of nine asks for is no reason.
    let mut stage =
        stage_with(12, &[2, 1, 1, 1, 1, 1, 1, 1, 1, 1], |build| build.limits.send_bytes_per_s = budget);
    stage.run(MS(1_000));
    assert_eq!((stage.stats(0).send_budget, stage.stats(0).send_budget_cuts), (budget, 0));
    for round in 0..10 {
        stage.fill(0, &format!("room {round}"), 200);
        let until = stage.world.now + MS(5);
        stage.world.network.deafen(1, until);
        stage.run(MS(100));
    }
    let stats = stage.stats(0);
    assert!(stats.send_budget_cuts >= 2, "{} cuts", stats.send_budget_cuts);
    assert!(stats.send_budget < budget && stats.send_budget >= budget / 16, "{}", stats.send_budget);
    assert_eq!(stage.stats(2).send_budget, budget, "who has sent little is not the cause");
    stage.run(MS(15_000));
    assert_eq!(stage.stats(0).send_budget, budget);
    stage.settle();
}
