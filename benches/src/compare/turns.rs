//! What a contestant does in a turn: one operation on many items, timed as a whole.

use super::clock::{Cost, Timing, timed};
use super::data::{Data, Item};
use super::store::Store;
use super::threads;
use super::threads::Tail;
use crate::SESSION_ENTRIES;
use crate::peers::Meta;
use headcount::Tracker;
use std::hint::black_box;
use std::time::Duration;

/// Entries of a batch.
const BATCH: usize = 64;

/// What threads do with residents that each of them updates alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix<'a> {
    /// What all read.
    pub(crate) all: &'a [Item],
    /// What each updates: as many as there are threads.
    pub(crate) own: &'a [Vec<Item>],
    /// Updates of a hundred operations.
    pub(crate) updates: u64,
    /// Of each thread.
    pub(crate) operations: usize,
    pub(crate) seed: u64,
}

/// A [`Store`] whose type is forgotten: the loops are compiled for each, the choice is made once a turn.
pub(crate) trait Contestant: Send + Sync {
    fn name(&self) -> &'static str;
    fn tracker(&self) -> Option<Tracker>;
    /// Reads that depend on each other, each of something that is there, or none of it.
    fn read(&self, items: &[Item], present: bool) -> Cost;
    /// Reads that do not depend on each other: as many at once as the processor can.
    fn read_stream(&self, items: &[Item]) -> Cost;
    /// Batches of reads.
    fn read_many(&self, items: &[Item]) -> Cost;
    fn read_owned(&self, items: &[Item]) -> Cost;
    /// Joins in the one order, leaves in the other.
    fn join_and_leave(&self, joins: &[Item], leaves: &[Item]) -> [Cost; 2];
    fn join_many(&self, joins: &[Item]) -> Cost;
    fn update(&self, items: &[Item], meta: &Meta) -> Cost;
    fn update_ref(&self, items: &[Item], meta: &Meta) -> Cost;
    fn end_sessions(&self, joins: &[Item]) -> Cost;
    fn mix(&self, mix: &Mix<'_>) -> Cost;
    /// Each thread joins and leaves with its own items, so many times.
    fn hot(&self, items: &[&[Item]], pairs: usize) -> Cost;
    /// Single reads, with a pause after each burst of so many.
    fn tail(&self, all: &[Item], own: &[Vec<Item>], duration: Duration, burst: usize, into: &mut Tail);
}

/// A contestant with its residents.
pub(crate) fn load<S: Store>(data: &Data) -> Box<dyn Contestant> {
    let store = S::empty(data.load.len().div_ceil(SESSION_ENTRIES));
    data.load.iter().for_each(|item| store.join_resident(item));
    Box::new(Turns(store))
}

/// An owner for each session of these items.
pub(crate) fn owners<S: Store>(store: &S, items: &[Item]) -> Vec<S::Owner> {
    items.chunks(SESSION_ENTRIES).map(|_| store.owner()).collect()
}

struct Turns<S>(S);

impl<S: Store> Turns<S> {
    fn join_all(&self, owners: &[S::Owner], joins: &[Item]) {
        for (owner, items) in owners.iter().zip(joins.chunks(SESSION_ENTRIES)) {
            items.iter().for_each(|item| self.0.join(owner, item));
        }
    }
}

/// Reads one after the other: where the next item is depends on what the last read returned, as far as the processor
/// knows. The items themselves come in the order of memory.
fn read_all(items: &[Item], present: bool, read: impl Fn(&Item) -> Option<u64>) -> Cost {
    let none = black_box(0);
    let (found, timing) = timed(|| {
        let (mut found, mut last) = (0, 0);
        for index in 0..items.len() {
            let seen = read(&items[index | (last & none)]);
            found += usize::from(seen.is_some());
            last = usize::try_from(seen.unwrap_or(found as u64)).unwrap_or(0);
        }
        found
    });
    assert_eq!(found, if present { items.len() } else { 0 }, "a read found what is there");
    timing.per(items.len())
}

impl<S: Store> Contestant for Turns<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn tracker(&self) -> Option<Tracker> {
        self.0.tracker().cloned()
    }

    fn read(&self, items: &[Item], present: bool) -> Cost {
        read_all(items, present, |item| self.0.read(item))
    }

