//! Batch track, and that nothing of a session is ever left behind without its owner.

use super::common::{drain, fingerprint, quiet_panic, told, topic_names, view};
use headcount::{Config, Error, EventKind, Filter, Tracker};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn a_batch_is_tracked_whole_with_the_refs_in_the_order_given() {
    let tracker = Config::default().shards(8).build().unwrap();
    let session = tracker.session();
    let entries: Vec<_> =
        (0..1000).map(|at| (format!("topic:{}", at % 37), format!("key:{at}"), at.to_string())).collect();
    let mut events = tracker.subscribe(Filter::all());
    let refs = session.track_many(entries_of(&entries)).unwrap();
    assert_eq!(refs.len(), 1000);
    for ((topic, key, meta), dot) in entries.iter().zip(&refs) {
        let found = tracker.get(topic, key);
        assert_eq!((found.len(), found[0].entry_ref(), found[0].meta()), (1, *dot, meta.as_bytes()));
    }
    for topic in tracker.topics() {
        let keys: Vec<_> =
            tracker.list(&topic).iter().map(|e| e.key_str()[4..].parse::<u32>().unwrap()).collect();
        assert!(keys.is_sorted(), "a topic's entries come in the order given: {keys:?}");
    }
    assert_eq!((session.len(), tracker.stats().tracked_total), (1000, 1000));
    assert_eq!(drain(&mut events).len(), 1037);
    assert_eq!(session.clear(), Ok(1000));
    assert!(tracker.is_empty());
}

fn entries_of(entries: &[(String, String, String)]) -> Vec<(&str, &str, &str)> {
    entries.iter().map(|(topic, key, meta)| (topic.as_str(), key.as_str(), meta.as_str())).collect()
}

#[test]
fn an_empty_batch_is_fine() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let before = fingerprint(&tracker);
    assert_eq!(session.track_many(Vec::<(&str, &str, &str)>::new()), Ok(Vec::new()));
    assert_eq!(fingerprint(&tracker), before);
}

/// Tracks `batch` where `alice` is in `room` already, and expects nothing of it to be left.
fn refused(config: Config, batch: &[(&str, &str, &str)]) -> (Error, Vec<EventKind>) {
    let tracker = config.shards(4).build().unwrap();
    let (session, other) = (tracker.session(), tracker.session());
    session.track("room", "alice", "1").unwrap();
    other.track("room", "bob", "2").unwrap();
    let (before, mut events) = (view(&tracker), tracker.subscribe(Filter::all()));
    let error = session.track_many(batch.iter().copied()).unwrap_err();
    assert_eq!(view(&tracker), before);
    assert_eq!((session.len(), session.entries().len()), (1, 1));
    let events: Vec<EventKind> = drain(&mut events).into_iter().map(|event| event.kind).collect();
    assert_eq!(session.track("room", "carol", "").map(|_| ()), Ok(()), "and the session goes on");
    assert_eq!(session.clear(), Ok(2));
    assert_eq!(tracker.len(), 1);
    (error, events)
}

#[test]
fn a_batch_with_something_too_long_is_refused_whole_and_silently() {
    let batch = [("a", "k", ""), ("b", "k", ""), ("c", "k", "far too long"), ("d", "k", "")];
    let (error, events) = refused(Config::default().meta_len_max(5), &batch);
    assert_eq!(error, Error::TooLong { field: "meta", len: 12, max: 5 });
    assert!(events.is_empty(), "lengths are looked at before anything is tracked: {events:?}");
}

#[test]
fn a_batch_over_the_sessions_limit_is_refused_whole_and_silently() {
    let batch = [("a", "k", ""), ("b", "k", ""), ("c", "k", "")];
    let (error, events) = refused(Config::default().session_entries_max(3), &batch);
    assert_eq!(error, Error::Full { field: "session_entries_max", max: 3 });
    assert!(events.is_empty(), "room is looked at before anything is tracked: {events:?}");
}

