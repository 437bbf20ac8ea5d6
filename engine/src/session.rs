//! Sessions: who owns an entry.

use crate::owned::Owned;
use crate::shard::{Entries, Joining, NameHash, Shard, SlotId, State, Updated, Wakes};
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::tracker::Inner;
use crate::{Entry, EntryRef, Error, SessionId};
use std::fmt;

/// Operations that one lock of a shard covers in a batch.
const BATCH_PER_LOCK: usize = 64;
/// Slots between the one that is asked for and the one that is looked at.
const SLOTS_AHEAD: usize = 8;

/// An entry of a batch, the `at`-th given, with its bytes in the batch's buffer.
struct Pending {
    shard: u16,
    at: usize,
    name: NameHash,
    key_hash: u32,
    content: u64,
    start: usize,
    lens: [usize; 3],
}

/// Entries of a batch, and all their bytes one after the other.
#[derive(Default)]
struct Batch {
    pending: Vec<Pending>,
    bytes: Vec<u8>,
}

impl Pending {
    fn joining<'a>(&self, bytes: &'a [u8]) -> Joining<'a> {
        let [topic, key, meta] = self.lens;
        let (topic, rest) = bytes[self.start..self.start + topic + key + meta].split_at(topic);
        let (key, meta) = rest.split_at(key);
        let (stable, key_hash, content) = (self.name.stable, self.key_hash, self.content);
        Joining { topic, stable, key, key_hash, meta, content }
    }
}

/// The owner of entries, usually one connection. Dropping it makes all of them leave, on a panic too.
///
/// A session can be shared between threads (`Arc<Session>`). Each of its operations on one entry is one step to all others, and waits for
/// those of other sessions only where they meet in a shard, for the length of one operation.
pub struct Session {
    tracker: Arc<Inner>,
    id: SessionId,
    owned: Mutex<Owned>,
}

impl Session {
    pub(crate) fn new(tracker: Arc<Inner>, id: SessionId) -> Self {
        let owned = Owned::new(tracker.evictions.total());
        Self { tracker, id, owned: Mutex::new(owned) }
    }

    /// The session's number on this node.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Tracks `key` in `topic`: an entry joins, and is listed with the returned ref when this returns.
    ///
    /// # Errors
    /// [`Error::AlreadyTracked`] if this session has that key there already; [`Error::TooLong`], [`Error::Full`],
    /// [`Error::Shutdown`]. Nothing has changed then.
    pub fn track(
        &self,
        topic: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
        meta: impl AsRef<[u8]>,
    ) -> Result<EntryRef, Error> {
        self.tracker.noting(|| {
            let (topic, key, meta) = (topic.as_ref(), key.as_ref(), meta.as_ref());
            self.tracker.check_lens(topic, key, meta)?;
            let joining = self.tracker.joining(topic, key, meta);
            let name = self.tracker.commons.name_of(joining.stable, topic);
            self.tracker.waking(|wakes| {
                let mut owned = self.owned.lock();
                let full = self.check_room(&mut owned, 1).err();
                // Not as in `lock`: that would wait for the bucket, to ask for a slot that most likely is not there, while the topic can be
                // looked up until the bucket has come.
                let shard = &self.tracker.shards[usize::from(self.tracker.commons.shard_of(joining.stable))];
                let mut state = shard.lock();
                let tracked = state.track(self.id.0, (&joining, name), full, &self.tracker.config, wakes);
                self.tracker.finish(shard, state, wakes);
                let (slot, dot) = tracked?;
                owned.insert(slot, self.is_own());
                Ok(dot)
            })
        })
    }

