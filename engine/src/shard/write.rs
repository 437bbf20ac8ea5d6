//! Changing a shard: the three changes that any entry can go through, and this node's own operations on top of them.

use super::commons::NameHash;
use super::layout::{EntrySlot, NUMBER_MAX};
use super::store::{Fresh, Held};
use super::{Owner, SlotId, State, Wakes};
use crate::Config;
use crate::entry::{content_hash, digest};
use crate::event::EventKind;
use crate::kernel::table::NoRoom;
use crate::lane::Logged;
use crate::{EntryRef, Error};

/// No entry gets a clock beyond this. A lane with a million operations a second gets there after eight years; removals still
/// have room then.
const CLOCK_MAX: u64 = NUMBER_MAX - (1 << 40);

/// An entry that is to join, with everything worked out that needs no lock.
#[derive(Clone, Copy)]
pub(crate) struct Joining<'a> {
    pub(crate) topic: &'a [u8],
    /// The [`stable_hash`](super::stable_hash) of the topic.
    pub(crate) stable: u64,
    pub(crate) key: &'a [u8],
    pub(crate) key_hash: u32,
    pub(crate) meta: &'a [u8],
    /// [`content_hash`] of it.
    pub(crate) content: u64,
}

/// What has come of an update.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Updated {
    /// The entry has a new version. It was in the one slot and is in the other, which may be the same.
    Done { from: SlotId, to: SlotId, dot: EntryRef },
    /// It has another version than expected. Nothing was changed.
    Superseded,
    /// It takes another slot. Nothing was changed.
    MustMove,
}

/// The three changes, for entries of any origin. What is silent changes without an event.
impl State {
    /// Stores an entry of a topic, which is interned.
    pub(crate) fn join(
        &mut self,
        record: u32,
        fresh: &Fresh<'_>,
        held: Held,
        wakes: &mut Wakes,
    ) -> Result<SlotId, NoRoom> {
        let slot = self.store.insert(record, fresh, held)?;
        self.count_change(record);
        if self.silent.is_empty() || self.is_told(&self.store.slot(slot)) {
            self.told_more(record, wakes);
            self.emit(record, wakes, |state| EventKind::Join(state.entry(slot)));
        }
        Ok(slot)
    }

    /// Gives an entry, of which `held` is a copy, another version, with its clock and the one before; returns its slot.
    pub(crate) fn revise(
        &mut self,
        slot: SlotId,
        held: &EntrySlot,
        clocks: (u64, u64),
        meta: &[u8],
        wakes: &mut Wakes,
    ) -> Result<SlotId, NoRoom> {
        let record = self.store.record_of(held);
        let old = (self.is_heard(record) && self.is_told(held)).then(|| self.entry(slot));
        let new = self.store.replace(slot, held, record, clocks, meta)?;
        self.count_change(record);
        if let Some(old) = old {
            self.emit(record, wakes, |state| EventKind::Update { old, new: state.entry(new) });
        }
        Ok(new)
    }

    /// Takes an entry out, of which `held` is a copy; returns its part in its lane's digest.
    pub(crate) fn leave(&mut self, slot: SlotId, held: &EntrySlot, wakes: &mut Wakes) -> u64 {
        let record = self.store.record_of(held);
        self.count_change(record);
        self.store.prefetch_links(record, slot, held);
        let digest = self.digest_of(held);
        let told = self.is_told(held);
        let left = (told && self.is_heard(record)).then(|| self.entry(slot));
        self.store.remove(slot, held, record);
        if let Some(left) = left {
            self.emit(record, wakes, |_| EventKind::Leave(left));
        }
        if told {
            self.told_less(record, wakes);
        }
        self.store.release_topic(record);
        digest
    }

    /// The part of an entry in its lane's digest.
    pub(crate) fn digest_of(&self, slot: &EntrySlot) -> u64 {
        digest(self.content_of(slot, None), slot.birth(), slot.clock())
    }

