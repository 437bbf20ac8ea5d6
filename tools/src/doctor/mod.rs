//! `headcount doctor`: checks of processes on this machine, from outside, by the counters files that they keep and by what the system knows.
//!
//! Each process is looked at twice, a moment apart ([`lookup`]); what was seen is plain values ([`patient`]), which the [`checks`] turn into
//! findings without looking anywhere else.

mod checks;
mod finding;
mod hearing;
mod lookup;
mod patient;
mod report;
mod sample;
mod system;
mod words;

use crate::error::Error;
use crate::ui;
use report::{Report, UNTOLD};
use std::path::PathBuf;
use std::process::ExitCode;

/// Check the processes of this machine, and say what is wrong and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Only this process: its node's name or its process id
    #[arg(long, short, value_name = "NAME|PID")]
    process: Option<String>,

    /// The same, without the option
    #[arg(value_name = "NAME|PID", conflicts_with = "process")]
    named: Option<String>,

    /// The directory with the counters files; by default that of the file system in memory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Print everything as one JSON object
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
It reads the counters files that processes keep, twice within some two seconds, and what the system knows of them. It does nothing
to the processes, and they do nothing for it.

Checks: life, member, isolation, peers, links (who hears whom, drawn as a map), lanes (what is missing here), keys, multicast, mtu,
receive-buffer, drops, gaps, send-budget, quarantine, lag, huge-pages, memory, shard-room, hot-shard, subscriptions, errors (of the last
minute), and neighbours: whether members of a cluster on this machine know each other.

Exit status: 0 all well, or notes only; 1 warnings; 2 problems (or a wrong command line, which prints no report); 3 it could not tell:
nothing runs, or a process cannot be read. Of several, the first in the order 2, 3, 1.";

fn untold(problem: String) -> Error {
    Error::Unseen { problem, status: UNTOLD }
}

/// Examines, tells, and ends with a status for scripts.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Error> {
    let dir = args.dir.clone().unwrap_or_else(headcount::counters::default_dir);
    let report = lookup::look(&dir).and_then(|found| {
        if found.patients.is_empty() && found.closed.is_empty() {
            return Err(untold(format!(
                "nothing runs that keeps counters in {}; a program does so with Config::counters(Counters::create(default_dir())?), and if \
                 elsewhere, say where with --dir",
                dir.display()
            )));
        }
        Report::of(found, args.process.as_deref().or(args.named.as_deref())).map_err(untold)
    });
    let write = |text: &str| ui::print(text).map_err(Error::system("cannot write to standard output"));
    match report {
        Ok(report) if args.json => {
            let json = serde_json::to_string_pretty(&report)
                .map_err(|error| Error::System { what: "cannot write the report", source: error.into() })?;
            write(&format!("{json}\n"))?;
            Ok(ExitCode::from(report.status))
        }
        Ok(report) => {
            write(&report.text())?;
            Ok(ExitCode::from(report.status))
        }
        Err(error) => {
            if args.json {
                let (status, problem) = (error.status(), error.to_string());
                write(&format!("{}\n", serde_json::json!({ "status": status, "problem": problem })))?;
            }
            Err(error)
        }
    }
}
