//! As much of ahash's face as the engine uses, without its random seeds: where an entry lies in a table decides what a schedule
//! does, and a failing schedule has to fail again.

use std::hash::{BuildHasher, Hash};
use xxhash_rust::xxh3::Xxh3Default;

/// Makes hashers that all begin alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomState;

impl RandomState {
    /// The one that there is.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// The hash of one value.
    pub fn hash_one(&self, value: impl Hash) -> u64 {
        BuildHasher::hash_one(self, value)
    }
}

impl BuildHasher for RandomState {
    type Hasher = Xxh3Default;

    fn build_hasher(&self) -> Xxh3Default {
        Xxh3Default::new()
    }
}

#[cfg(test)]
mod tests {
    use super::RandomState;

    #[test]
    fn a_hash_is_the_same_in_every_run_and_depends_on_the_value() {
        let hash = |key: &str| RandomState::new().hash_one((7_u64, key.as_bytes()));
        assert_eq!(hash("alice"), hash("alice"));
        assert_ne!(hash("alice"), hash("bob"));
    }
}
