//! Taking lanes: one stream at a time from a member, lane after lane, as a snapshot or as operations from the owner's log.

use super::Core;
use super::io::{Measure, Output, StreamAction, StreamId, StreamInput, Time};
use super::member::Member;
use super::receive::is_over_a_limit;
use super::relay::{ASK_EVERY, RELAY_STALL};
use crate::wire::{self, Message, MessageBuffer};
use headcount::replica::{ApplyError, DeltaView, LaneCondition};
use headcount::{Incarnation, NodeId};
use std::time::Duration;

/// A stream that brings nothing for so long is given up.
pub(super) const STALL: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
const PUT_OFF: Duration = Duration::from_millis(10);

/// A snapshot stream under way.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Whose lanes they are.
    pub(super) node: NodeId,
    incarnation: Incarnation,
    /// Through whom they come, in which session, if not from the owner.
    pub(super) via: Option<(NodeId, u64)>,
    buffer: MessageBuffer,
    pub(super) lanes: Vec<u16>,
    current: Option<Current>,
    pub(super) deadline: Time,
    began: Time,
}

#[cfg(any(test, feature = "sim"))]
impl Fetch {
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

/// How a lane comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Snapshot,
    CatchUp,
}

/// The lane that comes.
#[derive(Clone, Copy, Debug)]
struct Current {
    lane: u16,
    kind: Kind,
    /// It is of use.
    wanted: bool,
}

/// What a message means for the stream.
enum Next {
    Continue,
    Done,
    /// Try again, not before so long.
    Later(Duration),
    Failed,
    /// What comes is more than this node's limits allow.
    OverLimit,
}

impl Fetch {
    pub(super) fn new(
        (node, incarnation): (NodeId, Incarnation),
        via: Option<(NodeId, u64)>,
        lanes: Vec<u16>,
        now: Time,
    ) -> Self {
        let buffer = MessageBuffer::default();
        let deadline = Time::ZERO;
        let mut fetch = Self { node, incarnation, via, buffer, lanes, current: None, deadline, began: now };
        fetch.note_bytes(now);
        fetch
    }

    /// Who says what comes on it.
    pub(super) fn giver(&self) -> NodeId {
        self.via.map_or(self.node, |(via, _)| via)
    }

    fn note_bytes(&mut self, now: Time) {
        self.deadline = now + if self.via.is_some() { RELAY_STALL } else { STALL };
    }

    /// Whether a lane may begin to come.
    fn awaits(&self, lane: u16) -> bool {
        self.current.is_none() && self.lanes.contains(&lane)
    }

    /// A lane that was asked for begins to come.
    fn begin(&mut self, lane: u16, kind: Kind, begun: Result<(), ApplyError>) -> Next {
        let wanted = match begun {
            Ok(()) => true,
            // What was asked for has come in another way meanwhile.
            Err(ApplyError::SnapshotMisfit { .. }) => false,
            Err(_) => return Next::Failed,
        };
        self.current = Some(Current { lane, kind, wanted });
        Next::Continue
    }

    /// A part of a lane, which must be the one that comes.
    fn part(&mut self, lane: u16, kind: Kind, apply: impl FnOnce() -> Result<(), ApplyError>) -> Next {
        match self.current {
            Some(Current { lane: current, kind: coming, wanted }) if current == lane && coming == kind => {
                match if wanted { apply() } else { Ok(()) } {
                    Ok(()) => Next::Continue,
                    Err(error) if is_over_a_limit(&error) => Next::OverLimit,
                    Err(_) => Next::Failed,
                }
            }
            _ => Next::Failed,
        }
    }
}

impl Core {
    pub(super) fn on_stream(&mut self, now: Time, id: StreamId, input: StreamInput<'_>, out: &mut Output) {
        match input {
            StreamInput::Accepted => self.begin_serve(now, id),
            StreamInput::Bytes(bytes) if self.fetches.contains_key(&id) => {
                // What is sealed has been opened, so it is what the giver said.
                self.speaking = self.fetches.get(&id).map(Fetch::giver);
                self.stats.snapshot_bytes_received += bytes.len() as u64;
                note!(self.note_bytes(id, bytes.len()));
                self.on_fetched(now, id, bytes, out);
            }
            StreamInput::Bytes(bytes) => self.on_request(now, id, bytes, out),
            StreamInput::Writable => self.on_room(now, id),
            StreamInput::Closed => {
                self.forget_serve(now, id);
                self.fail_fetch(now, id, out);
            }
        }
    }

