//! The face that replication drives: this node's lanes out, other nodes' lanes in.
//!
//! A **lane** is one shard of one node: a totally ordered stream of that node's own operations, numbered by its clock from 1.
//! Only the owner writes it. A receiver that holds a lane at clock `c` has seen every operation up to `c`, so an entry whose
//! dot is at or below `c` and which it does not hold was removed: no tombstones, and one number for a causal context.
//!
//! * Out: [`Replica::lane_clock`], [`Replica::delta`] (what happened since a clock), [`Replica::snapshot`] (all that lives), [`Replica::read_lane`] (the same in parts), [`Replica::read_remote_lane`]
//!   (a lane of another node, as it is held here),
//!   [`Replica::lane_summary`] (clock, count and digest: equal clocks must mean equal digests).
//! * In: [`Replica::origin_join`] makes another node's life known ([`Replica::origin_succeed`]: and leaves the one before to be seen for a while); [`Replica::apply`] takes deltas, in order;
//!   `snapshot_begin`, `snapshot_chunk`, `snapshot_live`, `snapshot_end` take a snapshot, `catch_up_begin` and `catch_up` a long delta in parts; [`Replica::origin_state`] hides a node that is down and shows
//!   it again; [`Replica::forget`] drops it; [`Replica::maintain`] does what can wait, in slices.
//!
//! An entry is named, through all its updates, by its **birth**: the clock of its first version. Updates and removals name the
//! birth, so applying one needs nothing but what the receiver holds.
//!
//! Remote input never changes this node's own lanes, whatever it says.

mod apply;
mod catch_up;
mod delta;
mod error;
mod lane;
mod origin;
mod purge;
mod reader;
mod snapshot;

pub use delta::{Delta, DeltaOp, DeltaView, Op};
pub use error::{ApplyError, DeltaError, OriginError};
pub use lane::{LaneCondition, LaneSummary, RemoteLane};
pub use origin::{Identity, Joined};
pub use reader::LaneReader;
pub use snapshot::{LaneSnapshot, Payload, SnapshotItem};

pub(crate) use origin::Origins;

use crate::shard::{Entries, Shard};
use crate::sync::{Arc, Ordering};
use crate::tracker::Inner;
use crate::{Entry, Incarnation, NodeId, NodeState, Tracker};
use std::fmt;

/// The replication's handle of a tracker. Cheap to clone.
///
/// Everything may be called from every thread; what concerns one origin takes turns. Two trackers in one process can be
/// replicated by hand:
///
/// ```
/// use headcount::replica::Op;
/// use headcount::{Config, Incarnation, NodeId};
///
/// let a = Config::default().node(NodeId(1)).build()?;
/// let b = Config::default().node(NodeId(2)).build()?;
/// let session = a.session();
/// let joined = session.track("room:42", "alice", "hi")?;
///
/// let delta = a.replica().delta(joined.lane, 0, usize::MAX)?;
/// let ops: Vec<Op<'_>> = delta.ops().collect();
/// let lanes = a.replica().lanes();
/// b.replica().origin_join(NodeId(1), "a", Incarnation::default(), lanes)?;
/// b.replica().apply(NodeId(1), Incarnation::default(), &delta.view(&ops))?;
/// assert_eq!(b.list("room:42")[0].entry_ref(), joined);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Replica {
    tracker: Tracker,
}

impl Replica {
    pub(crate) fn new(tracker: Tracker) -> Self {
        Self { tracker }
    }

    fn inner(&self) -> &Inner {
        &self.tracker.inner
    }

    fn shard(&self, lane: u16) -> Option<&Shard> {
        self.inner().shards.get(usize::from(lane))
    }

    /// The tracker.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Claims the tracker for one driver. False if it is claimed already: a tracker is in one cluster at a time.
    #[must_use]
    pub fn claim(&self) -> bool {
        // AcqRel: a driver that claims after another released sees all that the other did.
        !self.inner().claimed.swap(true, Ordering::AcqRel)
    }

