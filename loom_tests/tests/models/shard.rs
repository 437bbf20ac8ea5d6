//! The smallest shard: entries in slots, an index, one topic's list of members, over the engine's kernels and in the order in which
//! its store uses them; and readers that judge as the engine's do.

use crate::kernel::group::{GROUP, Group};
use crate::kernel::members::{Head, List, Walk, Walked};
use crate::kernel::revise::{Leads, Spot, group_of};
use crate::kernel::slot::{SLOT_WORDS, Slot};
use crate::kernel::table::{Allocate, Glance, SEGMENT_WORDS, Sighting, Table, Verdict, Writer, stamp_of};
use crate::memory::{Places, Words};
use crate::sync::Ordering;

const ROOT: usize = 0;
const RECORD: usize = 4;
const HEAD_WORD: usize = 2;
const OTHER_RECORD: usize = 12;
const FIRST_PLACE: usize = 20;
const TOPIC_STAMP: u64 = 1;

/// What a model's slot holds. Topic and key are a key of the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Entry {
    pub(super) hash: u32,
    pub(super) topic: u32,
    pub(super) key: u8,
    pub(super) owner: u8,
    pub(super) version: u8,
    pub(super) position: u8,
}

impl Entry {
    /// All entries have one tag and one home, unless `hash` says otherwise.
    pub(super) const fn new(key: u8) -> Self {
        Self { hash: 0, topic: 1, key, owner: 0, version: 0, position: 0 }
    }

    pub(super) const fn hashed(self, hash: u32) -> Self {
        Self { hash, ..self }
    }

    pub(super) const fn owned(self, owner: u8) -> Self {
        Self { owner, ..self }
    }

    pub(super) const fn revised(self, version: u8) -> Self {
        Self { version, ..self }
    }

    fn pack(self, stamp: u64) -> [u64; SLOT_WORDS] {
        let bytes = [self.key, self.owner, self.version, self.position, 0, 0, 0, 0];
        [stamp, u64::from(self.topic) | u64::from(self.hash) << 32, u64::from_le_bytes(bytes)]
    }

    fn unpack(slot: [u64; SLOT_WORDS]) -> Self {
        let [key, owner, version, position, ..] = slot[2].to_le_bytes();
        Self { hash: (slot[1] >> 32) as u32, topic: slot[1] as u32, key, owner, version, position }
    }
}

fn at(id: u32) -> usize {
    id as usize * 4
}

fn id(at: usize) -> u32 {
    (at / 4) as u32
}

/// The hash of whatever an index names.
fn hash_of(words: &Words) -> impl Fn(u32) -> u32 {
    move |named| (words.cell(at(named & !GROUP)).word(1).load(Ordering::Relaxed) >> 32) as u32
}

/// The writer's side. Threads that write take turns.
pub(super) struct Shard<const FAULT: u8> {
    pub(super) words: Words,
    pub(super) places: Places<FAULT>,
    pub(super) index: Writer<FAULT>,
    pub(super) list: List<FAULT>,
    stamps: u64,
    /// The slot of an entry that nothing leads to.
    stranger: u32,
}

fn next_stamp(stamps: &mut u64) -> u64 {
    *stamps += 2;
    *stamps
}

impl<const FAULT: u8> Shard<FAULT> {
    pub(super) fn new() -> Self {
        let words = Words::new();
        words.cell(RECORD).word(0).store(TOPIC_STAMP, Ordering::Release);
        let mut shard = Self {
            places: Places::new(&words, FIRST_PLACE),
            index: Writer::new(Table::new(ROOT)),
            list: List::default(),
            stamps: TOPIC_STAMP,
            stranger: 0,
            words,
        };
        shard.stranger = shard.publish(Entry { position: 1, ..Entry::new(9) });
        shard
    }

    pub(super) fn reader(&self) -> Reader<FAULT> {
        Reader { words: self.words.reader() }
    }

    fn head() -> Head {
        Head { record: RECORD, word: HEAD_WORD, stamp: TOPIC_STAMP }
    }

    /// Publishes an entry that nothing leads to.
    pub(super) fn publish(&mut self, entry: Entry) -> u32 {
        let place = self.places.take(SLOT_WORDS).expect("there is room");
        Slot::<FAULT>::publish(&self.words, place, &entry.pack(next_stamp(&mut self.stamps)));
        id(place)
    }

    /// Frees a slot that nothing leads to.
    pub(super) fn free(&mut self, slot: u32) {
        free::<FAULT>(&self.words, &mut self.places, slot);
    }

