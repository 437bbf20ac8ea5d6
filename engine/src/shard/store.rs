//! Storage of one shard, as its writer sees it: entries in slots that other structures name by number, found by topic and key.
//!
//! Every method is called under the shard's lock. What readers see changes in an order that keeps them right (see the kernels): a
//! slot is published before anything names it, and freed after nothing does.

use super::commons::{Commons, NameHash};
use super::layout::{Blob, Draft, EntrySlot, Owner, TopicSlot, at, blob_len, id, topic_word};
use super::pins::{Kept, Pins};
use super::read::{Reader, is_topic};
use super::records::Records;
use super::topic::TopicRecord;
use crate::Topic;
use crate::entry::LOCAL;
use crate::kernel::counts::{OriginCounts, set_members};
use crate::kernel::group::{GROUP, Group};
use crate::kernel::members::List;
use crate::kernel::revise::{Leads, Spot};
use crate::kernel::slot::{SLOT_WORDS, Slot};
use crate::kernel::table::{Allocate, NoRoom, Verdict, Writer};
use crate::memory::{Memory, PAGE_WORDS, Run, Slab, Words};
use crate::sync::{Arc, Ordering};

/// The number of a slot, unique in the tracker while its entry lives. Reused after it is gone.
pub(crate) type SlotId = u32;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) commons: Arc<Commons>,
    index: u16,
    slab: Slab,
    entries: Writer<0>,
    names: Writer<0>,
    pub(crate) topics: Records<TopicRecord>,
    stamps: u64,
    len: usize,
    pins: Pins,
}

/// What the table has under a key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// The number in the table: of a slot, or of a group of them.
    named: Option<u32>,
    /// The slot of the session that was asked for.
    pub(crate) own: Option<SlotId>,
    /// How many entries have the key; somewhat more if some have left.
    pub(crate) sharing: usize,
}

/// An entry to be stored.
#[derive(Clone, Copy)]
pub(crate) struct Fresh<'a> {
    pub(crate) owner: Owner,
    pub(crate) clock: u64,
    pub(crate) birth: u64,
    pub(crate) hash: u32,
    pub(crate) key: &'a [u8],
    pub(crate) meta: &'a [u8],
}

/// The hash of whatever a table names: all have it in the upper half of their second word.
fn hash_of(words: &Words) -> impl Fn(u32) -> u32 {
    move |named| (words.cell(at(named & !GROUP)).word(1).load(Ordering::Relaxed) >> 32) as u32
}

/// Whether an entry has that hash and that key.
#[inline(always)]
fn key_is(words: &Words, slot: &EntrySlot, hash: u32, key: &[u8]) -> bool {
    if slot.is_long() {
        slot.hash() == hash && long_key_is(words, slot, key)
    } else {
        slot.is_inline_key(hash, key)
    }
}

#[cold]
fn long_key_is(words: &Words, slot: &EntrySlot, key: &[u8]) -> bool {
    if slot.lens().0 != key.len() {
        return false;
    }
    match (slot.inline_key(), slot.blob()) {
        (Some(held), _) => held == key,
        (None, Some(blob)) => {
            let mut held = Vec::new();
            blob.read(words, &mut held);
            held.starts_with(key)
        }
        (None, None) => false,
    }
}

/// The shard's slab and the arena, split from the rest of a store.
macro_rules! memory {
    ($store:ident) => {
        Memory { arena: &$store.commons.arena, slab: &mut $store.slab }
    };
}

impl Store {
    pub(crate) fn new(commons: Arc<Commons>, index: u16) -> Self {
        Self {
            index,
            slab: Slab::default(),
            entries: Writer::new(commons.entries(index)),
            names: Writer::new(commons.names(index)),
            topics: Records::default(),
            // Stamps are odd, and unique in the tracker: pages go from one shard to another.
            // They begin anywhere, so that no bytes from outside can be taken for one.
            stamps: (commons.random(index) >> 2) & !0x1ff | u64::from(index) << 1 | 1,
            len: 0,
            pins: Pins::default(),
            commons,
        }
    }

    fn next_stamp(stamps: &mut u64) -> u64 {
        *stamps += 1 << 9;
        *stamps
    }

