//! `headcount demo`: the main job on one machine, with real processes and real connections, measured and checked.

mod busy;
mod crowd;
mod nodes;
mod options;
mod phases;
mod population;
mod progress;
mod report;
mod verify;

pub(crate) use options::Args;

use crate::error::Error;
use crate::failure::Failure;
use crate::ui;
use headcount_tools::Limit;
use nodes::Nodes;
use phases::Run;
use report::Report;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a kept cluster is looked at.
const KEEP_LOOK: Duration = Duration::from_millis(200);
/// How long nodes may take to say goodbye before they are killed.
const GOODBYE: Duration = Duration::from_secs(3);
/// As good as for ever.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Error> {
    let plan = options::plan(args)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // Relaxed: the flag carries nothing but itself. Whoever waits looks at it many times a second.
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Error::Cluster(format!("cannot handle Ctrl-C: {error}")))?;

    let started = Instant::now();
    let limit = Limit::with_flag(plan.time, Arc::clone(&interrupted));
    let mut run = Run::new(&plan, limit.clone());
    let outcome = run.all_phases();
    let stopped = matches!(outcome, Err(Failure::Interrupted));
    let report = finish_report(&run, outcome, started);
    // Who presses Ctrl-C wants no report; a program that reads JSON gets what there is.
    if args.json || !stopped {
        print(args, &report)?;
    }
    if stopped {
        return Err(Error::Interrupted);
    }

    if args.keep && run.nodes.is_some() {
        keep(args.seconds.map(|_| limit.left()), &mut run, &interrupted)?;
    } else if !args.json && report.is_good() {
        ui::note(&format!("\n  To join in yourself, let it go on: {} demo --keep", called_as()));
    }
    // A limit that ends with the time, if that was given, but not with the Ctrl-C that ended the keeping.
    let time = if args.keep && args.seconds.is_none() { GOODBYE } else { limit.left().min(GOODBYE) };
    run.leave(&Limit::after(time));
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finish_report(run: &Run<'_>, outcome: Result<(), Failure>, started: Instant) -> Report {
    let mut report = run.report.clone();
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Err(failure) = outcome {
        report.errors.push(format!("{}: {failure}", run.phase_name()));
    }
    report
}

/// This program, as it was called: what a person can copy into another terminal.
fn called_as() -> String {
    std::env::args().next().unwrap_or_else(|| "headcount".into())
}

fn print(args: &Args, report: &Report) -> Result<(), Error> {
    let text = if args.json { report.json() } else { report.text() };
    ui::print(&text).map_err(Error::system("cannot write the report"))
}

/// Leaves the cluster running for the person at the terminal: for this time, or until Ctrl-C.
fn keep(time: Option<Duration>, run: &mut Run<'_>, interrupted: &Arc<AtomicBool>) -> Result<(), Error> {
    let limit = Limit::with_flag(time.unwrap_or(FOREVER), Arc::clone(interrupted));
    ui::note(&run.invitation(&called_as(), time));
    while limit.sleep(KEEP_LOOK).is_ok() {
        if let Some(fallen) = run.nodes.as_mut().and_then(Nodes::fallen) {
            return Err(Error::Cluster(fallen));
        }
    }
    Ok(())
}
