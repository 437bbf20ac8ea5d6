//! `papaya::HashMap`: lock-free, its readers pin.

use super::{BoxedKey, FlatKey, FlatMap, Meta};
use ahash::RandomState;
use papaya::HashMap;

/// `papaya::HashMap`, pinned for each operation. Its values cannot change in place: an update
/// allocates a new one, and the key that finds it.
#[derive(Debug, Default)]
pub struct PapayaFlat(HashMap<BoxedKey, Meta, RandomState>);

impl FlatMap for PapayaFlat {
    const NAME: &'static str = "papaya";

    fn insert(&self, key: &FlatKey, meta: &Meta) {
        self.0.pin().insert(BoxedKey::from(*key), *meta);
    }

    fn update(&self, key: &FlatKey, meta: &Meta) -> bool {
        self.0.pin().update(BoxedKey::from(*key), |_| *meta).is_some()
    }

    fn with(&self, key: &FlatKey, f: impl FnOnce(&[u8])) -> bool {
        self.0.pin().get(&key[..]).map(|meta| f(meta)).is_some()
    }

    fn get(&self, key: &FlatKey) -> Option<Meta> {
        self.0.pin().get(&key[..]).copied()
    }

    fn remove(&self, key: &FlatKey) -> bool {
        self.0.pin().remove(&key[..]).is_some()
    }

    fn insert_many<'a>(&self, entries: impl Iterator<Item = (&'a FlatKey, &'a Meta)>) {
        let pinned = self.0.pin();
        for (key, meta) in entries {
            pinned.insert(BoxedKey::from(*key), *meta);
        }
    }
}
