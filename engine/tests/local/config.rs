//! Limits and statistics.

use super::common::{fingerprint, topic_names};
use headcount::{Config, ConfigError, Error, Filter, NodeId, NodeState};

type Set = fn(Config, usize) -> Config;

const FIELDS: [(&str, Set, usize, usize); 12] = [
    ("shards", Config::shards, 1, 256),
    ("topic_len_max", Config::topic_len_max, 0, 65_535),
    ("key_len_max", Config::key_len_max, 0, 65_535),
    ("meta_len_max", Config::meta_len_max, 0, 65_535),
    ("session_entries_max", Config::session_entries_max, 1, 1 << 32),
    ("shard_entries_max", Config::shard_entries_max, 1, 1 << 27),
    ("subscription_queue_max", Config::subscription_queue_max, 1, 1 << 24),
    ("lane_log_max", Config::lane_log_max, 16, 1 << 24),
    ("origins_max", Config::origins_max, 1, 32_768),
    ("origin_entries_max", Config::origin_entries_max, 1, 1 << 32),
    ("key_entries_max", Config::key_entries_max, 1, 1 << 16),
    ("memory_max", Config::memory_max, 1 << 24, 1 << 36),
];

#[test]
fn every_field_is_accepted_at_its_bounds_and_named_beyond_them() {
    for (field, set, min, max) in FIELDS {
        for fits in [min, max] {
            let tracker = set(Config::default(), fits).build();
            tracker.unwrap_or_else(|error| panic!("{field} = {fits}: {error}"));
        }
        for value in [min.wrapping_sub(1), max + 1, usize::MAX] {
            let refused = set(Config::default(), value).build().unwrap_err();
            let (value, min, max) = (value as u64, min as u64, max as u64);
            assert_eq!(refused, ConfigError::OutOfRange { field, value, min, max });
            assert!(refused.to_string().starts_with(&format!("{field} is {value}, ")), "{refused}");
        }
    }
}

#[test]
fn shards_must_be_a_power_of_two() {
    for shards in 1..=256 {
        match Config::default().shards(shards).build() {
            Ok(tracker) => {
                assert!(shards.is_power_of_two());
                assert_eq!((tracker.config().shard_count(), tracker.stats().shards.len()), (shards, shards));
            }
            Err(error) => {
                let value = shards as u64;
                assert!(!shards.is_power_of_two());
                assert_eq!(error, ConfigError::NotAPowerOfTwo { field: "shards", value });
            }
        }
    }
}

#[test]
fn a_tracker_works_the_same_with_one_shard_and_with_256() {
    let outcomes = [1, 256].map(|shards| {
        let tracker = Config::default().shards(shards).build().unwrap();
        let session = tracker.session();
        for topic in topic_names(500) {
            session.track(&topic, "key", &topic).unwrap();
        }
        session.untrack("topic:13", "key").unwrap();
        let mut topics: Vec<_> = tracker.topics();
        topics.sort_unstable();
        (tracker.len(), topics)
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].0, 499);
}

#[test]
fn a_session_that_is_full_refuses_more_until_something_leaves() {
    let tracker = Config::default().session_entries_max(3).build().unwrap();
    let (session, other) = (tracker.session(), tracker.session());
    for key in ["a", "b", "c"] {
        session.track("room", key, "").unwrap();
    }
    let before = fingerprint(&tracker);
    let full = Error::Full { field: "session_entries_max", max: 3 };
    assert_eq!(session.track("room", "d", ""), Err(full));
    assert_eq!(session.track("hall", "d", ""), Err(full));
    assert_eq!(full.to_string(), "session_entries_max is reached: the limit is 3");
    assert_eq!(fingerprint(&tracker), before);
    session.update("room", "a", "an update needs no room").unwrap();
    other.track("room", "d", "").expect("the limit is each session's own");
    session.untrack("room", "b").unwrap();
    session.track("room", "d", "").unwrap();
}

#[test]
fn a_shard_that_is_full_refuses_more_until_something_leaves() {
    let tracker = Config::default().shards(1).shard_entries_max(3).build().unwrap();
    let (session, other) = (tracker.session(), tracker.session());
    let first = session.track("a", "", "").unwrap();
    session.track("b", "", "").unwrap();
    other.track("a", "", "").unwrap();
    let before = fingerprint(&tracker);
    let full = Error::Full { field: "shard_entries_max", max: 3 };
    assert_eq!(session.track("c", "", ""), Err(full));
    assert_eq!(other.track("b", "", ""), Err(full));
    assert_eq!(session.track("a", "", ""), Err(Error::AlreadyTracked { existing: first }));
    assert_eq!(fingerprint(&tracker), before, "not even the topic's name is kept");
    session.update("a", "", "x").unwrap();
    drop(other);
    session.track("c", "", "").unwrap();
}

#[test]
fn statistics_count_what_happens() {
    let tracker = Config::default().shards(2).node(NodeId(5)).build().unwrap();
    let fresh = tracker.stats();
    assert_eq!((fresh.entries, fresh.topics, fresh.sessions, fresh.subscriptions), (0, 0, 0, 0));
    let (session, _idle) = (tracker.session(), tracker.session());
    let events = tracker.subscribe(Filter::topic("room"));
    let twice = tracker.subscribe(Filter::all());
    session.track("room", "a", "").unwrap();
    session.track("hall", "a", "").unwrap();
    session.update("room", "a", "1").unwrap();
    session.untrack("hall", "a").unwrap();
    let stats = tracker.stats();
    assert_eq!((stats.entries, stats.entries_local, stats.entries_remote), (1, 1, 0));
    assert_eq!((stats.topics, stats.sessions, stats.subscriptions), (1, 2, 2));
    assert_eq!((stats.tracked_total, stats.updated_total, stats.untracked_total), (2, 1, 1));
    assert_eq!((stats.remote_operations_total, stats.nodes_remote, stats.origins_purging), (0, 0, 0));
    assert_eq!((stats.events_total, stats.events_missed_total), (3 + 7, 0));
    assert_eq!(stats.shards.iter().map(|shard| shard.clock).sum::<u64>(), 4);
    assert_eq!(stats.shards.iter().map(|shard| shard.version).sum::<u64>(), 4);
    drop((session, events, twice));
    let stats = tracker.stats();
    assert_eq!((stats.entries, stats.topics, stats.sessions, stats.subscriptions), (0, 0, 1, 0));
    assert_eq!((stats.tracked_total, stats.untracked_total), (2, 2));
}

#[test]
fn a_tracker_knows_its_own_node() {
    let tracker = Config::default().node(NodeId(5)).build().unwrap();
    let session = tracker.session();
    session.track("room", "a", "").unwrap();
    let nodes = tracker.nodes();
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].id, nodes[0].state, nodes[0].heard_age), (NodeId(5), NodeState::Local, None));
    assert_eq!((nodes[0].entries, &nodes[0].name[..]), (1, ""));
    assert_eq!(tracker.node(NodeId(5)).map(|node| node.entries), Some(1));
    assert!(tracker.node(NodeId(6)).is_none());
    assert_eq!(tracker.list("room")[0].origin(), NodeId(5));
    assert!(tracker.list("room")[0].is_local());
}
