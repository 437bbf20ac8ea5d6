//! A node of a cluster without a network: what it hears is handed over by the test.

use super::{life, node};
use headcount::replica::{
    ApplyError, Delta, Joined, LaneReader, LaneSnapshot, Op, Payload, Replica, SnapshotItem,
};
use headcount::{Entry, Incarnation, NodeId, Tracker};

pub(crate) struct Peer {
    pub(crate) tracker: Tracker,
    pub(crate) replica: Replica,
}

impl Peer {
    /// The first life of a node.
    pub(crate) fn new(id: u32, shards: usize) -> Self {
        Self::living(id, 1, shards)
    }

    /// The `epoch`-th life of a node.
    pub(crate) fn living(id: u32, epoch: u32, shards: usize) -> Self {
        let peer = Self::with(node(id, shards));
        peer.replica.set_identity(NodeId(id), &format!("node-{id}"), life(epoch));
        peer
    }

    /// A tracker that was configured elsewhere, with the identity that it has.
    pub(crate) fn with(tracker: Tracker) -> Self {
        Self { replica: tracker.replica(), tracker }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.replica.identity().node
    }

    pub(crate) fn life(&self) -> Incarnation {
        self.replica.identity().incarnation
    }

    /// Hears who `from` is.
    pub(crate) fn meet(&self, from: &Peer) -> Joined {
        self.replica
            .origin_join(from.id(), "met", from.life(), from.replica.lanes())
            .expect("the node is welcome")
    }

    /// The clock held of a lane of `from`.
    pub(crate) fn clock_of(&self, from: &Peer, lane: u16) -> u64 {
        self.replica.remote_lane(from.id(), lane).expect("it was met").summary.clock
    }

    /// What a lane of `from` did since the clock held here.
    pub(crate) fn ask(&self, from: &Peer, lane: u16) -> Delta {
        from.replica.delta(lane, self.clock_of(from, lane), usize::MAX).expect("the log reaches back")
    }

    /// Applies a delta of `of`, whoever handed it over.
    pub(crate) fn apply(&self, of: &Peer, delta: &Delta) -> Result<u64, ApplyError> {
        let ops: Vec<Op<'_>> = delta.ops().collect();
        self.replica.apply(of.id(), of.life(), &delta.view(&ops))
    }

    /// Meets `from` and catches up with all its lanes by deltas.
    pub(crate) fn pull(&self, from: &Peer) {
        self.meet(from);
        for lane in 0..from.replica.lanes() {
            let delta = self.ask(from, lane);
            if delta.hi() > delta.lo() {
                let clock = self.apply(from, &delta).expect("it follows what is held");
                assert_eq!(clock, from.replica.lane_clock(lane));
            }
        }
    }

    /// Takes over a snapshot of one of `of`'s lanes in chunks of at most `chunk_len` entries.
    pub(crate) fn take(
        &self,
        of: &Peer,
        snapshot: &LaneSnapshot,
        base: u64,
        chunk_len: usize,
    ) -> Result<u64, ApplyError> {
        let mut transfer = Transfer::begin(self, of, snapshot, base)?;
        while transfer.next_hi > 0 {
            transfer.chunk(chunk_len)?;
        }
        transfer.end()
    }

    /// Takes over a lane of `of` as `via` holds it, as a node does that cannot ask the owner: on the base that is held here, in chunks
    /// of at most `chunk_len` entries.
    pub(crate) fn take_over(
        &self,
        of: &Peer,
        via: &Peer,
        lane: u16,
        chunk_len: usize,
    ) -> Result<u64, ApplyError> {
        let base = self.replica.snapshot_base(of.id(), lane).expect("it was met");
        let reader = via.replica.read_remote_lane(of.id(), of.life(), lane, base);
        take_from(self, (of.id(), of.life()), reader.expect("what is relayed is clean"), chunk_len)
    }

    /// Meets `from` and takes whole snapshots of all its lanes.
    pub(crate) fn take_all(&self, from: &Peer, chunk_len: usize) {
        self.meet(from);
        for lane in 0..from.replica.lanes() {
            let snapshot = from.replica.snapshot(lane).expect("the lane exists");
            if snapshot.summary.clock > 0 {
                self.take(from, &snapshot, 0, chunk_len).expect("it is newer");
            }
        }
    }

