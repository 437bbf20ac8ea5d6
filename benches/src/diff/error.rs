//! Why two results cannot be compared.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Each names the file and the field; nothing was compared.
#[derive(Debug, Error)]
pub(crate) enum DiffError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{}: it is longer than {limit} bytes, which no result is", path.display())]
    TooLong { path: PathBuf, limit: u64 },
    #[error("{}: not a result: {error}", path.display())]
    Parse { path: PathBuf, error: serde_json::Error },
    #[error("{}: {field} is {value}, it must be {limit}", path.display())]
    Field { path: PathBuf, field: String, value: String, limit: String },
    #[error("{field} differs: it is {values}{remedy}")]
    Differs { field: &'static str, values: String, remedy: &'static str },
    #[error("nothing that is judged is in both results")]
    NothingInCommon,
    #[error("the result cannot be written: {0}")]
    Output(#[from] io::Error),
}
