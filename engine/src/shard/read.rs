//! Reads: no lock, no line written that others read, from any thread.
//!
//! `get` searches the table of entries by the hash of topic and key, and compares both: the topic's name in the record that the slot
//! names. `list` and `count` look the topic up by its name, and at the end whether its record still is that topic's. Each step says itself when it was overtaken by a writer and is
//! done again then; that a writer got on is what made it so, so readers as a whole never stand still, and a writer that the
//! system has put to sleep in the middle of a change holds no reader up. (But for one: who reads while this node's identity is being
//! changed, once when it joins a cluster, waits for the three stores of that.)

use super::bytes::all_words;
use super::commons::{Commons, NameHash};
use super::layout::{EntrySlot, TopicSlot, at, topic_word};
use crate::entry::{EntryView, LOCAL};
use crate::kernel::counts;
use crate::kernel::group::{GROUP, Group};
use crate::kernel::members::{Head, Walk, Walked};
use crate::kernel::origin::Known;
use crate::kernel::slot::{SLOT_WORDS, Slot};
use crate::kernel::table::{Glance, Sighting, Verdict, stamp_of};
use crate::memory::Words;
use crate::replica::{Payload, SnapshotItem};
use crate::sync::{Ordering, fence};
use crate::{Entry, Topic};

/// A topic as a reader found it: the place of its record and the stamp that it had.
#[derive(Clone, Copy)]
pub(crate) struct FoundTopic {
    pub(crate) id: u32,
    stamp: u64,
}

/// What a reader looks for: a key in a topic.
struct Sought<'a> {
    name: &'a [u8],
    /// The lower half of the second word of the topic's record.
    form: u32,
    key: &'a [u8],
    /// The hash of both.
    hash: u32,
}

/// A slot as a reader copied it, with its bytes if they lie outside, and whose it is.
#[derive(Clone)]
struct Found {
    slot: EntrySlot,
    outside: Vec<u8>,
    /// Of an entry of another node.
    remote: Known,
    /// Who this node was when the read began.
    local: Known,
}

impl Found {
    fn empty(commons: &Commons) -> Self {
        let local = commons.origins.read(commons.words(), LOCAL);
        Self { slot: EntrySlot([0; SLOT_WORDS]), outside: Vec::new(), remote: local, local }
    }

    /// Whose it is.
    #[inline(always)]
    fn known(&self) -> &Known {
        if self.slot.is_local() { &self.local } else { &self.remote }
    }

    /// Key and meta.
    #[inline(always)]
    fn bytes(&self) -> (&[u8], &[u8]) {
        let (key, meta) = self.slot.lens();
        let inline = self.slot.inline_bytes();
        if !self.slot.is_long() {
            // Lengths in a copy are what they were packed as: the copy is whole.
            inline[..key + meta].split_at(key)
        } else if self.outside.len() == meta {
            (&inline[8..8 + key], &self.outside)
        } else {
            self.outside.split_at(key)
        }
    }
}