    /// Begins the streams that are due, gives up those that stall, and ends those whose lanes have come in another way before they began.
    pub(super) fn drive_transfers(&mut self, now: Time, out: &mut Output) {
        let in_vain = |fetch: &Fetch| {
            let lane_is_wanted = |member: &Member, &lane: &u16| member.lanes[usize::from(lane)].in_transfer;
            // What a relay is asked for is wanted whether or not the lane waits for it.
            let is_the_owners = fetch.via.is_none() && fetch.current.is_none();
            let member = self.members.get(&fetch.node).filter(|_| is_the_owners);
            let is_over = |member| !fetch.lanes.iter().any(|lane| lane_is_wanted(member, lane));
            !fetch.lanes.is_empty() && member.is_some_and(is_over)
        };
        let in_vain: Vec<StreamId> =
            self.fetches.iter().filter_map(|(&id, fetch)| in_vain(fetch).then_some(id)).collect();
        for id in in_vain {
            note!(self.note_outcome(id, "not needed"));
            self.end_fetch(now, id, None, out);
        }
        let stalled = |(&id, deadline): (&StreamId, Time)| (now >= deadline).then_some(id);
        let fetches: Vec<_> =
            self.fetches.iter().filter_map(|(id, fetch)| stalled((id, fetch.deadline))).collect();
        let serves: Vec<_> =
            self.serves.iter().filter_map(|(id, serve)| stalled((id, serve.deadline))).collect();
        for id in fetches {
            note!(self.note_outcome(id, "stalled"));
            self.fail_fetch(now, id, out);
        }
        for id in serves {
            note!(self.note_outcome(id, "stalled"));
            self.forget_serve(now, id);
            out.streams.push((id, StreamAction::Abort));
        }
        let due: Vec<NodeId> = self
            .members
            .values()
            .filter(|member| member.is_to_be_asked() && member.transfer_at.is_some_and(|at| now >= at))
            .map(|member| member.node)
            .collect();
        for node in due {
            self.begin_fetch(now, node, out);
        }
    }

    fn begin_fetch(&mut self, now: Time, node: NodeId, out: &mut Output) {
        let is_full = self.fetches.len() >= self.settings.limits.fetches;
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        if is_full || member.tcp_port == 0 {
            member.transfer_at = Some(now + PUT_OFF);
            return;
        }
        member.transfer_at = None;
        member.is_over_limit = false;
        let mut needed = Vec::new();
        for (number, lane) in (0..).zip(&mut member.lanes) {
            if std::mem::take(&mut lane.needs_snapshot) {
                lane.in_transfer = true;
                needed.push((number, lane.target));
            }
        }
        if needed.is_empty() {
            return;
        }
        let life = member.incarnation;
        // An address of one link alone (fe80::/10) needs the rest of it as well.
        let mut to = member.addr;
        to.set_port(member.tcp_port);
        let mut lanes = Vec::new();
        for (number, target) in needed {
            let mut wanted = self.wanted(node, number);
            if planted!(NoBaseCheck) {
                (wanted.base, wanted.reached) = (target, wanted.reached.max(target));
            }
            lanes.push((target.saturating_sub(wanted.base), wanted));
        }
        // What lacks little is there first.
        lanes.sort_by_key(|&(missing, wanted)| (missing, wanted.lane));
        let lanes: Vec<wire::Wanted> = lanes.into_iter().map(|(_, wanted)| wanted).collect();
        let asked = lanes.iter().map(|wanted| wanted.lane).collect();
        let first = self.request((node, life), lanes, false);
        let id = self.next_stream_id();
        if let Some(member) = self.members.get_mut(&node) {
            member.transfer = Some(id);
        }
        self.fetches.insert(id, Fetch::new((node, life), None, asked, now));
        note!(self.note_fetch(now, id));
        out.streams.push((id, StreamAction::Connect { to, first }));
    }

    pub(super) fn next_stream_id(&mut self) -> StreamId {
        self.next_stream += 2;
        StreamId(self.next_stream)
    }

