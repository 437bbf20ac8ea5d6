//! What must hold after every step, by the numbers of PROTOCOL.md section 9.
//!
//! Cheap checks look at the node that was touched; now and then, and at the end, everything that it holds and shows is compared with the
//! books.

use super::Breach;
use super::oracle::{Oracle, ProcessId};
use super::process::{Heard, Process};
use super::sealing;
use super::trace::Note;
use super::versions::Worth;
use super::world::World;
use crate::core::{Input, MemberState, Phase, Time};
use crate::stats::NetStats;
use crate::wire::{self, Frame};
use headcount::replica::LaneCondition;
use headcount::{EventKind, Incarnation, NodeId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Every lane of a node is looked at once in so many steps, and everything is compared once in so many.
const LOOK_EVERY: u64 = 64;
const COMPARE_EVERY: u64 = 384;
/// Late by so much is late by the grain of heartbeats and turns.
const GRAIN: Duration = Duration::from_millis(400);
/// Of so many requests for repair, one at the least has an answer.
const NAKS_ANSWERED: u64 = 12;
/// A core that wants more turns than this within a millisecond spins.
const TURNS_PER_MS_MAX: u32 = 60;

pub(super) fn breach<T>(invariant: &'static str, what: String) -> Result<T, Breach> {
    Err(Breach::new(invariant, what))
}

impl World {
    pub(crate) fn on_datagram(
        &mut self,
        id: ProcessId,
        from: SocketAddr,
        bytes: &Arc<[u8]>,
        worth: Worth,
        by_group: bool,
    ) -> Result<(), Breach> {
        let now = self.now;
        let Some(&at) = self.homes.get(id) else {
            return Ok(());
        };
        let bytes = &self.as_heard(at, bytes);
        let (ledger, process) = (&self.ledger, self.hosts[at].process.as_mut());
        let Some(process) = process.filter(|process| process.id == id) else {
            return Ok(());
        };
        let host = process.host;
        let before = process.core.stats();
        // Of a key that is no longer installed it is refused like one that is damaged.
        let opened = sealing::open(bytes);
        let lacks_key = opened.as_ref().is_some_and(|(header, _)| !process.core.has_key(header.key_epoch));
        let opened = opened.filter(|_| !lacks_key);
        let opened = opened.as_ref().map(|(header, body)| (header, &body[..]));
        let is_own = opened.as_ref().is_some_and(|(header, _)| header.node == process.node.0);
        // What has not proven itself, or has come before, is not heard; nor is what must be understood as a whole and cannot be.
        let heard = |header: &wire::Header| {
            worth != Worth::Critical
                && process.core.would_take(NodeId(header.node), header.session, header.packet)
        };
        let speaker = opened
            .as_ref()
            .filter(|(header, _)| heard(header))
            .map(|(header, _)| (NodeId(header.node), header.session));
        let proven = opened.as_ref().map(|(header, _)| (NodeId(header.node), header.session, header.packet));
        let proven = proven.filter(|&(node, session, _)| process.core.is_proven(node, session));
        let takes_part = process.takes_part();
        process.note_heard(now, speaker);
        let sent_at = opened.as_ref().and_then(|(header, _)| ledger.sent_at(header));
        let is_old = speaker.is_some() && sent_at.is_some_and(|at| now > at + GRAIN);
        let frames: Vec<Frame<'_>> =
            opened.map(|(_, body)| wire::frames(body).flatten().collect()).unwrap_or_default();
        let known = speaker.and_then(|(node, session)| {
            process.core.peer(node).filter(|peer| takes_part && peer.session == session)
        });
        if is_old && frames.iter().any(|frame| matches!(frame, Frame::Heard(_))) {
            // Somebody has kept it where it was not heard, and it says how long ago others were heard: then, not now.
            process.excused_until = process.excused_until.max(now + 2 * process.timing.down_after);
        }
        let mut owed = Owed::default();
        for frame in &frames {
            match (frame, known) {
                (Frame::Leave(leave), Some(peer)) if leave.incarnation == peer.incarnation.to_u64() => {
                    process.goodbyes.insert(peer.node, peer.incarnation);
                }
                (Frame::SnapshotOffer(offer), Some(peer))
                    if process.is_meant(offer.target_node, offer.target_session) =>
                {
                    owed.offers_of = peer.node;
                    owed.offered = offer
                        .lanes
                        .iter()
                        .copied()
                        .filter(|&lane| process.is_behind(peer.node, lane))
                        .collect();
                }
                (Frame::Nak(nak), _)
                    if speaker.is_some()
                        && !is_own
                        && process.is_meant(nak.target_node, nak.target_session) =>
                {
                    owed.offer = ledger.is_beyond(process.node, nak.target_session, nak);
                }
                _ => {}
            }
        }
        if is_own {
            self.trace.mix(bytes);
        } else {
            self.trace.note(now, host, Note::Datagram { bytes: Arc::clone(bytes), worth });
        }
        self.handle(id, Input::Datagram { from, bytes, by_group })?;
        let Some(process) = self.process_mut(id) else {
            return Ok(());
        };
        let heard = speaker.filter(|_| process.note_heard(now, speaker));
        let after = process.core.stats();
        let refusals = |stats: NetStats| stats.malformed + stats.foreign + stats.no_key + stats.auth_failed;
        let refused = refusals(after) - refusals(before);
        if after.quarantines + after.stumbles > 0 {
            return breach("panic", "a core stumbled over what came, and said so on standard error".into());
        }
        // What says that it is of this very session is passed over before anything else, damaged or not; so is what is too much.
        let passed_over =
            after.datagrams_received == before.datagrams_received || after.over_budget > before.over_budget;
        let not_taken = |stats: NetStats| stats.duplicates + stats.replayed;
        // What a critical frame makes unreadable is admitted before that is seen, and may have come before.
        let again = if worth == Worth::Critical { not_taken(after) - not_taken(before) } else { 0 };
        let is_bad = worth != Worth::Good || lacks_key;
        if refused + again != u64::from(is_bad && !passed_over) {
            let counted: Vec<_> = after.iter().zip(before.iter()).filter(|(now, then)| now != then).collect();
            return breach("17", format!("{refused} datagrams refused, {worth:?}; counted: {counted:?}"));
        }
        if let Some(name) = heard_count(worth, before, after) {
            return breach("17", format!("a datagram is {worth:?}, and {name} counts it"));
        }
        if let Some(packet) = proven.filter(|_| !passed_over && refused == 0)
            && not_taken(after) == not_taken(before)
            && !process.taken.insert(packet)
        {
            return breach("9", format!("n{host} takes {packet:?} for the second time"));
        }
        if let Some(&lane) = owed.offered.iter().find(|&&lane| process.is_behind(owed.offers_of, lane)) {
            let what = format!("n{host} does not take the offer of {} for lane {lane}", owed.offers_of);
            return breach("7", what);
        }
        if owed.offer && after.repairs_beyond_ring == before.repairs_beyond_ring {
            return breach("7", format!("n{host} was asked for what it never told, and offers no snapshot"));
        }
        if let Some(speaker) = heard {
            self.last_heard.insert(speaker, now);
        }
        match speaker {
            Some((node, _)) if !is_own => self.check_lanes(id, node),
            _ => Ok(()),
        }
    }

    /// After every step of a process.
    pub(crate) fn check_step(&mut self, id: ProcessId, everywhere: bool) -> Result<(), Breach> {
        let (now, steps) = (self.now, self.steps);
        let Some(host) = self.process(id).map(|process| process.host) else {
            return Ok(());
        };
        let Some(process) = self.hosts[host].process.as_mut() else {
            return Ok(());
        };
        process.check_turns(now)?;
        process.note_life(&mut self.oracle)?;
        process.check_own_lanes(&mut self.oracle)?;
        process.take_events(&self.oracle)?;
        process.check_peers(now, &self.oracle, &self.last_heard)?;
        if steps.is_multiple_of(16)
            && let Some(what) = process.core.broken_bound()
        {
            return breach("8", what);
        }
        if steps.is_multiple_of(16) {
            let portion = self.hosts[host].build.limits.portion_bytes;
            if let Some(what) = self.unsent_bytes(id, portion) {
                return breach("8", what);
            }
        }
        let Some(process) = self.hosts[host].process.as_mut() else {
            return Ok(());
        };
        if everywhere || steps.is_multiple_of(LOOK_EVERY) {
            let peers: Vec<NodeId> = process.core.peers().map(|peer| peer.node).collect();
            for node in peers {
                self.check_lanes(id, node)?;
            }
        }
        if steps.is_multiple_of(COMPARE_EVERY) {
            self.compare(id)?;
        }
        Ok(())
    }

    /// What a process holds of another node's lanes, against that node's history.
    fn check_lanes(&mut self, id: ProcessId, node: NodeId) -> Result<(), Breach> {
        self.checks += 1;
        let Some(host) = self.process(id).map(|process| process.host) else {
            return Ok(());
        };
        let Some(process) = self.hosts[host].process.as_mut() else {
            return Ok(());
        };
        if process.check_clocks(node, &self.oracle)? {
            process.check_content(node, &self.oracle)?;
        }
        Ok(())
    }

    /// Everything that a process holds and shows, against the books.
    pub(crate) fn compare(&mut self, id: ProcessId) -> Result<(), Breach> {
        let Some(process) = self.process(id) else {
            return Ok(());
        };
        for peer in process.core.peers() {
            process.check_content(peer.node, &self.oracle)?;
        }
        process.check_view(&self.oracle)
    }

    /// Who was asked for repairs again and again has answered.
    pub(super) fn check_answers(&self) -> Result<(), Breach> {
        for process in self.processes() {
            let stats = process.core.stats();
            if stats.naks_received >= NAKS_ANSWERED && stats.repairs_sent + stats.repairs_beyond_ring == 0 {
                let what = format!("n{} got {} requests, answered none", process.host, stats.naks_received);
                return breach("7", what);
            }
        }
        Ok(())
    }

    /// Why the nodes do not agree yet, if they do not.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let live: Vec<&Process> = self.processes().collect();
        for a in &live {
            if *a.core.phase() != Phase::Live || self.hosts[a.host].paused_until.is_some() {
                return Some(format!("n{} is not live", a.host));
            }
            for peer in a.core.peers() {
                let alive = live.iter().any(|b| b.node == peer.node && b.life == peer.incarnation);
                if !alive && (peer.state != MemberState::Down || peer.leaving) {
                    return Some(format!("n{} has {peer:?}, which is no more", a.host));
                }
            }
            for b in live.iter().filter(|b| b.id != a.id) {
                let Some(peer) = a.core.peer(b.node) else {
                    return Some(format!("n{} does not know n{}", a.host, b.host));
                };
                if peer.incarnation != b.life || peer.state != MemberState::Up || !peer.synced {
                    return Some(format!("n{} has n{} as {peer:?}", a.host, b.host));
                }
                for lane in 0..b.replica.lanes() {
                    let held = a.replica.remote_lane(b.node, lane);
                    let (own, book) = (b.replica.lane_summary(lane), self.oracle.book(b.id, lane));
                    let same = held
                        .is_some_and(|held| held.summary == own && held.condition == LaneCondition::Clean);
                    if !same || book.sum(book.clock()) != (own.count, own.digest) {
                        return Some(format!(
                            "n{} holds {held:?} of n{} lane {lane}, which is {own:?}",
                            a.host, b.host
                        ));
                    }
                }
            }
        }
        None
    }
}

