//! PROTOCOL.md section 10: what brought other presence systems down.

use super::stage::{MS, Stage, stage, stage_with};
use crate::sim::network::Weather;
use std::time::Duration;

#[test]
fn a_leave_crosses_a_healed_split_like_a_join() {
    // Short of being down, where nothing but the leave itself takes the entry away.
    let mut stage = stage(1, &[1, 1]);
    stage.track(0, "room", "goes", "");
    stage.run(MS(50));
    stage.world.split(&[0], MS(1_500));
    stage.untrack(0, "room", "goes");
    stage.track(0, "room", "comes", "");
    stage.run(MS(1_400));
    let leaves = stage.at(1).view.leaves;
    assert_eq!(stage.keys(1, "room"), ["goes"]);
    stage.run(MS(1_100));
    assert_eq!(stage.keys(1, "room"), ["comes"]);
    assert_eq!(stage.at(1).view.leaves, leaves + 1, "it left more than once");
    stage.settle();
}

#[test]
fn an_older_life_does_not_win_over_a_newer_and_a_node_that_heard_nothing_of_its_past_gets_above_it() {
    let mut jumps = 0;
    for seed in 0..20 {
        let mut stage = stage(seed, &[2, 2, 2]);
        let old = stage.track(0, "room", "alice", "old");
        stage.run(MS(50));
        stage.go(|world| {
            world.crash(0);
            Ok(())
        });
        // It starts again where nobody can tell it of its past life: epoch 1 once more.
        stage.world.split(&[0], MS(3_000));
        stage.start(0);
        stage.run(MS(500));
        stage.track(0, "room", "alice", "new");
        stage.run(MS(2_600));
        stage.agree(MS(1_500));
        jumps += stage.stats(0).incarnation_jumps;
        for host in 0..3 {
            let seen = stage.list(host, "room");
            assert!(
                seen.len() == 1
                    && seen[0].meta() == b"new"
                    && seen[0].entry_ref().incarnation > old.incarnation
            );
        }
        stage.settle();
    }
    assert!((1..20).contains(&jumps), "{jumps} of 20 had a lower life by chance");
}

#[test]
fn a_node_that_left_is_let_in_again_though_it_heard_nothing_of_its_past() {
    let mut jumps = 0;
    for seed in 0..20 {
        let mut stage = stage(seed, &[1, 1]);
        stage.go(|world| world.leave(0, MS(0)));
        stage.run(MS(300));
        stage.world.split(&[0], MS(1_000));
        stage.start(0);
        stage.run(MS(1_100));
        stage.agree(MS(1_500));
        jumps += stage.stats(0).incarnation_jumps;
    }
    assert!((1..20).contains(&jumps), "{jumps} of 20 had a lower life by chance");
}

#[test]
fn a_mass_restart_leaves_nobody_dead_and_nothing_of_the_old_lives() {
    for seed in 0..10 {
        let mut stage = stage(seed, &[4, 4, 2, 1, 16]);
        for host in 0..5 {
            stage.operate(host, 60);
        }
        stage.run(MS(100));
        for host in 0..5 {
            stage.go(|world| {
                world.crash(host);
                Ok(())
            });
        }
        for host in 0..5 {
            stage.start(host);
            let rest = stage.rng().time_below(MS(100));
            stage.run(rest);
        }
        stage.run(MS(400));
        for host in 0..5 {
            stage.track(host, "room", &format!("n{host}"), "");
        }
        let after = stage.agree(MS(2_000));
        assert!(after <= MS(1_000), "it took {after:?}");
        assert_eq!(stage.at(3).tracker.len(), 5);
        stage.settle();
    }
}

