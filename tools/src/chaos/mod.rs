//! The `chaos` lab: real node processes in network namespaces, on links that lose, are cut and are mended.

mod fleet;
mod lab;
mod links;
mod netns;
mod options;
mod report;
mod scenario;
mod stage;
mod system;

pub(crate) use options::Cli;

use crate::error::Error;
use crate::ui;
use headcount_tools::Limit;
use options::{Args, Part};
use report::{Findings, Report};
use scenario::{Played, SCENARIOS, Scenario};
use stage::{Stage, millis};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a scenario may take beside the time that its fault or its load lasts.
const BESIDES: Duration = Duration::from_secs(180);

/// Runs the lab, or the part of it that this process is.
pub(crate) fn run(cli: &Cli) -> Result<ExitCode, Error> {
    match &cli.part {
        Some(Part::Node(node)) => node.run(),
        Some(Part::Keeper { lab }) => {
            lab::keep(*lab);
            Ok(ExitCode::SUCCESS)
        }
        None if cli.args.list => list(),
        None => play_all(&cli.args),
    }
}

fn list() -> Result<ExitCode, Error> {
    let mut text = String::new();
    for Scenario { name, about, seconds, rate, .. } in &SCENARIOS {
        let _ = writeln!(text, "{name:<16} {about} ({seconds} s, {rate} changes a second)");
    }
    ui::print(&text).map_err(Error::system("cannot write the list"))?;
    Ok(ExitCode::SUCCESS)
}

fn play_all(args: &Args) -> Result<ExitCode, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // Relaxed: the flag carries nothing but itself. Whoever waits looks at it many times a second.
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Error::Lab(format!("cannot handle Ctrl-C: {error}")))?;
    lab::check().map_err(Error::Lab)?;
    lab::remove_leftovers();

    let began = Instant::now();
    let mut report = Report { ok: true, ..Report::default() };
    let all: Vec<&Scenario> = SCENARIOS.iter().collect();
    let chosen: &[&Scenario] = if args.scenario.is_empty() { &all } else { &args.scenario };
    for scenario in chosen {
        let findings = play(scenario, args, &interrupted);
        report.ok &= findings.ok;
        report.scenarios.push(findings);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
    }
    report.elapsed_ms = millis(began.elapsed());
    let text = if args.json { report.json() } else { report.text() };
    ui::print(&text).map_err(Error::system("cannot write the report"))?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One scenario, in a lab of its own that is gone when this returns.
fn play(scenario: &'static Scenario, args: &Args, interrupted: &Arc<AtomicBool>) -> Findings {
    let seconds = args.seconds.map_or(scenario.seconds, |seconds| seconds as u64);
    let rate = args.rate.map_or(scenario.rate, |rate| rate as u64);
    let time = Duration::from_secs(seconds);
    let limit = Limit::with_flag(time * 3 + BESIDES, Arc::clone(interrupted));
    ui::note(&format!("{}: {}", scenario.name, scenario.about));
    let mut findings = match Stage::open(scenario, args.nodes, time, rate, limit) {
        Err(failure) => {
            let problems = vec![format!("before anything was done: {failure}")];
            Findings { scenario: scenario.name, nodes: args.nodes, seconds, problems, ..Findings::default() }
        }
        Ok(mut stage) => {
            let (outcome, left_out) = match scenario.play(&mut stage) {
                Ok(Played::ToTheEnd) => (Ok(()), None),
                Ok(Played::LeftOut(reason)) => (Ok(()), Some(reason)),
                Err(failure) => (Err(failure), None),
            };
            let mut findings = stage.finish(outcome);
            findings.skipped = left_out;
            findings
        }
    };
    findings.ok = findings.problems.is_empty();
    for problem in &findings.problems {
        ui::note(&format!("{}: PROBLEM: {problem}", scenario.name));
    }
    findings
}
