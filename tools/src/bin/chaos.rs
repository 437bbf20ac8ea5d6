//! The `chaos` lab: real nodes on links that lose, are cut and are mended.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount_tools::program::chaos()
}
