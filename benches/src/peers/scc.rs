//! `scc::HashMap`: a lock for each bucket.

use super::{BoxedKey, FlatKey, FlatMap, Meta};
use ahash::RandomState;
use scc::HashMap;

/// `scc::HashMap`.
#[derive(Debug, Default)]
pub struct SccFlat(HashMap<BoxedKey, Meta, RandomState>);

impl FlatMap for SccFlat {
    const NAME: &'static str = "scc";

    fn insert(&self, key: &FlatKey, meta: &Meta) {
        self.0.upsert_sync(BoxedKey::from(*key), *meta);
    }

    fn update(&self, key: &FlatKey, meta: &Meta) -> bool {
        self.0.update_sync(&key[..], |_, present| *present = *meta).is_some()
    }

    fn with(&self, key: &FlatKey, f: impl FnOnce(&[u8])) -> bool {
        self.0.read_sync(&key[..], |_, meta| f(meta)).is_some()
    }

    fn get(&self, key: &FlatKey) -> Option<Meta> {
        self.0.read_sync(&key[..], |_, meta| *meta)
    }

    fn remove(&self, key: &FlatKey) -> bool {
        self.0.remove_sync(&key[..]).is_some()
    }
}
