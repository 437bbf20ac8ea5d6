//! The protocol as a pure state machine: [`Core::handle`] takes what happened and the time, and says what to send.
//!
//! It reads no clock, opens no socket, starts no thread, takes its randomness as a seed and never depends on the order of a hash
//! map, so a simulator can run many of them on virtual time and repeat a run exactly. The tracker is its only other
//! party: local changes are read from it, remote ones applied to it.

mod askers;
#[cfg(any(test, feature = "sim"))]
mod audit;
mod barrier;
mod bucket;
mod budget;
mod contacts;
mod detector;
mod encoded;
mod evict;
mod fallback;
#[cfg(test)]
mod few;
#[cfg(test)]
mod flood_tests;
mod gate;
#[cfg(test)]
mod goodbye_tests;
mod io;
mod keyring;
mod limits;
mod liveness;
mod member;
#[cfg(test)]
mod mending_tests;
#[cfg(feature = "tracing")]
mod notes;
mod receive;
mod relay;
mod repair;
mod ring;
mod rng;
mod sealed_stream;
#[cfg(test)]
mod security_tests;
mod send;
mod serve;
mod shown;
mod stranger;
#[cfg(test)]
mod stumble_tests;
mod transfer;
mod window;

pub(crate) use gate::{Budget, Security};
pub use io::Notice;
pub(crate) use io::{
    BarrierOutcome, EvictOutcome, Input, Measure, Mode, Output, Phase, StreamAction, StreamId, StreamInput,
    Target, Time,
};
pub(crate) use keyring::KeyStep;
pub(crate) use limits::{Limits, SEND_BYTES_PER_S};
pub use member::MemberState;
#[cfg(feature = "tracing")]
pub(crate) use notes::{Ended, Note, Transfer, Turn};
#[cfg(all(test, feature = "tracing"))]
pub(crate) use notes::{Peer, Repairs};
pub(crate) use rng::Rng;
pub(crate) use shown::PeerShown;

use crate::config::Timing;
use crate::crypto::SenderId;
use crate::error::StopReason;
use crate::stats::NetStats;
use crate::wire;
use headcount::replica::Replica;
use headcount::{Incarnation, NodeId, Tracker};
use member::Member;
use ring::Ring;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Goodbyes that are remembered, so that a datagram overtaken by one does not bring its node back.
const FAREWELLS_MAX: usize = 1024;
/// Those of one node.
const FAREWELLS_PER_NODE: usize = 8;
/// When a starting node's announcements go out, after its start and after it goes live.
const ANNOUNCE_AT: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(150)];
/// Entries of dead lives purged in one go.
const PURGE_SLICE: usize = 2048;
/// While lanes are read, what they keep is not freed: there is nothing to be gained from looking all the time.
const PURGE_PAUSE: Duration = Duration::from_millis(5);

/// What a core is made with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cluster: u32,
    pub(crate) name: String,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    /// Where this node's snapshots are to be had, at the address its datagrams come from.
    pub(crate) tcp_port: u16,
    /// The receive buffer that the system granted, for the statistics.
    pub(crate) receive_buffer: u64,
    pub(crate) seed: u64,
    pub(crate) security: Security,
    pub(crate) mode: Mode,
    /// The epoch of this node's last life, if it keeps that; 0 if not.
    pub(crate) epoch: u32,
    /// The longest datagram to send.
    pub(crate) datagram_max: usize,
    /// Somebody takes [`Output::measures`].
    pub(crate) watched: bool,
    /// Whether entries are removed because another node asks for it.
    pub(crate) obey_evictions: bool,
}

#[cfg(any(test, feature = "sim"))]
impl Settings {
    /// The defaults, in clear and by multicast, for who plays a node without sockets.
    pub(crate) fn plain(cluster: u32, name: &str, seed: u64) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
            timing: Timing::default(),
            limits: Limits::default(),
            tcp_port: 1,
            receive_buffer: 0,
            seed,
            security: Security::clear(seed),
            mode: Mode::Multicast,
            epoch: 0,
            datagram_max: wire::DATAGRAM_MAX,
            watched: false,
            obey_evictions: false,
        }
    }
}

