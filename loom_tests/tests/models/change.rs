//! The change flag: writers publish and look for a watcher, the watcher arms and looks for publications.

use crate::kernel::bell::Bell;
use crate::kernel::change::ChangeFlag;
use headcount_loom_tests::Symptom::{Deadlock, Says};
use headcount_loom_tests::{Effort, Model};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

pub(crate) const MODELS: &[Model] = &[
    model!(
        a_publication_is_seen_or_wakes,
        change::WRITER_NO_FENCE => Says(MISSED),
        change::WATCHER_NO_FENCE => Says(MISSED),
    ),
    model!(
        one_of_two_writers_wakes,
        change::CLAIM_IN_TWO_STEPS => Says(NOT_ONE),
    ),
    model!(
        a_watcher_of_one_lane_sleeps_through_nothing,
        change::WRITER_NO_FENCE => Deadlock,
        change::WATCHER_NO_FENCE => Deadlock,
    ),
    model!(
        a_watcher_of_two_lanes_sleeps_through_nothing,
        change::WRITER_NO_FENCE => Deadlock,
        change::WATCHER_NO_FENCE => Deadlock,
    ),
];

const MISSED: &str = "the watcher missed the publication and the writer missed the watcher";
const NOT_ONE: &str = "exactly one writer is to wake the watcher";

/// A flag, the clocks of two lanes, and what the watcher sleeps on.
struct Fixture<const FAULT: u8> {
    flag: ChangeFlag<FAULT>,
    clocks: [AtomicU64; 2],
    bell: Bell,
}

impl<const FAULT: u8> Fixture<FAULT> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            flag: ChangeFlag::new(),
            clocks: [AtomicU64::new(0), AtomicU64::new(0)],
            bell: Bell::new(),
        })
    }

    /// Starts a writer that publishes the clock 1 and returns whether it is to wake the watcher.
    fn writer(self: &Arc<Self>, lane: usize, publish: Ordering) -> thread::JoinHandle<bool> {
        let this = Arc::clone(self);
        thread::spawn(move || {
            this.clocks[lane].store(1, publish);
            this.flag.changed()
        })
    }

    /// Starts a writer that publishes the clocks up to `clock`, and wakes the watcher where it is to.
    fn waking_writer(self: &Arc<Self>, lane: usize, clock: u64) -> thread::JoinHandle<()> {
        let this = Arc::clone(self);
        thread::spawn(move || {
            for clock in 1..=clock {
                this.clocks[lane].store(clock, Ordering::Release);
                if this.flag.changed() {
                    let waker = this.bell.ring();
                    assert!(waker.is_none(), "the watcher leaves no waker");
                }
            }
        })
    }

    /// Watches until the clocks are these.
    fn watch(&self, clocks: [u64; 2]) {
        loop {
            self.flag.arm();
            if [0, 1].map(|lane: usize| self.clocks[lane].load(Ordering::Acquire)) == clocks {
                return;
            }
            self.bell.wait();
        }
    }
}

fn a_publication_is_seen_or_wakes<const FAULT: u8>(effort: Effort) {
    // As the shards publish their clocks, and with nothing but the kernel's own fences.
    for (publish, look) in [(Ordering::Release, Ordering::Acquire), (Ordering::Relaxed, Ordering::Relaxed)] {
        effort.explore(move || {
            let fixture = Fixture::<FAULT>::new();
            let writer = fixture.writer(0, publish);
            fixture.flag.arm();
            let seen = fixture.clocks[0].load(look) == 1;
            let woken = writer.join().unwrap();
            assert!(seen || woken, "{MISSED}");
        });
    }
}

fn one_of_two_writers_wakes<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let fixture = Fixture::<FAULT>::new();
        let writers = [0, 1].map(|lane| fixture.writer(lane, Ordering::Release));
        fixture.flag.arm();
        let seen = [0, 1].map(|lane: usize| fixture.clocks[lane].load(Ordering::Acquire) == 1);
        let woken = writers.map(|writer| writer.join().unwrap());
        assert!(woken != [true, true], "{NOT_ONE}");
        assert!(seen == [true, true] || woken != [false, false], "{MISSED}");
    });
}

/// The whole protocol as the replication's thread runs it: arm, look, sleep only if there was nothing new.
fn a_watcher_of_one_lane_sleeps_through_nothing<const FAULT: u8>(effort: Effort) {
    let clock = effort.size(2, 3).into();
    effort.explore(move || {
        let fixture = Fixture::<FAULT>::new();
        let writer = fixture.waking_writer(0, clock);
        fixture.watch([clock, 0]);
        writer.join().unwrap();
    });
}

fn a_watcher_of_two_lanes_sleeps_through_nothing<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let fixture = Fixture::<FAULT>::new();
        let writers = [fixture.waking_writer(0, 1), fixture.waking_writer(1, 1)];
        fixture.watch([1, 1]);
        for writer in writers {
            writer.join().unwrap();
        }
    });
}
