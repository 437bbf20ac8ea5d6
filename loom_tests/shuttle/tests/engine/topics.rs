//! Topics that end and begin again, in records that others had.

use super::explore::{explore, random};
use super::stage::{meta, small, whole};
use crate::common::replay::Replay;
use crate::common::view;
use headcount::Filter;
use shuttle::thread;

/// While topics are emptied and made again, and get each other's records and slots, a read of one never shows another's entry,
/// and the topic that stays is found, counted and told of, once.
#[test]
fn a_topic_that_ends_and_begins_again_is_never_taken_for_another() {
    explore("a_topic_that_ends_and_begins_again_is_never_taken_for_another", 400, || {
        let tracker = small();
        let session = tracker.session();
        let long = "a topic with a name that does not fit its record, so it lies elsewhere";
        let topics = ["room", long, "hall"];
        session.track("stays", "key", meta(b"stays", b"key", 0, 70)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = random();
                for round in 0..12 {
                    let topic = topics[random.below(3) as usize];
                    if !session.untrack(topic, "key").unwrap() {
                        session.track(topic, "key", meta(topic.as_bytes(), b"key", round, 8)).unwrap();
                    }
                }
            });
            for reader in 0..2 {
                let (tracker, topics) = (&tracker, &topics);
                scope.spawn(move || {
                    for at in 0..6 {
                        let topic = topics[(at + reader) % 3];
                        let seen = tracker.read(topic, "key", |entry| {
                            whole(topic.as_bytes(), b"key", entry.meta());
                        });
                        assert!(seen <= 1 && tracker.count(topic) <= 1);
                        assert!(
                            tracker
                                .list(topic)
                                .iter()
                                .all(|entry| { whole(topic.as_bytes(), entry.key(), entry.meta()) < 12 })
                        );
                        assert_eq!(tracker.count("stays"), 1);
                        assert!(tracker.contains("stays", "key"));
                        let named = tracker.topics();
                        assert_eq!(named.iter().filter(|topic| ***topic == *b"stays").count(), 1);
                        assert!(
                            named.iter().all(|name| named.iter().filter(|other| *other == name).count() == 1)
                        );
                    }
                });
            }
        });
    });
}

/// A subscription that begins in the middle of everything: its snapshot and its events, which follow each other as they must, come
/// to what is there in the end.
#[test]
fn a_snapshot_and_the_events_after_it_are_the_view() {
    explore("a_snapshot_and_the_events_after_it_are_the_view", 300, || {
        let tracker = small();
        thread::scope(|scope| {
            for writer in 0..2 {
                let tracker = &tracker;
                scope.spawn(move || {
                    let (session, mut random) = (tracker.session(), random());
                    for round in 0..10 {
                        let (topic, key) = (["room", "hall"][random.below(2) as usize], format!("{writer}"));
                        let meta = meta(topic.as_bytes(), key.as_bytes(), round, 8);
                        match random.below(3) {
                            0 => drop(session.untrack(topic, &key)),
                            1 => drop(session.update(topic, &key, meta)),
                            _ => drop(session.track(topic, &key, meta)),
                        }
                    }
                });
            }
            for filter in [Filter::all(), Filter::topics(["room", "hall"])] {
                let tracker = &tracker;
                scope.spawn(move || {
                    let mut events = tracker.subscribe(filter);
                    let mut replay = Replay::of(&mut events);
                    for _ in 0..3 {
                        replay.drain(&mut events);
                    }
                    thread::yield_now();
                    replay.drain(&mut events);
                    replay.entries.values().for_each(|entry| {
                        whole(entry.topic(), entry.key(), entry.meta());
                    });
                });
            }
        });
        assert!(tracker.is_empty(), "every session has ended");
        // And one from the beginning to the end.
        let session = tracker.session();
        let mut events = tracker.subscribe(Filter::all());
        let mut replay = Replay::of(&mut events);
        thread::scope(|scope| {
            for writer in 0..2_u64 {
                let session = &session;
                scope.spawn(move || {
                    for round in 0..4 {
                        let key = format!("{writer}/{}", round % 2);
                        if session.update("room", &key, meta(b"room", key.as_bytes(), round, 8)).is_err() {
                            session.track("room", &key, meta(b"room", key.as_bytes(), round, 60)).unwrap();
                        }
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..3 {
                    replay.drain(&mut events);
                }
            });
        });
        replay.drain(&mut events);
        replay.assert_settled();
        assert_eq!(replay.entries, view(&tracker));
    });
}
