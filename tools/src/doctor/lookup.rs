//! Finding the processes that keep counters.

use super::patient::Patient;
use super::sample::Sample;
use crate::error::Error;
use crate::inspect::choose::dir_problem;
use headcount::counters::{Life, find};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a process. Counters that are set once a second have changed in it, and some beats of every clock have passed.
const BETWEEN: Duration = Duration::from_millis(1200);

/// A process that cannot be examined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Closed {
    pub(crate) pid: u32,
    pub(crate) file: PathBuf,
    /// Why not, and what to do.
    pub(crate) problem: String,
}

/// What there is in a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) patients: Vec<Patient>,
    pub(crate) closed: Vec<Closed>,
}

/// Looks twice at every process of a directory.
///
/// # Errors
/// Why there is nothing to look at.
pub(crate) fn look(dir: &Path) -> Result<Found, Error> {
    let files = find(dir).map_err(|error| Error::option("--dir", dir.display(), dir_problem(&error)))?;
    let mut found = Found::default();
    let mut readers = Vec::new();
    for file in files {
        match file.reader {
            Ok(reader) => readers.push((Sample::of(&reader), Instant::now(), reader)),
            Err(error) => {
                let closed = Closed { pid: file.pid, file: file.path, problem: error.to_string() };
                found.closed.push(closed);
            }
        }
    }
    if readers.iter().any(|(_, _, reader)| reader.life() == Life::Running) {
        thread::sleep(BETWEEN);
    }
    found.patients = readers
        .into_iter()
        .map(|(before, at, mut reader)| {
            // Tables that were added meanwhile. A damaged one was found the first time, or is not looked at.
            let _ = reader.look_for_tables();
            Patient::new(&reader, (before, at))
        })
        // It has ended properly while it was looked at.
        .filter(|patient| patient.life != Life::Ended)
        .collect();
    Ok(found)
}
