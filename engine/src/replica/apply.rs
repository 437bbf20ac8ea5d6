//! Applying what another node says of its own lanes.

use super::lane::LaneState;
use super::origin::Origin;
use super::{ApplyError, DeltaView, LaneCondition, Op, RemoteLane, Replica};
use crate::entry::{content_hash, digest};
use crate::shard::{EntrySlot, Fresh, NUMBER_MAX, Owner, SlotId, State, Wakes};
use crate::sync::{MutexGuard, Ordering};
use crate::tracker::Inner;
use crate::{Incarnation, NodeId};

/// Changes that one lock of a shard covers.
const CHANGES_PER_LOCK: usize = 64;

/// Keeps one shard locked over a run of changes that fall into it, and lets go between runs and after every so many.
pub(super) struct Cursor<'a> {
    inner: &'a Inner,
    wakes: &'a mut Wakes,
    open: Option<Open<'a>>,
}

struct Open<'a> {
    index: usize,
    state: MutexGuard<'a, State>,
    left: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(inner: &'a Inner, wakes: &'a mut Wakes) -> Self {
        Self { inner, wakes, open: None }
    }

    fn at(&mut self, index: usize) -> (&mut State, &mut Wakes) {
        if self.open.as_ref().is_some_and(|open| open.index != index || open.left == 0) {
            self.close();
        }
        let inner = self.inner;
        let open = self.open.get_or_insert_with(|| Open {
            index,
            state: inner.shards[index].lock(),
            left: CHANGES_PER_LOCK,
        });
        open.left -= 1;
        (&mut open.state, self.wakes)
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.inner.finish(&self.inner.shards[open.index], open.state, self.wakes);
        }
    }

    /// Takes an entry of another node out.
    pub(super) fn remove(&mut self, slot: SlotId) -> (EntrySlot, u64) {
        let (state, wakes) = self.of(slot);
        state.meter.remote_operations.add(1);
        let held = state.store.slot(slot);
        let digest = state.leave(slot, &held, wakes);
        (held, digest)
    }

    /// The shard of an entry, which the lane's lock keeps.
    fn of(&mut self, slot: SlotId) -> (&mut State, &mut Wakes) {
        let shard = self.inner.commons.shard_of_slot(slot);
        self.at(usize::from(shard))
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// One lane of an origin, locked, and the shards that it changes.
pub(super) struct LaneWriter<'a> {
    pub(super) origin: &'a Origin,
    pub(super) number: u16,
    pub(super) lane: MutexGuard<'a, LaneState>,
    cursor: Cursor<'a>,
}

/// The content of an entry as told by its owner.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) dot: u64,
    pub(super) birth: u64,
    pub(super) topic: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) meta: &'a [u8],
}

impl<'a> LaneWriter<'a> {
    /// Locks a lane of an origin, if that life of it is the one known.
    fn open(
        inner: &'a Inner,
        origin: &'a Origin,
        incarnation: Incarnation,
        number: u16,
        wakes: &'a mut Wakes,
    ) -> Result<Self, ApplyError> {
        if origin.incarnation != incarnation {
            return Err(ApplyError::Incarnation { known: origin.incarnation });
        }
        let lanes = u16::try_from(origin.lanes.len()).unwrap_or(u16::MAX);
        let lane = origin.lanes.get(usize::from(number));
        let lane = lane.ok_or(ApplyError::NoSuchLane { lane: number, lanes })?.lock();
        if lane.retired {
            return Err(ApplyError::UnknownOrigin);
        }
        if inner.is_shutdown() {
            return Err(ApplyError::Shutdown);
        }
        Ok(Self { origin, number, lane, cursor: Cursor::new(inner, wakes) })
    }

    /// The birth of an entry, which the lane's lock keeps.
    pub(super) fn birth_of(&self, slot: SlotId) -> u64 {
        self.cursor.inner.commons.birth_of(slot)
    }

    /// The dot and slot of the entry of that birth.
    pub(super) fn find(&self, birth: u64) -> Option<(u64, SlotId)> {
        let commons = &self.cursor.inner.commons;
        self.lane.find(birth, |slot| commons.birth_of(slot))
    }

    /// Takes over a version told whole: a new entry, or a newer version of one that is held.
    pub(super) fn upsert(&mut self, told: Told<'_>) -> Result<(), ApplyError> {
        match self.find(told.birth) {
            Some((dot, slot)) if dot < told.dot => self.revise(dot, slot, told.dot, told.meta),
            Some(_) => Ok(()),
            None => self.insert(told),
        }
    }

