//! Own entries that left without their session, until it looks.
//!
//! A session counts its entries under a lock of its own, which nobody else takes: so who evicts one takes it out of its shard and leaves a
//! note for the session, which takes its notes before it counts. What it remembers of an entry that is gone does no harm meanwhile: it
//! asks a slot whether it is its own before it does anything with it.
//!
//! Order: the total is raised before the entry is gone, and the notes stay locked until the note is there. So whoever has seen under
//! the shard's lock that an entry is gone sees the raised total, and waits for the note.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use std::collections::BTreeMap;

/// See the module's documentation. Locked after a session and before a shard.
#[derive(Debug, Default)]
pub(crate) struct Evictions {
    /// Evictions begun, so that a session that has nothing to take need not lock.
    total: AtomicU64,
    /// By session: how many of its entries were evicted since it looked.
    notes: Mutex<BTreeMap<u64, usize>>,
}

/// An eviction under way.
pub(crate) struct Evicting<'a>(MutexGuard<'a, BTreeMap<u64, usize>>);

impl Evictions {
    /// Begins an eviction.
    pub(crate) fn begin(&self) -> Evicting<'_> {
        let notes = self.notes.lock();
        // Relaxed: the shard's lock, which is taken after this, orders it for whoever sees what the eviction did.
        self.total.fetch_add(1, Ordering::Relaxed);
        Evicting(notes)
    }

    /// What a new session has looked at: it has no entries.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// How many of a session's entries were evicted since it looked. `looked` is what the session keeps between two calls, the
    /// [`total`](Self::total) at first.
    pub(crate) fn take(&self, session: u64, looked: &mut u64) -> usize {
        let total = self.total();
        if total == *looked {
            return 0;
        }
        *looked = total;
        self.notes.lock().remove(&session).unwrap_or(0)
    }
}

impl Evicting<'_> {
    /// Notes that an entry of that session is gone.
    pub(crate) fn note(mut self, session: u64) {
        *self.0.entry(session).or_insert(0) += 1;
    }
}
