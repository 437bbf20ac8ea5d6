//! Runs a test under many schedules, each of which a number brings back.

use crate::common::Random;
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::cell::Cell;

/// More steps than any schedule of these tests that ends. What takes more hangs.
const STEPS_MAX: usize = 3_000_000;
/// The engine's deepest frames hold some kilobytes.
const STACK_BYTES: usize = 256 * 1024;

thread_local! {
    /// The seed of the schedule that is running. shuttle's threads are coroutines of one thread.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Runs of one thread, of a length that differs from schedule to schedule: some switch at every step, some let a thread sleep over
/// thousands of another's, which is what it takes to find a page in its next use.
struct Bursts {
    first: u64,
    left: usize,
    random: Random,
    /// One step in so many switches.
    switches: u64,
}

impl Scheduler for Bursts {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.left = self.left.checked_sub(1)?;
        let seed = self.first;
        self.first += 1;
        SEED.set(seed);
        self.random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.random.below(1);
        self.switches = 1 << self.random.below(13);
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let current = current.filter(|&id| runnable.iter().any(|task| task.id() == id));
        if let Some(current) = current
            && !is_yielding
            && self.random.below(self.switches) > 0
        {
            return Some(current);
        }
        // Somebody else, if there is anybody: a thread that yields waits for others.
        let others: Vec<TaskId> =
            runnable.iter().map(|task| task.id()).filter(|&id| Some(id) != current).collect();
        let at = usize::try_from(self.random.below(others.len().max(1) as u64)).unwrap_or(0);
        others.get(at).copied().or(current)
    }

    fn next_u64(&mut self) -> u64 {
        self.random.below(u64::from(u32::MAX))
    }
}

/// Says, when a schedule fails, how to run it again.
struct Replayable(&'static str);

impl Drop for Replayable {
    #[expect(clippy::print_stderr, reason = "the test is panicking; there is no other way to say it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "to run this schedule again:\n    HEADCOUNT_SHUTTLE_SEED={} HEADCOUNT_SHUTTLE_ITERATIONS=1 \
                 cargo test -p headcount-shuttle-tests -- {}",
                SEED.get(),
                self.0
            );
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, it must be a number")))
}

/// Runs `test` under so many schedules, the same ones each time unless the environment says otherwise.
pub(crate) fn explore(name: &'static str, schedules: usize, test: fn()) {
    let more = number("HEADCOUNT_SHUTTLE_ITERATIONS").and_then(|more| usize::try_from(more).ok());
    let left = more.unwrap_or(schedules);
    let bursts =
        Bursts { first: number("HEADCOUNT_SHUTTLE_SEED").unwrap_or(1), left, random: Random(0), switches: 1 };
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    // The seed says it in one number.
    config.failure_persistence = FailurePersistence::None;
    // That orderings are not modelled is known; see above.
    config.silence_warnings = true;
    let _replayable = Replayable(name);
    let ran = Runner::new(bursts, config).run(test);
    assert_eq!(ran, left, "every schedule was run");
}

/// Numbers for a test's own choices, other ones in every schedule.
pub(crate) fn random() -> Random {
    Random(SEED.get() ^ 0x005e_ed00)
}
