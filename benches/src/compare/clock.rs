//! Wall and CPU time of what one thread does.

use rustix::time::{ClockId, clock_gettime};
use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant};

/// How long something took.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Timing {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Timing {
    /// Per operation.
    pub(crate) fn per(self, operations: usize) -> Cost {
        let per = |time: Duration| time.as_nanos() as f64 / operations.max(1) as f64;
        Cost { wall_ns: per(self.wall), cpu_ns: per(self.cpu) }
    }
}

impl AddAssign for Timing {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// What one operation costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall_ns: f64,
    pub(crate) cpu_ns: f64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall_ns: self.wall_ns + other.wall_ns, cpu_ns: self.cpu_ns + other.cpu_ns }
    }
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // A clock that counts from the thread's start is never negative.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Runs something and looks at both clocks before and after.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (R, Timing) {
    let (cpu, wall) = (thread_cpu(), Instant::now());
    let result = work();
    let wall = wall.elapsed();
    (result, Timing { wall, cpu: thread_cpu().saturating_sub(cpu) })
}

/// The longest of many operations, one after the other.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Longest(pub(crate) Timing);

impl Longest {
    /// Runs `operation` on every item. The clocks are read between two operations only, so each counts one reading too.
    pub(crate) fn look<T>(&mut self, items: &[T], mut operation: impl FnMut(&T)) {
        let (mut cpu, mut wall) = (thread_cpu(), Instant::now());
        for item in items {
            operation(item);
            let (cpu_now, wall_now) = (thread_cpu(), Instant::now());
            self.0.cpu = self.0.cpu.max(cpu_now.saturating_sub(cpu));
            self.0.wall = self.0.wall.max(wall_now.duration_since(wall));
            (cpu, wall) = (cpu_now, wall_now);
        }
    }
}
