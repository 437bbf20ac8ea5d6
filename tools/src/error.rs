//! Why the command ended without doing what it was asked to, and with which exit status.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Exit status of a run that could not do its work.
const FAILED: u8 = 1;
/// Exit status of a wrong command line, as clap's.
pub(crate) const USAGE: u8 = 2;
/// Exit status after Ctrl-C, as a shell's.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why the command failed. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An option has a value that cannot be used.
    #[error("{option} {value}: {problem}")]
    Option { option: &'static str, value: String, problem: String },
    /// The clients' port cannot be had.
    #[error("--listen {addr}: {problem}")]
    Listen { addr: SocketAddr, problem: String },
    /// The cluster could not be joined or was lost.
    #[error("{0}")]
    Cluster(String),
    /// There can be no lab on this machine, or not as things are.
    #[error("{0}")]
    Lab(String),
    /// The system refused something that is not the user's to choose.
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    /// A process cannot be looked into, or does not do what it was asked to.
    #[cfg(unix)]
    #[error("{0}")]
    Inspect(String),
    /// What was asked about does not run, or cannot be seen.
    #[error("{problem}")]
    Unseen { problem: String, status: u8 },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn option(option: &'static str, value: impl ToString, problem: impl Into<String>) -> Self {
        Self::Option { option, value: value.to_string(), problem: problem.into() }
    }

    /// For `map_err`.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }

    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Option { .. } => USAGE,
            Self::Listen { .. } | Self::Cluster(_) | Self::Lab(_) | Self::System { .. } => FAILED,
            #[cfg(unix)]
            Self::Inspect(_) => FAILED,
            Self::Unseen { status, .. } => *status,
            Self::Interrupted => INTERRUPTED,
        }
    }
}
