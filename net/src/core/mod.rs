//! The protocol as a pure state machine: [`Core::handle`] takes what happened and the time, and says what to send.
//!
//! It reads no clock, opens no socket, starts no thread, takes its randomness as a seed and never depends on the order of a hash
//! map, so a simulator can run many of them on virtual time and repeat a run exactly. The tracker is its only other
//! party: local changes are read from it, remote ones applied to it.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod detector;
mod io;
mod limits;
mod member;
mod receive;
mod repair;
mod ring;
mod rng;
mod send;
mod serve;
mod transfer;

pub(crate) use io::{Input, Output, Phase, StreamAction, StreamId, StreamInput, Target, Time};
pub(crate) use limits::Limits;
pub use member::MemberState;
pub(crate) use rng::Rng;

use crate::config::Timing;
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

/// Nodes whose goodbye is remembered, so that a datagram overtaken by it does not bring them back.
const FAREWELLS_MAX: usize = 1024;
/// When a starting node's announcements go out, after its start and after it goes live.
const ANNOUNCE_AT: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(150)];
/// Entries of dead lives purged in one go.
const PURGE_SLICE: usize = 2048;

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
    next_stream: u64,
    /// Announcements left, and when the next is due.
    announce: VecDeque<Time>,
    heartbeat_at: Time,
    heartbeats: u64,
    last_handled: Time,
    stats: NetStats,
    /// Counts the changes of what [`members`](Self::members) shows, but for ages.
    version: u64,
    purging: bool,
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
        Self {
            node: NodeId::from_name(&settings.name),
            phase: Phase::Listening { until: now + settings.timing.listen },
            incarnation: Incarnation::default(),
            session,
            packet: 0,
            highest: Incarnation::default(),
            members: BTreeMap::new(),
            farewells: VecDeque::new(),
            asked: BTreeMap::new(),
            own: send::OwnLanes::new(lanes),
            ring: Ring::new(lanes, &settings.limits),
            fetches: BTreeMap::new(),
            serves: BTreeMap::new(),
            next_stream: 0,
            announce: ANNOUNCE_AT.iter().map(|&after| now + after).collect(),
            heartbeat_at: Time::MAX,
            heartbeats: 0,
            last_handled: now,
            stats: NetStats { receive_buffer_bytes: settings.receive_buffer, ..NetStats::default() },
            version: 0,
            purging: false,
            replica,
            rng,
            settings,
        }
    }

    /// Takes one thing that happened at `now`, which never goes back, and adds to `out` what is to be done.
    pub(crate) fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Output) {
        self.note_pause(now);
        match input {
            Input::Datagram { from, bytes } => self.on_datagram(now, from, bytes, out),
            Input::Turn => self.look_at_own_lanes(now),
            Input::Leave => self.begin_to_leave(now, out),
            Input::Stream(id, input) => self.on_stream(now, id, input, out),
        }
        self.tick(now, out);
    }

    /// Does whatever is due.
    fn tick(&mut self, now: Time, out: &mut Output) {
        match self.phase {
            Phase::Listening { until } => {
                self.announce_if_due(now, out);
                if now >= until {
                    self.go_live(now, out);
                }
            }
            Phase::Live => {
                self.announce_if_due(now, out);
                self.flush_if_due(now, out);
                self.heartbeat_if_due(now, out);
            }
            Phase::Leaving { farewells_left, next_at } => {
                if now >= next_at {
                    self.say_goodbye(now, farewells_left, out);
                }
            }
            Phase::Left | Phase::Stopped(_) => return,
        }
        self.judge_members(now, out);
        self.ask_for_repairs(now, out);
        self.drive_transfers(now, out);
        if self.purging {
            self.purging = self.replica.maintain(PURGE_SLICE);
        }
    }

    /// When something is due next, if nothing happens before.
    pub(crate) fn wake_at(&self, now: Time) -> Time {
        let mut at = match self.phase {
            Phase::Listening { until } => until,
            Phase::Live => self.heartbeat_at.min(self.own.due_at()),
            Phase::Leaving { next_at, .. } => next_at,
            Phase::Left | Phase::Stopped(_) => return Time::MAX,
        };
        if let Some(&announce) = self.announce.front() {
            at = at.min(announce);
        }
        for member in self.members.values() {
            at = at.min(self.member_due_at(member));
        }
        for &due in self
            .fetches
            .values()
            .map(|fetch| &fetch.deadline)
            .chain(self.serves.values().map(|serve| &serve.deadline))
        {
            at = at.min(due);
        }
        if self.purging { now } else { at }
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(crate) fn stats(&self) -> NetStats {
        self.stats
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn members(&self) -> Vec<MemberView> {
        let view = |member: &Member| MemberView {
            node: member.node,
            name: member.name.clone(),
            incarnation: member.incarnation,
            state: member.state,
            synced: member.is_synced() && !member.hidden,
            addr: member.addr,
            heard: member.heard,
            lanes: u16::try_from(member.lanes.len()).unwrap_or(u16::MAX),
        };
        self.members.values().map(view).collect()
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
        self.phase = Phase::Live;
        self.announce = ANNOUNCE_AT.iter().map(|&after| now + after).collect();
        self.own.restart(&self.replica);
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
        if self.phase != Phase::Live || highest <= self.incarnation || planted!(JumpIgnored) {
            return;
        }
        self.stats.incarnation_jumps += 1;
        self.highest = highest;
        if !planted!(SessionKept) {
            self.session = self.rng.next();
        }
        self.packet = 0;
        self.ring = Ring::new(self.replica.lanes(), &self.settings.limits);
        self.go_live(now, out);
    }

    /// Another process speaks as this node.
    fn meet_myself(&mut self, from: SocketAddr) {
        self.stop(StopReason::DuplicateNode { name: self.settings.name.clone(), other: from });
    }

    fn stop(&mut self, reason: StopReason) {
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
        self.fetches.clear();
        self.serves.clear();
        while self.replica.maintain(PURGE_SLICE) {}
    }

    /// That very life has ended with a goodbye. A lower one may be a process that lives and has not heard of it: it is to be
    /// told, as for any life below the highest known.
    fn has_said_goodbye(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.farewells.contains(&(node, incarnation))
    }

    fn remember_goodbye(&mut self, node: NodeId, incarnation: Incarnation) {
        self.farewells.retain(|&(left, _)| left != node);
        if self.farewells.len() == FAREWELLS_MAX {
            self.farewells.pop_front();
        }
        self.farewells.push_back((node, incarnation));
    }

    /// A datagram with this body, sealed.
    fn seal(&mut self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(wire::HEADER_LEN + body.len() + wire::TRAILER_LEN);
        self.packet += 1;
        let header = wire::Header {
            suite: 0,
            cluster: self.settings.cluster,
            key_epoch: 0,
            node: self.node.0,
            session: self.session,
            packet: self.packet,
        };
        wire::begin(&mut bytes, &header);
        bytes.extend_from_slice(body);
        wire::finish(&mut bytes);
        bytes
    }

    fn send(&mut self, target: Target, body: &[u8], out: &mut Output) {
        let bytes = self.seal(body);
        self.count_sent(bytes.len());
        out.datagrams.push((target, bytes));
    }

    fn count_sent(&mut self, len: usize) {
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += len as u64;
    }

    /// The driver could not send a datagram.
    pub(crate) fn count_send_error(&mut self) {
        self.stats.send_errors += 1;
    }
}
