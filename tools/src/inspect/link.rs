//! A connection to a process's admin socket.

use super::status;
use crate::error::Error;
use headcount_net::admin::{self, Code, Hello, PROTOCOL, Request, Row};
use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take for the next row of an answer.
const ROW_WITHIN: Duration = Duration::from_secs(30);
/// Nothing that a process says is longer.
const LINE_MAX: u64 = 1 << 24;

/// Why there is no link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nobody listens any more.
    Gone,
    /// The user may not.
    Denied,
    /// There is nothing.
    Missing,
    /// Nothing was said in time.
    Silent,
    /// It ended the connection.
    Closed,
    /// It speaks another version of the protocol; that of its package.
    Version { protocol: u32, version: String },
    /// It speaks something else.
    Foreign,
    /// It refuses.
    Refused(Code, String),
    /// Anything else.
    Other(String),
}

impl Lost {
    /// The exit status that it ends a command with.
    fn status(&self) -> u8 {
        match self {
            Self::Gone => status::DEAD,
            Self::Denied | Self::Refused(Code::NotAllowed, _) => status::DENIED,
            Self::Missing => status::NOTHING,
            Self::Version { .. } | Self::Foreign | Self::Refused(Code::BadRequest, _) => status::STRANGE,
            // It answers with something else, or not at all: 1 is for what was found.
            Self::Silent | Self::Closed | Self::Refused(..) | Self::Other(_) => status::SILENT,
        }
    }

    /// In words, for the socket at that path.
    pub(super) fn at(&self, path: &Path) -> Error {
        let pid = admin::pid_of(path);
        let process = pid.map_or_else(|| "the process there".to_owned(), |pid| format!("process {pid}"));
        let path = path.display();
        let problem = match self {
            Self::Gone => {
                format!("{path}: {process} is gone and has left its socket behind; it can be removed")
            }
            Self::Denied => {
                format!(
                    "{path}: permission denied: only the user that {process} runs as, and root, may look into it"
                )
            }
            Self::Missing => format!("{path}: there is no such socket; {HOW_TO_ENABLE}"),
            Self::Silent => {
                format!(
                    "{path}: {process} does not answer; it may be stopped, or serve as many clients as it can"
                )
            }
            Self::Closed => format!("{path}: {process} has closed the connection"),
            Self::Version { protocol, version } => format!(
                "{path}: {process} is headcount {version} and speaks version {protocol} of the admin protocol, this program \
                 version {PROTOCOL}: use the headcount command that belongs to it"
            ),
            Self::Foreign => format!("{path}: what listens there does not speak headcount's admin protocol"),
            Self::Refused(_, text) => text.clone(),
            Self::Other(error) => format!("{path}: {error}"),
        };
        Error::Unseen { problem, status: self.status() }
    }
}

/// For whoever finds none.
pub(super) const HOW_TO_ENABLE: &str = "a process has one if it is started with `headcount node --admin`, or sets `admin_socket_in` in its configuration";

/// A connection, of which the other end has said who it is.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
    pub(super) hello: Hello,
}

/// As much of [`Hello`] as every version has.
#[derive(Deserialize)]
struct Version {
    row: String,
    protocol: u32,
    #[serde(default)]
    version: String,
}

impl Link {
    pub(super) fn open(path: &Path) -> Result<Self, Lost> {
        let stream = connect(path)?;
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        read_line(&mut stream, &mut line, HELLO_WITHIN)?;
        let hello = match serde_json::from_slice::<Row>(&line) {
            Ok(Row::Hello(hello)) if hello.protocol == PROTOCOL => hello,
            Ok(Row::Error { code, text }) => return Err(Lost::Refused(code, text)),
            _ => {
                let known =
                    serde_json::from_slice::<Version>(&line).ok().filter(|known| known.row == "hello");
                return Err(match known {
                    Some(Version { protocol, version, .. }) => Lost::Version { protocol, version },
                    None => Lost::Foreign,
                });
            }
        };
        Ok(Self { path: path.to_owned(), stream, line: Vec::new(), hello })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How people know it.
    pub(super) fn name(&self) -> String {
        match self.hello.node.as_str() {
            "" => format!("process {}", self.hello.pid),
            name => name.to_owned(),
        }
    }

    pub(super) fn ask(&mut self, request: &Request) -> Result<(), Lost> {
        let mut line = serde_json::to_vec(request).map_err(|error| Lost::Other(error.to_string()))?;
        line.push(b'\n');
        self.stream.get_ref().write_all(&line).map_err(|error| lost(&error))
    }

    /// The next row, waited for at most that long.
    pub(super) fn row(&mut self, within: Duration) -> Result<Row, Lost> {
        read_line(&mut self.stream, &mut self.line, within)?;
        let row = serde_json::from_slice(&self.line).map_err(|_| Lost::Foreign);
        self.line.clear();
        match row? {
            Row::Error { code, text } => Err(Lost::Refused(code, text)),
            row => Ok(row),
        }
    }

    /// Asks, and hands every row of the answer to `take`, until it fails; returns how many there were, of how many.
    pub(super) fn answer(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Row) -> Result<(), Error>,
    ) -> Result<(u64, u64), Error> {
        let path = self.path.clone();
        let worded = |lost: Lost| lost.at(&path);
        self.ask(request).map_err(worded)?;
        loop {
            match self.row(ROW_WITHIN).map_err(worded)? {
                Row::End { rows, of } => return Ok((rows, of)),
                row => take(row)?,
            }
        }
    }
}

fn connect(path: &Path) -> Result<UnixStream, Lost> {
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // A queue that is full is an answer, and not waited for.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)?;
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(HELLO_WITHIN))?;
        Ok(UnixStream::from(socket))
    });
    connected.map_err(|error| lost(&error))
}

fn lost(error: &std::io::Error) -> Lost {
    match error.kind() {
        ErrorKind::ConnectionRefused => Lost::Gone,
        ErrorKind::PermissionDenied => Lost::Denied,
        ErrorKind::NotFound => Lost::Missing,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::Silent,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Lost::Closed,
        _ => Lost::Other(error.to_string()),
    }
}

/// Reads on in a line, to its end. What has come before the time was over stays there.
fn read_line(stream: &mut BufReader<UnixStream>, line: &mut Vec<u8>, within: Duration) -> Result<(), Lost> {
    stream.get_ref().set_read_timeout(Some(within)).map_err(|error| lost(&error))?;
    match stream.by_ref().take(LINE_MAX).read_until(b'\n', line) {
        Ok(_) if line.ends_with(b"\n") => Ok(()),
        Ok(_) if line.len() as u64 >= LINE_MAX => Err(Lost::Foreign),
        // The end, perhaps in the middle of a line.
        Ok(_) => Err(Lost::Closed),
        Err(error) => Err(lost(&error)),
    }
}