/// Joins that were seen have left again, each once, and no topic is half open.
fn assert_taken_back(events: &[EventKind]) {
    let joined =
        events.iter().filter_map(|e| if let EventKind::Join(entry) = e { Some(entry) } else { None });
    let left = events.iter().filter_map(|e| if let EventKind::Leave(entry) = e { Some(entry) } else { None });
    let sorted = |entries: Vec<&headcount::Entry>| {
        let mut refs: Vec<_> = entries.iter().map(|entry| entry.entry_ref()).collect();
        refs.sort_unstable();
        refs
    };
    assert_eq!(sorted(joined.collect()), sorted(left.collect()));
    let firsts = events.iter().filter(|e| matches!(e, EventKind::First(_))).count();
    assert_eq!(firsts, events.iter().filter(|e| matches!(e, EventKind::Empty(_))).count());
}

#[test]
fn a_batch_with_a_key_that_is_tracked_already_is_taken_back() {
    let topics = topic_names(20);
    let mut batch: Vec<_> = topics.iter().map(|topic| (topic.as_str(), "k", "")).collect();
    batch.push(("room", "alice", ""));
    let (error, events) = refused(Config::default(), &batch);
    assert!(matches!(error, Error::AlreadyTracked { existing } if existing.clock == 1), "{error}");
    assert_taken_back(&events);
}

#[test]
fn a_batch_with_a_key_twice_is_taken_back() {
    let topics = topic_names(20);
    let mut batch: Vec<_> = topics.iter().map(|topic| (topic.as_str(), "k", "")).collect();
    batch.push(("topic:7", "k", "again"));
    let (error, events) = refused(Config::default(), &batch);
    assert!(matches!(error, Error::AlreadyTracked { .. }), "{error}");
    assert_taken_back(&events);
}

#[test]
fn a_batch_that_fills_a_shard_is_taken_back() {
    // More than one lock's worth of entries for the shard of one topic.
    let keys: Vec<String> = (0..200).map(|key| key.to_string()).collect();
    let batch: Vec<_> = keys.iter().map(|key| ("lobby", key.as_str(), "")).collect();
    let (error, events) = refused(Config::default().shard_entries_max(150), &batch);
    assert_eq!(error, Error::Full { field: "shard_entries_max", max: 150 });
    assert!(events.len() > 200, "some of it was seen: {}", events.len());
    assert_taken_back(&events);
}

/// A key that panics when it is looked at for the n-th time, as a caller's own type may.
struct Brittle<'a> {
    key: &'static str,
    looks_left: &'a Cell<u32>,
}

impl AsRef<[u8]> for Brittle<'_> {
    fn as_ref(&self) -> &[u8] {
        match self.looks_left.get() {
            0 => quiet_panic(),
            left => self.looks_left.set(left - 1),
        }
        self.key.as_bytes()
    }
}

/// However late in a batch the caller's own code panics: what was tracked belongs to the session, and leaves with it.
#[test]
fn t5_a_panic_of_the_callers_code_inside_a_batch_leaves_no_entry_without_an_owner() {
    for looks in 0..24 {
        let tracker = Config::default().shards(1).build().unwrap();
        let mut events = tracker.subscribe(Filter::all());
        let session = tracker.session();
        let looks_left = Cell::new(looks);
        let brittle = |key| Brittle { key, looks_left: &looks_left };
        let batch = ["a", "b", "c"].map(|name| (brittle(name), brittle(name), brittle(name)));
        let panicked = catch_unwind(AssertUnwindSafe(|| session.track_many(batch))).is_err();
        assert_eq!(session.len(), tracker.len(), "after {looks} looks (panicked: {panicked})");
        drop(session);
        assert!(tracker.is_empty(), "after {looks} looks, left for ever: {:?}", view(&tracker));
        let told = told(&mut events);
        let counted = |sign| told.iter().filter(|line| line.starts_with(sign)).count();
        assert_eq!(counted('+'), counted('-'));
    }
}
