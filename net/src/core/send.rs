//! What this node says of itself: deltas, heartbeats, announcements, goodbyes.

use super::Core;
use super::io::{Measure, Output, Phase, Target, Time};
use super::member::MemberState;
use crate::wire;
use headcount::NodeId;
use headcount::replica::{Op, Replica};
use std::time::Duration;

/// After this long without a flush, the next change is sent at once.
const IDLE: Duration = Duration::from_millis(1);
/// After a flush that no other follows for so long, one heartbeat goes out at once, so that a lost last datagram is noticed.
const TAIL: Duration = Duration::from_millis(2);
/// Bytes of lane clocks in one heartbeat; beside four digests, that fits a datagram. What does not fit goes with the next.
const CLOCK_BYTES_PER_HEARTBEAT: usize = 900;
const DIGESTS_PER_HEARTBEAT: u16 = 4;
/// Every so many heartbeats, every lane counts as moved.
const FULL_HEARTBEAT_EVERY: u64 = 8;
/// What waits is still told before a goodbye, unless there is no end to it.
const FLUSHES_BEFORE_GOODBYE: usize = 64;
const FAREWELLS: u8 = 3;
/// Clocks of a lane taken at once if the budget is all but spent.
const CLOCKS_PER_DELTA_MIN: usize = 16;
/// What a clock is taken to cost at first, in 64ths of a byte.
const CLOCK_COST_FIRST: u64 = 50 * 64;
const FAREWELL_EVERY: Duration = Duration::from_millis(20);

/// How far this node's own lanes were told.
#[derive(Debug)]
pub(super) struct OwnLanes {
    /// The clock up to which each was sent.
    sent: Vec<u64>,
    /// Lanes whose clock the next heartbeats have to name.
    moved: Vec<bool>,
    /// The clock that heartbeats have named last, and the first of them that did.
    named: Vec<Option<(u64, u64)>>,
    /// Where the search for moved lanes, and the turn of digests, goes on.
    next_moved: u16,
    next_digest: u16,
    /// Heartbeats but for those behind a flush.
    beats: u64,
    /// Since when something is seen to wait.
    waits_since: Option<Time>,
    flush_at: Option<Time>,
    flushed_at: Option<Time>,
    tail_at: Option<Time>,
    /// What a clock took of a datagram lately, in 64ths of a byte: tells when as much waits as fills one.
    clock_cost: u64,
}

impl OwnLanes {
    pub(super) fn new(lanes: u16) -> Self {
        let lanes = usize::from(lanes);
        Self {
            sent: vec![0; lanes],
            moved: vec![true; lanes],
            named: vec![None; lanes],
            next_moved: 0,
            next_digest: 0,
            beats: 0,
            waits_since: None,
            flush_at: None,
            flushed_at: None,
            tail_at: None,
            clock_cost: CLOCK_COST_FIRST,
        }
    }

    /// Begins a life: what is there already is for snapshots, what comes from now on is told.
    pub(super) fn restart(&mut self, replica: &Replica) {
        *self = Self::new(replica.lanes());
        for (lane, sent) in (0..).zip(&mut self.sent) {
            *sent = replica.lane_clock(lane);
        }
    }

    pub(super) fn due_at(&self) -> Time {
        let flush = self.flush_at.unwrap_or(Time::MAX);
        flush.min(self.tail_at.unwrap_or(Time::MAX))
    }

    /// Lets the next heartbeats name every lane.
    pub(super) fn all_moved(&mut self) {
        self.moved.fill(true);
    }

    /// Sends what waits now, without gathering more.
    pub(super) fn hasten(&mut self, now: Time) {
        self.flush_at = self.flush_at.map(|at| at.min(now));
    }

    /// These clocks were told.
    pub(super) fn has_told(&self, clocks: &[u64]) -> bool {
        self.sent.iter().zip(clocks).all(|(sent, clock)| sent >= clock)
    }

    fn note_named(&mut self, lane: u16, seq: u64) {
        let at = usize::from(lane);
        if self.named[at].is_none_or(|(clock, _)| clock != self.sent[at]) {
            self.named[at] = Some((self.sent[at], seq));
        }
    }

    /// The heartbeat since which a lane stands where it stands, which the heartbeat `seq` does not name.
    fn stands_since(&self, lane: u16, seq: u64) -> u64 {
        let at = usize::from(lane);
        self.named[at].filter(|&(clock, _)| clock == self.sent[at]).map_or(seq, |(_, first)| first)
    }

