//! Members that come and go under readers that walk the list.

use super::explore::{explore, random};
use super::stage::{check_list, meta, small};
use headcount::{Session, Tracker};
use shuttle::thread;

fn join(session: &Session, key: &str, round: u64) {
    let len = 8 + 30 * (round as usize % 3);
    session.track("room", key, meta(b"room", key.as_bytes(), round, len)).unwrap();
}

/// Looks at the whole topic in one of three ways.
fn look(tracker: &Tracker, way: u64, residents: &[String]) {
    let seen = match way {
        0 => tracker.list("room"),
        1 => crate::common::paged(tracker, "room", 3),
        _ => {
            let mut seen = Vec::new();
            let shown = tracker.for_each("room", |entry| seen.push(entry.to_entry()));
            assert_eq!(shown, seen.len());
            seen
        }
    };
    check_list("room", &seen, residents);
}

/// While others join and leave between them, every list, page by page or whole, has each resident exactly once, in the order
/// of the joins, and nobody twice.
#[test]
fn residents_are_listed_once_and_in_order_while_others_come_and_go() {
    explore("residents_are_listed_once_and_in_order_while_others_come_and_go", 300, || {
        let tracker = small();
        let (stays, comes) = (tracker.session(), tracker.session());
        let residents: Vec<String> = (0..6).map(|at| format!("r{at}")).collect();
        for (at, key) in residents.iter().enumerate() {
            join(&stays, key, 0);
            for guest in 0..4 {
                join(&comes, &format!("g{at}/{guest}"), 1);
            }
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = random();
                for _ in 0..24 {
                    let key = format!("g{}/{}", random.below(6), random.below(4));
                    if !comes.untrack("room", &key).unwrap() {
                        join(&comes, &key, 2);
                    }
                }
            });
            for reader in 0..2 {
                let (tracker, residents) = (&tracker, &residents);
                scope.spawn(move || {
                    let mut random = random();
                    for _ in 0..3 {
                        look(tracker, (random.below(3) + reader) % 3, residents);
                        let count = tracker.count("room");
                        assert!((6..=30).contains(&count), "a count of {count}");
                    }
                });
            }
        });
        check_list("room", &tracker.list("room"), &residents);
    });
}

/// Nearly everybody leaves at once, so that chunks are dropped and merged; new ones come and chunks are appended. Walkers meet every
/// resident once and in order all the time.
#[test]
fn residents_are_listed_once_while_chunks_are_merged() {
    explore("residents_are_listed_once_while_chunks_are_merged", 300, || {
        let tracker = small();
        let (stays, leaves) = (tracker.session(), tracker.session());
        let mut residents = Vec::new();
        let mut random = random();
        for at in 0..90 {
            if random.below(14) == 0 {
                residents.push(format!("r{at}"));
                join(&stays, residents.last().unwrap(), 0);
            } else {
                join(&leaves, &format!("g{at}"), 1);
            }
        }
        thread::scope(|scope| {
            let comes = &stays;
            scope.spawn(move || {
                drop(leaves);
                for at in 0..10 {
                    join(comes, &format!("n{at}"), 2);
                }
                for at in 0..10 {
                    comes.untrack("room", format!("n{at}")).unwrap();
                }
            });
            for reader in 0..2 {
                let (tracker, residents) = (&tracker, &residents);
                scope.spawn(move || {
                    for way in 0..3 {
                        look(tracker, (way + reader) % 3, residents);
                    }
                });
            }
        });
    });
}