    /// Tracks many at once, all or nothing: cheaper than one by one, because a shard is locked once for many. Returns the
    /// refs in the order given. Readers may see the batch arrive in parts.
    ///
    /// # Errors
    /// As [`track`](Self::track), for the first entry that cannot be tracked; a key given twice is
    /// [`Error::AlreadyTracked`]. No entry of the batch is left then; entries seen meanwhile leave with an event.
    pub fn track_many<T, K, M>(
        &self,
        entries: impl IntoIterator<Item = (T, K, M)>,
    ) -> Result<Vec<EntryRef>, Error>
    where
        T: AsRef<[u8]>,
        K: AsRef<[u8]>,
        M: AsRef<[u8]>,
    {
        self.tracker.noting(|| {
            // Everything of the caller's is copied here: its code runs under no lock, and may panic.
            let mut batch = Batch::default();
            for (at, (topic, key, meta)) in entries.into_iter().enumerate() {
                let (topic, key, meta) = (topic.as_ref(), key.as_ref(), meta.as_ref());
                self.tracker.check_lens(topic, key, meta)?;
                let Joining { stable, key_hash, content, .. } = self.tracker.joining(topic, key, meta);
                let name = self.tracker.commons.name_of(stable, topic);
                let (start, lens) = (batch.bytes.len(), [topic.len(), key.len(), meta.len()]);
                [topic, key, meta].iter().for_each(|part| batch.bytes.extend_from_slice(part));
                let shard = self.tracker.commons.shard_of(stable);
                batch.pending.push(Pending { shard, at, name, key_hash, content, start, lens });
            }
            batch.pending.sort_unstable_by_key(|pending| (pending.shard, pending.at));
            self.tracker.waking(|wakes| self.track_batch(&batch, wakes))
        })
    }