    /// The clock up to which a lane was told.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn told(&self, lane: u16) -> u64 {
        self.sent[usize::from(lane)]
    }

    /// The final clocks, as many as surely fit a datagram.
    fn clocks(&self) -> Vec<(u16, u64)> {
        (0..).zip(self.sent.iter().copied()).take(CLOCK_BYTES_PER_HEARTBEAT / 12).collect()
    }
}

impl Core {
    /// Looks whether the tracker's lanes have moved, after asking to be told when they do: no change falls between.
    pub(super) fn look_at_own_lanes(&mut self, now: Time) {
        if self.phase != Phase::Live {
            return;
        }
        self.replica.arm();
        if self.own.flush_at.is_some_and(|at| at <= now) {
            return;
        }
        let replica = &self.replica;
        let waiting = (0..).zip(&self.own.sent).map(|(lane, &sent)| replica.lane_clock(lane) - sent);
        let waiting: u64 = waiting.sum();
        if waiting == 0 {
            return;
        }
        self.own.waits_since = self.own.waits_since.or(Some(now));
        if self.own.flush_at.is_none() {
            let idle = self.own.flushed_at.is_none_or(|at| now >= at + IDLE);
            self.own.flush_at = Some(if idle { now } else { now + self.settings.timing.flush_after });
        }
        // As much as fills a datagram need not wait for more. A little less is taken for it, so that not a second one goes with
        // one operation. (To send what fills one and keep the rest would cut a delta, after which updates are told in full.)
        if waiting.saturating_mul(self.own.clock_cost) >= 60 * self.body_max() as u64 {
            self.own.flush_at = Some(now);
        }
    }

    pub(super) fn flush_if_due(&mut self, now: Time, out: &mut Output) {
        let is_due = self.own.flush_at.is_some_and(|at| now >= at);
        let ready_at = self.budget.ready_at();
        if is_due && ready_at > now {
            self.own.flush_at = Some(ready_at);
            self.stats.flushes_deferred += u64::from(self.budget.waits());
        } else if is_due {
            self.own.flush_at = None;
            let done = self.flush(Some(now), out);
            self.own.flushed_at = Some(now);
            self.own.tail_at = Some(now + TAIL);
            if done {
                let since = self.own.waits_since.take().filter(|_| self.settings.watched);
                self.measures.extend(since.map(|since| Measure::Flush(now.saturating_sub(since))));
                self.look_at_own_lanes(now);
            } else {
                self.own.flush_at = Some(now);
            }
        }
        if self.own.tail_at.is_some_and(|at| now >= at) {
            self.own.tail_at = None;
            self.send_heartbeat(now, false, out);
        }
    }

    /// Sends what the lanes did since the last time. False if there is more than one flush may send, or the budget allows `now`; without
    /// a time, it is not asked.
    fn flush(&mut self, now: Option<Time>, out: &mut Output) -> bool {
        let limits = self.settings.limits;
        let mut packer = Packer::new(self.body_max(), now);
        for lane in 0..self.replica.lanes() {
            let at = usize::from(lane);
            while self.replica.lane_clock(lane) > self.own.sent[at] {
                let is_spent = now.is_some_and(|now| self.budget.ready_at() > now);
                if packer.datagrams >= limits.datagrams_per_flush || is_spent {
                    packer.ship(self, out);
                    return false;
                }
                let since = self.own.sent[at];
                let clocks_max = now.map_or(limits.clocks_per_delta, |now| self.clocks_within_budget(now));
                let Ok(delta) = self.replica.delta(lane, since, clocks_max) else {
                    // The log has run over: peers will see the gap in the next heartbeat and take a snapshot.
                    self.own.sent[at] = self.replica.lane_clock(lane);
                    self.own.moved[at] = true;
                    break;
                };
                let mut clock = since;
                packer.writer.start(lane, clock);
                for op in delta.ops() {
                    if !packer.writer.push(&op) {
                        packer.ship(self, out);
                        packer.writer.start(lane, clock);
                        // What a configuration that was checked lets in fits an empty datagram.
                        let _fits = packer.writer.push(&op);
                    }
                    packer.told += u64::from(!matches!(op, Op::Skip { .. }));
                    clock += op.clocks();
                }
                packer.end_frame();
                packer.clocks += delta.hi() - since;
                self.own.sent[at] = delta.hi();
                self.own.moved[at] = true;
            }
        }
        self.own.clock_cost = packer.clock_cost().unwrap_or(self.own.clock_cost);
        packer.ship(self, out);
        true
    }

