//! Repair: noticing what is missing, asking its owner for it, and answering.
//!
//! With a group the owner gathers requests for a moment ([`askers`](super::askers)), and sends what several lack once, to all. Who waits to
//! ask hears that, too, and asks no more.
//!
//! A datagram that is lost twice is worth asking for again: only if nothing at all comes of what was asked for, time after time, a
//! stream is to bring it. Requests go on beside it, for whatever the stream is not known to bring: where datagrams are lost a stream
//! is slow, and mostly what is asked for is there first.

use super::Core;
use super::io::{Output, Target, Time};
use super::member::MemberState;
use super::ring::{Asked, Due, Found};
use super::window::WINDOW;
use crate::wire;
use headcount::NodeId;
use std::net::SocketAddr;
use std::time::Duration;

/// What is missing may only be late.
const REORDER_GRACE: Duration = Duration::from_micros(500);
/// Askers spread over this much for each member, at most [`JITTER_MAX`].
const JITTER_PER_MEMBER: Duration = Duration::from_micros(10);
const JITTER_MAX: Duration = Duration::from_millis(2);
/// From one request to the next, doubling.
const RETRY_FIRST: Duration = Duration::from_millis(4);
const RETRY_MAX: Duration = Duration::from_millis(64);
/// After so many requests that nothing came of, about 300 ms, a stream as well.
const NAKS_MAX: u8 = 8;
/// What is missing behind a stream that is under way is not in a hurry.
const GRACE_BEHIND_STREAM: Duration = Duration::from_millis(16);
/// Bytes of ranges in one request.
const RANGE_BYTES_PER_NAK: usize = 1000;
const REPAIRS_PER_NAK: usize = 128;
/// From the first request for a datagram until it is sent again, if it can be sent to several at once.
const GATHER: Duration = Duration::from_micros(300);

impl Core {
    /// Something of a lane is missing, or may be: asks for it after a moment, if it is still missing then.
    pub(super) fn note_gap(&mut self, now: Time, node: NodeId, number: u16) {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let spread = JITTER_PER_MEMBER.saturating_mul(members).min(JITTER_MAX);
        let jitter = self.rng.time_below(spread);
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        let lane = &mut member.lanes[usize::from(number)];
        if !lane.has_gap() || lane.nak_at.is_some() || lane.left_to_stream >= lane.target {
            return;
        }
        if lane.primed {
            let grace = if lane.awaits_stream() { GRACE_BEHIND_STREAM } else { REORDER_GRACE };
            let from = now + grace;
            // With other lanes of the owner's, if they are asked for about then.
            let goes_along = (from..=from + spread).contains(&member.nak_due);
            let at = if goes_along { member.nak_due } else { from + jitter };
            lane.nak_at = Some(at);
            lane.gap_since = lane.gap_since.or(Some(now));
            member.nak_due = member.nak_due.min(at);
            note!(self.note_noticed(now, node, number));
        } else {
            // Nothing of this lane was ever held: the ring would be a long way round.
            lane.primed = true;
            member.want_snapshot(number, now + jitter);
        }
        self.version += 1;
    }

    pub(super) fn ask_for_repairs(&mut self, now: Time, out: &mut Output) {
        let mut requests = Vec::new();
        for (&node, member) in &mut self.members {
            if member.state == MemberState::Down || now < member.nak_due {
                continue;
            }
            let mut ranges = Vec::new();
            let mut room = RANGE_BYTES_PER_NAK;
            let mut hopeless = Vec::new();
            for (number, lane) in (0..).zip(&mut member.lanes) {
                // A lane that finds no room goes with the next request.
                if lane.nak_at.is_none_or(|at| now < at) || room == 0 {
                    continue;
                }
                lane.nak_at = None;
                let missing = lane.missing();
                if missing.is_empty() {
                    continue;
                }
                if lane.naks >= NAKS_MAX && !lane.awaits_stream() {
                    hopeless.push(number);
                }
                let retry = RETRY_FIRST.saturating_mul(1 << u32::from(lane.naks)).min(RETRY_MAX);
                lane.nak_at = Some(now + retry);
                lane.naks = (lane.naks + 1).min(NAKS_MAX);
                for (lo, hi) in missing {
                    let len = wire::varint_len(u64::from(number))
                        + wire::varint_len(lo)
                        + wire::varint_len(hi - lo);
                    if len > room {
                        room = 0;
                        break;
                    }
                    room -= len;
                    lane.asked_to = hi;
                    ranges.push((number, lo, hi));
                }
            }
            for lane in hopeless {
                member.want_snapshot_beside(lane, now);
            }
            member.nak_due = member.lanes.iter().filter_map(|lane| lane.nak_at).min().unwrap_or(Time::MAX);
            if !ranges.is_empty() {
                requests.push((node, member.session, member.addr, ranges));
            }
        }
        for (node, target_session, addr, ranges) in requests {
            let mut body = Vec::new();
            wire::Nak { target_node: node.0, target_session, ranges }.put(&mut body);
            self.stats.naks_sent += 1;
            self.send(Target::Node(addr), &body, out);
        }
    }

