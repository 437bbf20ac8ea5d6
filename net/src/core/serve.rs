//! Giving lanes: each as of one clock, as fast as the asker reads and the budget for bulk allows. What is sent is made in [`encoded`](super::encoded).

use super::Core;
use super::encoded::{Attached, Part};
use super::io::{Output, Phase, StreamAction, StreamId, Time};
use super::relay::{Ready, Relay};
use crate::wire::{Message, MessageBuffer, Wanted};
use headcount::NodeId;
use std::collections::VecDeque;
use std::ops::Bound;
use std::time::Duration;

/// Streams that have not asked for anything yet; more are closed.
const IDLE_MAX: usize = 64;
/// An asker that reads nothing for so long is given up. Longer than an asker waits: it may stand still, and finds its deadlines
/// where they were when it goes on.
const STALL: Duration = Duration::from_secs(15);
const RETRY_AFTER: Duration = Duration::from_millis(50);

const REFUSED_OTHER_LIFE: u8 = 1;

/// A snapshot stream given.
#[derive(Debug)]
pub(super) struct Serve {
    buffer: MessageBuffer,
    /// The request came.
    begun: bool,
    /// Lanes to send.
    pub(super) lanes: VecDeque<Wanted>,
    current: Option<Attached>,
    /// There is room for more, and it was not given yet.
    pub(super) wants_more: bool,
    /// The lanes are another node's.
    pub(super) relay: Option<Relay>,
    pub(super) deadline: Time,
}

#[cfg(any(test, feature = "sim"))]
impl Serve {
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

impl Core {
    pub(super) fn begin_serve(&mut self, now: Time, id: StreamId) {
        let serve = Serve {
            buffer: MessageBuffer::default(),
            begun: false,
            lanes: VecDeque::new(),
            current: None,
            wants_more: false,
            relay: None,
            deadline: now + STALL,
        };
        self.serves.insert(id, serve);
    }

    pub(super) fn on_request(&mut self, now: Time, id: StreamId, bytes: &[u8], out: &mut Output) {
        #[cfg(test)]
        self.gate.stumble_at("request");
        let begun = self.serves.values().filter(|serve| serve.begun).count();
        let relays = self.serves.values().filter(|serve| serve.relay.is_some()).count();
        let idle = self.serves.len() - begun;
        let Some(serve) = self.serves.get_mut(&id) else {
            return;
        };
        let request = if serve.begun || idle > IDLE_MAX || !serve.buffer.push(bytes) {
            Err(())
        } else {
            match serve.buffer.next() {
                Ok(None) => return,
                Ok(Some((kind, body))) => Message::decode(kind, body).map_err(|_| ()),
                Err(_) => Err(()),
            }
        };
        let Ok(Message::Request { relayed, cluster, node, target_node, target_incarnation, lanes, .. }) =
            request
        else {
            self.stats.malformed += 1;
            self.end_serve(now, id, StreamAction::Abort, out);
            return;
        };
        if cluster != self.settings.cluster {
            self.stats.foreign += 1;
            self.end_serve(now, id, StreamAction::Abort, out);
            return;
        }
        let mine = self.incarnation.to_u64();
        let owner = (NodeId(target_node), target_incarnation);
        let relay = if relayed { self.relay_for(now, NodeId(node), owner) } else { None };
        let is_mine = target_node == self.node.0 && target_incarnation == mine;
        let is_here = if relayed { relay.is_some() } else { is_mine };
        if !is_here || self.phase != Phase::Live {
            self.reply(id, &Message::Refused { reason: REFUSED_OTHER_LIFE, incarnation: mine }, out);
            self.end_serve(now, id, StreamAction::Finish, out);
            return;
        }
        let serves_max = self.settings.limits.serves;
        if begun >= serves_max || relayed && relays >= (serves_max / 2).max(1) {
            let ms = u32::try_from(RETRY_AFTER.as_millis()).unwrap_or(u32::MAX);
            self.reply(id, &Message::RetryAfter { ms }, out);
            self.end_serve(now, id, StreamAction::Finish, out);
            return;
        }
        let lanes_max = self.replica.lanes();
        let lanes: VecDeque<Wanted> = match &relay {
            Some(relay) => self.newer_lanes(relay, lanes).collect(),
            None => lanes.into_iter().filter(|wanted| wanted.lane < lanes_max).collect(),
        };
        if let Some(serve) = self.serves.get_mut(&id) {
            (serve.lanes, serve.relay, serve.begun) = (lanes, relay, true);
        }
        note!(self.note_serve(now, id, (NodeId(node), NodeId(target_node))));
        self.on_room(now, id);
    }

    /// A stream has room for more.
    pub(super) fn on_room(&mut self, now: Time, id: StreamId) {
        if let Some(serve) = self.serves.get_mut(&id).filter(|serve| serve.begun) {
            serve.wants_more = true;
            serve.deadline = now + STALL;
            if self.bulk.ready_at() > now {
                self.stats.bulk_waits += 1;
            }
        }
    }

