//! Applying what another node says of its own lanes.

use super::lane::{LaneState, Place};
use super::origin::Origin;
use super::{ApplyError, DeltaView, LaneCondition, Op, RemoteLane, Replica};
use crate::entry::Record;
use crate::shard::{State, Wakes};
use crate::sync::{Arc, MutexGuard, Ordering, RwLockWriteGuard};
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
    state: RwLockWriteGuard<'a, State>,
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
            state: inner.shards[index].write(),
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
    pub(super) fn remove(&mut self, place: Place) -> Arc<Record> {
        let (state, wakes) = self.at(usize::from(place.shard));
        state.counters.remote_operations += 1;
        state.leave(place.slot, wakes)
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

    /// Takes over a version told whole: a new entry, or a newer version of one that is held.
    pub(super) fn upsert(&mut self, told: Told<'_>) -> Result<(), ApplyError> {
        match self.lane.find(told.birth) {
            Some((dot, place)) if dot < told.dot => {
                self.revise(dot, place, told.dot, told.meta);
                Ok(())
            }
            Some(_) => Ok(()),
            None => self.insert(told),
        }
    }

    fn insert(&mut self, told: Told<'_>) -> Result<(), ApplyError> {
        let config = &self.cursor.inner.config;
        let (shard_max, origin_max) = (config.shard_entries_max, config.origin_entries_max);
        // Relaxed: exact enough for a limit; only lanes of one origin race for it.
        if self.origin.entries.load(Ordering::Relaxed) >= origin_max as u64 {
            return Err(ApplyError::Full { field: "origin_entries_max", max: origin_max });
        }
        let (origin, lane) = (self.origin, self.number);
        let index = self.cursor.inner.shard_index(told.topic);
        let (key, meta) = (told.key.into(), told.meta.into());
        let (state, wakes) = self.cursor.at(index);
        if state.store.len() >= shard_max {
            return Err(ApplyError::Full { field: "shard_entries_max", max: shard_max });
        }
        let topic = state.store.intern_topic(told.topic);
        let record = Arc::new(Record {
            topic: state.store.topic(topic).name.clone(),
            key,
            meta,
            node: origin.node,
            incarnation: origin.incarnation,
            origin: origin.index,
            lane,
            clock: told.dot,
            birth: told.birth,
            prev: 0,
            session: 0,
        });
        let digest = record.digest();
        let slot = state.join(topic, record, wakes);
        state.counters.remote_operations += 1;
        let place = Place { shard: state.index, slot, birth: told.birth };
        self.lane.digest = self.lane.digest.wrapping_add(digest);
        self.lane.insert(told.dot, place);
        origin.entries.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Gives a held entry a newer version (or, in a whole snapshot, the same version with its owner's content).
    pub(super) fn revise(&mut self, dot: u64, place: Place, new_dot: u64, meta: &[u8]) {
        let (state, wakes) = self.cursor.at(usize::from(place.shard));
        let old = Arc::clone(&state.store.slot(place.slot).record);
        let record = Arc::new(Record {
            key: old.key.clone(),
            meta: meta.into(),
            clock: new_dot,
            prev: if new_dot == dot { old.prev } else { dot },
            ..old.head()
        });
        let change = record.digest().wrapping_sub(old.digest());
        state.revise(place.slot, record, wakes);
        state.counters.remote_operations += 1;
        self.lane.digest = self.lane.digest.wrapping_add(change);
        self.lane.remove(dot);
        self.lane.insert(new_dot, place);
    }

    pub(super) fn remove(&mut self, dot: u64) {
        if let Some(place) = self.lane.remove(dot) {
            let record = self.cursor.remove(place);
            self.lane.digest = self.lane.digest.wrapping_sub(record.digest());
            self.origin.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A held entry has this topic and key.
    pub(super) fn is_named(&mut self, place: Place, told: Told<'_>) -> bool {
        let (state, _) = self.cursor.at(usize::from(place.shard));
        let record = &state.store.slot(place.slot).record;
        *record.topic == *told.topic && *record.key == *told.key
    }

    /// A held entry has this meta.
    pub(super) fn has_meta(&mut self, place: Place, meta: &[u8]) -> bool {
        let (state, _) = self.cursor.at(usize::from(place.shard));
        *state.store.slot(place.slot).record.meta == *meta
    }

    pub(super) fn check_lens(&self, topic: &[u8], key: &[u8], meta: &[u8]) -> Result<(), ApplyError> {
        self.cursor.inner.check_lens(topic, key, meta).map_err(|error| match error {
            crate::Error::TooLong { field, len, max } => ApplyError::TooLong { field, len, max },
            _ => ApplyError::Shutdown,
        })
    }

    fn check(&self, delta: &DeltaView<'_>) -> Result<(), ApplyError> {
        let mut clock = delta.lo;
        for op in delta.ops {
            clock = clock
                .checked_add(op.clocks())
                .filter(|_| op.clocks() > 0)
                .ok_or(ApplyError::Malformed { what: "the clocks of a delta overflow" })?;
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
        if self.lane.transfer.is_some() {
            return Err(ApplyError::SnapshotUnderWay);
        }
        if self.lane.condition != LaneCondition::Clean {
            return Err(ApplyError::Unclean);
        }
        if delta.lo > have {
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

    fn apply_op(&mut self, clock: u64, op: &Op<'_>) -> Result<(), ApplyError> {
        match *op {
            Op::Add { birth, topic, key, meta } => self.upsert(Told { dot: clock, birth, topic, key, meta }),
            Op::Update { birth, meta } => {
                let (dot, place) = self.lane.find(birth).ok_or(ApplyError::Diverged { birth })?;
                if dot < clock {
                    self.revise(dot, place, clock, meta);
                }
                Ok(())
            }
            Op::Remove { birth } => {
                if let Some((dot, _)) = self.lane.find(birth) {
                    self.remove(dot);
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
        Some(RemoteLane { summary: lane.summary(), condition: lane.condition })
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
