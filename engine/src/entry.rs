//! An entry: who is where, with what metadata.

use crate::{EntryRef, Incarnation, NodeId, SessionId, Topic};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The index of an origin in this tracker; 0 is this node.
pub(crate) type OriginIx = u32;
pub(crate) const LOCAL: OriginIx = 0;

/// What is stored of an entry. Immutable once published; an update makes another.
pub(crate) struct Record {
    pub(crate) topic: Topic,
    pub(crate) key: Box<[u8]>,
    pub(crate) meta: Box<[u8]>,
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

impl Record {
    /// A copy without the bytes, for another version of the same entry.
    pub(crate) fn head(&self) -> Self {
        Self { topic: self.topic.clone(), key: Box::default(), meta: Box::default(), ..*self }
    }

    /// The contribution of this entry to its lane's digest. Owner and receiver compute it from the same bytes with the
    /// same stable hash (XXH3), so equal sums mean equal lanes.
    pub(crate) fn digest(&self) -> u64 {
        use xxhash_rust::xxh3::xxh3_64_with_seed as hash;
        let seeded = hash(&self.topic, self.birth);
        hash(&self.meta, hash(&self.key, seeded) ^ self.clock)
    }
}

/// One present thing: a key in a topic, owned by a session of some node, with metadata. A cheap clone of an immutable
/// version; it stays as it was read whatever happens to the tracker.
#[derive(Clone)]
pub struct Entry(pub(crate) Arc<Record>);

impl Entry {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// The metadata.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.0.meta
    }

    /// The key as text, with a replacement character where it is not UTF-8.
    #[must_use]
    pub fn key_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.key)
    }

    /// The metadata as text, with a replacement character where it is not UTF-8.
    #[must_use]
    pub fn meta_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0.meta)
    }

    /// The dot of this version, the same on every node.
    #[must_use]
    pub fn entry_ref(&self) -> EntryRef {
        self.dot(self.0.clock)
    }

    /// The dot of the version that this one replaced in this node's view, if it replaced one. (A node that learns of an
    /// entry after several updates saw none of the versions in between, or none at all.)
    #[must_use]
    pub fn prev_ref(&self) -> Option<EntryRef> {
        (self.0.prev != 0).then(|| self.dot(self.0.prev))
    }

    /// The dot of the entry's first version: it stays through all updates and so names the entry.
    #[must_use]
    pub fn joined_ref(&self) -> EntryRef {
        self.dot(self.0.birth)
    }

    /// The node whose session made the entry. [`Tracker::node`](crate::Tracker::node) tells how fresh that is.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.0.node
    }

    /// The session that owns the entry, if it is one of this node's.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        (self.0.session != 0).then_some(SessionId(self.0.session))
    }

    /// Whether a session of this node owns the entry.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.origin == LOCAL
    }

    /// The entry's contribution to the digest of its lane; see [`LaneSummary`](crate::replica::LaneSummary).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.digest()
    }

    fn dot(&self, clock: u64) -> EntryRef {
        let Record { node, incarnation, lane, .. } = *self.0;
        EntryRef { node, incarnation, lane, clock }
    }
}

impl PartialEq for Entry {
    /// The same version of the same entry, with the same content.
    fn eq(&self, other: &Self) -> bool {
        self.entry_ref() == other.entry_ref()
            && self.0.birth == other.0.birth
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
