//! The gate's measurement: every operation under callgrind, some runs at a time.

use super::{CallgrindError, Operation, callgrind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{env, fs, io, process, thread};

/// How the gate measures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// The binary `count`.
    pub program: PathBuf,
    /// Resident entries.
    pub entries: usize,
    /// Runs at a time.
    pub jobs: usize,
    /// Trackers count in a file that other processes could read.
    pub watched: bool,
}

/// A run and what it counted.
type Counted = (usize, Result<u64, CallgrindError>);

/// Instructions of one operation each, of these. `progress` is told how many runs of how many are done.
///
/// # Errors
/// A run that failed. No other is started then; those that run are waited for.
pub fn measure(
    gate: &Gate,
    operations: &[&'static Operation],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<(&'static Operation, f64)>, CallgrindError> {
    callgrind::present()?;
    let folder = Folder::new().map_err(CallgrindError::Output)?;
    let both =
        |operation: &'static Operation| [(operation, operation.steps), (operation, operation.prepared())];
    let runs: Vec<(&'static Operation, usize)> = operations.iter().copied().flat_map(both).collect();
    let (next, done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut counted: Vec<Counted> = Vec::new();
        // Relaxed: the numbers only tell the workers apart, and the results come with the join.
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(operation, steps)) = runs.get(index) else {
                break;
            };
            let count = run(gate, operation, steps, &folder.0);
            failed.fetch_or(count.is_err(), Ordering::Relaxed);
            counted.push((index, count));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, runs.len());
        }
        counted
    };
    let mut counted: Vec<Counted> = thread::scope(|scope| {
        let workers: Vec<_> = (0..gate.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    counted.sort_unstable_by_key(|&(index, _)| index);
    let counts = counted.into_iter().map(|(_, count)| count).collect::<Result<Vec<u64>, _>>()?;
    let pairs = operations.iter().copied().zip(counts.chunks_exact(2));
    Ok(pairs.map(|(operation, pair)| (operation, price(operation, pair[0], pair[1]))).collect())
}

fn run(gate: &Gate, operation: &Operation, steps: usize, folder: &Path) -> Result<u64, CallgrindError> {
    let (steps_text, entries) = (steps.to_string(), gate.entries.to_string());
    let mut arguments = vec!["run", operation.name, &steps_text, "--entries", &entries];
    if gate.watched {
        arguments.push("--watched");
    }
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let out = folder.join(format!("{}.{steps}", operation.name));
    callgrind::count(&gate.program, &arguments, &out)
}

/// The price of one entry: what N more steps took.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn price(operation: &Operation, once: u64, twice: u64) -> f64 {
    twice.saturating_sub(once) as f64 / (operation.steps * operation.per_step) as f64
}

/// A folder for callgrind's output, gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let mut attempt = 0;
        loop {
            let path = env::temp_dir().join(format!("headcount-count-{}-{attempt}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                // A gate that was killed left it, and had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever clears the temporary folder.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_of_the_difference_and_of_one_entry() {
        let list = Operation::named("list_1000_per_member").expect("there is a list");
        let (set_up, member) = (123_456, 9);
        let count = |steps: usize| set_up + member * (steps * 1_000) as u64;
        assert!((price(list, count(list.steps), count(list.prepared())) - 9.0).abs() < 1e-9);
    }
}
