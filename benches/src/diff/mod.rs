//! Two results of `compare --json`, or two of `count gate --json` or `count measure --json`, beside each other: what the binary
//! `diff` does.
//!
//! ```text
//! cargo run --release -p headcount-benches --bin diff -- old.json new.json
//! cargo run --release -p headcount-benches --bin diff -- old.json new.json --max-regression ratio=20 --max-regression time=50
//! ```
//!
//! Status 0: nothing got worse. 1: something did. 2: the two cannot be compared, and one line says why.
//!
//! # What is judged
//!
//! | kind | what | allowed by default |
//! |---|---|---|
//! | `instructions` | of one operation (`count`) | 5 %: with nothing changed that it does, another path, layout or seed of the hashers was up to 3.6 % of an operation |
//! | `ratio` | of our median to that of the fastest peer in the same run (`compare`) | 35 %: so much do two runs on a shared machine differ |
//! | `memory` | our resident bytes an entry | 10 % |
//! | `time` | our median, in nanoseconds | shown; judged if named |
//! | `tail` | our p99.99 of a read beside writers, in nanoseconds | the same |
//! | `longest` | our longest single write, in microseconds of CPU | the same |
//!
//! Less is better for all. Times are shown and not judged unless `--max-regression` names their kind: on another day they are of
//! another machine. What the machine does to a run it does to the peers of that run, too, and it is not in the ratio.
//!
//! # What the rounds say
//!
//! A median of few rounds that are far apart is known roughly. A ratio, or a time, that grew by more than is allowed but by less than three
//! standard errors of the change is `noise`, and no regression. What disturbs a round makes it longer, never shorter. So the
//! spread is taken from the median to the shortest round, twice; one round that was interrupted does not excuse the rest. And a
//! change has to show in the shortest rounds, too: of two runs of one program beside compilers on two cores, the medians' ratios grew by up to
//! 150 %, three of 27 by more than their spread, and none of those in the shortest rounds as well; of
//! another two, one.
//!
//! With `--again` comes another run of the new side: what is worse has to be worse in each. On that machine two runs in a row found three
//! and two ratios worse, and none of them twice.
//!
//! # What can be compared
//!
//! Results of one schema and version, with as many entries, of one seed, with or without `--quick` alike, of one architecture and one kind of
//! machine: its processor, and for `compare` its cores and the setting for huge pages. `--any-machine` waives the machine. What only the old result has
//! counts as worse unless `--allow-missing` is said; what only the new one has is said. A result that lacks everything that is judged in
//! the other cannot be compared.

mod error;
mod judge;
mod read;
mod report;

use clap::Parser;
use error::DiffError;
use judge::{Kind, Limits, Outcome};
use read::Measured;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Something got worse.
const WORSE: u8 = 1;
/// The two cannot be compared, which is also what a command line that makes no sense leads to.
const NO_VERDICT: u8 = 2;

/// Two results of `compare --json` or of `count --json` beside each other; exit status 1 if something got worse, 2 if
/// they cannot be compared
#[derive(Parser, Debug)]
#[command(name = "diff")]
struct Args {
    /// The result from before
    old: PathBuf,
    /// The result of now
    new: PathBuf,
    /// Another result of now: only what is worse in both is worse
    #[arg(long, value_name = "FILE")]
    again: Option<PathBuf>,
    /// Prints one JSON object in place of the table
    #[arg(long)]
    json: bool,
    /// How much more is allowed of a kind: ratio, memory, instructions, time, tail, longest
    #[arg(long, value_name = "KIND=PERCENT", value_parser = limit)]
    max_regression: Vec<(Kind, f64)>,
    /// What only the old result has is no regression
    #[arg(long)]
    allow_missing: bool,
    /// Compares results of different machines
    #[arg(long)]
    any_machine: bool,
}

/// The most that `--max-regression` takes: a hundred times as much.
const PERCENT_MAX: f64 = 9_900.0;

fn limit(text: &str) -> Result<(Kind, f64), String> {
    let (kind, percent) = text.split_once('=').ok_or("it must be KIND=PERCENT")?;
    let kind = Kind::named(kind).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("KIND is {kind:?}, it must be one of {}", names.join(", "))
    })?;
    let number = percent.parse().ok().filter(|percent| (0.0..=PERCENT_MAX).contains(percent));
    let number =
        number.ok_or_else(|| format!("PERCENT is {percent:?}, it must be within 0..={PERCENT_MAX}"))?;
    Ok((kind, number))
}

/// The whole program: the command line in, the verdict to standard output.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(outcome) if outcome.worse() == 0 => ExitCode::SUCCESS,
        Ok(outcome) => {
            // If nobody hears it, the status says it.
            let _unheard = writeln!(io::stderr(), "diff: {}", outcome.complaint());
            ExitCode::from(WORSE)
        }
        Err(error) => {
            let _unheard = writeln!(io::stderr(), "diff: {error}");
            ExitCode::from(NO_VERDICT)
        }
    }
}

fn run(args: &Args) -> Result<Outcome, DiffError> {
    let (old, new) = (Measured::read(&args.old)?, Measured::read(&args.new)?);
    let notes = old.comparable(&new, (&args.old, &args.new), args.any_machine)?;
    let limits = Limits::new(&args.max_regression, args.allow_missing);
    let mut outcome = judge::judge(&old, &new, &limits, notes)?;
    if let Some(path) = &args.again {
        let again = Measured::read(path)?;
        let notes = old.comparable(&again, (&args.old, path), args.any_machine)?;
        outcome.confirm(&judge::judge(&old, &again, &limits, notes)?);
    }
    let mut out = io::stdout().lock();
    if args.json {
        report::json(&mut out, (&args.old, &args.new), &limits, &outcome)?;
    } else {
        report::table(&mut out, &outcome)?;
    }
    out.flush()?;
    Ok(outcome)
}