    fn on_fetched(&mut self, now: Time, id: StreamId, bytes: &[u8], out: &mut Output) {
        let Some(mut fetch) = self.fetches.remove(&id) else {
            return;
        };
        fetch.note_bytes(now);
        let mut buffer = std::mem::take(&mut fetch.buffer);
        let mut next = if buffer.push(bytes) { Next::Continue } else { Next::Failed };
        while matches!(next, Next::Continue) {
            next = match buffer.next() {
                Ok(None) => break,
                Ok(Some((kind, body))) => match Message::decode(kind, body) {
                    Ok(message) => self.on_message(now, &mut fetch, &message),
                    Err(_) => Next::Failed,
                },
                Err(_) => Next::Failed,
            };
        }
        fetch.buffer = buffer;
        self.fetches.insert(id, fetch);
        match next {
            Next::Continue => {}
            Next::Done => {
                let began = self.fetches.get(&id).filter(|_| self.settings.watched).map(|fetch| fetch.began);
                self.measures.extend(began.map(|began| Measure::Snapshot(now.saturating_sub(began))));
                note!(self.note_outcome(id, "complete"));
                self.end_fetch(now, id, None, out);
            }
            Next::Later(wait) => {
                self.stats.snapshots_put_off += 1;
                note!(self.note_outcome(id, "put off"));
                self.end_fetch(now, id, Some(wait), out);
            }
            Next::Failed => self.fail_fetch(now, id, out),
            Next::OverLimit => {
                self.stats.refused_operations += 1;
                let owner = self.fetches.get(&id).map(|fetch| fetch.node);
                if let Some(member) = owner.and_then(|owner| self.members.get_mut(&owner)) {
                    member.is_over_limit = true;
                }
                self.fail_fetch(now, id, out);
            }
        }
    }

    fn on_message(&mut self, now: Time, fetch: &mut Fetch, message: &Message<'_>) -> Next {
        let (node, life) = (fetch.node, fetch.incarnation);
        match *message {
            Message::LaneBegin { lane, .. } | Message::OpsBegin { lane, .. } if !fetch.awaits(lane) => {
                Next::Failed
            }
            Message::LaneBegin { lane, as_of, .. }
                if fetch.via.is_some() && !self.takes_relayed(fetch, lane, as_of) =>
            {
                self.stats.relayed_lanes_refused += 1;
                fetch.current = Some(Current { lane, kind: Kind::Snapshot, wanted: false });
                Next::Continue
            }
            Message::LaneBegin { lane, base, as_of, .. } => {
                let begun = self.replica.snapshot_begin(node, life, lane, base, as_of);
                self.lane_begins(fetch, (lane, as_of), Kind::Snapshot, begun)
            }
            // Only the owner has the operations.
            Message::OpsBegin { .. } if fetch.via.is_some() => Next::Failed,
            Message::OpsBegin { lane, lo, as_of } => {
                let begun = self.replica.catch_up_begin(node, life, lane, lo, as_of);
                self.lane_begins(fetch, (lane, as_of), Kind::CatchUp, begun)
            }
            Message::Chunk(ref chunk) => fetch.part(chunk.lane, Kind::Snapshot, || {
                let range = (chunk.lo, chunk.hi);
                self.replica.snapshot_chunk(node, life, chunk.lane, range, &chunk.items)
            }),
            Message::Dots(dots) => fetch.part(dots.lane, Kind::Snapshot, || {
                self.replica.snapshot_live(node, life, dots.lane, (dots.lo, dots.hi), dots.live())
            }),
            Message::Ops(ref delta) => fetch.part(delta.lane, Kind::CatchUp, || {
                let wire::DeltaFrame { lane, lo, hi, .. } = *delta;
                self.replica.catch_up(node, life, &DeltaView { lane, lo, hi, ops: &delta.ops() })
            }),
            Message::LaneEnd { lane, count, digest, .. } => match fetch.current.take() {
                Some(Current { lane: current, kind, wanted }) if current == lane => {
                    let ended = || self.replica.snapshot_end(node, life, lane, count, digest);
                    if wanted && ended().is_err() {
                        self.stats.relayed_lanes_refused += u64::from(fetch.via.is_some());
                        return Next::Failed;
                    }
                    match kind {
                        _ if fetch.via.is_some() => self.stats.relayed_lanes_taken += u64::from(wanted),
                        Kind::Snapshot => self.stats.snapshot_lanes_taken += 1,
                        Kind::CatchUp => self.stats.catch_ups_taken += 1,
                    }
                    let is_of_use = wanted || fetch.via.is_none();
                    if is_of_use && !self.lane_arrived(now, node, lane, fetch.via.is_some()) {
                        return Next::Failed;
                    }
                    note!(self.note_lane_taken(now, node, lane, kind == Kind::Snapshot));
                    fetch.lanes.retain(|&other| other != lane);
                    Next::Continue
                }
                _ => Next::Failed,
            },
            Message::Done if fetch.current.is_none() => Next::Done,
            Message::RetryAfter { ms } => {
                Next::Later(Duration::from_millis(ms.into()).min(RETRY_MAX) + self.rng.time_below(PUT_OFF))
            }
            _ => Next::Failed,
        }
    }