    /// Gives the claim back.
    pub fn release(&self) {
        self.inner().claimed.store(false, Ordering::Release);
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner().origins.local().identity
    }

    /// Makes this node somebody: what its entries' refs carry from now on. Entries that are there already get refs with the new
    /// identity (same lane and clock), without an event; refs that were handed out before keep the old one.
    pub fn set_identity(&self, node: NodeId, name: &str, incarnation: Incarnation) {
        let identity = Identity { node, incarnation };
        let inner = self.inner();
        inner.origins.set_local(identity, name);
        for shard in &inner.shards {
            shard.lock().identity = identity;
        }
    }

    /// How many lanes this node has: its shards.
    #[must_use]
    pub fn lanes(&self) -> u16 {
        u16::try_from(self.inner().shards.len()).unwrap_or(u16::MAX)
    }

    /// The clock of an own lane, without a lock; 0 for a lane that there is not.
    #[must_use]
    pub fn lane_clock(&self, lane: u16) -> u64 {
        self.shard(lane).map_or(0, Shard::clock)
    }

    /// The least clock since which a [`delta`](Self::delta) of an own lane can still be told.
    #[must_use]
    pub fn log_floor(&self, lane: u16) -> u64 {
        self.shard(lane).map_or(0, |shard| shard.lock().lane.log.floor())
    }

    /// Clock, count and digest of an own lane at one instant.
    #[must_use]
    pub fn lane_summary(&self, lane: u16) -> LaneSummary {
        self.shard(lane).map_or_else(LaneSummary::default, |shard| shard.lock().lane.summary())
    }

    /// Sets what is called, on the writer's thread and outside any lock, when an own lane has moved after
    /// [`arm`](Self::arm): a wake-up for the replication's thread. It must be short and must not call the tracker.
    pub fn on_change(&self, hook: impl Fn() + Send + Sync + 'static) {
        *self.inner().change_hook.lock() = Some(Arc::new(hook));
        self.inner().hooked.store(true, Ordering::Relaxed);
        for shard in &self.inner().shards {
            // Who has the lock from now on sees the flag; what was published by who had it before is seen by our caller.
            drop(shard.lock());
        }
    }

    /// Removes the hook of [`on_change`](Self::on_change).
    pub fn clear_on_change(&self) {
        *self.inner().change_hook.lock() = None;
    }

    /// Arms the hook for one call. The caller must look at the [`lane_clock`](Self::lane_clock)s after this, and may wait for the hook
    /// only if it found nothing new.
    pub fn arm(&self) {
        self.inner().change.arm();
    }

    /// The highest life of a node that this node has heard of, if any.
    #[must_use]
    pub fn highest_incarnation(&self, node: NodeId) -> Option<Incarnation> {
        self.inner().origins.highest(node)
    }

    /// Notes that a node was heard now. Says nothing about its state.
    pub fn origin_heard(&self, node: NodeId) {
        if let Some(origin) = self.inner().origins.get(node) {
            origin.heard(self.inner().origins.elapsed());
        }
    }

    /// The state of another node as last set.
    #[must_use]
    pub fn state_of(&self, node: NodeId) -> Option<NodeState> {
        self.inner().origins.get(node).map(|origin| origin.state())
    }

    /// Every entry of another node that this node holds, hidden or not, lane by lane in the order of their dots.
    #[must_use]
    pub fn entries_of(&self, node: NodeId) -> Vec<Entry> {
        let Some(origin) = self.inner().origins.get(node) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        let mut read = Entries::new(&self.inner().commons);
        for lane in &origin.lanes {
            let lane = lane.lock();
            // The lane's lock keeps them.
            entries.extend(lane.slots().filter_map(|slot| read.read(slot)));
        }
        entries
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("tracker", &self.tracker).finish()
    }
}
