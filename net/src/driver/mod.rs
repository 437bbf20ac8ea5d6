//! The thin layer of I/O under the core: one thread, mio, no decisions of its own.
//!
//! Each turn reads what is there (bounded, so that nothing starves), tells the core the time, and does what the core says.
//! Datagrams are read before the time is told, so that a node that stood still hears first and judges then.

mod epoch;
#[cfg(feature = "faults")]
mod faults;
#[cfg(not(feature = "faults"))]
#[path = "no_faults.rs"]
mod faults;
mod lane;
mod lateness;
mod resolve;
mod stream;
mod system;
#[cfg(test)]
mod tests;
mod udp;

pub(crate) use epoch::EpochFile;
#[cfg(feature = "faults")]
pub use faults::{FaultCounts, SocketFaults};
pub(crate) use system::loopback_index;
pub(crate) use udp::{Sockets, mtu};

use crate::cluster::Shared;
use crate::core::{Core, Input, Output, Phase, StreamAction, StreamId, StreamInput, Target, Time};
use crate::error::StopReason;
use crate::shown::{Board, PROBE};
#[cfg(feature = "tracing")]
use crate::trace::Teller;
use lane::{Batch, Received, UdpLane};
use lateness::Lateness;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use resolve::Resolver;
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
/// Connections at once; others wait to be accepted.
pub(crate) const CONNECTIONS_MAX: usize = 256;
const READ_BUFFER: usize = 64 * 1024;
/// How stale the published ages and counters may be.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// Where peers may be found, as the configuration says.
#[derive(Debug, Default)]
pub(crate) struct PeerNames {
    pub(crate) addrs: Vec<SocketAddr>,
    /// `host:port`, to be looked up.
    pub(crate) names: Vec<String>,
}

pub(crate) struct Driver {
    poll: Poll,
    sockets: Sockets,
    core: Core,
    shared: Arc<Shared>,
    started: Instant,
    connections: BTreeMap<usize, Connection>,
    next_token: usize,
    next_incoming: u64,
    output: Output,
    batch: Batch,
    buffer: Vec<u8>,
    resolver: Option<Resolver>,
    epoch_file: Option<EpochFile>,
    literal_peers: Vec<SocketAddr>,
    /// What each socket has dropped, as it was last seen.
    drops: [u32; 2],
    published: (u64, Time),
    board: Option<Board>,
    lateness: Lateness,
    #[cfg(feature = "tracing")]
    teller: Teller,
}

impl Driver {
    pub(crate) fn new(
        poll: Poll,
        mut sockets: Sockets,
        core: Core,
        shared: Arc<Shared>,
        started: Instant,
        peers: PeerNames,
        epoch_file: Option<EpochFile>,
    ) -> io::Result<Self> {
        let registry = poll.registry();
        if let Some(group) = &mut sockets.group {
            registry.register(&mut group.port.socket, GROUP, Interest::READABLE)?;
        }
        registry.register(&mut sockets.unicast.port.socket, UNICAST, Interest::READABLE)?;
        registry.register(&mut sockets.listener, LISTENER, Interest::READABLE)?;
        let resolver = if peers.names.is_empty() {
            None
        } else {
            let bell = Arc::clone(&shared);
            let wake = move || bell.wake();
            Some(Resolver::start(peers.names, sockets.local, resolve::system, wake)?)
        };
        let mut driver = Self {
            #[cfg(feature = "tracing")]
            teller: Teller::new(&core),
            poll,
            sockets,
            core,
            shared,
            started,
            connections: BTreeMap::new(),
            next_token: FIRST_STREAM,
            next_incoming: 1,
            output: Output::default(),
            batch: Batch::new(),
            buffer: vec![0; READ_BUFFER],
            resolver,
            epoch_file,
            literal_peers: peers.addrs,
            drops: [0; 2],
            published: (u64::MAX, Time::ZERO),
            board: None,
            lateness: Lateness::default(),
        };
        if !driver.literal_peers.is_empty() {
            driver.take_peers(&[]);
        }
        Ok(driver)
    }

    /// Shows the node to whoever watches the process.
    pub(crate) fn show_on(&mut self, board: Board) {
        self.board = Some(board);
    }

