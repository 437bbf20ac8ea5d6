//! T11, T14: a snapshot and what follows it.

use super::common::replay::Replay;
use super::common::{Random, drain, told, view};
use headcount::{Config, EventKind, Filter, Session, Tracker};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

#[test]
fn t11_snapshot_and_events_together_are_the_view() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "1").unwrap();
    session.track("hall", "alice", "1").unwrap();
    let mut room = tracker.subscribe(Filter::topic("room"));
    session.track("room", "bob", "1").unwrap();
    session.update("room", "alice", "2").unwrap();
    session.update("hall", "alice", "2").unwrap();
    session.untrack("room", "bob").unwrap();

    assert_eq!(room.snapshot(), room.snapshot());
    let snapshot = room.take_snapshot();
    assert!(room.snapshot().is_empty(), "taken");
    assert_eq!(snapshot.len(), 1);
    assert_eq!(snapshot[0].meta(), b"1", "the instant of the subscription");
    let mut replay = Replay::new(snapshot);
    for event in drain(&mut room) {
        replay.take(&event);
    }
    assert_eq!(replay.entries.into_values().collect::<Vec<_>>(), tracker.list("room"));
}

/// Random-looking but fixed work of one session, which leaves something in every topic.
fn work(session: &Session, seed: u64) {
    let mut random = Random(seed);
    for round in 0..4250 {
        let (topic, key) = (format!("topic:{}", random.below(5)), format!("key:{}", random.below(3)));
        match random.below(4) {
            0 | 1 => _ = session.track(&topic, &key, round.to_string()),
            2 => _ = session.update(&topic, &key, round.to_string()),
            _ => _ = session.untrack(&topic, &key),
        }
        if round % 500 == 499 {
            session.clear().unwrap();
        }
    }
}

/// Subscribes again and again while writers write; afterwards each snapshot with its events must be the final view.
fn no_gap_and_no_repeat(filter: fn() -> Filter, covers: fn(&str) -> bool) {
    let tracker = Config::default().shards(2).subscription_queue_max(1 << 20).build().unwrap();
    const WRITERS: u64 = 3;
    let start = Barrier::new(4);
    let (subscriptions, sessions) = thread::scope(|scope| {
        let handles: Vec<_> = (0..WRITERS)
            .map(|seed| {
                let (tracker, start) = (&tracker, &start);
                scope.spawn(move || {
                    let session = tracker.session();
                    start.wait();
                    work(&session, seed);
                    session
                })
            })
            .collect();
        start.wait();
        let mut subscriptions = Vec::new();
        while subscriptions.len() < 5 || !handles.iter().all(thread::ScopedJoinHandle::is_finished) {
            // Enough of them to hit every moment, few enough to be read.
            if subscriptions.len() < 60 {
                subscriptions.push(tracker.subscribe(filter()));
            }
            thread::yield_now();
        }
        let sessions: Vec<Session> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        (subscriptions, sessions)
    });
    let mut end = view(&tracker);
    end.retain(|_, entry| covers(&entry.topic().as_str_lossy()));
    assert!(!end.is_empty(), "the test needs something to be left");
    for mut events in subscriptions {
        let mut replay = Replay::of(&mut events);
        let mut versions = BTreeMap::new();
        for event in drain(&mut events) {
            let last = versions.entry(event.shard).or_insert(0);
            // First comes before its Join and Empty after its Leave, both with that change's version.
            let (repeats, next) = match event.kind {
                EventKind::First(_) => (false, event.version - 1),
                EventKind::Empty(_) => (true, event.version),
                _ => (false, event.version),
            };
            assert!(event.version > *last || repeats && event.version == *last, "{event:?} after {last}");
            *last = next;
            replay.take(&event);
        }
        replay.assert_settled();
        assert_eq!(replay.entries, end);
    }
    drop(sessions);
}

#[test]
fn t11_a_subscription_to_everything_has_no_gap_and_no_repeat_under_concurrent_writers() {
    no_gap_and_no_repeat(Filter::all, |_| true);
}

#[test]
fn t11_a_subscription_to_one_topic_has_no_gap_and_no_repeat_under_concurrent_writers() {
    no_gap_and_no_repeat(|| Filter::topic("topic:1"), |topic| topic == "topic:1");
}

#[test]
fn t11_a_subscription_to_several_topics_has_no_gap_and_no_repeat_under_concurrent_writers() {
    let several = || Filter::topics(["topic:3", "topic:1", "topic:3", "topic:4"]);
    no_gap_and_no_repeat(several, |topic| ["topic:1", "topic:3", "topic:4"].contains(&topic));
}