    /// Whether every lane of `from` is here as it is there.
    pub(crate) fn agrees_with(&self, from: &Peer) -> bool {
        (0..from.replica.lanes()).all(|lane| {
            let held = self.replica.remote_lane(from.id(), lane).expect("it was met");
            held.condition == headcount::replica::LaneCondition::Clean
                && held.summary == from.replica.lane_summary(lane)
        })
    }
}

/// A snapshot on its way.
pub(crate) struct Transfer<'a> {
    to: &'a Peer,
    of: (NodeId, Incarnation),
    snapshot: &'a LaneSnapshot,
    base: u64,
    sent: usize,
    pub(crate) next_hi: u64,
}

impl<'a> Transfer<'a> {
    pub(crate) fn begin(
        to: &'a Peer,
        of: &Peer,
        snapshot: &'a LaneSnapshot,
        base: u64,
    ) -> Result<Self, ApplyError> {
        let of = (of.id(), of.life());
        let as_of = snapshot.summary.clock;
        to.replica.snapshot_begin(of.0, of.1, snapshot.lane, base, as_of)?;
        Ok(Self { to, of, snapshot, base, sent: 0, next_hi: as_of })
    }

    /// Sends the next `chunk_len` entries; the last chunk goes down to 0.
    pub(crate) fn chunk(&mut self, chunk_len: usize) -> Result<(), ApplyError> {
        let rest = &self.snapshot.entries[self.sent..];
        let (now, later) = rest.split_at(chunk_len.min(rest.len()));
        let lo = later.first().map_or(0, |entry| entry.entry_ref().clock);
        let items: Vec<SnapshotItem<'_>> = now.iter().map(|entry| item(entry, self.base)).collect();
        let range = (lo, self.next_hi);
        self.to.replica.snapshot_chunk(self.of.0, self.of.1, self.snapshot.lane, range, &items)?;
        self.sent += now.len();
        self.next_hi = lo;
        Ok(())
    }

    pub(crate) fn end(self) -> Result<u64, ApplyError> {
        let summary = self.snapshot.summary;
        self.to.replica.snapshot_end(self.of.0, self.of.1, self.snapshot.lane, summary.count, summary.digest)
    }
}

/// Takes over a lane of another node as somebody read it, in chunks of at most `len` entries above the reader's base.
pub(crate) fn take_from(
    to: &Peer,
    (node, life): (NodeId, Incarnation),
    mut reader: LaneReader,
    len: usize,
) -> Result<u64, ApplyError> {
    let (lane, base, summary) = (reader.lane(), reader.base(), reader.summary());
    to.replica.snapshot_begin(node, life, lane, base, summary.clock)?;
    let mut hi = summary.clock;
    while hi > base {
        let mut chunk: Vec<(u64, u64, [Vec<u8>; 3])> = Vec::new();
        let mut lo = base;
        reader.read(|item| {
            let payload = item.payload.expect("above the base there is content");
            if chunk.len() == len {
                lo = item.dot;
                return false;
            }
            let content = [payload.topic, payload.key, payload.meta].map(<[u8]>::to_vec);
            chunk.push((item.dot, item.birth, content));
            true
        });
        let items: Vec<SnapshotItem<'_>> = chunk
            .iter()
            .map(|(dot, birth, [topic, key, meta])| {
                let payload = Some(Payload { topic, key, meta });
                SnapshotItem { dot: *dot, birth: *birth, payload }
            })
            .collect();
        to.replica.snapshot_chunk(node, life, lane, (lo, hi), &items)?;
        hi = lo;
    }
    if hi > 0 {
        to.replica.snapshot_live(node, life, lane, (0, hi), reader.live().iter().copied())?;
    }
    to.replica.snapshot_end(node, life, lane, summary.count, summary.digest)
}

/// An entry as a snapshot tells it to a receiver that holds the lane at `base`.
pub(crate) fn item(entry: &Entry, base: u64) -> SnapshotItem<'_> {
    let dot = entry.entry_ref().clock;
    let payload = Payload { topic: entry.topic(), key: entry.key(), meta: entry.meta() };
    SnapshotItem { dot, birth: entry.joined_ref().clock, payload: (dot > base).then_some(payload) }
}
