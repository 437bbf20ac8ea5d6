//! The world: hosts, virtual time, and what happens next.
//!
//! Everything that is to happen stands in one queue by time and then by the order in which it was planned. Nothing else moves the
//! time, and every choice comes from one seeded generator, so a seed is a run.

use super::ledger::Ledger;
use super::network::Network;
use super::oracle::{Oracle, ProcessId};
use super::process::{Build, Process};
use super::sealing::Sealing;
use super::streams::{PipeEvent, Streams, Told};
use super::trace::{Note, Trace};
use super::versions::{Versions, Worth};
use super::{Breach, Faults};
use crate::core::{Input, Output, Rng, StreamAction, StreamId, Target, Time};
use crate::wire;
use headcount::NodeId;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CLUSTER: u32 = 0xC0FF_EE01;
/// What a stopped process's sockets hold for it.
const BACKLOG_MAX: usize = 4000;
/// Between waking up and running.
const TURN_LAG_MIN: Duration = Duration::from_micros(10);
/// Datagrams kept to be played again.
const CAPTURES_MAX: usize = 256;

/// Something that is to happen.
#[derive(Debug)]
pub(crate) enum Event {
    Turn(ProcessId),
    /// A copy of a datagram comes to a process.
    Datagram {
        to: ProcessId,
        from: SocketAddr,
        bytes: Arc<[u8]>,
        worth: Worth,
        by_group: bool,
    },
    Pipe(u64, PipeEvent),
    Stream(ProcessId, StreamId, Told),
    /// A stopped process goes on.
    Resume(ProcessId),
    Start(usize),
    /// The application of a host has something to do.
    Work(usize),
    /// Something breaks.
    Trouble,
    /// Somebody changes keys.
    Rotate,
}

/// Where a datagram that somebody has kept came from, and what it is.
#[derive(Clone)]
struct Capture {
    from: SocketAddr,
    bytes: Arc<[u8]>,
    worth: Worth,
}

struct Planned {
    at: Time,
    turn: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.turn == other.turn
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest is the greatest: it comes out of the heap first.
        (other.at, other.turn).cmp(&(self.at, self.turn))
    }
}

/// A machine: it has one process at a time, always of the same name.
pub(crate) struct Host {
    pub(crate) build: Build,
    pub(crate) process: Option<Process>,
    pub(crate) paused_until: Option<Time>,
    pub(crate) paused_since: Time,
    pub(crate) backlog: VecDeque<Event>,
    /// The epoch that it has kept, if it keeps them.
    pub(crate) epoch: u32,
    /// It is planned to start again.
    pub(crate) starting: bool,
}

/// See the module's documentation.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) streams: Streams,
    pub(crate) oracle: Oracle,
    /// When anybody heard a node in a session last.
    pub(crate) last_heard: BTreeMap<(NodeId, u64), Time>,
    pub(crate) ledger: Ledger,
    pub(crate) sealing: Sealing,
    pub(crate) versions: Versions,
    captures: Vec<Capture>,
    pub(crate) trace: Trace,
    pub(crate) steps: u64,
    pub(crate) checks: u64,
    pub(crate) operations: u64,
    pub(crate) faults: Faults,
    /// Applications work and things break.
    pub(crate) busy: bool,
    pub(crate) restless: bool,
    /// What is dead after that stays dead.
    pub(crate) starts_until: Time,
    queue: BinaryHeap<Planned>,
    planned: u64,
    /// Process → its host.
    pub(crate) homes: Vec<usize>,
}

impl World {
    pub(crate) fn new(seed: u64, builds: Vec<Build>) -> Self {
        let hosts: Vec<Host> = builds
            .into_iter()
            .map(|build| Host {
                build,
                process: None,
                paused_until: None,
                paused_since: Time::ZERO,
                backlog: VecDeque::new(),
                epoch: 0,
                starting: false,
            })
            .collect();
        Self {
            now: Time::ZERO,
            rng: Rng::new(seed),
            network: Network::new(hosts.len()),
            hosts,
            streams: Streams::default(),
            oracle: Oracle::default(),
            last_heard: BTreeMap::new(),
            ledger: Ledger::default(),
            sealing: Sealing::default(),
            versions: Versions::default(),
            captures: Vec::new(),
            trace: Trace::new(),
            steps: 0,
            checks: 0,
            operations: 0,
            faults: Faults::default(),
            busy: false,
            restless: false,
            starts_until: Time::MAX,
            queue: BinaryHeap::new(),
            planned: 0,
            homes: Vec::new(),
        }
    }

