//! Removing what dead processes have left.

use super::file::{lock, monotonic};
use super::format::{MAGIC, word};
use super::open::{Named, is_at, names, open_own};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

/// A dead process's file is kept for so many seconds after its last beat, for those who want to know what it did last.
pub const KEPT_SECS: u64 = 600;

/// Removes the files of processes of this user that are long dead, and those that were never finished.
pub(super) fn prune(dir: &Path) {
    for Named { path, is_new, .. } in names(dir).unwrap_or_default() {
        let Some(file) = open_own(&path) else { continue };
        let is_old = if is_new { was_begun_long_ago(&file) } else { beat_long_ago(&file) };
        // Who is old and lives is stopped, and has the lock. While this process has it, nobody else gives that name to another file.
        if is_old && lock(&file).is_ok() && is_at(&file, &path) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// By a clock that can be set: files get their last name a moment after they were begun.
fn was_begun_long_ago(file: &File) -> bool {
    let changed = file.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age >= Duration::from_secs(KEPT_SECS)))
}

fn beat_long_ago(file: &File) -> bool {
    // After a restart of the system the clock begins anew, and so does the directory; where it does not, old beats lie ahead.
    let age = read_word(file, word::BEAT).map(|beat| monotonic().checked_sub(beat));
    read_word(file, word::MAGIC).is_ok_and(|magic| magic == MAGIC)
        && age.is_ok_and(|age| age.is_none_or(|age| age / 1_000_000_000 >= KEPT_SECS))
}

/// Reads a word of the header by a call: a file that is shorter than it was a moment ago gives an error, where mapped memory ends the process.
#[cfg(unix)]
fn read_word(file: &File, at: usize) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at as u64 * 8)?;
    Ok(u64::from_ne_bytes(word))
}

#[cfg(not(unix))]
fn read_word(_file: &File, _at: usize) -> io::Result<u64> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
