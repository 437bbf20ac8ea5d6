//! Own entries that are removed by their ref, over the head of their session.

use super::common::replay::Replay;
use super::common::{Random, drain, listed, told, view};
use headcount::{Config, EntryRef, Error, Filter, Incarnation, NodeId, Session, Tracker};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

fn one_shard() -> (Tracker, Session) {
    let tracker = Config::default().shards(1).build().unwrap();
    let session = tracker.session();
    (tracker, session)
}

#[test]
fn an_entry_that_is_evicted_leaves_and_its_session_has_it_no_more() {
    let (tracker, session) = one_shard();
    let joined = session.track("room", "alice", "1").unwrap();
    session.track("room", "bob", "2").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    assert!(tracker.evict(joined));
    assert!(!tracker.evict(joined), "it has left");
    assert_eq!(told(&mut events), ["-alice=1"]);
    assert_eq!((listed(&tracker, "room"), session.len(), tracker.len()), (vec!["bob=2".to_owned()], 1, 1));
    assert_eq!(session.entries().len(), 1);

    assert_eq!(session.update("room", "alice", "3"), Err(Error::NotTracked));
    assert_eq!(session.update_ref(joined, "3"), Err(Error::NotTracked));
    assert_eq!(session.update_with("room", "alice", |_| "3"), Err(Error::NotTracked));
    assert_eq!(session.untrack("room", "alice"), Ok(false));
    assert_eq!(session.untrack_ref(joined), Ok(false));

    let again = session.track("room", "alice", "4").unwrap();
    assert!(again.clock > joined.clock);
    assert!(!tracker.evict(joined), "another join of the key is another entry");
    assert_eq!((session.len(), tracker.count("room")), (2, 2));
    assert_eq!(session.clear(), Ok(2));
    assert_eq!(told(&mut events).len(), 4, "a join, two leaves in some order, and an empty topic");
    assert_eq!(tracker.stats().untracked_total, 3);
}

#[test]
fn only_the_present_version_is_evicted() {
    let (tracker, session) = one_shard();
    let joined = session.track("room", "alice", "1").unwrap();
    // In place, and out of place.
    let short = session.update("room", "alice", "2").unwrap();
    let long = session.update("room", "alice", "3".repeat(300)).unwrap();
    assert!(!tracker.evict(joined) && !tracker.evict(short));
    assert_eq!(tracker.count("room"), 1);
    assert!(tracker.evict(long));
    assert_eq!((tracker.count("room"), session.len()), (0, 0));
}

#[test]
fn refs_of_others_of_no_lane_and_of_another_life_evict_nothing() {
    let (tracker, session) = one_shard();
    let joined = session.track("room", "alice", "1").unwrap();
    let life = Incarnation { epoch: joined.incarnation.epoch + 1, ..joined.incarnation };
    for of in [
        EntryRef { node: NodeId(joined.node.0 + 1), ..joined },
        EntryRef { incarnation: life, ..joined },
        EntryRef { lane: 1, ..joined },
        EntryRef { lane: u16::MAX, ..joined },
        EntryRef { clock: 0, ..joined },
        EntryRef { clock: 2, ..joined },
        EntryRef { clock: u64::MAX, ..joined },
    ] {
        assert!(!tracker.evict(of), "{of}");
    }
    assert_eq!(tracker.count("room"), 1);
    // Refs that were handed out before keep the old identity.
    tracker.replica().set_identity(NodeId(7), "seven", life);
    assert!(!tracker.evict(joined));
    assert!(tracker.evict(tracker.get("room", "alice")[0].entry_ref()));
    let again = session.track("room", "alice", "1").unwrap();
    tracker.shutdown();
    assert!(!tracker.evict(again));
}

#[test]
fn of_one_key_of_two_sessions_only_the_one_that_is_named_leaves() {
    let (tracker, one) = one_shard();
    let two = tracker.session();
    let first = one.track("room", "alice", "1").unwrap();
    two.track("room", "alice", "2").unwrap();
    assert!(tracker.evict(first));
    assert_eq!((one.len(), two.len(), listed(&tracker, "room")), (0, 1, vec!["alice=2".to_owned()]));
    assert_eq!(two.update("room", "alice", "3").map(|_| ()), Ok(()));
}

