//! Why the demo could not go on, and waiting that can say what it waited for.

use headcount_tools::line::ClientError;
use headcount_tools::process::ProcessError;
use headcount_tools::{Limit, Stopped};
use std::time::Duration;

/// EMFILE, for which the standard library has no name; the same on every Unix.
const TOO_MANY_FILES: i32 = 24;

/// Why a phase ended without its result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("a node does not run: {0}")]
    Process(ProcessError),
    #[error("a connection failed: {0}")]
    Client(ClientError),
    /// The deadline passed while something was missing.
    #[error("the time is up, still waiting for {0}")]
    Missing(String),
    #[error("the time is up")]
    TimeUp,
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    pub(crate) fn unclear(request: &str) -> Self {
        Self::Other(format!("the reply to {request} is not what it should be"))
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Interrupted => Self::Interrupted,
            _ => Self::TimeUp,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Stopped(stopped) => stopped.into(),
            ClientError::Io(error) if error.raw_os_error() == Some(TOO_MANY_FILES) => Self::other(
                "too many connections for this shell: raise the limit (ulimit -n) or take fewer --clients",
            ),
            error => Self::Client(error),
        }
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Stopped(stopped) => stopped.into(),
            error => Self::Process(error),
        }
    }
}

/// What a look at something came to.
#[derive(Debug)]
pub(crate) enum Seen<T> {
    Done(T),
    /// Not yet; what is missing, to complete "waiting for ...".
    Missing(String),
}

/// Looks every `pause` until it is done. If the time is up first, says what was missing at the last look.
pub(crate) fn until<T>(
    limit: &Limit,
    pause: Duration,
    mut look: impl FnMut() -> Result<Seen<T>, Failure>,
) -> Result<T, Failure> {
    let mut last = None;
    loop {
        match look() {
            Ok(Seen::Done(found)) => return Ok(found),
            Ok(Seen::Missing(missing)) => last = Some(missing),
            Err(Failure::TimeUp) => return Err(last.map_or(Failure::TimeUp, Failure::Missing)),
            Err(failure) => return Err(failure),
        }
        match limit.sleep(pause).map_err(Failure::from) {
            Ok(()) => {}
            Err(Failure::TimeUp) => return Err(last.map_or(Failure::TimeUp, Failure::Missing)),
            Err(failure) => return Err(failure),
        }
    }
}
