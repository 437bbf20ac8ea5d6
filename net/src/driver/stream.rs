//! A TCP connection of the driver: what was read goes to the core, what the core says is written as the peer takes it.

use crate::core::StreamId;
use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// Read from one connection in a turn, so that datagrams have theirs: a thousand entries, taken in within about a millisecond.
const READ_PER_TURN: usize = 64 * 1024;
/// Below this much waiting, the core is asked for more.
const LOW_WATER: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: StreamId,
    stream: TcpStream,
    /// What is to be written, from `written` on.
    outgoing: Vec<u8>,
    written: usize,
    /// The core has begun to serve, so it may have more.
    has_sent: bool,
    /// It was asked for more, and has not sent since.
    pub(super) was_asked: bool,
    /// Close once everything is written.
    finishing: bool,
    /// The system said that there is something to read, and it was not all read.
    pub(super) readable: bool,
    /// The connection is open to write to.
    pub(super) writable: bool,
}

/// What became of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Open,
    /// Everything is written and it was to be closed then.
    Finished,
    /// The peer closed it, or it broke.
    Lost,
}

impl Connection {
    pub(super) fn new(id: StreamId, stream: TcpStream) -> Self {
        // Requests are one write and chunks are large: waiting to fill packets would only add delay.
        let _ = stream.set_nodelay(true);
        Self {
            id,
            stream,
            outgoing: Vec::new(),
            written: 0,
            has_sent: false,
            was_asked: false,
            finishing: false,
            readable: false,
            writable: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        self.has_sent = true;
        self.greet(bytes);
    }

    /// Sends, without asking for more then.
    pub(super) fn greet(&mut self, bytes: Vec<u8>) {
        self.was_asked = false;
        if self.written == self.outgoing.len() {
            self.outgoing = bytes;
            self.written = 0;
        } else {
            self.outgoing.extend_from_slice(&bytes);
        }
    }

    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether the core should be asked for more.
    pub(super) fn wants_more(&self) -> bool {
        self.id.is_incoming()
            && self.has_sent
            && !self.was_asked
            && !self.finishing
            && self.writable
            && self.outgoing.len() - self.written < LOW_WATER
    }

    /// Writes what can be written now.
    pub(super) fn write(&mut self) -> Fate {
        while self.writable && self.written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(0) => return Fate::Lost,
                Ok(len) => self.written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Fate::Lost,
            }
        }
        if self.finishing && self.written == self.outgoing.len() {
            let _ = self.stream.shutdown(Shutdown::Write);
            return Fate::Finished;
        }
        Fate::Open
    }

    /// Reads what is there, up to a turn's worth.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, buffer: &mut [u8]) -> Fate {
        while self.readable && into.len() < READ_PER_TURN {
            match self.stream.read(buffer) {
                Ok(0) => return Fate::Lost,
                Ok(len) => into.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Fate::Lost,
            }
        }
        Fate::Open
    }
}
