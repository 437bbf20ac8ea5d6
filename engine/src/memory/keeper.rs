//! The keeper: a thread that has the next unit's memory ready before it is needed, and gives back what is free.
//!
//! The first touch of a huge page takes some 0.2 ms, and many times that in a virtual machine whose host has to find the memory
//! first, while no operation of the engine may take a millisecond. So the keeper touches it. It is started when unit 0 runs low: a
//! small tracker has none. It sleeps when there is nothing to do, it is never waited for by who takes pages (with one
//! exception, in [`Arena::take`](super::Arena::take)), and it ends when the arena is dropped.

use super::{Keeper, PAGE_WORDS, Shared, UNIT_PAGES};
use crate::sync::{Arc, Ordering, wait};
use std::hint::black_box;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts the keeper.
pub(super) fn spawn(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    Builder::new().name("headcount-memory".to_owned()).spawn(move || run(&shared))
}

fn run(shared: &Shared) {
    let mut state = shared.state.lock();
    while !shared.closing.load(Ordering::Relaxed) {
        state = shared.work_off(state, |unit| warm(shared, unit));
        // Whoever finds it resting wakes it. It is told to end under this lock, so that cannot be missed either.
        if !shared.closing.load(Ordering::Relaxed) {
            state.keeper = Keeper::Resting;
            state = wait(&shared.work, state);
        }
    }
}

/// Touches every page of a unit. Others may use the unit meanwhile: or-ing 0 changes no word, and loses none.
fn warm(shared: &Shared, unit: u32) {
    let first = unit as usize * UNIT_PAGES;
    for page in first..first + UNIT_PAGES {
        // Relaxed: the arena's drop waits for this thread; this only makes it a short wait.
        if shared.closing.load(Ordering::Relaxed) {
            return;
        }
        // A write, since a read would be answered with the system's page of zeros; if the compiler knew that it is 0 that is
        // or-ed, it would make a read of it. Relaxed: no value is passed on.
        shared.words.word(page * PAGE_WORDS).fetch_or(black_box(0), Ordering::Relaxed);
    }
}