#[test]
fn a_goodbye_is_not_undone_by_what_it_overtook() {
    for seed in 0..20 {
        let mut stage = stage(seed, &[1, 1, 1]);
        stage.go(|world| {
            world.crash(0);
            Ok(())
        });
        stage.start(0);
        // It proves itself while it listens. It has just gone live: its announcements are under way while it leaves.
        stage.run(MS(290));
        stage.weather(Weather { late: 500, duplication: 300, delay_max: MS(20), ..Weather::CALM });
        stage.run(MS(90));
        stage.operate(0, 40);
        stage.run(MS(20));
        stage.operate(0, 10);
        let (node, life) = (stage.at(0).node, stage.at(0).life);
        stage.go(|world| world.leave(0, MS(0)));
        stage.run(MS(800));
        for host in 1..3 {
            // Who has not had the new life's proof before its goodbye goes on with the old one, until that is down.
            assert!(
                stage.at(host).core.peer(node).is_none_or(|peer| peer.incarnation != life),
                "seed {seed}"
            );
        }
        stage.settle();
    }
}

#[test]
fn a_log_that_ran_over_costs_a_snapshot_and_nothing_else() {
    let mut stage = stage_with(12, &[1, 1], |build| build.lane_log_max = 16);
    stage.operate(0, 20);
    stage.run(MS(50));
    // More in one go than the log holds.
    stage.operate(0, 200);
    let after = stage.agree(MS(1_000));
    assert!(after <= MS(200), "it took {after:?}");
    assert!(stage.stats(1).snapshot_lanes_taken > 0);
    stage.settle();
}

#[test]
fn what_a_log_that_ran_over_left_out_is_not_looked_for_in_the_ring() {
    let mut stage = stage_with(12, &[1, 1], |build| build.lane_log_max = 16);
    stage.track(0, "room", "anchor", "");
    stage.run(MS(50));
    stage.world.block_one_way(0, 1, MS(20));
    stage.operate(0, 200);
    stage.run(MS(5));
    // Told after the hole, and lost too: the hole is in the middle of what is asked for.
    stage.track(0, "room", "after", "");
    stage.run(MS(20));
    stage.track(0, "room", "last", "");
    let after = stage.agree(MS(1_000));
    assert!(after <= MS(100), "it took {after:?}");
    assert_eq!(stage.stats(1).naks_sent, 1);
    stage.settle();
}

#[test]
fn what_the_ring_no_longer_holds_is_offered_as_a_snapshot() {
    let mut stage = stage_with(13, &[1, 1], |build| build.limits.ring_datagrams = 2);
    stage.world.block_one_way(0, 1, MS(100));
    for _ in 0..20 {
        stage.operate(0, 4);
        stage.run(MS(5));
    }
    let after = stage.agree(MS(1_000));
    assert!(after <= MS(300), "it took {after:?}");
    assert!(stage.stats(0).repairs_beyond_ring > 0 && stage.stats(1).snapshot_lanes_taken > 0);
    assert_eq!(stage.stats(1).naks_sent, 1, "asked again for what it was told to fetch");
    stage.settle();
}

#[test]
fn many_joiners_at_once_wait_their_turn_for_snapshots() {
    let mut stage = stage_with(14, &[1, 1, 1, 1, 1], |build| {
        super::stage::small(build);
        (build.limits.serves, build.limits.fetches) = (1, 2);
    });
    for host in 1..5 {
        stage.go(|world| {
            world.crash(host);
            Ok(())
        });
    }
    stage.fill(0, "room", 300);
    stage.run(MS(2_500));
    stage.weather(Weather { delay_max: MS(8), ..Weather::CALM });
    (1..5).for_each(|host| stage.start(host));
    stage.run(MS(500));
    stage.agree(Duration::from_secs(20));
    assert!((1..5).any(|host| stage.stats(host).snapshots_put_off > 0));
    stage.settle();
}

#[test]
fn a_damaged_datagram_is_counted_and_changes_nothing() {
    // That each is counted once is checked at every step.
    let mut stage = stage(15, &[2, 2, 2]);
    stage.weather(Weather { flip: 300, ..Weather::CALM });
    for _ in 0..50 {
        (0..3).for_each(|host| stage.operate(host, 4));
        stage.run(MS(20));
    }
    assert!(stage.world.network.losses.flipped > 200);
    stage.settle();
}