#[test]
fn an_eviction_makes_room_in_a_full_session() {
    let tracker = Config::default().shards(1).session_entries_max(2).build().unwrap();
    let session = tracker.session();
    let first = session.track("room", "a", "").unwrap();
    session.track("room", "b", "").unwrap();
    assert!(matches!(session.track("room", "c", ""), Err(Error::Full { field: "session_entries_max", .. })));
    assert!(tracker.evict(first));
    assert_eq!(session.track("room", "c", "").map(|_| ()), Ok(()));
    assert_eq!(session.len(), 2);
}

/// Below and above the number of entries from which a session keeps exact sets.
#[test]
fn a_session_of_any_size_forgets_what_was_evicted() {
    for size in [10, 1000, 3000] {
        let tracker = Config::default().shards(4).build().unwrap();
        let session = tracker.session();
        let keys: Vec<String> = (0..size).map(|key| key.to_string()).collect();
        for round in 0..3 {
            let refs =
                session.track_many(keys.iter().map(|key| (format!("t{}", key.len()), key, ""))).unwrap();
            for of in refs.iter().skip(1).step_by(2) {
                assert!(tracker.evict(*of));
            }
            assert_eq!(
                (session.len(), session.entries().len(), tracker.len()),
                (size / 2, size / 2, size / 2)
            );
            // Half of them come back, into the slots of those before.
            let again: Vec<_> = keys.iter().skip(1).step_by(4).collect();
            for key in &again {
                session.track(format!("t{}", key.len()), key, "").unwrap();
            }
            assert_eq!(session.entries().len(), size / 2 + again.len());
            if round == 1 {
                let all: Vec<EntryRef> =
                    view(&tracker).into_values().map(|entry| entry.entry_ref()).collect();
                assert!(all.into_iter().all(|of| tracker.evict(of)));
                assert_eq!((session.len(), session.clear()), (0, Ok(0)));
            } else {
                assert_eq!(session.clear(), Ok(size / 2 + again.len()));
            }
            assert!(tracker.is_empty() && session.is_empty());
        }
        let of = session.track("room", "last", "").unwrap();
        assert!(tracker.evict(of));
        drop(session);
        assert!(tracker.is_empty());
    }
}

