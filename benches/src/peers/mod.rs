//! What people use instead: plain concurrent maps, each set up as somebody who cares would, and another crate's ORSWOT.
//!
//! [`FlatMap`] has topic and key in one key. It cannot list a topic; [`TopicMap`] can: a map of maps, whose lookups
//! would be two. All of them hash with `ahash`, once an operation, and the sharded ones have 64 shards.
//!
//! The layout is the best for the maps, not the fairest to the tracker:
//! * The key of a flat map is a boxed slice, as topics and keys are of any length; the caller hands topic and key
//!   joined, so a map never pays for joining them.
//! * The meta lies in the map itself, `[u8; 32]`, which only an application with metas of one size can do. That saves
//!   each read the cache miss, and each insert the allocation, that `Arc<[u8]>` or `Box<[u8]>` costs; an update
//!   overwrites it in place where the map can; and an owned read copies 32 bytes, which is cheaper than writing the
//!   count of an `Arc` that other readers write too.
//! * A member's key in a [`TopicMap`] is an `Arc<[u8]>`, so that a listing which outlives the lock copies no key.
//! * A batch is put in under one guard or one lock where there is only one.

mod dash;
mod locked;
mod mutex;
mod orswot;
mod papaya;
mod scc;

pub use self::dash::Dash;
pub use self::locked::Locked;
pub use self::mutex::MutexFlat;
pub use self::orswot::OrswotSet;
pub use self::papaya::PapayaFlat;
pub use self::scc::SccFlat;

use crate::Row;
use ahash::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

/// Shards of the sharded maps.
const SHARDS: usize = 64;

/// A topic and a key.
pub type FlatKey = [u8; 28];
/// What is stored with a key.
pub type Meta = [u8; 32];
/// A topic and a key as a map keeps them.
type BoxedKey = Box<[u8]>;

/// (topic, key) → meta.
pub trait FlatMap: Default + Send + Sync {
    /// What the reports call it.
    const NAME: &'static str;

    /// Puts a meta in, in place of the one that is there.
    fn insert(&self, key: &FlatKey, meta: &Meta);
    /// Overwrites the meta that is there; whether there was one.
    fn update(&self, key: &FlatKey, meta: &Meta) -> bool;
    /// Shows the meta, in its place; whether there was one.
    fn with(&self, key: &FlatKey, f: impl FnOnce(&[u8])) -> bool;
    /// A copy of the meta.
    fn get(&self, key: &FlatKey) -> Option<Meta>;
    /// Takes the meta out; whether there was one.
    fn remove(&self, key: &FlatKey) -> bool;

    /// Puts many in.
    fn insert_many<'a>(&self, entries: impl Iterator<Item = (&'a FlatKey, &'a Meta)>) {
        entries.for_each(|(key, meta)| self.insert(key, meta));
    }

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

/// A member of a topic.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its key.
    pub key: Arc<[u8]>,
    /// Its metadata.
    pub meta: Meta,
}

/// The members of a topic, by key.
pub type Members = HashMap<Arc<[u8]>, Meta, RandomState>;

/// topic → key → meta.
pub trait TopicMap: Default + Send + Sync {
    /// What the reports call it.
    const NAME: &'static str;

    /// Puts a member in.
    fn insert(&self, row: &Row);
    /// Shows the members of a topic in their place, while writers of its shard wait.
    fn with_members<R>(&self, topic: &[u8], f: impl FnOnce(&Members) -> R) -> Option<R>;

    /// Shows key and meta of every member of a topic; returns how many there were.
    fn for_each(&self, topic: &[u8], mut f: impl FnMut(&[u8], &[u8])) -> usize {
        let visit = |members: &Members| {
            members.iter().for_each(|(key, meta)| f(key, meta));
            members.len()
        };
        self.with_members(topic, visit).unwrap_or(0)
    }

