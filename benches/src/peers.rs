//! What people use instead: plain concurrent maps, set up as somebody who cares would.
//!
//! Both hash with `ahash` and have 64 shards. [`FlatMap`] has topic and key in one key and shares the meta, so that a
//! lookup copies nothing. It cannot list a topic; [`TopicMap`] can: a map of maps, whose lookups would be two.

use crate::Row;
use ahash::RandomState;
use crossbeam_utils::CachePadded;
use dashmap::DashMap;
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;

const SHARDS: usize = 64;

type FlatKey = Box<[u8]>;
type Meta = Arc<[u8]>;

/// (topic, key) → meta.
pub trait FlatMap: Default {
    /// What the reports call it.
    const NAME: &'static str;

    /// Puts a meta in, in place of the one that is there.
    fn insert(&self, key: &[u8; 28], meta: &[u8]);
    /// The meta.
    fn get(&self, key: &[u8; 28]) -> Option<Arc<[u8]>>;
    /// Takes the meta out; whether there was one.
    fn remove(&self, key: &[u8; 28]) -> bool;

    /// A map of these rows.
    #[must_use]
    fn of(rows: &[Row]) -> Self {
        let map = Self::default();
        for row in rows {
            map.insert(&row.flat_key(), &row.meta);
        }
        map
    }
}

/// A member of a topic, shared by its map and by whoever listed it.
#[derive(Debug)]
pub struct Member {
    /// Its key.
    pub key: Box<[u8]>,
    /// Its metadata.
    pub meta: Box<[u8]>,
}

type Members = HashMap<FlatKey, Arc<Member>, RandomState>;

/// topic → key → meta.
pub trait TopicMap: Default {
    /// What the reports call it.
    const NAME: &'static str;

    /// Puts a member in.
    fn insert(&self, row: &Row);
    /// All members of a topic.
    fn list(&self, topic: &[u8; 12]) -> Vec<Arc<Member>>;

    /// A map of these rows.
    #[must_use]
    fn of(rows: &[Row]) -> Self {
        let map = Self::default();
        for row in rows {
            map.insert(row);
        }
        map
    }
}

fn put(members: &mut Members, row: &Row) {
    let member = Member { key: row.key.into(), meta: row.meta.into() };
    members.insert(row.key.into(), Arc::new(member));
}

type Shard<V> = RwLock<HashMap<FlatKey, V, RandomState>>;

/// `RwLock<hashbrown::HashMap>`, 64 of them.
#[derive(Debug)]
pub struct Locked<V> {
    shards: Box<[CachePadded<Shard<V>>]>,
    hasher: RandomState,
}

impl<V> Default for Locked<V> {
    fn default() -> Self {
        let hasher = RandomState::default();
        let shard = || CachePadded::new(RwLock::new(HashMap::with_hasher(hasher.clone())));
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect(), hasher }
    }
}

impl<V> Locked<V> {
    fn shard(&self, key: &[u8]) -> &Shard<V> {
        // The upper bits: the map uses the lower ones for its buckets and the uppermost seven for its tags.
        let hash = self.hasher.hash_one(key) >> 40;
        &self.shards[usize::try_from(hash).unwrap_or(0) % SHARDS]
    }
}

impl FlatMap for Locked<Meta> {
    const NAME: &'static str = "rwlock_hashbrown_64";

    fn insert(&self, key: &[u8; 28], meta: &[u8]) {
        let (owned, meta) = (FlatKey::from(*key), Meta::from(meta));
        self.shard(key).write().insert(owned, meta);
    }

    fn get(&self, key: &[u8; 28]) -> Option<Arc<[u8]>> {
        self.shard(key).read().get(&key[..]).cloned()
    }

    fn remove(&self, key: &[u8; 28]) -> bool {
        self.shard(key).write().remove(&key[..]).is_some()
    }
}

impl TopicMap for Locked<Members> {
    const NAME: &'static str = "rwlock_hashbrown_64";

    fn insert(&self, row: &Row) {
        let mut shard = self.shard(&row.topic).write();
        put(shard.entry(row.topic.into()).or_default(), row);
    }

    fn list(&self, topic: &[u8; 12]) -> Vec<Arc<Member>> {
        let shard = self.shard(topic).read();
        shard.get(&topic[..]).map_or_else(Vec::new, |members| members.values().cloned().collect())
    }
}

/// `DashMap`.
#[derive(Debug)]
pub struct Dash<V>(DashMap<FlatKey, V, RandomState>);

impl<V> Default for Dash<V> {
    fn default() -> Self {
        Self(DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS))
    }
}

impl FlatMap for Dash<Meta> {
    const NAME: &'static str = "dashmap";

    fn insert(&self, key: &[u8; 28], meta: &[u8]) {
        self.0.insert(FlatKey::from(*key), Meta::from(meta));
    }

    fn get(&self, key: &[u8; 28]) -> Option<Arc<[u8]>> {
        self.0.get(&key[..]).map(|meta| Arc::clone(&meta))
    }

    fn remove(&self, key: &[u8; 28]) -> bool {
        self.0.remove(&key[..]).is_some()
    }
}

impl TopicMap for Dash<Members> {
    const NAME: &'static str = "dashmap";

    fn insert(&self, row: &Row) {
        put(&mut self.0.entry(row.topic.into()).or_default(), row);
    }

    fn list(&self, topic: &[u8; 12]) -> Vec<Arc<Member>> {
        self.0.get(&topic[..]).map_or_else(Vec::new, |members| members.values().cloned().collect())
    }
}

/// [`Locked`] as a [`FlatMap`].
pub type LockedFlat = Locked<Arc<[u8]>>;
/// [`Dash`] as a [`FlatMap`].
pub type DashFlat = Dash<Arc<[u8]>>;
/// [`Locked`] as a [`TopicMap`].
pub type LockedTopics = Locked<HashMap<Box<[u8]>, Arc<Member>, RandomState>>;
/// [`Dash`] as a [`TopicMap`].
pub type DashTopics = Dash<HashMap<Box<[u8]>, Arc<Member>, RandomState>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    fn a_flat_map_has_what_was_put_in<M: FlatMap>() {
        let rows = Shape { entries: 1_000, topic_members: 100 }.resident();
        let map = M::of(&rows);
        assert!(rows.iter().all(|row| map.get(&row.flat_key()).as_deref() == Some(&row.meta[..])));
        map.insert(&rows[0].flat_key(), b"new");
        assert_eq!(map.get(&rows[0].flat_key()).as_deref(), Some(&b"new"[..]));
        assert!(map.remove(&rows[0].flat_key()));
        assert!(!map.remove(&rows[0].flat_key()));
        assert_eq!(map.get(&rows[0].flat_key()), None);
    }

    fn a_topic_map_lists_its_topics<M: TopicMap>() {
        let map = M::of(&Shape { entries: 1_000, topic_members: 100 }.resident());
        assert_eq!(map.list(b"room:0000003").len(), 100);
        assert!(map.list(b"room:0000010").is_empty());
    }

    #[test]
    fn the_peers_do_what_they_are_measured_for() {
        a_flat_map_has_what_was_put_in::<LockedFlat>();
        a_flat_map_has_what_was_put_in::<DashFlat>();
        a_topic_map_lists_its_topics::<LockedTopics>();
        a_topic_map_lists_its_topics::<DashTopics>();
    }
}
