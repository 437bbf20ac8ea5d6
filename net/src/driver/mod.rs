//! The thin layer of I/O under the core: one thread, mio, no decisions of its own.
//!
//! Each turn reads what is there (bounded, so that nothing starves), tells the core the time, and does what the core says.
//! Datagrams are read before the time is told, so that a node that stood still hears first and judges then.

mod stream;
mod udp;

pub(crate) use udp::Sockets;

use crate::cluster::Shared;
use crate::core::{Core, Input, Output, Phase, StreamAction, StreamId, StreamInput, Target, Time};
use crate::error::StopReason;
use mio::event::Event;
use mio::net::{TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream::{Connection, Fate};

const GROUP: Token = Token(0);
const UNICAST: Token = Token(1);
const LISTENER: Token = Token(2);
pub(crate) const WAKER: Token = Token(3);
const FIRST_STREAM: usize = 4;

const DATAGRAMS_PER_TURN: usize = 256;
const CONNECTIONS_MAX: usize = 256;
const READ_BUFFER: usize = 64 * 1024;
/// How stale the published ages and counters may be.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

pub(crate) struct Driver {
    poll: Poll,
    sockets: Sockets,
    group: SocketAddr,
    core: Core,
    shared: Arc<Shared>,
    started: Instant,
    connections: BTreeMap<usize, Connection>,
    next_token: usize,
    next_incoming: u64,
    group_readable: bool,
    unicast_readable: bool,
    output: Output,
    buffer: Vec<u8>,
    published: (u64, Time),
}

impl Driver {
    pub(crate) fn new(
        poll: Poll,
        mut sockets: Sockets,
        group: SocketAddr,
        core: Core,
        shared: Arc<Shared>,
        started: Instant,
    ) -> io::Result<Self> {
        let registry = poll.registry();
        registry.register(&mut sockets.group, GROUP, Interest::READABLE)?;
        registry.register(&mut sockets.unicast, UNICAST, Interest::READABLE)?;
        registry.register(&mut sockets.listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            sockets,
            group,
            core,
            shared,
            started,
            connections: BTreeMap::new(),
            next_token: FIRST_STREAM,
            next_incoming: 1,
            group_readable: true,
            unicast_readable: true,
            output: Output::default(),
            buffer: vec![0; READ_BUFFER],
            published: (u64::MAX, Time::ZERO),
        })
    }

    /// Runs until the node has left or stopped.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.started.elapsed();
            let busy = self.group_readable || self.unicast_readable || self.has_work();
            let wait = if busy { Duration::ZERO } else { self.core.wake_at(now).saturating_sub(now) };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.shared.stop(StopReason::Driver(error.to_string()));
                    return;
                }
                _ => {}
            }
            for event in &events {
                self.note(event);
            }
            if self.shared.wants_to_leave() {
                self.handle(Input::Leave);
            }
            self.read_datagrams();
            self.turn_connections();
            // Changes of the tracker and deadlines, whichever woke this turn.
            self.handle(Input::Turn);
            self.publish();
            if matches!(self.core.phase(), Phase::Left | Phase::Stopped(_)) {
                return;
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event.token() {
            GROUP => self.group_readable = true,
            UNICAST => self.unicast_readable = true,
            LISTENER => self.accept(),
            WAKER => {}
            Token(token) => {
                if let Some(connection) = self.connections.get_mut(&token) {
                    connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    connection.writable |= event.is_writable() || event.is_error();
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        self.connections.values().any(|connection| connection.readable || connection.wants_more())
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = self.started.elapsed();
        self.core.handle(now, input, &mut self.output);
        self.perform();
    }

    fn read_datagrams(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..DATAGRAMS_PER_TURN {
            if !self.group_readable && !self.unicast_readable {
                break;
            }
            // Turn about: a flood on the group does not keep a repair waiting.
            if self.unicast_readable {
                match receive(&self.sockets.unicast, &mut buffer) {
                    Some((len, from)) => self.handle(Input::Datagram { from, bytes: &buffer[..len] }),
                    None => self.unicast_readable = false,
                }
            }
            if self.group_readable {
                match receive(&self.sockets.group, &mut buffer) {
                    Some((len, from)) => self.handle(Input::Datagram { from, bytes: &buffer[..len] }),
                    None => self.group_readable = false,
                }
            }
        }
        self.buffer = buffer;
    }

    fn accept(&mut self) {
        // Until there is none, or the system has no more to give; a later connection raises the next event.
        while let Ok((stream, _)) = self.sockets.listener.accept() {
            if self.connections.len() < CONNECTIONS_MAX {
                let id = StreamId(self.next_incoming);
                self.next_incoming += 2;
                if self.register(id, stream) {
                    self.handle(Input::Stream(id, StreamInput::Accepted));
                }
            }
        }
    }

    fn register(&mut self, id: StreamId, mut stream: TcpStream) -> bool {
        let token = self.next_token;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(token), interest).is_err() {
            return false;
        }
        self.next_token += 1;
        self.connections.insert(token, Connection::new(id, stream));
        true
    }

    /// Reads from and writes to every connection that has something to do.
    fn turn_connections(&mut self) {
        let tokens: Vec<usize> = self.connections.keys().copied().collect();
        for token in tokens {
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            let id = connection.id;
            let mut fate = connection.write();
            if fate == Fate::Open && connection.readable {
                let mut bytes = Vec::new();
                fate = connection.read(&mut bytes, &mut self.buffer);
                if !bytes.is_empty() {
                    self.handle(Input::Stream(id, StreamInput::Bytes(&bytes)));
                }
            }
            match fate {
                Fate::Open => {
                    if self.connections.get(&token).is_some_and(Connection::wants_more) {
                        self.handle(Input::Stream(id, StreamInput::Writable));
                    }
                }
                Fate::Finished => self.close(token),
                Fate::Lost => {
                    self.close(token);
                    self.handle(Input::Stream(id, StreamInput::Closed));
                }
            }
        }
    }

    fn close(&mut self, token: usize) {
        if let Some(mut connection) = self.connections.remove(&token) {
            let _ = self.poll.registry().deregister(connection.stream());
        }
    }

    /// Does what the core said.
    fn perform(&mut self) {
        for (target, bytes) in self.output.datagrams.drain(..) {
            let to = match target {
                Target::Group => self.group,
                Target::Node(addr) => addr,
            };
            // Whatever the reason (a full buffer, a peer that is gone), a datagram not sent is one lost.
            if !matches!(self.sockets.unicast.send_to(&bytes, to), Ok(len) if len == bytes.len()) {
                self.core.count_send_error();
            }
        }
        for (id, action) in std::mem::take(&mut self.output.streams) {
            if let StreamAction::Connect { to, first } = action {
                self.connect(id, to, first);
                continue;
            }
            let Some((&token, connection)) =
                self.connections.iter_mut().find(|(_, connection)| connection.id == id)
            else {
                continue;
            };
            match action {
                StreamAction::Send(bytes) => connection.send(bytes),
                StreamAction::Finish => connection.finish(),
                StreamAction::Abort | StreamAction::Connect { .. } => {
                    self.close(token);
                    continue;
                }
            }
            if connection.write() != Fate::Open {
                // The next turn finds it finished or broken and says so.
                connection.readable = true;
            }
        }
    }

    fn connect(&mut self, id: StreamId, to: SocketAddr, first: Vec<u8>) {
        let connected = TcpStream::connect(to).is_ok_and(|stream| self.register(id, stream));
        if !connected {
            self.handle(Input::Stream(id, StreamInput::Closed));
            return;
        }
        if let Some(connection) = self.connections.values_mut().next_back() {
            connection.send(first);
        }
    }

    fn publish(&mut self) {
        let now = self.started.elapsed();
        let (version, at) = self.published;
        if version != self.core.version() || now >= at + PUBLISH_EVERY {
            self.published = (self.core.version(), now);
            self.shared.publish(&self.core);
        }
    }
}

/// The next datagram. Errors that belong to one datagram or one peer (a port that nobody listens on any more) are passed over.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    for _ in 0..16 {
        match socket.recv_from(buffer) {
            Ok(received) => return Some(received),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_receive_does_not_keep_back_what_comes_after_it() {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = UdpSocket::bind(here).unwrap();
        let peer = std::net::UdpSocket::bind(here).unwrap();
        socket.connect(peer.local_addr().unwrap()).unwrap();
        peer.send_to(&[3], socket.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 16];
        let until = Instant::now() + Duration::from_secs(10);
        while socket.peek(&mut buffer).is_err() {
            assert!(Instant::now() < until, "nothing came");
            std::thread::yield_now();
        }
        drop(peer);
        // Nobody listens there any more: the system answers, and the next receive on a connected socket fails.
        socket.send(&[1]).unwrap();
        let refused = socket.take_error().unwrap();
        assert_eq!(refused.map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
        // As before, but not looked at: the error stands in front of the datagram.
        socket.send(&[2]).unwrap();
        assert_eq!(receive(&socket, &mut buffer).map(|(len, _)| (len, buffer[0])), Some((1, 3)));
    }
}