    /// Ends the life of a slot that is not given up.
    pub(super) fn end_life(&self, slot: u32) {
        Slot::<FAULT>::free(&self.words, at(slot));
    }

    /// Publishes an entry in a slot that was not given up.
    pub(super) fn live_again(&mut self, slot: u32, entry: Entry) {
        let stamp = next_stamp(&mut self.stamps);
        Slot::<FAULT>::publish(&self.words, at(slot), &entry.pack(stamp));
    }

    /// Gives a live slot another payload where it is. What leads to it must lead to that, too.
    pub(super) fn revise(&mut self, slot: u32, entry: Entry) {
        let stamp = next_stamp(&mut self.stamps);
        Slot::<FAULT>::revise(&self.words, at(slot), &entry.pack(stamp));
    }

    /// Takes the place of a segment of the index that was given up last, and stores zeros into it.
    pub(super) fn take_segment(&mut self) {
        let at = self.places.take(SEGMENT_WORDS).expect("there is room");
        for index in 0..SEGMENT_WORDS {
            self.words.cell(at).word(index).store(0, Ordering::Relaxed);
        }
    }

    /// Takes the place of a chunk that was given up last for another list, of which it is the only one, with a member at position
    /// 1 that is no member of the topic.
    pub(super) fn take_chunk(&mut self) {
        let words = self.words.clone();
        let head = Head { record: OTHER_RECORD, word: HEAD_WORD, stamp: TOPIC_STAMP };
        let mut list = List::<FAULT>::default();
        let stamp = next_stamp(&mut self.stamps);
        list.reserve(&words, &mut self.places, head, stamp).expect("there is room");
        list.append(&words, self.stranger);
    }

    /// Takes the place of the smallest group that was given up last for another one, of which nobody is a member yet.
    pub(super) fn take_group(&mut self) {
        let stamp = next_stamp(&mut self.stamps);
        let group = Group::<FAULT>::make(&self.words, &mut self.places, 0, &[], stamp);
        assert!(group.is_ok(), "there is room");
    }

    /// Adds an entry to what the index has under its key, and not to the list.
    pub(super) fn join_index(&mut self, entry: Entry) -> u32 {
        let named = self.named(entry);
        if named.is_none() {
            self.reserve(entry);
        }
        let slot = self.publish(entry);
        let words = self.words.clone();
        let Self { places, index, stamps, .. } = self;
        Leads { words: &words, index, list: &mut List::default() }
            .join(places, entry.hash, named, slot, || next_stamp(stamps))
            .expect("there is room");
        slot
    }

    /// Takes an entry out of the index, and of its group if it is in one; it is not in the list.
    pub(super) fn leave_index(&mut self, slot: u32) {
        let words = self.words.clone();
        let held = read::<0>(&words, slot).expect("it is live");
        let spot = spot(held);
        let Self { places, index, stamps, .. } = self;
        Leads { words: &words, index, list: &mut List::default() }.leave(
            places,
            Self::head(),
            spot,
            slot,
            hash_of(&words),
            || next_stamp(stamps),
            |places| free::<FAULT>(&words, places, slot),
        );
    }

    /// A group of two that has no room for a third.
    pub(super) fn full_group(&mut self, entries: [Entry; 2]) -> [u32; 2] {
        self.reserve(entries[0]);
        let slots = entries.map(|entry| self.publish(entry));
        let words = self.words.clone();
        let (hash, stamp) = (entries[0].hash, next_stamp(&mut self.stamps));
        // A group has room for one more than it is made with.
        let group = Group::<FAULT>::make(&words, &mut self.places, hash, &slots[..1], stamp);
        let group = group.expect("there is room");
        assert!(group.push(&words, slots[1]), "it is not full yet");
        self.index.insert(&words, hash, group.id());
        slots
    }

    /// Puts another group, of these slots, in the place of the one that has the first of them.
    pub(super) fn regroup(&mut self, slots: &[u32]) {
        let words = self.words.clone();
        let held = read::<0>(&words, slots[0]).expect("it is live");
        let old = group_of(&words, self.index.table(), held.hash, slots[0]).expect("it is in a group");
        let stamp = next_stamp(&mut self.stamps);
        let group = Group::<FAULT>::make(&words, &mut self.places, held.hash, slots, stamp);
        let group = group.expect("there is room");
        self.index.swing(&words, held.hash, old.id(), group.id());
        old.free(&words, &mut self.places);
    }

