//! Taking snapshots: one stream at a time from a member, lane after lane, newest entries first.

use super::Core;
use super::io::{Output, StreamAction, StreamId, StreamInput, Time};
use super::member::MemberState;
use crate::wire::{self, Message, MessageBuffer};
use headcount::replica::{ApplyError, LaneCondition};
use headcount::{Incarnation, NodeId};
use std::net::SocketAddr;
use std::time::Duration;

/// A stream that brings nothing for so long is given up.
pub(super) const STALL: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
const PUT_OFF: Duration = Duration::from_millis(10);

/// A snapshot stream under way.
#[derive(Debug)]
pub(super) struct Fetch {
    node: NodeId,
    incarnation: Incarnation,
    buffer: MessageBuffer,
    lanes: Vec<u16>,
    /// The lane whose chunks come, and whether they are of use.
    current: Option<(u16, bool)>,
    pub(super) deadline: Time,
}

#[cfg(any(test, feature = "sim"))]
impl Fetch {
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

/// What a message means for the stream.
enum Next {
    Continue,
    Done,
    /// Try again, not before so long.
    Later(Duration),
    Failed,
}

impl Core {
    pub(super) fn on_stream(&mut self, now: Time, id: StreamId, input: StreamInput<'_>, out: &mut Output) {
        match input {
            StreamInput::Accepted => self.begin_serve(now, id),
            StreamInput::Bytes(bytes) if self.fetches.contains_key(&id) => {
                self.stats.snapshot_bytes_received += bytes.len() as u64;
                self.on_fetched(now, id, bytes, out);
            }
            StreamInput::Bytes(bytes) => self.on_request(now, id, bytes, out),
            StreamInput::Writable => self.serve_more(now, id, out),
            StreamInput::Closed => {
                self.serves.remove(&id);
                self.fail_fetch(now, id, out);
            }
        }
    }

    /// Begins the streams that are due, gives up those that stall.
    pub(super) fn drive_transfers(&mut self, now: Time, out: &mut Output) {
        let stalled = |(&id, deadline): (&StreamId, Time)| (now >= deadline).then_some(id);
        let fetches: Vec<_> =
            self.fetches.iter().filter_map(|(id, fetch)| stalled((id, fetch.deadline))).collect();
        let serves: Vec<_> =
            self.serves.iter().filter_map(|(id, serve)| stalled((id, serve.deadline))).collect();
        for id in fetches {
            self.fail_fetch(now, id, out);
        }
        for id in serves {
            self.serves.remove(&id);
            out.streams.push((id, StreamAction::Abort));
        }
        let due: Vec<NodeId> = self
            .members
            .values()
            .filter(|member| {
                member.transfer.is_none()
                    && member.state != MemberState::Down
                    && member.transfer_at.is_some_and(|at| now >= at)
            })
            .map(|member| member.node)
            .collect();
        for node in due {
            self.begin_fetch(now, node, out);
        }
    }

    fn begin_fetch(&mut self, now: Time, node: NodeId, out: &mut Output) {
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        if self.fetches.len() >= self.settings.limits.fetches || member.tcp_port == 0 {
            member.transfer_at = Some(now + PUT_OFF);
            return;
        }
        member.transfer_at = None;
        let mut lanes = Vec::new();
        for (number, lane) in (0..).zip(&mut member.lanes) {
            if lane.needs_snapshot {
                lane.needs_snapshot = false;
                lane.in_transfer = true;
                let base = self.replica.snapshot_base(node, number).unwrap_or(0);
                lanes.push((number, if planted!(NoBaseCheck) { lane.target } else { base }));
            }
        }
        if lanes.is_empty() {
            return;
        }
        self.next_stream += 2;
        let id = StreamId(self.next_stream);
        member.transfer = Some(id);
        let mut first = Vec::new();
        let request = Message::Request {
            version: wire::WIRE_VERSION,
            cluster: self.settings.cluster,
            node: self.node.0,
            target_node: node.0,
            target_incarnation: member.incarnation.to_u64(),
            lanes: lanes.clone(),
        };
        // At most 256 lanes: far below the limit of a message.
        let _fits = request.put(&mut first);
        let fetch = Fetch {
            node,
            incarnation: member.incarnation,
            buffer: MessageBuffer::default(),
            lanes: lanes.into_iter().map(|(lane, _)| lane).collect(),
            current: None,
            deadline: now + STALL,
        };
        self.fetches.insert(id, fetch);
        let to = SocketAddr::new(member.addr.ip(), member.tcp_port);
        out.streams.push((id, StreamAction::Connect { to, first }));
    }