#[test]
fn t11_events_with_a_greater_version_than_a_snapshots_came_after_it() {
    let tracker = Config::default().shards(1).subscription_queue_max(1 << 20).build().unwrap();
    let mut events = tracker.subscribe(Filter::topic("topic:1").without_snapshot());
    assert!(events.snapshot().is_empty());
    let (snapshots, _session) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let session = tracker.session();
            work(&session, 1);
            session
        });
        let mut snapshots = Vec::new();
        while snapshots.len() < 3 || !writer.is_finished() {
            if snapshots.len() < 100 {
                snapshots.push(tracker.snapshot("topic:1"));
            }
            thread::yield_now();
        }
        (snapshots, writer.join().unwrap())
    });
    let events = drain(&mut events);
    let end = tracker.list("topic:1");
    for snapshot in snapshots {
        let mut replay = Replay::new(snapshot.entries);
        for event in events.iter().filter(|event| event.version > snapshot.version) {
            replay.take(event);
        }
        assert_eq!(replay.entries.len(), end.len());
        assert!(end.iter().all(|entry| replay.entries.get(&entry.joined_ref()) == Some(entry)));
    }
}

#[test]
fn t11_two_subscriptions_of_one_topic_are_told_the_same() {
    let tracker = Tracker::new();
    let mut all = tracker.subscribe(Filter::all());
    let (mut one, mut two) =
        (tracker.subscribe(Filter::topic("room")), tracker.subscribe(Filter::topic("room")));
    let session = tracker.session();
    session.track("room", "alice", "1").unwrap();
    session.update("room", "alice", "2").unwrap();
    drop(session);
    let told = drain(&mut one);
    assert_eq!(told.len(), 5);
    assert_eq!(told, drain(&mut two));
    assert_eq!(told, drain(&mut all));
}

#[test]
fn t11_other_topics_are_not_told() {
    let tracker = Config::default().shards(1).build().unwrap();
    let session = tracker.session();
    let mut room = tracker.subscribe(Filter::topic("room"));
    let mut nodes = tracker.subscribe(Filter::nodes());
    session.track("hall", "alice", "").unwrap();
    session.track("", "alice", "").unwrap();
    session.track("room:", "alice", "").unwrap();
    assert!(drain(&mut room).is_empty());
    session.track("room", "alice", "").unwrap();
    assert_eq!(told(&mut room), ["first room", "+alice="]);
    assert!(drain(&mut nodes).is_empty() && nodes.snapshot().is_empty());
}

#[test]
fn t14_first_and_empty_come_once_each_and_in_order() {
    let tracker = Tracker::new();
    let (one, two) = (tracker.session(), tracker.session());
    let mut events = tracker.subscribe(Filter::topic("room"));
    one.track("room", "alice", "").unwrap();
    two.track("room", "alice", "").unwrap();
    one.track("room", "bob", "").unwrap();
    assert_eq!(told(&mut events), ["first room", "+alice=", "+alice=", "+bob="]);
    one.update("room", "bob", "2").unwrap();
    one.untrack("room", "alice").unwrap();
    two.untrack("room", "alice").unwrap();
    assert_eq!(told(&mut events), ["bob:>2", "-alice=", "-alice="]);
    one.untrack("room", "bob").unwrap();
    assert_eq!(told(&mut events), ["-bob=2", "empty room"]);
    two.track("room", "carol", "").unwrap();
    drop(two);
    assert_eq!(told(&mut events), ["first room", "+carol=", "-carol=", "empty room"]);
}

#[test]
fn t14_a_subscriber_that_comes_late_gets_no_first() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    session.track("room", "bob", "").unwrap();
    session.clear().unwrap();
    let told = told(&mut events);
    assert_eq!(told.len(), 4);
    assert_eq!((&told[0][..], &told[3][..]), ("+bob=", "empty room"));
}

#[test]
fn t14_first_and_empty_alternate_under_concurrent_writers() {
    let tracker = Config::default().subscription_queue_max(1 << 20).build().unwrap();
    let mut events = tracker.subscribe(Filter::topic("room"));
    thread::scope(|scope| {
        for writer in 0..3 {
            let tracker = &tracker;
            scope.spawn(move || {
                let session = tracker.session();
                for _ in 0..1000 {
                    session.track("room", writer.to_string(), "").unwrap();
                    session.untrack("room", writer.to_string()).unwrap();
                }
            });
        }
    });
    let events = drain(&mut events);
    let edges: Vec<bool> = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::First(_) => Some(true),
            EventKind::Empty(_) => Some(false),
            _ => None,
        })
        .collect();
    assert!(edges.len() >= 2 && edges.len().is_multiple_of(2));
    assert!(edges.iter().enumerate().all(|(at, &first)| first == at.is_multiple_of(2)), "they alternate");
    let mut replay = Replay::default();
    events.iter().for_each(|event| replay.take(event));
    replay.assert_settled();
    assert!(replay.entries.is_empty());
}
