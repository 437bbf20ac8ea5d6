//! What is tracked on one node is seen on the others, whatever the network does.

use super::stage::{MS, small, stage, stage_with};
use crate::sim::network::Weather;
use headcount::{EventKind, Filter};
use std::time::Duration;

#[test]
fn a_clean_network_agrees_within_milliseconds_and_asks_for_nothing_twice() {
    let mut stage = stage(1, &[4, 4, 4]);
    for host in 0..3 {
        stage.operate(host, 50);
    }
    let after = stage.agree(MS(200));
    assert!(after <= MS(100), "it took {after:?}");
    stage.settle();
    for host in 0..3 {
        let stats = stage.stats(host);
        assert_eq!((stats.naks_sent, stats.downs, stats.snapshots_failed), (0, 0, 0));
    }
}

#[test]
fn r1_r2_a_lost_datagram_is_noticed_and_repaired_from_the_ring() {
    let mut stage = stage(2, &[2, 2, 2]);
    stage.track(0, "room", "first", "");
    stage.run(MS(20));
    let before = stage.stats(1).snapshot_lanes_taken;
    stage.world.block_one_way(0, 1, Duration::from_micros(1_200));
    let at = stage.track(0, "room", "lost", "");
    stage.run(MS(1));
    assert_eq!(stage.refs(2, "room").last(), Some(&at));
    assert_eq!(stage.keys(1, "room"), ["first"]);
    stage.run(MS(15));
    assert_eq!(stage.refs(1, "room").last(), Some(&at), "not repaired within 15 ms");
    assert_eq!(stage.stats(1).snapshot_lanes_taken, before, "by a snapshot");
    assert_eq!((stage.stats(1).naks_sent, stage.stats(0).repairs_sent), (1, 1));
    assert_eq!(stage.stats(2).naks_sent, 0);
}

#[test]
fn r2_a_multicast_lost_to_all_is_repaired_to_all() {
    let mut stage = stage(3, &[1, 2, 4, 1]);
    stage.track(0, "room", "first", "");
    stage.run(MS(20));
    stage.weather(Weather { loss_to_all: 1000, ..Weather::CALM });
    stage.track(0, "room", "lost", "");
    stage.run(MS(1));
    stage.weather(Weather::CALM);
    stage.run(MS(20));
    for host in 1..4 {
        assert_eq!(stage.keys(host, "room"), ["first", "lost"]);
        assert_eq!(stage.stats(host).naks_sent, 1);
    }
}

#[test]
fn r2_a_lost_tail_is_noticed_by_the_next_heartbeat() {
    let mut stage = stage(4, &[1, 1]);
    stage.track(0, "room", "first", "");
    stage.run(MS(50));
    // The last delta and the heartbeat right behind it.
    stage.world.block_one_way(0, 1, MS(5));
    stage.track(0, "room", "tail", "");
    stage.run(MS(1_000));
    assert_eq!(stage.keys(1, "room"), ["first", "tail"]);
}

#[test]
fn r11_loss_reordering_and_duplication_end_in_agreement_without_false_downs() {
    for (seed, loss) in [(1, 10), (2, 50), (3, 200)] {
        let mut stage = stage(seed, &[4, 2, 1, 16]);
        let delay_max = MS(20);
        stage.weather(Weather { loss, duplication: 50, late: 10, delay_max, ..Weather::CALM });
        for _ in 0..200 {
            let (host, count) = (stage.rng().below(4), stage.rng().below(20));
            stage.operate(usize::try_from(host).unwrap(), count);
            let rest = stage.rng().time_below(MS(200));
            stage.run(rest);
        }
        let after = stage.settle();
        assert!(after < MS(2_000), "{loss} in a thousand: {after:?}");
        for host in 0..4 {
            assert_eq!(stage.stats(host).downs, 0, "{loss} in a thousand");
        }
    }
}

#[test]
fn r13_what_comes_and_goes_within_one_flush_ends_right_everywhere() {
    let mut stage = stage(5, &[1, 4]);
    let mut events = stage.at(0).tracker.subscribe(Filter::topic("room"));
    // The first is sent at once; what follows is gathered for 2 ms.
    stage.track(0, "room", "anchor", "");
    stage.run(Duration::from_micros(300));
    stage.track(0, "room", "brief", "");
    stage.untrack(0, "room", "brief");
    let kept = stage.track(0, "room", "kept", "1");
    let kept_now = stage.update(0, "room", "kept", "2");
    stage.run(MS(30));
    assert_eq!(stage.keys(1, "room"), ["anchor", "kept"]);
    assert_eq!(stage.refs(1, "room").last(), Some(&kept_now));
    assert_ne!(kept, kept_now);
    let mut local = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event.kind {
            EventKind::Join(entry) => local.push(format!("+{}", entry.key_str())),
            EventKind::Leave(entry) => local.push(format!("-{}", entry.key_str())),
            EventKind::Update { new, .. } => local.push(format!("={}", new.key_str())),
            _ => {}
        }
    }
    assert_eq!(local, ["+anchor", "+brief", "-brief", "+kept", "=kept"]);
    stage.settle();
}