/// One node's protocol.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    node: NodeId,
    replica: Replica,
    rng: Rng,
    phase: Phase,
    incarnation: Incarnation,
    session: u64,
    packet: u64,
    /// The highest life of this node that anybody has told of.
    highest: Incarnation,
    members: BTreeMap<NodeId, Member>,
    farewells: VecDeque<(NodeId, Incarnation)>,
    /// When unknown nodes were last asked who they are.
    asked: BTreeMap<NodeId, Time>,
    own: send::OwnLanes,
    ring: Ring,
    fetches: BTreeMap<StreamId, transfer::Fetch>,
    serves: BTreeMap<StreamId, serve::Serve>,
    /// Who was given a portion last.
    served: StreamId,
    encodings: encoded::Encodings,
    /// The budget for what is given over streams.
    bulk: bucket::Bucket,
    /// The budget for datagrams.
    budget: budget::SendBudget,
    next_stream: u64,
    /// Announcements left, and when the next is due.
    announce: VecDeque<Time>,
    heartbeat_at: Time,
    heartbeats: u64,
    last_handled: Time,
    /// When the driver was told to come back.
    planned: Time,
    /// No member and no stream has a deadline before this.
    alarm: Time,
    /// Members by what their sessions are called in reports.
    sessions: BTreeMap<u32, NodeId>,
    hearing: liveness::Hearing,
    barriers: barrier::Barriers,
    evictions: evict::Evictions,
    stats: NetStats,
    /// For [`Output::measures`].
    measures: Vec<io::Measure>,
    /// Counts the changes of what [`members`](Self::members) shows, but for ages.
    version: u64,
    purging: bool,
    gate: gate::Gate,
    /// While something that came is handled: the node that has been shown to say it.
    speaking: Option<NodeId>,
    sealed_streams: BTreeMap<StreamId, sealed_stream::SealedStream>,
    /// When this node last took a higher life because it was told to.
    jumped_at: Option<Time>,
    /// For how long its entries are to stay listed when it leaves.
    handover: Duration,
    contacts: contacts::Contacts,
    fallback: fallback::Fallback,
    #[cfg(feature = "tracing")]
    notes: notes::Notes,
}

/// A member, for the application.
#[derive(Clone, Debug)]
pub(crate) struct MemberView {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: MemberState,
    pub(crate) synced: bool,
    pub(crate) addr: SocketAddr,
    pub(crate) heard: Time,
    pub(crate) lanes: u16,
}

impl Core {
    pub(crate) fn new(settings: Settings, tracker: &Tracker, now: Time) -> Self {
        let replica = tracker.replica();
        let mut rng = Rng::new(settings.seed);
        let lanes = replica.lanes();
        let session = rng.next();
        let node = NodeId::from_name(&settings.name);
        let gate = gate::Gate::new(&settings.security, SenderId { node: node.0, session });
        Self {
            node,
            phase: Phase::Listening { until: now + settings.timing.listen },
            incarnation: Incarnation::default(),
            session,
            packet: 0,
            highest: Incarnation { epoch: settings.epoch, nonce: 0 },
            members: BTreeMap::new(),
            farewells: VecDeque::new(),
            asked: BTreeMap::new(),
            own: send::OwnLanes::new(lanes),
            ring: Ring::new(lanes, &settings.limits),
            fetches: BTreeMap::new(),
            serves: BTreeMap::new(),
            served: StreamId(0),
            encodings: encoded::Encodings::new(settings.limits.shared_bytes),
            bulk: bucket::Bucket::new(settings.limits.bulk_bytes_per_s, settings.limits.bulk_burst),
            budget: budget::SendBudget::new(settings.limits.send_bytes_per_s),
            next_stream: 0,
            announce: ANNOUNCE_AT.iter().map(|&after| now + after).collect(),
            heartbeat_at: Time::MAX,
            heartbeats: 0,
            last_handled: now,
            planned: Time::MAX,
            alarm: Time::ZERO,
            sessions: BTreeMap::new(),
            hearing: liveness::Hearing::default(),
            barriers: barrier::Barriers::default(),
            evictions: evict::Evictions::default(),
            stats: NetStats { receive_buffer_bytes: settings.receive_buffer, ..NetStats::default() },
            measures: Vec::new(),
            version: 0,
            purging: false,
            gate,
            speaking: None,
            sealed_streams: BTreeMap::new(),
            jumped_at: None,
            handover: Duration::ZERO,
            contacts: contacts::Contacts::default(),
            fallback: fallback::Fallback::default(),
            #[cfg(feature = "tracing")]
            notes: notes::Notes::default(),
            replica,
            rng,
            settings,
        }
    }

