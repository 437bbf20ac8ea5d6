//! One client's connection: bytes in, lines executed, bytes out, all bounded.
//!
//! The socket is edge-triggered: `readable` and `writable` remember what the poll said until a call says otherwise, so
//! that a connection can stop reading (its client does not take its replies) and go on later without a new event.
//!
//! A connection works in *turns* of bounded length, so that no client can keep the loop from the others.

use super::buffer::{Input, Line, Output};
use super::command::Refusal;
use super::dialogue::{Dialogue, refuse};
use super::host::Host;
use super::producer::{ENTRY_LINE_MAX, PIECE};
use mio::net::TcpStream;
use std::io::{ErrorKind, Read};

/// The most bytes that wait to be sent to one client.
const PENDING_MAX: usize = 1 << 20;
/// Nothing more is written for a client to whom this much waits to be sent.
const ENOUGH: usize = PENDING_MAX / 2;
const _: () = assert!(ENOUGH + PIECE * ENTRY_LINE_MAX <= PENDING_MAX);
/// What is gathered before it is sent, within a turn.
const SEND_AT: usize = 64 * 1024;
/// Steps of a turn: a line executed, a piece of a reply, a read.
const STEPS: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    input: Input,
    output: Output,
    dialogue: Dialogue,
    readable: bool,
    writable: bool,
    /// The client sends no more.
    ended: bool,
    /// Events were written last: reading comes first now.
    read_next: bool,
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Nothing to do until the socket or a watch says so.
    Idle,
    /// There is more to do; others first.
    More,
    /// The connection is over.
    Over,
}

enum Step {
    Worked,
    Waits,
    Failed,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, slot: usize, host: &Host) -> Self {
        Self {
            socket,
            input: Input::default(),
            output: Output::default(),
            dialogue: Dialogue::new(slot, host),
            // What is true of a new socket; an attempt costs less than waiting to be told.
            readable: true,
            writable: true,
            ended: false,
            read_next: false,
        }
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(crate) fn set_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// A watch's signal rang. False if it was not for this connection.
    pub(crate) fn rang(&mut self, watch: u64) -> bool {
        self.dialogue.rang(watch)
    }

    /// Whether the client sends no more or was said goodbye to, and only what is pending keeps the connection open.
    pub(crate) fn is_closing(&self) -> bool {
        self.ended || self.dialogue.is_over()
    }

    pub(crate) fn sent_total(&self) -> u64 {
        self.output.sent_total()
    }

    /// Does what there is to do, up to a bound.
    pub(crate) fn turn(&mut self, host: &mut Host, scratch: &mut [u8]) -> Turn {
        for _ in 0..STEPS {
            if self.output.pending() >= SEND_AT && self.send(host).is_err() {
                return Turn::Over;
            }
            match self.step(host, scratch) {
                Step::Worked => {}
                Step::Failed => return Turn::Over,
                Step::Waits => {
                    let was_full = self.is_full();
                    if self.send(host).is_err() {
                        return Turn::Over;
                    }
                    if self.output.pending() == 0 && self.dialogue.is_over() {
                        return Turn::Over;
                    }
                    return if was_full && !self.is_full() { Turn::More } else { Turn::Idle };
                }
            }
        }
        if self.send(host).is_err() { Turn::Over } else { Turn::More }
    }

    fn step(&mut self, host: &mut Host, scratch: &mut [u8]) -> Step {
        if self.is_full() {
            return Step::Waits;
        }
        let out = self.output.bytes();
        if self.dialogue.go_on(host, out) {
            return Step::Worked;
        }
        if self.dialogue.is_over() {
            return Step::Waits;
        }
        match self.input.next_line() {
            Some(Line::Text(line)) => {
                self.dialogue.execute(line, host, out);
                return Step::Worked;
            }
            Some(Line::TooLong) => {
                refuse(&Refusal::line_too_long(), host, out);
                return Step::Worked;
            }
            None => {}
        }
        let may_read = self.readable && !self.ended;
        let prefer_read = std::mem::take(&mut self.read_next) && may_read;
        if !prefer_read && self.dialogue.push_events(host, out) {
            self.read_next = true;
            return Step::Worked;
        }
        if may_read {
            return self.read(host, scratch);
        }
        if self.ended {
            // Everything that the client sent was executed and answered.
            self.dialogue.finish();
            return Step::Worked;
        }
        Step::Waits
    }

    fn read(&mut self, host: &Host, scratch: &mut [u8]) -> Step {
        match self.socket.read(scratch) {
            // What is left without a line's end is no request.
            Ok(0) => self.ended = true,
            Ok(len) => {
                self.input.extend(&scratch[..len]);
                host.clients.received_bytes.add(len as u64);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Step::Failed,
        }
        Step::Worked
    }

    fn is_full(&self) -> bool {
        self.output.pending() >= ENOUGH
    }

    fn send(&mut self, host: &Host) -> std::io::Result<()> {
        if !self.writable || self.output.pending() == 0 {
            return Ok(());
        }
        let before = self.output.sent_total();
        let flushed = self.output.flush(&mut self.socket);
        host.clients.sent_bytes.add(self.output.sent_total() - before);
        self.writable = flushed?;
        Ok(())
    }
}
