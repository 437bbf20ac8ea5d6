//! Why a counters file could not be made, or not be read.

use std::io;
use std::path::PathBuf;

/// Why a counters file was not made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The system refused: no such directory, no permission, no room.
    #[error("counters file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Only Unix systems have the file locks that tell the living from the dead.
    #[error("counters files need a Unix system")]
    Unsupported,
}

/// Why a counters file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such file: the process has ended, or never kept one.
    #[error("{} is not there: the process has ended", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// It may not be opened: another user's process keeps it.
    #[error("no permission to read {}: it is another user's; run this as that user", path.display())]
    NoPermission {
        /// The file.
        path: PathBuf,
    },
    /// Another user keeps it, whom this process need not trust: who cuts short a file that is being read ends the reader.
    #[error(
        "{} is of the user {uid}, who could end this program by cutting it short: run this as that user, or as root",
        path.display()
    )]
    OtherUser {
        /// The file.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no counters file, perhaps not even a file: a link is not followed.
    #[error("{} is not a counters file of headcount", path.display())]
    NotCounters {
        /// The file.
        path: PathBuf,
    },
    /// It has another layout.
    #[error(
        "{} has layout {found}, this program reads {}: use the program that came with the version that runs there",
        path.display(),
        super::VERSION_MAJOR
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its major version.
        found: u32,
    },
    /// It says something of itself that cannot be.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What cannot be.
        what: String,
    },
}

impl ReadError {
    pub(super) fn io(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path },
            io::ErrorKind::PermissionDenied => Self::NoPermission { path },
            _ => Self::Io { path, source },
        }
    }
}