    /// The [`content_hash`] of an entry, with another meta if there is one.
    fn content_of(&self, slot: &EntrySlot, other: Option<&[u8]>) -> u64 {
        let topic = self.store.topics.get(self.store.record_of(slot)).hash.stable;
        if slot.is_long() {
            let (key, meta) = self.store.bytes(slot);
            content_hash(topic, &key, other.unwrap_or(&meta))
        } else {
            let (key, meta) = slot.lens();
            let (key, meta) = slot.inline_bytes()[..key + meta].split_at(key);
            content_hash(topic, key, other.unwrap_or(meta))
        }
    }
}

/// This node's own operations.
impl State {
    /// Why there is no memory.
    pub(crate) fn no_room(&self) -> Error {
        Error::Full { field: "memory_max", max: self.store.commons.memory_max }
    }

    /// The limit that leaves no room for another entry of a key, if there is one.
    pub(crate) fn limit_reached(&self, held: Held, config: &Config) -> Option<(&'static str, usize)> {
        if self.store.len() >= config.shard_entries_max {
            return Some(("shard_entries_max", config.shard_entries_max));
        }
        (held.sharing >= config.key_entries_max && self.store.sharing(held) >= config.key_entries_max)
            .then_some(("key_entries_max", config.key_entries_max))
    }

    fn dot(&self, clock: u64) -> EntryRef {
        let (node, incarnation) = (self.identity.node, self.identity.incarnation);
        EntryRef { node, incarnation, lane: self.index, clock }
    }

    /// The slot of this session's entry.
    pub(crate) fn find_own(&self, session: u64, joining: &Joining<'_>) -> Option<SlotId> {
        let key = (joining.key, joining.key_hash);
        self.store.held_by_name(joining.topic, key, Owner::Session(session)).own
    }

    /// Whether a slot is this session's entry, here and now. What a session remembers may be others' by now, or be kept for a reader
    /// although its entry is gone: only an entry that is there has its dot.
    pub(crate) fn is_own(&self, session: u64, slot: SlotId) -> bool {
        let held = self.store.slot(slot);
        held.owner() == Owner::Session(session) && self.lane.dots.get(held.clock()) == Some(slot)
    }

    /// Asks for the dot of an own entry, whatever the slot is by now.
    #[inline]
    pub(crate) fn prefetch_dot(&self, slot: SlotId) {
        self.lane.dots.prefetch(self.store.commons.clock_of(slot));
    }

