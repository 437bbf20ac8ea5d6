//! An entry: who is where, with what metadata.

use crate::kernel::origin::Known;
use crate::shard::EntrySlot;
use crate::{EntryRef, Incarnation, NodeId, SessionId, Topic};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The index of an origin in this tracker; 0 is this node.
pub(crate) type OriginIx = u32;
pub(crate) const LOCAL: OriginIx = 0;

/// The part of an entry's digest that its content makes, whatever its dot is: a stable hash (XXH3), so that owner and receiver
/// get the same. `topic` is the XXH3 hash of the topic's name.
pub(crate) fn content_hash(topic: u64, key: &[u8], meta: &[u8]) -> u64 {
    use xxhash_rust::xxh3::xxh3_64_with_seed as hash;
    hash(meta, hash(key, topic))
}

/// The contribution of an entry to its lane's digest, a sum: equal sums mean equal lanes.
pub(crate) fn digest(content: u64, birth: u64, clock: u64) -> u64 {
    // The finalizer of SplitMix64, over each of the three: a sum needs terms without structure.
    let mix = |number: u64| {
        let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix(content ^ mix(birth.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix(clock)))
}

/// What is known of an entry beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) origin: OriginIx,
    pub(crate) lane: u16,
    /// The clock of this version.
    pub(crate) clock: u64,
    /// The clock of the first version: together with origin and lane it names the entry through all its updates.
    pub(crate) birth: u64,
    /// The clock of the version that this one replaced here; 0 for none.
    pub(crate) prev: u64,
    /// The owner on this node; 0 for an entry of another node.
    pub(crate) session: u64,
}

impl Facts {
    fn dot(&self, clock: u64) -> EntryRef {
        EntryRef { node: self.node, incarnation: self.incarnation, lane: self.lane, clock }
    }

    fn prev_ref(&self) -> Option<EntryRef> {
        (self.prev != 0).then(|| self.dot(self.prev))
    }

    fn session(&self) -> Option<SessionId> {
        (self.session != 0).then_some(SessionId(self.session))
    }
}

/// Bytes of key and meta that lie in the record itself.
const INLINE_MAX: usize = 64;

/// An entry's copy, in one allocation for usual lengths.
pub(crate) struct Record {
    pub(crate) facts: Facts,
    topic: Topic,
    key_len: u32,
    meta_len: u32,
    inline: [u8; INLINE_MAX],
    /// Key and meta, if they do not fit.
    long: Box<[u8]>,
}

impl Record {
    fn bytes(&self) -> &[u8] {
        let len = self.key_len as usize + self.meta_len as usize;
        self.inline.get(..len).unwrap_or(&self.long)
    }
}

/// One present thing: a key in a topic, owned by a session of some node, with metadata. A cheap clone of an immutable
/// version; it stays as it was read whatever happens to the tracker.
#[derive(Clone)]
pub struct Entry(pub(crate) Arc<Record>);

impl Entry {
    pub(crate) fn new(facts: Facts, topic: Topic, key: &[u8], meta: &[u8]) -> Self {
        let mut inline = [0; INLINE_MAX];
        let mut long = Box::default();
        match inline.get_mut(..key.len() + meta.len()) {
            Some(bytes) => {
                bytes[..key.len()].copy_from_slice(key);
                bytes[key.len()..].copy_from_slice(meta);
            }
            None => long = [key, meta].concat().into_boxed_slice(),
        }
        // The configuration keeps both below 2^16.
        let (key_len, meta_len) = (key.len() as u32, meta.len() as u32);
        Self(Arc::new(Record { facts, topic, key_len, meta_len, inline, long }))
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.bytes()[..self.0.key_len as usize]
    }

