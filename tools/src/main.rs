//! The `headcount` command: run a node, or see a whole cluster work.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount_tools::program::headcount()
}
