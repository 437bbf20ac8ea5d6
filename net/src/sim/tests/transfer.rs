//! What passes over streams: how much of it, how often it is made, and what the rest of the cluster notices.

use super::stage::{MS, Stage, small, stage, stage_with};
use crate::core::{Output, StreamAction, StreamId, StreamInput};
use crate::sim::network::Weather;
use crate::wire::{Message, MessageBuffer, WIRE_VERSION, Wanted};
use std::time::Duration;

fn crash(stage: &mut Stage, host: usize) {
    stage.go(|world| {
        world.crash(host);
        Ok(())
    });
}

/// The bytes that a host has taken over streams.
fn taken(stage: &Stage, host: usize) -> u64 {
    stage.stats(host).snapshot_bytes_received
}

#[test]
fn r8_many_joiners_at_once_take_a_few_streams_at_a_time_of_lanes_that_are_encoded_once() {
    let shards = [4, 1, 1, 1, 1, 1, 1, 1, 1];
    let mut stage = stage(21, &shards);
    let joiners = 1..shards.len();
    joiners.clone().for_each(|host| crash(&mut stage, host));
    stage.run(MS(2_500));
    for topic in 0..40 {
        stage.fill(0, &format!("room {topic}"), 100);
    }
    // Slow enough for four streams to be under way when the others ask.
    stage.go(|world| {
        world.make_slow(4_000, MS(1));
        Ok(())
    });
    let before = stage.stats(0);
    joiners.clone().for_each(|host| stage.start(host));
    // That never more than four are served is checked at every step.
    stage.run(MS(350));
    let after = stage.agree(MS(2_000));
    assert!(after <= MS(1_000), "it took {after:?}");
    let stats = stage.stats(0);
    let sent = stats.snapshot_lanes_sent - before.snapshot_lanes_sent;
    let encoded = stats.snapshot_lanes_encoded - before.snapshot_lanes_encoded;
    assert_eq!(sent, 4 * joiners.len() as u64, "every lane to everybody");
    assert_eq!(encoded, 4, "and each encoded once");
    assert!(joiners.clone().any(|host| stage.stats(host).snapshots_put_off > 0), "nobody had to wait");
    assert!(joiners.clone().all(|host| stage.stats(host).snapshots_failed == 0));
    stage.settle();
}

#[test]
fn a_slow_joiner_and_a_small_store_of_encoded_lanes_keep_nobody_from_the_whole_lane() {
    for seed in 0..6 {
        let mut stage = stage_with(seed, &[1, 1, 1, 1], |build| {
            small(build);
            (build.limits.shared_bytes, build.limits.bulk_bytes_per_s, build.limits.bulk_burst) =
                (if seed % 2 == 0 { 0 } else { 20_000 }, 400_000, 1);
        });
        (1..4).for_each(|host| crash(&mut stage, host));
        stage.run(MS(2_500));
        stage.fill(0, "room", 300);
        stage.weather(Weather { delay_max: MS(8), ..Weather::CALM });
        for host in 1..4 {
            stage.start(host);
            stage.run(MS(90));
        }
        // What it is read from is changed all the while: what takes too long is encoded without waiting for who reads.
        for at in 0..200 {
            stage.update(0, "room", &format!("{at:060}"), "new");
            stage.run(MS(7));
        }
        stage.settle();
        for host in 1..4 {
            assert_eq!(stage.list(host, "room").len(), 300);
        }
        assert!(stage.stats(0).bulk_waits > 0);
    }
}

/// A split of a minute (shorter than it takes to be forgotten) with so many changes on host 0 of what was `count` entries; returns how long it took to heal, and how many
/// bytes over streams.
fn heal(stage: &mut Stage, count: usize, changes: usize) -> (Duration, u64) {
    for room in 0..count / 1_000 {
        let entries = (0..1_000).map(|at| (format!("room {room}"), format!("{at:08}"), ""));
        let refs = stage.session(0).track_many(entries).expect("not there yet");
        stage.done(0, &refs);
    }
    stage.run(MS(1_000));
    stage.agree(MS(5_000));
    let before = taken(stage, 1);
    stage.world.split(&[0], MS(60_000));
    stage.run(MS(1_000));
    for at in 0..changes / 2 {
        let room = format!("room {}", at % (count / 1_000));
        stage.untrack(0, &room, &format!("{:08}", at));
        stage.track(0, &room, &format!("new {at:012}"), &"7".repeat(200));
    }
    stage.run(MS(59_001));
    let after = stage.agree(MS(1_000));
    (after, taken(stage, 1) - before)
}

/// Key and meta of an entry that `heal` tracks; a leave costs next to nothing beside them.
const ENTRY: u64 = 16 + 200;

