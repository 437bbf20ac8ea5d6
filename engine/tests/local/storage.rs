//! Limits of the storage, memory that comes back, and the reads that copy nothing.

use super::common::{drain, fingerprint, listed};
use headcount::{Config, Error, EventKind, Filter, Tracker};
use std::thread;

/// The smallest memory that a tracker can be given.
const MEMORY_MIN: usize = 1 << 24;

#[test]
fn without_memory_a_track_is_refused_and_nothing_has_changed_until_something_leaves() {
    let tracker = Config::default().shards(1).memory_max(MEMORY_MIN).build().unwrap();
    let meta = vec![7; 512];
    let (session, resident) = (tracker.session(), tracker.session());
    resident.track("room", "resident", "first").unwrap();
    let full = Error::Full { field: "memory_max", max: MEMORY_MIN };
    let mut tracked = 0;
    let refused = loop {
        match session.track(format!("topic:{}", tracked % 100), format!("key:{tracked}"), &meta) {
            Ok(_) => tracked += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(
        (refused, refused.to_string()),
        (full, format!("memory_max is reached: the limit is {MEMORY_MIN}"))
    );
    assert!(tracked > 10_000, "{tracked} entries of 600 bytes and more fit 16 MiB");
    let before = fingerprint(&tracker);
    // A new topic, a known topic, a longer version.
    assert_eq!(session.track("a topic of its own", "key", &meta), Err(full));
    assert_eq!(session.track("topic:0", "another key", &meta), Err(full));
    assert_eq!(session.update("topic:0", "key:0", vec![1; 500]), Err(full));
    assert_eq!(session.track_many([("topic:0", "x", &meta), ("topic:1", "y", &meta)]), Err(full));
    assert_eq!(fingerprint(&tracker), before);
    assert_eq!(session.untrack("topic:7", "key:7"), Ok(true));
    session.track("topic:0", "another key", &meta).unwrap();
    drop(session);
    assert_eq!(listed(&tracker, "room"), ["resident=first"]);
    let again = tracker.session();
    for key in 0..tracked {
        again.track(format!("topic:{}", key % 100), format!("key:{key}"), &meta).unwrap();
    }
}

#[test]
fn memory_comes_back_when_all_have_left() {
    for meta_len in [0, 100, 512, 3_000, 60_000] {
        let tracker = Config::default().shards(2).meta_len_max(65_535).build().unwrap();
        let before = tracker.stats().memory_used_bytes;
        let session = tracker.session();
        let meta = vec![1; meta_len];
        for key in 0..2_000 {
            session.track(format!("topic:{}", key % 50), key.to_string(), &meta).unwrap();
            session.update(format!("topic:{}", key % 50), key.to_string(), &meta).unwrap();
        }
        let full = tracker.stats().memory_used_bytes - before;
        assert!(full >= 2_000 * meta_len);
        drop(session);
        let left = tracker.stats().memory_used_bytes - before;
        // A page of each size in each shard, and the tables' first segments.
        assert!(left <= 2 * 20 * 4096, "{left} of {full} bytes stay with metas of {meta_len} bytes");
    }
}

#[test]
fn a_key_is_shared_by_so_many_and_no_more() {
    let tracker = Config::default().key_entries_max(100).build().unwrap();
    let sessions: Vec<_> = (0..101).map(|_| tracker.session()).collect();
    for session in &sessions[..100] {
        session.track("room", "key", "").unwrap();
    }
    let full = Error::Full { field: "key_entries_max", max: 100 };
    assert_eq!(sessions[100].track("room", "key", ""), Err(full));
    sessions[100].track("room", "another key", "").unwrap();
    assert!(matches!(sessions[0].track("room", "key", ""), Err(Error::AlreadyTracked { .. })));
    assert_eq!(sessions[0].untrack("room", "key"), Ok(true));
    sessions[100].track("room", "key", "").unwrap();
    assert_eq!(tracker.get("room", "key").len(), 100);
}

#[test]
fn snapshots_that_overlap_keep_no_more_than_they_read() {
    let tracker = Config::default().shards(1).memory_max(MEMORY_MIN).build().unwrap();
    let session = tracker.session();
    for key in 0..1_000 {
        session.track("room", key.to_string(), "").unwrap();
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    assert_eq!(tracker.snapshot("room").entries.len(), 1_000);
                }
            });
        }
        // More versions than there is memory for, if none of them were freed.
        for round in 0..300_000 {
            session.update("room", (round % 1_000).to_string(), round.to_string()).unwrap();
        }
    });
}

#[test]
fn a_subscription_to_a_topic_that_can_have_no_entries_is_empty() {
    let tracker = Config::default().topic_len_max(64).build().unwrap();
    for len in [65, 65_600, 3 << 20] {
        let mut events = tracker.subscribe(Filter::topics([vec![b'x'; len], b"room".to_vec()]));
        let session = tracker.session();
        session.track("room", "key", "").unwrap();
        assert!(drain(&mut events).iter().any(|event| matches!(event.kind, EventKind::Join(_))));
        assert!(events.resync().iter().all(|entry| *entry.topic() == "room"));
    }
    assert_eq!(tracker.stats().topics, 0);
}

#[test]
fn what_is_read_in_place_is_what_is_copied() {
    let tracker = Tracker::new();
    let (one, two) = (tracker.session(), tracker.session());
    let long_key = vec![b'k'; 200];
    for (key, meta) in
        [(&b"short"[..], &b"meta"[..]), (&long_key, b""), (b"", &[9; 200]), (&[5; 40], &[6; 9])]
    {
        one.track("room", key, meta).unwrap();
        two.track("room", key, "second").unwrap();
        one.update("room", key, [meta, meta].concat()).unwrap();
        let mut read = Vec::new();
        let count = tracker.read("room", key, |entry| {
            assert_eq!((entry.topic(), entry.key()), (&b"room"[..], key));
            let refs = (entry.entry_ref(), entry.prev_ref(), entry.joined_ref());
            let copy = entry.to_entry();
            assert_eq!(refs, (copy.entry_ref(), copy.prev_ref(), copy.joined_ref()));
            assert_eq!((entry.session(), entry.origin()), (copy.session(), copy.origin()));
            assert!(entry.is_local());
            read.push(copy);
        });
        assert_eq!((count, read.as_slice()), (2, tracker.get("room", key).as_slice()));
    }
    let mut streamed = Vec::new();
    let count = tracker.for_each("room", |entry| streamed.push(entry.to_entry()));
    assert_eq!((count, &streamed), (8, &tracker.list("room")));
    assert_eq!(streamed, tracker.snapshot("room").entries);
    assert_eq!(tracker.read("room", "nobody", |_| panic!("nobody is there")), 0);
    assert_eq!(tracker.for_each("nowhere", |_| panic!("nobody is there")), 0);
}

#[test]
fn a_closure_that_reads_and_writes_the_same_topic_is_fine() {
    let tracker = Tracker::new();
    let session = tracker.session();
    for key in 0..100 {
        session.track("room", key.to_string(), "").unwrap();
    }
    let mut left = 0;
    tracker.for_each("room", |entry| {
        left += usize::from(session.untrack("room", entry.key()).unwrap());
        assert_eq!(tracker.count("room"), 100 - left);
    });
    assert_eq!((left, tracker.count("room"), tracker.topics().len()), (100, 0, 0));
}
