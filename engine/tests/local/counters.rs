//! What another process sees of a tracker in its counters file.

use headcount::counters::{Counters, Reader};
use headcount::{Config, Filter, Tracker};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-tracker-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn watched(folder: &Folder, shards: usize) -> (Tracker, Reader) {
    let counters = Counters::create(&folder.0).unwrap();
    let path = counters.path().unwrap().to_owned();
    let tracker = Config::default().shards(shards).counters(counters).build().unwrap();
    (tracker, Reader::open(path).unwrap())
}

/// Waits until the gauges were set after this call.
fn settled(tracker: &Tracker) {
    let (tell, told) = mpsc::channel();
    let mut seconds = 0;
    // A round that is under way may have set some gauges already.
    tracker.counters().every_second(move || {
        seconds += 1;
        tell.send(()).is_ok() && seconds < 2
    });
    told.iter().for_each(drop);
}

fn total(reader: &Reader, field: &str) -> u64 {
    let shards = reader.table("shard").unwrap();
    shards.live_rows().filter_map(|row| shards.number(row, field)).sum()
}

#[test]
fn every_operation_is_counted_when_it_returns() {
    let folder = Folder::new("count");
    let (tracker, reader) = watched(&folder, 4);
    let session = tracker.session();
    let events = tracker.subscribe(Filter::all());
    for key in 0..100 {
        session.track(format!("room:{key}"), "alice", "").unwrap();
        assert_eq!(total(&reader, "tracked_total"), key + 1);
    }
    session.update("room:1", "alice", "away").unwrap();
    session.untrack("room:2", "alice").unwrap();
    assert!(!session.untrack("room:2", "alice").unwrap());
    assert_eq!((total(&reader, "updated_total"), total(&reader, "untracked_total")), (1, 1));
    drop(session);
    assert_eq!(total(&reader, "untracked_total"), 100);
    // A First or an Empty goes with each join and leave.
    assert_eq!(total(&reader, "events_total"), 401);
    let stats = tracker.stats();
    assert_eq!((stats.tracked_total, stats.updated_total, stats.untracked_total), (100, 1, 100));
    drop(events);
}

#[test]
fn gauges_are_those_of_the_tracker_within_a_second() {
    let folder = Folder::new("gauges");
    let (tracker, mut reader) = watched(&folder, 2);
    let session = tracker.session();
    let all = tracker.subscribe(Filter::all());
    for key in 0..50 {
        session.track("room:1", format!("{key}"), "").unwrap();
    }
    settled(&tracker);
    reader.look_for_tables().unwrap();
    let engine = reader.table("engine").unwrap();
    assert!(engine.is_live(0));
    let gauge = |name| engine.number(0, name).unwrap();
    assert_eq!(["entries", "topics", "sessions", "subscriptions"].map(gauge), [50, 1, 1, 1]);
    assert_eq!((gauge("queue_longest"), gauge("queue_max")), (51, 8192));
    assert_eq!(gauge("memory_used_bytes"), tracker.stats().memory_used_bytes as u64);
    assert_eq!(total(&reader, "entries"), 50);
    assert_eq!(total(&reader, "version"), 50);
    drop(all);
}

#[test]
fn hot_topics_are_in_the_samples_and_large_ones_among_the_largest() {
    let folder = Folder::new("topics");
    let (tracker, reader) = watched(&folder, 1);
    let session = tracker.session();
    for key in 0..3000 {
        session.track("large", format!("{key}"), "").unwrap();
    }
    for number in 0..200 {
        session.track(format!("room:{number}"), "alice", "").unwrap();
    }
    for turn in 0..2000 {
        session.update("room:7", "alice", format!("{turn}")).unwrap();
    }
    settled(&tracker);
    let samples = reader.table("topic_sample").unwrap();
    let mut hot = BTreeMap::new();
    for row in samples.live_rows() {
        *hot.entry(samples.text(row, "topic").unwrap()).or_insert(0) += 1;
    }
    assert_eq!(hot, BTreeMap::from([("room:7".to_owned(), 16)]), "the latest 16 samples of one shard");
    let large = reader.table("topic_large").unwrap();
    let largest = || {
        let rows = large.live_rows().map(|row| (large.number(row, "members"), large.text(row, "topic")));
        rows.max().unwrap_or_default()
    };
    assert_eq!(largest(), (Some(3000), Some("large".into())));
    drop(session);
    settled(&tracker);
    assert_eq!(large.live_rows().count(), 0, "nobody is there any more");
}

#[test]
fn of_trackers_with_the_same_counters_the_first_is_seen() {
    let folder = Folder::new("two");
    let counters = Counters::create(&folder.0).unwrap();
    let reader = Reader::open(counters.path().unwrap()).unwrap();
    let config = Config::default().shards(1).counters(counters);
    let (first, second) = (config.clone().build().unwrap(), config.build().unwrap());
    assert!(first.counters().are_seen() && !second.counters().are_seen());
    let session = second.session();
    session.track("room:1", "alice", "").unwrap();
    let mut reader = reader;
    reader.look_for_tables().unwrap();
    assert_eq!((total(&reader, "tracked_total"), second.stats().tracked_total), (0, 1));
    drop(first);
}
