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
    /// Pairs of trackers, one after the other
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pairs: u64,
    /// Rounds of each pair
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    rounds: u64,
    /// Neither has a counters file: how far off a ratio is for other reasons
    #[arg(long)]
    control: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let shape = Shape { entries: usize::try_from(args.entries)?, topic_members: TOPIC_MEMBERS };
    let rounds = usize::try_from(args.rounds)?;
    let pair = |number: usize| -> Result<Vec<Round>, Box<dyn Error>> {
        let watched =
            if args.control { Watched::control(shape, number) } else { Watched::new(shape, number)? };
        // The first one warms up.
        let rounds = (0..=rounds).map(|number| watched.round(number)).skip(1).collect();
        writeln!(io::stderr(), "watched: pair {} of {}", number + 1, args.pairs)?;
        Ok(rounds)
    };
    let pairs = (0..usize::try_from(args.pairs)?).map(pair).collect::<Result<Vec<_>, _>>()?;
    let mut out = io::stdout().lock();
    let (without, with) = ("without, ns", "with, ns");
    writeln!(out, "operation  {without:>12} {with:>12}    ratio   of the pairs")?;
    for Cost { operation, without_ns, with_ns, ratio, range: [low, high] } in costs(&pairs) {
        writeln!(
            out,
            "{operation:<10} {without_ns:>12.1} {with_ns:>12.1} {ratio:>8.3}   {low:.3} to {high:.3}"
        )?;
    }
    Ok(())
}