    /// Gives an entry of a group, which is not in the list, another version.
    pub(super) fn swing_in_group(&mut self, old: u32, version: u8) -> u32 {
        let held = read::<0>(&self.words, old).expect("it is live");
        let new = self.publish(held.revised(version));
        let group = group_of(&self.words, self.index.table(), held.hash, old).expect("it is in a group");
        group.swing(&self.words, old, new);
        self.free(old);
        new
    }

    /// Stores an entry; returns its slot.
    pub(super) fn track(&mut self, entry: Entry) -> u32 {
        let words = self.words.clone();
        self.list
            .reserve(&words, &mut self.places, Self::head(), next_stamp(&mut self.stamps))
            .expect("there is room");
        let named = self.named(entry);
        if named.is_none() {
            self.reserve(entry);
        }
        let position = self.list.next_position() as u8;
        let slot = self.publish(Entry { position, ..entry });
        let Self { places, index, list, stamps, .. } = self;
        Leads { words: &words, index, list }
            .join(places, entry.hash, named, slot, || next_stamp(stamps))
            .expect("there is room");
        slot
    }

    /// Gives an entry another version; returns the slot of that.
    pub(super) fn update(&mut self, old: u32, version: u8) -> u32 {
        let words = self.words.clone();
        let held = read::<0>(&words, old).expect("it is live");
        let new = self.publish(held.revised(version));
        let spot = spot(held);
        let Self { places, index, list, .. } = self;
        Leads { words: &words, index, list }
            .swing(places, spot, old, new, |places| free::<FAULT>(&words, places, old));
        new
    }

    /// Takes an entry out.
    pub(super) fn untrack(&mut self, slot: u32) {
        let words = self.words.clone();
        let held = read::<0>(&words, slot).expect("it is live");
        let spot = spot(held);
        let Self { places, index, list, stamps, .. } = self;
        let stamp = || next_stamp(stamps);
        Leads { words: &words, index, list }.leave(
            places,
            Self::head(),
            spot,
            slot,
            hash_of(&words),
            stamp,
            |places| free::<FAULT>(&words, places, slot),
        );
    }

    /// Makes room in the index.
    pub(super) fn reserve(&mut self, entry: Entry) {
        let words = &self.words;
        self.index.reserve(words, &mut self.places, entry.hash, hash_of(words)).expect("there is room");
    }

    /// Puts an entry into the index and not into the list.
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        self.reserve(entry);
        let slot = self.publish(entry);
        self.index.insert(&self.words, entry.hash, slot);
        slot
    }

    /// Takes an entry out of the index in which alone it is.
    pub(super) fn remove(&mut self, slot: u32) {
        let words = self.words.clone();
        let held = read::<0>(&words, slot).expect("it is live");
        self.index.remove(&words, &mut self.places, held.hash, slot, hash_of(&words));
        self.free(slot);
    }

    /// Gives an entry of the index, in which alone it is, another version.
    pub(super) fn reindex(&mut self, old: u32, version: u8) -> u32 {
        let held = read::<0>(&self.words, old).expect("it is live");
        let new = self.publish(held.revised(version));
        self.index.swing(&self.words, held.hash, old, new);
        self.free(old);
        new
    }

    /// Appends an entry to the list and not to the index.
    pub(super) fn append(&mut self, entry: Entry) -> u32 {
        let words = self.words.clone();
        self.list
            .reserve(&words, &mut self.places, Self::head(), next_stamp(&mut self.stamps))
            .expect("there is room");
        let position = self.list.next_position() as u8;
        let slot = self.publish(Entry { position, ..entry });
        self.list.append(&words, slot);
        slot
    }

    /// Takes an entry out of the list in which alone it is.
    pub(super) fn unlist(&mut self, slot: u32) {
        let held = read::<0>(&self.words, slot).expect("it is live");
        let stamps = &mut self.stamps;
        let stamp = || next_stamp(stamps);
        let position = held.position.into();
        self.list.remove(&self.words, &mut self.places, Self::head(), position, stamp);
        self.free(slot);
    }

    /// Gives an entry of the list, in which alone it is, another version.
    pub(super) fn relist(&mut self, old: u32, version: u8) -> u32 {
        let held = read::<0>(&self.words, old).expect("it is live");
        let new = self.publish(held.revised(version));
        self.list.swing(&self.words, held.position.into(), new);
        self.free(old);
        new
    }

    /// Ends the topic, which has no members, and uses its record for something else.
    pub(super) fn end(&mut self) {
        Slot::<FAULT>::free(&self.words, RECORD);
        self.list.free(&self.words, &mut self.places);
        let stamp = next_stamp(&mut self.stamps);
        Slot::<FAULT>::publish(&self.words, RECORD, &Entry::new(0).pack(stamp));
    }

    fn named(&self, entry: Entry) -> Option<u32> {
        let words = &self.words;
        self.index.table().find(words, entry.hash, |named, _| {
            let first = match named & GROUP {
                0 => named,
                _ => Group::<FAULT>::named(named).numbers(words).next().expect("a group has members"),
            };
            let held = read::<0>(words, first).expect("it is live");
            let stamp = stamp_of(words, named);
            if same_key(held, entry) { Verdict::Hit(named, stamp) } else { Verdict::Other(stamp) }
        })
    }
}