/// What has counted a datagram of another version, or with a frame that must not be skipped, as if something in it had been heard.
fn heard_count(worth: Worth, before: NetStats, after: NetStats) -> Option<&'static str> {
    // The rest may be counted because a deadline has come at that moment.
    const HEARD: [&str; 9] = [
        "unproven",
        "challenges_sent",
        "proofs_refused",
        "implausible",
        "stale",
        "gaps",
        "reorder_overflows",
        "naks_received",
        "incarnation_jumps",
    ];
    const REFUSED_OTHERWISE: [&str; 5] = ["malformed", "no_key", "auth_failed", "duplicates", "replayed"];
    let never: &[&[&str]] = match worth {
        Worth::Good | Worth::Damaged => return None,
        Worth::Foreign => &[&HEARD, &REFUSED_OTHERWISE],
        Worth::Critical => &[&HEARD, &["foreign"]],
    };
    let mut counted = after.iter().zip(before.iter()).filter(|(now, then)| now != then);
    counted.find(|((name, _), _)| never.iter().any(|names| names.contains(name))).map(|((name, _), _)| name)
}

/// What a process has to do about a datagram at once.
#[derive(Debug)]
struct Owed {
    /// It has to fetch these lanes of that node.
    offers_of: NodeId,
    offered: Vec<u16>,
    /// It has to offer a snapshot.
    offer: bool,
}

