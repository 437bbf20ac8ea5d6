//! Relay: a member's lanes through a third one, where the way to the member itself is broken.
//!
//! Only the owner of a lane tells it, but anybody who holds it knows what it was at the clock held. So when this node does not hear a
//! member that others do ([`MemberState::UpIndirect`]), or hears it and cannot get a stream from it, it asks one of those who do, again
//! and again while that lasts, for what is newer than what is held here. The answer is an assertion with a version: *of this owner, in
//! this life, this lane was this at clock n*, n of it entries, with that digest.
//!
//! Who relays has to know that it holds just what the owner had. A lane that is followed by deltas may be in between: a flush that is cut into
//! several leaves out what is replaced further on. So only what the owner itself has attested is handed on: a digest in its heartbeats
//! for the clock held, equal to what is held. If the lane has moved on since, the asker waits a moment for the next.
//!
//! Who asks takes only what is newer than what it has (the as-of compare), on a base that it holds, from a member that has proven itself,
//! and at the end only if count and digest fit, as with any transfer.

use super::Core;
use super::encoded::Attached;
use super::io::{Output, StreamAction, StreamId, Time};
use super::member::{Member, MemberState};
#[cfg(feature = "tracing")]
use super::notes::Turn;
use super::transfer::{Fetch, STALL};
use crate::wire::{self, Message, Wanted};
use headcount::replica::{LaneCondition, LaneSummary};
use headcount::{Incarnation, NodeId};
use std::time::Duration;

/// How often others are asked for what a member does not tell this node itself.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(500);
/// After so many streams in vain a member that is heard is given up as a source for a while.
const FAILURES: u32 = 2;
/// A relayed stream that brings nothing for so long is given up.
pub(super) const RELAY_STALL: Duration = Duration::from_secs(2);
/// An owner that has named earlier clocks for so long has never told the one that somebody else brought.
const DOUBT: Duration = Duration::from_secs(2);
/// How long an asker waits for the owner to attest what is held.
const WAIT: Duration = Duration::from_millis(500);

/// Whose lanes are relayed on a stream given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relay {
    pub(super) owner: NodeId,
    pub(super) life: Incarnation,
    /// What is not attested by then is left out.
    until: Time,
    /// Nothing is ready, and there is room for it.
    waits: bool,
}

/// What a stream that relays gives next.
pub(super) enum Ready {
    Lane(Wanted),
    /// Perhaps later.
    Wait,
    Done,
}

impl Member {
    /// What it has said is to be had from others only.
    fn needs_relay(&self) -> bool {
        match self.state {
            MemberState::UpIndirect => true,
            MemberState::Up | MemberState::Suspect => {
                let in_vain = self.transfer_failures >= FAILURES && !self.is_over_limit;
                in_vain && self.lanes.iter().any(|lane| lane.needs_snapshot)
            }
            MemberState::Down | MemberState::Leaving => false,
        }
    }

    /// Looks at once whether others are to be asked.
    pub(super) fn consider_relay(&mut self, now: Time) {
        if self.needs_relay() {
            self.relay_at = self.relay_at.min(now);
        }
    }
}

impl Core {
    /// Asks others for the lanes of members that cannot be asked.
    pub(super) fn drive_relays(&mut self, now: Time, out: &mut Output) {
        let due = self.members.values().filter(|member| now >= member.relay_at);
        let due: Vec<NodeId> = due.map(|member| member.node).collect();
        for owner in due {
            self.begin_relay(now, owner, out);
        }
    }

    fn begin_relay(&mut self, now: Time, owner: NodeId, out: &mut Output) {
        let relayed = self.fetches.values().filter(|fetch| fetch.via.is_some()).count();
        let Some(member) = self.members.get_mut(&owner) else {
            return;
        };
        if !member.needs_relay() {
            member.relay_at = Time::MAX;
            return;
        }
        member.relay_at = now + ASK_EVERY;
        if let Some(stream) = member.transfer {
            // One from the owner that still brings something is better.
            let is_quiet = |fetch: &Fetch| fetch.via.is_none() && now + STALL >= fetch.deadline + ASK_EVERY;
            if !self.fetches.get(&stream).is_some_and(is_quiet) {
                return;
            }
            self.stats.snapshots_failed += 1;
            note!(self.note_outcome(stream, "stalled"));
            self.end_fetch(now, stream, Some(Duration::ZERO), out);
        }
        let fetches = self.settings.limits.fetches;
        if relayed >= (fetches / 2).max(1) || self.fetches.len() >= fetches {
            return;
        }
        let Some(via) = self.relay_of(now, owner) else {
            return;
        };
        let (Some(relay), Some(member)) = (self.members.get(&via), self.members.get(&owner)) else {
            return;
        };
        let source = (via, relay.session);
        let mut to = relay.addr;
        to.set_port(relay.tcp_port);
        let all = member.state == MemberState::UpIndirect;
        let numbers = (0..).zip(&member.lanes).filter(|(_, lane)| all || lane.needs_snapshot);
        let lanes: Vec<Wanted> = numbers.map(|(number, _)| self.wanted(owner, number)).collect();
        let (life, asked) = (member.incarnation, lanes.iter().map(|wanted| wanted.lane).collect());
        let first = self.request((owner, life), lanes, true);
        self.stats.relays_asked += 1;
        let id = self.next_stream_id();
        if let Some(member) = self.members.get_mut(&owner) {
            member.transfer = Some(id);
        }
        let fetch = Fetch::new((owner, life), Some(source), asked, now);
        self.fetches.insert(id, fetch);
        note!(self.note_fetch(now, id));
        out.streams.push((id, StreamAction::Connect { to, first }));
    }