#[test]
fn a_goodbye_leaves_no_node_spinning() {
    // Announcements are still due when it leaves.
    let mut stage = stage(16, &[1, 1]);
    stage.go(|world| {
        world.crash(0);
        Ok(())
    });
    stage.start(0);
    stage.run(MS(310));
    stage.go(|world| world.leave(0, MS(0)));
    stage.run(MS(200));
    assert!(stage.world.hosts[0].process.is_none());
}

#[test]
fn r19_two_processes_under_one_name_that_meet_after_a_split_become_one() {
    for seed in 0..20 {
        let mut stage = super::stage::stage_with(seed, &[2, 2, 2], |build| {
            // The last machine starts what has the name of the first.
            if build.name == "n2" {
                (build.name, build.is_twin) = ("n0".into(), true);
            }
        });
        stage.world.split(&[0, 1], MS(5_000));
        stage.start(2);
        stage.run(MS(1_000));
        let old = stage.track(0, "room", "alice", "first");
        let new = stage.track(2, "room", "alice", "second");
        stage.run(MS(3_900));
        assert_eq!(old.node, new.node);
        assert_eq!((stage.refs(1, "room"), stage.refs(2, "room")), (vec![old], vec![new]));
        stage.run(MS(1_200));
        let left: Vec<usize> = [0, 2].into_iter().filter(|&host| stage.runs(host)).collect();
        assert_eq!((left.len(), stage.world.faults.twins_stopped), (1, 1), "not one of the two went on");
        // The lower of the two, unless somebody else told it first of the higher life and it got above that.
        let jumps = stage.stats(left[0]).incarnation_jumps;
        let lower = if old < new { 0 } else { 2 };
        assert!(jumps <= 1 && (jumps == 1) == (left == [lower]), "n{} went on after {jumps} jumps", left[0]);
        // They do not take turns.
        let kept = stage.refs(1, "room");
        assert!(kept.len() == 1 && kept[0].incarnation >= old.max(new).incarnation);
        stage.run(MS(3_000));
        assert!(stage.runs(left[0]));
        assert_eq!(stage.refs(1, "room"), kept);
        stage.agree(MS(1_000));
    }
}

#[test]
fn r19_a_second_process_under_a_name_that_is_taken_stops_and_disturbs_nobody() {
    let mut stage = super::stage::stage_with(1, &[2, 2, 2], |build| {
        if build.name == "n2" {
            (build.name, build.is_twin) = ("n0".into(), true);
        }
    });
    let at = stage.track(0, "room", "alice", "");
    stage.run(MS(50));
    let leaves = stage.at(1).view.leaves;
    for turn in 1..=5 {
        stage.start(2);
        stage.run(MS(1_000));
        assert!(stage.runs(0) && !stage.runs(2));
        assert_eq!(stage.world.faults.twins_stopped, turn);
    }
    assert_eq!(stage.refs(1, "room"), [at]);
    assert_eq!(stage.at(1).view.leaves, leaves);
    stage.settle();
}

