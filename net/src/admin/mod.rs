//! The admin socket: looking into a running process, and evicting entries, over a local Unix socket (feature `admin`).
//!
//! Off until a path is given ([`Config::admin_socket`], or [`AdminSocket::open`] for a tracker that is in no cluster). The `headcount` command
//! is a client of it (`headcount topics`, `list`, `watch`, `evict` ..), and any program can be: what is said is JSON, an object a line.
//!
//! * **Who may connect**: the user that the process runs as, and root. The socket has that mode before it has its name; see `place.rs`.
//! * **What it costs**: a thread that sleeps until somebody connects. Each client (8 at once) has a thread of its own, which reads
//!   the tracker as any reader does: without a lock, in pages of 256 entries, and never while it writes to the client. A client that reads
//!   slowly, or stands still, costs its own connection: what it does not take for ten seconds (a watch: a minute) ends it, and a watch that
//!   falls behind is told how much it missed.
//! * **What is said**: the server says [`Hello`], then answers each [`Request`] with [`Row`]s, the last of which is [`Row::End`] or [`Row::Error`].
//!
//! ```text
//! < {"row":"hello","protocol":1,"version":"0.1.0","pid":4711,"node":"web-1", ..}
//! > {"op":"get","topic":"room:42","key":"alice"}
//! < {"row":"entry","topic":"room:42","key":"alice","meta":"typing","node":"web-1","session":3,"entry":"..","joined":"..","heard_ms":null}
//! < {"row":"end","rows":1,"of":1}
//! ```

mod answer;
mod place;
mod protocol;
mod server;

pub use headcount::counters::default_dir;
pub use place::pid_of;
pub use protocol::{
    Change, Code, EntryRow, Hello, LaneRow, NodeRow, Outcome, PROTOCOL, REQUEST_LEN_MAX, Request, Row, Text,
    Why,
};

pub(crate) use answer::Membership;
pub(crate) use place::Place;

use crate::config::Config;
use answer::Answers;
use headcount::Tracker;
use server::Server;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why there is no admin socket. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Another process, or another tracker of this one, listens there.
    #[error("admin_socket {}: a live process has it", .path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Something else is there, which is not removed.
    #[error("admin_socket {}: there is something that is no socket", .path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The operating system refused it.
    #[error("admin_socket {}: {what}: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// An admin socket that was made, and is not served yet.
pub(crate) struct Opened {
    listener: UnixListener,
    name: place::Name,
}

impl Opened {
    pub(crate) fn at(place: &Place) -> Result<Self, AdminError> {
        let (listener, name) = place::listen(place)?;
        Ok(Self { listener, name })
    }

    pub(crate) fn serve(
        self,
        tracker: &Tracker,
        member: Option<Membership>,
    ) -> Result<AdminSocket, AdminError> {
        let Self { listener, name } = self;
        let answers = Answers::new(tracker.clone(), member);
        let started = Server::start(listener, answers);
        let what = "starting its thread";
        let server =
            started.map_err(|source| AdminError::Io { path: name.path().to_owned(), what, source })?;
        Ok(AdminSocket { server, name })
    }
}

/// An admin socket, open until this is dropped: then it is removed, and its clients are cut off.
pub struct AdminSocket {
    // Dropped first: nobody finds a name that nobody listens behind.
    name: place::Name,
    server: Server,
}

impl AdminSocket {
    /// Opens one for a tracker at that path. A socket that a dead process has left there is replaced. Of a tracker in a cluster, use
    /// [`Config::admin_socket`]: this one cannot ask other nodes for anything.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn open(path: impl Into<PathBuf>, tracker: &Tracker) -> Result<Self, AdminError> {
        Opened::at(&Place::Path(path.into()))?.serve(tracker, None)
    }

    /// As [`open`](Self::open), at `headcount.PID.N.admin` in a directory ([`default_dir`] is where the `headcount` command looks), with the
    /// first number N that is free.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn open_in(dir: impl Into<PathBuf>, tracker: &Tracker) -> Result<Self, AdminError> {
        Opened::at(&Place::In(dir.into()))?.serve(tracker, None)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.name.path()
    }
}

impl fmt::Debug for AdminSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminSocket").field("path", &self.path()).field("server", &self.server).finish()
    }
}

impl Config {
    /// Opens an [admin socket](crate::admin) at that path, for as long as the last handle of the [`Cluster`](crate::Cluster) lives. Whoever may
    /// connect (the user of this process, and root) can read the whole view, and evict entries of this node; those of other nodes if those
    /// [obey](Self::obey_evictions). Default: none.
    #[must_use]
    pub fn admin_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.admin = Some(Place::Path(path.into()));
        self
    }

    /// As [`admin_socket`](Self::admin_socket), at `headcount.PID.N.admin` in a directory: [`default_dir`] is where the `headcount` command looks.
    #[must_use]
    pub fn admin_socket_in(mut self, dir: impl Into<PathBuf>) -> Self {
        self.admin = Some(Place::In(dir.into()));
        self
    }
}
