//! Nodes that stop, die, leave, return and are replaced.

use super::stage::{MS, stage};
use crate::core::MemberState;
use headcount::{EventKind, Filter, NodeState};

#[test]
fn r4_no_entry_of_an_old_life_is_seen_after_a_restart_under_the_same_name() {
    // Down before it is back, and not.
    for (seed, away) in [(1, MS(3_000)), (2, MS(20)), (3, MS(1_900))] {
        let mut stage = stage(seed, &[2, 4, 1]);
        let old = stage.track(0, "room", "alice", "old");
        stage.run(MS(50));
        stage.go(|world| {
            world.crash(0);
            Ok(())
        });
        stage.run(away);
        let down = away > MS(2_000);
        assert_eq!(stage.refs(1, "room"), if down { vec![] } else { vec![old] });
        stage.start(0);
        stage.run(MS(400));
        let new = stage.track(0, "room", "alice", "new");
        assert!(new.incarnation > old.incarnation);
        stage.run(MS(50));
        for host in 0..3 {
            assert_eq!(stage.refs(host, "room"), [new]);
        }
        stage.settle();
    }
}

#[test]
fn r5_a_stopped_node_leaves_and_returns_with_the_same_refs_and_a_killed_one_with_new_ones() {
    let mut stage = stage(1, &[4, 4, 4]);
    let refs = [stage.track(0, "room", "alice", ""), stage.track(0, "room", "bob", "")];
    stage.track(1, "other", "carol", "");
    stage.run(MS(50));
    let seen = stage.refs(1, "room");
    assert_eq!(seen.len(), 2);
    stage.world.pause(0, MS(10_000));
    stage.run(MS(1_700));
    assert_eq!(stage.refs(1, "room"), seen, "left too early");
    stage.run(MS(800));
    assert!(stage.refs(1, "room").is_empty() && stage.refs(2, "room").is_empty(), "still there");
    stage.run(MS(7_600));
    assert_eq!(stage.refs(1, "room"), seen, "not back");
    assert!(refs.iter().all(|at| seen.contains(at)));
    // It heard nobody for ten seconds and blames nobody.
    assert_eq!(stage.stats(0).downs, 0);
    assert_eq!(stage.stats(0).pauses, 1);
    assert_eq!((stage.stats(1).downs, stage.stats(2).downs), (1, 1));
    stage.agree(MS(500));
    stage.go(|world| {
        world.crash(0);
        Ok(())
    });
    stage.run(MS(2_300));
    assert!(stage.refs(1, "room").is_empty());
    stage.start(0);
    stage.run(MS(400));
    let again = stage.track(0, "room", "alice", "");
    stage.run(MS(50));
    assert_eq!(stage.refs(1, "room"), [again]);
    assert!(again.incarnation > refs[0].incarnation);
    stage.settle();
}

#[test]
fn r7_a_node_that_leaves_is_gone_at_once() {
    let mut stage = stage(2, &[4, 2, 1]);
    for at in 0..20 {
        stage.track(0, "room", &format!("k{at}"), "");
    }
    stage.run(MS(50));
    assert_eq!(stage.list(1, "room").len(), 20);
    let node = stage.at(0).node;
    // What it does last is still told, and leaves with it.
    stage.track(0, "room", "last", "");
    stage.go(|world| world.leave(0, MS(0)));
    stage.run(MS(5));
    for host in 1..3 {
        assert!(stage.list(host, "room").is_empty());
        assert!(stage.at(host).core.peer(node).is_none() && stage.at(host).tracker.node(node).is_none());
    }
    stage.run(MS(100));
    assert!(stage.world.hosts[0].process.is_none(), "it has not ended");
    stage.settle();
    assert_eq!(stage.stats(1).downs, 0);
}

#[test]
fn r8_nodes_are_replaced_one_by_one_and_no_view_is_ever_wrong() {
    let mut stage = stage(3, &[2, 4, 8, 1]);
    for round in 0..2 {
        for host in 0..4 {
            stage.operate(host, 60);
            stage.run(MS(100));
            if round == 0 {
                stage.go(|world| world.leave(host, MS(0)));
            } else {
                stage.go(|world| {
                    world.crash(host);
                    Ok(())
                });
            }
            stage.run(MS(150));
            // Another size this time.
            let shards = [4, 2, 1, 16][host];
            stage.world.hosts[host].build.shards = shards;
            stage.start(host);
            stage.operate(host, 20);
            stage.run(MS(400));
            stage.agree(MS(1_000));
            let others: u64 = (0..4)
                .filter(|&other| other != host)
                .map(|other| u64::from(stage.at(other).replica.lanes()))
                .sum();
            let stats = stage.stats(host);
            assert!(stats.snapshot_lanes_taken <= others, "{} lanes of {others}", stats.snapshot_lanes_taken);
            assert_eq!(stats.snapshots_failed, 0);
        }
    }
    stage.settle();
    for host in 0..4 {
        assert_eq!(stage.stats(host).downs, 0);
    }
}

