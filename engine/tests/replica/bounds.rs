//! Limits on what other nodes may bring.

use super::common::peer::Peer;
use super::common::{drain, fingerprint, life, listed};
use headcount::replica::{ApplyError, DeltaView, LaneCondition, Op, Payload, SnapshotItem};
use headcount::{Config, Filter, NodeId};

const A: NodeId = NodeId(1);

fn small(configure: impl FnOnce(Config) -> Config) -> Peer {
    let config = configure(Config::default().node(NodeId(2)).shards(1));
    let peer = Peer::with(config.build().unwrap());
    peer.replica.origin_join(A, "a", life(1), 1).unwrap();
    peer
}

fn apply(b: &Peer, lo: u64, ops: &[Op<'_>]) -> Result<u64, ApplyError> {
    let hi = lo + ops.iter().map(Op::clocks).sum::<u64>();
    b.replica.apply(A, life(1), &DeltaView { lane: 0, lo, hi, ops })
}

fn add<'a>(birth: u64, topic: &'a str, key: &'a str, meta: &'a str) -> Op<'a> {
    Op::Add { birth, topic: topic.as_bytes(), key: key.as_bytes(), meta: meta.as_bytes() }
}

#[test]
fn t9_a_remote_delta_with_something_too_long_is_refused_whole() {
    let b = small(|config| config.topic_len_max(5).key_len_max(4).meta_len_max(3));
    assert_eq!(apply(&b, 0, &[add(1, "topic", "keys", "met")]), Ok(1), "the exact limits are fine");
    let mut events = b.tracker.subscribe(Filter::all());
    let before = fingerprint(&b.tracker);
    let fine = add(2, "x", "x", "");
    for (op, field, len, max) in [
        (add(3, "topics", "k", ""), "topic", 6, 5),
        (add(3, "t", "keys!", ""), "key", 5, 4),
        (add(3, "t", "k", "meta"), "meta", 4, 3),
        (Op::Update { birth: 1, meta: b"meta" }, "meta", 4, 3),
    ] {
        assert_eq!(apply(&b, 1, &[fine, op]), Err(ApplyError::TooLong { field, len, max }));
        assert_eq!(fingerprint(&b.tracker), before, "what comes before it is not applied either");
    }
    assert!(drain(&mut events).is_empty());
    let held = b.replica.remote_lane(A, 0).unwrap();
    assert_eq!((held.summary.clock, held.condition), (1, LaneCondition::Clean));
}

#[test]
fn t9_a_snapshot_chunk_with_something_too_long_is_refused_whole() {
    let b = small(|config| config.topic_len_max(5).key_len_max(4).meta_len_max(3));
    let item = |dot, topic: &'static str, meta: &'static str| SnapshotItem {
        dot,
        birth: dot,
        payload: Some(Payload { topic: topic.as_bytes(), key: b"keys", meta: meta.as_bytes() }),
    };
    for (bad, field, len, max) in
        [(item(1, "topics", ""), "topic", 6, 5), (item(1, "x", "meta"), "meta", 4, 3)]
    {
        b.replica.snapshot_begin(A, life(1), 0, 0, 5).unwrap();
        let outcome = b.replica.snapshot_chunk(A, life(1), 0, (0, 5), &[item(3, "topic", "met"), bad]);
        assert_eq!(outcome, Err(ApplyError::TooLong { field, len, max }));
        assert!(b.tracker.is_empty());
        assert_eq!(b.replica.remote_lane(A, 0).unwrap().condition, LaneCondition::Partial);
    }
}

#[test]
fn a_delta_over_an_entry_limit_is_applied_up_to_it_and_the_lane_needs_a_snapshot() {
    for (b, field) in [
        (small(|config| config.shard_entries_max(2)), "shard_entries_max"),
        (small(|config| config.origin_entries_max(2)), "origin_entries_max"),
    ] {
        let ops = [
            add(1, "room", "a", ""),
            add(2, "room", "b", ""),
            add(3, "room", "c", ""),
            add(4, "room", "d", ""),
        ];
        assert_eq!(apply(&b, 0, &ops), Err(ApplyError::Full { field, max: 2 }));
        assert_eq!(listed(&b.tracker, "room"), ["a=", "b="]);
        let held = b.replica.remote_lane(A, 0).unwrap();
        assert_eq!((held.summary.clock, held.summary.count), (2, 2));
        assert_ne!(held.condition, LaneCondition::Clean);
        assert_eq!(apply(&b, 2, &[Op::Skip { count: 1 }]), Err(ApplyError::Unclean));
        assert_eq!(b.tracker.node(A).unwrap().entries, 2);
        let _on_b = b.tracker.session();
        assert_eq!(b.tracker.stats().topics, 1);
    }
}

