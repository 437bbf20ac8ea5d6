//! Two results beside each other: see `headcount_benches::diff`.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount_benches::diff::main()
}