impl Default for Owed {
    fn default() -> Self {
        Self { offers_of: NodeId(0), offered: Vec::new(), offer: false }
    }
}

impl Process {
    fn is_meant(&self, node: u32, session: u64) -> bool {
        node == self.node.0 && session == self.core.session() && *self.core.phase() == Phase::Live
    }

    /// Something of a lane is missing, and no snapshot is to bring it.
    fn is_behind(&self, node: NodeId, lane: u16) -> bool {
        let lane = self.core.peer_lane(node, lane);
        lane.is_some_and(|lane| lane.clock < lane.target && !lane.needs_snapshot && !lane.in_transfer)
    }

    /// Whether it listens to others.
    fn takes_part(&self) -> bool {
        matches!(self.core.phase(), Phase::Listening { .. } | Phase::Live)
    }

    fn note_heard(&mut self, now: Time, speaker: Option<(NodeId, u64)>) -> bool {
        if let Some((node, session)) = speaker
            && self.takes_part()
            && self.core.peer(node).is_some_and(|peer| peer.session == session)
        {
            self.heard.insert(node, Heard { session, at: now });
            return true;
        }
        false
    }

    fn check_turns(&mut self, now: Time) -> Result<(), Breach> {
        let (since, turns) = &mut self.turns;
        if now > *since + Duration::from_millis(1) {
            (*since, *turns) = (now, 0);
        }
        if self.core.wake_at(now - self.started) <= now - self.started {
            *turns += 1;
        }
        if *turns > TURNS_PER_MS_MAX {
            return breach("spin", format!("n{} wants turn after turn: {:?}", self.host, self.core.phase()));
        }
        Ok(())
    }

