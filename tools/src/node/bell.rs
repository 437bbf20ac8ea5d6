//! How the tracker's threads tell the server's loop that a subscription has events.
//!
//! A [`Signal`] is the waker of one subscription. The first wake-up puts its address into the loop's queue and rings the
//! loop awake; further ones cost one swap until the loop has looked. The loop clears the flag *before* it looks, so an
//! event that its look misses rings again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Wake, Waker};

/// Which subscription: the connection's slot, and the watch's number, which is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) slot: usize,
    pub(crate) watch: u64,
}

/// The ringing side, cloned into every signal.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    queue: Sender<Address>,
    rung: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
}

/// The loop's side.
#[derive(Debug)]
pub(crate) struct BellQueue {
    queue: Receiver<Address>,
    rung: Arc<AtomicBool>,
}

/// The waker of one subscription.
#[derive(Debug)]
pub(crate) struct Signal {
    address: Address,
    queued: AtomicBool,
    bell: Bell,
}

impl Bell {
    pub(crate) fn new(waker: Arc<mio::Waker>) -> (Self, BellQueue) {
        let (sender, receiver) = mpsc::channel();
        let rung = Arc::new(AtomicBool::new(false));
        (Self { queue: sender, rung: Arc::clone(&rung), waker }, BellQueue { queue: receiver, rung })
    }

    pub(crate) fn signal(&self, address: Address) -> Arc<Signal> {
        Arc::new(Signal { address, queued: AtomicBool::new(false), bell: self.clone() })
    }

    fn ring(&self, address: Address) {
        // The queue outlives the loop's interest only at shutdown.
        let _ = self.queue.send(address);
        // AcqRel: pairs with the swap in `take_all`. Either that swap comes later and its reader sees the address in
        // the queue, or this one reads false and wakes the loop.
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }
}

impl BellQueue {
    /// Everything that rang since the last time.
    pub(crate) fn take_all(&self) -> impl Iterator<Item = Address> + '_ {
        // Acquire: pairs with the swap in `ring`; see there.
        if self.rung.load(Ordering::Acquire) {
            self.rung.swap(false, Ordering::AcqRel);
        }
        self.queue.try_iter()
    }
}

impl Signal {
    /// To be called before the subscription is looked at.
    pub(crate) fn clear(&self) {
        // AcqRel: pairs with the swap in `wake`: the event whose wake-up was spared is visible to the look that follows.
        self.queued.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: pairs with the swap in `clear`.
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.bell.ring(self.address);
        }
    }
}

/// Numbers for watches.
#[derive(Debug, Default)]
pub(crate) struct WatchNumbers(u64);

impl WatchNumbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}
