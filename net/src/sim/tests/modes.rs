//! Without multicast, and with a multicast that fails.

use super::stage::{MS, Stage, stage, stage_with};
use crate::core::Mode;
use crate::sim::network::Weather;

/// Nodes that are told of these hosts and have no group.
fn unicast(seed: u64, nodes: usize, seeds: &[usize]) -> Stage {
    stage_with(seed, &vec![2; nodes], |build| (build.mode, build.seeds) = (Mode::Unicast, seeds.to_vec()))
}

#[test]
fn r1_without_multicast_every_node_sees_what_the_others_do() {
    let mut stage = unicast(1, 3, &[0, 1, 2]);
    let joined = stage.track(0, "room", "alice", "1");
    stage.agree(MS(200));
    assert_eq!(stage.refs(2, "room"), [joined]);
    stage.update(0, "room", "alice", "2");
    stage.untrack(0, "room", "alice");
    stage.track(1, "room", "bob", "");
    stage.agree(MS(200));
    assert_eq!(stage.keys(2, "room"), ["bob"]);
    assert!((0..3).all(|host| stage.stats(host).snapshots_failed == 0 && stage.stats(host).downs == 0));
}

#[test]
fn one_seed_is_enough_for_all_to_find_each_other() {
    // More nodes than one hello tells of.
    let mut stage = unicast(2, 20, &[0]);
    stage.track(7, "room", "alice", "");
    stage.agree(MS(200));
    assert!((0..20).all(|host| stage.keys(host, "room") == ["alice"]));
}

#[test]
fn nodes_that_know_each_other_do_without_their_seed_and_it_finds_its_way_back() {
    let mut stage = unicast(3, 4, &[0]);
    stage.go(|world| {
        world.crash(0);
        Ok(())
    });
    stage.track(1, "room", "alice", "");
    stage.run(MS(4_000));
    assert_eq!(stage.keys(3, "room"), ["alice"]);
    // Its own list names nobody else: the others know where it was.
    stage.start(0);
    stage.run(MS(500));
    stage.agree(MS(6_000));
    assert_eq!(stage.keys(0, "room"), ["alice"]);
}

#[test]
fn a_seed_that_starts_last_is_found() {
    let mut stage = unicast(4, 3, &[0]);
    for host in 0..3 {
        stage.go(|world| {
            world.crash(host);
            Ok(())
        });
    }
    // Two that know nobody but the seed, and it is not there.
    (1..3).for_each(|host| stage.start(host));
    stage.run(MS(3_000));
    assert_eq!(stage.at(1).core.members().len(), 0);
    stage.start(0);
    stage.run(MS(600));
    stage.agree(MS(7_000));
}

#[test]
fn without_multicast_a_lost_datagram_is_repaired_and_a_crash_is_noticed() {
    let mut stage = unicast(5, 3, &[0, 1, 2]);
    stage.weather(Weather { loss: 150, ..Weather::CALM });
    (0..40).for_each(|_| {
        stage.operate(0, 20);
        stage.run(MS(5));
    });
    stage.weather(Weather::CALM);
    stage.agree(MS(2_000));
    assert!(stage.stats(0).repairs_sent > 0);
    stage.track(2, "room", "carol", "");
    stage.agree(MS(200));
    stage.go(|world| {
        world.crash(2);
        Ok(())
    });
    stage.run(MS(2_500));
    assert!(stage.keys(0, "room").is_empty() && stage.keys(1, "room").is_empty());
}

#[test]
fn what_a_datagram_to_all_costs_is_counted_for_each_copy() {
    let mut stage = unicast(6, 4, &[0]);
    stage.run(MS(1_000));
    let before = stage.stats(1);
    stage.run(MS(10_000));
    let after = stage.stats(1);
    // Ten heartbeats a second to each of three, and a hello a second to one.
    let sent = after.datagrams_sent - before.datagrams_sent;
    assert!((290..=345).contains(&sent), "{sent} datagrams");
    assert_eq!(stage.at(1).core.fan_out().len(), 3);
}

#[test]
fn a_node_that_multicast_does_not_reach_any_more_says_so_and_is_told_by_unicast() {
    let mut stage = stage(7, &[2, 2, 2]);
    let alice = stage.track(0, "room", "alice", "");
    stage.agree(MS(200));
    stage.go(|world| {
        world.prune(1, MS(20_000));
        Ok(())
    });
    stage.run(MS(3_000));
    assert_eq!(stage.refs(1, "room"), [alice], "nobody is lost meanwhile");
    assert_eq!(stage.stats(1).fallbacks, 1);
    assert!(stage.at(1).core.fallback_since().is_some());
    let bob = stage.track(2, "room", "bob", "");
    stage.run(MS(20));
    assert!(stage.refs(1, "room").contains(&bob), "without a repair in between");
    stage.run(MS(10_000));
    let copies = |stage: &Stage| [0, 1, 2].map(|host| stage.at(host).core.fan_out().len());
    assert_eq!(copies(&stage), [1, 0, 1], "copies for the one that needs them");
    assert!([0, 1, 2].iter().all(|&host| stage.stats(host).downs == 0));
    assert_eq!([0, 2].map(|host| stage.stats(host).fallbacks), [0, 0]);

    stage.run(MS(12_000));
    assert!(stage.at(1).core.fallback_since().is_none(), "the group works again");
    assert_eq!(copies(&stage), [0, 0, 0]);
    assert_eq!(stage.stats(1).fallbacks, 1);
    stage.settle();
}

#[test]
fn all_nodes_without_multicast_go_on_by_unicast() {
    let mut stage = stage(8, &[2, 2, 2, 2]);
    stage.go(|world| {
        (0..4).for_each(|host| world.prune(host, MS(30_000)));
        Ok(())
    });
    stage.run(MS(4_000));
    stage.track(0, "room", "alice", "");
    stage.run(MS(20));
    for host in 0..4 {
        assert_eq!(stage.keys(host, "room"), ["alice"]);
        assert_eq!((stage.stats(host).fallbacks, stage.stats(host).downs), (1, 0));
        assert_eq!(stage.at(host).core.fan_out().len(), 3);
    }
    stage.settle();
    stage.run(MS(4_000));
    assert!((0..4).all(|host| stage.at(host).core.fan_out().is_empty()));
}

#[test]
fn the_only_peers_crash_is_no_loss_of_multicast() {
    let mut stage = stage(9, &[2, 2]);
    stage.go(|world| {
        world.crash(1);
        Ok(())
    });
    stage.run(MS(10_000));
    assert_eq!((stage.stats(0).fallbacks, stage.stats(0).downs), (0, 1));
}

#[test]
fn what_fills_a_datagram_does_not_wait() {
    let micros = std::time::Duration::from_micros;
    let mut stage = stage(10, &[1, 1]);
    // Teaches it what an operation takes.
    stage.fill(0, "warm", 100);
    stage.run(MS(50));
    // The first after a while goes at once, and the next wait for company, 2 ms at most.
    stage.fill(0, "first", 1);
    stage.run(micros(300));
    let first = stage.stats(0).delta_datagrams_sent;
    stage.fill(0, "second", 1);
    stage.run(micros(400));
    assert_eq!(stage.stats(0).delta_datagrams_sent - first, 0, "one entry of 260 B waits");
    stage.fill(0, "third", 4);
    stage.run(micros(400));
    assert_eq!(stage.stats(0).delta_datagrams_sent - first, 2, "five fill a datagram and do not");
    stage.run(MS(5));
    assert_eq!(stage.stats(0).delta_datagrams_sent - first, 2, "all at once");
    stage.agree(MS(100));
}
