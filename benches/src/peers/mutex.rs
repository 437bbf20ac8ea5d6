//! One lock around the standard library's map.

use super::{BoxedKey, FlatKey, FlatMap, Meta};
use ahash::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;

/// `Mutex<std::collections::HashMap>`.
#[derive(Debug, Default)]
pub struct MutexFlat(Mutex<HashMap<BoxedKey, Meta, RandomState>>);

impl FlatMap for MutexFlat {
    const NAME: &'static str = "mutex_hashmap";

    fn insert(&self, key: &FlatKey, meta: &Meta) {
        let key = BoxedKey::from(*key);
        self.0.lock().insert(key, *meta);
    }

    fn update(&self, key: &FlatKey, meta: &Meta) -> bool {
        self.0.lock().get_mut(&key[..]).map(|present| *present = *meta).is_some()
    }

    fn with(&self, key: &FlatKey, f: impl FnOnce(&[u8])) -> bool {
        self.0.lock().get(&key[..]).map(|meta| f(meta)).is_some()
    }

    fn get(&self, key: &FlatKey) -> Option<Meta> {
        self.0.lock().get(&key[..]).copied()
    }

    fn remove(&self, key: &FlatKey) -> bool {
        let removed = self.0.lock().remove_entry(&key[..]);
        removed.is_some()
    }

    fn insert_many<'a>(&self, entries: impl Iterator<Item = (&'a FlatKey, &'a Meta)>) {
        let mut map = self.0.lock();
        for (key, meta) in entries {
            map.insert(BoxedKey::from(*key), *meta);
        }
    }
}
