//! Sharded locks around `hashbrown`: the least that a concurrent map can be.

use super::{BoxedKey, FlatKey, FlatMap, Members, Meta, SHARDS, TopicMap};
use crate::Row;
use ahash::RandomState;
use crossbeam_utils::CachePadded;
use hashbrown::HashTable;
use parking_lot::RwLock;

type Shard<V> = RwLock<HashTable<(BoxedKey, V)>>;

/// `RwLock<hashbrown::HashTable>`, 64 of them. A table and not a map, so that one hash finds both shard and bucket.
#[derive(Debug)]
pub struct Locked<V> {
    shards: Box<[CachePadded<Shard<V>>]>,
    hasher: RandomState,
}

impl<V> Default for Locked<V> {
    fn default() -> Self {
        let shard = || CachePadded::new(RwLock::new(HashTable::new()));
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect(), hasher: RandomState::default() }
    }
}

impl<V> Locked<V> {
    fn find_shard(&self, key: &[u8]) -> (u64, &Shard<V>) {
        let hash = self.hasher.hash_one(key);
        // The middle bits: the table uses the lower ones for its buckets and the uppermost seven for its tags.
        let index = usize::try_from(hash >> 40).unwrap_or(0) % SHARDS;
        (hash, &self.shards[index])
    }

    /// Puts a value in if there is none, and changes the one that is there.
    fn put(&self, key: &[u8], new: impl FnOnce() -> V, change: impl FnOnce(&mut V)) {
        let (hash, shard) = self.find_shard(key);
        let rehash = |(key, _): &(BoxedKey, V)| self.hasher.hash_one(&**key);
        // The key is allocated before the lock is taken, as a user would who cares for the tail.
        let owned = BoxedKey::from(key);
        let mut table = shard.write();
        let entry = table.entry(hash, |(present, _)| **present == *key, rehash);
        let mut entry = entry.or_insert_with(|| (owned, new()));
        change(&mut entry.get_mut().1);
    }
}

impl FlatMap for Locked<Meta> {
    const NAME: &'static str = "rwlock_hashbrown_64";

    fn insert(&self, key: &FlatKey, meta: &Meta) {
        self.put(key, || *meta, |present| *present = *meta);
    }

    fn update(&self, key: &FlatKey, meta: &Meta) -> bool {
        let (hash, shard) = self.find_shard(key);
        let mut table = shard.write();
        let found = table.find_mut(hash, |(present, _)| **present == key[..]);
        found.map(|(_, present)| *present = *meta).is_some()
    }

    fn with(&self, key: &FlatKey, f: impl FnOnce(&[u8])) -> bool {
        let (hash, shard) = self.find_shard(key);
        let table = shard.read();
        table.find(hash, |(present, _)| **present == key[..]).map(|(_, meta)| f(meta)).is_some()
    }

    fn get(&self, key: &FlatKey) -> Option<Meta> {
        let (hash, shard) = self.find_shard(key);
        let table = shard.read();
        table.find(hash, |(present, _)| **present == key[..]).map(|&(_, meta)| meta)
    }

    fn remove(&self, key: &FlatKey) -> bool {
        let (hash, shard) = self.find_shard(key);
        let mut table = shard.write();
        let found = table.find_entry(hash, |(present, _)| **present == key[..]).ok();
        let removed = found.map(|entry| entry.remove().0);
        // The key is freed after the lock.
        drop(table);
        removed.is_some()
    }
}

impl TopicMap for Locked<Members> {
    const NAME: &'static str = "rwlock_hashbrown_64";

    fn insert(&self, row: &Row) {
        self.put(&row.topic, Members::default, |members| {
            members.insert(row.key.into(), row.meta);
        });
    }

    fn with_members<R>(&self, topic: &[u8], f: impl FnOnce(&Members) -> R) -> Option<R> {
        let (hash, shard) = self.find_shard(topic);
        let table = shard.read();
        table.find(hash, |(present, _)| **present == *topic).map(|(_, members)| f(members))
    }
}