    fn note_life(&mut self, oracle: &mut Oracle) -> Result<(), Breach> {
        let life = self.core.incarnation();
        if *self.core.phase() == Phase::Live && (!self.is_live || life != self.life) {
            if self.is_live && life <= self.life {
                return breach("5", format!("n{} went from life {} to {life}", self.host, self.life));
            }
            (self.is_live, self.life) = (true, life);
            oracle.begin_life(self.node, life, self.id)?;
        }
        Ok(())
    }

    /// Remote input does not move this node's own lanes; what was told is noted.
    fn check_own_lanes(&mut self, oracle: &mut Oracle) -> Result<(), Breach> {
        for (lane, told) in (0..).zip(&mut self.told) {
            let clock = self.replica.lane_clock(lane);
            let book = oracle.book_mut(self.id, lane);
            if clock != book.clock() {
                return breach(
                    "4",
                    format!("own lane {lane} is at {clock}, its owner's at {}", book.clock()),
                );
            }
            let now_told = self.core.told(lane);
            if now_told != *told {
                *told = now_told;
                book.note_told(now_told);
            }
        }
        Ok(())
    }

    /// Replays what the tracker told a subscriber of everything. Remote input has no say in this node's own entries.
    fn take_events(&mut self, oracle: &Oracle) -> Result<(), Breach> {
        let core = &self.core;
        let is_gone = |node: NodeId, life: Incarnation| {
            core.peer(node).is_none_or(|peer| match peer.incarnation == life {
                true => peer.hidden,
                false => peer.before != Some(life),
            })
        };
        while let Some(event) = self.untaken.pop_front().or_else(|| self.subscription.try_recv().ok()) {
            if self.obeyed > 0
                && let EventKind::Leave(entry) = &event.kind
                && entry.is_local()
            {
                self.obeyed -= 1;
                self.view.note_edge(&event.kind)?;
                continue;
            }
            if let EventKind::Join(entry) | EventKind::Leave(entry) | EventKind::Update { new: entry, .. } =
                &event.kind
                && entry.is_local()
            {
                return breach("4", format!("{:?} without an operation", event.kind));
            }
            self.view.note_edge(&event.kind)?;
            self.view.apply(event.kind, oracle, is_gone)?;
        }
        self.view.check_edges()?;
        for (node, life, count) in self.view.lives() {
            if is_gone(node, life) {
                let peer = core.peer(node);
                return breach("6", format!("{count} entries of {node} in {life} are seen, it is {peer:?}"));
            }
        }
        Ok(())
    }