    fn track_batch(&self, batch: &Batch, wakes: &mut Wakes) -> Result<Vec<EntryRef>, Error> {
        let mut owned = self.owned.lock();
        self.check_room(&mut owned, batch.pending.len())?;
        let mut placed: Vec<SlotId> = Vec::with_capacity(batch.pending.len());
        let mut refs = vec![None; batch.pending.len()];
        let mut failed = None;
        for group in batch.pending.chunk_by(|a, b| a.shard == b.shard) {
            for part in group.chunks(BATCH_PER_LOCK) {
                let shard = &self.tracker.shards[usize::from(part[0].shard)];
                // Their buckets are on their way while the lock is waited for.
                for pending in part {
                    self.tracker.commons.prefetch(pending.shard, pending.key_hash);
                    self.tracker.commons.prefetch_name(pending.shard, pending.name);
                }
                let mut state = shard.lock();
                for pending in part {
                    match state.track(
                        self.id.0,
                        (&pending.joining(&batch.bytes), pending.name),
                        None,
                        &self.tracker.config,
                        wakes,
                    ) {
                        Ok((slot, dot)) => {
                            placed.push(slot);
                            refs[pending.at] = Some(dot);
                        }
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
                self.tracker.finish(shard, state, wakes);
                if let Some(error) = failed {
                    let count = placed.len();
                    let left = self.leave(placed, wakes).len();
                    // The others were evicted, and are noted as this session's.
                    owned.never_inserted(count - left);
                    return Err(error);
                }
            }
        }
        placed.into_iter().for_each(|slot| owned.insert(slot, self.is_own()));
        Ok(refs.into_iter().flatten().collect())
    }

    /// Gives an entry of this session a new meta: one `Update` event, a new ref, and no moment without the entry.
    ///
    /// # Errors
    /// [`Error::NotTracked`] if this session does not have that key there; [`Error::TooLong`], [`Error::Shutdown`], and
    /// [`Error::Full`] if there is no memory for the new version. Nothing has changed then.
    pub fn update(
        &self,
        topic: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
        meta: impl AsRef<[u8]>,
    ) -> Result<EntryRef, Error> {
        self.tracker.noting(|| {
            let (topic, key, meta) = (topic.as_ref(), key.as_ref(), meta.as_ref());
            self.tracker.check_lens(topic, key, meta)?;
            // Nothing is expected, so nothing can have come between.
            self.revise(topic, key, meta, None)?.ok_or(Error::NotTracked)
        })
    }

    /// Like [`update`](Self::update), of the entry of which `of` names the present version: what [`track`](Self::track) or the last update
    /// returned. Needs no search, so it is the faster way for who keeps the ref.
    ///
    /// ```
    /// # let session = headcount::Tracker::new().session();
    /// let joined = session.track("room:42", "alice", "here")?;
    /// let away = session.update_ref(joined, "away")?;
    /// assert_eq!(session.update_ref(joined, "late"), Err(headcount::Error::NotTracked));
    /// assert_eq!(session.untrack_ref(away), Ok(true));
    /// # Ok::<(), headcount::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update). [`Error::NotTracked`] too if the entry has another version by now, or if the ref was made before this
    /// node joined a cluster, which gives its entries new refs.
    pub fn update_ref(&self, of: EntryRef, meta: impl AsRef<[u8]>) -> Result<EntryRef, Error> {
        self.tracker.noting(|| {
            let meta = meta.as_ref();
            self.tracker.check_lens(&[], &[], meta)?;
            let shard = self.tracker.shards.get(usize::from(of.lane)).ok_or(Error::NotTracked)?;
            let updated = self.update_as(|may_move, wakes| {
                let mut state = shard.lock();
                let updated = state.update_ref(self.id.0, of, meta, may_move, wakes);
                self.tracker.finish(shard, state, wakes);
                updated
            })?;
            updated.ok_or(Error::NotTracked)
        })
    }

    /// Makes the entry leave of which `of` names the present version, without a search for it. False, and no event, if the entry has another
    /// version by now or is gone; see [`update_ref`](Self::update_ref).
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub fn untrack_ref(&self, of: EntryRef) -> Result<bool, Error> {
        self.tracker.waking(|wakes| {
            let mut owned = self.owned.lock();
            let Some(shard) = self.tracker.shards.get(usize::from(of.lane)) else {
                return Ok(false);
            };
            let mut state = shard.lock();
            if state.closed {
                return Err(Error::Shutdown);
            }
            let found = state.find_ref(self.id.0, of);
            if let Some(slot) = found {
                state.untrack(slot, wakes);
                owned.removed(&[slot], self.is_own());
            }
            self.tracker.finish(shard, state, wakes);
            Ok(found.is_some())
        })
    }

    /// Like [`update`](Self::update), with a meta made from the present entry. The closure runs outside any lock, on a
    /// copy; if the entry changed meanwhile it runs again on the new one. If it panics, nothing has changed.
    ///
    /// ```
    /// # let session = headcount::Tracker::new().session();
    /// session.track("room:42", "alice", "1")?;
    /// session.update_with("room:42", "alice", |entry| entry.meta().repeat(2))?;
    /// assert_eq!(session.entries()[0].meta(), b"11");
    /// # Ok::<(), headcount::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_with<M: AsRef<[u8]>>(
        &self,
        topic: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
        mut meta: impl FnMut(&Entry) -> M,
    ) -> Result<EntryRef, Error> {
        self.tracker.noting(|| {
            let (topic, key) = (topic.as_ref(), key.as_ref());
            self.tracker.check_lens(topic, key, &[])?;
            let joining = self.tracker.joining(topic, key, &[]);
            loop {
                let entry = {
                    let (_, state) = self.lock(&joining);
                    if state.closed {
                        return Err(Error::Shutdown);
                    }
                    let found = state.find_own(self.id.0, &joining);
                    state.entry(found.ok_or(Error::NotTracked)?)
                };
                let meta = meta(&entry);
                self.tracker.check_lens(topic, key, meta.as_ref())?;
                if let Some(dot) = self.revise(topic, key, meta.as_ref(), Some(entry.facts().clock))? {
                    return Ok(dot);
                }
            }
        })
    }

    fn revise(
        &self,
        topic: &[u8],
        key: &[u8],
        meta: &[u8],
        expected: Option<u64>,
    ) -> Result<Option<EntryRef>, Error> {
        let joining = self.tracker.joining(topic, key, meta);
        self.update_as(|may_move, wakes| {
            let (shard, mut state) = self.lock(&joining);
            let updated = state.update(self.id.0, &joining, expected, may_move, wakes);
            self.tracker.finish(shard, state, wakes);
            updated
        })
    }

    /// Runs an update. Most change nothing that the session knows, and need no lock of its.
    #[inline]
    fn update_as(
        &self,
        update: impl Fn(bool, &mut Wakes) -> Result<Updated, Error>,
    ) -> Result<Option<EntryRef>, Error> {
        self.tracker.waking(|wakes| {
            let mut updated = update(false, wakes)?;
            if let Updated::MustMove = updated {
                let mut owned = self.owned.lock();
                updated = update(true, wakes)?;
                if let Updated::Done { from, to, .. } = updated
                    && from != to
                {
                    owned.moved(from, to, self.is_own());
                }
            }
            match updated {
                Updated::Done { dot, .. } => Ok(Some(dot)),
                Updated::Superseded | Updated::MustMove => Ok(None),
            }
        })
    }

    /// Makes one entry leave. False, and no event, if this session does not have that key there.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub fn untrack(&self, topic: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let (topic, key) = (topic.as_ref(), key.as_ref());
        let joining = self.tracker.joining(topic, key, &[]);
        self.tracker.waking(|wakes| {
            let mut owned = self.owned.lock();
            let (shard, mut state) = self.lock(&joining);
            if state.closed {
                return Err(Error::Shutdown);
            }
            let found = state.find_own(self.id.0, &joining);
            if let Some(slot) = found {
                state.untrack(slot, wakes);
                owned.removed(&[slot], self.is_own());
            }
            self.tracker.finish(shard, state, wakes);
            Ok(found.is_some())
        })
    }