    /// Takes one thing that happened at `now`, which never goes back, and adds to `out` what is to be done.
    pub(crate) fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Output) {
        self.note_pause(now);
        let streams_before = out.streams.len();
        match input {
            Input::Datagram { from, bytes, by_group } => {
                self.guarded(now, None, out, |core, out| core.on_datagram(now, from, bytes, by_group, out));
            }
            Input::Turn => self.look_at_own_lanes(now),
            Input::Leave { handover } => self.begin_to_leave(now, handover, out),
            Input::Stream(id, input) => {
                self.guarded(now, Some(id), out, |core, out| core.on_any_stream(now, id, input, out));
                self.alarm = now;
            }
            Input::Barrier { id, until } => self.begin_barrier(now, id, until, out),
            Input::Evict { id, of, until } => self.begin_evict(now, (id, of), until, out),
            Input::Drops { total } => self.hearing.strain.dropped(now, total),
            Input::Peers(seeds) => self.set_seeds(now, seeds),
        }
        self.tick(now, out);
        self.seal_streams(out, streams_before);
        self.refresh_fan_out(now);
        out.measures.append(&mut self.measures);
        self.planned = self.wake_at(now);
    }

    /// Does whatever is due.
    fn tick(&mut self, now: Time, out: &mut Output) {
        match self.phase {
            Phase::Listening { until } => {
                self.announce_if_due(now, out);
                self.drive_contacts(now, out);
                if now >= until {
                    self.go_live(now, out);
                    note!(self.note_live());
                }
            }
            Phase::Live => {
                self.announce_if_due(now, out);
                if now >= self.heartbeat_at {
                    // Digests are of lanes that are told to their end.
                    self.own.hasten(now);
                }
                self.flush_if_due(now, out);
                self.heartbeat_if_due(now, out);
                self.drive_contacts(now, out);
                self.drive_fallback(now, out);
            }
            Phase::Leaving { farewells_left, next_at } => {
                if now >= next_at {
                    self.say_goodbye(now, farewells_left, out);
                }
            }
            Phase::Left | Phase::Stopped(_) => {
                self.fail_barriers(out);
                self.fail_evictions(out);
                return;
            }
        }
        if now >= self.alarm {
            self.judge_members(now, out);
            self.ask_for_repairs(now, out);
            self.drive_relays(now, out);
            self.drive_transfers(now, out);
            self.set_alarm(now);
        }
        self.repair_if_due(now, out);
        self.drive_serves(now, out);
        self.drive_barriers(now, out);
        self.drive_evictions(now, out);
        if self.purging {
            self.purging = self.replica.maintain(PURGE_SLICE);
        }
    }

    /// When something is due next, if nothing happens before.
    pub(crate) fn wake_at(&self, now: Time) -> Time {
        let mut at = match self.phase {
            Phase::Listening { until } => until.min(self.contacts.due_at()),
            Phase::Live => self.heartbeat_at.min(self.own.due_at()).min(self.contacts.due_at()),
            Phase::Leaving { next_at, .. } => next_at,
            Phase::Left | Phase::Stopped(_) => return Time::MAX,
        };
        if let Some(&announce) = self.announce.front() {
            at = at.min(announce);
        }
        at = at.min(self.alarm).min(self.barriers.due_at()).min(self.serves_due_at());
        at = at.min(self.repairs_due_at()).min(self.evictions.due_at());
        match self.purging {
            true if self.encodings.reads_any() => at.min(now + PURGE_PAUSE),
            true => now,
            false => at,
        }
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// This node's name and its cluster's.
    #[cfg(feature = "tracing")]
    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.settings.name, &self.settings.security.cluster)
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn stats(&self) -> NetStats {
        NetStats { send_budget: self.budget.rate(), ..self.stats }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn members(&self) -> Vec<MemberView> {
        let view = |member: &Member| MemberView {
            node: member.node,
            name: member.name.clone(),
            incarnation: member.incarnation,
            state: if member.leaves_at.is_some() { MemberState::Leaving } else { member.state },
            synced: member.is_synced() && !member.hidden,
            addr: member.addr,
            heard: member.heard,
            lanes: u16::try_from(member.lanes.len()).unwrap_or(u16::MAX),
        };
        self.members.values().map(view).collect()
    }

    /// For how long the others have been out of hearing, all or most of them at once.
    pub(crate) fn stale_since(&self) -> Option<Time> {
        self.hearing.isolation.map(|isolation| isolation.since)
    }

    /// How much longer than configured silence is borne, in thousandths.
    pub(crate) fn strain(&self, now: Time) -> u32 {
        self.hearing.strain.level(now)
    }

    fn announce_if_due(&mut self, now: Time, out: &mut Output) {
        if self.announce.front().is_some_and(|&at| now >= at) {
            self.announce.pop_front();
            self.send_hello(Target::Group, NodeId(0), true, out);
        }
    }

    /// Takes an incarnation above everything heard, and begins to speak.
    fn go_live(&mut self, now: Time, out: &mut Output) {
        self.take_incarnation();
        out.epoch = Some(self.incarnation.epoch);
        self.phase = Phase::Live;
        self.announce = ANNOUNCE_AT.iter().map(|&after| now + after).collect();
        self.own.restart(&self.replica);
        self.contacts.start_over(now);
        self.announce_if_due(now, out);
        self.heartbeat_at = now;
        self.version += 1;
        self.look_at_own_lanes(now);
    }

    fn take_incarnation(&mut self) {
        #[expect(clippy::cast_possible_truncation, reason = "32 random bits are wanted")]
        let nonce = self.rng.next() as u32;
        let step = u32::from(!planted!(EpochReused) || self.highest.epoch == 0);
        self.incarnation = Incarnation { epoch: self.highest.epoch.saturating_add(step), nonce };
        self.replica.set_identity(self.node, &self.settings.name, self.incarnation);
    }

    /// Somebody knows a higher life of this node than the one it lives: it takes one above that and begins again.
    fn jump_above(&mut self, now: Time, highest: Incarnation, out: &mut Output) {
        let is_above = highest > self.incarnation && !planted!(JumpIgnored);
        if self.phase != Phase::Live || !is_above || !self.may_jump(now, highest) {
            return;
        }
        self.stats.incarnation_jumps += 1;
        self.highest = highest;
        if !planted!(SessionKept) {
            self.session = self.rng.next();
        }
        self.packet = 0;
        if let Some(keys) = &mut self.gate.keys {
            keys.restart(SenderId { node: self.node.0, session: self.session });
        }
        self.ring = Ring::new(self.replica.lanes(), &self.settings.limits);
        self.restart_barriers(now);
        self.go_live(now, out);
        note!(self.note_jumped(highest));
    }

    /// Another process speaks as this node.
    fn meet_myself(&mut self, from: SocketAddr) {
        self.stop(StopReason::DuplicateNode { name: self.settings.name.clone(), other: from });
    }

    /// Ends everything: somebody else has the name, or the driver cannot do what it must.
    pub(crate) fn stop(&mut self, reason: StopReason) {
        self.forget_everybody();
        self.phase = Phase::Stopped(reason);
        self.version += 1;
    }

    /// Empties the view of other nodes: nobody keeps it up to date any more.
    fn forget_everybody(&mut self) {
        for &node in self.members.keys() {
            self.replica.forget(node);
        }
        self.members.clear();
        self.sessions.clear();
        self.hearing.isolation = None;
        self.fetches.clear();
        self.serves.clear();
        self.encodings = encoded::Encodings::new(self.settings.limits.shared_bytes);
        while self.replica.maintain(PURGE_SLICE) {}
    }

    /// That very life has ended with a goodbye. A lower one may be a process that lives and has not heard of it: it is to be
    /// told, as for any life below the highest known.
    fn has_said_goodbye(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.farewells.contains(&(node, incarnation))
    }

    /// Remembers the last few of each node: of one that was stopped for long, the goodbyes of several lives may come before what an
    /// earlier one said last.
    fn remember_goodbye(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.has_said_goodbye(node, incarnation) {
            return;
        }
        let is_full = self.farewells.len() == FAREWELLS_MAX;
        let mut of_node = self.farewells.iter().enumerate().filter(|(_, (left, _))| *left == node);
        let oldest = of_node.next().map(|(at, _)| at).filter(|_| of_node.count() + 1 >= FAREWELLS_PER_NODE);
        if let Some(oldest) = oldest {
            self.farewells.remove(oldest);
        } else if is_full {
            self.farewells.pop_front();
        }
        self.farewells.push_back((node, incarnation));
    }

    /// A datagram with this body, sealed.
    pub(crate) fn seal(&mut self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(wire::DATAGRAM_MAX.max(wire::HEADER_LEN + body.len()));
        self.packet += 1;
        let keys = self.gate.keys.as_ref();
        let header = wire::Header {
            suite: if keys.is_some() { wire::SUITE_SEALED } else { wire::SUITE_PLAIN },
            cluster: self.settings.cluster,
            key_epoch: keys.map_or(0, keyring::KeyRing::current),
            node: self.node.0,
            session: self.session,
            packet: self.packet,
        };
        wire::begin(&mut bytes, &header);
        bytes.extend_from_slice(body);
        match keys {
            Some(keys) => wire::finish_sealed(&mut bytes, keys.own()),
            None => wire::finish(&mut bytes),
        }
        bytes
    }

    fn send(&mut self, target: Target, body: &[u8], out: &mut Output) {
        let bytes = self.seal(body);
        self.count_sent(bytes.len());
        if target == Target::Group {
            self.count_copies(bytes.len());
        }
        out.datagrams.push((target, bytes));
    }

    /// What is for everybody was counted once; it goes to the group, or to each of those who get it alone, or both.
    fn count_copies(&mut self, len: usize) {
        let copies = self.copies();
        self.stats.datagrams_sent = self.stats.datagrams_sent + copies - 1;
        self.stats.bytes_sent = self.stats.bytes_sent + copies * len as u64 - len as u64;
    }

    /// How many copies of what is for everybody go out.
    fn copies(&self) -> u64 {
        self.fan_out().len() as u64 + u64::from(self.multicasts())
    }

    fn count_sent(&mut self, len: usize) {
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += len as u64;
    }

    /// What the longest datagram has for frames.
    fn body_max(&self) -> usize {
        self.settings.datagram_max - (wire::DATAGRAM_MAX - wire::BODY_MAX)
    }

    /// What the driver met while receiving: datagrams that found the buffer full, and errors.
    pub(crate) fn count_receive_trouble(&mut self, drops: u64, errors: u64) {
        self.stats.receive_drops += drops;
        self.stats.receive_errors += errors;
    }

    /// Names of peers could not be looked up.
    pub(crate) fn count_failed_lookups(&mut self, count: u64) {
        self.stats.lookups_failed += count;
    }

    /// The driver could not send so many datagrams.
    pub(crate) fn count_send_errors(&mut self, count: u64) {
        self.stats.send_errors += count;
    }
}