    fn check_peers(
        &mut self,
        now: Time,
        oracle: &Oracle,
        last_heard: &BTreeMap<(NodeId, u64), Time>,
    ) -> Result<(), Breach> {
        // Under strain it bears twice the silence.
        let strained = u32::from(self.core.strain(now - self.started) > 0);
        let down_after = self.timing.down_after * (1 + strained);
        let takes_part = self.takes_part();
        for peer in self.core.peers() {
            let node = peer.node;
            if oracle.process_of(node, peer.incarnation).is_none() {
                return breach("4", format!("{peer:?} is of a life that there never was"));
            }
            let highest = self.highest.entry(node).or_default();
            if peer.incarnation < *highest {
                return breach("5", format!("{peer:?} after life {highest}"));
            }
            *highest = peer.incarnation;
            if let Some(before) = peer.before
                && (!peer.hidden || before >= peer.incarnation)
            {
                return breach("5", format!("{peer:?} follows a life that is not before it"));
            }
            let has_left = self.goodbyes.get(&node).is_some_and(|&left| peer.incarnation <= left);
            if has_left && !peer.leaving {
                return breach("5", format!("{peer:?} is back after its goodbye"));
            }
            if peer.state == MemberState::Down && !peer.leaving {
                self.held_down.insert(node, (peer.incarnation, now));
            }
            let heard = self.heard.get(&node).filter(|heard| takes_part && heard.session == peer.session);
            let Some(silence) = heard.map(|heard| now.saturating_sub(heard.at)) else {
                continue;
            };
            let down = peer.state == MemberState::Down;
            if peer.leaving {
                continue;
            }
            if down && silence < self.timing.down_after {
                return breach("10", format!("{peer:?} was heard {silence:?} ago"));
            }
            if !down && silence > self.timing.down_limit + GRAIN {
                return breach("10", format!("{peer:?} has been silent for {silence:?}"));
            }
            let seen = last_heard.get(&(node, peer.session)).copied().unwrap_or_default();
            let unheard = now.saturating_sub(seen);
            let excused = now < self.excused_until + GRAIN || self.core.stale_since().is_some();
            if !down && !excused && silence.min(unheard) > down_after + GRAIN {
                return breach("10", format!("{peer:?} was heard by nobody for {unheard:?}"));
            }
            if silence > self.timing.forget_after + GRAIN {
                return breach("8", format!("{peer:?} is remembered after {silence:?}"));
            }
        }
        let core = &self.core;
        self.heard.retain(|&node, _| core.peer(node).is_some());
        self.contexts
            .retain(|&node, (life, _)| core.peer(node).is_some_and(|peer| peer.incarnation == *life));
        Ok(())
    }

    /// Clocks do not go back, and at an exact clock the sums are the owner's. Returns whether something has moved.
    fn check_clocks(&mut self, node: NodeId, oracle: &Oracle) -> Result<bool, Breach> {
        let Some(peer) = self.core.peer(node) else {
            return Ok(false);
        };
        let Some(owner) = oracle.process_of(node, peer.incarnation) else {
            return Ok(false);
        };
        let lanes = usize::from(oracle.lanes(owner));
        let (_, held_before) =
            self.contexts.entry(node).or_insert_with(|| (peer.incarnation, vec![(0, 0); lanes]));
        let mut moved = false;
        for (lane, before) in (0..).zip(held_before) {
            let Some(held) = self.replica.remote_lane(node, lane) else {
                return breach("6", format!("{peer:?} has no lane {lane} here"));
            };
            let (book, summary) = (oracle.book(owner, lane), held.summary);
            let at = format_args!("n{} holds {held:?} of {node} lane {lane}", self.host).to_string();
            if summary.clock < before.0 {
                return breach("5", format!("{at}, after clock {}", before.0));
            }
            if summary.clock > book.clock() {
                return breach("4", format!("{at}, its owner is at {}", book.clock()));
            }
            if let Some(lane) = self.core.peer_lane(node, lane) {
                let alike = lane.in_transfer || lane.needs_snapshot || lane.clock == summary.clock;
                if !alike || lane.target > book.told().max(summary.clock) {
                    return breach("5", format!("{at}, its core believes in {lane:?}"));
                }
            }
            if held.condition == LaneCondition::Diverged {
                return breach("1", format!("{at}: diverged"));
            }
            if held.condition == LaneCondition::Clean && book.is_exact(summary.clock) {
                let (count, digest) = book.sum(summary.clock);
                if (summary.count, summary.digest) != (count, digest) {
                    return breach("1", format!("{at}, its owner had {count} with {digest:#x} then"));
                }
            }
            moved |= *before != (summary.clock, summary.digest);
            *before = (summary.clock, summary.digest);
        }
        if self.core.stats().digest_mismatches > 0 {
            return breach("1", format!("n{} found a digest that differs", self.host));
        }
        Ok(moved)
    }
}