    /// All members of a topic, to be looked at when other threads may write again.
    fn list(&self, topic: &[u8]) -> Vec<Member> {
        let copy = |(key, &meta): (&Arc<[u8]>, &Meta)| Member { key: Arc::clone(key), meta };
        self.with_members(topic, |members| members.iter().map(copy).collect()).unwrap_or_default()
    }

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

/// [`Locked`] as a [`FlatMap`].
pub type LockedFlat = Locked<Meta>;
/// [`Dash`] as a [`FlatMap`].
pub type DashFlat = Dash<Meta>;
/// [`Locked`] as a [`TopicMap`].
pub type LockedTopics = Locked<Members>;
/// [`Dash`] as a [`TopicMap`].
pub type DashTopics = Dash<Members>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    fn a_flat_map_has_what_was_put_in<M: FlatMap>() {
        let rows = Shape { entries: 1_000, topic_members: 100 }.resident();
        let map = M::of(&rows);
        assert!(rows.iter().all(|row| map.get(&row.flat_key()) == Some(row.meta)), "{}", M::NAME);
        let (key, new) = (rows[0].flat_key(), [b'!'; 32]);
        map.insert(&key, &new);
        assert_eq!(map.get(&key), Some(new), "{}", M::NAME);
        assert!(map.update(&key, &rows[1].meta), "{}", M::NAME);
        let mut seen = Vec::new();
        assert!(map.with(&key, |meta| seen.extend_from_slice(meta)), "{}", M::NAME);
        assert_eq!(seen, rows[1].meta, "{}", M::NAME);
        assert!(map.remove(&key) && !map.remove(&key), "{}", M::NAME);
        assert!(!map.update(&key, &new), "{}: an update puts nothing in", M::NAME);
        assert!(!map.with(&key, |_| panic!("it is gone")) && map.get(&key).is_none(), "{}", M::NAME);

        let fresh: Vec<_> =
            rows.iter().map(|row| ([&row.flat_key()[1..], b"~"].concat(), row.meta)).collect();
        let fresh: Vec<(FlatKey, Meta)> =
            fresh.into_iter().map(|(key, meta)| (key.try_into().unwrap(), meta)).collect();
        map.insert_many(fresh.iter().map(|(key, meta)| (key, meta)));
        assert!(fresh.iter().all(|(key, meta)| map.get(key) == Some(*meta)), "{}", M::NAME);
        assert!(rows[1..].iter().all(|row| map.get(&row.flat_key()) == Some(row.meta)), "{}", M::NAME);
    }

    fn a_topic_map_lists_its_topics<M: TopicMap>() {
        let rows = Shape { entries: 1_000, topic_members: 100 }.resident();
        let map = M::of(&rows);
        let wanted: Vec<_> = rows.iter().filter(|row| &row.topic == b"room:0000003").collect();
        let listed = map.list(b"room:0000003");
        assert_eq!(listed.len(), wanted.len());
        for row in wanted {
            assert!(listed.iter().any(|member| *member.key == row.key && member.meta == row.meta));
        }
        let mut seen = Vec::new();
        assert_eq!(map.for_each(b"room:0000003", |key, _| seen.push(key.to_vec())), 100);
        assert!(listed.iter().all(|member| seen.iter().any(|key| **key == *member.key)));
        assert!(map.list(b"room:0000010").is_empty());
        assert_eq!(map.for_each(b"room:0000010", |_, _| panic!("nobody is there")), 0);
    }

    #[test]
    fn the_peers_do_what_they_are_measured_for() {
        a_flat_map_has_what_was_put_in::<LockedFlat>();
        a_flat_map_has_what_was_put_in::<DashFlat>();
        a_flat_map_has_what_was_put_in::<PapayaFlat>();
        a_flat_map_has_what_was_put_in::<SccFlat>();
        a_flat_map_has_what_was_put_in::<MutexFlat>();
        a_topic_map_lists_its_topics::<LockedTopics>();
        a_topic_map_lists_its_topics::<DashTopics>();
    }
}