#[test]
fn r9_a_split_of_a_minute_with_one_percent_of_churn_heals_at_once_and_costs_the_churn() {
    // What the ring still has would be repaired from there.
    let mut stage = stage_with(31, &[4, 2], |build| build.limits.ring_datagrams = 2);
    let (after, bytes) = heal(&mut stage, 20_000, 200);
    let churn = 100 * ENTRY;
    assert!(after <= MS(1_000), "it took {after:?}");
    assert!(bytes <= churn * 11 / 10 + 2_000, "{bytes} B for {churn} B of changes");
    assert!(bytes >= churn, "it came in another way");
    assert_eq!(stage.stats(1).catch_ups_taken, 4);
    stage.settle();
}

#[test]
fn r9_a_split_longer_than_the_log_costs_the_churn_and_less_than_a_byte_for_what_stayed() {
    let mut stage = stage_with(32, &[4, 2], |build| build.lane_log_max = 16);
    let (after, bytes) = heal(&mut stage, 20_000, 200);
    let churn = 100 * ENTRY;
    assert!(after <= MS(1_000), "it took {after:?}");
    // Beside the changes, about ten bits for each run of what stayed.
    assert!(bytes <= churn * 11 / 10 + 4_000, "{bytes} B for {churn} B of changes");
    assert_eq!(stage.stats(1).catch_ups_taken, 0);
    stage.settle();
}

#[test]
fn r15_a_join_of_many_entries_does_not_hold_up_what_is_live() {
    let mut stage = stage_with(41, &[4, 2, 1], |build| {
        (build.limits.bulk_bytes_per_s, build.limits.bulk_burst) = (2_000_000, 1);
        build.limits.portion_bytes = 32 * 1024;
    });
    crash(&mut stage, 2);
    stage.run(MS(2_500));
    // The checks after every step make more entries slow; the streams are made slow in their place.
    for topic in 0..4 {
        stage.fill(0, &format!("room {topic}"), 1_000);
    }
    stage.run(MS(500));
    stage.agree(MS(5_000));
    let before = stage.stats(0).snapshot_bytes_sent;
    stage.start(2);
    let (mut worst, mut during) = (Duration::ZERO, 0);
    for probe in 0..150 {
        let key = format!("probe {probe}");
        let at = stage.track(0, "live", &key, "");
        let mut waited = Duration::ZERO;
        while stage.refs(1, "live").last() != Some(&at) {
            stage.run(Duration::from_micros(250));
            waited += Duration::from_micros(250);
            assert!(waited < MS(100), "probe {probe} was not seen");
        }
        worst = worst.max(waited);
        let sent = stage.stats(0).snapshot_bytes_sent;
        during += u32::from(
            sent > before
                && !stage.at(2).core.peers().any(|peer| peer.node == stage.at(0).node && peer.synced),
        );
        stage.untrack(0, "live", &key);
        stage.run(MS(5).saturating_sub(waited));
    }
    assert!(during >= 10, "only {during} probes fell into the join");
    assert!(worst <= MS(5), "a change was seen after {worst:?}");
    stage.agree(MS(2_000));
    stage.settle();
}

#[test]
fn a_lane_that_lacks_little_is_there_first() {
    let mut stage = stage_with(51, &[2, 1], |build| {
        (build.limits.bulk_bytes_per_s, build.limits.bulk_burst) = (2_000_000, 1);
        build.limits.portion_bytes = 32 * 1024;
    });
    crash(&mut stage, 1);
    stage.run(MS(2_500));
    let lane_of = |stage: &mut Stage, topic: &str| stage.track(0, topic, "key", "").lane;
    let full = lane_of(&mut stage, "a");
    let other = (0..)
        .map(|at| format!("b{at}"))
        .find(|topic| lane_of(&mut stage, topic) != full)
        .expect("one of two");
    stage.fill(0, "a", 3_000);
    // All told, so that the joiner hears of both lanes at once.
    stage.run(MS(500));
    stage.weather(Weather { delay_max: MS(4), ..Weather::CALM });
    stage.start(1);
    for _ in 0..1_000 {
        stage.run(MS(1));
        if !stage.list(1, &other).is_empty() {
            break;
        }
    }
    assert!(stage.list(1, "a").len() < 500, "{} came before the one", stage.list(1, "a").len());
    assert_eq!(stage.list(1, &other).len(), 1);
    stage.settle();
}

/// Gives a host's core something over a stream, outside the world's time; what comes of it is returned.
fn give(stage: &mut Stage, host: usize, id: StreamId, input: StreamInput<'_>) -> Output {
    let now = stage.world.now;
    let process = stage.world.hosts[host].process.as_mut().expect("the node runs");
    let mut out = Output::default();
    process.core.handle(now - process.started, crate::core::Input::Stream(id, input), &mut out);
    out
}