#[test]
fn r9_after_a_split_the_views_are_equal_within_a_second() {
    for (seed, spell) in [(1, 9_000), (2, 1_200), (3, 15_000)] {
        let mut stage = stage(seed, &[4, 2, 4, 1]);
        for host in 0..4 {
            stage.operate(host, 80);
            stage.track(host, "room", &format!("stays{host}"), "");
            stage.track(host, "room", &format!("goes{host}"), "");
        }
        stage.run(MS(200));
        stage.world.split(&[0, 1], MS(spell));
        stage.run(MS(100));
        for host in 0..4 {
            stage.operate(host, 40);
            stage.untrack(host, "room", &format!("goes{host}"));
            stage.track(host, "room", &format!("comes{host}"), "");
        }
        stage.run(MS(spell - 200));
        let (node, state) = (stage.at(2).node, stage.at(0).tracker.node(stage.at(2).node).unwrap().state);
        // Most of the others fell silent at once: they are held up to the limit.
        assert_eq!(state == NodeState::Down, spell > 6_000, "{node} is {state:?}");
        stage.run(MS(101));
        let after = stage.agree(MS(1_000));
        assert!(after <= MS(1_000), "it took {after:?}");
        for host in 0..4 {
            let keys = stage.keys(host, "room");
            assert_eq!(keys.iter().filter(|key| key.starts_with("comes")).count(), 4);
            assert!(!keys.iter().any(|key| key.starts_with("goes")), "a leave has not crossed: {keys:?}");
        }
        stage.settle();
    }
}

#[test]
fn r9_what_went_during_a_split_leaves_once() {
    for (seed, spell) in [(1, 1_200), (2, 6_000)] {
        let mut stage = stage(seed, &[2, 2]);
        stage.track(0, "room", "goes", "");
        stage.run(MS(50));
        let mut events = stage.at(1).tracker.subscribe(Filter::topic("room").without_snapshot());
        stage.world.split(&[0], MS(spell));
        stage.untrack(0, "room", "goes");
        stage.run(MS(spell + 2_000));
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            match event.kind {
                EventKind::Join(entry) => seen.push(format!("+{}", entry.key_str())),
                EventKind::Leave(entry) => seen.push(format!("-{}", entry.key_str())),
                _ => {}
            }
        }
        // However long the split: out of sight while the node is down, and not back for a moment after it.
        assert_eq!(seen, ["-goes"], "after {spell} ms");
        stage.settle();
    }
}

#[test]
fn r14_an_idle_cluster_stays_up_for_hours_though_heartbeats_are_lost() {
    let mut stage = stage(4, &[1, 2]);
    stage.track(0, "room", "alice", "");
    stage.track(1, "room", "bob", "");
    stage.run(MS(1_000));
    let before = [stage.stats(0), stage.stats(1)];
    stage.weather(crate::sim::network::Weather { loss: 30, ..crate::sim::network::Weather::CALM });
    for _ in 0..2 * 60 {
        stage.run(MS(60_000));
        assert_eq!(stage.keys(0, "room"), ["alice", "bob"]);
    }
    for (host, before) in before.into_iter().enumerate() {
        let stats = stage.stats(host);
        assert_eq!((stats.downs, stats.naks_sent), (0, before.naks_sent));
        assert_eq!(stats.snapshot_lanes_taken, before.snapshot_lanes_taken);
    }
}

#[test]
fn a_node_that_is_forgotten_returns_whole_and_a_dead_one_stays_away() {
    let mut stage = super::stage::stage_with(5, &[2, 2, 2], |build| build.timing.forget_after = MS(5_000));
    for host in 0..3 {
        stage.operate(host, 60);
    }
    stage.run(MS(100));
    let node = stage.at(2).node;
    stage.world.split(&[0, 1], MS(8_000));
    stage.run(MS(7_900));
    assert!(stage.at(0).core.peer(node).is_none(), "not forgotten");
    assert!(stage.at(0).replica.entries_of(node).is_empty());
    stage.run(MS(200));
    stage.agree(MS(1_000));
    stage.go(|world| {
        world.crash(2);
        Ok(())
    });
    stage.run(MS(4_000));
    assert_eq!(stage.at(0).core.peer(node).map(|peer| peer.state), Some(MemberState::Down));
    stage.run(MS(2_000));
    assert!(stage.at(0).core.peer(node).is_none());
    stage.settle();
}
