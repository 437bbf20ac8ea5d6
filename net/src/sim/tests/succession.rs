//! Lives that follow each other: a node that starts again at once is a change, not a storm.

use super::stage::{MS, Stage, stage, stage_with};
use crate::core::MemberState;
use crate::sim::network::Weather;
use std::time::Duration;

fn crash(stage: &mut Stage, host: usize) {
    stage.go(|world| {
        world.crash(host);
        Ok(())
    });
}

/// Joins and leaves that a subscriber of everything on a host has seen.
fn events(stage: &Stage, host: usize) -> (u64, u64) {
    let view = &stage.at(host).view;
    (view.joins, view.leaves)
}

/// Lets time pass, and says how few and how many entries a host listed of a topic meanwhile.
fn watch(stage: &mut Stage, host: usize, topic: &str, time: Duration) -> (usize, usize) {
    let until = stage.world.now + time;
    let mut seen = (usize::MAX, 0);
    while stage.world.now < until {
        let listed = stage.list(host, topic).len();
        seen = (seen.0.min(listed), seen.1.max(listed));
        stage.run(MS(1));
    }
    seen
}

#[test]
fn r4_a_fast_restart_leaves_no_gap_and_nothing_of_the_old_life() {
    for seed in 0..10 {
        let mut stage = stage(seed, &[4, 2, 2]);
        for key in 0..50 {
            stage.track(0, "room", &format!("{key}"), "first life");
        }
        stage.agree(MS(500));
        if seed % 2 == 1 {
            stage.weather(Weather { loss: 50, late: 20, ..Weather::CALM });
        }
        let old = stage.at(0).life;
        let before = events(&stage, 1);
        crash(&mut stage, 0);
        stage.run(MS(100));
        stage.start(0);
        for key in 0..50 {
            stage.track(0, "room", &format!("{key}"), "second life");
        }
        let (fewest, most) = watch(&mut stage, 1, "room", MS(2_600));
        assert_eq!((fewest, most), (50, 50), "seed {seed}: no gap, nothing twice");
        let life = stage.at(0).life;
        assert!(life > old);
        for host in 1..3 {
            assert!(stage.refs(host, "room").iter().all(|of| of.incarnation == life), "R4");
        }
        let after = events(&stage, 1);
        assert_eq!((after.0 - before.0, after.1 - before.1), (50, 50), "each once");
        stage.settle();
    }
}

#[test]
fn a_new_life_that_does_not_catch_up_is_shown_after_two_seconds_all_the_same() {
    let mut stage = stage(11, &[1, 1, 1]);
    stage.track(0, "room", "alice", "first life");
    stage.agree(MS(500));
    let node = stage.at(0).node;
    crash(&mut stage, 0);
    stage.start(0);
    // What it has is more than comes through.
    stage.fill(0, "room", 3_000);
    stage.world.make_slow(200, MS(20));
    stage.run(MS(1_330));
    let peer = stage.at(1).core.peer(node).expect("it is met");
    assert!(peer.hidden && !peer.synced);
    assert_eq!(stage.keys(1, "room"), ["alice"], "what was there is there");
    stage.run(MS(1_300));
    let peer = stage.at(1).core.peer(node).expect("it is there");
    assert!(!peer.hidden && peer.before.is_none());
    assert!(!stage.keys(1, "room").contains(&"alice".to_owned()));
    stage.settle();
}

#[test]
fn a_life_that_dies_before_it_is_shown_takes_the_one_before_it_along() {
    let mut stage = stage(12, &[1, 1, 1]);
    stage.track(0, "room", "alice", "first life");
    stage.agree(MS(500));
    crash(&mut stage, 0);
    stage.start(0);
    stage.fill(0, "room", 2_000);
    stage.world.make_slow(200, MS(20));
    stage.run(MS(500));
    assert_eq!(stage.keys(1, "room"), ["alice"]);
    crash(&mut stage, 0);
    stage.run(MS(2_600));
    assert_eq!(stage.keys(1, "room"), [""; 0], "two seconds of silence");
    stage.settle();
}

#[test]
fn one_life_after_another_is_one_change() {
    let mut stage = stage(13, &[2, 2]);
    stage.track(0, "room", "alice", "first life");
    stage.agree(MS(500));
    let before = events(&stage, 1);
    for _ in 0..3 {
        crash(&mut stage, 0);
        stage.start(0);
        stage.run(MS(320));
    }
    crash(&mut stage, 0);
    stage.start(0);
    stage.track(0, "room", "alice", "last life");
    let (fewest, most) = watch(&mut stage, 1, "room", MS(2_600));
    assert_eq!(most, 1);
    // Those in between had no entries, and one of them may have been shown.
    assert!(fewest <= 1);
    let after = events(&stage, 1);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
    stage.settle();
}

