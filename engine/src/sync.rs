//! The only door to atomics and locks.
//!
//! Everything that two threads can touch at once is imported from here, so that one switch puts the whole of it under
//! a model checker: with `--cfg loom` these are loom's types, with `--cfg shuttle` shuttle's. A test refuses the same imports anywhere else in this
//! crate. (Clippy's `disallowed-types` sees through re-exports and would refuse the door as well.)

#[cfg(not(any(loom, shuttle)))]
mod imp {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::hint::spin_loop as spin;
    pub(crate) use std::sync::atomic::AtomicU64 as StatWord;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

    /// Waits on `condvar`.
    pub(crate) fn wait<'a, T>(condvar: &Condvar, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(&mut guard);
        guard
    }

    /// Waits on `condvar`, giving up at `deadline`. Returns whether the time ran out.
    pub(crate) fn wait_until<T>(
        condvar: &Condvar,
        guard: &mut MutexGuard<'_, T>,
        deadline: std::time::Instant,
    ) -> bool {
        condvar.wait_until(guard, deadline).timed_out()
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::sync::atomic::AtomicU64 as StatWord;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Condvar, MutexGuard};
    pub(crate) use loom::thread::yield_now as spin;

    /// loom's mutex with parking_lot's face: a panic in a model fails the model, so poisoning adds nothing.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no model panics while it holds a lock")
        }
    }

    /// Waits on `condvar`.
    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).expect("no model panics while it holds a lock")
    }

    /// A wait whose deadline has passed already: loom has no clock. Returns that the time ran out.
    pub(crate) fn wait_until<T>(
        _condvar: &Condvar,
        _guard: &mut MutexGuard<'_, T>,
        _deadline: std::time::Instant,
    ) -> bool {
        true
    }
}

#[cfg(shuttle)]
mod imp {
    pub(crate) use shuttle::hint::spin_loop as spin;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use shuttle::sync::{Condvar, MutexGuard};
    use std::sync::PoisonError;
    // Statistics synchronise nothing, and a step for each would be lost on every schedule.
    pub(crate) use std::sync::atomic::AtomicU64 as StatWord;

    /// shuttle's mutex with parking_lot's face. A panic fails the test, so poisoning adds nothing, and a second panic while
    /// the first unwinds would hide what failed.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T: ?Sized>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }
    }

    impl<T: ?Sized> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Waits on `condvar`.
    pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// A wait whose deadline has passed already: shuttle has no clock. Returns that the time ran out.
    pub(crate) fn wait_until<T>(
        _condvar: &Condvar,
        _guard: &mut MutexGuard<'_, T>,
        _deadline: std::time::Instant,
    ) -> bool {
        true
    }
}

pub(crate) use imp::*;
// Reference counts are never what a model is about, so they are the same everywhere.
pub(crate) use std::sync::Arc;
/// A cell that is filled once. Filling it is no step of a model.
#[cfg(any(loom, shuttle))]
pub(crate) use std::sync::OnceLock;

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::path::Path;

    fn scan(folder: &Path, found: &mut Vec<String>) {
        for file in std::fs::read_dir(folder).expect("the sources are there") {
            let path = file.expect("the sources can be listed").path();
            if path.is_dir() {
                scan(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let doors = [
                "std::sync::atomic",
                "std::sync::{",
                "sync::Mutex",
                "sync::RwLock",
                "parking_lot",
                "crossbeam_epoch",
            ];
            let uses = text.lines().filter(|line| doors.iter().any(|door| line.contains(door)));
            let uses =
                uses.filter(|line| !line.contains("crate::sync") && !line.trim_start().starts_with("//"));
            found.extend(uses.map(|line| format!("{}: {line}", path.display())));
        }
    }

    #[test]
    fn atomics_and_locks_are_imported_here_and_nowhere_else() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        scan(&source, &mut found);
        found.retain(|line| !line.contains("sync.rs"));
        assert_eq!(found, Vec::<String>::new());
    }
}
