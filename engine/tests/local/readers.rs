//! T3, T1: what readers on other threads see while writers write.

use super::common::{listed, paged};
use headcount::{Entry, Tracker};
use std::sync::Arc;
use std::thread;

const UPDATES: u64 = 10_000;

#[test]
fn t3_readers_see_the_old_or_the_new_entry_never_neither() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "0").unwrap();
    session.track("room", "bob", "fixed").unwrap();
    // Dropped by the writer when it is through, however it ends.
    let writing = Arc::new(());
    let written = Arc::downgrade(&writing);
    thread::scope(|scope| {
        for reader in 0..3 {
            let (tracker, written) = (&tracker, written.clone());
            scope.spawn(move || {
                let mut last = 0;
                let mut looks = 0_u64;
                while written.strong_count() > 0 || looks == 0 {
                    let alice = match reader {
                        0 => tracker.get("room", "alice"),
                        1 => tracker.list("room").into_iter().filter(|e| e.key() == b"alice").collect(),
                        _ => paged(tracker, "room", 1).into_iter().filter(|e| e.key() == b"alice").collect(),
                    };
                    assert_eq!(alice.len(), 1, "neither or both");
                    last = assert_whole(&alice[0], last);
                    assert!(tracker.contains("room", "alice"));
                    assert_eq!(tracker.count("room"), 2);
                    looks += 1;
                }
            });
        }
        scope.spawn(|| {
            let _writing = writing;
            for round in 1..=UPDATES {
                session.update("room", "alice", round.to_string()).unwrap();
            }
        });
    });
    assert_eq!(listed(&tracker, "room"), [format!("alice={UPDATES}"), "bob=fixed".to_owned()]);
}

/// The meta, the ref and the previous ref belong to one version, which is not older than what was seen before.
fn assert_whole(entry: &Entry, last: u64) -> u64 {
    let round: u64 = entry.meta_str().parse().expect("a whole meta");
    let clock = entry.entry_ref().clock;
    assert!(clock >= last, "time went back");
    assert_eq!(entry.joined_ref().clock, 1);
    // Clock 1 was alice, clock 2 was bob, and the updates came after.
    let (expected, prev) = match round {
        0 => (1, None),
        1 => (3, Some(1)),
        _ => (round + 2, Some(round + 1)),
    };
    assert_eq!(clock, expected, "a ref of another version");
    assert_eq!(entry.prev_ref().map(|dot| dot.clock), prev);
    clock
}

#[test]
fn t1_a_writer_reads_its_writes_while_others_write_to_the_same_topic() {
    let tracker = Tracker::new();
    thread::scope(|scope| {
        for writer in 0..4 {
            let tracker = &tracker;
            scope.spawn(move || {
                let session = tracker.session();
                for round in 0..500 {
                    let key = format!("{writer}/{}", round % 8);
                    let dot = session.track("room", &key, "").unwrap();
                    assert_eq!(tracker.get("room", &key)[0].entry_ref(), dot);
                    assert!(tracker.list("room").iter().any(|entry| entry.entry_ref() == dot));
                    assert_eq!(session.untrack("room", &key), Ok(true));
                    assert!(!tracker.contains("room", &key));
                    assert!(tracker.list("room").iter().all(|entry| entry.key() != key.as_bytes()));
                }
            });
        }
    });
    assert!(tracker.is_empty());
    let stats = tracker.stats();
    assert_eq!((stats.tracked_total, stats.untracked_total), (2000, 2000));
}

#[test]
fn many_keys_are_read_as_one_by_one_in_the_order_given() {
    let tracker = Tracker::new();
    let sessions = [tracker.session(), tracker.session()];
    let long = "k".repeat(60);
    let mut keys = Vec::new();
    for number in 0..100 {
        // Short ones, some that two sessions have, long ones, and some that nobody has.
        let (topic, key) = (format!("room:{}", number % 7), format!("{number}{}", &long[..number % 60]));
        for session in &sessions[..[1, 2, 0][number % 3]] {
            session.track(&topic, &key, &long[..number / 2]).unwrap();
        }
        keys.push((topic, key));
    }
    // More than once, and not in the order in which they came.
    let asked: Vec<_> = keys.iter().rev().chain(&keys[3..40]).collect();
    for len in [0, 1, 15, 16, 17, asked.len()] {
        let asked = &asked[..len];
        let one_by_one: Vec<_> = (0..len)
            .flat_map(|at| tracker.get(&asked[at].0, &asked[at].1).into_iter().map(move |entry| (at, entry)))
            .collect();
        let mut found = Vec::new();
        let count = tracker.read_many(asked.iter().map(|&(topic, key)| (topic, key)), |at, entry| {
            found.push((at, entry.to_entry()));
        });
        assert_eq!((count, found), (one_by_one.len(), one_by_one));
    }
    assert_eq!(tracker.read_many(Vec::<(&str, &str)>::new(), |_, _| panic!("nothing was asked for")), 0);
}
