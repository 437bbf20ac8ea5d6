//! The deterministic simulator: several nodes, each a real tracker and a real core, on virtual time and a network that loses,
//! duplicates, delays, reorders, corrupts and splits, all from one seed.
//!
//! The simulator performs the applications' operations itself and writes each down, so it knows what every lane was at every clock,
//! apart from the code that replicates it. After every step of every node it checks the invariants of the protocol; then it
//! stops the faults and demands that all views become equal and the repair traffic ends. A run is its seed: what
//! [`Violation`] reports happens again, step by step, in a run of the same seed, and [`trace()`] tells all of it.
//!
//! That it would notice is shown with [`Mutant`]s: rules of the protocol left out, one at a time, each of which [`hunt`] kills.
//!
//! ```
//! # #[cfg(feature = "sim")] {
//! let report = headcount_net::sim::run(7).unwrap();
//! assert!(report.converged_after.as_secs() < 30);
//! # }
//! ```

mod barriers;
mod comparison;
mod crowd;
mod evictions;
mod faults;
mod idle;
mod invariants;
mod ledger;
mod lives;
mod mutants;
mod network;
mod oracle;
mod process;
mod report;
mod scenario;
mod sealing;
mod streams;
#[cfg(test)]
mod tests;
mod trace;
mod versions;
mod view;
mod workload;
mod world;

pub use crowd::Crowd;
pub use idle::{IdleCost, idle};
pub(crate) use mutants::is_planted;
pub use mutants::{Hunt, Mutant, hunt};
pub use report::{Faults, Report, Violation};
pub use scenario::{run, trace};

/// An invariant does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl Breach {
    pub(crate) fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }
}