#[test]
fn the_shards_limit_counts_this_nodes_entries_and_others_together() {
    let b = small(|config| config.shard_entries_max(2));
    let on_b = b.tracker.session();
    on_b.track("room", "mine", "").unwrap();
    assert_eq!(apply(&b, 0, &[add(1, "room", "a", "")]), Ok(1));
    let full = headcount::Error::Full { field: "shard_entries_max", max: 2 };
    assert_eq!(on_b.track("room", "more", ""), Err(full));
    assert_eq!(apply(&b, 1, &[Op::Update { birth: 1, meta: b"2" }]), Ok(2), "an update needs no room");
    assert_eq!(apply(&b, 2, &[Op::Remove { birth: 1 }, add(4, "hall", "b", "")]), Ok(4));
    assert_eq!(b.tracker.len(), 2);
}

#[test]
fn the_origins_limit_is_each_origins_own_and_counts_what_it_holds_now() {
    let b = small(|config| config.origin_entries_max(2));
    b.replica.origin_join(NodeId(3), "c", life(1), 2).unwrap();
    assert_eq!(apply(&b, 0, &[add(1, "room", "a", ""), add(2, "room", "b", "")]), Ok(2));
    let ops = [add(1, "room", "c", "")];
    for lane in 0..2 {
        let delta = DeltaView { lane, lo: 0, hi: 1, ops: &ops };
        assert_eq!(b.replica.apply(NodeId(3), life(1), &delta), Ok(1));
    }
    let delta = DeltaView { lane: 1, lo: 1, hi: 2, ops: &[add(2, "room", "d", "")] };
    let full = ApplyError::Full { field: "origin_entries_max", max: 2 };
    assert_eq!(b.replica.apply(NodeId(3), life(1), &delta), Err(full), "all its lanes together");
    // Room comes back with what leaves, and with a life that is over.
    assert_eq!(apply(&b, 2, &[Op::Remove { birth: 1 }, add(4, "room", "e", "")]), Ok(4));
    b.replica.origin_join(A, "a", life(2), 1).unwrap();
    let ops = [add(1, "room", "f", ""), add(2, "room", "g", "")];
    assert_eq!(b.replica.apply(A, life(2), &DeltaView { lane: 0, lo: 0, hi: 2, ops: &ops }), Ok(2));
}

#[test]
fn a_snapshot_over_an_entry_limit_is_aborted_and_fits_once_there_is_room() {
    let a = Peer::new(1, 1);
    let session = a.tracker.session();
    for key in ["a", "b", "c"] {
        session.track("room", key, "").unwrap();
    }
    let b = small(|config| config.shard_entries_max(2));
    let snapshot = a.replica.snapshot(0).unwrap();
    let full = ApplyError::Full { field: "shard_entries_max", max: 2 };
    assert_eq!(b.take(&a, &snapshot, 0, 1), Err(full));
    assert_eq!(b.take(&a, &snapshot, 0, 10), Err(full));
    let held = b.replica.remote_lane(A, 0).unwrap();
    assert_eq!((held.summary.clock, held.condition), (0, LaneCondition::Partial));
    assert_eq!(b.tracker.len(), 2);
    session.untrack("room", "b").unwrap();
    let snapshot = a.replica.snapshot(0).unwrap();
    // Entry by entry: within a chunk what is new comes before what is gone goes.
    assert_eq!(b.take(&a, &snapshot, 0, 1), Ok(4));
    assert!(b.agrees_with(&a));
}

#[test]
fn a_hidden_nodes_entries_count_until_they_are_purged() {
    let b = small(|config| config.shard_entries_max(2));
    let on_b = b.tracker.session();
    assert_eq!(apply(&b, 0, &[add(1, "room", "a", ""), add(2, "room", "b", "")]), Ok(2));
    b.replica.forget(A);
    assert!(on_b.track("room", "mine", "").is_err(), "memory is memory");
    b.replica.maintain(1);
    on_b.track("room", "mine", "").unwrap();
    b.replica.maintain(1);
    assert_eq!((b.tracker.len(), b.tracker.stats().entries), (1, 1));
}