/// Reads of one shard.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    commons: &'a Commons,
    shard: u16,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    pub(crate) fn new(commons: &'a Commons, shard: u16) -> Self {
        Self { commons, shard }
    }

    /// The topic of that name, if it has entries or listeners.
    #[inline(always)]
    pub(crate) fn topic(self, name: &[u8], hash: NameHash) -> Option<FoundTopic> {
        let words = self.commons.words();
        // Length, shard and hash are one word.
        let form = TopicSlot::form(hash.short(), self.shard, name);
        self.commons.names(self.shard).find(words, hash.short(), |id, _| {
            let cell = words.cell(at(id));
            // As in `Slot::read`, of which this is the part that is needed.
            let stamp = cell.word(0).load(Ordering::Acquire);
            if stamp & 1 == 0 {
                return Verdict::Gone;
            }
            let same = cell.word(1).load(Ordering::Relaxed) == form && is_name(words, id, name);
            match (Slot::<0>::still(words, at(id), stamp), same) {
                (false, _) => Verdict::Gone,
                (true, true) => Verdict::Hit(FoundTopic { id, stamp }, stamp),
                (true, false) => Verdict::Other(stamp),
            }
        })
    }

    /// Whether the record still is that topic's.
    #[inline(always)]
    fn is_current(self, topic: FoundTopic) -> bool {
        Slot::<0>::still(self.commons.words(), at(topic.id), topic.stamp)
    }

    /// Copies a slot if it is live, with the bytes outside it and whose it is; false if it is not.
    #[inline(always)]
    fn copy(self, id: u32, found: &mut Found) -> bool {
        if !Slot::<0>::read_into(self.commons.words(), at(id), &mut found.slot.0) {
            return false;
        }
        if found.slot.is_local() && !found.slot.is_long() {
            return true;
        }
        self.copy_rest(id, found)
    }

    #[inline(never)]
    fn copy_rest(self, id: u32, found: &mut Found) -> bool {
        let words = self.commons.words();
        let origin = found.slot.origin();
        if origin >= self.commons.origins_max {
            // Not an entry: the page is used for something else by now.
            return false;
        }
        if origin != LOCAL {
            found.remote = self.commons.origins.read(words, origin);
        }
        found.outside.clear();
        if let Some(blob) = found.slot.blob() {
            blob.read(words, &mut found.outside);
        }
        // An origin's number and the bytes' place are used for something else only after the slot was freed.
        Slot::<0>::still(words, at(id), found.slot.0[0])
    }

    fn judge(self, id: u32, sought: &Sought<'_>, found: &mut Found) -> Verdict<()> {
        if !self.copy(id, found) {
            return Verdict::Gone;
        }
        let stamp = found.slot.0[0];
        let is_key = found.slot.hash() == sought.hash && found.bytes().0 == sought.key;
        self.judge_topic(is_key, found.slot.topic(), sought, stamp)
    }

    /// Judges a slot, of that life, by the topic that it names, if its key is the one. The topic's record is not used for anything
    /// else while the slot lives, so a slot that lives the same life afterwards was of the topic whose name was read.
    #[inline(always)]
    fn judge_topic(self, is_key: bool, topic: u32, sought: &Sought<'_>, stamp: u64) -> Verdict<()> {
        if !is_key {
            return Verdict::Other(stamp);
        }
        let words = self.commons.words();
        let is_topic = is_topic(words, topic, sought.form, sought.name);
        // The words of the name are read before the slot's stamp is looked at again.
        fence(Ordering::Acquire);
        if is_topic { Verdict::Hit((), stamp) } else { Verdict::Other(stamp) }
    }

    /// Runs `visit` on every visible entry with this key, oldest here first; returns how many there were. `hash` is that of both.
    #[inline(always)]
    pub(crate) fn find(
        self,
        name: &[u8],
        key: &[u8],
        hash: u32,
        mut visit: impl FnMut(&EntryView<'_>),
    ) -> usize {
        let words = self.commons.words();
        let form = TopicSlot::short_form(self.shard, name);
        // The slot, if it is one and its bytes lie in it; all else takes the longer way.
        let glance = self.commons.entries(self.shard).glance(words, hash, |id| {
            let slot = EntrySlot::peek_live(words, id).filter(|_| id & GROUP == 0)?;
            let is_it = slot.is_inline(hash, key) && is_topic(words, slot.topic(), form, name);
            is_it.then_some(((id, slot), slot.0[0]))
        });
        let (id, slot) = match glance {
            Glance::Hit(found) => found,
            Glance::Absent => return 0,
            Glance::Unsure => return self.find_any(&Sought { name, form, key, hash }, &mut visit),
        };
        let origin = slot.origin().min(self.commons.origins_max - 1);
        let known = self.commons.origins.read(words, origin);
        // Another origin's number is used again only after the slot was freed.
        if origin != LOCAL && !Slot::<0>::still(words, at(id), slot.0[0]) {
            return self.find_any(&Sought { name, form, key, hash }, &mut visit);
        }
        if known.hidden {
            return 0;
        }
        let (key_len, meta_len) = slot.lens();
        let (key, meta) = slot.inline_bytes()[..key_len + meta_len].split_at(key_len);
        visit(&EntryView { slot: &slot, known: &known, shard: self.shard, topic: name, key, meta });
        1
    }

    /// As [`find`](Self::find), for whatever there may be under a key.
    #[inline(never)]
    fn find_any(self, sought: &Sought<'_>, visit: &mut impl FnMut(&EntryView<'_>)) -> usize {
        let mut found = Found::empty(self.commons);
        let mut group = Vec::new();
        let is_group =
            self.commons.entries(self.shard).find(self.commons.words(), sought.hash, |id, spot| {
                if id & GROUP != 0 {
                    return self.judge_group((id, spot), sought, &mut group);
                }
                match self.judge(id, sought, &mut found) {
                    Verdict::Hit((), stamp) => Verdict::Hit(false, stamp),
                    Verdict::Other(stamp) => Verdict::Other(stamp),
                    Verdict::Gone => Verdict::Gone,
                }
            });
        match is_group {
            None => 0,
            Some(false) => usize::from(self.show(sought.name, &found, visit)),
            Some(true) => {
                group.sort_by_key(|found: &Found| found.slot.position());
                group.iter().filter(|found| self.show(sought.name, found, visit)).count()
            }
        }
    }

    #[cold]
    fn judge_group(
        self,
        (id, spot): (u32, Sighting),
        sought: &Sought<'_>,
        group: &mut Vec<Found>,
    ) -> Verdict<bool> {
        group.clear();
        let words = self.commons.words();
        let judge = |id| {
            let mut one = Found::empty(self.commons);
            match self.judge(id, sought, &mut one) {
                Verdict::Hit((), stamp) => Verdict::Hit(one, stamp),
                Verdict::Other(stamp) => Verdict::Other(stamp),
                Verdict::Gone => Verdict::Gone,
            }
        };
        let whole = Group::<0>::named(id).each(words, || spot.names(words, id), judge, |one| group.push(one));
        match whole {
            None => Verdict::Gone,
            // All have the same key, so one tells whose the group is. Without members it is about to go.
            Some(stamp) if group.is_empty() => Verdict::Other(stamp),
            Some(stamp) => Verdict::Hit(true, stamp),
        }
    }

    /// Shows an entry, unless its origin is hidden; whether it was shown.
    #[inline(always)]
    fn show(self, topic: &[u8], found: &Found, visit: &mut impl FnMut(&EntryView<'_>)) -> bool {
        if found.known().hidden {
            return false;
        }
        let (key, meta) = found.bytes();
        visit(&EntryView { slot: &found.slot, known: found.known(), shard: self.shard, topic, key, meta });
        true
    }

    /// Runs `visit` on every visible entry of the topic after a position, in the order in which they came, with its
    /// position, as long as `visit` says so.
    #[inline(always)]
    pub(crate) fn walk(
        self,
        name: &[u8],
        hash: NameHash,
        after: u64,
        mut visit: impl FnMut(&EntryView<'_>, u64) -> bool,
    ) {
        let words = self.commons.words();
        let Some(topic) = self.topic(name, hash) else {
            return;
        };
        let head = Head { record: at(topic.id), word: topic_word::HEAD, stamp: topic.stamp };
        let read = |id, position, found: &mut Found| {
            self.copy(id, found) && found.slot.topic() == topic.id && found.slot.position() == position
        };
        let mut found = Found::empty(self.commons);
        let _: Walked = Walk::<0>::each(words, head, after, &mut found, read, |found, position| {
            let mut go_on = true;
            self.show(name, found, &mut |view| go_on = visit(view, position));
            go_on
        });
    }

    /// How many visible entries a topic has; `None` if writers did not leave a moment to tell.
    pub(crate) fn count(self, name: &[u8], hash: NameHash) -> Option<usize> {
        match self.topic(name, hash) {
            Some(topic) => self.count_of(topic),
            None => Some(0),
        }
    }

    fn count_of(self, topic: FoundTopic) -> Option<usize> {
        /// Looks before the caller is told to take the lock.
        const LOOKS: u32 = 64;
        let Commons { origins, origins_max, .. } = *self.commons;
        let (words, hides) = (self.commons.words(), self.commons.hides());
        for _ in 0..LOOKS {
            let visible = counts::visible(words, at(topic.id), hides, origins, origins_max);
            if !self.is_current(topic) {
                return Some(0);
            }
            if let Some(visible) = visible {
                return Some(visible as usize);
            }
        }
        None
    }

    /// The topics that have visible entries. `exact` counts those of a topic that writers did not leave alone.
    pub(crate) fn topics(self, out: &mut Vec<Topic>, exact: impl Fn(&[u8], NameHash) -> usize) {
        let words = self.commons.words();
        self.commons.names(self.shard).scan(words, |from, numbers| {
            let start = out.len();
            for &id in numbers {
                let Some(copy) = Slot::<0>::read(words, at(id)) else {
                    continue;
                };
                let name = name_of(self.commons, &TopicSlot(copy));
                let hash = self.commons.hash_name(&name);
                // What was read is a topic if that name leads back to it. One that was visited before a segment grew is passed over.
                let found = self.topic(&name, hash).filter(|topic| (topic.id, topic.stamp) == (id, copy[0]));
                let Some(topic) = found.filter(|_| hash.short() >= from) else {
                    continue;
                };
                if self.count_of(topic).unwrap_or_else(|| exact(&name, hash)) > 0 {
                    out.push(Topic::from(name.as_slice()));
                }
            }
            // A record that became another topic's between two looks could be met twice.
            out[start..].sort_unstable();
            let mut kept = start;
            for index in start..out.len() {
                if kept == start || out[index] != out[kept - 1] {
                    out.swap(kept, index);
                    kept += 1;
                }
            }
            out.truncate(kept);
        });
    }
}

/// Reads entries from slots that are not freed as long as the caller holds what keeps them: their lane's lock, their session's, or a
/// pin.
pub(crate) struct Entries<'a> {
    reader: Reader<'a>,
    found: Found,
    /// The topic of the last one: neighbours often share it.
    topic: Option<(u32, u64, u16, Topic)>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(commons: &'a Commons) -> Self {
        Self { reader: Reader::new(commons, 0), found: Found::empty(commons), topic: None }
    }

    /// The entries in slots; zeros are passed over.
    pub(crate) fn read_all(mut self, slots: Vec<u32>) -> Vec<Entry> {
        slots.into_iter().filter(|&slot| slot != 0).filter_map(|slot| self.read(slot)).collect()
    }

    /// The entry in a slot, hidden or not; `None` if it was freed after all.
    pub(crate) fn read(&mut self, id: u32) -> Option<Entry> {
        self.look(id, |slot, known, shard, name, (key, meta)| {
            Entry::new(slot.facts(known, shard), name.clone(), key, meta)
        })
    }

    /// Shows an entry's dot, birth and content where they were copied to; `None` if it was freed after all.
    pub(crate) fn show<R>(&mut self, id: u32, show: impl FnOnce(&SnapshotItem<'_>) -> R) -> Option<R> {
        self.look(id, |slot, _, _, name, (key, meta)| {
            let payload = Payload { topic: name, key, meta };
            show(&SnapshotItem { dot: slot.clock(), birth: slot.birth(), payload: Some(payload) })
        })
    }

    fn look<R>(
        &mut self,
        id: u32,
        look: impl FnOnce(&EntrySlot, Known, u16, &Topic, (&[u8], &[u8])) -> R,
    ) -> Option<R> {
        let Self { reader, found, topic } = self;
        let commons = reader.commons;
        while !reader.copy(id, found) {
            // It was revised meanwhile, which its session's lock does not keep away, if it has another stamp now. If not, it is no slot.
            let now = stamp_of(commons.words(), id);
            if now & 1 == 0 || now == found.slot.0[0] {
                return None;
            }
        }
        let of = found.slot.topic();
        if !topic
            .as_ref()
            .is_some_and(|&(id, stamp, ..)| id == of && Slot::<0>::still(commons.words(), at(of), stamp))
        {
            let record = TopicSlot(Slot::<0>::read(commons.words(), at(of))?);
            let name = Topic::from(name_of(commons, &record).as_slice());
            *topic = Some((of, record.0[0], record.shard(), name));
        }
        let (_, _, shard, name) = topic.as_ref()?;
        Some(look(&found.slot, *found.known(), *shard, name, found.bytes()))
    }
}

/// Whether a record is that of the topic of that name, whose [`TopicSlot::short_form`] is `form`. Without a look at its stamp.
#[inline(always)]
pub(super) fn is_topic(words: &Words, id: u32, form: u32, name: &[u8]) -> bool {
    words.cell(at(id)).word(1).load(Ordering::Relaxed) as u32 == form && is_name(words, id, name)
}

/// Whether the name in a topic's record of that length is `name`.
#[inline(always)]
fn is_name(words: &Words, id: u32, name: &[u8]) -> bool {
    if TopicSlot::blob_len(name) > 0 {
        return is_long_name(words, id, name);
    }
    let cell = words.cell(at(id));
    // Relaxed: the caller looks at the stamp again.
    all_words(name, |index, word| cell.word(TopicSlot::NAME + index).load(Ordering::Relaxed) == word)
}

#[cold]
fn is_long_name(words: &Words, id: u32, name: &[u8]) -> bool {
    let Some(blob) = Slot::<0>::read(words, at(id)).and_then(|copy| TopicSlot(copy).blob()) else {
        return false;
    };
    let mut held = Vec::new();
    blob.read(words, &mut held);
    held == name
}

/// The name in a topic's record; what it is if the record was freed meanwhile is for the caller to find out.
fn name_of(commons: &Commons, record: &TopicSlot) -> Vec<u8> {
    let mut name = record.inline_bytes().to_vec();
    name.truncate(record.name_len());
    if let Some(blob) = record.blob() {
        name.clear();
        blob.read(commons.words(), &mut name);
    }
    name
}
