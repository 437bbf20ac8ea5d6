//! Callgrind: started, and its output understood.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{fmt, fs, io};

/// The functions whose instructions are collected: the name, whatever mangling is around it.
const COLLECTED: &str = "*count_measured_part*";

/// Why there is no count.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallgrindError {
    /// There is no `valgrind` that can be started.
    Absent(io::Error),
    /// It was started and failed.
    Failed {
        /// What ran under it.
        run: String,
        /// The end of what it said.
        said: String,
    },
    /// It wrote no output that can be read.
    Output(io::Error),
    /// Its output is not understood.
    Parse(&'static str),
}

impl fmt::Display for CallgrindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(error) => write!(f, "valgrind cannot be started ({error}): is it installed?"),
            Self::Failed { run, said } => write!(f, "`{run}` failed under valgrind: {said}"),
            Self::Output(error) => write!(f, "callgrind's output cannot be read: {error}"),
            Self::Parse(what) => write!(f, "callgrind's output is not understood: {what}"),
        }
    }
}

impl std::error::Error for CallgrindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Absent(error) | Self::Output(error) => Some(error),
            Self::Failed { .. } | Self::Parse(_) => None,
        }
    }
}

/// Whether valgrind is there.
pub(super) fn present() -> Result<(), CallgrindError> {
    let probe = Command::new("valgrind").arg("--version").stdin(Stdio::null()).output();
    match probe {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(CallgrindError::Absent(io::Error::other(output.status.to_string()))),
        Err(error) => Err(CallgrindError::Absent(error)),
    }
}

/// Runs a program under callgrind and returns the instructions collected. `out` is written and removed.
pub(super) fn count(program: &Path, arguments: &[String], out: &Path) -> Result<u64, CallgrindError> {
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COLLECTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(arguments);
    let output = command.stdin(Stdio::null()).output().map_err(CallgrindError::Absent)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().rfind(|line| !line.trim().is_empty());
        let said = last.map_or_else(|| output.status.to_string(), str::to_owned);
        return Err(CallgrindError::Failed { run: format!("count {}", arguments.join(" ")), said });
    }
    let text = fs::read_to_string(out).map_err(CallgrindError::Output)?;
    fs::remove_file(out).map_err(CallgrindError::Output)?;
    collected(&text)
}

/// The instructions in the text of a callgrind output file.
///
/// # Errors
/// [`CallgrindError::Parse`] if there are none: no total, no event `Ir`, or nothing was collected.
pub fn collected(text: &str) -> Result<u64, CallgrindError> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let events = line("events").ok_or(CallgrindError::Parse("there is no line `events:`"))?;
    let column = events.split_whitespace().position(|event| event == "Ir");
    let column = column.ok_or(CallgrindError::Parse("`Ir` is not among the events"))?;
    // Both are the sum; `summary:` is of all parts and not always there.
    let sums = line("totals").or_else(|| line("summary"));
    let sums = sums.ok_or(CallgrindError::Parse("there is no line `totals:`, and no `summary:`"))?;
    let count = sums.split_whitespace().nth(column).and_then(|count| count.parse().ok());
    match count.ok_or(CallgrindError::Parse("the total is not a number"))? {
        0 => Err(CallgrindError::Parse("nothing was collected: is the measured function inlined?")),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What callgrind 3.19 wrote, cut after the first function.
    const CAPTURED: &str = include_str!("callgrind.sample");

    #[test]
    fn the_total_of_a_captured_output_is_read() {
        assert_eq!(collected(CAPTURED).expect("it is whole"), 1_068_050);
    }

    #[test]
    fn a_summary_stands_in_for_the_total_and_the_column_is_that_of_the_instructions() {
        assert_eq!(collected("events: Ir\nsummary: 7\n").expect("it is whole"), 7);
        assert_eq!(collected("events: Dr Ir Dw\ntotals: 1 22 3\n").expect("it is whole"), 22);
    }

    #[test]
    fn what_is_missing_is_said() {
        for (text, said) in [
            ("", "`events:`"),
            ("events: Dr\ntotals: 1\n", "`Ir`"),
            ("events: Ir\n", "`totals:`"),
            ("events: Dr Ir\ntotals: 1\n", "not a number"),
            ("events: Ir\ntotals: 0\n", "nothing was collected"),
        ] {
            let error = collected(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
