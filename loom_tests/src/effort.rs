//! How much of a model's state space is explored.

use std::cell::Cell;

thread_local! {
    static EXECUTIONS: Cell<u64> = const { Cell::new(0) };
}

/// Preemptions that a deep run adds to every bound.
const DEEP_PREEMPTIONS_MORE: usize = 4;

/// How hard to look. The usual effort takes seconds; the deep one adds operations and preemptions and takes minutes.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    deep: bool,
}

impl Effort {
    /// The usual effort, or the deep one if the environment has `HEADCOUNT_LOOM_DEEP=1`.
    #[must_use]
    pub fn from_env() -> Self {
        Self { deep: std::env::var_os("HEADCOUNT_LOOM_DEEP").is_some_and(|value| value == "1") }
    }

    /// Whether this is the deep effort.
    #[must_use]
    pub fn is_deep(self) -> bool {
        self.deep
    }

    /// A size of the model: `usual`, or `deep` in a deep run.
    #[must_use]
    pub fn size(self, usual: u32, deep: u32) -> u32 {
        if self.deep { deep } else { usual }
    }

    /// Runs `model` in every interleaving, and with every value that its loads may return. For two threads.
    ///
    /// # Panics
    /// As the model does in the first execution that fails, or if no thread can go on.
    pub fn explore(self, model: impl Fn() + Send + Sync + 'static) {
        check(None, model);
    }

    /// Like [`explore`](Self::explore), with at most `preemptions` switches away from a thread that could have gone on
    /// (more in a deep run). For three threads, whose every interleaving would take hours.
    ///
    /// # Panics
    /// As [`explore`](Self::explore).
    pub fn explore_bounded(self, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        check(Some(preemptions + if self.deep { DEEP_PREEMPTIONS_MORE } else { 0 }), model);
    }

    /// Like [`explore_bounded`](Self::explore_bounded), with no more preemptions in a deep run than `deep`: for what grows so fast with
    /// them that four more would take hours.
    ///
    /// # Panics
    /// As [`explore`](Self::explore).
    pub fn explore_up_to(self, usual: usize, deep: usize, model: impl Fn() + Send + Sync + 'static) {
        check(Some(if self.deep { deep } else { usual }), model);
    }
}

fn check(preemption_bound: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemption_bound;
    // The operations that set a model up count, too.
    builder.max_branches = 4_000;
    // The environment (`LOOM_MAX_DURATION` and the like) must not make an exploration less than it says it is.
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.check(move || {
        EXECUTIONS.set(EXECUTIONS.get() + 1);
        model();
    });
}

/// Executions on this thread since the last call.
pub(crate) fn take_executions() -> u64 {
    EXECUTIONS.take()
}
