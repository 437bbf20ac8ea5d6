//! The event loop: one thread, one poll, every client.
//!
//! Each round takes what the sockets, the watches and the clock report and turns it into connections that have something
//! to do; then each of them gets one turn of bounded length. A connection that has more to do goes to the end of the
//! queue; one with events to push goes to its front, because a watcher waits for a change and not for an answer.

use super::bell::BellQueue;
use super::connection::{Connection, Turn};
use super::host::Host;
use super::membership::{self, Membership};
use crate::error::Error;
use crate::ui;
use headcount_net::Status;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use socket2::{SockRef, TcpKeepalive};
use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LISTENER: Token = Token(0);
pub(crate) const WAKER: Token = Token(1);
/// The first token of a connection; its slot is added.
const FIRST: usize = 2;

const EVENTS_MAX: usize = 1024;
const READ_LEN: usize = 64 * 1024;
/// Connections accepted in one round.
const ACCEPTS: usize = 256;
/// Turns in one round beside those of the connections that were in the queue when it began.
const EXTRA_TURNS: usize = 256;
/// How long accepting rests after the system had no more descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often such an error is logged at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);
/// How long a client that sends no more may take nothing of what is left for it.
const LINGER: Duration = Duration::from_secs(10);
/// After so long a silence the system asks whether a client's machine is there, so often, and so many times.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
/// How often the cluster's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    host: Host,
    bells: BellQueue,
    membership: Membership,
    stop: Arc<AtomicBool>,
    connections_max: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots of connections that have something to do.
    runnable: VecDeque<usize>,
    /// Closing connections and when to look whether they got on; soonest first.
    lingering: VecDeque<Lingering>,
    accept_at: Option<Instant>,
    complained_at: Option<Instant>,
}

/// A place for a connection. Its number is part of the token.
#[derive(Debug, Default)]
struct Slot {
    connection: Option<Box<Connection>>,
    /// How many connections had this place: tells a deadline of an earlier one.
    tenant: u64,
    queued: bool,
    lingers: bool,
}

#[derive(Debug)]
struct Lingering {
    at: Instant,
    slot: usize,
    tenant: u64,
    sent_total: u64,
}

/// What a server is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) poll: Poll,
    pub(crate) listener: TcpListener,
    pub(crate) host: Host,
    pub(crate) bells: BellQueue,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) connections_max: usize,
    pub(crate) quiet: bool,
}

impl Server {
    pub(crate) fn new(parts: Parts) -> Result<Self, Error> {
        let Parts { poll, mut listener, host, bells, stop, connections_max, quiet } = parts;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .map_err(Error::system("cannot watch the clients' port"))?;
        let membership = Membership::new(&host, quiet);
        Ok(Self {
            poll,
            listener,
            host,
            bells,
            membership,
            stop,
            connections_max,
            slots: Vec::new(),
            free: Vec::new(),
            runnable: VecDeque::new(),
            lingering: VecDeque::new(),
            accept_at: None,
            complained_at: None,
        })
    }

