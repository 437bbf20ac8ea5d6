//! Tables that split, double, merge and halve under readers.

use super::explore::{explore, random};
use super::stage::{check_list, meta, small, whole};
use headcount::Tracker;
use shuttle::thread;

/// A segment is split before it gets more entries.
const BEFORE_SPLIT: usize = 638;

fn name(prefix: &str, at: usize) -> String {
    format!("{prefix}{at}")
}

fn fill(tracker: &Tracker, session: &headcount::Session, residents: usize) -> Vec<String> {
    assert!(tracker.is_empty());
    let keys: Vec<String> = (0..residents).map(|at| name("r", at)).collect();
    session.track_many(keys.iter().map(|key| ("room", key, meta(b"room", key.as_bytes(), 0, 8)))).unwrap();
    keys
}

/// Every get, read and list finds each resident, whole and once, while a full table splits and doubles its directory, its old page
/// becomes something else, and after that it shrinks again.
#[test]
fn residents_are_found_while_the_table_grows() {
    explore("residents_are_found_while_the_table_grows", 60, || {
        let tracker = small();
        let session = tracker.session();
        let residents = fill(&tracker, &session, BEFORE_SPLIT);
        let mut random = random();
        let picks: Vec<usize> = (0..24).map(|_| random.below(BEFORE_SPLIT as u64) as usize).collect();
        let len = [8, 30, 200, 500][random.below(4) as usize];
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..16 {
                    let key = name("w", at);
                    session.track("room", &key, meta(b"room", key.as_bytes(), 1, len)).unwrap();
                }
            });
            for half in picks.chunks(12) {
                let (tracker, residents) = (&tracker, &residents);
                scope.spawn(move || {
                    for &pick in half {
                        let key = residents[pick].as_bytes();
                        let seen = tracker.read("room", key, |entry| {
                            assert_eq!(whole(b"room", entry.key(), entry.meta()), 0);
                        });
                        assert_eq!(seen, 1, "a resident is missing");
                    }
                });
            }
        });
        assert_eq!(tracker.count("room"), BEFORE_SPLIT + 16);
        check_list("room", &tracker.list("room"), &residents);
    });
}

/// The old page of a split segment may come to hold bytes of any kind, such as these: then too a reader that was on its way into it
/// comes back, and finds its entry.
#[test]
fn a_reader_comes_back_from_a_page_that_holds_something_else() {
    explore("a_reader_comes_back_from_a_page_that_holds_something_else", 60, || {
        let tracker = small();
        let session = tracker.session();
        let residents = fill(&tracker, &session, BEFORE_SPLIT);
        let mut random = random();
        let tag = random.below(255) as u8 + 1;
        let foreign: Vec<u8> =
            (0..512).map(|at| if at % 8 < 4 { tag } else { random.below(256) as u8 }).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..24 {
                    session.track("hall", name("w", at), &foreign).unwrap();
                    session
                        .track("room", name("w", at), meta(b"room", name("w", at).as_bytes(), 0, 8))
                        .unwrap();
                }
            });
            for first in [0, BEFORE_SPLIT / 2] {
                let residents = &residents[first..first + 120];
                let tracker = &tracker;
                scope.spawn(move || {
                    for key in residents {
                        assert_eq!(tracker.read("room", key, |_| ()), 1, "a resident is missing");
                    }
                });
            }
        });
        check_list("room", &tracker.list("room"), &residents);
    });
}

/// Residents are found while entries leave until two halves of a split segment become one and the directory is halved.
#[test]
fn residents_are_found_while_the_table_shrinks() {
    explore("residents_are_found_while_the_table_shrinks", 20, || {
        let tracker = small();
        let session = tracker.session();
        let passing: Vec<String> = (0..500).map(|at| name("p", at)).collect();
        session.track_many(passing.iter().map(|key| ("hall", key, ""))).unwrap();
        let residents = fill_beside(&session, 190);
        // Down to where the next few removals make the halves merge; nobody looks yet.
        for key in &passing[..470] {
            session.untrack("hall", key).unwrap();
        }
        let mut random = random();
        let picks: Vec<usize> = (0..24).map(|_| random.below(190) as usize).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for key in &passing[470..] {
                    session.untrack("hall", key).unwrap();
                }
            });
            for half in picks.chunks(12) {
                let (tracker, residents) = (&tracker, &residents);
                scope.spawn(move || {
                    for &pick in half {
                        assert_eq!(tracker.get("room", &residents[pick]).len(), 1, "a resident is missing");
                    }
                });
            }
            scope.spawn(|| {
                let topics = tracker.topics();
                assert_eq!(topics.iter().filter(|topic| ***topic == *b"room").count(), 1);
            });
        });
        assert_eq!(tracker.count("hall"), 0);
        check_list("room", &tracker.list("room"), &residents);
    });
}

fn fill_beside(session: &headcount::Session, residents: usize) -> Vec<String> {
    let keys: Vec<String> = (0..residents).map(|at| name("r", at)).collect();
    session.track_many(keys.iter().map(|key| ("room", key, meta(b"room", key.as_bytes(), 0, 8)))).unwrap();
    keys
}
