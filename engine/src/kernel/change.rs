//! The change flag: tells one watcher that some lane has moved, at the price of one fence to a writer that nobody waits
//! for.
//!
//! A writer publishes (its lane's clock) and then looks whether the watcher is armed; the watcher arms and then looks at
//! the clocks. That is Dekker's pattern: with both looks allowed to go before the writes, each can miss the other and
//! the watcher sleeps on a change. So both sides have a `SeqCst` fence between their write and their look: whichever
//! fence comes second in the total order sees the other's write (C++20 \[atomics.order\], the same argument as
//! crossbeam's epoch pin). Plain release and acquire do not suffice.

use crate::sync::{AtomicU32, Ordering, fence};

/// Bugs that the models plant.
#[allow(dead_code)] // The engine plants none; `loom_tests` names them all.
pub(crate) mod fault {
    /// No fence on the writer's side.
    pub(crate) const WRITER_NO_FENCE: u8 = 1;
    /// No fence on the watcher's side.
    pub(crate) const WATCHER_NO_FENCE: u8 = 2;
    /// A writer claims the wake-up with a look and a store, and another in between claims it too.
    pub(crate) const CLAIM_IN_TWO_STEPS: u8 = 3;
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct ChangeFlag<const FAULT: u8 = 0> {
    armed: AtomicU32,
}

impl<const FAULT: u8> ChangeFlag<FAULT> {
    pub(crate) fn new() -> Self {
        Self { armed: AtomicU32::new(0) }
    }

    /// The writer's side, after it has published. True: the caller is the one to wake the watcher.
    #[must_use]
    pub(crate) fn changed(&self) -> bool {
        if FAULT != fault::WRITER_NO_FENCE {
            fence(Ordering::SeqCst);
        }
        // Relaxed: the fence orders this look after the publication; nothing is read on the strength of the flag. The
        // swap lets exactly one of several writers wake.
        if FAULT == fault::CLAIM_IN_TWO_STEPS {
            let armed = self.armed.load(Ordering::Relaxed) == 1;
            self.armed.store(0, Ordering::Relaxed);
            return armed;
        }
        self.armed.load(Ordering::Relaxed) == 1 && self.armed.swap(0, Ordering::Relaxed) == 1
    }

    /// The watcher's side. After this it must look at what the writers publish, and may sleep only if it found nothing
    /// new: every later publication comes with a wake-up.
    pub(crate) fn arm(&self) {
        self.armed.store(1, Ordering::Relaxed);
        if FAULT != fault::WATCHER_NO_FENCE {
            fence(Ordering::SeqCst);
        }
    }
}