    /// Makes this session's entries of one topic leave; returns how many. Costs what the session owns, whatever the topic
    /// holds.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub fn untrack_topic(&self, topic: impl AsRef<[u8]>) -> Result<usize, Error> {
        let topic = topic.as_ref();
        self.tracker.waking(|wakes| {
            let mut owned = self.owned.lock();
            let slots: Vec<SlotId> = {
                let name = self.tracker.commons.hash_name(topic);
                let state = self.tracker.shard_of(name).lock();
                if state.closed {
                    return Err(Error::Shutdown);
                }
                let Some(record) = state.find_topic(topic, name) else {
                    return Ok(0);
                };
                let topic = state.store.topics.get(record).id;
                let mut slots = owned.candidates();
                slots.retain(|&slot| self.tracker.commons.topic_of(slot) == topic);
                slots
            };
            let left = self.leave(slots, wakes);
            owned.removed(&left, self.is_own());
            Ok(left.len())
        })
    }

    /// Makes all of this session's entries leave; returns how many. The session stays usable. Costs its own entries only.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub fn clear(&self) -> Result<usize, Error> {
        self.tracker.waking(|wakes| {
            let mut owned = self.owned.lock();
            if self.tracker.is_shutdown() {
                return Err(Error::Shutdown);
            }
            let left = self.leave(owned.take(), wakes).len();
            // Whoever was evicted until now is not counted any more.
            let _ = self.tracker.evictions.take(self.id.0, &mut owned.looked);
            Ok(left)
        })
    }

    /// How many entries the session has.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut owned = self.owned.lock();
        self.settle(&mut owned);
        if self.tracker.is_shutdown() { 0 } else { owned.len() }
    }

    /// Whether the session has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session's entries, in no particular order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let owned = self.owned.lock();
        if self.tracker.is_shutdown() {
            return Vec::new();
        }
        let mut slots = Vec::with_capacity(owned.len());
        self.for_each_own(owned.candidates(), |_, _| (), |_, _, slot| slots.extend(slot));
        // The session's lock keeps them in their slots, but for a shutdown: then they are gone, or others'.
        let mut read = Entries::new(&self.tracker.commons);
        let entries = slots.into_iter().filter_map(|slot| read.read(slot));
        entries.filter(|entry| entry.session() == Some(self.id)).collect()
    }

    /// Locks the shard of a topic, with the slots on their way that an operation on a key of it will look at.
    #[inline]
    fn lock(&self, joining: &Joining<'_>) -> (&Shard, MutexGuard<'_, State>) {
        let index = self.tracker.commons.shard_of(joining.stable);
        self.tracker.commons.prefetch_slots(index, joining.key_hash);
        let shard = &self.tracker.shards[usize::from(index)];
        (shard, shard.lock())
    }

    /// Takes note of entries that were evicted. Only where no entry is between its shard and `owned`: one that was evicted there would be
    /// subtracted before it is counted.
    fn settle(&self, owned: &mut Owned) {
        let evicted = self.tracker.evictions.take(self.id.0, &mut owned.looked);
        if evicted > 0 {
            owned.evicted(evicted, self.is_own());
        }
    }

    fn check_room(&self, owned: &mut Owned, more: usize) -> Result<(), Error> {
        self.settle(owned);
        let max = self.tracker.config.session_entries_max;
        if self.tracker.is_shutdown() {
            return Err(Error::Shutdown);
        }
        if owned.len().saturating_add(more) > max {
            return Err(Error::Full { field: "session_entries_max", max });
        }
        Ok(())
    }

    /// Whether a slot is this session's, as far as a look without a lock can tell: of its own ones it is certain.
    fn is_own(&self) -> impl Fn(SlotId) -> bool {
        |slot| self.tracker.commons.is_owned_by(slot, self.id.0)
    }

    /// Takes those entries out that are this session's; returns their slots.
    fn leave(&self, slots: Vec<SlotId>, wakes: &mut Wakes) -> Vec<SlotId> {
        let mut left = Vec::with_capacity(slots.len());
        let ask = |shard, slot| self.tracker.commons.prefetch_leads(shard, slot);
        self.for_each_own(slots, ask, |shard, state, slot| match slot {
            Some(slot) => {
                state.untrack(slot, wakes);
                left.push(slot);
            }
            None => self.tracker.publish(shard, state, wakes),
        });
        left
    }

    /// Runs `each` on those slots that are this session's, and without a slot before a shard is unlocked: after a few, so that nobody waits
    /// long for it. `ask` may ask for what `each` will look at.
    fn for_each_own(
        &self,
        slots: Vec<SlotId>,
        ask: impl Fn(u16, SlotId),
        mut each: impl FnMut(&Shard, &mut State, Option<SlotId>),
    ) {
        let commons = &self.tracker.commons;
        let place = |(at, &slot): (usize, &SlotId)| {
            if let Some(&soon) = slots.get(at + SLOTS_AHEAD) {
                commons.prefetch_slot(soon);
            }
            (commons.shard_of_slot(slot), slot)
        };
        let mut places: Vec<(u16, SlotId)> = slots.iter().enumerate().map(place).collect();
        places.sort_unstable();
        for group in places.chunk_by(|a, b| a.0 == b.0) {
            let index = group[0].0;
            let shard = &self.tracker.shards[usize::from(index)];
            for part in group.chunks(BATCH_PER_LOCK) {
                // All of them are on their way before the first is worked on.
                part.iter().for_each(|&(_, slot)| ask(index, slot));
                let mut state = shard.lock();
                part.iter().for_each(|&(_, slot)| state.prefetch_dot(slot));
                for &(_, slot) in part {
                    if state.is_own(self.id.0, slot) {
                        each(shard, &mut state, Some(slot));
                    }
                }
                each(shard, &mut state, None);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (slots, mut looked) = {
            let mut owned = self.owned.lock();
            (owned.take(), owned.looked)
        };
        self.tracker.waking(|wakes| drop(self.leave(slots, wakes)));
        // All have left, so nobody notes anything for this session from now on.
        let _ = self.tracker.evictions.take(self.id.0, &mut looked);
        self.tracker.session_ended();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
