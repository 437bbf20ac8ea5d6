//! A bell: one sleeper, any number of ringers, no ring is lost and an awake sleeper costs a ringer one swap.
//!
//! The algorithm is the parker of the standard library with a task waker beside the condition variable. The state is
//! `IDLE` (nobody rang, nobody sleeps), `RUNG` (somebody rang since the sleeper last looked) or `WAITING` (the sleeper
//! went to sleep, or left a waker).
//!
//! * `ring`: swap to `RUNG`; only if the old state was `WAITING` is there somebody to wake, and only then is the lock
//!   taken and the kernel called. Ten rings before the sleeper looks are one wake-up.
//! * `wait`: `IDLE` → `WAITING` by compare-and-swap. It fails if a ring came first, and then there is no sleep. The
//!   sleeper holds the lock from its last look at the state until the condition variable has it, and the ringer takes
//!   the same lock before it notifies, so a ring between the look and the sleep cannot fall through.
//!
//! Orderings: the swap in `ring` is `AcqRel` and every look of the sleeper is at least `Acquire`: whatever was written
//! before the ring is visible to a sleeper that saw it (pairs `ring` → `take`/`wait`). The ringer
//! sees the waker that the sleeper left because both take its mutex: were the ringer's hold the earlier one, its swap would
//! happen before the very compare-and-swap that it read from. The Acquire half of the swap is not needed for that; it is
//! kept so that the argument does not rest on it.

use crate::sync::{AtomicU32, Condvar, Mutex, Ordering};
use std::task::Waker;

const IDLE: u32 = 0;
const RUNG: u32 = 1;
const WAITING: u32 = 2;

/// Bugs that the models plant.
#[allow(dead_code)] // The engine plants none; `loom_tests` names them all.
pub(crate) mod fault {
    /// The sleeper announces itself with a store that runs over a ring.
    pub(crate) const BLIND_STORE: u8 = 1;
    /// The ringer notifies without the lock, between the sleeper's look and its sleep.
    pub(crate) const NOTIFY_UNLOCKED: u8 = 2;
    /// The sleeper leaves its waker after it has announced itself.
    pub(crate) const WAKER_AFTER_STATE: u8 = 3;
    /// The ringer publishes nothing with its ring.
    pub(crate) const RING_RELAXED: u8 = 4;
    /// The ringer looks and then stores, with room for a sleeper in between.
    pub(crate) const RING_IN_TWO_STEPS: u8 = 5;
    /// The sleeper takes a ring back to `IDLE` without seeing what came with it.
    pub(crate) const ACKNOWLEDGE_RELAXED: u8 = 6;
    /// The sleeper takes its own `WAITING`, left by an earlier waker, for a ring.
    pub(crate) const STALE_IS_RUNG: u8 = 7;
    /// A sleeper whose time ran out takes the ring that came meanwhile and says that there was none.
    pub(crate) const TIMEOUT_TAKES_RING: u8 = 8;
}

/// See the module's documentation. One sleeper at a time: its callers hold `&mut` to the consumer's side.
#[derive(Debug)]
pub(crate) struct Bell<const FAULT: u8 = 0> {
    state: AtomicU32,
    waker: Mutex<Option<Waker>>,
    condvar: Condvar,
}

impl<const FAULT: u8> Bell<FAULT> {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(IDLE), waker: Mutex::new(None), condvar: Condvar::new() }
    }

    /// Rings. Wakes the sleeper if there is one; returns the waker that the caller is to wake, so that no foreign
    /// code runs under the lock.
    #[must_use]
    pub(crate) fn ring(&self) -> Option<Waker> {
        // Release publishes what the caller did before, to the Acquire of the sleeper's looks. See the module.
        let old = match FAULT {
            fault::RING_RELAXED => self.state.swap(RUNG, Ordering::Relaxed),
            fault::RING_IN_TWO_STEPS => {
                let old = self.state.load(Ordering::Acquire);
                self.state.store(RUNG, Ordering::Release);
                old
            }
            _ => self.state.swap(RUNG, Ordering::AcqRel),
        };
        if old != WAITING {
            return None;
        }
        if FAULT == fault::NOTIFY_UNLOCKED {
            self.condvar.notify_one();
            return None;
        }
        let waker = self.waker.lock().take();
        self.condvar.notify_one();
        waker
    }

    /// Sleeps until somebody rings; returns at once if somebody rang since the last return.
    pub(crate) fn wait(&self) {
        if !self.announce() {
            return;
        }
        let mut guard = self.waker.lock();
        // Acquire: pairs with the Release of `ring`.
        while self.state.load(Ordering::Acquire) == WAITING {
            guard = crate::sync::wait(&self.condvar, guard);
        }
        drop(guard);
        self.acknowledge();
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`. Returns whether somebody rang.
    pub(crate) fn wait_until(&self, deadline: std::time::Instant) -> bool {
        if !self.announce() {
            return true;
        }
        let mut guard = self.waker.lock();
        while self.state.load(Ordering::Acquire) == WAITING {
            if crate::sync::wait_until(&self.condvar, &mut guard, deadline) {
                break;
            }
        }
        drop(guard);
        self.acknowledge() && FAULT != fault::TIMEOUT_TAKES_RING
    }

    /// Leaves `waker` to be woken by the next ring. Returns false if somebody rang already; the waker may then be kept until
    /// the next one replaces it, and is not needed.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        if FAULT == fault::WAKER_AFTER_STATE {
            let quiet = self.announce();
            *self.waker.lock() = Some(waker.clone());
            return quiet;
        }
        *self.waker.lock() = Some(waker.clone());
        self.announce()
    }

    /// `IDLE` → `WAITING`; false, and the ring taken, if somebody rang.
    fn announce(&self) -> bool {
        if FAULT == fault::BLIND_STORE {
            self.state.store(WAITING, Ordering::Release);
            return true;
        }
        // Release: orders the waker left before the state that makes a ringer look for it. Acquire on failure:
        // the ring that came first published something. WAITING already: a waker left earlier and still wanted.
        match self.state.compare_exchange(IDLE, WAITING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(WAITING) if FAULT != fault::STALE_IS_RUNG => true,
            Err(_) => {
                self.acknowledge();
                false
            }
        }
    }

    /// Back to `IDLE`; returns whether somebody had rung.
    pub(super) fn acknowledge(&self) -> bool {
        // Acquire: a ring between the last look and this swap is taken here, with what it published. Release is not
        // needed for the waker (its mutex orders it), AcqRel keeps the state's modification order a release sequence.
        let ordering = if FAULT == fault::ACKNOWLEDGE_RELAXED { Ordering::Relaxed } else { Ordering::AcqRel };
        self.state.swap(IDLE, ordering) == RUNG
    }
}
