//! Instruction counts, as a gate on speed that does not move with the machine's noise.
//!
//! The binary `count` runs itself under callgrind, once with N operations of a kind and once with 2N: the difference over N
//! is the price of one. Set-up, resident entries and everything prepared are the same in both runs, and are not collected at
//! all: callgrind collects inside [`count_measured_part`] only, on the thread that is in it. So neither the luck of the set-up nor
//! a thread of the engine's own is in the price.
//!
//! What chance is left are the hashers, seeded anew in each process: of ten gates in a row, the highest count of an operation
//! was at most 0.8 % over the lowest, mostly 0.3 %. (The same difference of whole processes, set-up and all, gives the same
//! counts with three times the spread; a fixed address space changes nothing.) Another environment or path moves the stack, and
//! `memcmp` by that: up to 1.5 % of the cheapest operation. The price does depend on the architecture, the compiler and the C
//! library, which has an allocator and picks its `memcpy` and `memcmp` by the processor; it does not depend on the number of
//! cores, as the trackers measured have a fixed number of shards.
//!
//! Valgrind leaves a program some 120 GiB of address space, of which one mapping can have 62 GiB: trackers that reserve 16 GiB
//! each run under it, a handful at once.

mod bounds;
mod callgrind;
mod delta;
mod gate;
mod report;
mod workload;

pub use bounds::{Bound, Bounds, BoundsError, Row, Verdict};
pub use callgrind::{CallgrindError, collected};
pub use gate::{Gate, measure};
pub use report::Report;
pub use workload::{RunError, run};

/// The function in which callgrind collects: `operation` on 0, 1, 2 … up to `steps`.
///
/// Not inlined and not generic, so that there is one symbol of that name; the operations' closures belong to other functions.
#[inline(never)]
pub fn count_measured_part(steps: usize, operation: &mut dyn FnMut(usize)) {
    for step in 0..steps {
        operation(step);
    }
}

/// Entries of a delta.
pub(crate) const DELTA: usize = 1_000;
/// Entries of a `track_many`.
pub(crate) const BATCH: usize = 64;

/// A kind of operation that has a price.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(
    missing_docs,
    reason = "the name and the description of each are in OPERATIONS, for people and for rustdoc"
)]
pub enum Kind {
    GetHit,
    GetMiss,
    GetOwned,
    ListPerMember,
    ListOwnedPerMember,
    Count,
    Contains,
    Track,
    Untrack,
    Update,
    ReadMany,
    TrackMany,
    SessionEnd,
    DeltaMake,
    DeltaApply,
    EventJoin,
}

/// An operation: what it is called, and how much of it is enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What is done.
    pub kind: Kind,
    /// What the table, the bounds and the command line call it.
    pub name: &'static str,
    /// N: chosen so that ten gates in a row differ by less than 1 %, and a gate takes well under 90 s on two cores.
    pub steps: usize,
    /// Of how many entries a step is: the price is that of one entry.
    pub per_step: usize,
}

impl Operation {
    /// The operation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// Steps that are prepared, however many are run: 2N, so that both runs have the same set-up.
    #[must_use]
    pub fn prepared(&self) -> usize {
        2 * self.steps
    }
}

/// All of them. Entries come and go in sessions of 100, into storage that has held as many before: no step grows a table of the
/// tracker's, and those of a session grow with it, as a connection's do.
///
/// `get_hit` and `get_miss` are `Tracker::read`, `list_1000_per_member` is `Tracker::for_each`, both with a closure that
/// looks at the meta; the `owned` forms are `Tracker::get` and `Tracker::list`. `event_join` is a track in a topic that somebody
/// subscribes to.
pub const OPERATIONS: [Operation; 16] = [
    op(Kind::GetHit, "get_hit", 4_000, 1),
    op(Kind::GetMiss, "get_miss", 4_000, 1),
    op(Kind::GetOwned, "get_owned", 4_000, 1),
    op(Kind::ListPerMember, "list_1000_per_member", 20, crate::TOPIC_MEMBERS),
    op(Kind::ListOwnedPerMember, "list_owned_per_member", 20, crate::TOPIC_MEMBERS),
    op(Kind::ReadMany, "read_many_64", 60, BATCH),
    op(Kind::Count, "count", 4_000, 1),
    op(Kind::Contains, "contains", 4_000, 1),
    op(Kind::Track, "track", 4_000, 1),
    op(Kind::Untrack, "untrack", 4_000, 1),
    op(Kind::Update, "update", 4_000, 1),
    op(Kind::TrackMany, "track_many_64", 60, BATCH),
    op(Kind::SessionEnd, "session_end_per_entry", 40, crate::SESSION_ENTRIES),
    op(Kind::DeltaMake, "delta_make_per_entry", 4, DELTA),
    op(Kind::DeltaApply, "delta_apply_per_entry", 4, DELTA),
    op(Kind::EventJoin, "event_join", 3_000, 1),
];

const fn op(kind: Kind, name: &'static str, steps: usize, per_step: usize) -> Operation {
    Operation { kind, name, steps, per_step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name() {
        for operation in &OPERATIONS {
            assert_eq!(Operation::named(operation.name), Some(operation));
        }
        assert_eq!(Operation::named("get"), None);
    }

    #[test]
    fn every_operation_runs_its_steps_and_twice_as_many() {
        for operation in &OPERATIONS {
            for steps in [1, operation.prepared()] {
                run(operation, steps, 3_000, false)
                    .unwrap_or_else(|error| panic!("{}: {error}", operation.name));
            }
        }
    }

    #[test]
    fn more_steps_than_are_prepared_are_refused_by_name() {
        let track = Operation::named("track").expect("there is a track");
        let refused = run(track, 8_001, 1_000, false).unwrap_err().to_string();
        assert_eq!(refused, "N is 8001, for track it must be within 1..=8000");
        assert!(run(track, 0, 1_000, false).is_err());
        let refused = run(track, 1, 0, false).unwrap_err().to_string();
        assert_eq!(refused, "--entries is 0, it must be within 1000..=10000000");
    }
}
