//! Update storms against every kind of read.

use super::explore::{explore, random};
use super::stage::{Clocks, meta, small, whole};
use crate::common::replay::Replay;
use headcount::Filter;
use shuttle::thread;

/// While an entry is updated, between short metas in the slot and long ones outside of it, every get, list, count, read and
/// for_each finds it and its neighbour: once, whole, and never an older version than a read of that kind before. (By key and by list are
/// two kinds: an update comes to the index first and to the list after that.)
#[test]
fn an_updated_entry_is_never_missing_never_torn_and_never_older() {
    explore("an_updated_entry_is_never_missing_never_torn_and_never_older", 400, || {
        let tracker = small();
        let session = tracker.session();
        let long_key = "bob".repeat(20);
        let lens = [8, 60, 300, 20, 8];
        session.track("room", "alice", meta(b"room", b"alice", 0, 8)).unwrap();
        session.track("room", &long_key, meta(b"room", long_key.as_bytes(), 0, 8)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for (len, round) in lens.into_iter().zip(1..) {
                    session.update("room", "alice", meta(b"room", b"alice", round, len)).unwrap();
                    let key = long_key.as_bytes();
                    session.update("room", key, meta(b"room", key, round, len + 90)).unwrap();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let (mut random, mut by_key, mut by_list) =
                        (random(), Clocks::default(), Clocks::default());
                    for _ in 0..6 {
                        match random.below(5) {
                            0 => {
                                let found = tracker.get("room", "alice");
                                assert_eq!(found.len(), 1, "neither or both");
                                by_key.see(&found[0]);
                            }
                            1 => {
                                let found = tracker.list("room");
                                assert_eq!(found.len(), 2, "neither or both");
                                assert_eq!(found[0].key(), b"alice");
                                found.iter().for_each(|entry| by_list.see(entry));
                            }
                            2 => assert_eq!(tracker.count("room"), 2),
                            3 => {
                                let seen = tracker.read("room", &long_key, |entry| {
                                    by_key.see(&entry.to_entry());
                                });
                                assert_eq!(seen, 1, "neither or both");
                            }
                            _ => {
                                let seen = tracker.for_each("room", |entry| {
                                    by_list.see(&entry.to_entry());
                                });
                                assert_eq!(seen, 2, "neither or both");
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(tracker.get("room", "alice")[0].meta(), meta(b"room", b"alice", 5, 8));
    });
}

/// While two sessions update entries of one shard in their slots, so that a slot's draft is soon another's, and snapshots and subscriptions
/// hold what is there now and then, so that updates take other slots meanwhile: every read finds every entry once, whole, and never an
/// older version than a read of that kind before.
#[test]
fn an_entry_that_is_updated_in_its_slot_or_out_of_it_is_whole_and_never_older() {
    explore("an_entry_that_is_updated_in_its_slot_or_out_of_it_is_whole_and_never_older", 400, || {
        let tracker = small();
        let sessions = [tracker.session(), tracker.session()];
        let keys = ["alice", "bob"];
        for (session, key) in sessions.iter().zip(keys) {
            session.track("room", key, meta(b"room", key.as_bytes(), 0, 8)).unwrap();
        }
        thread::scope(|scope| {
            for (session, key) in sessions.iter().zip(keys) {
                scope.spawn(move || {
                    for round in 1..10 {
                        let len = 8 + 17 * (round as usize % 3);
                        session.update("room", key, meta(b"room", key.as_bytes(), round, len)).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                let mut pinned = Clocks::default();
                for _ in 0..3 {
                    let snapshot = tracker.snapshot("room").entries;
                    assert_eq!(snapshot.len(), 2, "neither or both");
                    snapshot.iter().for_each(|entry| pinned.see(entry));
                    let mut events = tracker.subscribe(Filter::topic("room"));
                    let mut replay = Replay::of(&mut events);
                    replay.drain(&mut events);
                    assert_eq!(replay.entries.len(), 2, "neither or both");
                    replay.entries.values().for_each(|entry| pinned.see(entry));
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let (mut random, mut by_key, mut by_list) =
                        (random(), Clocks::default(), Clocks::default());
                    for _ in 0..8 {
                        match random.below(4) {
                            0 => {
                                let found = tracker.list("room");
                                assert_eq!(found.len(), 2, "neither or both");
                                found.iter().for_each(|entry| by_list.see(entry));
                            }
                            1 => {
                                let seen = tracker.for_each("room", |entry| by_list.see(&entry.to_entry()));
                                assert_eq!(seen, 2, "neither or both");
                            }
                            at => {
                                let found = tracker.get("room", keys[at as usize - 2]);
                                assert_eq!(found.len(), 1, "neither or both");
                                by_key.see(&found[0]);
                            }
                        }
                    }
                });
            }
        });
        for entry in tracker.list("room") {
            assert_eq!(whole(b"room", entry.key(), entry.meta()), 9);
        }
    });
}

/// A session has its entries once, and none that are gone, while a snapshot keeps what they were.
#[test]
fn a_session_does_not_see_what_is_kept_for_others() {
    explore("a_session_does_not_see_what_is_kept_for_others", 300, || {
        let tracker = small();
        let session = tracker.session();
        for key in ["alice", "bob"] {
            session.track("room", key, meta(b"room", key.as_bytes(), 0, 8)).unwrap();
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..4 {
                    drop(tracker.snapshot("room"));
                }
            });
            scope.spawn(|| {
                let mut seen = 0;
                for _ in 0..4 {
                    // An update in the slot does not wait for this.
                    let entries = session.entries();
                    let rounds = entries.iter().filter(|entry| entry.key() == b"alice");
                    let rounds: Vec<_> = rounds.map(|entry| whole(b"room", b"alice", entry.meta())).collect();
                    assert!(rounds.len() == 1 && rounds[0] >= seen, "neither, both or older: {rounds:?}");
                    assert!(entries.len() <= 2, "both");
                    seen = rounds[0];
                }
            });
            scope.spawn(|| {
                for round in 1..6 {
                    session.update("room", "alice", meta(b"room", b"alice", round, 8)).unwrap();
                    let entries = session.entries();
                    assert_eq!(entries.len(), 2, "neither or both");
                    let alice = entries.iter().find(|entry| entry.key() == b"alice").unwrap();
                    assert_eq!(whole(b"room", b"alice", alice.meta()), round);
                    session.untrack("room", "bob").unwrap();
                    assert_eq!(session.entries().len(), 1, "one has left");
                    session.track("room", "bob", meta(b"room", b"bob", round, 8)).unwrap();
                }
            });
        });
    });
}

/// Of updates that are made from the entry that is there, by two threads, none is lost.
#[test]
fn updates_made_from_what_is_there_all_count() {
    explore("updates_made_from_what_is_there_all_count", 300, || {
        let tracker = small();
        let session = tracker.session();
        session.track("room", "alice", meta(b"room", b"alice", 0, 8)).unwrap();
        let add = || {
            for _ in 0..3 {
                let more = session.update_with("room", "alice", |entry| {
                    let round = whole(b"room", b"alice", entry.meta());
                    meta(b"room", b"alice", round + 1, 8 + 60 * (round as usize % 2))
                });
                more.unwrap();
            }
        };
        thread::scope(|scope| {
            scope.spawn(add);
            scope.spawn(add);
            scope.spawn(|| {
                for _ in 0..3 {
                    assert_eq!(session.entries().len(), 1, "neither or both");
                }
            });
        });
        let found = tracker.get("room", "alice");
        assert_eq!(whole(b"room", b"alice", found[0].meta()), 6);
        assert_eq!(session.entries(), found);
    });
}

/// Entries that are updated in turn, with metas of which every other one does not fit its slot, get each other's slots, and get them back: a
/// reader that looks at one that is another's by now, and then at the index, which names that very slot again, still finds its entry.
#[test]
fn a_slot_that_was_anothers_in_between_hides_nothing() {
    explore("a_slot_that_was_anothers_in_between_hides_nothing", 300, || {
        let tracker = small();
        let session = tracker.session();
        for key in ["alice", "bob"] {
            session.track("room", key, meta(b"room", key.as_bytes(), 0, 8)).unwrap();
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..16 {
                    for key in ["alice", "bob"] {
                        let len = 8 + 52 * (round as usize % 2);
                        session.update("room", key, meta(b"room", key.as_bytes(), round, len)).unwrap();
                    }
                }
            });
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        assert_eq!(tracker.read("room", "alice", |_| ()), 1, "neither or both");
                    }
                });
            }
        });
    });
}
