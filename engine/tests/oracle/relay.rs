//! Lanes that come through a third node.

use super::cluster::Cluster;
use super::common::peer::{Peer, take_from};
use headcount::replica::{ApplyError, LaneCondition};

impl Cluster {
    /// `to` takes a lane of `from` as some other node holds it, in chunks of `len` entries: nothing but what is newer, and as of a clock at which
    /// `from` had just that.
    pub(crate) fn relay(&mut self, (to, from): (usize, usize), via: usize, lane: u16, len: usize) {
        let count = self.nodes.len();
        let others: Vec<usize> = (0..count).filter(|&other| other != to && other != from).collect();
        let Some(&via) = others.get(via % others.len().max(1)) else { return };
        let lane = lane % self.lanes_of(from);
        let (node, life) = (self.nodes[from].node(), self.nodes[from].life());
        let (Some((have, condition)), Some(held)) = (self.held(to, from, lane), self.held(via, from, lane))
        else {
            return;
        };
        let base = if condition == LaneCondition::Diverged { 0 } else { have };
        let relay = &self.nodes[via].peer.replica;
        let Some(reader) = relay.read_remote_lane(node, life, lane, base) else {
            assert!(held.1 != LaneCondition::Clean || self.wires[&(via, from)].opened.contains_key(&lane));
            return;
        };
        let summary = reader.summary();
        assert_eq!((summary.clock, held.1), (held.0, LaneCondition::Clean));
        let then = self.nodes[from].lanes[usize::from(lane)].at(summary.clock);
        let digest = then.values().fold(0_u64, |sum, entry| sum.wrapping_add(entry.digest()));
        let is_exact = (summary.count, summary.digest) == (then.len() as u64, digest);
        assert!(is_exact || self.faults.cuts, "{summary:?}");
        let newest = self.wire(to, from).newest.get(&lane).copied().unwrap_or(0).max(have);
        // Where deltas are cut, what is held at the base may be less than what was told to the relay.
        if !is_exact || self.faults.cuts && base > 0 {
            return;
        }
        self.wire(to, from).opened.remove(&lane);
        let peer: &Peer = &self.nodes[to].peer;
        peer.replica.snapshot_abort(node, lane);
        let taken = take_from(peer, (node, life), reader, len);
        let clean = condition == LaneCondition::Clean && summary.clock == have;
        if summary.clock < newest || clean {
            assert!(matches!(taken, Err(ApplyError::SnapshotMisfit { .. })), "{taken:?}");
            return;
        }
        assert_eq!(taken, Ok(summary.clock));
        self.wire(to, from).newest.insert(lane, summary.clock);
    }
}
