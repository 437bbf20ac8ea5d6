//! The comparison that the binary `compare` runs: the tracker and the [peers](crate::peers), turn by turn in one process.
//!
//! ```text
//! cargo run --release -p headcount-benches --bin compare                            all, some twelve minutes
//! cargo run --release -p headcount-benches --bin compare -- --quick                 rougher, in a fifth of it
//! cargo run --release -p headcount-benches --bin compare -- --only get --peers scc  one subject, one peer
//! ```
//!
//! # How it is measured
//!
//! * **In turn.** All contestants hold the same entries at once. In each round, each operation is done by one after the
//!   other, on the same keys; who comes first changes with the round. What the machine does meanwhile hits all alike, so
//!   trust the ratios, which are those of the medians over the rounds.
//! * **The allocator** is settled between two turns: glibc leaves the sorting of what was freed to a later allocation, which
//!   may be somebody else's.
//! * **Wall and CPU.** CPU time is that of the thread; of several threads, the sum of theirs for an operation. Wall time of
//!   several threads is that of a thread's operation: with two threads that do not disturb each other it is as with one.
//! * **Reads** wait for each other: the next depends on what the last one saw. Those of `get_stream` do not. A reader sums eight bytes of
//!   the meta. `get_many` is our [`read_many`](headcount::Tracker::read_many) of 64 keys beside as many single reads of a map, which has no
//!   such way.
//! * **`list_again`** lists a topic that was listed a moment ago, so that it lies in the processor's cache.
//! * **Keys** are joined, and sessions made, before the clock runs. Allocation is in the time: it is the price of a map.
//! * **Updates** are of residents, by their own session; for a map it is to overwrite what is there.
//! * **`session_end`** is a session of 100 that is dropped; of a map, the removal of 100 keys, which the application
//!   would have to remember.
//! * **`update_ref`** is an update by whoever kept the ref of the entry, without a search; a map has no such way and searches.
//! * **`update_vs_insert`** is our update beside a map's insert of a fresh key: both make a new version of an entry.
//! * **`crdt_…`** and **`delta_apply_…`** are beside another ORSWOT, with as many entries resident as the name says, or a
//!   tenth. With `--quick` that ORSWOT merges into few members only.
//! * **`longest_write`** looks at each join of the load, and at the updates, joins and leaves of as many turns as there are rounds, each
//!   contestant in three processes of its own, one after the other. The least of the three is what the contestant needs: what its code
//!   takes long for, it takes long for every time; the greatest has the machine's moods in it. One that the scheduler interrupts is
//!   long on the wall; its CPU time tells.
//! * **`tail`** times single reads beside more writers than cores, of all rounds together. A reader that never
//!   sleeps uses up its time slices: one read in some ten thousand, by how many fit into a slice, takes as long as the
//!   writers' slices, whatever the contestant. In `tail_bursts` the reader sleeps for a moment after every 200 reads, as
//!   somebody who answers requests does, so the scheduler seldom takes the core away within a read, and what is left
//!   is waiting for writers.
//! * **`memory`** is what becomes resident, each contestant in a process of its own.
//! * **Huge pages.** The tracker may ask the kernel for them itself. The second run, in a process of its own, has
//!   `malloc` ask for them, so that everybody has them.

mod child;
mod clock;
mod contestants;
mod data;
mod longest;
mod machine;
mod memory;
mod one_topic;
mod plan;
mod replicated;
pub(crate) mod report;
mod resident;
pub(crate) mod stats;
mod store;
mod table;
mod threads;
mod topics;
mod turns;

pub(crate) use clock::{Timing, timed};
pub(crate) use stats::median;

use crate::results::{self, Machine};
use clap::Parser as _;
use plan::{Args, CompareError, ORSWOT, Plan, progress};
use report::{Figures, Report};
use serde::Serialize;
use std::io::{self, Write};
use std::process::ExitCode;

/// The whole program: the command line in, the report to standard output.
#[must_use]
pub fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If that cannot be said either, the status still says that it failed.
            let _unread = writeln!(io::stderr(), "compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), CompareError> {
    let plan = Plan::new(args)?;
    match plan.args.child.as_deref() {
        None => parent(&plan),
        Some(child::HUGE) => write_json(&measure(&plan)?),
        Some(task) => {
            let mut entrants = plan.entrants.iter().chain([&ORSWOT]);
            match entrants.find_map(|entrant| Some((entrant, task.strip_suffix(entrant.name)?))) {
                Some((entrant, "memory:")) => write_json(&(entrant.memory)(plan.shape)?),
                Some((entrant, "longest:")) => write_json(&(entrant.longest)(&plan)),
                _ => Err(CompareError::Flag {
                    flag: "child",
                    value: format!("{task:?}"),
                    limit: "a task of this program's own".to_owned(),
                }),
            }
        }
    }
}

fn parent(plan: &Plan) -> Result<(), CompareError> {
    let figures = measure(plan)?;
    if figures.operations.is_empty()
        && figures.longest_write.is_empty()
        && figures.tail.is_none()
        && figures.memory.is_none()
    {
        return Err(CompareError::Flag {
            flag: "only",
            value: format!("{:?}", plan.args.only.as_deref().unwrap_or_default()),
            limit: "part of the name of something that is measured".to_owned(),
        });
    }
    let huge_pages = if plan.args.no_huge {
        None
    } else {
        progress("again, with huge pages asked of malloc");
        Some(child::run(plan, child::HUGE)?)
    };
    let report = Report {
        head: results::COMPARE.head(),
        entries: plan.shape.entries,
        seed: plan.args.seed,
        quick: plan.args.quick,
        rounds: plan.rounds,
        machine: Machine::here(),
        figures,
        huge_pages,
    };
    if plan.args.json { write_json(&report) } else { Ok(table::write(&mut io::stdout().lock(), &report)?) }
}

/// Everything that one process measures. One part's entries are dropped before the next part's come.
fn measure(plan: &Plan) -> Result<Figures, CompareError> {
    // Looked at again when the entries are there, if any are wanted.
    let mut figures = Figures { huge_pages_used: machine::huge_pages(), ..Figures::default() };
    if plan.wants("memory") {
        figures.memory = Some(memory::measure(plan)?);
    }
    if plan.wants("longest_write") {
        figures.longest_write = longest::measure(plan)?;
    }
    resident::measure(plan, &mut figures);
    one_topic::measure(plan, &mut figures);
    replicated::measure(plan, &mut figures);
    Ok(figures)
}

fn write_json(value: &impl Serialize) -> Result<(), CompareError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