    /// Gives the next of the streams that have room a portion, if the budget allows. One at a time: a portion takes a millisecond, and what
    /// else has come is to have its turn.
    pub(super) fn drive_serves(&mut self, now: Time, out: &mut Output) {
        self.encodings.tick(now, self.settings.limits.chunk_bytes, self.settings.limits.portion_bytes);
        self.end_waits(now);
        if self.bulk.ready_at() > now {
            return;
        }
        let wanted = self.serves.values().any(|serve| serve.wants_more);
        self.budget.note_bulk(now, wanted);
        if self.budget.bulk_ready_at(now) > now {
            return;
        }
        let wants_more = |(&id, serve): (&StreamId, &Serve)| serve.wants_more.then_some(id);
        let after = self.serves.range((Bound::Excluded(self.served), Bound::Unbounded)).find_map(wants_more);
        if let Some(id) = after.or_else(|| self.serves.iter().find_map(wants_more)) {
            self.served = id;
            self.give_portion(now, id, out);
        }
    }

    /// When there is something to be given, or to be put away.
    pub(super) fn serves_due_at(&self) -> Time {
        let wanted = self.serves.values().any(|serve| serve.wants_more);
        let bulk = if wanted { self.budget.bulk_ready_at(self.bulk.ready_at()) } else { Time::MAX };
        let waits = self.serves.values().filter_map(|serve| serve.relay.as_ref()).map(Relay::due_at);
        bulk.min(self.encodings.due_at()).min(waits.min().unwrap_or(Time::MAX))
    }

    /// Hands the driver the next portion of a stream.
    fn give_portion(&mut self, now: Time, id: StreamId, out: &mut Output) {
        let limits = self.settings.limits;
        let Some(serve) = self.serves.get_mut(&id) else {
            return;
        };
        serve.deadline = now + STALL;
        serve.wants_more = false;
        let mut bytes = Vec::new();
        let mut done = false;
        while bytes.len() < limits.portion_bytes && !done {
            let Some(serve) = self.serves.get_mut(&id) else {
                return;
            };
            if let Some(Attached { number, is_ops, .. }) = serve.current {
                if let Part::Bytes(part) = self.encodings.next(number, id, limits.chunk_bytes) {
                    bytes.extend_from_slice(&part);
                    continue;
                }
                self.encodings.detach(now, number, id);
                serve.current = None;
                let sent = match is_ops {
                    _ if serve.relay.is_some() => &mut self.stats.relayed_lanes_sent,
                    true => &mut self.stats.catch_ups_sent,
                    false => &mut self.stats.snapshot_lanes_sent,
                };
                *sent += 1;
                note!(self.note_lane_given(id));
                continue;
            }
            if let Some(relay) = serve.relay {
                match self.next_relayed(now, id) {
                    Ready::Lane(wanted) => {
                        let current = self.attach_relayed(now, id, &relay, &wanted);
                        if let Some(serve) = self.serves.get_mut(&id) {
                            serve.current = current;
                        }
                    }
                    Ready::Wait if bytes.is_empty() => return,
                    Ready::Wait => break,
                    Ready::Done => {
                        let _fits = Message::Done.put(&mut bytes);
                        done = true;
                    }
                }
                continue;
            }
            let Some(wanted) = serve.lanes.pop_front() else {
                let _fits = Message::Done.put(&mut bytes);
                done = true;
                continue;
            };
            serve.current = self.encodings.attach(now, id, &self.replica, &wanted, limits.chunk_bytes);
            if let Some(Attached { is_new: true, is_ops: false, .. }) = serve.current {
                self.stats.snapshot_lanes_encoded += 1;
            }
        }
        self.bulk.take(now, bytes.len() as u64);
        self.budget.note_bulk(now, false);
        self.stats.snapshot_bytes_sent += bytes.len() as u64;
        note!(self.note_bytes(id, bytes.len()));
        out.streams.push((id, StreamAction::Send(bytes)));
        if done {
            note!(self.note_outcome(id, "complete"));
            self.end_serve(now, id, StreamAction::Finish, out);
        }
    }

    fn reply(&mut self, id: StreamId, message: &Message<'_>, out: &mut Output) {
        let mut bytes = Vec::new();
        let _fits = message.put(&mut bytes);
        out.streams.push((id, StreamAction::Send(bytes)));
    }

    fn end_serve(&mut self, now: Time, id: StreamId, how: StreamAction, out: &mut Output) {
        self.forget_serve(now, id);
        out.streams.push((id, how));
    }

    /// A stream given is over.
    pub(super) fn forget_serve(&mut self, now: Time, id: StreamId) {
        if let Some(serve) = self.serves.remove(&id)
            && let Some(Attached { number, .. }) = serve.current
        {
            self.encodings.detach(now, number, id);
        }
    }
}
