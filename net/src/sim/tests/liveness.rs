//! Silence, and whose fault it is.

use super::stage::{MS, Stage, small, stage, stage_with};
use crate::core::{MemberState, Notice, Time};
use crate::sim::Crowd;
use crate::sim::network::Weather;
use crate::sim::process::Awaited;
use crate::wire::DATAGRAM_MAX;
use headcount::Incarnation;
use std::time::Duration;

fn state(stage: &Stage, of: usize, at: usize) -> MemberState {
    let node = stage.at(of).node;
    stage.at(at).core.peer(node).expect("it is known").state
}

fn all_downs(stage: &Stage) -> Vec<u64> {
    (0..stage.world.hosts.len()).map(|host| stage.stats(host).downs).collect()
}

#[test]
fn r10_a_node_that_others_hear_is_not_down_though_one_does_not_hear_it() {
    // In three the only other one is enough.
    for (seed, shards) in [(1, &[2, 2, 2][..]), (2, &[2, 2, 1, 1]), (3, &[1, 2, 4, 1, 2, 1])] {
        let mut stage = stage(seed, shards);
        let seen = vec![stage.track(0, "room", "alice", "")];
        stage.run(MS(50));
        // Not a word of 0 comes to 1, in all weather.
        stage.weather(Weather { loss: 50, ..Weather::CALM });
        stage.world.block_one_way(0, 1, MS(5_800));
        stage.run(MS(400));
        assert_eq!(state(&stage, 0, 1), MemberState::Up);
        stage.run(MS(600));
        for _ in 0..45 {
            assert_eq!(state(&stage, 0, 1), MemberState::UpIndirect);
            assert_eq!(stage.refs(1, "room"), seen, "it is listed");
            stage.run(MS(100));
        }
        assert_eq!(stage.stats(1).isolations, 0);
        stage.settle();
        assert_eq!(all_downs(&stage), vec![0; shards.len()]);
    }
}

#[test]
fn r10_one_way_links_all_around_declare_nobody_down() {
    // Everybody is not heard by its neighbour.
    let mut stage = stage(4, &[1, 2, 1, 2, 1]);
    for host in 0..5 {
        stage.operate(host, 20);
        stage.world.block_one_way(host, (host + 1) % 5, MS(5_000));
    }
    stage.run(MS(1_200));
    for host in 0..5 {
        assert_eq!(state(&stage, host, (host + 1) % 5), MemberState::UpIndirect);
        assert_eq!(state(&stage, host, (host + 2) % 5), MemberState::Up);
    }
    stage.run(MS(3_700));
    stage.settle();
    assert_eq!(all_downs(&stage), [0; 5]);
}

#[test]
fn a_node_that_is_not_heard_is_down_at_the_limit_whatever_others_say() {
    let mut stage = stage(5, &[1, 1, 1, 1]);
    stage.world.block_one_way(0, 1, MS(8_000));
    stage.run(MS(5_800));
    assert_eq!(state(&stage, 0, 1), MemberState::UpIndirect);
    stage.run(MS(400));
    assert_eq!(state(&stage, 0, 1), MemberState::Down);
    stage.settle();
}

#[test]
fn a_dead_node_is_down_after_two_seconds_for_everybody() {
    for seed in 0..10 {
        let mut stage = stage(seed, &[1, 1, 1, 1, 1]);
        stage.weather(Weather { loss: 50, ..Weather::CALM });
        stage.run(MS(500));
        stage.go(|world| {
            world.crash(0);
            Ok(())
        });
        stage.run(MS(1_700));
        assert_eq!(all_downs_of(&stage, 1..5), [0; 4]);
        stage.run(MS(700));
        assert_eq!(all_downs_of(&stage, 1..5), [1; 4]);
    }
}

fn all_downs_of(stage: &Stage, hosts: std::ops::Range<usize>) -> Vec<u64> {
    hosts.map(|host| stage.stats(host).downs).collect()
}

