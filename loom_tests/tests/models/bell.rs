//! The bell: one sleeper, any number of ringers.

use super::task::WakeCount;
use crate::kernel::bell::Bell;
use headcount_loom_tests::Symptom::{Deadlock, Says};
use headcount_loom_tests::{Effort, Model};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

pub(crate) const MODELS: &[Model] = &[
    model!(
        a_ring_wakes_the_sleeper,
        bell::BLIND_STORE => Deadlock,
        bell::NOTIFY_UNLOCKED => Deadlock,
        bell::RING_IN_TWO_STEPS => Deadlock,
        bell::RING_RELAXED => Says(UNSEEN),
    ),
    model!(
        no_ring_of_several_is_lost,
        bell::BLIND_STORE => Deadlock,
        bell::ACKNOWLEDGE_RELAXED => Deadlock,
    ),
    model!(
        two_ringers_are_both_heard,
        bell::NOTIFY_UNLOCKED => Deadlock,
        bell::ACKNOWLEDGE_RELAXED => Deadlock,
    ),
    model!(
        a_waker_left_is_woken_or_the_ring_came_first,
        bell::BLIND_STORE => Says(UNWOKEN),
        bell::WAKER_AFTER_STATE => Says(UNWOKEN),
        bell::RING_RELAXED => Says(UNSEEN),
    ),
    model!(
        two_ringers_wake_a_waker_once,
        bell::WAKER_AFTER_STATE => Says(UNWOKEN),
    ),
    model!(
        the_latest_waker_is_the_one_that_is_woken,
        bell::WAKER_AFTER_STATE => Says(UNWOKEN),
    ),
    model!(
        a_wait_after_a_stale_waker_needs_a_ring,
        bell::STALE_IS_RUNG => Says(UNSEEN),
    ),
    model!(
        a_ring_at_the_deadline_is_told_now_or_later,
        bell::TIMEOUT_TAKES_RING => Deadlock,
        bell::BLIND_STORE => Deadlock,
        bell::RING_RELAXED => Says(UNSEEN),
    ),
];

const UNSEEN: &str = "what was written before the ring is not visible after it";
const UNWOKEN: &str = "a waker that was left is to be woken once";

/// A bell and, for each ringer, what it writes before it rings.
struct Fixture<const FAULT: u8> {
    bell: Bell<FAULT>,
    written: [AtomicU32; 2],
}

impl<const FAULT: u8> Fixture<FAULT> {
    fn new() -> Arc<Self> {
        Arc::new(Self { bell: Bell::new(), written: [AtomicU32::new(0), AtomicU32::new(0)] })
    }

    /// Starts a ringer that writes 1, 2, … `rings`, and rings after each. Relaxed: the bell is to publish them.
    fn ringer(self: &Arc<Self>, number: usize, rings: u32) -> thread::JoinHandle<()> {
        let this = Arc::clone(self);
        thread::spawn(move || {
            for value in 1..=rings {
                this.written[number].store(value, Ordering::Relaxed);
                if let Some(waker) = this.bell.ring() {
                    waker.wake();
                }
            }
        })
    }

    fn read(&self, number: usize) -> u32 {
        self.written[number].load(Ordering::Relaxed)
    }
}

fn counting_waker() -> (Arc<WakeCount>, Waker) {
    let count = Arc::new(WakeCount::default());
    (Arc::clone(&count), Waker::from(count))
}

fn a_ring_wakes_the_sleeper<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let fixture = Fixture::<FAULT>::new();
        let ringer = fixture.ringer(0, 1);
        fixture.bell.wait();
        assert_eq!(fixture.read(0), 1, "{UNSEEN}");
        ringer.join().unwrap();
    });
}

fn no_ring_of_several_is_lost<const FAULT: u8>(effort: Effort) {
    let rings = effort.size(2, 3);
    effort.explore(move || {
        let fixture = Fixture::<FAULT>::new();
        let ringer = fixture.ringer(0, rings);
        while fixture.read(0) < rings {
            fixture.bell.wait();
        }
        ringer.join().unwrap();
    });
}

fn two_ringers_are_both_heard<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let fixture = Fixture::<FAULT>::new();
        let ringers = [fixture.ringer(0, 1), fixture.ringer(1, 1)];
        while fixture.read(0) + fixture.read(1) < 2 {
            fixture.bell.wait();
        }
        for ringer in ringers {
            ringer.join().unwrap();
        }
    });
}

fn a_waker_left_is_woken_or_the_ring_came_first<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let fixture = Fixture::<FAULT>::new();
        let (woken, waker) = counting_waker();
        let ringer = fixture.ringer(0, 1);
        let left = fixture.bell.register(&waker);
        if !left {
            assert_eq!(fixture.read(0), 1, "{UNSEEN}");
        }
        ringer.join().unwrap();
        assert_eq!(woken.get(), usize::from(left), "{UNWOKEN}");
    });
}

fn two_ringers_wake_a_waker_once<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let fixture = Fixture::<FAULT>::new();
        let (woken, waker) = counting_waker();
        let ringers = [fixture.ringer(0, 1), fixture.ringer(1, 1)];
        let left = fixture.bell.register(&waker);
        for ringer in ringers {
            ringer.join().unwrap();
        }
        // The first ring may have come before the waker; the second wakes it then, if the first was taken by `register`.
        assert_eq!(woken.get(), usize::from(left), "{UNWOKEN}");
    });
}

/// A task that is polled again from another executor's thread leaves another waker.
fn the_latest_waker_is_the_one_that_is_woken<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let fixture = Fixture::<FAULT>::new();
        let ((old_woken, old), (new_woken, new)) = (counting_waker(), counting_waker());
        assert!(fixture.bell.register(&old), "nobody has rung yet");
        let ringer = fixture.ringer(0, 1);
        let left = fixture.bell.register(&new);
        if !left {
            assert_eq!(fixture.read(0), 1, "{UNSEEN}");
        }
        ringer.join().unwrap();
        assert!(!left || new_woken.get() == 1, "{UNWOKEN}");
        assert_eq!(old_woken.get() + new_woken.get(), 1, "one ring, one wake");
    });
}

/// A reader that polled before may block now; its waker of then is still there.
fn a_wait_after_a_stale_waker_needs_a_ring<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let fixture = Fixture::<FAULT>::new();
        let (woken, waker) = counting_waker();
        let ringer = fixture.ringer(0, 1);
        if fixture.bell.register(&waker) {
            fixture.bell.wait();
        }
        assert_eq!(fixture.read(0), 1, "{UNSEEN}");
        ringer.join().unwrap();
        assert!(woken.get() <= 1);
        assert!(fixture.bell.register(&waker), "the one ring was taken, so the bell is quiet again");
    });
}

fn a_ring_at_the_deadline_is_told_now_or_later<const FAULT: u8>(effort: Effort) {
    effort.explore(|| {
        let fixture = Fixture::<FAULT>::new();
        let ringer = fixture.ringer(0, 1);
        if !fixture.bell.wait_until(Instant::now()) {
            fixture.bell.wait();
        }
        assert_eq!(fixture.read(0), 1, "{UNSEEN}");
        ringer.join().unwrap();
    });
}