    /// How many clocks to take of a lane at once, so that what they take of datagrams is not much more than the budget allows.
    fn clocks_within_budget(&self, now: Time) -> usize {
        let bytes = self.budget.room(now) / self.copies().max(1);
        let clocks = bytes.saturating_mul(64) / self.own.clock_cost.max(1);
        let all = self.settings.limits.clocks_per_delta;
        usize::try_from(clocks).unwrap_or(all).clamp(CLOCKS_PER_DELTA_MIN.min(all), all)
    }

    pub(super) fn heartbeat_if_due(&mut self, now: Time, out: &mut Output) {
        if now < self.heartbeat_at {
            return;
        }
        self.own.beats += 1;
        if self.own.beats.is_multiple_of(FULL_HEARTBEAT_EVERY) {
            self.own.all_moved();
        }
        self.send_heartbeat(now, true, out);
        let receivers = self.members.values().filter(|member| member.state != MemberState::Down).count();
        self.stats.send_budget_cuts += u64::from(self.budget.adapt(now, receivers as u64));
        // What widened thresholds may have eased.
        self.alarm = now;
        // Give or take a tenth, so that nodes do not fall into step.
        let every = self.settings.timing.heartbeat;
        self.heartbeat_at = now + every - every / 10 + self.rng.time_below(every / 5);
    }

    /// Lets a heartbeat with every lane go out soon, for somebody new.
    pub(super) fn hasten_heartbeat(&mut self, now: Time) {
        if self.phase == Phase::Live {
            self.own.all_moved();
            self.heartbeat_at = self.heartbeat_at.min(now + self.rng.time_below(Duration::from_millis(10)));
        }
    }

    /// Says where the lanes are; returns the heartbeat's number. `with_heard`: and what is heard of others.
    pub(super) fn send_heartbeat(&mut self, now: Time, with_heard: bool, out: &mut Output) -> u64 {
        self.heartbeats += 1;
        let seq = self.heartbeats;
        let lanes = self.replica.lanes();
        let mut clocks = Vec::new();
        let mut room = CLOCK_BYTES_PER_HEARTBEAT;
        let mut since = 0;
        for step in 0..lanes {
            let lane = (self.own.next_moved + step) % lanes;
            let at = usize::from(lane);
            let clock = self.own.sent[at];
            let len = wire::varint_len(lane.into()) + wire::varint_len(clock);
            if self.own.moved[at] && len > room && room > 0 {
                self.own.next_moved = lane;
                room = 0;
            }
            if !self.own.moved[at] || room == 0 {
                since = since.max(self.own.stands_since(lane, seq));
                continue;
            }
            room -= len;
            self.own.moved[at] = false;
            self.own.note_named(lane, seq);
            clocks.push((lane, clock));
        }
        let mut digests = Vec::new();
        for _ in 0..DIGESTS_PER_HEARTBEAT.min(lanes) {
            let lane = self.own.next_digest;
            self.own.next_digest = (lane + 1) % lanes;
            let summary = self.replica.lane_summary(lane);
            // What was not told yet cannot be compared.
            if summary.clock == self.own.sent[usize::from(lane)] {
                let headcount::replica::LaneSummary { clock, count, digest } = summary;
                digests.push(wire::LaneDigest { lane, clock, count, digest });
            }
        }
        let heartbeat = wire::Heartbeat {
            seq,
            incarnation: self.incarnation.to_u64(),
            lanes,
            clocks,
            digests,
            epochs: self.known_epochs(),
            since,
        };
        let mut body = Vec::new();
        heartbeat.put(&mut body);
        let drops = self.hearing.strain.drops();
        if with_heard && drops > 0 {
            wire::Drops { total: drops }.put(&mut body);
        }
        if with_heard {
            let room = wire::BODY_MAX.saturating_sub(body.len() + wire::Heard::OVERHEAD);
            self.heard(now, room).put(&mut body);
        }
        self.send(Target::Group, &body, out);
        seq
    }