    /// A lane begins to come: deltas wait for its end, and what it does not bring is asked for meanwhile.
    fn lane_begins(
        &mut self,
        fetch: &mut Fetch,
        (number, as_of): (u16, u64),
        kind: Kind,
        begun: Result<(), ApplyError>,
    ) -> Next {
        let next = fetch.begin(number, kind, begun);
        let comes = fetch.current.is_some_and(|current| current.wanted);
        if let Some(member) = self.members.get_mut(&fetch.node).filter(|_| comes) {
            let lane = &mut member.lanes[usize::from(number)];
            (lane.in_transfer, lane.unclean, lane.left_to_stream) = (true, true, as_of);
        }
        next
    }

    /// A lane is through: its live deltas go on from there. False if it was of no use, and is needed still. What was `relayed` may be
    /// older than what the owner said last.
    fn lane_arrived(&mut self, now: Time, node: NodeId, number: u16, relayed: bool) -> bool {
        self.version += 1;
        let held = self.replica.remote_lane(node, number);
        let held = held.filter(|held| held.condition == LaneCondition::Clean);
        let (Some(held), Some(member)) = (held, self.members.get_mut(&node)) else {
            return false;
        };
        let lane = &mut member.lanes[usize::from(number)];
        (lane.in_transfer, lane.unclean, lane.left_to_stream) = (false, false, 0);
        if relayed {
            lane.primed = true;
            lane.needs_snapshot = false;
            lane.relayed = Some((held.summary.clock, None));
        } else {
            lane.confirmed = true;
        }
        lane.naks = 0;
        lane.clock = held.summary.clock;
        lane.target = lane.target.max(lane.clock);
        self.apply_waiting(now, node, number);
        true
    }

    /// Ends a stream; lanes that it left out are asked for again, not before `wait`.
    pub(super) fn end_fetch(&mut self, now: Time, id: StreamId, wait: Option<Duration>, out: &mut Output) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        out.streams.push((id, StreamAction::Abort));
        let Some(member) = self.members.get_mut(&fetch.node).filter(|member| member.transfer == Some(id))
        else {
            return;
        };
        member.transfer = None;
        if wait.is_none() && fetch.via.is_none() {
            member.transfer_failures = 0;
        }
        let at = now + wait.unwrap_or(Duration::ZERO);
        for lane in fetch.lanes {
            // Others that a relay was asked for are as they were.
            if fetch.via.is_some() && !member.lanes[usize::from(lane)].in_transfer {
                continue;
            }
            self.replica.snapshot_abort(fetch.node, lane);
            let left_out = &mut member.lanes[usize::from(lane)];
            let is_wanted = std::mem::replace(&mut left_out.in_transfer, false);
            if left_out.unclean {
                member.want_snapshot(lane, at);
            } else if is_wanted {
                member.want_snapshot_beside(lane, at);
            }
        }
        if let Some(due) = member.transfer_at {
            member.transfer_at = Some(due.max(at));
        }
        self.version += 1;
    }

    /// A stream broke: again, later and later.
    pub(super) fn fail_fetch(&mut self, now: Time, id: StreamId, out: &mut Output) {
        let Some(fetch) = self.fetches.get(&id) else {
            return;
        };
        self.stats.snapshots_failed += 1;
        let (node, is_relayed) = (fetch.node, fetch.via.is_some());
        note!(self.note_outcome(id, "failed"));
        if is_relayed {
            self.end_fetch(now, id, Some(ASK_EVERY), out);
            return;
        }
        let failures = self.members.get_mut(&node).map_or(0, |member| {
            member.transfer_failures = member.transfer_failures.saturating_add(1);
            member.transfer_failures
        });
        let wait = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_MAX);
        let wait = wait + self.rng.time_below(wait / 4);
        self.end_fetch(now, id, Some(wait), out);
        if let Some(member) = self.members.get_mut(&node) {
            member.consider_relay(now);
        }
    }
}