    fn read_stream(&self, items: &[Item]) -> Cost {
        let (found, timing) = timed(|| items.iter().filter(|item| self.0.read(item).is_some()).count());
        assert_eq!(found, items.len(), "a read found what is there");
        timing.per(items.len())
    }

    fn read_many(&self, items: &[Item]) -> Cost {
        let (found, timing) =
            timed(|| items.chunks(BATCH).map(|batch| self.0.read_many(batch)).sum::<usize>());
        assert_eq!(found, items.len(), "a read found what is there");
        timing.per(items.len())
    }

    fn read_owned(&self, items: &[Item]) -> Cost {
        read_all(items, true, |item| self.0.read_owned(item))
    }

    fn join_and_leave(&self, joins: &[Item], leaves: &[Item]) -> [Cost; 2] {
        let owners = owners(&self.0, joins);
        let ((), joined) = timed(|| self.join_all(&owners, joins));
        let (left, leaving) = timed(|| {
            let leave = |item: &&Item| self.0.leave(&owners[item.session as usize], item);
            leaves.iter().filter(leave).count()
        });
        assert_eq!(left, joins.len(), "everybody who joined left");
        [joined.per(joins.len()), leaving.per(leaves.len())]
    }

    fn join_many(&self, joins: &[Item]) -> Cost {
        let owners: Vec<_> = joins.chunks(BATCH).map(|_| self.0.owner()).collect();
        let ((), timing) = timed(|| {
            for (owner, batch) in owners.iter().zip(joins.chunks(BATCH)) {
                self.0.join_many(owner, batch);
            }
        });
        for (owner, batch) in owners.into_iter().zip(joins.chunks(BATCH)) {
            self.0.end(owner, batch);
        }
        timing.per(joins.len())
    }

    fn update(&self, items: &[Item], meta: &Meta) -> Cost {
        let (updated, timing) = timed(|| items.iter().filter(|item| self.0.update(item, meta)).count());
        assert_eq!(updated, items.len(), "every resident was updated");
        timing.per(items.len())
    }

    fn update_ref(&self, items: &[Item], meta: &Meta) -> Cost {
        let refs: Vec<S::Ref> = items.iter().map(|item| self.0.ref_of(item)).collect();
        let both = || items.iter().zip(&refs);
        let (updated, timing) =
            timed(|| both().filter(|(item, of)| self.0.update_ref(item, of, meta)).count());
        assert_eq!(updated, items.len(), "every resident was updated");
        timing.per(items.len())
    }

    fn end_sessions(&self, joins: &[Item]) -> Cost {
        let owners = owners(&self.0, joins);
        self.join_all(&owners, joins);
        let ((), timing) = timed(|| {
            for (owner, items) in owners.into_iter().zip(joins.chunks(SESSION_ENTRIES)) {
                self.0.end(owner, items);
            }
        });
        assert!(joins.iter().all(|item| self.0.read(item).is_none()), "the sessions have ended");
        timing.per(joins.len())
    }

    fn mix(&self, mix: &Mix<'_>) -> Cost {
        let total = threads::together(mix.own.len(), |thread| threads::mix(&self.0, mix, thread));
        per_thread(total, mix.own.len(), mix.operations)
    }

    fn hot(&self, items: &[&[Item]], pairs: usize) -> Cost {
        let total = threads::together(items.len(), |thread| {
            let owner = self.0.owner();
            for item in items[thread].iter().cycle().take(pairs) {
                self.0.join(&owner, item);
                assert!(self.0.leave(&owner, item), "it joined");
            }
        });
        per_thread(total, items.len(), pairs)
    }

    fn tail(&self, all: &[Item], own: &[Vec<Item>], duration: Duration, burst: usize, into: &mut Tail) {
        threads::tail(&self.0, all, own, duration, burst, into);
    }
}

/// Wall time is that of all threads together, CPU time their sum: per operation of a thread, and per operation.
fn per_thread(total: Timing, threads: usize, operations: usize) -> Cost {
    let (wall, cpu) = (total.per(operations), total.per(operations * threads));
    Cost { wall_ns: wall.wall_ns, cpu_ns: cpu.cpu_ns }
}