#[test]
fn an_old_life_is_not_kept_up_by_what_is_heard_of_the_new_one() {
    let mut stage = stage(6, &[1, 1, 1, 1]);
    let old = stage.at(0).life;
    stage.go(|world| {
        world.crash(0);
        Ok(())
    });
    // 1 does not learn of the new life.
    stage.world.block_one_way(0, 1, MS(4_000));
    stage.start(0);
    stage.run(MS(2_400));
    let node = stage.at(0).node;
    let peer = stage.at(1).core.peer(node).expect("not forgotten yet");
    assert_eq!((peer.incarnation, peer.state), (old, MemberState::Down));
    assert_eq!(state(&stage, 0, 2), MemberState::Up);
    stage.settle();
}

#[test]
fn an_isolated_node_blames_itself_up_to_the_limit() {
    let mut stage = stage(7, &[1, 2, 1, 1]);
    let seen = [stage.track(1, "room", "alice", "")];
    stage.run(MS(50));
    stage.world.split(&[0], MS(5_500));
    stage.run(MS(350));
    assert_eq!(stage.at(0).core.stale_since(), None);
    stage.run(MS(400));
    let since = stage.at(0).core.stale_since().expect("all fell silent at once");
    let age = stage.world.now - stage.at(0).started - since;
    assert!((MS(600)..MS(900)).contains(&age), "{age:?}");
    stage.run(MS(4_600));
    for of in 1..4 {
        assert_eq!(state(&stage, of, 0), MemberState::Suspect);
        assert_eq!(state(&stage, 0, of), MemberState::Down, "the others are right");
    }
    assert_eq!(stage.refs(0, "room"), seen);
    // Heard again: none of them goes down for being the last to be heard.
    stage.run(MS(1_000));
    assert_eq!(stage.at(0).core.stale_since(), None);
    assert_eq!(stage.stats(0).downs, 0);
    assert_eq!(stage.at(0).notices, [Notice::Isolated, Notice::Rejoined]);
    stage.settle();
}

#[test]
fn an_isolation_that_lasts_ends_at_the_limit() {
    let mut stage = stage(8, &[1, 1, 1]);
    stage.world.split(&[0], MS(12_000));
    stage.run(MS(5_800));
    assert_eq!(stage.stats(0).downs, 0);
    stage.run(MS(400));
    assert_eq!(stage.stats(0).downs, 2);
    stage.run(MS(1_000));
    assert_eq!(stage.at(0).notices, [Notice::Isolated, Notice::Rejoined]);
    stage.settle();
}

#[test]
fn r12_no_wall_clock_is_read_so_its_steps_change_nothing() {
    // Time comes into the core as a parameter, and from `Instant` in the driver. What this proves: neither this crate nor the engine under
    // it names a wall clock anywhere but in tests and in the files below, which write times for people to read, or read such times back. Other
    // crates are not looked at: those that are used here are given no time and asked for none.
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().expect("the workspace");
    let mut folders = vec![root.join("net/src"), root.join("engine/src")];
    let mut files = 0;
    // Taken apart, so that this file is none of those that it looks for.
    let [system_time, epoch, gettime, rustix, realtime] = [
        ["System", "Time"],
        ["UNIX", "_EPOCH"],
        ["clock_", "gettime"],
        ["Clock", "Id"],
        ["CLOCK_", "REALTIME"],
    ]
    .map(|parts| parts.concat());
    let (reads, now) = (["System", "Time::now"].concat(), ["unix", "_now"].concat());
    // Which files may name what, and how often they may read a clock.
    let exceptions = [
        // When the node began, for the times of its events in the counters file.
        ("net/src/shown/mod.rs", vec![&system_time, &epoch], 1),
        // When a counters file was made, and the one place where the engine reads the clock. The other clock there is the one without steps.
        ("engine/src/counters/file.rs", vec![&system_time, &epoch, &gettime, &now], 1),
        // When that was, for who reads the file.
        ("engine/src/counters/reader.rs", vec![&system_time, &epoch], 0),
        // When something was written into the diary.
        ("engine/src/counters/diary.rs", vec![&now], 0),
    ];
    let mut met = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("counters/tests") {
                    folders.push(path);
                }
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(root).expect("it is below");
            let exception = exceptions.iter().find(|(named, ..)| file == std::path::Path::new(named));
            met += usize::from(exception.is_some());
            for clock in [&system_time, &epoch, &gettime, &rustix, &realtime, &now] {
                let may = exception.is_some_and(|(_, named, _)| named.contains(&clock));
                assert!(may || !text.contains(clock), "{} names {clock}", path.display());
            }
            let may_read = exception.map_or(0, |&(_, _, times)| times);
            assert_eq!(text.matches(&reads).count(), may_read, "{} reads a wall clock", path.display());
            let monotonic = ["Inst", "ant"].concat();
            let sans_io = ["core", "wire"].iter().any(|part| path.iter().any(|folder| folder == *part));
            assert!(!sans_io || !text.contains(&monotonic), "{} reads a clock", path.display());
        }
    }
    assert!(files > 100, "{files} files");
    assert_eq!(met, exceptions.len(), "an exception is for a file that is not there any more");
}