    fn insert(&mut self, told: Told<'_>) -> Result<(), ApplyError> {
        let inner = self.cursor.inner;
        let origin_max = inner.config.origin_entries_max;
        // Relaxed: exact enough for a limit; only lanes of one origin race for it.
        if self.origin.entries.load(Ordering::Relaxed) >= origin_max as u64 {
            return Err(ApplyError::Full { field: "origin_entries_max", max: origin_max });
        }
        let owner = Owner::Lane(self.origin.index, self.number);
        let name = inner.commons.hash_name(told.topic);
        let hash = inner.commons.hash_key(told.topic, told.key);
        let (state, wakes) = self.cursor.at(usize::from(inner.commons.shard_of(name.stable)));
        let full = || ApplyError::Full { field: "memory_max", max: inner.config.memory_max };
        let record = state.store.intern_topic(told.topic, name).map_err(|_| full())?;
        let held = state.store.held(record, hash, told.key, owner);
        if let Some((field, max)) = state.limit_reached(held, &inner.config) {
            state.store.release_topic(record);
            return Err(ApplyError::Full { field, max });
        }
        let fresh = Fresh { owner, clock: told.dot, birth: told.birth, hash, key: told.key, meta: told.meta };
        let Ok(slot) = state.join(record, &fresh, held, wakes) else {
            state.store.release_topic(record);
            return Err(full());
        };
        state.meter.remote_operations.add(1);
        let content = content_hash(name.stable, told.key, told.meta);
        self.lane.digest = self.lane.digest.wrapping_add(digest(content, told.birth, told.dot));
        self.lane.insert(told.dot, told.birth, slot);
        self.origin.entries.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives a held entry a newer version (or, in a whole snapshot, the same version with its owner's content).
    pub(super) fn revise(
        &mut self,
        dot: u64,
        slot: SlotId,
        new_dot: u64,
        meta: &[u8],
    ) -> Result<(), ApplyError> {
        let max = self.cursor.inner.config.memory_max;
        let (state, wakes) = self.cursor.of(slot);
        let old = state.store.slot(slot);
        let gone = state.digest_of(&old);
        let prev = if new_dot == dot { old.prev() } else { dot };
        let Ok(new) = state.revise(slot, &old, (new_dot, prev), meta, wakes) else {
            return Err(ApplyError::Full { field: "memory_max", max });
        };
        let came = state.digest_of(&state.store.slot(new));
        state.meter.remote_operations.add(1);
        self.lane.digest = self.lane.digest.wrapping_sub(gone).wrapping_add(came);
        self.lane.remove(dot, old.birth());
        self.lane.insert(new_dot, old.birth(), new);
        Ok(())
    }

    pub(super) fn remove(&mut self, dot: u64, slot: SlotId) {
        let (held, digest) = self.cursor.remove(slot);
        self.lane.remove(dot, held.birth());
        self.lane.digest = self.lane.digest.wrapping_sub(digest);
        self.origin.entries.fetch_sub(1, Ordering::Relaxed);
    }

    /// A held entry has this topic and key.
    pub(super) fn is_named(&mut self, slot: SlotId, told: Told<'_>) -> bool {
        let (state, _) = self.cursor.of(slot);
        let held = state.store.slot(slot);
        let name = &state.store.topics.get(state.store.record_of(&held)).name;
        **name == *told.topic && state.store.bytes(&held).0 == told.key
    }

    /// A held entry has this meta.
    pub(super) fn has_meta(&mut self, slot: SlotId, meta: &[u8]) -> bool {
        let (state, _) = self.cursor.of(slot);
        state.store.bytes(&state.store.slot(slot)).1 == meta
    }

    pub(super) fn check_lens(&self, topic: &[u8], key: &[u8], meta: &[u8]) -> Result<(), ApplyError> {
        self.cursor.inner.check_lens(topic, key, meta).map_err(|error| match error {
            crate::Error::TooLong { field, len, max } => ApplyError::TooLong { field, len, max },
            _ => ApplyError::Shutdown,
        })
    }

    pub(super) fn check(&self, delta: &DeltaView<'_>) -> Result<(), ApplyError> {
        let mut clock = delta.lo;
        for op in delta.ops {
            clock = clock
                .checked_add(op.clocks())
                .filter(|&clock| op.clocks() > 0 && clock <= NUMBER_MAX)
                .ok_or(ApplyError::Malformed { what: "the clocks of a delta exceed 48 bits" })?;
            let birth_fits = match *op {
                Op::Add { birth, topic, key, meta } => {
                    self.check_lens(topic, key, meta)?;
                    (1..=clock).contains(&birth)
                }
                Op::Update { birth, meta } => {
                    self.check_lens(&[], &[], meta)?;
                    (1..clock).contains(&birth)
                }
                Op::Remove { birth } => (1..clock).contains(&birth),
                Op::Skip { .. } => true,
            };
            if !birth_fits {
                return Err(ApplyError::Malformed { what: "a birth is not before its clock" });
            }
        }
        if clock != delta.hi {
            return Err(ApplyError::Malformed { what: "the clocks of a delta do not add up" });
        }
        Ok(())
    }

    fn apply(&mut self, delta: &DeltaView<'_>) -> Result<u64, ApplyError> {
        self.check(delta)?;
        let have = self.lane.clock;
        if delta.hi <= have {
            return Ok(have);
        }
        if self.lane.transfer.is_some() && !planted!(DeltaDuringSnapshot) {
            return Err(ApplyError::SnapshotUnderWay);
        }
        if self.lane.condition != LaneCondition::Clean && !planted!(DeltaDuringSnapshot) {
            return Err(ApplyError::Unclean);
        }
        if delta.lo > have && !planted!(NoGapCheck) {
            return Err(ApplyError::Gap { have });
        }
        let mut clock = delta.lo;
        for op in delta.ops {
            clock += op.clocks();
            if clock <= have {
                continue;
            }
            if let Err(error) = self.apply_op(clock, op) {
                self.lane.clock = clock - 1;
                self.lane.condition = LaneCondition::Diverged;
                return Err(error);
            }
        }
        self.lane.clock = delta.hi;
        Ok(delta.hi)
    }

    pub(super) fn apply_op(&mut self, clock: u64, op: &Op<'_>) -> Result<(), ApplyError> {
        match *op {
            Op::Add { birth, topic, key, meta } => self.upsert(Told { dot: clock, birth, topic, key, meta }),
            Op::Update { birth, meta } => {
                let (dot, slot) = self.find(birth).ok_or(ApplyError::Diverged { birth })?;
                if dot < clock { self.revise(dot, slot, clock, meta) } else { Ok(()) }
            }
            Op::Remove { birth } => {
                if let Some((dot, slot)) = self.find(birth) {
                    self.remove(dot, slot);
                }
                Ok(())
            }
            Op::Skip { .. } => Ok(()),
        }
    }
}

impl Replica {
    /// Applies a delta of another node's lane. What lies at or below the clock held is passed over, so a duplicate or an
    /// overlap does no harm. Returns the clock held afterwards.
    ///
    /// # Errors
    /// [`ApplyError`], which says what has changed: mostly nothing.
    pub fn apply(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        delta: &DeltaView<'_>,
    ) -> Result<u64, ApplyError> {
        self.on_lane(node, incarnation, delta.lane, |writer| writer.apply(delta))
    }

    /// Changes a lane of another node, if that life of it is the one known.
    pub(super) fn on_lane<R>(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        lane: u16,
        change: impl FnOnce(&mut LaneWriter<'_>) -> Result<R, ApplyError>,
    ) -> Result<R, ApplyError> {
        let inner = self.inner();
        let origin = inner.origins.get(node).ok_or(ApplyError::UnknownOrigin)?;
        inner.waking(|wakes| change(&mut LaneWriter::open(inner, &origin, incarnation, lane, wakes)?))
    }

    /// A lane of another node as it is held here.
    #[must_use]
    pub fn remote_lane(&self, node: NodeId, lane: u16) -> Option<RemoteLane> {
        let origin = self.inner().origins.get(node)?;
        let lane = origin.lanes.get(usize::from(lane))?.lock();
        Some(RemoteLane { summary: lane.summary(), condition: lane.condition, reached: lane.reached() })
    }

    /// Marks a lane as diverged, because its owner's digest at the same clock says so: it needs a whole snapshot.
    pub fn mark_diverged(&self, node: NodeId, lane: u16) {
        if let Some(origin) = self.inner().origins.get(node)
            && let Some(lane) = origin.lanes.get(usize::from(lane))
        {
            lane.lock().condition = LaneCondition::Diverged;
        }
    }
}