    fn on_fetched(&mut self, now: Time, id: StreamId, bytes: &[u8], out: &mut Output) {
        let Some(mut fetch) = self.fetches.remove(&id) else {
            return;
        };
        fetch.deadline = now + STALL;
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
            Next::Done => self.end_fetch(now, id, None, out),
            Next::Later(wait) => {
                self.stats.snapshots_put_off += 1;
                self.end_fetch(now, id, Some(wait), out);
            }
            Next::Failed => self.fail_fetch(now, id, out),
        }
    }

    fn on_message(&mut self, now: Time, fetch: &mut Fetch, message: &Message<'_>) -> Next {
        let (node, life) = (fetch.node, fetch.incarnation);
        match *message {
            Message::LaneBegin { lane, base, as_of, .. } if fetch.current.is_none() => {
                if !fetch.lanes.contains(&lane) {
                    return Next::Failed;
                }
                let wanted = match self.replica.snapshot_begin(node, life, lane, base, as_of) {
                    Ok(()) => true,
                    // What was asked for has come in another way meanwhile.
                    Err(ApplyError::SnapshotMisfit { .. }) => false,
                    Err(_) => return Next::Failed,
                };
                fetch.current = Some((lane, wanted));
                Next::Continue
            }
            Message::Chunk(ref chunk) => match fetch.current {
                Some((lane, wanted)) if lane == chunk.lane => {
                    let range = (chunk.lo, chunk.hi);
                    if wanted && self.replica.snapshot_chunk(node, life, lane, range, &chunk.items).is_err() {
                        return Next::Failed;
                    }
                    Next::Continue
                }
                _ => Next::Failed,
            },
            Message::LaneEnd { lane, count, digest, .. } => match fetch.current.take() {
                Some((current, wanted)) if current == lane => {
                    if wanted && self.replica.snapshot_end(node, life, lane, count, digest).is_err() {
                        return Next::Failed;
                    }
                    fetch.lanes.retain(|&other| other != lane);
                    self.lane_arrived(now, node, lane);
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

    /// A lane's snapshot is through: its live deltas go on from there.
    fn lane_arrived(&mut self, now: Time, node: NodeId, number: u16) {
        self.stats.snapshot_lanes_taken += 1;
        self.version += 1;
        let held = self.replica.remote_lane(node, number);
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        let lane = &mut member.lanes[usize::from(number)];
        lane.in_transfer = false;
        lane.confirmed = true;
        lane.naks = 0;
        match held {
            Some(held) if held.condition == LaneCondition::Clean => {
                lane.clock = held.summary.clock;
                lane.target = lane.target.max(lane.clock);
            }
            _ => {
                member.want_snapshot(number, now);
                return;
            }
        }
        self.apply_waiting(now, node, number);
    }

    /// Ends a stream; lanes that it left out are asked for again, not before `wait`.
    fn end_fetch(&mut self, now: Time, id: StreamId, wait: Option<Duration>, out: &mut Output) {
        let Some(fetch) = self.fetches.remove(&id) else {
            return;
        };
        out.streams.push((id, StreamAction::Abort));
        let Some(member) = self.members.get_mut(&fetch.node).filter(|member| member.transfer == Some(id))
        else {
            return;
        };
        member.transfer = None;
        if wait.is_none() {
            member.transfer_failures = 0;
        }
        let at = now + wait.unwrap_or(Duration::ZERO);
        for lane in fetch.lanes {
            self.replica.snapshot_abort(fetch.node, lane);
            member.lanes[usize::from(lane)].in_transfer = false;
            member.want_snapshot(lane, at);
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
        let failures = self.members.get_mut(&fetch.node).map_or(0, |member| {
            member.transfer_failures = member.transfer_failures.saturating_add(1);
            member.transfer_failures
        });
        let wait = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_MAX);
        let wait = wait + self.rng.time_below(wait / 4);
        self.end_fetch(now, id, Some(wait), out);
    }
}