    /// Somebody who hears a member that this node does not, one of them by chance.
    fn relay_of(&mut self, now: Time, owner: NodeId) -> Option<NodeId> {
        let since = now.saturating_sub(self.settings.timing.down_after);
        let witnesses = self.members.get(&owner)?.liveness.witnesses(since);
        let can_serve = |node: &NodeId| {
            self.members
                .get(node)
                .is_some_and(|relay| relay.state == MemberState::Up && !relay.hidden && relay.tcp_port != 0)
        };
        let able: Vec<NodeId> = witnesses.filter(can_serve).collect();
        let choice = usize::try_from(self.rng.below(able.len().max(1) as u64)).unwrap_or(0);
        able.get(choice).copied()
    }

    /// The member itself is heard again: what there is to have, it has.
    pub(super) fn end_relay(&mut self, now: Time, owner: NodeId, out: &mut Output) {
        let stream = self.members.get(&owner).and_then(|member| member.transfer);
        if let Some(id) = stream.filter(|id| self.fetches.get(id).is_some_and(|fetch| fetch.via.is_some())) {
            note!(self.note_outcome(id, "not needed"));
            self.end_fetch(now, id, Some(Duration::ZERO), out);
        }
    }

    /// Holds the clocks that a member names in its latest heartbeat against those that others brought its lanes to. An earlier one may have
    /// been on its way for a while; if it stays so, a relay has made something up, and nothing of the owner would be taken ever again: all
    /// that is held of it is dropped, and told anew by itself.
    pub(super) fn check_relayed(&mut self, now: Time, owner: NodeId, named: &[(u16, u64)], out: &mut Output) {
        let Some(member) = self.members.get_mut(&owner) else {
            return;
        };
        let mut made_up = false;
        for &(number, clock) in named {
            let Some(lane) = member.lanes.get_mut(usize::from(number)) else {
                continue;
            };
            match &mut lane.relayed {
                Some((relayed, since)) if clock < *relayed => {
                    made_up |= now >= since.get_or_insert(now).saturating_add(DOUBT);
                }
                relayed => *relayed = None,
            }
        }
        if made_up {
            self.stats.relayed_lanes_refused += 1;
            note!(self.note_turn(owner, Turn::Dropped));
            self.drop_member(owner, out);
        }
    }

    /// What is held of a lane of a member, for who is asked for more of it.
    pub(super) fn wanted(&self, node: NodeId, lane: u16) -> Wanted {
        let held = self.replica.remote_lane(node, lane);
        let reached = held.map_or(0, |held| held.reached);
        let diverged = held.is_some_and(|held| held.condition == LaneCondition::Diverged);
        let base = held.filter(|_| !diverged).map_or(0, |held| held.summary.clock);
        Wanted { lane, base, reached, diverged }
    }

    /// A lane that begins to come through a third node is of use: it is as of a later clock than what is held, and who relays it is
    /// still the member that was asked.
    pub(super) fn takes_relayed(&self, fetch: &Fetch, lane: u16, as_of: u64) -> bool {
        let is_member = fetch.via.is_some_and(|(via, session)| {
            self.members.get(&via).is_some_and(|relay| relay.session == session)
        });
        let held = self.replica.remote_lane(fetch.node, lane);
        let is_newer = held.is_some_and(|held| as_of > held.summary.clock && as_of >= held.reached);
        is_member && (is_newer || planted!(RelayWithoutAsOf))
    }

