//! One key, tracked by many sessions.

use super::explore::{explore, random};
use super::stage::{meta, small, whole};
use shuttle::thread;
use std::collections::BTreeSet;

/// While sessions join and leave under one key, so that its group grows, is copied, becomes dense again and ends, a get has the two
/// that stay: each once, the older first, nobody twice, and never another key's entry.
#[test]
fn of_many_sessions_with_one_key_those_that_stay_are_found() {
    explore("of_many_sessions_with_one_key_those_that_stay_are_found", 300, || {
        let tracker = small();
        let (first, second) = (tracker.session(), tracker.session());
        let of = |round| meta(b"room", b"key", round, 8 + 50 * (round as usize % 2));
        first.track("room", "key", of(0)).unwrap();
        second.track("room", "key", of(0)).unwrap();
        let stay = [0, 1].map(|at| tracker.get("room", "key")[at].session().unwrap());
        thread::scope(|scope| {
            for writer in 0..2 {
                let (tracker, second) = (&tracker, &second);
                scope.spawn(move || {
                    let mut random = random();
                    let guests: Vec<_> = (0..6).map(|_| tracker.session()).collect();
                    for round in 0..10 {
                        let guest = &guests[random.below(6) as usize];
                        if !guest.untrack("room", "key").unwrap() {
                            guest.track("room", "key", of(round)).unwrap();
                        }
                        if writer == 0 {
                            second.update("room", "key", of(round + 1)).unwrap();
                        }
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..8 {
                    let found = tracker.get("room", "key");
                    let sessions: Vec<_> = found.iter().filter_map(|entry| entry.session()).collect();
                    assert_eq!(sessions[..2], stay, "a session that stays is missing");
                    assert_eq!(sessions.iter().collect::<BTreeSet<_>>().len(), found.len(), "twice");
                    for entry in &found {
                        assert_eq!(entry.key(), b"key");
                        whole(b"room", b"key", entry.meta());
                    }
                    assert!(found.is_sorted_by_key(|entry| entry.joined_ref().clock), "not in order");
                }
            });
        });
        let left: Vec<_> = tracker.get("room", "key").iter().filter_map(|entry| entry.session()).collect();
        assert_eq!(left, stay);
    });
}

/// Two entries, then one, then two: what the index names changes between a slot and a group, and the one that stays is found.
#[test]
fn an_entry_is_found_while_another_with_its_key_comes_and_goes() {
    explore("an_entry_is_found_while_another_with_its_key_comes_and_goes", 400, || {
        let tracker = small();
        let (stays, comes) = (tracker.session(), tracker.session());
        stays.track("room", "key", meta(b"room", b"key", 0, 8)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..6 {
                    comes.track("room", "key", meta(b"room", b"key", round, 8)).unwrap();
                    comes.track("hall", "key", meta(b"hall", b"key", round, 8)).unwrap();
                    comes.untrack("room", "key").unwrap();
                    comes.untrack("hall", "key").unwrap();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let found = tracker.get("room", "key");
                        assert!(found.len() == 1 || found.len() == 2, "{} entries", found.len());
                        assert_eq!(
                            whole(b"room", b"key", found[0].meta()),
                            0,
                            "the one that stays comes first"
                        );
                    }
                });
            }
        });
    });
}