    /// Adds an entry. `full`: why the session may not have another, said only if it does not have this one already.
    pub(crate) fn track(
        &mut self,
        session: u64,
        (joining, name): (&Joining<'_>, NameHash),
        full: Option<Error>,
        config: &Config,
        wakes: &mut Wakes,
    ) -> Result<(SlotId, EntryRef), Error> {
        if self.closed {
            return Err(Error::Shutdown);
        }
        let owner = Owner::Session(session);
        let (hash, key) = (joining.key_hash, joining.key);
        let record = self.find_topic(joining.topic, name);
        let held = record.map_or_else(Held::default, |record| self.store.held(record, hash, key, owner));
        if let Some(slot) = held.own {
            return Err(Error::AlreadyTracked { existing: self.dot(self.store.slot(slot).clock()) });
        }
        if let Some(full) = full {
            return Err(full);
        }
        if let Some((field, max)) = self.limit_reached(held, config) {
            return Err(Error::Full { field, max });
        }
        let clock = self.next_clock()?;
        let record = match record {
            Some(record) => record,
            None => self.store.intern_topic(joining.topic, name).map_err(|NoRoom| self.no_room())?,
        };
        let fresh = Fresh { owner, clock, birth: clock, hash, key, meta: joining.meta };
        let slot = match self.join(record, &fresh, held, wakes) {
            Ok(slot) => slot,
            Err(NoRoom) => {
                self.store.release_topic(record);
                return Err(self.no_room());
            }
        };
        self.lane.tick(Logged::Add);
        self.lane.digest = self.lane.digest.wrapping_add(digest(joining.content, clock, clock));
        self.lane.dots.insert(clock, slot);
        self.meter.tracked.add(1);
        self.own_changed();
        Ok((slot, self.dot(clock)))
    }

    fn next_clock(&self) -> Result<u64, Error> {
        let clock = self.lane.clock + 1;
        let max = || usize::try_from(CLOCK_MAX).unwrap_or(usize::MAX);
        if clock > CLOCK_MAX { Err(Error::Full { field: "clock", max: max() }) } else { Ok(clock) }
    }

    /// The slot of this session's entry of which a ref names the present version.
    pub(crate) fn find_ref(&self, session: u64, of: EntryRef) -> Option<SlotId> {
        self.find_version(of).filter(|&(owner, _)| owner == session).map(|(_, slot)| slot)
    }

    /// The session and slot of the own entry of which a ref names the present version.
    #[inline]
    pub(crate) fn find_version(&self, of: EntryRef) -> Option<(u64, SlotId)> {
        let slot = self.lane.dots.get(of.clock).filter(|_| of == self.dot(of.clock))?;
        match self.store.slot(slot).owner() {
            Owner::Session(session) => Some((session, slot)),
            // No lane of another node's is among the own dots.
            Owner::Lane(..) => None,
        }
    }

    /// Gives the entry that a ref names a new version; as [`update`](Self::update).
    pub(crate) fn update_ref(
        &mut self,
        session: u64,
        of: EntryRef,
        meta: &[u8],
        may_move: bool,
        wakes: &mut Wakes,
    ) -> Result<Updated, Error> {
        if self.closed {
            return Err(Error::Shutdown);
        }
        let slot = self.find_ref(session, of).ok_or(Error::NotTracked)?;
        let old = self.store.slot(slot);
        let content = self.content_of(&old, Some(meta));
        self.update_slot((slot, &old), (meta, content), may_move, wakes)
    }

    /// Gives an own entry a new version. `expected`: only if its version is still this clock. `may_move`: if it takes another slot for
    /// that, it may; its session is locked.
    pub(crate) fn update(
        &mut self,
        session: u64,
        joining: &Joining<'_>,
        expected: Option<u64>,
        may_move: bool,
        wakes: &mut Wakes,
    ) -> Result<Updated, Error> {
        if self.closed {
            return Err(Error::Shutdown);
        }
        let slot = self.find_own(session, joining).ok_or(Error::NotTracked)?;
        let old = self.store.slot(slot);
        self.lane.dots.prefetch(old.clock());
        if expected.is_some_and(|expected| expected != old.clock()) {
            return Ok(Updated::Superseded);
        }
        self.update_slot((slot, &old), (joining.meta, joining.content), may_move, wakes)
    }

    /// Gives the own entry in a slot, of which `old` is a copy, a new version of that content.
    #[inline]
    fn update_slot(
        &mut self,
        (slot, old): (SlotId, &EntrySlot),
        (meta, content): (&[u8], u64),
        may_move: bool,
        wakes: &mut Wakes,
    ) -> Result<Updated, Error> {
        if !may_move && self.store.must_move(old, meta) {
            return Ok(Updated::MustMove);
        }
        let clock = self.next_clock()?;
        let gone = self.digest_of(old);
        let revised = self.revise(slot, old, (clock, old.clock()), meta, wakes);
        let new = revised.map_err(|NoRoom| self.no_room())?;
        self.lane.tick(Logged::Update { birth: old.birth() });
        let came = digest(content, old.birth(), clock);
        self.lane.digest = self.lane.digest.wrapping_sub(gone).wrapping_add(came);
        self.lane.dots.remove(old.clock());
        self.lane.dots.insert(clock, new);
        self.meter.updated.add(1);
        Ok(Updated::Done { from: slot, to: new, dot: self.dot(clock) })
    }

    /// Takes an own entry out.
    pub(crate) fn untrack(&mut self, slot: SlotId, wakes: &mut Wakes) {
        let held = self.store.slot(slot);
        self.lane.dots.prefetch(held.clock());
        self.lane.tick(Logged::Remove { birth: held.birth() });
        let digest = self.leave(slot, &held, wakes);
        self.lane.digest = self.lane.digest.wrapping_sub(digest);
        self.lane.dots.remove(held.clock());
        self.meter.untracked.add(1);
        self.own_changed();
    }

    fn own_changed(&self) {
        self.store.commons.set_own(self.index, self.lane.dots.len() as u64);
    }
}
