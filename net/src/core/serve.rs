//! Giving snapshots: each lane as of one clock, newest entries first, as fast as the asker reads.

use super::Core;
use super::io::{Output, Phase, StreamAction, StreamId, Time};
use super::transfer::STALL;
use crate::wire::{ChunkWriter, Message, MessageBuffer};
use headcount::replica::{LaneSnapshot, Payload, SnapshotItem};
use std::collections::VecDeque;
use std::time::Duration;

/// Streams that have not asked for anything yet; more are closed.
const IDLE_MAX: usize = 64;
const RETRY_AFTER: Duration = Duration::from_millis(50);

const REFUSED_OTHER_LIFE: u8 = 1;

/// A snapshot stream given.
#[derive(Debug)]
pub(super) struct Serve {
    buffer: MessageBuffer,
    /// The request came.
    begun: bool,
    /// Lanes to send, with their bases.
    lanes: VecDeque<(u16, u64)>,
    current: Option<Current>,
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

#[derive(Debug)]
struct Current {
    snapshot: LaneSnapshot,
    base: u64,
    /// How many of its entries were sent.
    sent: usize,
    /// The upper end of the next chunk.
    hi: u64,
}

impl Core {
    pub(super) fn begin_serve(&mut self, now: Time, id: StreamId) {
        let serve = Serve {
            buffer: MessageBuffer::default(),
            begun: false,
            lanes: VecDeque::new(),
            current: None,
            deadline: now + STALL,
        };
        self.serves.insert(id, serve);
    }

    pub(super) fn on_request(&mut self, now: Time, id: StreamId, bytes: &[u8], out: &mut Output) {
        let begun = self.serves.values().filter(|serve| serve.begun).count();
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
        let Ok(Message::Request { cluster, target_node, target_incarnation, lanes, .. }) = request else {
            self.stats.malformed += 1;
            self.end_serve(id, StreamAction::Abort, out);
            return;
        };
        if cluster != self.settings.cluster {
            self.stats.foreign += 1;
            self.end_serve(id, StreamAction::Abort, out);
            return;
        }
        let mine = self.incarnation.to_u64();
        if target_node != self.node.0 || target_incarnation != mine || self.phase != Phase::Live {
            self.reply(id, &Message::Refused { reason: REFUSED_OTHER_LIFE, incarnation: mine }, out);
            self.end_serve(id, StreamAction::Finish, out);
            return;
        }
        if begun >= self.settings.limits.serves {
            let ms = u32::try_from(RETRY_AFTER.as_millis()).unwrap_or(u32::MAX);
            self.reply(id, &Message::RetryAfter { ms }, out);
            self.end_serve(id, StreamAction::Finish, out);
            return;
        }
        let lanes_max = self.replica.lanes();
        serve.lanes = lanes.into_iter().filter(|&(lane, _)| lane < lanes_max).collect();
        serve.begun = true;
        self.serve_more(now, id, out);
    }

    /// Hands the driver the next portion of a stream.
    pub(super) fn serve_more(&mut self, now: Time, id: StreamId, out: &mut Output) {
        let limits = self.settings.limits;
        let Some(serve) = self.serves.get_mut(&id).filter(|serve| serve.begun) else {
            return;
        };
        serve.deadline = now + STALL;
        let mut bytes = Vec::new();
        let mut done = false;
        let mut lane_at = 0;
        while (bytes.len() < limits.portion_bytes || planted!(AscendingSnapshot)) && !done {
            if let Some(current) = &mut serve.current {
                if current.hi > 0 {
                    let len = bytes.len();
                    current.put_chunk(limits.chunk_bytes, &mut bytes);
                    if planted!(AscendingSnapshot) {
                        let chunk_len = bytes.len() - len;
                        bytes[lane_at..].rotate_right(chunk_len);
                    }
                    continue;
                }
                let headcount::replica::LaneSummary { clock, count, digest } = current.snapshot.summary;
                let end = Message::LaneEnd { lane: current.snapshot.lane, as_of: clock, count, digest };
                let _fits = end.put(&mut bytes);
                serve.current = None;
                self.stats.snapshot_lanes_sent += 1;
                continue;
            }
            let Some((lane, base)) = serve.lanes.pop_front() else {
                let _fits = Message::Done.put(&mut bytes);
                done = true;
                continue;
            };
            if let Some(snapshot) = self.replica.snapshot(lane) {
                let headcount::replica::LaneSummary { clock, count, .. } = snapshot.summary;
                let _fits = Message::LaneBegin { lane, base, as_of: clock, count }.put(&mut bytes);
                serve.current = Some(Current { snapshot, base, sent: 0, hi: clock });
                lane_at = bytes.len();
            }
        }
        self.stats.snapshot_bytes_sent += bytes.len() as u64;
        out.streams.push((id, StreamAction::Send(bytes)));
        if done {
            self.end_serve(id, StreamAction::Finish, out);
        }
    }

    fn reply(&mut self, id: StreamId, message: &Message<'_>, out: &mut Output) {
        let mut bytes = Vec::new();
        let _fits = message.put(&mut bytes);
        out.streams.push((id, StreamAction::Send(bytes)));
    }

    fn end_serve(&mut self, id: StreamId, how: StreamAction, out: &mut Output) {
        self.serves.remove(&id);
        out.streams.push((id, how));
    }
}

impl Current {
    /// Adds the next chunk: as many entries as fit, and the range down to the last of them.
    fn put_chunk(&mut self, chunk_bytes: usize, bytes: &mut Vec<u8>) {
        let mut writer = ChunkWriter::new(self.snapshot.lane, self.hi, chunk_bytes);
        let mut lo = 0;
        let mut last = self.hi;
        while let Some(entry) = self.snapshot.entries.get(self.sent) {
            let dot = entry.entry_ref().clock;
            let payload = (dot > self.base).then(|| Payload {
                topic: entry.topic(),
                key: entry.key(),
                meta: entry.meta(),
            });
            if !writer.push(&SnapshotItem { dot, birth: entry.joined_ref().clock, payload }) {
                lo = last - 1;
                break;
            }
            last = dot;
            self.sent += 1;
        }
        bytes.extend_from_slice(&writer.finish(lo));
        self.hi = lo;
    }
}
