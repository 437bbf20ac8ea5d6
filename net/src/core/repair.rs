//! Repair: noticing what is missing, asking its owner for it, and answering.

use super::Core;
use super::io::{Output, Target, Time};
use super::member::MemberState;
use super::ring::Found;
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
const RETRY_FIRST: Duration = Duration::from_millis(4);
const RETRY_MAX: Duration = Duration::from_millis(64);
/// After so many requests in vain, a snapshot.
const NAKS_MAX: u8 = 3;
const RANGES_PER_NAK: usize = 40;
const REPAIRS_PER_NAK: usize = 128;

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
        if !lane.has_gap() || lane.needs_snapshot || lane.in_transfer || lane.nak_at.is_some() {
            return;
        }
        if lane.primed {
            let at = now + REORDER_GRACE + jitter;
            lane.nak_at = Some(at);
            member.nak_due = member.nak_due.min(at);
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
            let mut hopeless = Vec::new();
            for (number, lane) in (0..).zip(&mut member.lanes) {
                if lane.nak_at.is_none_or(|at| now < at) || ranges.len() >= RANGES_PER_NAK {
                    continue;
                }
                lane.nak_at = None;
                if !lane.has_gap() {
                    continue;
                }
                if lane.naks >= NAKS_MAX {
                    lane.naks = 0;
                    hopeless.push(number);
                    continue;
                }
                let retry = RETRY_FIRST.saturating_mul(1 << (2 * u32::from(lane.naks))).min(RETRY_MAX);
                lane.nak_at = Some(now + retry);
                lane.naks += 1;
                ranges.extend(lane.missing().into_iter().map(|(lo, hi)| (number, lo, hi)));
            }
            for lane in hopeless {
                member.want_snapshot(lane, now);
            }
            ranges.truncate(RANGES_PER_NAK);
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

    /// Sends again what a peer asks for, as far as the ring reaches, and offers a snapshot for the rest.
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
        for number in wanted.into_iter().take(REPAIRS_PER_NAK) {
            if let Some(bytes) = self.ring.again(number, now, from) {
                let bytes = bytes.to_vec();
                self.count_sent(bytes.len());
                self.stats.repairs_sent += 1;
                self.stats.repair_bytes_sent += bytes.len() as u64;
                out.datagrams.push((Target::Node(from), bytes));
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
}
