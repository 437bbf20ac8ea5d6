//! Sessions: who owns an entry.

use crate::shard::{Draft, Wakes};
use crate::sync::{Arc, Mutex};
use crate::tracker::Inner;
use crate::{Entry, EntryRef, Error, SessionId};
use ahash::RandomState;
use std::collections::HashSet;
use std::fmt;

/// Operations that one lock of a shard covers in a batch.
const BATCH_PER_LOCK: usize = 64;

/// Where an own entry is: shard and slot.
type Place = (u16, u32);
type Owned = HashSet<Place, RandomState>;

/// An entry of a batch, the `at`-th given.
struct Pending {
    shard: usize,
    at: usize,
    topic: Box<[u8]>,
    draft: Draft,
}

/// The owner of entries, usually one connection. Dropping it makes all of them leave, on a panic too.
///
/// A session can be shared between threads (`Arc<Session>`); its operations take turns, and do not wait for those of
/// other sessions except where they meet in a shard for the length of one operation.
pub struct Session {
    tracker: Arc<Inner>,
    id: SessionId,
    owned: Mutex<Owned>,
}

impl Session {
    pub(crate) fn new(tracker: Arc<Inner>, id: SessionId) -> Self {
        Self { tracker, id, owned: Mutex::new(Owned::default()) }
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
        let (topic, key, meta) = (topic.as_ref(), key.as_ref(), meta.as_ref());
        self.tracker.check_lens(topic, key, meta)?;
        let draft = Draft::new(key, meta);
        self.tracker.waking(|wakes| {
            let mut owned = self.owned.lock();
            let full = self.check_room(&owned, 1).err();
            let shard = self.tracker.shard_of(topic);
            let mut state = shard.write();
            let entries_max = self.tracker.config.shard_entries_max;
            let tracked = state.track(self.id.0, topic, draft, full, entries_max, wakes);
            let index = state.index;
            self.tracker.finish(shard, state, wakes);
            let (slot, dot) = tracked?;
            owned.insert((index, slot));
            Ok(dot)
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
        // Everything of the caller's is copied here: its code runs under no lock, and may panic.
        let mut batch = Vec::new();
        for (at, (topic, key, meta)) in entries.into_iter().enumerate() {
            let (topic, key, meta) = (topic.as_ref(), key.as_ref(), meta.as_ref());
            self.tracker.check_lens(topic, key, meta)?;
            let shard = self.tracker.shard_index(topic);
            batch.push(Pending { shard, at, topic: topic.into(), draft: Draft::new(key, meta) });
        }
        batch.sort_unstable_by_key(|pending| (pending.shard, pending.at));
        self.tracker.waking(|wakes| self.track_batch(batch, wakes))
    }

    fn track_batch(&self, batch: Vec<Pending>, wakes: &mut Wakes) -> Result<Vec<EntryRef>, Error> {
        let mut owned = self.owned.lock();
        self.check_room(&owned, batch.len())?;
        let entries_max = self.tracker.config.shard_entries_max;
        let mut placed: Vec<Place> = Vec::with_capacity(batch.len());
        let mut refs = vec![None; batch.len()];
        let mut failed = None;
        let mut batch = batch.into_iter().peekable();
        while failed.is_none()
            && let Some(index) = batch.peek().map(|pending| pending.shard)
        {
            let shard = &self.tracker.shards[index];
            let mut state = shard.write();
            for _ in 0..BATCH_PER_LOCK {
                let Some(pending) = batch.next_if(|pending| pending.shard == index) else {
                    break;
                };
                match state.track(self.id.0, &pending.topic, pending.draft, None, entries_max, wakes) {
                    Ok((slot, dot)) => {
                        placed.push((state.index, slot));
                        refs[pending.at] = Some(dot);
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            self.tracker.finish(shard, state, wakes);
        }
        if let Some(error) = failed {
            self.leave(placed, wakes);
            return Err(error);
        }
        owned.extend(placed);
        Ok(refs.into_iter().flatten().collect())
    }

    /// Gives an entry of this session a new meta: one `Update` event, a new ref, and no moment without the entry.
    ///
    /// # Errors
    /// [`Error::NotTracked`] if this session does not have that key there; [`Error::TooLong`], [`Error::Shutdown`].
    /// Nothing has changed then.
    pub fn update(
        &self,
        topic: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
        meta: impl AsRef<[u8]>,
    ) -> Result<EntryRef, Error> {
        let (topic, key, meta) = (topic.as_ref(), key.as_ref(), meta.as_ref());
        self.tracker.check_lens(topic, key, meta)?;
        // Nothing is expected, so nothing can have come between.
        self.revise(topic, key, meta, None)?.ok_or(Error::NotTracked)
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
        let (topic, key) = (topic.as_ref(), key.as_ref());
        self.tracker.check_lens(topic, key, &[])?;
        loop {
            let entry = {
                let state = self.tracker.shard_of(topic).read();
                if state.closed {
                    return Err(Error::Shutdown);
                }
                let slot = state.find_own(self.id.0, topic, key).ok_or(Error::NotTracked)?;
                Entry(Arc::clone(&state.store.slot(slot).record))
            };
            let meta = meta(&entry);
            self.tracker.check_lens(topic, key, meta.as_ref())?;
            if let Some(dot) = self.revise(topic, key, meta.as_ref(), Some(entry.0.clock))? {
                return Ok(dot);
            }
        }
    }

    fn revise(
        &self,
        topic: &[u8],
        key: &[u8],
        meta: &[u8],
        expected: Option<u64>,
    ) -> Result<Option<EntryRef>, Error> {
        let draft = Draft::new(key, meta);
        self.tracker.waking(|wakes| {
            let _turn = self.owned.lock();
            let shard = self.tracker.shard_of(topic);
            let mut state = shard.write();
            let updated = state.update(self.id.0, topic, draft, expected, wakes);
            self.tracker.finish(shard, state, wakes);
            updated
        })
    }

    /// Makes one entry leave. False, and no event, if this session does not have that key there.
    ///
    /// # Errors
    /// [`Error::Shutdown`].
    pub fn untrack(&self, topic: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let (topic, key) = (topic.as_ref(), key.as_ref());
        self.tracker.waking(|wakes| {
            let mut owned = self.owned.lock();
            let shard = self.tracker.shard_of(topic);
            let mut state = shard.write();
            if state.closed {
                return Err(Error::Shutdown);
            }
            let found = state.find_own(self.id.0, topic, key);
            if let Some(slot) = found {
                state.untrack(slot, wakes);
                owned.remove(&(state.index, slot));
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
            let places: Vec<Place> = {
                let index = self.tracker.shard_index(topic);
                let state = self.tracker.shards[index].read();
                if state.closed {
                    return Err(Error::Shutdown);
                }
                let Some(topic) = state.find_topic(topic) else {
                    return Ok(0);
                };
                let here = owned.iter().filter(|&&(shard, _)| usize::from(shard) == index);
                here.filter(|&&(_, slot)| state.store.slot(slot).topic == topic).copied().collect()
            };
            for place in &places {
                owned.remove(place);
            }
            let count = places.len();
            self.leave(places, wakes);
            Ok(count)
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
            let places: Vec<Place> = owned.drain().collect();
            let count = places.len();
            self.leave(places, wakes);
            Ok(count)
        })
    }

    /// How many entries the session has.
    #[must_use]
    pub fn len(&self) -> usize {
        let owned = self.owned.lock();
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
        let mut places: Vec<Place> = owned.iter().copied().collect();
        places.sort_unstable();
        let mut entries = Vec::with_capacity(places.len());
        for group in places.chunk_by(|a, b| a.0 == b.0) {
            let state = self.tracker.shards[usize::from(group[0].0)].read();
            if !state.closed {
                let records = group.iter().map(|&(_, slot)| &state.store.slot(slot).record);
                entries.extend(records.map(|record| Entry(Arc::clone(record))));
            }
        }
        entries
    }

    fn check_room(&self, owned: &Owned, more: usize) -> Result<(), Error> {
        let max = self.tracker.config.session_entries_max;
        if self.tracker.is_shutdown() {
            return Err(Error::Shutdown);
        }
        if owned.len().saturating_add(more) > max {
            return Err(Error::Full { field: "session_entries_max", max });
        }
        Ok(())
    }

    /// Takes entries of this session out, a few for each time that a shard is locked.
    fn leave(&self, mut places: Vec<Place>, wakes: &mut Wakes) {
        places.sort_unstable();
        for group in places.chunk_by(|a, b| a.0 == b.0) {
            let shard = &self.tracker.shards[usize::from(group[0].0)];
            for part in group.chunks(BATCH_PER_LOCK) {
                let mut state = shard.write();
                // A shutdown has taken out what was here, and the slots may be others' by now.
                if !state.closed {
                    for &(_, slot) in part {
                        state.untrack(slot, wakes);
                    }
                }
                self.tracker.finish(shard, state, wakes);
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let places: Vec<Place> = self.owned.lock().drain().collect();
        self.tracker.waking(|wakes| self.leave(places, wakes));
        self.tracker.session_ended();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
