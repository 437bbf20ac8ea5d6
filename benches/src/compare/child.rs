//! Work that needs a process of its own: this program, started again with a hidden flag.

use super::machine::{ASK_FOR_HUGE, TUNABLES};
use super::plan::{CompareError, Plan};
use serde::de::DeserializeOwned;
use std::env;
use std::process::{Command, Stdio};

/// The task that repeats the run with huge pages asked of `malloc`.
pub(crate) const HUGE: &str = "huge";

/// Runs a task and returns what it wrote. Its progress goes where ours goes.
pub(crate) fn run<T: DeserializeOwned>(plan: &Plan, task: &str) -> Result<T, CompareError> {
    let args = &plan.args;
    let mut command = Command::new(env::current_exe()?);
    command.args(["--child", task, "--entries", &args.entries.to_string()]);
    // The second column may be the rougher one.
    let rounds = if args.quick { plan.rounds.min(3) } else { plan.rounds };
    command.args(["--rounds", &rounds.to_string(), "--seed", &args.seed.to_string()]);
    if args.quick {
        command.arg("--quick");
    }
    if let Some(only) = &args.only {
        command.args(["--only", only]);
    }
    if !args.peers.is_empty() {
        command.args(["--peers", &args.peers.join(",")]);
    }
    if task == HUGE {
        // Whatever else is tuned stays so.
        let asked = env::var(TUNABLES)
            .map_or_else(|_| ASK_FOR_HUGE.to_owned(), |others| format!("{others}:{ASK_FOR_HUGE}"));
        command.env(TUNABLES, asked);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        let status = output.status.to_string();
        return Err(CompareError::Child { task: task.to_owned(), status });
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| CompareError::ChildResult { task: task.to_owned(), error })
}