#[test]
fn r14_nobody_is_down_in_ten_minutes_of_five_percent_loss_and_pauses_of_a_second() {
    let mut stage = stage(9, &[1, 2, 1, 4, 1]);
    stage.weather(Weather { loss: 50, delay_max: MS(5), ..Weather::CALM });
    for second in 0..600 {
        let host = usize::try_from(stage.rng().below(5)).unwrap();
        stage.operate(host, 3);
        if second % 10 == 0 {
            let host = second / 10 % 5;
            stage.world.pause(host, MS(1_000));
        }
        stage.run(MS(1_000));
    }
    assert_eq!(all_downs(&stage), [0; 5]);
    stage.settle();
}

/// The second of three nodes is in the middle of a snapshot of 600 entries that the first gives.
fn in_a_snapshot(seed: u64) -> Stage {
    let mut stage = stage_with(seed, &[1, 1, 1], small);
    stage.go(|world| {
        world.crash(1);
        Ok(())
    });
    stage.fill(0, "room", 600);
    stage.run(MS(2_500));
    stage.weather(Weather { delay_max: MS(8), ..Weather::CALM });
    stage.start(1);
    while stage.stats(1).snapshot_bytes_received < 20_000 {
        stage.run(MS(5));
    }
    stage
}

#[test]
fn a_stopped_taker_of_a_snapshot_goes_on_where_it_was() {
    for (seed, pause) in [(1, 1_000), (2, 10_000)] {
        let mut stage = in_a_snapshot(seed);
        let [downs, failed] = [stage.stats(1).downs, stage.stats(1).snapshots_failed];
        stage.world.pause(1, MS(pause));
        stage.run(MS(pause + 1));
        stage.agree(Duration::from_secs(20));
        let stats = stage.stats(1);
        assert_eq!((stats.downs, stats.snapshots_failed, stats.pauses), (downs, failed, 1), "{pause} ms");
        assert_eq!(stage.list(1, "room").len(), 600);
        stage.settle();
    }
}

#[test]
fn a_stopped_giver_of_a_snapshot_is_waited_for_while_it_is_not_down() {
    let mut stage = in_a_snapshot(3);
    let before = stage.stats(0).downs;
    stage.world.pause(0, MS(1_000));
    stage.run(MS(1_001));
    stage.agree(Duration::from_secs(20));
    assert_eq!((stage.stats(1).snapshots_failed, stage.stats(1).downs), (0, 0));
    assert_eq!(stage.stats(0).downs, before);
    stage.settle();
}

#[test]
fn a_pause_of_ten_seconds_blames_nobody() {
    for seed in 0..5 {
        let mut stage = stage(seed, &[1, 2, 1, 1]);
        stage.weather(Weather { loss: 50, ..Weather::CALM });
        for host in 0..4 {
            stage.operate(host, 40);
        }
        stage.world.pause(0, MS(10_000));
        stage.run(MS(10_500));
        assert_eq!(stage.stats(0).downs, 0);
        assert_eq!(stage.stats(0).isolations, 0);
        stage.settle();
    }
}

