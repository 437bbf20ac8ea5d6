//! Entries that are evicted beside whatever their session does.

use super::explore::{explore, random};
use super::stage::{meta, small};
use headcount::EntryRef;
use shuttle::thread;

/// Of each entry one leave is counted, its session's or the eviction's, and the session's own count is exact whenever it is asked after
/// that: nothing is subtracted twice, or before it was added.
#[test]
fn a_sessions_count_stays_exact_when_its_entries_are_evicted() {
    explore("a_sessions_count_stays_exact_when_its_entries_are_evicted", 400, || {
        let tracker = small();
        let session = tracker.session();
        let of = |round| meta(b"room", b"key", round, 8 + 90 * (round as usize % 2));
        let (left, evicted) = thread::scope(|scope| {
            let evictors: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut evicted = 0;
                        for _ in 0..6 {
                            let mut refs: Vec<EntryRef> = Vec::new();
                            tracker.for_each("room", |entry| refs.push(entry.entry_ref()));
                            evicted += refs.into_iter().filter(|&of| tracker.evict(of)).count();
                        }
                        evicted
                    })
                })
                .collect();
            let owner = scope.spawn(|| {
                let (mut random, mut left) = (random(), 0);
                for round in 0..8 {
                    match random.below(6) {
                        0 => left += usize::from(session.untrack("room", "a").unwrap()),
                        1 => drop(session.update("room", "a", of(round))),
                        2 => drop(session.track_many([("room", "b", of(round)), ("room", "b", of(round))])),
                        3 => left += session.clear().unwrap(),
                        4 => assert!(session.len() <= 2),
                        _ => drop(session.track("room", "a", of(round))),
                    }
                }
                left
            });
            let left = owner.join().expect("the owner ends");
            let evicted: usize = evictors.into_iter().map(|evictor| evictor.join().expect("it ends")).sum();
            (left, evicted)
        });
        assert_eq!((session.len(), session.entries().len()), (tracker.len(), tracker.len()));
        let stats = tracker.stats();
        assert!(stats.untracked_total as usize >= left + evicted);
        assert_eq!(stats.tracked_total - stats.untracked_total, tracker.len() as u64);
        let held = tracker.len();
        assert_eq!(session.clear(), Ok(held));
        drop(session);
        assert!(tracker.is_empty());
    });
}
