//! The only door to standard output and standard error.

use std::io::{self, Write};

/// Writes to standard output, and pushes it through: whoever reads a pipe waits for it.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a line to standard error. Nobody can be told if that fails.
pub(crate) fn note(line: &str) {
    let mut line = String::from(line);
    line.push('\n');
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