    pub(crate) fn words(&self) -> &Words {
        self.commons.words()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A copy of a slot.
    pub(crate) fn slot(&self, slot: SlotId) -> EntrySlot {
        EntrySlot::peek(self.words(), slot)
    }

    /// Key and meta of an entry.
    pub(crate) fn bytes(&self, slot: &EntrySlot) -> (Vec<u8>, Vec<u8>) {
        let (key_len, _) = slot.lens();
        let mut bytes = slot.inline_key().unwrap_or(&[]).to_vec();
        match slot.blob() {
            Some(blob) => blob.read(self.words(), &mut bytes),
            None => {
                let (key, meta) = slot.lens();
                bytes.extend_from_slice(&slot.inline_bytes()[key..key + meta]);
            }
        }
        let meta = bytes.split_off(key_len);
        (bytes, meta)
    }

    /// The record of the topic of an entry.
    pub(crate) fn record_of(&self, slot: &EntrySlot) -> u32 {
        let word = self.words().cell(at(slot.topic())).word(topic_word::HEAD).load(Ordering::Relaxed);
        (word >> 32) as u32
    }

    /// The record of the topic of that name.
    #[inline]
    pub(crate) fn find_topic(&self, name: &[u8], hash: NameHash) -> Option<u32> {
        let found = Reader::new(&self.commons, self.index).topic(name, hash)?;
        let word = self.words().cell(at(found.id)).word(topic_word::HEAD).load(Ordering::Relaxed);
        Some((word >> 32) as u32)
    }

    /// The topic of that name, made if it is not there. Whoever interns it gives it a member or a listener, or calls
    /// [`release_topic`](Self::release_topic).
    pub(crate) fn intern_topic(&mut self, name: &[u8], hash: NameHash) -> Result<u32, NoRoom> {
        if let Some(record) = self.find_topic(name, hash) {
            return Ok(record);
        }
        let words = self.commons.words();
        let mut memory = memory!(self);
        self.names.reserve(words, &mut memory, hash.short(), hash_of(words))?;
        let (place, blob) = take_slot(&mut memory, TopicSlot::blob_len(name), (&mut Run::default(), 1))?;
        let stamp = Self::next_stamp(&mut self.stamps);
        let record = self.topics.insert(TopicRecord {
            name: Topic::from(name),
            hash,
            id: id(place),
            stamp,
            list: List::default(),
            run: Run::default(),
            others: OriginCounts::default(),
            told: 0,
            listeners: Vec::new(),
        });
        let slot = TopicSlot::pack(words, stamp, (hash.short(), self.index, record), name, blob);
        Slot::<0>::publish(words, place, &slot.0);
        self.names.insert(words, hash.short(), id(place));
        Ok(record)
    }

    /// Forgets the topic if nothing uses it.
    pub(crate) fn release_topic(&mut self, record: u32) {
        if !self.topics.is_live(record) || !self.topics.get(record).is_unused() {
            return;
        }
        if self.pins.keep(Kept::Topic(record)) {
            return;
        }
        let mut topic = self.topics.remove(record);
        let words = self.commons.words();
        let mut memory = memory!(self);
        let place = at(topic.id);
        self.names.remove(words, &mut memory, topic.hash.short(), topic.id, hash_of(words));
        let blob = TopicSlot(EntrySlot::peek(words, topic.id).0).blob();
        Slot::<0>::free(words, place);
        topic.list.free(words, &mut memory);
        memory.end_run(&mut topic.run, SLOT_WORDS);
        topic.others.free(&mut memory);
        if let Some(blob) = blob {
            memory.give(blob.at, blob.len.div_ceil(8));
        }
        memory.give(place, SLOT_WORDS);
    }

    /// What there is under a key of a topic, and the slot of `owner` among it.
    pub(crate) fn held(&self, record: u32, hash: u32, key: &[u8], owner: Owner) -> Held {
        let topic = self.topics.get(record).id;
        self.held_where(hash, key, owner, |id| id == topic)
    }

    /// As [`held`](Self::held), of a topic that need not be looked up first.
    #[inline]
    pub(crate) fn held_by_name(&self, topic: &[u8], (key, hash): (&[u8], u32), owner: Owner) -> Held {
        let words = self.words();
        let form = TopicSlot::short_form(self.index, topic);
        self.held_where(hash, key, owner, |id| is_topic(words, id, form, topic))
    }

    #[inline(always)]
    fn held_where(&self, hash: u32, key: &[u8], owner: Owner, is_it: impl Fn(u32) -> bool) -> Held {
        let words = self.words();
        let is_key = |slot: &EntrySlot| key_is(words, slot, hash, key) && is_it(slot.topic());
        let stamp_of = |named: u32| words.cell(at(named & !GROUP)).word(0).load(Ordering::Relaxed);
        let found = self.entries.table().find(words, hash, |named, _| {
            if named & GROUP == 0 {
                let slot = EntrySlot::peek(words, named);
                if !is_key(&slot) {
                    return Verdict::Other(slot.0[0]);
                }
                let own = (slot.owner() == owner).then_some(named);
                return Verdict::Hit(Held { named: Some(named), own, sharing: 1 }, slot.0[0]);
            }
            let group = Group::<0>::named(named);
            if !group.numbers(words).next().is_some_and(|first| is_key(&EntrySlot::peek(words, first))) {
                return Verdict::Other(stamp_of(named));
            }
            // A lane knows its entries by their dots.
            let own = match owner {
                Owner::Lane(..) => None,
                Owner::Session(_) => {
                    group.numbers(words).find(|&member| EntrySlot::peek(words, member).owner() == owner)
                }
            };
            Verdict::Hit(Held { named: Some(named), own, sharing: group.len(words) }, stamp_of(named))
        });
        found.unwrap_or_default()
    }

    /// How many entries have a key, exactly.
    pub(crate) fn sharing(&self, held: Held) -> usize {
        match held.named {
            Some(named) if named & GROUP != 0 => Group::<0>::named(named).numbers(self.words()).count(),
            Some(_) => 1,
            None => 0,
        }
    }

    /// Stores an entry. `held` is what [`held`](Self::held) says of its key.
    ///
    /// # Errors
    /// There is no memory for it. Nothing has changed.
    pub(crate) fn insert(&mut self, record: u32, fresh: &Fresh<'_>, held: Held) -> Result<SlotId, NoRoom> {
        let words = self.commons.words();
        let mut memory = memory!(self);
        let stamps = &mut self.stamps;
        let topic = self.topics.get_mut(record);
        let origin = match fresh.owner {
            Owner::Session(_) => LOCAL,
            Owner::Lane(origin, _) => origin,
        };
        if origin != LOCAL {
            topic.others.reserve(words, &mut memory, at(topic.id))?;
        }
        topic.list.reserve(words, &mut memory, topic.head(), Self::next_stamp(stamps))?;
        if held.named.is_none() {
            self.entries.reserve(words, &mut memory, fresh.hash, hash_of(words))?;
        }
        let draft = Draft {
            topic: topic.id,
            hash: fresh.hash,
            clock: fresh.clock,
            birth: fresh.birth,
            prev: 0,
            position: topic.list.next_position(),
            owner: fresh.owner,
        };
        let want = topic.run_len();
        let source = (&mut topic.run, want);
        let stamp = Self::next_stamp(stamps);
        let slot = publish(words, &mut memory, source, stamp, &draft, (fresh.key, fresh.meta))?;
        let mut leads = Leads { words, index: &mut self.entries, list: &mut topic.list };
        let stamp = || Self::next_stamp(stamps);
        if let Err(no_room) = leads.join(&mut memory, fresh.hash, held.named, slot, stamp) {
            let blob = EntrySlot::peek(words, slot).blob();
            free(words, &mut memory, slot, blob);
            return Err(no_room);
        }
        let members = topic.len();
        if origin == LOCAL {
            set_members(words, at(topic.id), members);
        } else {
            topic.others.change(words, at(topic.id), origin, true, members);
        }
        self.len += 1;
        Ok(slot)
    }

    /// Asks for the lines that taking out an entry will need.
    #[inline]
    pub(crate) fn prefetch_links(&self, record: u32, slot: SlotId, held: &EntrySlot) {
        // The head of the slot's page.
        self.words().prefetch(at(slot) & !(PAGE_WORDS - 1));
        self.topics.get(record).list.prefetch(self.words(), held.position());
    }

    /// Whether an entry, of which `held` is a copy, gets another slot with a version of that meta.
    #[inline]
    pub(crate) fn must_move(&self, held: &EntrySlot, meta: &[u8]) -> bool {
        !self.pins.is_idle() || !held.has_room(meta)
    }

    /// Gives an entry, of which `held` is a copy, another version; returns the slot that has it. That is the same one if key and meta fit
    /// into it, before and after, and nobody reads it outside the lock; otherwise another, and the old one is freed.
    ///
    /// # Errors
    /// There is no memory for it. Nothing has changed.
    #[inline]
    pub(crate) fn replace(
        &mut self,
        slot: SlotId,
        held: &EntrySlot,
        record: u32,
        clocks: (u64, u64),
        meta: &[u8],
    ) -> Result<SlotId, NoRoom> {
        if self.must_move(held, meta) {
            return self.move_to_another(slot, held, record, clocks, meta);
        }
        let stamp = Self::next_stamp(&mut self.stamps);
        Slot::<0>::revise(self.commons.words(), at(slot), &held.revised(stamp, clocks, meta).0);
        Ok(slot)
    }

    #[inline(never)]
    fn move_to_another(
        &mut self,
        old: SlotId,
        held: &EntrySlot,
        record: u32,
        (clock, prev): (u64, u64),
        meta: &[u8],
    ) -> Result<SlotId, NoRoom> {
        let (key, _) = self.bytes(held);
        let words = self.commons.words();
        let mut memory = memory!(self);
        let draft = Draft {
            topic: held.topic(),
            hash: held.hash(),
            clock,
            birth: held.birth(),
            prev,
            position: held.position(),
            owner: held.owner(),
        };
        let stamp = Self::next_stamp(&mut self.stamps);
        let source = (&mut Run::default(), 1);
        let new = publish(words, &mut memory, source, stamp, &draft, (&key, meta))?;
        let Self { commons, slab, entries, topics, pins, .. } = self;
        let (words, mut memory) = (commons.words(), Memory { arena: &commons.arena, slab });
        let list = &mut topics.get_mut(record).list;
        let spot = Spot { hash: held.hash(), position: held.position() };
        Leads { words, index: entries, list }.swing(&mut memory, spot, old, new, |memory| {
            free_or_keep(words, memory, pins, old, held);
        });
        Ok(new)
    }

    /// Takes an entry out, of which `held` is a copy. Its topic stays until [`release_topic`](Self::release_topic).
    pub(crate) fn remove(&mut self, slot: SlotId, held: &EntrySlot, record: u32) {
        let Self { commons, slab, entries, topics, stamps, pins, .. } = self;
        let words = commons.words();
        let mut memory = Memory { arena: &commons.arena, slab };
        let topic = topics.get_mut(record);
        let head = topic.head();
        let spot = Spot { hash: held.hash(), position: held.position() };
        let mut leads = Leads { words, index: entries, list: &mut topic.list };
        let stamp = || Self::next_stamp(stamps);
        leads.leave(&mut memory, head, spot, slot, hash_of(words), stamp, |memory| {
            free_or_keep(words, memory, pins, slot, held);
        });
        let members = topic.len();
        if topic.run.left() > members {
            memory.end_run(&mut topic.run, SLOT_WORDS);
        }
        let origin = held.origin();
        if origin == LOCAL {
            set_members(words, at(topic.id), members);
        } else {
            topic.others.change(words, at(topic.id), origin, false, members);
        }
        self.len -= 1;
    }

    /// From now on, slots and topics that are there stay readable, also when they are gone, until [`unpin`](Self::unpin).
    pub(crate) fn pin(&mut self) -> u64 {
        self.pins.begin()
    }

    /// Ends a [`pin`](Self::pin).
    pub(crate) fn unpin(&mut self, pin: u64) {
        self.pins.end(pin);
    }

    /// Whether anything that is gone is kept for a pin.
    pub(crate) fn keeps_any(&self) -> bool {
        self.pins.keeps_any()
    }

    /// Frees some of what was kept for pins that have ended; whether there is more.
    pub(crate) fn free_kept(&mut self, max: usize) -> bool {
        for _ in 0..max {
            match self.pins.next_free() {
                Some(Kept::Slot(slot)) => {
                    let blob = self.slot(slot).blob();
                    free(self.commons.words(), &mut memory!(self), slot, blob);
                }
                Some(Kept::Topic(record)) => self.release_topic(record),
                None => return false,
            }
        }
        true
    }
}

/// A place for a slot, from a run that is begun with so many places, and one for so many bytes that do not fit it, if there are any.
fn take_slot(
    memory: &mut Memory<'_>,
    outside: usize,
    (run, want): (&mut Run, u32),
) -> Result<(usize, Option<usize>), NoRoom> {
    let blob = match outside {
        0 => None,
        len => Some(memory.take(len.div_ceil(8)).ok_or(NoRoom)?),
    };
    match (memory.take_next(run, SLOT_WORDS, want), blob) {
        (Some(place), blob) => Ok((place, blob)),
        (None, blob) => {
            if let Some(blob) = blob {
                memory.give(blob, outside.div_ceil(8));
            }
            Err(NoRoom)
        }
    }
}

/// Fills and publishes a slot.
fn publish(
    words: &Words,
    memory: &mut Memory<'_>,
    source: (&mut Run, u32),
    stamp: u64,
    draft: &Draft,
    (key, meta): (&[u8], &[u8]),
) -> Result<SlotId, NoRoom> {
    let (place, blob) = take_slot(memory, blob_len(key, meta), source)?;
    Slot::<0>::publish(words, place, &EntrySlot::pack(words, stamp, draft, key, meta, blob).0);
    Ok(id(place))
}

/// Frees a slot that nothing names any more, and the bytes outside it.
fn free(words: &Words, memory: &mut Memory<'_>, slot: SlotId, blob: Option<Blob>) {
    Slot::<0>::free(words, at(slot));
    if let Some(blob) = blob {
        memory.give(blob.at, blob.len.div_ceil(8));
    }
    memory.give(at(slot), SLOT_WORDS);
}

/// Frees a slot that nothing names any more, or keeps it for those who read it outside the lock.
fn free_or_keep(words: &Words, memory: &mut Memory<'_>, pins: &mut Pins, slot: SlotId, held: &EntrySlot) {
    if !pins.keep(Kept::Slot(slot)) {
        free(words, memory, slot, held.blob());
    }
}
