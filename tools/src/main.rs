//! The `headcount` command: run a node, or see a whole cluster work.

mod demo;
mod error;
mod node;
mod number;
mod ui;

use clap::Parser;
use clap::error::ErrorKind;
use error::Error;
use std::process::ExitCode;

/// Presence without a server: who is here, in which topic, on every node of a cluster.
#[derive(Debug, Parser)]
#[command(name = "headcount", version, arg_required_else_help = true)]
enum Cli {
    Node(node::Args),
    Demo(demo::Args),
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            ui::note(&format!("error: {error}"));
            error.exit_code()
        }
    }
}

fn run() -> Result<ExitCode, Error> {
    match Cli::try_parse() {
        Ok(Cli::Node(args)) => node::run(&args),
        Ok(Cli::Demo(args)) => demo::run(&args),
        Err(error) => Ok(explain(&error)),
    }
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
