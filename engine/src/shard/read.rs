//! Reads: no lock, no line written that others read, from any thread.
//!
//! A read resolves the topic's name to its record, searches the table of entries (or walks the list of members), copies slots, and
//! looks at the end whether the record still is that topic's. Each step says itself when it was overtaken by a writer and is
//! done again then; that a writer got on is what made it so, so readers as a whole never stand still, and a writer that the
//! system has put to sleep in the middle of a change holds no reader up.

use super::commons::{Commons, NameHash};
use super::layout::{EntrySlot, Owner, TopicSlot, at, topic_word};
use crate::entry::{EntryView, Facts, LOCAL};
use crate::kernel::counts;
use crate::kernel::group::{GROUP, Group};
use crate::kernel::members::{Head, Walk, Walked};
use crate::kernel::origin::Known;
use crate::kernel::slot::Slot;
use crate::kernel::table::Verdict;
use crate::{Entry, Incarnation, NodeId, Topic};

/// A topic as a reader found it: the place of its record and the stamp that it had.
#[derive(Clone, Copy)]
pub(crate) struct FoundTopic {
    pub(crate) id: u32,
    stamp: u64,
    shard: u16,
}

/// A slot as a reader copied it, with its bytes if they lie outside.
#[derive(Clone)]
struct Found {
    slot: EntrySlot,
    outside: Vec<u8>,
    known: Known,
}