#[test]
fn while_a_replica_is_down_no_transfer_is_begun_and_then_one() {
    // It dies, or falls silent, in the middle of a transfer from it.
    for dies in [true, false] {
        let mut stage = super::stage::stage_with(21, &[1, 1, 1], super::stage::small);
        stage.fill(2, "room", 400);
        stage.run(MS(2_000));
        stage.agree(MS(2_000));
        stage.go(|world| {
            world.crash(0);
            Ok(())
        });
        stage.start(0);
        stage.weather(Weather { delay_max: MS(15), ..Weather::CALM });
        while stage.list(0, "room").len() < 50 {
            stage.run(MS(1));
        }
        assert!(stage.list(0, "room").len() < 400, "the transfer is through already");
        if dies {
            stage.go(|world| {
                world.crash(2);
                Ok(())
            });
        } else {
            stage.world.split(&[2], MS(14_000));
        }
        // Till everybody has noticed, streams may be tried.
        stage.run(MS(3_000));
        let (streams, before) = (stage.world.streams.made(), [stage.stats(0), stage.stats(1)]);
        for _ in 0..100 {
            (0..2).for_each(|host| stage.operate(host, 2));
            stage.run(MS(100));
        }
        assert_eq!(stage.world.streams.made(), streams);
        for (host, before) in before.into_iter().enumerate() {
            let stats = stage.stats(host);
            let transfers = |stats: &crate::NetStats| (stats.snapshot_lanes_sent, stats.snapshots_failed);
            assert_eq!(transfers(&stats), transfers(&before), "n{host}, dies: {dies}");
        }
        if dies {
            stage.start(2);
        } else {
            stage.run(MS(1_000));
        }
        stage.agree(MS(5_000));
        stage.settle();
    }
}

#[test]
fn a_node_that_is_told_of_its_later_life_is_told_in_moderation_and_answers_once() {
    // It is back where it hears nobody: the others hear it speak in a life that is over, and it cannot hear what they say to that.
    let mut jumped = false;
    for seed in 0..8 {
        let mut stage = stage(seed, &[1, 1, 1, 1]);
        stage.go(|world| {
            world.crash(0);
            Ok(())
        });
        stage.world.split(&[0], MS(800));
        for from in 1..4 {
            stage.world.block_one_way(from, 0, MS(10_000));
        }
        stage.start(0);
        stage.run(MS(900));
        let told = |stage: &Stage| {
            let challenges: u64 = (1..4).map(|host| stage.stats(host).challenges_sent).sum();
            stage.world.ledger.rejects + challenges
        };
        let before = told(&stage);
        let seconds = 8;
        stage.run(MS(seconds * 1_000));
        let answers = told(&stage) - before;
        // Each of three asks for a proof once a heartbeat at most, ten in a second and what a change brings, and nothing but that.
        assert!((1..=3 * seconds * 12).contains(&answers), "{answers} in {seconds} s");
        stage.run(MS(1_200));
        let (heard, jumps) = (stage.world.ledger.rejects, stage.stats(0).incarnation_jumps);
        assert!(jumps <= 1, "it took {jumps} lives");
        jumped |= jumps == 1 && heard > 0;
        stage.run(MS(3_000));
        assert_eq!(stage.world.ledger.rejects, heard, "they go on and on");
        stage.settle();
    }
    assert!(jumped, "no seed had a lower life");
}

#[test]
fn many_slow_receivers_ask_in_moderation_and_delay_nobody_else() {
    let mut stage = stage(22, &[2, 1, 1, 1, 1, 1, 1, 1]);
    let seconds = 5;
    let node = stage.at(0).node;
    for _ in 0..seconds * 10 {
        let until = stage.world.now + MS(50);
        (1..7).for_each(|host| stage.world.network.deafen(host, until));
        for _ in 0..10 {
            stage.operate(0, 3);
            stage.run(MS(10));
            for lane in 0..2 {
                let told = stage.at(0).replica.lane_clock(lane);
                let held = stage.at(7).replica.remote_lane(node, lane).unwrap().summary.clock;
                assert_eq!(held, told, "the one that hears well is kept waiting");
            }
        }
    }
    stage.settle();
    let sent = stage.stats(0);
    for host in 1..7 {
        let naks = stage.stats(host).naks_sent;
        assert!(naks <= seconds * 100, "n{host}: {naks} requests in {seconds} s");
    }
    // To each of the six at most what it missed.
    assert!(sent.repairs_sent <= 6 * sent.delta_datagrams_sent, "{} repairs", sent.repairs_sent);
    assert_eq!(stage.stats(7).naks_sent, 0);
}
