//! `DashMap`.

use super::{BoxedKey, FlatKey, FlatMap, Members, Meta, SHARDS, TopicMap};
use crate::Row;
use ahash::RandomState;
use dashmap::DashMap;

/// `DashMap`.
#[derive(Debug)]
pub struct Dash<V>(DashMap<BoxedKey, V, RandomState>);

impl<V> Default for Dash<V> {
    fn default() -> Self {
        Self(DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS))
    }
}

impl FlatMap for Dash<Meta> {
    const NAME: &'static str = "dashmap";

    fn insert(&self, key: &FlatKey, meta: &Meta) {
        self.0.insert(BoxedKey::from(*key), *meta);
    }

    fn update(&self, key: &FlatKey, meta: &Meta) -> bool {
        self.0.get_mut(&key[..]).map(|mut present| *present = *meta).is_some()
    }

    fn with(&self, key: &FlatKey, f: impl FnOnce(&[u8])) -> bool {
        self.0.get(&key[..]).map(|meta| f(&*meta)).is_some()
    }

    fn get(&self, key: &FlatKey) -> Option<Meta> {
        self.0.get(&key[..]).map(|meta| *meta)
    }

    fn remove(&self, key: &FlatKey) -> bool {
        self.0.remove(&key[..]).is_some()
    }
}

impl TopicMap for Dash<Members> {
    const NAME: &'static str = "dashmap";

    fn insert(&self, row: &Row) {
        self.0.entry(row.topic.into()).or_default().insert(row.key.into(), row.meta);
    }

    fn with_members<R>(&self, topic: &[u8], f: impl FnOnce(&Members) -> R) -> Option<R> {
        self.0.get(topic).map(|members| f(&members))
    }
}