    /// Serves until it is told to stop, or the cluster stops.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        let outcome = self.serve();
        // Goodbye first, in one message for everything; the sessions that end with `self` have nobody to tell then.
        self.host.cluster.leave();
        outcome
    }

    fn serve(&mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut scratch = vec![0; READ_LEN];
        let mut look_at = Instant::now();
        self.membership.begin(&mut self.host);
        // Relaxed: the flag carries nothing but itself.
        while !self.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(self.wait(look_at))) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::system("cannot wait for clients")(error)),
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_at = Some(Instant::now()),
                    WAKER => {}
                    Token(token) => self.socket_ready(token - FIRST, event),
                }
            }
            self.take_bells();
            self.run_turns(&mut scratch);

            let now = Instant::now();
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept(now);
            }
            self.drop_lingering(now);
            if look_at <= now {
                self.check_cluster()?;
                look_at = now + LOOK_EVERY;
            }
        }
        Ok(())
    }

    /// How long nothing needs to be done if nothing happens.
    fn wait(&self, look_at: Instant) -> Duration {
        if !self.runnable.is_empty() {
            return Duration::ZERO;
        }
        let lingering = self.lingering.front().map(|lingering| lingering.at);
        let next = [self.accept_at, lingering].into_iter().flatten().fold(look_at, Instant::min);
        next.saturating_duration_since(Instant::now())
    }

    fn socket_ready(&mut self, slot: usize, event: &mio::event::Event) {
        let Some(Slot { connection: Some(connection), .. }) = self.slots.get_mut(slot) else { return };
        // An error is found out by reading, or by writing, whichever comes first.
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let writable = event.is_writable() || event.is_write_closed() || event.is_error();
        connection.set_ready(readable, writable);
        if event.is_error() || (event.is_write_closed() && event.is_read_closed()) {
            // Reset: nobody is there to answer, and a connection that waits for its client to read would never know.
            self.close(slot);
            return;
        }
        if event.is_read_closed() {
            self.linger(slot);
        }
        self.enqueue(slot, false);
    }

    fn enqueue(&mut self, slot: usize, first: bool) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        if std::mem::replace(&mut place.queued, true) {
            return;
        }
        if first {
            self.runnable.push_front(slot);
        } else {
            self.runnable.push_back(slot);
        }
    }

    fn take_bells(&mut self) {
        // Collected, because a connection is needed for each; there are few between two turns.
        let rung: Vec<_> = self.bells.take_all().collect();
        for address in rung {
            if address.slot == membership::SLOT {
                self.membership.catch_up(&mut self.host);
                continue;
            }
            let place = self.slots.get_mut(address.slot);
            let Some(Slot { connection: Some(connection), .. }) = place else { continue };
            if connection.rang(address.watch) {
                self.enqueue(address.slot, true);
            }
        }
    }

    /// One turn for everybody who is in the queue now, and for watchers that are rung in between. What is left over
    /// (other nodes can ring watchers without end) waits until the sockets were looked at again.
    fn run_turns(&mut self, scratch: &mut [u8]) {
        let mut again = Vec::new();
        for _ in 0..self.runnable.len() + EXTRA_TURNS {
            let Some(slot) = self.runnable.pop_front() else { break };
            let Some(place) = self.slots.get_mut(slot) else { continue };
            place.queued = false;
            let Some(connection) = &mut place.connection else { continue };
            match connection.turn(&mut self.host, scratch) {
                Turn::Idle if connection.is_closing() => self.linger(slot),
                Turn::Idle => {}
                Turn::More => again.push(slot),
                Turn::Over => self.close(slot),
            }
            self.take_bells();
        }
        for slot in again {
            self.enqueue(slot, false);
        }
    }

    fn accept(&mut self, now: Instant) {
        self.accept_at = None;
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((socket, _)) => self.welcome(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client gave up before it was its turn.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    // Out of descriptors or memory. The listener will not report these clients again, so the clock does.
                    self.host.clients.accept_errors.add(1);
                    self.host.tracker.counters().count_error(&format!("cannot accept clients: {error}"), 1);
                    self.accept_at = Some(now + ACCEPT_REST);
                    if self.complained_at.is_none_or(|at| now - at >= COMPLAIN_EVERY) {
                        self.complained_at = Some(now);
                        ui::note(&format!("cannot accept clients: {error}; raise the limit (ulimit -n)"));
                    }
                    return;
                }
            }
        }
        self.accept_at = Some(now);
    }

    fn welcome(&mut self, mut socket: mio::net::TcpStream) {
        if self.slots.len() - self.free.len() >= self.connections_max {
            self.host.clients.turned_away.add(1);
            let max = self.connections_max;
            let text = format!("ERR too-many-connections this node serves {max} at most; try another node\n");
            // As much as the new socket takes; it is closed either way.
            let _ = socket.write(text.as_bytes());
            return;
        }
        // Events are small and somebody waits for each.
        let _ = socket.set_nodelay(true);
        // A client whose machine is gone says nothing, but it is not present any more.
        let keepalive =
            TcpKeepalive::new().with_time(SILENCE_MAX).with_interval(PROBE_EVERY).with_retries(PROBES);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let mut connection = Box::new(Connection::new(socket, slot, &self.host));
        let registered = self.poll.registry().register(
            connection.socket(),
            Token(FIRST + slot),
            Interest::READABLE | Interest::WRITABLE,
        );
        let place = &mut self.slots[slot];
        place.tenant += 1;
        place.lingers = false;
        if registered.is_err() {
            self.free.push(slot);
            return;
        }
        place.connection = Some(connection);
        self.host.clients.connections.add(1);
        self.host.clients.accepted.add(1);
        self.enqueue(slot, false);
    }

    /// Drops the connection, and with it its session: its entries leave.
    fn close(&mut self, slot: usize) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        if let Some(mut connection) = place.connection.take() {
            let _ = self.poll.registry().deregister(connection.socket());
            self.free.push(slot);
            let connections = &self.host.clients.connections;
            connections.set(connections.get().saturating_sub(1));
            // Whoever waits for a descriptor may have this one.
            if self.accept_at.is_some() {
                self.accept_at = Some(Instant::now());
            }
        }
    }

    /// Remembers to look later whether a closing connection gets on.
    fn linger(&mut self, slot: usize) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        let Some(connection) = &place.connection else { return };
        if !std::mem::replace(&mut place.lingers, true) {
            let at = Instant::now() + LINGER;
            let (tenant, sent_total) = (place.tenant, connection.sent_total());
            self.lingering.push_back(Lingering { at, slot, tenant, sent_total });
        }
    }

    fn drop_lingering(&mut self, now: Instant) {
        while self.lingering.front().is_some_and(|lingering| lingering.at <= now) {
            let Some(lingering) = self.lingering.pop_front() else { return };
            let Some(place) = self.slots.get_mut(lingering.slot) else { continue };
            let Some(connection) = &place.connection else { continue };
            if place.tenant != lingering.tenant {
                continue;
            }
            if connection.sent_total() == lingering.sent_total {
                self.close(lingering.slot);
            } else {
                place.lingers = false;
                self.linger(lingering.slot);
            }
        }
    }

    fn check_cluster(&self) -> Result<(), Error> {
        match self.host.cluster.status() {
            Status::Stopped(reason) => Err(Error::Cluster(format!("the cluster was lost: {reason}"))),
            _ => Ok(()),
        }
    }
}