    /// Who traces this node.
    #[cfg(feature = "tracing")]
    pub(crate) fn teller(&self) -> &Teller {
        &self.teller
    }

    /// Runs until the node has left or stopped.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.started.elapsed();
            let busy = self.sockets.unicast.is_busy()
                || self.sockets.group.as_ref().is_some_and(UdpLane::is_busy)
                || self.has_work();
            let due = self.core.wake_at(now);
            self.lateness.expect(due);
            let wait = if busy { Duration::ZERO } else { due.saturating_sub(now) };
            let wait = self.sockets.disorder.due_in().map_or(wait, |due_in| due_in.min(wait));
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    let reason = StopReason::Driver(error.to_string());
                    note!(self.teller.tell_stop(&reason));
                    self.shared.stop(reason);
                    return;
                }
                _ => {}
            }
            for event in &events {
                self.note(event);
            }
            for (step, reply) in self.shared.key_changes.take() {
                let outcome = self.core.change_keys(&step);
                if let Some(board) = self.board.as_ref().filter(|_| outcome.is_ok()) {
                    board.keys_changed(&step);
                }
                note!(self.teller.tell_key(&step, outcome.is_ok()));
                // Who asked may have given up waiting.
                let _ = reply.send(outcome);
            }
            if let Some(handover) = self.shared.wants_to_leave() {
                self.handle(Input::Leave { handover });
            }
            for (id, until) in self.shared.take_barriers() {
                self.handle(Input::Barrier { id, until });
            }
            if let Some(until) =
                self.board.as_mut().and_then(|board| board.probe(self.started.elapsed(), &self.core))
            {
                self.handle(Input::Barrier { id: PROBE, until });
            }
            for (id, of, until) in self.shared.evictions.take() {
                self.handle(Input::Evict { id, of, until });
            }
            if let Some((found, failures)) = self.resolver.as_ref().and_then(Resolver::take) {
                self.core.count_failed_lookups(failures);
                self.take_peers(&found);
            }
            self.read_datagrams();
            self.take_late();
            self.turn_connections();
            // Changes of the tracker and deadlines, whichever woke this turn.
            self.handle(Input::Turn);
            self.publish();
            if matches!(self.core.phase(), Phase::Left | Phase::Stopped(_)) {
                self.show();
                note!(self.teller.tell_end(self.core.phase()));
                return;
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event.token() {
            GROUP => {
                if let Some(group) = &mut self.sockets.group {
                    group.readable = true;
                }
            }
            UNICAST => self.sockets.unicast.readable = true,
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
        let late = self.lateness.of(now);
        if let (Some(board), Some(late)) = (&self.board, late) {
            board.late(late);
        }
        self.core.handle(now, input, &mut self.output);
        self.keep_epoch();
        // At once, so that whoever sees the entries of a new life finds its member, too.
        if self.published.0 != self.core.version() {
            self.published.0 = self.core.version();
            self.shared.publish(&self.core);
        }
        note!(self.teller.tell(&mut self.core, now, &self.output.notices));
        self.perform();
    }

    /// Writes down the epoch of a life that begins, before anybody hears of it. Without that the node does not go on.
    fn keep_epoch(&mut self) {
        let (Some(epoch), Some(file)) = (self.output.epoch.take(), &self.epoch_file) else {
            return;
        };
        if let Err(error) = file.keep(epoch) {
            let (path, why) = (file.path().to_owned(), error.to_string());
            self.output = Output::default();
            self.core.stop(StopReason::EpochNotKept { path, why });
        }
    }

    /// Lets the core know where it may find peers: the addresses given, and what names resolve to now.
    fn take_peers(&mut self, found: &[SocketAddr]) {
        let mut peers = [&self.literal_peers, found].concat();
        peers.retain(|peer| peer.is_ipv4() == self.sockets.local.is_ipv4());
        self.handle(Input::Peers(&peers));
    }

    fn read_datagrams(&mut self) {
        let mut batch = std::mem::replace(&mut self.batch, Batch::empty());
        let mut count = 0;
        while count < DATAGRAMS_PER_TURN {
            // Turn about: a flood on the group does not keep a repair waiting.
            let alone =
                self.sockets.unicast.readable && self.sockets.unicast.receive(&mut batch) == Received::Some;
            if alone {
                count += self.take_batch(&batch, false);
            }
            let group = self.sockets.group.as_mut().filter(|group| group.readable);
            let by_group = group.is_some_and(|group| group.receive(&mut batch) == Received::Some);
            if by_group {
                count += self.take_batch(&batch, true);
            }
            if !alone && !by_group {
                break;
            }
        }
        self.batch = batch;
    }

    fn take_batch(&mut self, batch: &Batch, by_group: bool) -> usize {
        let mut count = 0;
        for (from, bytes) in batch.datagrams() {
            if self.sockets.disorder.keeps(from, bytes, by_group) {
                count += 1;
                continue;
            }
            let before = self.board.as_ref().map(|_| Instant::now());
            self.handle(Input::Datagram { from, bytes, by_group });
            if let (Some(board), Some(before)) = (&self.board, before) {
                board.applied(before.elapsed());
            }
            count += 1;
        }
        count
    }

    fn take_late(&mut self) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some(late) = self.sockets.disorder.due() else {
                return;
            };
            self.handle(Input::Datagram { from: late.from, bytes: &late.bytes, by_group: late.by_group });
        }
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
                    let open = self.connections.get_mut(&token);
                    if let Some(connection) = open.filter(|connection| connection.wants_more()) {
                        // It sends when it has something and may: it is not asked again until then.
                        connection.was_asked = true;
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
        if let Some(board) = &mut self.board {
            board.take(self.started.elapsed(), &mut self.output);
        }
        self.shared.tell(&mut self.output);
        let datagrams = std::mem::take(&mut self.output.datagrams);
        for run in datagrams.chunk_by(|(a, _), (b, _)| a == b) {
            let bytes = || run.iter().map(|(_, bytes)| bytes.as_slice());
            // Whatever the reason (a full buffer, a peer that is gone), a datagram not sent is one lost.
            let mut unsent = 0;
            match run[0].0 {
                Target::Node(to) => unsent += self.sockets.unicast.send(to, bytes()),
                Target::Group => {
                    if self.core.multicasts() {
                        unsent += self.sockets.unicast.send(self.sockets.group_addr, bytes());
                    }
                    for &to in self.core.fan_out() {
                        unsent += self.sockets.unicast.send(to, bytes());
                    }
                }
            }
            self.core.count_send_errors(unsent);
        }
        // Its room is used again.
        self.output.datagrams = datagrams;
        self.output.datagrams.clear();
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
                StreamAction::Greet(bytes) => connection.greet(bytes),
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
        let may = !self.sockets.disorder.refuses(to);
        let connected = may && TcpStream::connect(to).is_ok_and(|stream| self.register(id, stream));
        if !connected {
            self.handle(Input::Stream(id, StreamInput::Closed));
            return;
        }
        if let Some(connection) = self.connections.values_mut().next_back() {
            connection.send(first);
        }
    }

    fn count_receive_trouble(&mut self) {
        let group = self.sockets.group.as_mut();
        let (errors_group, drops_group) =
            group.map_or((0, 0), |group| (group.take_errors(), system::drops(&group.port.socket)));
        let unicast = &mut self.sockets.unicast;
        let now = [drops_group, system::drops(&unicast.port.socket)];
        // The system's numbers begin again after 2^32.
        let drops =
            now.iter().zip(&self.drops).map(|(now, before)| u64::from(now.wrapping_sub(*before))).sum();
        self.drops = now;
        self.core.count_receive_trouble(drops, errors_group + unicast.take_errors());
        if drops > 0 {
            let total = self.core.stats().receive_drops;
            self.handle(Input::Drops { total });
        }
    }

    fn publish(&mut self) {
        let now = self.started.elapsed();
        if now >= self.published.1 + PUBLISH_EVERY {
            self.published = (self.core.version(), now);
            self.count_receive_trouble();
            self.shared.publish(&self.core);
            self.show();
        }
    }

    fn show(&mut self) {
        if let Some(board) = &mut self.board {
            board.show(self.started.elapsed(), &self.core);
        }
    }
}