#[test]
fn r16_nodes_with_different_shard_counts_form_one_cluster() {
    let mut stage = stage(6, &[1, 2, 4, 16, 256]);
    for host in 0..5 {
        stage.operate(host, 120);
    }
    let after = stage.agree(MS(2_000));
    assert!(after < MS(1_000), "it took {after:?}");
    stage.settle();
}

#[test]
fn an_update_told_in_several_deltas_reaches_who_was_told_nothing_of_the_first_version() {
    // The lane is told in deltas of four clocks, so "a" is replaced behind the end of the one that its first version is in.
    let mut stage = stage_with(7, &[1, 1], |build| build.limits.clocks_per_delta = 4);
    stage.track(0, "room", "anchor", "");
    stage.run(Duration::from_micros(300));
    stage.track(0, "room", "a", "1");
    for at in 0..9 {
        stage.track(0, "room", &format!("k{at}"), "");
    }
    let last = stage.update(0, "room", "a", "2");
    stage.run(MS(30));
    assert!(stage.refs(1, "room").contains(&last));
    stage.settle();
    assert_eq!(stage.stats(1).snapshots_failed, 0);
}

#[test]
fn the_same_key_on_two_nodes_is_two_entries_everywhere() {
    let mut stage = stage(8, &[2, 2, 8]);
    let refs = [stage.track(0, "room", "alice", "a"), stage.track(1, "room", "alice", "b")];
    stage.run(MS(50));
    for host in 0..3 {
        let mut seen = stage.refs(host, "room");
        seen.sort_by_key(|of| refs.iter().position(|other| other == of));
        assert_eq!(seen, refs);
    }
    stage.untrack(0, "room", "alice");
    stage.run(MS(50));
    assert_eq!(stage.refs(2, "room"), refs[1..]);
}

#[test]
fn st17_an_entry_is_not_another_nodes_to_remove() {
    let mut stage = stage(9, &[2, 2]);
    let at = stage.track(0, "room", "alice", "");
    stage.run(MS(50));
    assert_eq!(stage.refs(1, "room"), [at]);
    assert_eq!(stage.session(1).untrack("room", "alice"), Ok(false));
    assert!(stage.session(1).update("room", "alice", "mine").is_err());
    stage.done(1, &[]);
    stage.settle();
    assert_eq!(stage.refs(0, "room"), [at]);
    assert_eq!(stage.refs(1, "room"), [at]);
}

#[test]
fn st18_a_full_transfer_does_not_overwrite_what_is_newer() {
    for seed in 0..20 {
        let mut stage = stage_with(seed, &[1, 1], small);
        stage.go(|world| {
            world.crash(1);
            Ok(())
        });
        stage.fill(0, "room", 120);
        stage.run(MS(50));
        stage.start(1);
        // Slow streams, and an owner that goes on while they bring what was.
        stage.weather(Weather { delay_max: MS(20), ..Weather::CALM });
        for at in 0..60 {
            stage.update(0, "room", &format!("{at:060}"), "new");
            stage.untrack(0, "room", &format!("{:060}", at + 60));
            let rest = stage.rng().time_below(MS(25));
            stage.run(rest);
        }
        stage.settle();
        assert_eq!(stage.list(1, "room").len(), 60);
        assert!(stage.list(1, "room").iter().all(|entry| entry.meta() == b"new"));
        assert!(stage.stats(1).snapshot_lanes_taken > 0);
    }
}

#[test]
fn a_snapshot_from_before_an_untrack_that_ends_after_it_leaves_no_zombie() {
    let mut stage = stage_with(10, &[1, 1], small);
    stage.go(|world| {
        world.crash(1);
        Ok(())
    });
    stage.fill(0, "room", 200);
    stage.track(0, "room", "zombie", "");
    stage.run(MS(50));
    stage.start(1);
    stage.weather(Weather { delay_max: MS(20), ..Weather::CALM });
    while !stage.list(1, "room").iter().any(|entry| entry.key() == b"zombie") {
        stage.run(MS(1));
    }
    assert!(stage.list(1, "room").len() < 201, "the snapshot is through already");
    stage.untrack(0, "room", "zombie");
    stage.run(MS(3_000));
    assert_eq!(stage.list(1, "room").len(), 200);
    assert!(stage.keys(1, "room").iter().all(|key| key != "zombie"));
    stage.settle();
}

