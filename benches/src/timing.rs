//! How long the benchmarks look, and timing of operations that must be undone.

use criterion::Criterion;
use std::time::{Duration, Instant};

/// Criterion for a benchmark's `main`: enough samples for a ratio, and all subjects in some minutes. The command line
/// goes before it.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(40)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// Operations between two undoings, and between two looks at the clock.
const BLOCK: usize = 1_000;

/// The time of `iters` calls of `operation`, each on the next of `rows` (at least one), in blocks: `before` and `after`
/// get the rows of the block and are not timed.
pub fn time_in_blocks<R>(
    iters: u64,
    rows: &[R],
    mut before: impl FnMut(&[R]),
    mut operation: impl FnMut(&R),
    mut after: impl FnMut(&[R]),
) -> Duration {
    let mut left = usize::try_from(iters).unwrap_or(usize::MAX);
    let mut timed = Duration::ZERO;
    for block in rows.chunks(BLOCK).cycle() {
        if left == 0 {
            break;
        }
        let block = &block[..left.min(block.len())];
        before(block);
        let started = Instant::now();
        block.iter().for_each(&mut operation);
        timed += started.elapsed();
        after(block);
        left -= block.len();
    }
    timed
}