    /// The metadata.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.0.bytes()[self.0.key_len as usize..]
    }

    /// The key as text, with a replacement character where it is not UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.key())
    }

    /// The metadata as text, with a replacement character where it is not UTF-8.
    #[must_use]
    pub fn meta_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.meta())
    }

    /// The dot of this version, the same on every node.
    #[must_use]
    pub fn entry_ref(&self) -> EntryRef {
        self.facts().dot(self.facts().clock)
    }

    /// The dot of the version that this one replaced in this node's view, if it replaced one. (A node that learns of an
    /// entry after several updates saw none of the versions in between, or none at all.)
    #[must_use]
    pub fn prev_ref(&self) -> Option<EntryRef> {
        self.facts().prev_ref()
    }

    /// The dot of the entry's first version: it stays through all updates and so names the entry.
    #[must_use]
    pub fn joined_ref(&self) -> EntryRef {
        self.facts().dot(self.facts().birth)
    }

    /// The node whose session made the entry. [`Tracker::node`](crate::Tracker::node) tells how fresh that is.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.facts().node
    }

    /// The session that owns the entry, if it is one of this node's.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.facts().session()
    }

    /// Whether a session of this node owns the entry.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.facts().origin == LOCAL
    }

    /// The entry's contribution to the digest of its lane; see [`LaneSummary`](crate::replica::LaneSummary).
    #[must_use]
    pub fn digest(&self) -> u64 {
        let topic = xxhash_rust::xxh3::xxh3_64(self.topic());
        digest(content_hash(topic, self.key(), self.meta()), self.facts().birth, self.facts().clock)
    }
}

impl PartialEq for Entry {
    /// The same version of the same entry, with the same content.
    fn eq(&self, other: &Self) -> bool {
        self.entry_ref() == other.entry_ref()
            && self.facts().birth == other.facts().birth
            && self.topic() == other.topic()
            && self.key() == other.key()
            && self.meta() == other.meta()
    }
}

impl Eq for Entry {}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("topic", &self.topic())
            .field("key", &self.key_str())
            .field("meta", &self.meta_str())
            .field("ref", &format_args!("{}", self.entry_ref()))
            .finish()
    }
}

/// One entry as a read found it, borrowed for the length of a closure: whole, of one version.
///
/// Made by [`Tracker::read`](crate::Tracker::read) and [`Tracker::for_each`](crate::Tracker::for_each). It is a copy: no lock is held
/// and nothing waits while the closure runs.
#[derive(Clone, Copy)]
pub struct EntryView<'a> {
    pub(crate) slot: &'a EntrySlot,
    pub(crate) known: &'a Known,
    /// The shard, which is the lane of a local entry.
    pub(crate) shard: u16,
    pub(crate) topic: &'a [u8],
    pub(crate) key: &'a [u8],
    pub(crate) meta: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// The bytes of the topic's name.
    #[must_use]
    #[inline]
    pub fn topic(&self) -> &'a [u8] {
        self.topic
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The metadata.
    #[must_use]
    #[inline]
    pub fn meta(&self) -> &'a [u8] {
        self.meta
    }

    fn facts(&self) -> Facts {
        self.slot.facts(*self.known, self.shard)
    }

    /// The dot of this version; see [`Entry::entry_ref`].
    #[must_use]
    pub fn entry_ref(&self) -> EntryRef {
        let facts = self.facts();
        facts.dot(facts.clock)
    }

    /// The dot of the version before; see [`Entry::prev_ref`].
    #[must_use]
    pub fn prev_ref(&self) -> Option<EntryRef> {
        self.facts().prev_ref()
    }

    /// The dot of the first version; see [`Entry::joined_ref`].
    #[must_use]
    pub fn joined_ref(&self) -> EntryRef {
        let facts = self.facts();
        facts.dot(facts.birth)
    }

    /// The node whose session made the entry.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        NodeId(self.known.node)
    }

    /// The session that owns the entry, if it is one of this node's.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.facts().session()
    }

    /// Whether a session of this node owns the entry.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.slot.origin() == LOCAL
    }

    /// A copy to keep.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        self.to_entry_of(&Topic::from(self.topic))
    }

    /// A copy to keep, of an entry of that topic.
    pub(crate) fn to_entry_of(self, topic: &Topic) -> Entry {
        Entry::new(self.facts(), topic.clone(), self.key, self.meta)
    }
}

impl fmt::Debug for EntryView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_entry().fmt(f)
    }
}
