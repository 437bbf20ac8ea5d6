//! Removing what dead processes have left.

use super::file::{is_orphan, monotonic};
use super::format::{HEADER_BYTES, MAGIC, word};
use super::reader::names;
use super::region::Region;
use crate::sync::Ordering;
use std::fs::{self, File};
use std::path::Path;

/// A dead process's file is kept for so many seconds after its last beat, for those who want to know what it did last.
pub const KEPT_SECS: u64 = 600;

/// Removes the files of processes that are long dead. What cannot be read or removed is another user's.
pub(super) fn prune(dir: &Path) {
    for (path, _) in names(dir).unwrap_or_default() {
        let Ok(file) = File::open(&path) else { continue };
        if is_orphan(&file) && is_old(&file) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_old(file: &File) -> bool {
    let long_enough = file.metadata().is_ok_and(|metadata| metadata.len() >= HEADER_BYTES as u64);
    let Some(header) = long_enough.then(|| Region::readable(file, 0, HEADER_BYTES).ok()).flatten() else {
        return false;
    };
    let at = |at: usize| header.words()[at].load(Ordering::Relaxed);
    // After a restart of the system the clock begins anew, and so does the directory; where it does not, old beats lie ahead.
    let age = monotonic().checked_sub(at(word::BEAT));
    at(word::MAGIC) == MAGIC && age.is_none_or(|age| age / 1_000_000_000 >= KEPT_SECS)
}