#[test]
fn a_node_under_strain_bears_more_silence_and_recovers() {
    let mut stage = stage(10, &[1, 1, 1]);
    let strain = |stage: &Stage| {
        let process = stage.at(0);
        process.core.strain(stage.world.now - process.started)
    };
    assert_eq!(strain(&stage), 0);
    for _ in 0..8 {
        stage.world.pause(0, MS(180));
        stage.run(MS(200));
    }
    assert!(strain(&stage) > 300, "{}", strain(&stage));
    stage.run(MS(4_100));
    assert_eq!(strain(&stage), 0);
    // What its own buffers drop counts too.
    for _ in 0..5 {
        let until = stage.world.now + MS(60);
        stage.world.network.deafen(0, until);
        stage.operate(1, 3);
        stage.run(MS(150));
    }
    assert!(strain(&stage) > 500, "{}", strain(&stage));
    stage.settle();
}

#[test]
fn dead_nodes_by_the_hundred_do_not_overflow_a_datagram() {
    let mut crowd = Crowd::new(400, 8);
    // A quarter lives on; everybody else is missed first, and then remembered.
    for step in 1..80 {
        for member in 0..100 {
            crowd.hear(MS(step * 100), member);
        }
    }
    assert_eq!(crowd.members(), (400, 300));
    assert!((200..=DATAGRAM_MAX).contains(&crowd.longest_sent()), "{} B", crowd.longest_sent());
}

#[test]
fn a_barrier_that_reported_true_means_that_everybody_sees_the_write() {
    for (seed, loss) in [(1, 0), (2, 50), (3, 200)] {
        let mut stage = stage(seed, &[2, 4, 1, 16]);
        stage.weather(Weather { loss, duplication: 50, delay_max: MS(5), ..Weather::CALM });
        for round in 0..40 {
            let host = round % 4;
            stage.operate(host, 10);
            let at = stage.track(host, "room", &format!("{round}"), "");
            let reached = stage.at(host).barriers_reached;
            stage.go(|world| world.begin_barrier(host, MS(4_000)));
            let since = stage.world.now;
            while stage.at(host).barriers_reached == reached {
                stage.run(MS(1));
                let took = stage.world.now - since;
                assert!(took < MS(4_000), "not reached at {loss} in a thousand");
                // The barrier's first heartbeat may be covered by nobody, because a later one has overtaken it; after 20 ms there is another.
                assert!(loss > 0 || took < MS(40), "{took:?} in calm weather");
            }
            // That it is so is also checked by the invariant; here it is looked up.
            for reader in 0..4 {
                assert!(stage.refs(reader, "room").contains(&at), "{reader} has not round {round}");
            }
        }
        stage.settle();
    }
}

#[test]
fn a_barrier_is_not_reached_by_a_heartbeat_that_leaves_out_what_was_lost() {
    for seed in 0..40 {
        let mut stage = stage(seed, &[2, 1]);
        stage.operate(0, 20);
        stage.run(MS(50) + Duration::from_micros(seed * 2_500));
        // The write and the heartbeat that names it are lost. The one behind the flush is not, and names nothing any more.
        stage.world.block_one_way(0, 1, Duration::from_micros(1_500));
        let at = stage.track(0, "room", "alice", "");
        stage.go(|world| world.begin_barrier(0, MS(1_000)));
        while stage.at(0).barriers_reached == 0 {
            assert!(stage.at(0).barriers_missed.is_empty());
            stage.run(MS(1));
        }
        assert_eq!(stage.refs(1, "room"), [at]);
    }
}