impl Found {
    /// Key and meta. `inline` are the slot's bytes.
    #[inline(always)]
    fn bytes<'a>(&'a self, inline: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (key, meta) = self.slot.lens();
        if !self.slot.is_long() {
            (&inline[..key], &inline[key..key + meta])
        } else if self.outside.len() == meta {
            (&inline[8..8 + key], &self.outside)
        } else {
            self.outside.split_at(key)
        }
    }

    /// What is known of the entry beside its bytes. A local one is of the lane that is its shard.
    #[inline(always)]
    fn facts(&self, shard: u16) -> Facts {
        let (origin, lane, session) = match self.slot.owner() {
            Owner::Session(session) => (LOCAL, shard, session),
            Owner::Lane(origin, lane) => (origin, lane, 0),
        };
        Facts {
            node: NodeId(self.known.node),
            incarnation: Incarnation::from_u64(self.known.incarnation),
            origin,
            lane,
            clock: self.slot.clock(),
            birth: self.slot.birth(),
            prev: self.slot.prev(),
            session,
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
        self.commons.names(self.shard).find(words, hash.short(), |id| {
            let Some(copy) = Slot::<0>::read(words, at(id)) else {
                return Verdict::Gone;
            };
            let slot = TopicSlot(copy);
            let same = match slot.blob() {
                None => slot.inline_bytes().as_slice().get(..slot.name_len()) == Some(name),
                Some(_) if slot.name_len() != name.len() => false,
                Some(blob) => {
                    let mut held = Vec::new();
                    blob.read(words, &mut held);
                    if !Slot::<0>::still(words, at(id), copy[0]) {
                        return Verdict::Gone;
                    }
                    held == name
                }
            };
            if same && slot.shard() == self.shard {
                Verdict::Hit(FoundTopic { id, stamp: copy[0], shard: self.shard })
            } else {
                Verdict::Other
            }
        })
    }

    /// Whether the record still is that topic's.
    #[inline(always)]
    fn is_current(self, topic: FoundTopic) -> bool {
        Slot::<0>::still(self.commons.words(), at(topic.id), topic.stamp)
    }

    /// Copies a slot if it is live, with the bytes outside it and whose it is.
    #[inline(always)]
    fn copy(self, id: u32) -> Option<Found> {
        let words = self.commons.words();
        let slot = EntrySlot(Slot::<0>::read(words, at(id))?);
        let origin = slot.origin();
        if origin >= self.commons.origins_max {
            // Not an entry: the page is used for something else by now.
            return None;
        }
        let known = self.commons.origins.read(words, origin);
        let mut outside = Vec::new();
        if let Some(blob) = slot.blob() {
            blob.read(words, &mut outside);
        }
        // An origin's number and the bytes' place are used for something else only after the slot was freed.
        if (origin != LOCAL || slot.is_long()) && !Slot::<0>::still(words, at(id), slot.0[0]) {
            return None;
        }
        Some(Found { slot, outside, known })
    }

    #[inline(always)]
    fn judge(self, id: u32, topic: u32, key: &[u8]) -> Verdict<Found> {
        let Some(found) = self.copy(id) else {
            return Verdict::Gone;
        };
        if found.slot.topic() == topic && found.bytes(found.slot.inline_bytes().as_slice()).0 == key {
            Verdict::Hit(found)
        } else {
            Verdict::Other
        }
    }

    /// Runs `visit` on every visible entry with this key, oldest here first; returns how many there were.
    #[inline(always)]
    pub(crate) fn find(
        self,
        name: &[u8],
        hash: NameHash,
        key: &[u8],
        mut visit: impl FnMut(&EntryView<'_>),
    ) -> usize {
        let words = self.commons.words();
        let key_hash = self.commons.hash_key(hash, key);
        let entries = self.commons.entries(self.shard);
        // The bucket is on its way while the topic is looked for.
        entries.prefetch(words, key_hash);
        loop {
            let Some(topic) = self.topic(name, hash) else {
                return 0;
            };
            let mut more = Vec::new();
            let first = entries.find(words, key_hash, |id| {
                if id & GROUP == 0 {
                    return match self.judge(id, topic.id, key) {
                        Verdict::Hit(found) => Verdict::Hit(Some(found)),
                        Verdict::Other => Verdict::Other,
                        Verdict::Gone => Verdict::Gone,
                    };
                }
                self.judge_group(id, topic.id, key, &mut more)
            });
            if !self.is_current(topic) {
                continue;
            }
            return match first {
                None => 0,
                Some(Some(found)) => usize::from(self.show(name, &found, &mut visit)),
                Some(None) => {
                    more.sort_by_key(|found| found.slot.position());
                    more.iter().filter(|found| self.show(name, found, &mut visit)).count()
                }
            };
        }
    }

    #[cold]
    fn judge_group(self, id: u32, topic: u32, key: &[u8], found: &mut Vec<Found>) -> Verdict<Option<Found>> {
        found.clear();
        let whole = Group::<0>::named(id).each(self.commons.words(), |id| {
            let verdict = self.judge(id, topic, key);
            match verdict {
                Verdict::Hit(one) => {
                    found.push(one);
                    Verdict::Hit(())
                }
                Verdict::Other => Verdict::Other,
                Verdict::Gone => Verdict::Gone,
            }
        });
        match (whole, found.is_empty()) {
            (false, _) => Verdict::Gone,
            // All have the same key, so one tells whose the group is. Without members it is about to go.
            (true, true) => Verdict::Other,
            (true, false) => Verdict::Hit(None),
        }
    }

    /// Shows an entry, unless its origin is hidden; whether it was shown.
    #[inline(always)]
    fn show(self, topic: &[u8], found: &Found, visit: &mut impl FnMut(&EntryView<'_>)) -> bool {
        if found.known.hidden {
            return false;
        }
        let inline = found.slot.inline_bytes();
        let (key, meta) = found.bytes(inline.as_slice());
        visit(&EntryView { facts: found.facts(self.shard), topic, key, meta });
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
        let judge = |id, position| match self.copy(id) {
            Some(found) if found.slot.topic() == topic.id && found.slot.position() == position => {
                Verdict::Hit(found)
            }
            Some(_) => Verdict::Other,
            None => Verdict::Gone,
        };
        let _: Walked = Walk::<0>::each(words, head, after, judge, |found, position| {
            let mut go_on = true;
            self.show(name, &found, &mut |view| go_on = visit(view, position));
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
        self.commons.names(self.shard).scan(words, |numbers| {
            let start = out.len();
            for &id in numbers {
                let Some(copy) = Slot::<0>::read(words, at(id)) else {
                    continue;
                };
                let slot = TopicSlot(copy);
                let name = name_of(self.commons, &slot);
                let topic = FoundTopic { id, stamp: copy[0], shard: slot.shard() };
                if topic.shard != self.shard || !self.is_current(topic) {
                    continue;
                }
                let hash = self.commons.hash_name(&name);
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

    /// The entry in a slot that is not freed as long as the caller holds what keeps it: its lane's lock, its session's, or a pin.
    /// `None` if it was freed after all. Hidden or not.
    pub(crate) fn entry(commons: &Commons, id: u32) -> Option<Entry> {
        let found = Reader::new(commons, 0).copy(id)?;
        let record = TopicSlot(Slot::<0>::read(commons.words(), at(found.slot.topic()))?);
        let name = name_of(commons, &record);
        let inline = found.slot.inline_bytes();
        let (key, meta) = found.bytes(inline.as_slice());
        Some(Entry::new(found.facts(record.shard()), Topic::from(name.as_slice()), key, meta))
    }
}

/// The name in a topic's record; what it is if the record was freed meanwhile is for the caller to find out.
fn name_of(commons: &Commons, record: &TopicSlot) -> Vec<u8> {
    let mut name = record.inline_bytes().as_slice().to_vec();
    name.truncate(record.name_len());
    if let Some(blob) = record.blob() {
        name.clear();
        blob.read(commons.words(), &mut name);
    }
    name
}
