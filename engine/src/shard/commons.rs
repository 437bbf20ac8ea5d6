//! What all shards of a tracker and all readers share: the arena, where in it the shards' tables begin, and the origins.

use super::layout::{EntrySlot, NUMBER_MAX, Owner, at};
use crate::Config;
use crate::kernel::counts::Hides;
use crate::kernel::origin::{ORIGIN_WORDS, OriginTable};
use crate::kernel::slot::{DRAFTS, DRAFTS_WORDS};
use crate::kernel::table::Table;
use crate::memory::{Arena, MemoryStats, PAGE_WORDS, Words};
use crate::sync::Ordering;
use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Words of a shard's roots: a cache line of its own.
const ROOT_WORDS: usize = 8;
const ENTRIES: usize = 0;
const NAMES: usize = 1;
const OWN: usize = 2;

/// See the module's documentation.
pub(crate) struct Commons {
    pub(crate) arena: Arena,
    pub(crate) origins: OriginTable<0>,
    /// Origins that the table has room for.
    pub(crate) origins_max: u32,
    roots: usize,
    hasher: RandomState,
    shard_mask: usize,
    pub(crate) memory_max: usize,
    pub(crate) topic_len_max: usize,
}

impl std::fmt::Debug for Commons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commons").field("memory", &self.arena.stats()).finish_non_exhaustive()
    }
}

/// The hashes of a topic's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHash {
    /// See [`stable_hash`].
    pub(crate) stable: u64,
    /// Seeded by chance: nobody outside can make names collide in a table.
    pub(crate) seeded: u64,
}

/// The hash of a topic's name that decides the shard and goes into digests. XXH3 and not a hasher with a key of its own: nodes with equally
/// many shards then put a topic into the same one, and a delta of one lane finds all its topics in one shard.
#[inline(always)]
pub(crate) fn stable_hash(name: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name)
}

impl NameHash {
    /// What the table of names is searched for.
    #[inline(always)]
    pub(crate) fn short(self) -> u32 {
        (self.seeded >> 32) as u32
    }
}

impl Commons {
    pub(crate) fn new(config: &Config) -> Self {
        let arena = Arena::new(config.memory_max);
        // As many lives again may wait to be purged, and one is this node's.
        let origins_max = config.origins_max + config.origins_max.clamp(16, 1024) + 1;
        let take = |words: usize| {
            let pages = words.div_ceil(PAGE_WORDS);
            let page =
                arena.take(pages).expect("the smallest arena holds the largest tables of a configuration");
            // All zero: an arena that is new is.
            page as usize * PAGE_WORDS
        };
        let drafts = take(DRAFTS_WORDS);
        assert_eq!(drafts, DRAFTS, "the first pages of an arena are those after page 0");
        let origins = OriginTable::new(take(origins_max * ORIGIN_WORDS));
        let roots = take((config.shards + 1) * ROOT_WORDS);
        Self {
            origins,
            origins_max: origins_max as u32,
            roots,
            hasher: RandomState::new(),
            shard_mask: config.shards - 1,
            memory_max: config.memory_max,
            topic_len_max: config.topic_len_max,
            arena,
        }
    }

    #[inline(always)]
    pub(crate) fn words(&self) -> &Words {
        self.arena.words()
    }

    pub(crate) fn memory(&self) -> MemoryStats {
        self.arena.stats()
    }

    #[inline(always)]
    fn root(&self, shard: u16) -> usize {
        self.roots + usize::from(shard) * ROOT_WORDS
    }

    /// The table of a shard's entries, by topic and key.
    #[inline(always)]
    pub(crate) fn entries(&self, shard: u16) -> Table<0> {
        Table::new(self.root(shard) + ENTRIES)
    }

    /// The table of a shard's topics, by name.
    #[inline(always)]
    pub(crate) fn names(&self, shard: u16) -> Table<0> {
        Table::new(self.root(shard) + NAMES)
    }

    /// This node's entries of a shard.
    pub(crate) fn own(&self, shard: u16) -> u64 {
        // Relaxed: a number for show; whoever needs it exactly holds the shard's lock.
        self.words().word(self.root(shard) + OWN).load(Ordering::Relaxed)
    }

    pub(crate) fn set_own(&self, shard: u16, entries: u64) {
        self.words().word(self.root(shard) + OWN).store(entries, Ordering::Relaxed);
    }

    /// Which origins are hidden, as counts see it.
    #[inline(always)]
    pub(crate) fn hides(&self) -> Hides<0> {
        Hides::new(self.roots + (self.shard_mask + 1) * ROOT_WORDS)
    }

