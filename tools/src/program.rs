//! The programs themselves. What `src/main.rs` and `src/bin` hold is one call each.

#[cfg(target_os = "linux")]
use crate::chaos;
use crate::error::Error;
use crate::{demo, node, ui};
#[cfg(unix)]
use crate::{doctor, inspect, stat, top};
use clap::Parser;
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Presence without a server: who is here, in which topic, on every node of a cluster.
#[derive(Debug, Parser)]
#[command(name = "headcount", version, arg_required_else_help = true)]
enum Headcount {
    Node(node::Args),
    Demo(demo::Args),
    #[cfg(unix)]
    Stat(stat::Args),
    #[cfg(unix)]
    Top(top::Args),
    #[cfg(unix)]
    Doctor(doctor::Args),
    #[cfg(unix)]
    #[command(flatten)]
    Inspect(inspect::Command),
}

/// The `headcount` command, with the arguments of this process.
#[must_use]
pub fn headcount() -> ExitCode {
    run(|cli| match cli {
        Headcount::Node(args) => node::run(&args),
        Headcount::Demo(args) => demo::run(&args),
        #[cfg(unix)]
        Headcount::Stat(args) => stat::run(&args),
        #[cfg(unix)]
        Headcount::Top(args) => top::run(&args),
        #[cfg(unix)]
        Headcount::Doctor(args) => doctor::run(&args),
        #[cfg(unix)]
        Headcount::Inspect(command) => inspect::run(&command),
    })
}

/// The `chaos` lab, with the arguments of this process.
#[must_use]
pub fn chaos() -> ExitCode {
    #[cfg(target_os = "linux")]
    return run(|cli| chaos::run(&cli));
    #[cfg(not(target_os = "linux"))]
    {
        let error = Error::Lab("the lab is made of network namespaces, which only Linux has".into());
        ui::note(&format!("error: {error}"));
        error.exit_code()
    }
}

fn run<C: Parser>(command: impl FnOnce(C) -> Result<ExitCode, Error>) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    command(cli).unwrap_or_else(|error| {
        ui::note(&format!("error: {error}"));
        error.exit_code()
    })
}

/// Help and usage go as clap writes them. A bad value gets its one line: it names the option, and our parsers say what
/// would be right.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match (error.kind(), text.lines().next()) {
        (ErrorKind::ValueValidation, Some(line)) => ui::note(line),
        _ => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