    /// Notes what a peer lacks, to be sent again soon as far as the ring reaches, and offers a snapshot for the rest.
    pub(super) fn on_nak(&mut self, now: Time, from: SocketAddr, nak: &wire::Nak, out: &mut Output) {
        if nak.target_node != self.node.0 || nak.target_session != self.session {
            return;
        }
        self.stats.naks_received += 1;
        if planted!(NakIgnored) {
            return;
        }
        // What the asker would take for a replay is of no use to it.
        self.ring.drop_before(self.packet.saturating_sub(WINDOW));
        let mut wanted = Vec::new();
        let mut beyond = Vec::new();
        for &(lane, lo, hi) in &nak.ranges {
            let mut found = Found::default();
            self.ring.find(lane, lo, hi, &mut found);
            wanted.append(&mut found.datagrams);
            if found.beyond {
                beyond.push(lane);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        let several = self.multicasts() && self.members.len() > 1;
        let due = if several { now + GATHER } else { now };
        for number in wanted.into_iter().take(REPAIRS_PER_NAK) {
            match self.ring.ask(now, due, number, from) {
                Asked::Noted { askers, len } => {
                    self.budget.note_asked(len);
                    self.stats.repairs_united += u64::from(askers > 1);
                }
                Asked::Lingers => self.stats.repairs_lingering += 1,
                Asked::Before | Asked::Gone => {}
            }
        }
        beyond.sort_unstable();
        beyond.dedup();
        if !beyond.is_empty() {
            self.stats.repairs_beyond_ring += 1;
            // The asker's session is not in its request; it is in the header of every datagram that it sends.
            let asker = self.members.values().find(|member| member.addr == from);
            if let Some((target_node, target_session)) = asker.map(|member| (member.node.0, member.session)) {
                let mut body = Vec::new();
                wire::SnapshotOffer { target_node, target_session, lanes: beyond }.put(&mut body);
                self.send(Target::Node(from), &body, out);
            }
        }
    }

    /// When the next datagram is to be sent again.
    pub(super) fn repairs_due_at(&self) -> Time {
        self.ring.due_at().map_or(Time::MAX, |at| at.max(self.budget.repairs_ready_at()))
    }

    /// Sends again what is due, as much as the budget for it allows.
    pub(super) fn repair_if_due(&mut self, now: Time, out: &mut Output) {
        while self.ring.due_at().is_some_and(|at| now >= at) {
            if self.budget.repairs_ready_at() > now {
                self.budget.hold_repairs(now);
                return;
            }
            let Some(due) = self.ring.take_due() else {
                continue;
            };
            self.stats.repairs_deferred += u64::from(self.budget.has_held(due.at));
            // Who still lacks what has waited for so long has asked again, or will.
            if now < due.at + RETRY_MAX {
                self.repair(now, due, out);
            }
        }
    }

    /// Sends one datagram again: by the group if several lack it and there is a group, else to each that does.
    fn repair(&mut self, now: Time, due: Due, out: &mut Output) {
        let Due { number, mut bytes, askers, .. } = due;
        if planted!(RepairResealed)
            && let Ok((_, body)) = wire::open(&bytes, self.settings.cluster)
        {
            bytes = self.seal(body);
        }
        let len = bytes.len();
        let to_group = askers.len() > 1 && self.multicasts();
        let copies = if to_group { self.copies() } else { askers.len() as u64 };
        self.budget.take_repair(now, len, copies);
        self.stats.repairs_sent += copies;
        self.stats.repair_bytes_sent += copies * len as u64;
        self.stats.datagrams_sent += copies;
        self.stats.bytes_sent += copies * len as u64;
        if to_group {
            self.stats.repairs_to_group += 1;
            self.ring.note_resent(now, number, None);
            out.datagrams.push((Target::Group, bytes));
            return;
        }
        for asker in askers {
            self.ring.note_resent(now, number, Some(asker));
            out.datagrams.push((Target::Node(asker), bytes.clone()));
        }
    }
}