    /// Says who this node is; to one node also what is known of that one.
    pub(super) fn send_hello(&mut self, target: Target, node: NodeId, reply_wanted: bool, out: &mut Output) {
        let mut body = Vec::new();
        self.put_hello(node, reply_wanted, &mut body);
        if let Target::Node(addr) = target {
            self.tell_peers(addr, node, &mut body);
        }
        self.send(target, &body, out);
    }

    pub(super) fn put_hello(&self, node: NodeId, reply_wanted: bool, body: &mut Vec<u8>) {
        let joining = matches!(self.phase, Phase::Listening { .. });
        let known = self.replica.highest_incarnation(node).unwrap_or_default();
        let flags = [
            (reply_wanted, wire::Hello::REPLY_WANTED),
            (joining, wire::Hello::JOINING),
            (self.fallback.is_deaf, wire::Hello::COPIES_WANTED),
        ];
        wire::Hello {
            flags: flags.into_iter().filter(|&(is_set, _)| is_set).map(|(_, flag)| flag).sum(),
            incarnation: self.incarnation.to_u64(),
            target_node: node.0,
            target_known: known.to_u64(),
            lanes: self.replica.lanes(),
            tcp_port: self.settings.tcp_port,
            wire_min: wire::WIRE_VERSION,
            wire_max: wire::WIRE_VERSION,
            name: &self.settings.name,
        }
        .put(body);
    }

    pub(super) fn begin_to_leave(&mut self, now: Time, handover: Duration, out: &mut Output) {
        self.announce.clear();
        self.handover = handover;
        match self.phase {
            Phase::Live => {
                for _ in 0..FLUSHES_BEFORE_GOODBYE {
                    if self.flush(None, out) {
                        break;
                    }
                }
                self.say_goodbye(now, FAREWELLS, out);
            }
            Phase::Listening { .. } => {
                self.forget_everybody();
                self.phase = Phase::Left;
            }
            _ => {}
        }
        self.version += 1;
    }

    pub(super) fn say_goodbye(&mut self, now: Time, farewells_left: u8, out: &mut Output) {
        if farewells_left == 0 {
            self.forget_everybody();
            self.phase = Phase::Left;
            self.version += 1;
            return;
        }
        let mut body = Vec::new();
        let handover_ms = u64::try_from(self.handover.as_millis()).unwrap_or(u64::MAX);
        let (incarnation, clocks) = (self.incarnation.to_u64(), self.own.clocks());
        wire::Leave { incarnation, clocks, handover_ms }.put(&mut body);
        self.send(Target::Group, &body, out);
        let next_at = now + FAREWELL_EVERY;
        self.phase = Phase::Leaving { farewells_left: farewells_left - 1, next_at };
    }
}

/// Packs frames into datagrams, sends them and keeps them for repairs.
struct Packer {
    writer: wire::DeltaWriter,
    frames: Vec<(u16, u64, u64)>,
    datagrams: usize,
    told: u64,
    /// When that is, for the budget.
    now: Option<Time>,
    /// Clocks packed, and the bytes of bodies shipped.
    clocks: u64,
    shipped: usize,
}

impl Packer {
    fn new(body_max: usize, now: Option<Time>) -> Self {
        let writer = wire::DeltaWriter::new(body_max);
        Self { writer, frames: Vec::new(), datagrams: 0, told: 0, now, clocks: 0, shipped: 0 }
    }

    /// What a clock took, in 64ths of a byte, if enough of them were packed to say.
    fn clock_cost(&self) -> Option<u64> {
        let bytes = (self.shipped + self.writer.body().len()) as u64;
        (self.clocks >= 8).then(|| (64 * bytes / self.clocks).max(1))
    }

    fn end_frame(&mut self) {
        self.frames.extend(self.writer.finish_frame());
    }

    fn ship(&mut self, core: &mut Core, out: &mut Output) {
        self.end_frame();
        if self.writer.is_empty() {
            return;
        }
        let body = self.writer.take();
        self.shipped += body.len();
        let bytes = core.seal(&body);
        core.count_sent(bytes.len());
        core.count_copies(bytes.len());
        if let Some(now) = self.now {
            core.budget.take(now, bytes.len(), core.copies());
        }
        core.stats.delta_datagrams_sent += 1;
        core.stats.delta_bytes_sent += bytes.len() as u64;
        core.stats.delta_ops_sent += std::mem::take(&mut self.told);
        out.datagrams.push((Target::Group, bytes.clone()));
        core.ring.push(bytes, std::mem::take(&mut self.frames));
        self.datagrams += 1;
    }
}
