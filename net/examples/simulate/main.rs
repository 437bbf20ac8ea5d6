//! Runs simulated clusters, many seeds of them, and says what went wrong in them and whether an invariant broke.
//!
//! ```text
//! cargo run --release -p headcount-net --features sim --example simulate -- --seeds 1000
//! cargo run --release -p headcount-net --features sim --example simulate -- --seed 4711 --trace
//! cargo run --release -p headcount-net --features sim --example simulate -- --mutants --seeds 400
//! cargo run --release -p headcount-net --features sim --example simulate -- --idle 3,50,200
//! ```
//!
//! Exit status 1: an invariant broke, nodes did not agree in time, a mutant lived, or a seed or a mutant has no result.

mod hunt;
mod idle;
mod report;
mod workers;

use clap::Parser;
use headcount_net::sim::{self, Violation};
use report::{Summary, print};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Simulated clusters, one for each seed.
#[derive(Parser, Debug)]
struct Options {
    /// How many seeds; for `--mutants`, how many each may survive at the most.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from", "mutants"])]
    seed: Option<u64>,
    /// With `--seed`: everything that happened, a line each.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plants one bug after the other and runs seeds until an invariant breaks.
    #[arg(long)]
    mutants: bool,
    /// Instead: what clusters of so many nodes (2 to 1000) cost that have nothing to say.
    #[arg(long, value_name = "NODES", value_delimiter = ',', conflicts_with_all = ["mutants", "seed"],
          value_parser = clap::value_parser!(u16).range(2..=1000))]
    idle: Vec<u16>,
    /// Threads; each runs seeds of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match (options.seed, options.mutants) {
        _ if !options.idle.is_empty() => idle::run(&options.idle, options.json),
        (Some(seed), _) => one(seed, options.trace, options.json),
        (None, true) => hunt::run(options.from..options.from + options.seeds, options.threads, options.json),
        (None, false) => many(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "simulate: {error}");
            ExitCode::from(2)
        }
    }
}

fn one(seed: u64, trace: bool, json: bool) -> io::Result<bool> {
    let outcome = if trace {
        let (outcome, lines) = sim::trace(seed);
        io::stdout().write_all(lines.as_bytes())?;
        outcome
    } else {
        sim::run(seed)
    };
    let mut summary = Summary::default();
    if let Some(violation) = summary.add(outcome) {
        say(&violation)?;
    }
    print(&summary, json)?;
    Ok(summary.is_clean())
}

fn many(options: &Options) -> io::Result<bool> {
    let began = Instant::now();
    let shared = Mutex::new((Summary::default(), began));
    let run = |seed| -> io::Result<()> {
        let outcome = sim::run(seed);
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(violation) = shared.0.add(outcome) {
            say(&violation)?;
        }
        if shared.1.elapsed() >= PROGRESS_EVERY {
            shared.1 = Instant::now();
            let (done, bad) = (shared.0.seeds, shared.0.bad());
            writeln!(io::stderr(), "{done} of {} seeds, {bad} bad", options.seeds)?;
        }
        Ok(())
    };
    let done = workers::run(options.from..options.from + options.seeds, options.threads, run)?;
    let (mut summary, _) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.missing = done.missing.keys().copied().collect();
    summary.wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    print(&summary, options.json)?;
    let is_whole = done.say_missing(|seed| format!("seed {seed}"))?;
    Ok(is_whole && summary.is_clean())
}

/// What broke, what came before it, and how to see it again.
fn say(violation: &Violation) -> io::Result<()> {
    let mut out = io::stderr().lock();
    writeln!(out, "{violation}")?;
    writeln!(out, "again: {} --seed {} --trace", report::COMMAND, violation.seed)
}