    /// Takes an origin's entries out of sight of every reader, or brings them back. Callers take turns.
    pub(crate) fn hide(&self, origin: u32, hidden: bool) {
        self.hides().hide(self.words(), self.origins, origin, hidden);
    }

    #[inline(always)]
    pub(crate) fn hash_name(&self, name: &[u8]) -> NameHash {
        NameHash { stable: stable_hash(name), seeded: self.hasher.hash_one(name) }
    }

    /// The hashes of a name of which the one is known, with the bucket of its topic on its way.
    #[inline(always)]
    pub(crate) fn name_of(&self, stable: u64, name: &[u8]) -> NameHash {
        let name = NameHash { stable, seeded: self.hasher.hash_one(name) };
        self.prefetch_name(self.shard_of(stable), name);
        name
    }

    /// What the table of entries is searched for. Seeded, like the other one. Both lengths go into it, so no two pairs are the same bytes.
    #[inline(always)]
    pub(crate) fn hash_key(&self, name: &[u8], key: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write_usize(name.len());
        hasher.write(key);
        (hasher.finish() >> 32) as u32
    }

    /// A number that nobody can foresee.
    pub(crate) fn random(&self, of: u16) -> u64 {
        self.hasher.hash_one(of)
    }

    /// The shard of a topic, by its [`stable_hash`].
    #[inline(always)]
    pub(crate) fn shard_of(&self, stable: u64) -> u16 {
        ((stable >> 32) as usize & self.shard_mask) as u16
    }

    /// Fetches the bucket in which an entry is looked for.
    #[inline]
    pub(crate) fn prefetch_home(&self, shard: u16, key_hash: u32) {
        self.entries(shard).prefetch_home(self.words(), key_hash);
    }

    /// Fetches what of the index a change of an entry will look at.
    #[inline]
    pub(crate) fn prefetch(&self, shard: u16, key_hash: u32) {
        self.entries(shard).prefetch(self.words(), key_hash);
    }

    /// Fetches the bucket in which a topic is looked for.
    #[inline]
    pub(crate) fn prefetch_name(&self, shard: u16, name: NameHash) {
        self.names(shard).prefetch(self.words(), name.short());
    }

    /// Fetches the slots that may be an entry's, once its bucket has come: the lock is held for less time then.
    #[inline]
    pub(crate) fn prefetch_slots(&self, shard: u16, key_hash: u32) {
        self.entries(shard).prefetch_slots(self.words(), key_hash);
    }

    /// Fetches a slot.
    #[inline]
    pub(crate) fn prefetch_slot(&self, slot: u32) {
        self.words().prefetch_two(at(slot));
    }

    /// Fetches what leads to a slot in a shard, and the head of its page: what taking the entry out will change.
    #[inline]
    pub(crate) fn prefetch_leads(&self, shard: u16, slot: u32) {
        let hash = self.words().cell(at(slot)).word(1).load(Ordering::Relaxed) >> 32;
        self.prefetch(shard, hash as u32);
        self.words().prefetch(at(slot) & !(PAGE_WORDS - 1));
    }

    /// The clock of a slot's entry. For a slot that is not freed; of another, some number.
    pub(crate) fn clock_of(&self, slot: u32) -> u64 {
        self.words().cell(at(slot)).word(2).load(Ordering::Relaxed) & NUMBER_MAX
    }

    /// The topic of a slot's entry. For a slot that is not freed.
    pub(crate) fn topic_of(&self, slot: u32) -> u32 {
        self.words().cell(at(slot)).word(1).load(Ordering::Relaxed) as u32
    }

    /// Whether a slot is a session's entry. True of those that are; of others a look without their shard's lock can err.
    pub(crate) fn is_owned_by(&self, slot: u32, session: u64) -> bool {
        let copy = EntrySlot::peek(self.words(), slot);
        copy.0[0] & 1 == 1 && copy.owner() == Owner::Session(session)
    }

    /// The birth of a slot's entry. For a slot that is not freed.
    pub(crate) fn birth_of(&self, slot: u32) -> u64 {
        self.words().cell(at(slot)).word(3).load(Ordering::Relaxed) & NUMBER_MAX
    }

    /// The shard of a slot's entry. For a slot that is not freed; of another, some shard.
    pub(crate) fn shard_of_slot(&self, slot: u32) -> u16 {
        let record = self.words().cell(at(self.topic_of(slot))).word(1).load(Ordering::Relaxed);
        ((record >> 16) as usize & self.shard_mask) as u16
    }
}
