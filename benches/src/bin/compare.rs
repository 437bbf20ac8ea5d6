//! The tracker and its peers, turn by turn: see `headcount_benches::compare`.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount_benches::compare::main()
}