#[test]
fn a_transfer_that_breaks_is_begun_again_and_not_left_to_repairs() {
    let mut stage = stage_with(17, &[1, 1], small);
    stage.go(|world| {
        world.crash(1);
        Ok(())
    });
    stage.fill(0, "room", 150);
    stage.run(MS(50));
    stage.start(1);
    stage.weather(Weather { delay_max: MS(4), ..Weather::CALM });
    while stage.list(1, "room").len() < 40 {
        stage.run(MS(1));
    }
    stage.weather(Weather { stream_break: 1000, ..Weather::CALM });
    while stage.stats(1).snapshots_failed == 0 {
        stage.run(MS(1));
    }
    stage.weather(Weather::CALM);
    stage.run(MS(100));
    assert_eq!(stage.list(1, "room").len(), 150);
    assert_eq!((stage.stats(1).naks_sent, stage.stats(1).snapshots_failed), (0, 1));
    stage.run(MS(500));
    stage.settle();
}

#[test]
fn a_transfer_that_breaks_again_and_again_neither_shows_nor_hides_what_it_should_not() {
    for seed in 0..20 {
        let mut stage = stage_with(seed, &[1, 1], small);
        stage.go(|world| {
            world.crash(1);
            Ok(())
        });
        stage.fill(0, "room", 150);
        stage.run(MS(50));
        stage.start(1);
        stage.weather(Weather { stream_break: 60, delay_max: MS(8), ..Weather::CALM });
        for at in 0..40 {
            stage.update(0, "room", &format!("{:060}", 3 * at), "new");
            stage.untrack(0, "room", &format!("{:060}", 3 * at + 1));
            let rest = stage.rng().time_below(MS(60));
            stage.run(rest);
        }
        stage.settle();
        assert_eq!(stage.list(1, "room").len(), 110);
    }
}

#[test]
fn deltas_that_come_late_wait_for_the_end_of_a_transfer() {
    for seed in 0..12 {
        let mut stage = stage_with(seed, &[1, 1], |build| {
            small(build);
            build.limits.ring_datagrams = 2;
        });
        stage.fill(0, "room", 60);
        stage.agree(MS(1_000));
        let weather = Weather { loss: 100, late: 400, duplication: 100, ..Weather::CALM };
        stage.weather(Weather { delay_max: MS(20), ..weather });
        for at in 0..60 {
            stage.untrack(0, "room", &format!("{at:060}"));
            stage.track(0, "room", &format!("new{at}"), "");
            stage.operate(0, 3);
            let rest = stage.rng().time_below(MS(60));
            stage.run(rest);
        }
        stage.settle();
    }
}

#[test]
fn an_entry_that_is_added_again_does_not_lose_to_its_old_dot() {
    for seed in 0..30 {
        let mut stage = stage(seed, &[1, 1, 2]);
        let weather = Weather { loss: 100, duplication: 400, late: 300, delay_max: MS(20), ..Weather::CALM };
        stage.weather(weather);
        let mut last = stage.track(0, "room", "alice", "0");
        for turn in 0..12 {
            let rest = stage.rng().time_below(MS(40));
            stage.run(rest);
            stage.untrack(0, "room", "alice");
            let rest = stage.rng().time_below(MS(4));
            stage.run(rest);
            last = stage.track(0, "room", "alice", &format!("{turn}"));
        }
        stage.settle();
        assert_eq!(stage.refs(1, "room"), [last]);
        assert_eq!(stage.refs(2, "room"), [last]);
    }
}

#[test]
fn a_slow_receiver_asks_in_moderation_and_delays_nobody_else() {
    let mut stage = stage(11, &[2, 2, 2]);
    let seconds = 10;
    for _ in 0..seconds * 10 {
        let until = stage.world.now + MS(50);
        stage.world.network.deafen(1, until);
        for _ in 0..10 {
            stage.operate(0, 3);
            stage.run(MS(10));
            let told: Vec<u64> = (0..2).map(|lane| stage.at(0).replica.lane_clock(lane)).collect();
            let node = stage.at(0).node;
            let held: Vec<u64> = (0..2)
                .map(|lane| stage.at(2).replica.remote_lane(node, lane).unwrap().summary.clock)
                .collect();
            assert_eq!(held, told, "the one that hears well is kept waiting");
        }
    }
    stage.settle();
    let (naks, repairs) = (stage.stats(1).naks_sent, stage.stats(0).repairs_sent);
    assert!(naks <= seconds * 100, "{naks} requests in {seconds} s");
    assert!(repairs <= stage.stats(0).delta_datagrams_sent, "{repairs} repairs");
    assert_eq!(stage.stats(2).naks_sent, 0);
}