fn spot(held: Entry) -> Spot {
    Spot { hash: held.hash, position: held.position.into() }
}

fn free<const FAULT: u8>(words: &Words, places: &mut Places<FAULT>, slot: u32) {
    Slot::<FAULT>::free(words, at(slot));
    places.give(at(slot), SLOT_WORDS);
}

fn read<const FAULT: u8>(words: &Words, slot: u32) -> Option<Entry> {
    Slot::<FAULT>::read(words, at(slot)).map(Entry::unpack)
}

fn same_key(held: Entry, sought: Entry) -> bool {
    (held.topic, held.key) == (sought.topic, sought.key)
}

/// The readers' side, as in the engine's `shard::read`.
pub(super) struct Reader<const FAULT: u8> {
    words: Words,
}

impl<const FAULT: u8> Reader<FAULT> {
    fn judge(&self, slot: u32, sought: Entry) -> Verdict<Entry> {
        let Some(copy) = Slot::<FAULT>::read(&self.words, at(slot)) else {
            return Verdict::Gone;
        };
        let (held, stamp) = (Entry::unpack(copy), copy[0]);
        if same_key(held, sought) { Verdict::Hit(held, stamp) } else { Verdict::Other(stamp) }
    }

    /// The entries with the key of that one.
    pub(super) fn find(&self, sought: Entry) -> Vec<Entry> {
        let table = Table::<FAULT>::new(ROOT);
        let mut found = Vec::new();
        let one = table.find(&self.words, sought.hash, |named, sighting: Sighting| {
            if named & GROUP == 0 {
                return match self.judge(named, sought) {
                    Verdict::Hit(one, stamp) => Verdict::Hit(Some(one), stamp),
                    Verdict::Other(stamp) => Verdict::Other(stamp),
                    Verdict::Gone => Verdict::Gone,
                };
            }
            found.clear();
            let whole = Group::<FAULT>::named(named).each(
                &self.words,
                || sighting.names(&self.words, named),
                |slot| self.judge(slot, sought),
                |one| found.push(one),
            );
            match whole {
                None => Verdict::Gone,
                Some(stamp) if found.is_empty() => Verdict::Other(stamp),
                Some(stamp) => Verdict::Hit(None, stamp),
            }
        });
        match one {
            None => Vec::new(),
            Some(Some(one)) => vec![one],
            Some(None) => found,
        }
    }

    /// What a glance tells of the entry with the key of that one: whether it is there, or nothing.
    pub(super) fn glance(&self, sought: Entry) -> Option<Option<Entry>> {
        let judge = |named: u32| {
            let copy = Slot::<FAULT>::peek(&self.words, at(named)).filter(|_| named & GROUP == 0)?;
            let held = Entry::unpack(copy);
            same_key(held, sought).then_some((held, copy[0]))
        };
        match Table::<FAULT>::new(ROOT).glance(&self.words, sought.hash, judge) {
            Glance::Hit(held) => Some(Some(held)),
            Glance::Absent => Some(None),
            Glance::Unsure => None,
        }
    }

    /// A whole copy of a slot.
    pub(super) fn slot(&self, slot: u32) -> Option<Entry> {
        read::<FAULT>(&self.words, slot)
    }

    /// The entries of the topic, and how the walk ended.
    pub(super) fn walk(&self) -> (Vec<Entry>, Walked) {
        let mut met = Vec::new();
        let mut last = Entry::default();
        let read = |slot, position, last: &mut Entry| match read::<FAULT>(&self.words, slot) {
            Some(held) if (held.topic, u64::from(held.position)) == (1, position) => {
                *last = held;
                true
            }
            _ => false,
        };
        let ended =
            Walk::<FAULT>::each(&self.words, Shard::<FAULT>::head(), 0, &mut last, read, |held, _| {
                met.push(*held);
                true
            });
        (met, ended)
    }
}
