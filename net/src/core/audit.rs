//! What the simulator holds against its own books. Nothing here changes anything.

use super::contacts::TOLD_MAX;
use super::member::Member;
use super::serve::Serve;
use super::transfer::Fetch;
use super::{Core, MemberState, Time};
use crate::crypto::SenderId;
use crate::driver::CONNECTIONS_MAX;
use headcount::{Incarnation, NodeId};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Bytes of a stream that wait: a message that is not whole, and what was read behind it.
const BUFFERED_MAX: usize = 2 * 64 * 1024;

/// A member, as its node hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) session: u64,
    pub(crate) state: MemberState,
    pub(crate) hidden: bool,
    /// It has said goodbye and is listed for a while.
    pub(crate) leaving: bool,
    /// The life before it that is still listed.
    pub(crate) before: Option<Incarnation>,
    pub(crate) synced: bool,
}

/// Where a node believes to be in a lane of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PeerLane {
    pub(crate) clock: u64,
    pub(crate) target: u64,
    pub(crate) in_transfer: bool,
    pub(crate) needs_snapshot: bool,
}

impl Core {
    /// The session that it speaks in.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// The clock up to which an own lane was told: what heartbeats say.
    pub(crate) fn told(&self, lane: u16) -> u64 {
        self.own.told(lane)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.members.values().map(Member::peer)
    }

    pub(crate) fn peer(&self, node: NodeId) -> Option<Peer> {
        self.members.get(&node).map(Member::peer)
    }

    pub(crate) fn peer_lane(&self, node: NodeId, lane: u16) -> Option<PeerLane> {
        let lane = self.members.get(&node)?.lanes.get(usize::from(lane))?;
        let (clock, target) = (lane.clock, lane.target);
        Some(PeerLane { clock, target, in_transfer: lane.in_transfer, needs_snapshot: lane.needs_snapshot })
    }

    /// The heartbeat that the others have to cover for a barrier that is under way.
    pub(crate) fn barrier_seq(&self, id: u64) -> Option<u64> {
        self.barriers.seq_of(id)
    }

    /// Whether a datagram of that session, with that number, counts as heard.
    pub(crate) fn would_take(&self, node: NodeId, session: u64, packet: u64) -> bool {
        self.gate.would_take(node, session, packet)
    }

    /// Whether that session has proven itself here.
    pub(crate) fn is_proven(&self, node: NodeId, session: u64) -> bool {
        self.gate.is_proven(node, session)
    }

    /// Whether it can open what is sealed with the key of that epoch.
    pub(crate) fn has_key(&self, epoch: u16) -> bool {
        self.gate.keys.as_ref().is_none_or(|keys| keys.get(epoch).is_some())
    }

    /// What a session would have to give back to prove itself; for who plays it.
    pub(crate) fn cookie_for(&mut self, now: Time, from: SocketAddr, node: NodeId, session: u64) -> [u8; 16] {
        let id = SenderId { node: node.0, session };
        self.gate.challenge(now, from, id).unwrap_or_default()
    }

    /// The first bound that is broken, in words.
    pub(crate) fn broken_bound(&self) -> Option<String> {
        let limits = &self.settings.limits;
        let (datagrams, bytes) = self.ring.held();
        if datagrams > limits.ring_datagrams || bytes > limits.ring_bytes {
            return Some(format!("the ring holds {datagrams} datagrams of {bytes} B"));
        }
        if let Some(broken) = self.ring.broken_bound() {
            return Some(broken);
        }
        for member in self.members.values() {
            let waiting = member.lanes.iter().flat_map(|lane| lane.waiting.values());
            let waiting: usize = waiting.map(|waiting| waiting.body.len()).sum();
            if waiting != member.waiting_bytes || waiting > limits.waiting_bytes {
                let (node, counted) = (member.node, member.waiting_bytes);
                return Some(format!("{waiting} B wait for {node}, counted as {counted}"));
            }
        }
        if let Some(broken) = self.gate.broken_bound() {
            return Some(broken);
        }
        let told = self.contacts.told();
        if told > TOLD_MAX {
            return Some(format!("{told} addresses that others told are remembered"));
        }
        let (fetches, serves) =
            (self.fetches.len(), self.serves.values().filter(|serve| serve.is_begun()).count());
        if let Some(what) = self.encodings.broken_bound(limits.serves) {
            return Some(what);
        }
        if fetches > limits.fetches || serves > limits.serves {
            return Some(format!("{fetches} snapshots taken, {serves} given at once"));
        }
        let connections = self.serves.len();
        if connections > CONNECTIONS_MAX {
            return Some(format!("{connections} streams are held for peers"));
        }
        let buffered =
            self.fetches.values().map(Fetch::buffered).chain(self.serves.values().map(Serve::buffered));
        if let Some(bytes) = buffered.max().filter(|&bytes| bytes > BUFFERED_MAX) {
            return Some(format!("{bytes} B of a stream wait for the rest of their message"));
        }
        for (what, held, max) in [
            ("goodbyes", self.farewells.len(), super::FAREWELLS_MAX),
            ("questions to unknown nodes", self.asked.len(), super::receive::ASKED_MAX),
            ("announcements", self.announce.len(), super::ANNOUNCE_AT.len()),
        ] {
            if held > max {
                return Some(format!("{held} {what} are kept"));
            }
        }
        let streams: BTreeSet<_> = self.members.values().filter_map(|member| member.transfer).collect();
        (!streams.iter().eq(self.fetches.keys()))
            .then(|| format!("members are in streams {streams:?}, there are {:?}", self.fetches.keys()))
    }
}

impl Member {
    fn peer(&self) -> Peer {
        Peer {
            node: self.node,
            incarnation: self.incarnation,
            session: self.session,
            state: self.state,
            hidden: self.hidden,
            leaving: self.leaves_at.is_some(),
            before: self.before,
            synced: self.is_synced(),
        }
    }
}
