//! What the core shows of itself to whoever watches the node.

use super::Core;
use super::io::Time;
use super::member::{Lane, Member, MemberState};
use headcount::{Incarnation, NodeId};
use std::net::SocketAddr;

/// A member, for whoever watches.
#[derive(Debug)]
pub(crate) struct PeerShown<'a> {
    pub(crate) node: NodeId,
    pub(crate) name: &'a str,
    pub(crate) incarnation: Incarnation,
    pub(crate) addr: SocketAddr,
    pub(crate) state: MemberState,
    pub(crate) heard: Time,
    /// When it was last heard by the group, if it ever was.
    pub(crate) group_heard: Time,
    pub(crate) synced: bool,
    pub(crate) lanes: u64,
    pub(crate) lanes_behind: u64,
    pub(crate) operations_behind: u64,
    pub(crate) lanes_streaming: u64,
    /// As it says itself.
    pub(crate) receive_drops: u64,
    pub(crate) is_copied: bool,
    pub(crate) key_epochs: &'a [u16],
}

impl Member {
    fn as_shown(&self, now: Time) -> PeerShown<'_> {
        let behind = || self.lanes.iter().filter(|lane| !lane.is_synced());
        PeerShown {
            node: self.node,
            name: &self.name,
            incarnation: self.incarnation,
            addr: self.addr,
            state: if self.leaves_at.is_some() { MemberState::Leaving } else { self.state },
            heard: self.heard,
            group_heard: self.group_heard,
            synced: self.is_synced() && !self.hidden,
            lanes: self.lanes.len() as u64,
            lanes_behind: behind().count() as u64,
            operations_behind: behind().map(|lane| lane.target.saturating_sub(lane.clock)).sum(),
            lanes_streaming: self.lanes.iter().filter(|lane: &&Lane| lane.awaits_stream()).count() as u64,
            receive_drops: self.drops.unwrap_or(0),
            is_copied: now < self.copies_until,
            key_epochs: &self.epochs,
        }
    }
}

impl Core {
    /// The members, by id.
    pub(crate) fn peers_shown(&self, now: Time) -> impl Iterator<Item = PeerShown<'_>> {
        self.members.values().map(move |member| member.as_shown(now))
    }

    /// The epoch of the key that this node seals with, and those of the keys that it has; without keys 0 and none.
    pub(crate) fn key_epochs(&self) -> (u16, Vec<u16>) {
        let keys = self.gate.keys.as_ref();
        keys.map_or((0, Vec::new()), |keys| (keys.current(), keys.epochs()))
    }
}
