//! What other nodes say.

use super::Core;
use super::fallback::COPIES_FOR;
use super::io::{Measure, Output, Phase, Target, Time};
use super::liveness::Liveness;
use super::member::{Lane, Member, MemberState};
#[cfg(feature = "tracing")]
use super::notes::Turn;
use crate::crypto::SenderId;
use crate::wire::{self, Frame, Report};
use headcount::replica::{ApplyError, DeltaView, Joined, LaneCondition, OriginError};
use headcount::{Incarnation, NodeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// An unknown node is asked who it is this often at most.
const ASK_EVERY: Duration = Duration::from_millis(50);
pub(super) const ASKED_MAX: usize = 1024;

/// Where a datagram came from.
#[derive(Clone, Copy)]
pub(super) struct Sender {
    pub(super) node: NodeId,
    pub(super) session: u64,
    pub(super) addr: SocketAddr,
}

impl Sender {
    pub(super) fn id(self) -> SenderId {
        SenderId { node: self.node.0, session: self.session }
    }
}

/// Whether this node's own limits are why something was not applied.
pub(super) fn is_over_a_limit(error: &ApplyError) -> bool {
    matches!(error, ApplyError::TooLong { .. } | ApplyError::Full { .. })
}

impl Core {
    pub(super) fn on_datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        by_group: bool,
        out: &mut Output,
    ) {
        let mut room = [0; wire::DATAGRAM_ACCEPTED_MAX];
        let me = (SenderId { node: self.node.0, session: self.session }, self.settings.cluster);
        let Some(admitted) = self.gate.admit(now, me, from, bytes, &mut room, &mut self.stats) else {
            return;
        };
        let body = admitted.body;
        let sender =
            Sender { node: NodeId(admitted.header.node), session: admitted.header.session, addr: from };
        // Whoever speaks under this node's own name is not to put this node in quarantine.
        self.speaking = Some(sender.node).filter(|&node| admitted.proven && node != self.node);
        #[cfg(test)]
        self.gate.stumble_at("frames");
        let Ok(frames) = wire::frames(body).collect::<Result<Vec<_>, _>>() else {
            self.stats.malformed += 1;
            return;
        };
        if !self.listens() {
            return;
        }
        if !admitted.proven {
            self.meet_stranger(now, sender, &admitted, (bytes.len(), &frames), out);
            return;
        }
        if sender.node == self.node {
            self.on_own_name(now, sender, &frames, out);
            return;
        }
        if !self.is_quarantined(sender.node, &frames) {
            self.on_frames(now, sender, (frames, by_group), body, out);
        }
    }

    fn on_frames(
        &mut self,
        now: Time,
        sender: Sender,
        (frames, by_group): (Vec<Frame<'_>>, bool),
        body: &[u8],
        out: &mut Output,
    ) {
        if self.members.get(&sender.node).is_some_and(|member| member.session == sender.session) {
            self.note_heard(now, sender.node, out);
            if by_group {
                self.note_heard_by_group(now, sender.node, out);
            }
        }
        // Made once, if anything of the datagram has to wait.
        let mut kept = None;
        let mut is_latest = false;
        for frame in frames {
            match frame {
                Frame::Hello(hello) => self.on_hello(now, sender, &hello, out),
                Frame::Heartbeat(heartbeat) => {
                    self.on_heartbeat(now, sender, &heartbeat, out);
                    is_latest = self.is_latest(sender, heartbeat.seq);
                    if is_latest {
                        self.check_relayed(now, sender.node, &heartbeat.clocks, out);
                    }
                }
                Frame::Delta(delta) => self.on_delta(now, sender, &delta, body, &mut kept, out),
                Frame::Nak(nak) => self.on_nak(now, sender.addr, &nak, out),
                Frame::Heard(heard) => {
                    // The heartbeat that it rides with is counted and asked about already.
                    let known = self.members.get(&sender.node);
                    if known.is_some_and(|member| member.session == sender.session) {
                        self.on_heard(now, sender.node, &heard, is_latest);
                    }
                }
                Frame::SnapshotOffer(offer) => self.on_offer(now, sender, &offer),
                Frame::Leave(leave) => self.on_leave(now, sender, &leave, out),
                Frame::Peers(peers) => {
                    if self.speaker(now, sender, out) {
                        self.on_peers(now, &peers);
                    }
                }
                Frame::IncReject(reject) => {
                    if reject.target_node == self.node.0 {
                        let highest = self.believe(Incarnation::from_u64(reject.highest));
                        self.jump_above(now, highest, out);
                    }
                }
                Frame::Drops(drops) => self.on_drops(sender, drops),
                Frame::Evict(evict) => self.on_evict(now, sender, &evict, out),
                Frame::Evicted(evicted) => self.on_evicted(sender, &evicted, out),
                // It has not heard this node's proof, or knows it no longer.
                Frame::Challenge(challenge) => self.answer_challenge(sender, &challenge, out),
                Frame::Proof(_) => {}
            }
        }
        self.answer(now, sender.node);
        self.note_deadline(now, sender.node);
    }

    /// Somebody else speaks under this node's name. A node that is only starting gives way to one that lives; of two that
    /// start or live at once, the lower life (then session) gives way. Both see the other, and only one stops.
    fn on_own_name(&mut self, now: Time, sender: Sender, frames: &[Frame<'_>], out: &mut Output) {
        #[cfg(test)]
        self.gate.stumble_at("own name");
        for frame in frames {
            let other = match frame {
                Frame::Challenge(challenge) => {
                    self.answer_challenge(sender, challenge, out);
                    continue;
                }
                Frame::Hello(hello) if hello.flags & wire::Hello::JOINING != 0 => None,
                Frame::Hello(hello) => Some(hello.incarnation),
                Frame::Heartbeat(heartbeat) => Some(heartbeat.incarnation),
                _ => continue,
            };
            let give_way = match (&self.phase, other) {
                (Phase::Listening { .. }, None) => self.session < sender.session,
                (Phase::Listening { .. }, Some(_)) => true,
                (Phase::Live, None) => {
                    self.hasten_heartbeat(now);
                    false
                }
                (Phase::Live, Some(other)) => {
                    (self.incarnation.to_u64(), self.session) < (other, sender.session)
                }
                _ => false,
            };
            if give_way && !planted!(TwinsLive) {
                self.meet_myself(sender.addr);
                return;
            }
            // Nothing else of this node may reach the other, which has to give way.
            if let Frame::Hello(hello) = frame
                && hello.flags & wire::Hello::REPLY_WANTED != 0
                && self.phase == Phase::Live
                && !self.multicasts()
            {
                self.send_hello(Target::Node(sender.addr), self.node, false, out);
            }
        }
    }

    fn on_hello(&mut self, now: Time, sender: Sender, hello: &wire::Hello<'_>, out: &mut Output) {
        let joining = hello.flags & wire::Hello::JOINING != 0;
        let for_me = hello.target_node == self.node.0;
        if for_me {
            let known = self.believe(Incarnation::from_u64(hello.target_known));
            self.highest = self.highest.max(known);
            self.jump_above(now, known, out);
        }
        if !joining {
            let Some(is_new) = self.learn(now, sender, hello, out) else {
                return;
            };
            if is_new {
                self.hasten_heartbeat(now);
            }
            if hello.flags & wire::Hello::COPIES_WANTED != 0
                && let Some(member) = self.members.get_mut(&sender.node)
            {
                member.copies_until = now + COPIES_FOR;
                self.contacts.changed();
            }
        }
        if hello.flags & wire::Hello::REPLY_WANTED != 0 && self.phase == Phase::Live {
            self.send_hello(Target::Node(sender.addr), sender.node, false, out);
            self.hasten_heartbeat(now);
        }
    }

    /// Takes note of a life of another node. `None` if it is over; else whether it is new here.
    fn learn(
        &mut self,
        now: Time,
        sender: Sender,
        hello: &wire::Hello<'_>,
        out: &mut Output,
    ) -> Option<bool> {
        let life = Incarnation::from_u64(hello.incarnation);
        if self.has_said_goodbye(sender.node, life) {
            self.stats.stale += 1;
            return None;
        }
        if self.gate.quarantined_life(sender.node).is_some_and(|quarantined| life <= quarantined) {
            self.stats.quarantined += 1;
            return None;
        }
        match self.replica.origin_succeed(sender.node, hello.name, life, hello.lanes) {
            Ok(Joined::Known) => {
                if self.members.get(&sender.node).is_some_and(|member| member.session == sender.session) {
                    return Some(false);
                }
                self.stats.stale += 1;
                None
            }
            Ok(joined) => {
                let (before, show_by) = self.succession(now, sender.node, joined);
                note!(self.note_turn(sender.node, Turn::Replaced(life)));
                self.take_member(sender.node, out);
                let member = Member {
                    node: sender.node,
                    name: hello.name.to_owned(),
                    incarnation: life,
                    session: sender.session,
                    addr: sender.addr,
                    tcp_port: hello.tcp_port,
                    lanes: (0..hello.lanes).map(|_| Lane::default()).collect(),
                    heard: now,
                    state: MemberState::Up,
                    hidden: before.is_some(),
                    before,
                    show_by,
                    waiting_bytes: 0,
                    transfer: None,
                    transfer_at: None,
                    transfer_failures: 0,
                    is_over_limit: false,
                    probe_at: now,
                    epochs: Vec::new(),
                    nak_due: Time::MAX,
                    liveness: Liveness::new(now),
                    group_heard: now,
                    copies_until: Time::ZERO,
                    relay_at: Time::MAX,
                    leaves_at: None,
                    drops: None,
                };
                self.members.insert(sender.node, member);
                self.gate.supersede_others(sender.node, sender.session);
                self.sessions.insert(Report::name_of(sender.session), sender.node);
                self.asked.remove(&sender.node);
                self.purging = true;
                self.version += 1;
                note!(self.note_turn(sender.node, Turn::Met));
                Some(true)
            }
            Err(OriginError::Stale { highest }) => {
                self.reject(now, sender, highest, out);
                None
            }
            Err(_) => {
                self.stats.refused_nodes += 1;
                None
            }
        }
    }

    /// Tells a node that speaks in an old life of the highest one known.
    fn reject(&mut self, now: Time, sender: Sender, highest: Incarnation, out: &mut Output) {
        self.stats.stale += 1;
        if !self.gate.may_reject(now, sender.addr, sender.session) {
            return;
        }
        let mut body = Vec::new();
        wire::IncReject { target_node: sender.node.0, highest: highest.to_u64() }.put(&mut body);
        // To who has restarted this node is a stranger, and is asked for its proof only if what it sends is as long as the question.
        self.put_hello(sender.node, false, &mut body);
        self.tell_peers(sender.addr, sender.node, &mut body);
        self.send(Target::Node(sender.addr), &body, out);
    }

    /// Asks a node that speaks in an unknown session who it is.
    fn ask_who(&mut self, now: Time, sender: Sender, out: &mut Output) {
        let recently = self.asked.get(&sender.node).is_some_and(|&at| now < at + ASK_EVERY);
        if recently || matches!(self.phase, Phase::Listening { .. }) {
            return;
        }
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_first();
        }
        self.asked.insert(sender.node, now);
        self.send_hello(Target::Node(sender.addr), sender.node, true, out);
    }

    /// The member that speaks, if its session is the one known.
    pub(super) fn speaker(&mut self, now: Time, sender: Sender, out: &mut Output) -> bool {
        match self.members.get(&sender.node) {
            Some(member) if member.session == sender.session => true,
            _ => {
                self.stats.stale += 1;
                self.ask_who(now, sender, out);
                false
            }
        }
    }

    fn on_heartbeat(&mut self, now: Time, sender: Sender, heartbeat: &wire::Heartbeat, out: &mut Output) {
        let life = Incarnation::from_u64(heartbeat.incarnation);
        if self.has_said_goodbye(sender.node, life) {
            self.stats.stale += 1;
            return;
        }
        if let Some(highest) = self.replica.highest_incarnation(sender.node).filter(|&highest| highest > life)
        {
            self.reject(now, sender, highest, out);
            return;
        }
        if !self.speaker(now, sender, out) {
            return;
        }
        let Some(member) = self.members.get_mut(&sender.node) else {
            return;
        };
        member.epochs.clone_from(&heartbeat.epochs);
        let mut late = Vec::new();
        for &(number, clock) in &heartbeat.clocks {
            let Some(lane) = member.lanes.get_mut(usize::from(number)) else {
                continue;
            };
            lane.target = lane.target.max(clock);
            lane.confirmed = true;
            if !std::mem::replace(&mut lane.primed, true) {
                self.version += 1;
                if lane.clock < clock {
                    member.want_snapshot(number, now);
                    continue;
                }
            }
            if member.lanes[usize::from(number)].has_gap() {
                late.push(number);
            }
        }
        member.note_clocks(heartbeat);
        for lane in late {
            self.note_gap(now, sender.node, lane);
        }
        for digest in &heartbeat.digests {
            self.note_clock(now, sender.node, digest);
            self.compare_digest(now, sender.node, digest);
        }
    }

    /// A digest says where its lane is, too, to who has missed the heartbeats that named it.
    fn note_clock(&mut self, now: Time, node: NodeId, digest: &wire::LaneDigest) {
        let lane =
            self.members.get_mut(&node).and_then(|member| member.lanes.get_mut(usize::from(digest.lane)));
        if let Some(lane) = lane.filter(|lane| lane.primed && lane.target < digest.clock) {
            lane.target = digest.clock;
            self.note_gap(now, node, digest.lane);
        }
    }

    /// Holds the owner's digest against what is held here, if both are about the same clock and nothing is under way.
    fn compare_digest(&mut self, now: Time, node: NodeId, digest: &wire::LaneDigest) {
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        let Some(lane) = member.lanes.get(usize::from(digest.lane)) else {
            return;
        };
        if (!lane.is_synced() || lane.clock != digest.clock) && !planted!(DigestWhileUnclean) {
            return;
        }
        let Some(held) = self.replica.remote_lane(node, digest.lane) else {
            return;
        };
        let differs = (held.summary.count, held.summary.digest) != (digest.count, digest.digest);
        let is_clean = held.condition == LaneCondition::Clean && held.summary.clock == digest.clock;
        if differs && (is_clean || planted!(DigestWhileUnclean)) {
            self.stats.digest_mismatches += 1;
            self.replica.mark_diverged(node, digest.lane);
            member.lanes[usize::from(digest.lane)].unclean = true;
            member.want_snapshot(digest.lane, now);
            self.version += 1;
            note!(self.note_diverged(node, digest.lane));
        } else if is_clean {
            self.note_attested(node, digest.lane, held.summary);
        }
    }

    fn on_delta(
        &mut self,
        now: Time,
        sender: Sender,
        delta: &wire::DeltaFrame<'_>,
        body: &[u8],
        kept: &mut Option<Arc<[u8]>>,
        out: &mut Output,
    ) {
        if !self.speaker(now, sender, out) {
            return;
        }
        let Some(member) = self.members.get_mut(&sender.node) else {
            return;
        };
        let Some(lane) = member.lanes.get_mut(usize::from(delta.lane)) else {
            self.stats.malformed += 1;
            return;
        };
        lane.target = lane.target.max(delta.hi);
        if delta.hi <= lane.clock {
            self.stats.duplicates += 1;
            return;
        }
        let is_early = delta.lo > lane.clock && !planted!(NoGapCheck);
        let must_wait = lane.unclean && !planted!(DeltaDuringSnapshot);
        if is_early || must_wait {
            if delta.lo > lane.clock {
                self.stats.gaps += 1;
            }
            if delta.hi <= lane.asked_to {
                // Not in vain.
                lane.naks = 0;
            }
            let body = kept.get_or_insert_with(|| body.into());
            let bytes_max = self.settings.limits.waiting_bytes;
            if !member.keep_waiting(delta.lane, (delta.lo, delta.hi), body, bytes_max) {
                self.stats.reorder_overflows += 1;
                member.lanes[usize::from(delta.lane)].leave_to_stream();
            }
            self.note_gap(now, sender.node, delta.lane);
            return;
        }
        self.apply(now, sender.node, delta);
        self.apply_waiting(now, sender.node, delta.lane);
    }

    /// Applies a delta that fits. What the engine refuses leaves the lane to a snapshot.
    fn apply(&mut self, now: Time, node: NodeId, delta: &wire::DeltaFrame<'_>) {
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        let at = usize::from(delta.lane);
        let ops = delta.ops();
        let view = DeltaView { lane: delta.lane, lo: delta.lo, hi: delta.hi, ops: &ops };
        #[cfg(test)]
        assert_ne!(self.gate.planted, Some(node), "planted");
        let was_synced = member.lanes[at].is_synced();
        match self.replica.apply(node, member.incarnation, &view) {
            Ok(clock) => {
                let lane = &mut member.lanes[at];
                lane.clock = clock;
                lane.primed = true;
                if !lane.has_gap() {
                    self.stats.naks_spared += u64::from(lane.nak_at.is_some() && lane.asked_to == 0);
                    let since = lane.close().filter(|_| self.settings.watched);
                    self.measures.extend(since.map(|since| Measure::Repair(now.saturating_sub(since))));
                }
                lane.naks = 0;
                if lane.is_synced() != was_synced {
                    self.version += 1;
                }
                note!({
                    if !lane.has_gap() {
                        self.note_closed(now, node, delta.lane);
                    }
                });
            }
            Err(ApplyError::Malformed { .. }) => self.stats.malformed += 1,
            Err(ApplyError::SnapshotUnderWay) => {}
            Err(error) => {
                if is_over_a_limit(&error) {
                    self.stats.refused_operations += 1;
                }
                let held = self.replica.remote_lane(node, delta.lane);
                member.lanes[at].unclean = held.is_some_and(|held| held.condition != LaneCondition::Clean);
                member.want_snapshot(delta.lane, now);
                self.version += 1;
            }
        }
    }

    /// Applies what waited in a lane, as far as it now fits.
    pub(super) fn apply_waiting(&mut self, now: Time, node: NodeId, lane: u16) {
        while let Some(member) = self.members.get_mut(&node)
            && (!member.lanes[usize::from(lane)].unclean || planted!(DeltaDuringSnapshot))
            && let Some((lo, waiting)) = member.take_waiting(lane)
        {
            if waiting.hi <= member.lanes[usize::from(lane)].clock {
                continue;
            }
            for frame in wire::frames(&waiting.body).flatten() {
                if let Frame::Delta(delta) = frame
                    && delta.lane == lane
                    && delta.lo == lo
                {
                    self.apply(now, node, &delta);
                }
            }
        }
        self.note_gap(now, node, lane);
    }

    fn on_offer(&mut self, now: Time, sender: Sender, offer: &wire::SnapshotOffer) {
        let for_me = offer.target_node == self.node.0 && offer.target_session == self.session;
        if !for_me || planted!(OfferIgnored) {
            return;
        }
        let Some(member) = self.members.get_mut(&sender.node) else {
            return;
        };
        if member.session != sender.session {
            return;
        }
        for &lane in &offer.lanes {
            match member.lanes.get_mut(usize::from(lane)) {
                // What it is to bring is not known yet, or less than what is missing; it is seen at its end.
                Some(late) if late.has_gap() && late.in_transfer => late.leave_to_stream(),
                Some(late) if late.has_gap() => member.want_snapshot(lane, now),
                _ => {}
            }
        }
    }

    /// A member says how many datagrams found its buffer full. What it says first is of the time before.
    fn on_drops(&mut self, sender: Sender, drops: wire::Drops) {
        let known = self.members.get_mut(&sender.node).filter(|member| member.session == sender.session);
        if let Some(member) = known
            && member.drops.replace(drops.total).is_some_and(|before| before < drops.total)
        {
            self.budget.note_dropped();
        }
    }

    fn on_leave(&mut self, now: Time, sender: Sender, leave: &wire::Leave, out: &mut Output) {
        let life = Incarnation::from_u64(leave.incarnation);
        let Some(member) = self.members.get(&sender.node) else {
            // Its announcement may have been overtaken.
            self.remember_goodbye(sender.node, life);
            return;
        };
        if member.session != sender.session || member.incarnation != life {
            self.stats.stale += 1;
            return;
        }
        self.remember_goodbye(sender.node, life);
        let handover = Duration::from_millis(leave.handover_ms).min(self.settings.timing.handover_max);
        self.let_go(now, sender.node, handover, out);
    }
}
