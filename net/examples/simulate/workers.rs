//! Threads that share a range of numbers, and what became of each number.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What came of a range.
#[derive(Debug)]
pub(crate) struct Done<T> {
    /// By number.
    pub(crate) results: BTreeMap<u64, T>,
    /// Numbers that were to be done and have no result, with what is known of why. A run that proves nothing must not look like
    /// one that found nothing.
    pub(crate) missing: BTreeMap<u64, String>,
}

impl<T> Done<T> {
    /// Names what is missing. Whether nothing is.
    pub(crate) fn say_missing<N: Display>(&self, name: impl Fn(u64) -> N) -> io::Result<bool> {
        let mut out = io::stderr().lock();
        for (&number, why) in &self.missing {
            writeln!(out, "simulate: no result of {}: {why}", name(number))?;
        }
        Ok(self.missing.is_empty())
    }
}

/// Does `work` for each number, on so many threads. One that panics costs its own number alone.
pub(crate) fn run<T: Send>(
    numbers: Range<u64>,
    threads: u64,
    work: impl Fn(u64) -> io::Result<T> + Sync,
) -> io::Result<Done<T>> {
    let next = AtomicU64::new(numbers.start);
    let results = Mutex::new(BTreeMap::new());
    let panics = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let worker = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return Ok(());
                }
                // What a work that panics leaves behind is its own affair, and the run fails for it.
                match catch_unwind(AssertUnwindSafe(|| work(number))) {
                    Ok(result) => {
                        let result = result?;
                        results.lock().unwrap_or_else(PoisonError::into_inner).insert(number, result);
                    }
                    Err(panic) => {
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                        let text = format!("its worker panicked: {}", text.unwrap_or("in silence"));
                        panics.lock().unwrap_or_else(PoisonError::into_inner).insert(number, text);
                    }
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let gone = || Err(io::Error::other("a worker is gone"));
        // All of them end before one's error does.
        let ends: Vec<io::Result<()>> =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| gone())).collect();
        ends.into_iter().collect::<io::Result<()>>()
    })?;
    let results: BTreeMap<u64, T> = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut panics = panics.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Counted from what was asked for, not from what is known to have failed.
    let missing = numbers.filter(|number| !results.contains_key(number));
    let missing = missing
        .map(|number| (number, panics.remove(&number).unwrap_or_else(|| "nobody knows why".to_owned())));
    Ok(Done { missing: missing.collect(), results })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_is_missing_and_named_and_the_others_are_done() {
        let work = |number| {
            assert!(number % 3 != 0, "{number} is no good");
            Ok(number * 10)
        };
        let done = run(1..8, 2, work).unwrap();
        assert_eq!(
            done.results.into_iter().collect::<Vec<_>>(),
            [(1, 10), (2, 20), (4, 40), (5, 50), (7, 70)]
        );
        let why = |number: u64| (number, format!("its worker panicked: {number} is no good"));
        assert_eq!(done.missing.into_iter().collect::<Vec<_>>(), [why(3), why(6)]);
    }

    #[test]
    fn whether_something_is_missing_is_said() {
        let whole = run(0..3, 1, Ok).unwrap();
        assert!(whole.say_missing(|number| number).unwrap());
        let broken = run(0..3, 1, |number| {
            assert_eq!(number, 0);
            Ok(())
        });
        assert!(!broken.unwrap().say_missing(|number| number).unwrap());
    }

    #[test]
    fn an_error_ends_it() {
        let work = |number| if number == 2 { Err(io::Error::other("full")) } else { Ok(number) };
        assert!(run(0..5, 2, work).is_err());
    }
}
