//! `count`: instruction counts of the tracker's operations, and the gate that holds them to their bounds. See
//! `headcount_benches::count`.

use clap::Parser;
use headcount_benches::count::{Bounds, Gate, OPERATIONS, Operation, Report, Row, Verdict, measure, run};
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Nothing could be counted, or there is nothing to hold it against. Over a bound is 1.
const NO_VERDICT: u8 = 2;
/// How much more an operation may take when it is watched.
const RATIO_MAX: f64 = 1.02;
/// What is counted for that.
const WATCHED: [&str; 5] = ["get_hit", "list_1000_per_member", "track", "untrack", "update"];

/// Instructions of the tracker's operations, counted by callgrind and held to bounds
#[derive(Parser)]
#[command(name = "count")]
enum Command {
    /// Sets up, and runs one operation N times: what the gate runs under callgrind
    Run {
        /// Its name, as the gate's table has it
        operation: String,
        /// How many times
        n: usize,
        /// Resident entries
        #[arg(long, default_value_t = 20_000)]
        entries: usize,
        /// Count in a file that other processes could read
        #[arg(long)]
        watched: bool,
    },
    /// What being watched costs: operations with and without a counters file; exit status 1 if one takes over 2 % more
    Watched {
        /// Resident entries
        #[arg(long, default_value_t = 20_000)]
        entries: usize,
        /// Runs of valgrind at a time
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
        jobs: u16,
    },
    /// Counts every operation and holds it to nothing: for machines that the bounds are not for, and for `diff`
    Measure {
        /// Resident entries
        #[arg(long, default_value_t = 20_000)]
        entries: usize,
        /// Prints JSON in place of the table
        #[arg(long)]
        json: bool,
        /// Runs of valgrind at a time
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
        jobs: u16,
    },
    /// Counts every operation; exit status 1 if one is over its bound, 2 if there is no verdict
    Gate {
        /// Resident entries
        #[arg(long, default_value_t = 20_000)]
        entries: usize,
        /// Prints JSON in place of the table
        #[arg(long)]
        json: bool,
        /// Sets the bounds from what is counted now
        #[arg(long)]
        bless: bool,
        /// The table of bounds [default: that of the crate]
        #[arg(long, value_name = "FILE")]
        bounds: Option<PathBuf>,
        /// Runs of valgrind at a time
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
        jobs: u16,
    },
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Run { operation, n, entries, watched } => run_one(&operation, n, entries, watched),
        Command::Watched { entries, jobs } => watched(entries, jobs),
        Command::Measure { entries, json, jobs } => measure_only(entries, json, jobs),
        Command::Gate { entries, json, bless, bounds, jobs } => {
            let committed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("instruction_bounds.json");
            gate(entries, json, bless, &bounds.unwrap_or_else(committed), jobs)
        }
    };
    outcome.unwrap_or_else(|error| {
        // If standard error is closed, the exit status says it.
        let _unheard = writeln!(io::stderr(), "count: {error}");
        ExitCode::from(NO_VERDICT)
    })
}

fn run_one(name: &str, n: usize, entries: usize, watched: bool) -> Result<ExitCode, Box<dyn Error>> {
    let operation = Operation::named(name).ok_or_else(|| {
        let names: Vec<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        format!("OPERATION is {name}, it must be one of {}", names.join(", "))
    })?;
    run(operation, n, entries, watched)?;
    Ok(ExitCode::SUCCESS)
}

fn gate(entries: usize, json: bool, bless: bool, path: &Path, jobs: u16) -> Result<ExitCode, Box<dyn Error>> {
    let name = |error| format!("{}: {error}", path.display());
    // Before the counting, which takes a while.
    let held_to = if bless { None } else { Some(Bounds::read(path, entries).map_err(name)?) };
    let counts = counts(entries, jobs)?;
    let bounds = match held_to {
        Some(bounds) => bounds,
        None => {
            let bounds = Bounds::of(&counts, entries);
            bounds.write(path).map_err(name)?;
            bounds
        }
    };
    let rows = bounds.judge(&counts);
    report(entries, json, &rows)?;
    let failed: Vec<String> = rows.iter().filter(|row| !row.verdict.passes()).map(complaint).collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(io::stderr(), "count: {}", failed.join("; "))?;
    Ok(ExitCode::FAILURE)
}

fn measure_only(entries: usize, json: bool, jobs: u16) -> Result<ExitCode, Box<dyn Error>> {
    let counts = counts(entries, jobs)?;
    let row = |&(operation, instructions): &(&Operation, f64)| Row::unbounded(operation, instructions);
    report(entries, json, &counts.iter().map(row).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// The operations that change or read one tracker, one after the other without and with a file.
fn watched(entries: usize, jobs: u16) -> Result<ExitCode, Box<dyn Error>> {
    let operations: Vec<&Operation> = WATCHED.iter().filter_map(|name| Operation::named(name)).collect();
    let [private, watched] = [false, true].map(|watched| counts_of(&operations, entries, jobs, watched));
    let (private, watched) = (private?, watched?);
    let mut out = io::stdout().lock();
    writeln!(out, "{:<24} {:>14} {:>14} {:>8}", "operation", "without file", "with file", "ratio")?;
    let mut over = Vec::new();
    for (&(operation, without), &(_, with)) in private.iter().zip(&watched) {
        let ratio = with / without;
        writeln!(out, "{:<24} {without:>14.1} {with:>14.1} {ratio:>8.4}", operation.name)?;
        if ratio.is_nan() || ratio > RATIO_MAX {
            over.push(format!(
                "{} takes {ratio:.4} times as many instructions when it is watched",
                operation.name
            ));
        }
    }
    if over.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(io::stderr(), "count: {}, the bound is {RATIO_MAX}", over.join("; "))?;
    Ok(ExitCode::FAILURE)
}

fn counts(entries: usize, jobs: u16) -> Result<Vec<(&'static Operation, f64)>, Box<dyn Error>> {
    counts_of(&OPERATIONS.iter().collect::<Vec<_>>(), entries, jobs, false)
}

fn counts_of(
    operations: &[&'static Operation],
    entries: usize,
    jobs: u16,
    watched: bool,
) -> Result<Vec<(&'static Operation, f64)>, Box<dyn Error>> {
    let gate = Gate { program: std::env::current_exe()?, entries, jobs: jobs.into(), watched };
    let progress = |done: usize, of: usize| {
        if done.is_multiple_of(5) || done == of {
            // Nobody may be there to see it.
            let _unseen = writeln!(io::stderr(), "count: {done} of {of} runs");
        }
    };
    Ok(measure(&gate, operations, &progress)?)
}

fn report(entries: usize, json: bool, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &Report::new(entries, rows.to_vec()))?;
        writeln!(out)?;
    } else {
        table(&mut out, rows)?;
    }
    Ok(())
}

fn table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    writeln!(out, "{:<24} {:>14} {:>10}  verdict", "operation", "instructions", "bound")?;
    for row in rows {
        let bound = row.bound.map_or_else(|| "-".to_owned(), |bound| format!("{bound:.1}"));
        let verdict = match row.verdict {
            Verdict::Ok => "ok",
            Verdict::Over => "OVER",
            Verdict::NoBound => "NO BOUND",
        };
        writeln!(out, "{:<24} {:>14.1} {bound:>10}  {verdict}", row.operation, row.instructions)?;
    }
    Ok(())
}

fn complaint(row: &Row) -> String {
    match row.bound {
        Some(bound) => {
            format!("{} takes {:.1} instructions, its bound is {bound:.1}", row.operation, row.instructions)
        }
        None => format!("{} has no bound, set it with --bless", row.operation),
    }
}