    /// The owner has attested what is held of a lane: that may be handed on as long as the lane stands there.
    pub(super) fn note_attested(&mut self, owner: NodeId, lane: u16, summary: LaneSummary) {
        if let Some(member) = self.members.get_mut(&owner) {
            member.lanes[usize::from(lane)].attested = Some(summary);
        }
        for serve in self.serves.values_mut() {
            if let Some(relay) = serve.relay.as_mut().filter(|relay| relay.owner == owner && relay.waits) {
                relay.waits = false;
                serve.wants_more = true;
            }
        }
    }

    /// Whether a lane stands where its owner has attested it.
    fn is_attested(&self, relay: &Relay, lane: u16) -> bool {
        let member = self.members.get(&relay.owner).filter(|member| member.incarnation == relay.life);
        let attested = member.and_then(|member| member.lanes.get(usize::from(lane))?.attested);
        let held = self.replica.remote_lane(relay.owner, lane);
        held.is_some_and(|held| held.condition == LaneCondition::Clean && Some(held.summary) == attested)
    }

    /// Begins to relay lanes of a member to another. `None` if this node does not know that life, or does not show it.
    pub(super) fn relay_for(&self, now: Time, asker: NodeId, (owner, life): (NodeId, u64)) -> Option<Relay> {
        let life = Incarnation::from_u64(life);
        let is_known = self.members.get(&owner).is_some_and(|member| {
            member.incarnation == life && member.state != MemberState::Down && !member.hidden
        });
        let is_member = self.members.contains_key(&asker) && asker != owner;
        (is_known && is_member).then_some(Relay { owner, life, until: now + WAIT, waits: false })
    }

    /// Of the lanes that an asker wants those that are held here as of a later clock.
    pub(super) fn newer_lanes(&self, relay: &Relay, wanted: Vec<Wanted>) -> impl Iterator<Item = Wanted> {
        let newer = |wanted: &Wanted| {
            let held = self.replica.remote_lane(relay.owner, wanted.lane).map(|held| held.summary.clock);
            held.is_some_and(|clock| {
                clock > wanted.base && clock >= wanted.reached || planted!(RelayWithoutAsOf)
            })
        };
        wanted.into_iter().filter(newer)
    }

    /// Takes out the next lane that may be relayed on a stream.
    pub(super) fn next_relayed(&mut self, now: Time, id: StreamId) -> Ready {
        let Some((relay, lanes)) = self.serves.get(&id).and_then(|serve| Some((serve.relay?, &serve.lanes)))
        else {
            return Ready::Done;
        };
        let ready = lanes.iter().position(|wanted| self.is_attested(&relay, wanted.lane));
        let Some(serve) = self.serves.get_mut(&id) else {
            return Ready::Done;
        };
        if let Some(wanted) = ready.and_then(|at| serve.lanes.remove(at)) {
            return Ready::Lane(wanted);
        }
        if serve.lanes.is_empty() || now >= relay.until {
            return Ready::Done;
        }
        serve.relay = Some(Relay { waits: true, ..relay });
        Ready::Wait
    }

    /// A stream gets a lane of another node as this one holds it.
    pub(super) fn attach_relayed(
        &mut self,
        now: Time,
        id: StreamId,
        relay: &Relay,
        wanted: &Wanted,
    ) -> Option<Attached> {
        let Wanted { lane, base, .. } = *wanted;
        let reader = self.replica.read_remote_lane(relay.owner, relay.life, lane, base)?;
        Some(self.encodings.attach_relayed(now, id, reader))
    }

    /// Ends the waiting of those who have waited long enough.
    pub(super) fn end_waits(&mut self, now: Time) {
        for serve in self.serves.values_mut() {
            if let Some(relay) = serve.relay.as_mut().filter(|relay| relay.waits && now >= relay.until) {
                relay.waits = false;
                serve.wants_more = true;
            }
        }
    }

    /// A request for lanes of a member, to itself or to another.
    pub(super) fn request(
        &self,
        (owner, life): (NodeId, Incarnation),
        lanes: Vec<Wanted>,
        relayed: bool,
    ) -> Vec<u8> {
        let request = Message::Request {
            version: wire::WIRE_VERSION,
            relayed,
            cluster: self.settings.cluster,
            node: self.node.0,
            target_node: owner.0,
            target_incarnation: life.to_u64(),
            lanes,
        };
        let mut bytes = Vec::new();
        // At most 256 lanes: far below the limit of a message.
        let _fits = request.put(&mut bytes);
        bytes
    }
}

impl Relay {
    /// When its waiting ends, if it waits.
    pub(super) fn due_at(&self) -> Time {
        if self.waits { self.until } else { Time::MAX }
    }
}
