//! The sum of many runs.

use headcount_net::sim::{Report, Violation};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Duration;

pub(crate) const COMMAND: &str = "cargo run --release -p headcount-net --features sim --example simulate --";

/// A seed that went wrong.
#[derive(Serialize, Debug)]
pub(crate) struct Bad {
    pub(crate) seed: u64,
    pub(crate) invariant: &'static str,
    pub(crate) step: u64,
    pub(crate) what: String,
    pub(crate) again: String,
}

impl Bad {
    pub(crate) fn new(violation: &Violation) -> Self {
        Self {
            seed: violation.seed,
            invariant: violation.invariant,
            step: violation.step,
            what: violation.what.clone(),
            again: format!("{COMMAND} --seed {} --trace", violation.seed),
        }
    }
}

/// What came of all seeds. Numbers of runs that broke off are not in the sums, but for their seed and steps.
#[derive(Serialize, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) seeds: u64,
    pub(crate) nodes: u64,
    pub(crate) steps: u64,
    pub(crate) operations: u64,
    pub(crate) virtual_seconds: f64,
    pub(crate) slowest_agreement_ms: u64,
    pub(crate) wall_ms: u64,
    /// Broken invariants, by number or word.
    pub(crate) violations: BTreeMap<&'static str, u64>,
    /// Runs in which nothing wrong was seen and agreement did not come.
    pub(crate) not_converged: u64,
    /// Seeds that were to be run and have no outcome.
    pub(crate) missing: Vec<u64>,
    pub(crate) bad: Vec<Bad>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// The counters of the nodes that lived at the ends of the runs.
    pub(crate) counters: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Adds a run; gives a violation back.
    pub(crate) fn add(&mut self, outcome: Result<Report, Box<Violation>>) -> Option<Box<Violation>> {
        self.seeds += 1;
        let report = match outcome {
            Ok(report) => report,
            Err(violation) => {
                self.steps += violation.step;
                self.virtual_seconds += violation.at.as_secs_f64();
                if violation.is_not_converged() {
                    self.not_converged += 1;
                } else {
                    *self.violations.entry(violation.invariant).or_default() += 1;
                }
                self.bad.push(Bad::new(&violation));
                return Some(violation);
            }
        };
        self.nodes += report.nodes as u64;
        self.steps += report.steps;
        self.operations += report.operations;
        self.virtual_seconds += report.time.as_secs_f64();
        let agreement_ms = u64::try_from(report.converged_after.as_millis()).unwrap_or(u64::MAX);
        self.slowest_agreement_ms = self.slowest_agreement_ms.max(agreement_ms);
        for (name, count) in report.faults.iter() {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in report.stats.iter() {
            *self.counters.entry(name).or_default() += count;
        }
        None
    }

    pub(crate) fn bad(&self) -> u64 {
        self.not_converged + self.violations.values().sum::<u64>()
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.bad() == 0 && self.missing.is_empty()
    }
}

/// The summary on stdout.
pub(crate) fn print(summary: &Summary, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", serde_json::to_string_pretty(summary)?);
    }
    let mut line = |name: &str, value: &dyn Display| writeln!(out, "{name:<28} {value:>14}");
    line("seeds", &summary.seeds)?;
    line("violations", &summary.violations.values().sum::<u64>())?;
    for (invariant, count) in &summary.violations {
        line(&format!("  of invariant {invariant}"), count)?;
    }
    line("not converged", &summary.not_converged)?;
    line("without an outcome", &summary.missing.len())?;
    line("steps", &summary.steps)?;
    line("operations", &summary.operations)?;
    line("virtual seconds", &format!("{:.0}", summary.virtual_seconds))?;
    line("slowest agreement, ms", &summary.slowest_agreement_ms)?;
    line("wall time, s", &format!("{:.1}", Duration::from_millis(summary.wall_ms).as_secs_f64()))?;
    writeln!(out, "\nfaults")?;
    for (name, count) in &summary.faults {
        writeln!(out, "  {name:<26} {count:>14}")?;
    }
    writeln!(out, "\ncounters of the nodes that lived at the end")?;
    for (name, count) in &summary.counters {
        writeln!(out, "  {name:<26} {count:>14}")?;
    }
    for bad in &summary.bad {
        let Bad { seed, invariant, step, what, again } = bad;
        writeln!(out, "\nseed {seed}: {invariant} at step {step}: {what}\n  {again}")?;
    }
    Ok(())
}