fn sent(out: &Output) -> Vec<u8> {
    let bytes = |action: &StreamAction| match action {
        StreamAction::Send(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    out.streams.iter().flat_map(|(_, action)| bytes(action)).collect()
}

#[test]
fn an_asker_that_claims_anything_gets_what_there_is_and_one_that_wants_all_twice_gets_it_twice() {
    let mut stage = stage(61, &[2, 1]);
    for topic in 0..20 {
        stage.track(0, &format!("room {topic}"), "alice", "");
    }
    stage.run(MS(50));
    let (node, life) = (stage.at(0).node, stage.at(0).core.incarnation());
    let wanted = |lane, base, reached, diverged| Wanted { lane, base, reached, diverged };
    let lanes = vec![
        wanted(0, 0, 0, false),
        wanted(0, 0, 0, false),
        wanted(1, 3, 1 << 50, false),
        wanted(1, u64::MAX >> 2, u64::MAX >> 2, true),
        wanted(1, 1 << 40, 1 << 40, false),
        wanted(77, 0, 0, false),
    ];
    let request = Message::Request {
        relayed: false,
        version: WIRE_VERSION,
        cluster: crate::sim::world::CLUSTER,
        node: 1,
        target_node: node.0,
        target_incarnation: life.to_u64(),
        lanes,
    };
    let mut bytes = Vec::new();
    request.put(&mut bytes).unwrap();
    let before = stage.stats(0).snapshot_lanes_encoded;
    let id = StreamId(1_000_001);
    give(&mut stage, 0, id, StreamInput::Accepted);
    let out = give(&mut stage, 0, id, StreamInput::Bytes(&bytes));
    let mut buffer = MessageBuffer::default();
    assert!(buffer.push(&sent(&out)));
    let (mut ends, mut done) = (Vec::new(), false);
    while let Some((kind, body)) = buffer.next().unwrap() {
        match Message::decode(kind, body).unwrap() {
            Message::LaneEnd { lane, .. } => ends.push(lane),
            Message::Done => done = true,
            _ => {}
        }
    }
    assert_eq!((ends, done), (vec![0, 0, 1, 1, 1], true));
    assert_eq!(stage.stats(0).snapshot_lanes_encoded - before, 3, "one for the two that ask for the same");
    assert_eq!(stage.stats(0).catch_ups_sent, 1);
    stage.settle();
}

#[test]
fn a_giver_that_breaks_the_rules_is_given_up_and_asked_again_and_nothing_is_believed() {
    let lane_begin = |lane, base, as_of| Message::LaneBegin { lane, base, as_of, count: 1 };
    let scripts: [(&str, Vec<Message<'_>>); 6] = [
        ("a lane that was not asked for", vec![lane_begin(9, 0, 5)]),
        ("a lane within a lane", vec![lane_begin(0, 0, 60), lane_begin(0, 0, 60)]),
        (
            "operations in a snapshot",
            vec![lane_begin(0, 0, 60), Message::OpsBegin { lane: 0, lo: 0, as_of: 60 }],
        ),
        ("an end without a beginning", vec![Message::LaneEnd { lane: 0, as_of: 5, count: 0, digest: 0 }]),
        ("the end of all within a lane", vec![lane_begin(0, 0, 60), Message::Done]),
        (
            "an end that came too early",
            vec![
                Message::OpsBegin { lane: 0, lo: 0, as_of: 60 },
                Message::LaneEnd { lane: 0, as_of: 60, count: 0, digest: 0 },
            ],
        ),
    ];
    for (name, script) in scripts {
        let mut stage = stage_with(71, &[1, 1], small);
        crash(&mut stage, 1);
        stage.fill(0, "room", 60);
        stage.run(MS(2_500));
        stage.start(1);
        let mut bytes = Vec::new();
        script.iter().for_each(|message| message.put(&mut bytes).unwrap());
        let before = stage.stats(1).snapshots_failed;
        // Its stream is the first that it opens; what the true owner has sent on it comes later than this.
        let id = StreamId(2);
        for _ in 0..2_000 {
            if stage.at(1).core.peers().any(|peer| {
                let lane = stage.at(1).core.peer_lane(peer.node, 0);
                lane.is_some_and(|lane| lane.in_transfer)
            }) {
                break;
            }
            stage.run(Duration::from_micros(100));
        }
        let out = give(&mut stage, 1, id, StreamInput::Bytes(&bytes));
        assert_eq!(stage.stats(1).snapshots_failed, before + 1, "{name}");
        assert!(
            out.streams.iter().any(|(at, action)| *at == id && matches!(action, StreamAction::Abort)),
            "{name}"
        );
        assert!(stage.list(1, "room").len() < 60, "{name}");
        stage.go(|world| {
            world.cut_streams(world.hosts[1].process.as_ref().map_or(0, |process| process.id));
            Ok(())
        });
        stage.agree(MS(3_000));
        assert_eq!(stage.list(1, "room").len(), 60, "{name}");
    }
}
