//! Snapshots on their way.

use super::cluster::Cluster;
use super::common::peer::{Peer, item};
use super::owner::Owner;
use super::wire::kept;
use headcount::replica::{ApplyError, LaneCondition, LaneSnapshot, SnapshotItem};
use headcount::{Incarnation, NodeId};

/// A snapshot as it was taken: of whom, and for which base.
#[derive(Clone)]
pub(crate) struct Taken {
    pub(crate) node: NodeId,
    pub(crate) life: Incarnation,
    pub(crate) snapshot: LaneSnapshot,
    pub(crate) base: u64,
}

/// A snapshot that its receiver has opened.
pub(crate) struct Opened {
    pub(crate) taken: Taken,
    sent: usize,
    next_hi: u64,
}

impl Taken {
    pub(crate) fn open(self, to: &Peer) -> Result<Opened, ApplyError> {
        let (lane, as_of) = (self.snapshot.lane, self.snapshot.summary.clock);
        to.replica.snapshot_begin(self.node, self.life, lane, self.base, as_of)?;
        Ok(Opened { taken: self, sent: 0, next_hi: as_of })
    }
}

impl Opened {
    pub(crate) fn is_through(&self) -> bool {
        self.next_hi == 0
    }

    /// Sends the next entries, at most `len`. With `len` 0: a part of the range that has none, if there is one.
    pub(crate) fn chunk(&mut self, to: &Peer, len: usize) -> Result<(), ApplyError> {
        let Taken { node, life, ref snapshot, base } = self.taken;
        let rest = &snapshot.entries[self.sent..];
        let (now, later) = rest.split_at(len.min(rest.len()));
        let lo = later.first().map_or(0, |entry| entry.entry_ref().clock);
        if lo == self.next_hi {
            return Ok(());
        }
        let items: Vec<SnapshotItem<'_>> = now.iter().map(|entry| item(entry, base)).collect();
        to.replica.snapshot_chunk(node, life, snapshot.lane, (lo, self.next_hi), &items)?;
        self.sent += now.len();
        self.next_hi = lo;
        Ok(())
    }

    /// Sends what is left in chunks of `len` entries, and the end.
    pub(crate) fn finish(mut self, to: &Peer, len: usize) -> Result<u64, ApplyError> {
        while !self.is_through() {
            self.chunk(to, len)?;
        }
        let Taken { node, life, ref snapshot, .. } = self.taken;
        let summary = snapshot.summary;
        to.replica.snapshot_end(node, life, snapshot.lane, summary.count, summary.digest)
    }
}

impl Cluster {
    pub(crate) fn request(&mut self, to: usize, from: usize, lane: u16, back: u64) {
        let lane = lane % self.lanes_of(from);
        let Owner { peer, identity, .. } = &self.nodes[from];
        let known = self.known.get(&(to, from)).is_some_and(|known| known.life == identity.incarnation);
        let base = self.nodes[to].peer.replica.snapshot_base(identity.node, lane).filter(|_| known);
        let snapshot = peer.replica.snapshot(lane).expect("the lane exists");
        let taken = Taken {
            node: identity.node,
            life: identity.incarnation,
            snapshot,
            base: base.unwrap_or(0).saturating_sub(back),
        };
        kept(&mut self.wire(to, from).taken, taken);
    }

    pub(crate) fn open(&mut self, to: usize, from: usize, pick: usize) {
        let stale_too = self.faults.stale;
        let wire = self.wires.get_mut(&(to, from)).expect("there is one for each pair");
        let Some(taken) = wire.taken.get(pick % wire.taken.len().max(1)).cloned() else { return };
        let (lane, base, as_of) = (taken.snapshot.lane, taken.base, taken.snapshot.summary.clock);
        let newest = wire.newest.get(&lane).copied().unwrap_or(0);
        let (node, life) = (taken.node, taken.life);
        let known = self.known.get(&(to, from));
        let same_life = known.is_some_and(|known| known.life == life);
        if as_of < newest && same_life && !stale_too {
            return;
        }
        let peer = &self.nodes[to].peer;
        let opened = taken.open(peer);
        let expected = match known {
            None => Err(ApplyError::UnknownOrigin),
            Some(known) if known.life != life => Err(ApplyError::Incarnation { known: known.life }),
            Some(_) => {
                let held = peer.replica.remote_lane(node, lane).expect("the life has that lane");
                let have = held.summary.clock;
                // `opened` has changed a clean lane to a partial one already.
                let clean = opened.is_err() && held.condition == LaneCondition::Clean;
                let usable = if held.condition == LaneCondition::Diverged { 0 } else { have };
                let fits = base <= usable && as_of >= have && !(clean && as_of == have);
                if fits { Ok(()) } else { Err(ApplyError::SnapshotMisfit { base, as_of, have }) }
            }
        };
        match opened {
            Ok(opened) => {
                assert_eq!(expected, Ok(()));
                wire.newest.insert(lane, newest.max(as_of));
                wire.opened.insert(lane, opened);
            }
            // One that is older than another that was opened before may be refused for that.
            Err(ApplyError::SnapshotMisfit { .. }) if as_of < newest => {}
            Err(error) => assert_eq!(Err(error), expected),
        }
    }

    pub(crate) fn chunk(&mut self, to: usize, from: usize, pick: usize, len: usize) {
        let wire = self.wires.get_mut(&(to, from)).expect("there is one for each pair");
        let Some(lane) = wire.opened_lane(pick) else { return };
        let opened = wire.opened.get_mut(&lane).expect("it is open");
        if !opened.is_through() {
            opened.chunk(&self.nodes[to].peer, len).expect("the next chunk of an open snapshot");
        }
    }

    pub(crate) fn finish(&mut self, to: usize, from: usize, pick: usize, len: usize) {
        let wire = self.wire(to, from);
        let Some(lane) = wire.opened_lane(pick) else { return };
        let opened = wire.opened.remove(&lane).expect("it is open");
        let newest = wire.newest[&lane];
        let as_of = opened.taken.snapshot.summary.clock;
        match opened.finish(&self.nodes[to].peer, len) {
            Ok(clock) => assert_eq!(clock, as_of),
            // A base at which cut deltas had left something out; or one that is older than what an aborted one brought.
            Err(ApplyError::Diverged { birth: 0 }) => assert!(self.faults.cuts || as_of < newest),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn abort(&mut self, to: usize, from: usize, pick: usize) {
        let Some(lane) = self.wire(to, from).opened_lane(pick) else { return };
        self.wire(to, from).opened.remove(&lane);
        self.nodes[to].peer.replica.snapshot_abort(self.nodes[from].node(), lane);
    }
}
