//! What several threads do to a contestant at once.

use super::clock::{Timing, timed};
use super::data::Item;
use super::report::TailFigure;
use super::store::Store;
use super::turns::Mix;
use crate::mix as mixed;
use hdrhistogram::Histogram;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two bursts of reads.
const PAUSE: Duration = Duration::from_micros(100);

/// Runs `work` on so many threads that start together: from the first start to the last end, and the CPU time of all.
pub(crate) fn together(threads: usize, work: impl Fn(usize) + Sync) -> Timing {
    let (start, work) = (Barrier::new(threads), &work);
    let runs: Vec<_> = thread::scope(|scope| {
        let run = |thread| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let started = Instant::now();
                let ((), timing) = timed(|| work(thread));
                (started, started + timing.wall, timing.cpu)
            })
        };
        let handles: Vec<_> = (0..threads).map(run).collect();
        handles.into_iter().map(|handle| handle.join().expect("the thread's work did not panic")).collect()
    });
    let first = runs.iter().map(|run| run.0).min();
    let last = runs.iter().map(|run| run.1).max();
    let wall = last.zip(first).map_or(Duration::ZERO, |(last, first)| last.duration_since(first));
    Timing { wall, cpu: runs.iter().map(|run| run.2).sum() }
}

/// One thread's part of a mix: reads of everything, updates of its own.
pub(crate) fn mix<S: Store>(store: &S, mix: &Mix<'_>, thread: usize) {
    let seed = mixed(mix.seed ^ mixed(thread as u64));
    let at = |items: &[Item], number: u64| usize::try_from(number % items.len() as u64).unwrap_or(0);
    let own = &mix.own[thread];
    // Both orders are random already, so walking along them from somewhere is to draw without replacement.
    let (mut read_at, mut update_at) = (at(mix.all, seed), at(own, mixed(seed)));
    let mut state = seed | 1;
    let meta = [u8::try_from(seed & 0xff).unwrap_or(0); 32];
    for _ in 0..mix.operations {
        // Xorshift (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if (state >> 32) % 100 < mix.updates {
            assert!(store.update(&own[update_at], &meta), "nobody else's thread touches it");
            update_at = if update_at + 1 == own.len() { 0 } else { update_at + 1 };
        } else {
            assert!(store.read(&mix.all[read_at]).is_some(), "a resident stays");
            read_at = if read_at + 1 == mix.all.len() { 0 } else { read_at + 1 };
        }
    }
}

/// What a reader saw beside writers.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    times: Histogram<u64>,
    writes: u64,
}

impl Tail {
    pub(crate) fn new() -> Self {
        // Up to a minute, to three digits: no read takes longer, as no writer runs longer than that.
        let times = Histogram::new_with_max(60_000_000_000, 3).expect("the bounds are valid");
        Self { times, writes: 0 }
    }

    pub(crate) fn figure(&self) -> TailFigure {
        TailFigure {
            p50_ns: self.times.value_at_quantile(0.5),
            p99_ns: self.times.value_at_quantile(0.99),
            p999_ns: self.times.value_at_quantile(0.999),
            p9999_ns: self.times.value_at_quantile(0.9999),
            max_ns: self.times.max(),
            reads: self.times.len(),
            writes: self.writes,
        }
    }
}

/// Reads one by one, each timed, while a thread for each of `own` updates those without pause. The reader sleeps after
/// each burst of so many reads.
pub(crate) fn tail<S: Store>(
    store: &S,
    all: &[Item],
    own: &[Vec<Item>],
    duration: Duration,
    burst: usize,
    into: &mut Tail,
) {
    let (stop, writes) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Barrier::new(own.len() + 1);
    thread::scope(|scope| {
        for items in own {
            let (stop, writes, start) = (&stop, &writes, &start);
            scope.spawn(move || {
                start.wait();
                let mut done = 0;
                for (turn, item) in (0_u8..=255).cycle().zip(items.iter().cycle()) {
                    // Relaxed, here and below: nothing is published with the flag or the sum; joining orders the reads.
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    assert!(store.update(item, &[turn; 32]), "nobody else's thread touches it");
                    done += 1;
                }
                writes.fetch_add(done, Ordering::Relaxed);
            });
        }
        start.wait();
        let started = Instant::now();
        // Where the last round ended.
        let from = usize::try_from(into.times.len()).unwrap_or(0) % all.len();
        for (number, item) in all.iter().cycle().skip(from).enumerate() {
            if number > 0 && number % burst == 0 {
                thread::sleep(PAUSE);
            }
            let before = Instant::now();
            let seen = store.read(item);
            let took = before.elapsed();
            into.times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            // Not an assertion: a panic here would leave the writers running.
            if seen.is_none() || before.duration_since(started) >= duration {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    into.writes += writes.into_inner();
}
