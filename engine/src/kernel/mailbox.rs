//! A mailbox: a bounded buffer behind a short lock, filled by many, emptied by one, with a [`Bell`] to wake that one.
//!
//! Filling and ringing are apart, because a writer fills while it holds a shard's lock and must not wake anybody until
//! it has let go of it: `with` under the lock, `ring` after. The reader looks first and sleeps then; a fill that the
//! look missed is followed by its ring, and a ring is never lost, so the reader looks again.

use super::bell::Bell;
use crate::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Bugs that the models plant, beside those of the bell.
#[allow(dead_code)] // The engine plants none; `loom_tests` names them all.
pub(crate) mod fault {
    /// The reader clears the bell between its look and its sleep, and with it the ring of a fill in between.
    pub(crate) const CLEAR_BEFORE_SLEEP: u8 = 11;
    /// The task goes to sleep although its waker came too late.
    pub(crate) const PENDING_UNREGISTERED: u8 = 12;
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Mailbox<B, const FAULT: u8 = 0> {
    buffer: Mutex<B>,
    bell: Bell<FAULT>,
}

impl<B, const FAULT: u8> Mailbox<B, FAULT> {
    pub(crate) fn new(buffer: B) -> Self {
        Self { buffer: Mutex::new(buffer), bell: Bell::new() }
    }

    /// Runs `f` on the buffer under its lock. A filler calls [`ring`](Self::ring) afterwards.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut B) -> R) -> R {
        f(&mut self.buffer.lock())
    }

    /// Tells the reader to look. Returns the waker for the caller to wake where it holds no lock.
    #[must_use]
    pub(crate) fn ring(&self) -> Option<Waker> {
        self.bell.ring()
    }

    /// Looks with `look` until it finds something, sleeping in between.
    pub(crate) fn wait<T>(&self, mut look: impl FnMut(&mut B) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.with(&mut look) {
                return found;
            }
            if FAULT == fault::CLEAR_BEFORE_SLEEP {
                self.bell.acknowledge();
            }
            self.bell.wait();
        }
    }

    /// Like [`wait`](Self::wait), but gives up at `deadline`.
    pub(crate) fn wait_until<T>(
        &self,
        deadline: std::time::Instant,
        mut look: impl FnMut(&mut B) -> Option<T>,
    ) -> Option<T> {
        loop {
            if let Some(found) = self.with(&mut look) {
                return Some(found);
            }
            if !self.bell.wait_until(deadline) {
                return self.with(&mut look);
            }
        }
    }

    /// The task's form: `Pending` after the waker was left with nothing found in between.
    pub(crate) fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut look: impl FnMut(&mut B) -> Option<T>,
    ) -> Poll<T> {
        loop {
            if let Some(found) = self.with(&mut look) {
                return Poll::Ready(found);
            }
            if self.bell.register(context.waker()) || FAULT == fault::PENDING_UNREGISTERED {
                return Poll::Pending;
            }
        }
    }
}
