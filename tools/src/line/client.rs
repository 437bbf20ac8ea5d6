//! A client of the line protocol: blocking, pipelining, every wait bounded.

use super::reply::Reply;
use super::token::{Tokens, push_token};
use crate::limit::{LOOK_AGAIN, Limit, Stopped};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The longest line accepted from a node: an entry of the greatest size with every byte escaped fits many times.
const REPLY_LINE_MAX: usize = 1 << 20;
/// Pushed lines kept while a reply is awaited.
const PUSHED_MAX: usize = 1 << 20;
const READ_LEN: usize = 64 * 1024;

/// Why a request got no reply, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node refused the request with `ERR`; nothing was changed and the connection goes on.
    #[error("{code}: {text}")]
    Refused {
        /// The word behind `ERR`.
        code: String,
        /// The rest of the line.
        text: String,
    },
    /// The limit ended the wait. The reply may still come, so the connection is out of step.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The node closed the connection.
    #[error("the node closed the connection")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The node sent something that the protocol does not have.
    #[error("unexpected line {0:?}")]
    Unexpected(String),
}

/// A connection to a node. Requests are queued and sent; replies come in the order of the requests; events that come in
/// between are kept for [`event`](Self::event).
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Where the first unread line starts in `incoming`.
    start: usize,
    /// How far `incoming` was searched for the end of that line.
    searched: usize,
    pushed: VecDeque<Vec<u8>>,
    /// Between `EVENT LAGGED` and `EVENT RESYNCED`, when `SNAPSHOT` lines are pushed and not replied.
    resyncing: bool,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or the limit ended the attempt.
    pub fn connect(addr: SocketAddr, limit: &Limit) -> Result<Self, ClientError> {
        limit.check()?;
        let stream = TcpStream::connect_timeout(&addr, limit.left())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_AGAIN))?;
        stream.set_write_timeout(Some(LOOK_AGAIN))?;
        Ok(Self {
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            start: 0,
            searched: 0,
            pushed: VecDeque::new(),
            resyncing: false,
        })
    }

    /// Queues a request: a verb and its arguments, each quoted if it has to be.
    pub fn queue(&mut self, verb: &str, arguments: &[&[u8]]) {
        self.outgoing.extend_from_slice(verb.as_bytes());
        for argument in arguments {
            self.outgoing.push(b' ');
            push_token(&mut self.outgoing, argument);
        }
        self.outgoing.push(b'\n');
    }

    /// Queues bytes as they are, line ends included.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Sends what was queued. A node stops reading from a client that does not read its replies, so do not queue
    /// thousands of requests before reading any.
    ///
    /// # Errors
    /// The connection failed, or the limit ended the wait; what was queued is lost in part.
    pub fn send(&mut self, limit: &Limit) -> Result<(), ClientError> {
        limit.check()?;
        let mut sent = 0;
        while sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[sent..]) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(written) => sent += written,
                Err(error) if is_pause(&error) => limit.check()?,
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.clear();
        Ok(())
    }

    /// Sends one request and waits for its reply. The replies of earlier requests must have been read.
    ///
    /// # Errors
    /// Refused, or any failure of the connection, or the limit.
    pub fn request(&mut self, verb: &str, arguments: &[&[u8]], limit: &Limit) -> Result<Reply, ClientError> {
        self.queue(verb, arguments);
        self.send(limit)?;
        self.reply(limit)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// Refused, or any failure of the connection, or the limit.
    pub fn reply(&mut self, limit: &Limit) -> Result<Reply, ClientError> {
        let mut lines = Vec::new();
        loop {
            let line = self.line(limit)?;
            if self.is_pushed(&line) {
                if self.pushed.len() == PUSHED_MAX {
                    return Err(ClientError::Unexpected("more events than anybody reads".into()));
                }
                self.pushed.push_back(line);
                continue;
            }
            let mut tokens = Tokens::new(&line);
            let verb =
                tokens.token().ok().flatten().map(|token| token.bytes.into_owned()).unwrap_or_default();
            match &verb[..] {
                b"OK" if lines.is_empty() => return Ok(Reply::Ok(text(rest(&line, 3)))),
                b"ERR" if lines.is_empty() => {
                    let refusal = text(rest(&line, 4));
                    let (code, text) = refusal.split_once(' ').unwrap_or((&refusal, ""));
                    return Err(ClientError::Refused { code: code.into(), text: text.into() });
                }
                b"END" => {
                    let count = str::from_utf8(rest(&line, 4)).ok().and_then(|count| count.parse().ok());
                    if count == Some(lines.len()) {
                        return Ok(Reply::Lines(lines));
                    }
                    return Err(ClientError::Unexpected(format!(
                        "{} after {} lines",
                        text(&line),
                        lines.len()
                    )));
                }
                _ => lines.push(line),
            }
        }
    }

    /// Waits for the next line that a watch pushed.
    ///
    /// # Errors
    /// A failure of the connection, the limit, or a reply that nobody asked for.
    pub fn event(&mut self, limit: &Limit) -> Result<Vec<u8>, ClientError> {
        if let Some(line) = self.pushed.pop_front() {
            return Ok(line);
        }
        let line = self.line(limit)?;
        if self.is_pushed(&line) { Ok(line) } else { Err(ClientError::Unexpected(text(&line))) }
    }

    /// Waits for the next line, whatever it is.
    ///
    /// # Errors
    /// A failure of the connection, or the limit; what was read is kept.
    pub fn line(&mut self, limit: &Limit) -> Result<Vec<u8>, ClientError> {
        loop {
            if let Some(end) = self.incoming[self.searched..].iter().position(|&byte| byte == b'\n') {
                let end = self.searched + end;
                let line = self.incoming[self.start..end].to_vec();
                self.start = end + 1;
                self.searched = self.start;
                return Ok(line);
            }
            self.searched = self.incoming.len();
            if self.searched - self.start > REPLY_LINE_MAX {
                return Err(ClientError::Unexpected("a line without an end".into()));
            }
            self.read_more(limit)?;
        }
    }

    /// Waits until the node closes the connection, dropping whatever it still sends.
    ///
    /// # Errors
    /// The limit ended the wait.
    pub fn closed(&mut self, limit: &Limit) -> Result<(), Stopped> {
        loop {
            match self.line(limit) {
                Ok(_) => {}
                Err(ClientError::Stopped(stopped)) => return Err(stopped),
                Err(_) => return Ok(()),
            }
        }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn read_more(&mut self, limit: &Limit) -> Result<(), ClientError> {
        // A node that never pauses must not outlast the limit either.
        limit.check()?;
        self.incoming.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let len = self.incoming.len();
        self.incoming.resize(len + READ_LEN, 0);
        let outcome = loop {
            match self.stream.read(&mut self.incoming[len..]) {
                Err(error) if is_pause(&error) => {
                    if let Err(stopped) = limit.check() {
                        break Err(stopped.into());
                    }
                }
                Ok(0) => break Err(ClientError::Closed),
                Ok(read) => break Ok(read),
                Err(error) => break Err(error.into()),
            }
        };
        self.incoming.truncate(len + outcome.as_ref().map_or(0, |&read| read));
        outcome.map(drop)
    }

    fn is_pushed(&mut self, line: &[u8]) -> bool {
        if self.resyncing && line.starts_with(b"SNAPSHOT ") {
            return true;
        }
        let Some(event) = line.strip_prefix(b"EVENT ") else { return false };
        if event.starts_with(b"LAGGED ") {
            self.resyncing = !event.ends_with(b" *");
        } else if event.starts_with(b"RESYNCED ") {
            self.resyncing = false;
        }
        true
    }
}

/// Whether the socket's own timeout ended the call, or a signal: look at the limit and try again.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn rest(line: &[u8], from: usize) -> &[u8] {
    line.get(from..).unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
