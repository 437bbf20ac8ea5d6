//! Bugs planted on purpose, one at a time, so that a simulator can be shown to find them.
//!
//! Compiled with the feature `planted` only, and inert until a thread plants one: other threads, and other tests that share the
//! build, see the engine as it is. Nothing but the simulator of `headcount-net` and its tests turns the feature on.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// A rule of the replication that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bug {
    /// A delta is applied though operations in front of it are missing.
    NoGapCheck,
    /// The clock of a lane moves with a snapshot's first chunk, and not at its end.
    PartialAdvances,
    /// A snapshot that is aborted moves the clock as a whole one does.
    AbortAdvances,
    /// The chunks of a snapshot are taken in ascending order.
    AscendingSnapshot,
    /// An update is told as an entry of its own; the version that it replaces is not named.
    ReplacedNotLogged,
    /// Deltas are applied while a snapshot is under way.
    DeltaDuringSnapshot,
    /// A snapshot is taken whatever clock it builds on.
    NoBaseCheck,
    /// A snapshot is taken as of whatever clock.
    RelayWithoutAsOf,
    /// The highest life of a node that was forgotten is forgotten too.
    FenceForgotten,
    /// Readers still see the entries of a node that is down.
    HiddenShown,
    /// What was left out at the end of a cut delta is not told whole with the next.
    CutIgnored,
}

/// Plants a bug for what this thread does from now on, in place of the one before; `None` takes it out.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted on this thread.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