/// Whatever an owner does meanwhile, of each entry one leave is counted and told, by the owner or by who evicts it.
#[test]
fn evictions_beside_updates_batches_untracks_and_the_end_of_the_session() {
    const OWNERS: u64 = 2;
    let tracker = Config::default().shards(2).subscription_queue_max(1 << 20).build().unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let (over, evicted, tracked, untracked) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (tracker, over, evicted, tracked, untracked) = (&tracker, &over, &evicted, &tracked, &untracked);
        let owners: Vec<_> = (0..OWNERS)
            .map(|owner| {
                scope.spawn(move || {
                    let mut random = Random(owner + 1);
                    for _ in 0..40 {
                        let session = tracker.session();
                        // Some have so many that they keep exact sets.
                        let many = [20, 1500][random.below(2) as usize];
                        for step in 0..many * 2 {
                            let key = format!("{owner}.{}", random.below(many));
                            match random.below(10) {
                                0..5 => {
                                    let done = session.track("room", &key, "").is_ok();
                                    tracked.fetch_add(usize::from(done), Ordering::Relaxed);
                                }
                                5 => drop(session.update("room", &key, "x".repeat(step as usize % 100))),
                                6 => {
                                    let left = session.untrack("room", &key) == Ok(true);
                                    untracked.fetch_add(usize::from(left), Ordering::Relaxed);
                                }
                                7 => {
                                    let keys = [key.clone(), format!("{key}+"), key];
                                    // Refused for the key that is there twice, when the first may have been evicted: then it goes in.
                                    let batch = keys.each_ref().map(|key| ("room", key, ""));
                                    if let Ok(refs) = session.track_many(batch) {
                                        tracked.fetch_add(refs.len(), Ordering::Relaxed);
                                    }
                                }
                                8 => assert!(session.len() <= 3 * many as usize),
                                _ => {
                                    let held = session.entries().len();
                                    assert!(held <= 3 * many as usize);
                                }
                            }
                        }
                        if random.below(2) == 0 {
                            untracked.fetch_add(session.clear().unwrap(), Ordering::Relaxed);
                            assert_eq!((session.len(), session.entries().len()), (0, 0));
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut refs = Vec::new();
                    tracker.for_each("room", |entry| refs.push(entry.entry_ref()));
                    let left = refs.into_iter().step_by(3).filter(|&of| tracker.evict(of)).count();
                    evicted.fetch_add(left, Ordering::Relaxed);
                }
            });
        }
        let ended: Vec<_> = owners.into_iter().map(|owner| owner.join()).collect();
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.expect("no owner fails"));
    });
    assert!(tracker.is_empty());
    let (evicted, stats) = (evicted.into_inner(), tracker.stats());
    assert!(evicted > 1000, "they met: {evicted}");
    assert_eq!(stats.tracked_total, stats.untracked_total);
    assert!(stats.untracked_total >= (evicted + untracked.into_inner()) as u64);
    assert!(stats.tracked_total >= tracked.into_inner() as u64);
    let mut replay = Replay::default();
    drain(&mut events).iter().for_each(|event| replay.take(event));
    replay.assert_settled();
    assert!(tracker.topics().is_empty());
}

#[test]
fn a_sessions_count_is_exact_when_evictions_have_come_between_everything() {
    let tracker = Config::default().shards(1).build().unwrap();
    let session = tracker.session();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut refs = Vec::new();
                tracker.for_each("room", |entry| refs.push(entry.entry_ref()));
                refs.into_iter().for_each(|of| {
                    tracker.evict(of);
                });
            }
        });
        let mut random = Random(9);
        for _ in 0..30_000 {
            let key = random.below(8).to_string();
            match random.below(4) {
                0 => drop(session.untrack("room", key)),
                1 => drop(session.track_many([("room", &key), ("room", &key)].map(|(t, k)| (t, k, "")))),
                2 => drop(session.update("room", key, "long".repeat(30))),
                _ => drop(session.track("room", key, "")),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!((session.len(), session.entries().len()), (tracker.len(), tracker.len()));
    let held = tracker.len();
    assert_eq!(session.clear(), Ok(held));
    assert_eq!(session.len(), 0);
}

#[test]
fn a_batch_that_is_refused_while_its_entries_are_evicted_leaves_the_count_right() {
    let tracker = Config::default().shards(1).build().unwrap();
    let session = tracker.session();
    let stay: Vec<_> = (0..5).map(|key| ("hall", key.to_string(), "")).collect();
    session.track_many(stay).unwrap();
    // More than one lock's worth, and the last is there already.
    let mut batch: Vec<_> = (0..300).map(|key| ("room", key.to_string(), "")).collect();
    batch.push(("room", "0".into(), ""));
    let (over, evicted) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut refs = Vec::new();
                tracker.for_each("room", |entry| refs.push(entry.entry_ref()));
                let left = refs.into_iter().filter(|&of| tracker.evict(of)).count();
                evicted.fetch_add(left, Ordering::Relaxed);
            }
        });
        // The other thread ends too if this one fails.
        let _ends = Ends(&over);
        let mut round = 0;
        while round < 200 || evicted.load(Ordering::Relaxed) == 0 {
            round += 1;
            let refused = session.track_many(batch.iter().cloned());
            // The first may have been evicted by the time that it comes again.
            let left = if refused.is_ok() { session.untrack_topic("room").unwrap() } else { 0 };
            assert!(left <= batch.len());
            assert_eq!((session.len(), session.entries().len()), (5, 5), "round {round}");
        }
    });
}

/// Sets a flag when it goes, however that comes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