    pub(crate) fn process(&self, id: ProcessId) -> Option<&Process> {
        let host = &self.hosts[*self.homes.get(id)?];
        host.process.as_ref().filter(|process| process.id == id)
    }

    pub(crate) fn process_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        let host = &mut self.hosts[*self.homes.get(id)?];
        host.process.as_mut().filter(|process| process.id == id)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.hosts.iter().filter_map(|host| host.process.as_ref())
    }

    /// The process that accepts streams there.
    pub(crate) fn listener(&self, addr: SocketAddr) -> Option<(ProcessId, usize)> {
        self.processes()
            .find(|process| process.addr.ip() == addr.ip() && process.tcp_port == addr.port())
            .map(|process| (process.id, process.host))
    }

    pub(crate) fn plan(&mut self, after: Duration, event: Event) {
        self.planned += 1;
        self.queue.push(Planned { at: self.now + after, turn: self.planned, event });
    }

    pub(crate) fn say(&mut self, host: usize, words: String) {
        self.trace.note(self.now, host, Note::Say(words));
    }

    /// Lets everything happen that is due within `time`.
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), Breach> {
        let until = self.now + time;
        while self.queue.peek().is_some_and(|next| next.at <= until) {
            let Some(next) = self.queue.pop() else { break };
            self.now = next.at;
            self.happen(next.event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Turn(id) | Event::Datagram { to: id, .. } | Event::Stream(id, ..) => {
                self.deliver(id, event)
            }
            Event::Pipe(pipe, event) => self.on_pipe(pipe, event),
            Event::Resume(id) => self.resume(id),
            Event::Start(host) if self.now > self.starts_until || self.is_name_kept(host) => Ok(()),
            Event::Start(host) => self.start(host),
            Event::Work(host) => self.work(host),
            Event::Trouble => self.trouble(),
            Event::Rotate => self.rotate(),
        }
    }

    /// Whether a process runs under the name of a host, there or elsewhere, and no second one is wanted: the faults have stopped.
    fn is_name_kept(&self, host: usize) -> bool {
        let name = &self.hosts[host].build.name;
        !self.restless && self.hosts.iter().any(|other| other.build.name == *name && other.process.is_some())
    }

    /// Gives something to a process, or keeps it until a stopped one goes on.
    pub(crate) fn deliver(&mut self, id: ProcessId, event: Event) -> Result<(), Breach> {
        let now = self.now;
        let Some(process) = self.process(id) else {
            return Ok(());
        };
        let at = process.host;
        let host = &mut self.hosts[at];
        if host.paused_until.is_some() {
            // Its turn is planned anew when it goes on.
            let room = host.backlog.len() < BACKLOG_MAX || !matches!(event, Event::Datagram { .. });
            if !matches!(event, Event::Turn(_)) && room {
                host.backlog.push_back(event);
            }
            return Ok(());
        }
        match event {
            Event::Turn(_) => {
                let process = host.process.as_mut().filter(|process| process.turn_at == Some(now));
                let Some(process) = process else {
                    return Ok(());
                };
                process.turn_at = None;
                let (untold, total) = (std::mem::take(&mut process.drops_untold), process.drops);
                self.trace.note(now, at, Note::Turn);
                if untold {
                    self.handle(id, Input::Drops { total })?;
                }
                self.handle(id, Input::Turn)
            }
            Event::Datagram { from, bytes, worth, by_group, .. } => {
                if self.network.is_deaf(now, at) || by_group && self.network.misses_group(now, at) {
                    self.network.losses.lost += 1;
                    if let Some(process) = self.process_mut(id) {
                        process.drops += 1;
                        process.drops_untold = true;
                    }
                    return Ok(());
                }
                self.on_datagram(id, from, &bytes, worth, by_group)
            }
            Event::Stream(_, stream, told) => {
                if !self.has_stream(id, stream) {
                    return Ok(());
                }
                if matches!(told, Told::Closed) {
                    self.forget_stream(id, stream);
                }
                self.trace.note(now, at, told.note(stream));
                self.handle(id, Input::Stream(stream, told.input()))
            }
            _ => Ok(()),
        }
    }

    /// One step: a core handles one thing, what it says is done, and everything is checked.
    pub(crate) fn handle(&mut self, id: ProcessId, input: Input<'_>) -> Result<(), Breach> {
        self.steps += 1;
        let now = self.now;
        let Some(process) = self.process_mut(id) else {
            return Ok(());
        };
        let everywhere = matches!(input, Input::Stream(..) | Input::Leave { .. });
        let mut output = Output::default();
        let obeyed = process.core.stats().evictions_obeyed;
        process.core.handle(now - process.started, input, &mut output);
        let obeyed = process.core.stats().evictions_obeyed - obeyed;
        self.record_evicted(id, obeyed)?;
        if let Some(epoch) = output.epoch {
            let host = self.process(id).map_or(0, |process| process.host);
            self.keep_epoch(host, epoch)?;
        }
        for (target, bytes) in output.datagrams {
            self.send(id, target, bytes.into())?;
        }
        for (stream, action) in output.streams {
            let connects = matches!(action, StreamAction::Connect { .. });
            if connects || self.has_stream(id, stream) {
                self.act_on_stream(id, stream, action);
            }
        }
        self.check_step(id, everywhere)?;
        self.check_told(id, &output.notices, &output.barriers)?;
        self.check_evicted(id, &output.evictions)?;
        self.plan_turn(id);
        self.end_if_over(id)
    }

    /// Plans the next turn of a process: when its core wants it, or at once if its tracker has woken it.
    pub(crate) fn plan_turn(&mut self, id: ProcessId) {
        let now = self.now;
        let Some(lag_max) = self.process(id).map(|process| process.lag_max) else {
            return;
        };
        let lag = TURN_LAG_MIN + self.rng.time_below(lag_max);
        let Some(process) = self.process_mut(id) else {
            return;
        };
        let wake = process.core.wake_at(now - process.started);
        let woken = process.take_wake();
        let Some(wake) = process.started.checked_add(wake).filter(|&at| at < Time::MAX) else {
            return;
        };
        // What is due already comes at once, so that a core that is never content is seen to spin.
        let at = if wake > now && !woken { wake + lag } else { now + TURN_LAG_MIN };
        if process.turn_at.is_none_or(|planned| at < planned) {
            process.turn_at = Some(at);
            self.plan(at - now, Event::Turn(id));
        }
    }

    fn send(&mut self, from: ProcessId, target: Target, bytes: Arc<[u8]>) -> Result<(), Breach> {
        let Some(host) = self.process(from).map(|process| process.host) else {
            return Ok(());
        };
        self.note_sent(from, target, &bytes)?;
        if self.network.refuses(&mut self.rng, self.now, host) {
            self.faults.unsent += 1;
            if let Some(process) = self.process_mut(from) {
                process.core.count_send_errors(1);
            }
            return Ok(());
        }
        let (bytes, worth) = self.as_sent(host, &bytes);
        self.capture(from, &bytes, worth);
        self.spread(from, target, &bytes, worth);
        self.say_something_strange(from, target)
    }

    /// Writes down what a core says.
    pub(super) fn note_sent(&mut self, from: ProcessId, target: Target, bytes: &[u8]) -> Result<(), Breach> {
        let life = self.process(from).map(|process| process.core.incarnation()).unwrap_or_default();
        self.trace.mix(bytes);
        self.ledger.note_sent(self.now, from, life, (target, bytes))
    }

    /// Lets the copies of a datagram set out.
    pub(super) fn spread(&mut self, from: ProcessId, target: Target, bytes: &Arc<[u8]>, worth: Worth) {
        let Some(process) = self.process(from) else {
            return;
        };
        let (host, addr) = (process.host, process.addr);
        let alone = match target {
            Target::Group => process.core.fan_out().to_vec(),
            Target::Node(to) => vec![to],
        };
        if target == Target::Group && process.core.multicasts() {
            let lost_to_all = self.network.loses_to_all(&mut self.rng);
            let receivers: Vec<_> = self.processes().map(|process| (process.id, process.host)).collect();
            for (to, to_host) in receivers {
                if to == from {
                    // Its own copy never leaves the host.
                    let (from, bytes) = (addr, Arc::clone(bytes));
                    self.plan(
                        Duration::from_micros(5),
                        Event::Datagram { to, from, bytes, worth, by_group: true },
                    );
                } else if !lost_to_all {
                    self.send_copies((host, addr), (to, to_host), (bytes, worth), true);
                }
            }
        }
        for to in alone {
            let found = self.processes().find(|process| process.addr == to);
            if let Some(to) = found.map(|process| (process.id, process.host)) {
                self.send_copies((host, addr), to, (bytes, worth), false);
            }
        }
    }

    fn send_copies(
        &mut self,
        (host, from): (usize, SocketAddr),
        (to, to_host): (ProcessId, usize),
        (bytes, worth): (&Arc<[u8]>, Worth),
        by_group: bool,
    ) {
        for copy in self.network.copies(&mut self.rng, self.now, host, to_host) {
            let bytes = copy.damage.map_or_else(|| Arc::clone(bytes), |damage| damage.apply(bytes).into());
            let worth = if copy.damage.is_some() { Worth::Damaged } else { worth };
            self.plan(copy.after, Event::Datagram { to, from, bytes, worth, by_group });
        }
    }

    /// Somebody on the network keeps what it hears, sends some of it again at any time, and sends nonsense.
    fn capture(&mut self, from: ProcessId, bytes: &Arc<[u8]>, worth: Worth) {
        let Some(from) = self.process(from).map(|process| process.addr) else {
            return;
        };
        if self.network.makes_garbage(&mut self.rng) {
            let random = |rng: &mut Rng| rng.next().to_le_bytes();
            let mut garbage: Vec<u8> = (0..self.rng.below(200)).flat_map(|_| random(&mut self.rng)).collect();
            if self.rng.below(2) == 0 {
                // As far as the header it is one of ours.
                let len = garbage.len().min(wire::HEADER_LEN);
                garbage[..len].copy_from_slice(&bytes[..len]);
            }
            self.faults.garbage += 1;
            let garbage = Capture { from, bytes: garbage.into(), worth: Worth::Damaged };
            self.send_to_somebody(garbage);
        }
        if self.network.weather.replay == 0 {
            return;
        }
        if self.network.replays(&mut self.rng) && !self.captures.is_empty() {
            let which = self.rng.below(self.captures.len() as u64);
            let which = usize::try_from(which).unwrap_or_default();
            let capture = self.captures[which].clone();
            self.faults.replayed += 1;
            self.send_to_somebody(capture);
        }
        let capture = Capture { from, bytes: Arc::clone(bytes), worth };
        if self.captures.len() < CAPTURES_MAX {
            self.captures.push(capture);
        } else if self.rng.below(8) == 0 {
            let which = usize::try_from(self.rng.below(CAPTURES_MAX as u64)).unwrap_or_default();
            self.captures[which] = capture;
        }
    }

    /// Lets a datagram come to some process, one of the name that it carries included: nobody gives way to its own past.
    fn send_to_somebody(&mut self, capture: Capture) {
        let some: Vec<_> = self.processes().map(|process| process.id).collect();
        if some.is_empty() {
            return;
        }
        let to = some[usize::try_from(self.rng.below(some.len() as u64)).unwrap_or_default()];
        let after = Duration::from_micros(20) + self.rng.time_below(Duration::from_millis(5));
        let Capture { from, bytes, worth } = capture;
        self.plan(after, Event::Datagram { to, from, bytes, worth, by_group: false });
    }
}
