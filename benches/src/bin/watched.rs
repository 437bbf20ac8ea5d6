//! `watched`: what it costs in time to be watched by another process. See `headcount_benches::watched`.

use clap::Parser;
use headcount_benches::watched::{Cost, Round, Watched, costs};
use headcount_benches::{Shape, TOPIC_MEMBERS};
use std::error::Error;
use std::io::{self, Write};

/// A tracker with a counters file beside one without, turn by turn: CPU time of an operation, medians of rounds
#[derive(Parser)]
#[command(name = "watched")]
struct Args {
    /// Resident entries
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    entries: u64,
    /// Rounds
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let shape = Shape { entries: usize::try_from(args.entries)?, topic_members: TOPIC_MEMBERS };
    let watched = Watched::new(shape)?;
    // The first one warms up.
    let rounds: Vec<Round> =
        (0..=usize::try_from(args.rounds)?).map(|number| watched.round(number)).skip(1).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{:<10} {:>12} {:>12} {:>8}", "operation", "without, ns", "with, ns", "ratio")?;
    for Cost { operation, without_ns, with_ns, ratio } in costs(&rounds) {
        writeln!(out, "{operation:<10} {without_ns:>12.1} {with_ns:>12.1} {ratio:>8.4}")?;
    }
    Ok(())
}