fn leave(stage: &mut Stage, host: usize, handover: Duration) {
    stage.go(|world| world.leave(host, handover));
}

#[test]
fn what_is_handed_over_stays_for_the_stated_time_and_then_goes() {
    for seed in 0..6 {
        let mut stage = stage_with(seed, &[2, 2, 2], |build| {
            build.timing.handover_max = MS(20_000);
        });
        let node = stage.at(0).node;
        stage.track(0, "room", "alice", "");
        stage.agree(MS(500));
        if seed % 2 == 1 {
            stage.weather(Weather { loss: 50, late: 50, duplication: 50, replay: 50, ..Weather::CALM });
        }
        let stays = if seed < 4 { MS(5_000) } else { MS(20_000) };
        // Longer than others bear is as long as they do.
        leave(&mut stage, 0, if seed < 4 { stays } else { MS(3_600_000) });
        stage.run(MS(100));
        assert!(!stage.runs(0));
        for host in 1..3 {
            let peer = stage.at(host).core.peer(node).expect("it is known");
            assert!(peer.leaving && !peer.hidden);
            let shown = stage.at(host).core.members();
            assert!(shown.iter().any(|member| member.node == node && member.state == MemberState::Leaving));
        }
        for host in 1..3 {
            assert_eq!(watch(&mut stage, host, "room", stays / 2 - MS(200)), (1, 1), "seed {seed}");
        }
        stage.run(MS(800));
        for host in 1..3 {
            assert_eq!(stage.list(host, "room").len(), 0, "seed {seed}");
            assert!(stage.at(host).core.peer(node).is_none(), "it is gone for good");
            assert_eq!((stage.stats(host).handovers, stage.stats(host).downs), (1, 0));
        }
        stage.settle();
    }
}

#[test]
fn r4_a_handover_to_a_new_life_leaves_no_gap() {
    for seed in 0..6 {
        let mut stage = stage(seed, &[4, 2, 2]);
        for key in 0..30 {
            stage.track(0, "room", &format!("{key}"), "old program");
        }
        stage.agree(MS(500));
        let before = events(&stage, 1);
        leave(&mut stage, 0, MS(30_000));
        // As long as it takes to start another: far longer than silence is borne.
        assert_eq!(watch(&mut stage, 1, "room", MS(8_000)), (30, 30));
        stage.start(0);
        for key in 0..30 {
            stage.track(0, "room", &format!("{key}"), "new program");
        }
        assert_eq!(watch(&mut stage, 1, "room", MS(1_500)), (30, 30), "seed {seed}");
        let life = stage.at(0).life;
        for host in 1..3 {
            assert!(stage.refs(host, "room").iter().all(|of| of.incarnation == life), "R4");
        }
        let after = events(&stage, 1);
        assert_eq!((after.0 - before.0, after.1 - before.1), (30, 30), "each once");
        stage.settle();
    }
}

#[test]
fn barriers_do_not_wait_for_who_hands_over() {
    let mut stage = stage(14, &[1, 1, 1]);
    leave(&mut stage, 0, MS(30_000));
    stage.run(MS(100));
    stage.track(1, "room", "alice", "");
    let id = stage.at(1).id;
    stage.go(|world| world.begin_barrier(id, MS(500)));
    stage.run(MS(600));
    assert_eq!((stage.at(1).barriers_reached, stage.at(1).barriers_missed.len()), (1, 0));
}

#[test]
fn a_node_that_keeps_its_epoch_is_above_its_past_where_nobody_can_tell_it() {
    let mut stage = stage_with(15, &[1, 1, 1], |build| build.keeps_epoch = true);
    stage.track(0, "room", "alice", "first life");
    stage.agree(MS(500));
    let old = stage.at(0).life;
    crash(&mut stage, 0);
    stage.world.split(&[0], MS(1_500));
    stage.start(0);
    stage.track(0, "room", "alice", "second life");
    stage.run(MS(1_000));
    let new = stage.at(0).life;
    assert_eq!(new.epoch, old.epoch + 1);
    stage.run(MS(1_500));
    assert_eq!(stage.at(0).life, new, "it needs no other");
    assert_eq!(stage.stats(0).incarnation_jumps, 0);
    stage.settle();
}