#[test]
fn a_barrier_names_who_is_missing_and_does_not_wait_for_the_dead() {
    let mut stage = stage(11, &[1, 1, 1]);
    stage.world.pause(2, MS(9_000));
    stage.track(0, "room", "alice", "");
    let missing = stage.at(2).node;
    stage.go(|world| world.begin_barrier(0, MS(300)));
    stage.run(MS(400));
    assert_eq!(stage.at(0).barriers_missed, [missing]);
    stage.run(MS(2_200));
    assert_eq!(state(&stage, 2, 0), MemberState::Down);
    stage.go(|world| world.begin_barrier(0, MS(300)));
    stage.run(MS(50));
    assert_eq!(stage.at(0).barriers_reached, 1);
    stage.settle();
}

#[test]
fn a_node_that_hides_another_does_not_say_that_it_has_its_writes() {
    let mut stage = stage(12, &[1, 1]);
    stage.track(0, "room", "old", "");
    stage.run(MS(50));
    // 1 holds 0 for down, which hears it all the while.
    stage.world.block_one_way(0, 1, MS(2_500));
    stage.run(MS(2_300));
    assert_eq!((state(&stage, 0, 1), state(&stage, 1, 0)), (MemberState::Down, MemberState::Up));
    stage.track(0, "room", "new", "");
    stage.go(|world| world.begin_barrier(0, MS(3_000)));
    while stage.at(0).barriers_reached == 0 {
        assert!(stage.world.now < MS(10_000), "never reached");
        assert!(stage.at(0).barriers_missed.is_empty());
        stage.run(MS(1));
    }
    assert_eq!(stage.keys(1, "room"), ["new", "old"]);
    stage.settle();
}

#[test]
fn a_barrier_ends_with_the_membership() {
    let mut stage = stage(13, &[1, 1]);
    stage.world.pause(1, MS(1_000));
    stage.go(|world| world.begin_barrier(0, MS(3_000)));
    assert_eq!(stage.at(0).barriers.len(), 1);
    stage.go(|world| world.leave(0, MS(0)));
    assert!(stage.at(0).barriers.is_empty(), "somebody waits for ever");
    assert_eq!((stage.at(0).barriers_reached, stage.at(0).barriers_missed.len()), (0, 0));
}

#[test]
fn who_hides_the_writer_of_a_barrier_is_excused_only_for_a_down_of_it_after_the_answer() {
    let mut stage = stage(14, &[1, 1]);
    stage.track(0, "room", "alice", "");
    stage.go(|world| world.begin_barrier(0, MS(1_000)));
    let mut seq = None;
    while stage.at(0).barriers_reached == 0 {
        seq = stage.at(0).barriers.values().find_map(|awaited| awaited.seq).or(seq);
        stage.run(Duration::from_micros(20));
    }
    let seq = seq.unwrap();
    let awaited = |seq| Awaited { clocks: vec![1], seq };
    let (writer, reader) = (stage.at(0).id, stage.at(1).id);
    let broken = |stage: &Stage, seq| stage.world.check_reached(writer, &awaited(seq)).err();
    assert!(broken(&stage, Some(seq)).is_none());
    // 1 holds 0 for down, which hears it all the while.
    stage.world.block_one_way(0, 1, MS(2_500));
    stage.run(MS(2_300));
    assert_eq!((state(&stage, 0, 1), state(&stage, 1, 0)), (MemberState::Down, MemberState::Up));
    assert!(broken(&stage, Some(seq)).is_none());
    for unanswered in [None, Some(seq + 1_000)] {
        assert_eq!(broken(&stage, unanswered).unwrap().invariant, "11", "it never said so");
    }
    let (node, life) = (stage.at(0).node, stage.at(0).life);
    let (_, down) = stage.at(1).held_down[&node];
    let earlier = Incarnation { epoch: life.epoch - 1, ..life };
    for turned in [(life, Time::ZERO), (earlier, down)] {
        stage.world.process_mut(reader).unwrap().held_down.insert(node, turned);
        assert_eq!(broken(&stage, Some(seq)).unwrap().invariant, "11", "{turned:?}");
    }
    stage.world.process_mut(reader).unwrap().held_down.clear();
    assert_eq!(broken(&stage, Some(seq)).unwrap().invariant, "11", "it has held nobody for down");
}
