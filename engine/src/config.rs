//! Limits and sizes of a tracker, checked once, when it is built.

use crate::counters::Counters;
use crate::{ConfigError, NodeId, Tracker};

/// How to build a [`Tracker`]. Every field has a default that suits a server; every field is checked by
/// [`build`](Self::build).
///
/// ```
/// use headcount::{Config, ConfigError};
/// let tracker = Config::default().shards(64).topic_len_max(64).build()?;
/// assert_eq!(tracker.config().shard_count(), 64);
///
/// let refused = Config::default().shards(48).build().unwrap_err();
/// assert_eq!(refused.to_string(), "shards is 48, it must be a power of two");
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) shards: usize,
    pub(crate) node: NodeId,
    pub(crate) topic_len_max: usize,
    pub(crate) key_len_max: usize,
    pub(crate) meta_len_max: usize,
    pub(crate) session_entries_max: usize,
    pub(crate) shard_entries_max: usize,
    pub(crate) subscription_queue_max: usize,
    pub(crate) lane_log_max: usize,
    pub(crate) origins_max: usize,
    pub(crate) origin_entries_max: usize,
    pub(crate) key_entries_max: usize,
    pub(crate) memory_max: usize,
    pub(crate) counters: Counters,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            shards: (4 * cores).next_power_of_two().clamp(16, 256),
            node: NodeId(0),
            topic_len_max: 256,
            key_len_max: 256,
            meta_len_max: 512,
            session_entries_max: 1 << 20,
            shard_entries_max: 1 << 24,
            subscription_queue_max: 8192,
            lane_log_max: 8192,
            origins_max: 1024,
            origin_entries_max: 1 << 26,
            key_entries_max: 4096,
            memory_max: 1 << 34,
            counters: Counters::private(),
        }
    }
}

impl Config {
    /// Shards of the tracker, and so lanes of its replication: a power of two within 1..=256. Default: four for each
    /// core, rounded up, within 16..=256. Nodes of one cluster need not agree.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// The id that this node's refs carry until a cluster is joined, which sets its own. Default: 0.
    #[must_use]
    pub fn node(mut self, node: NodeId) -> Self {
        self.node = node;
        self
    }

    /// Longest topic, in bytes, 0..=65,535. Default 256: with the defaults of key and meta, an entry fits one datagram.
    #[must_use]
    pub fn topic_len_max(mut self, bytes: usize) -> Self {
        self.topic_len_max = bytes;
        self
    }

    /// Longest key, in bytes, 0..=65,535. Default 256.
    #[must_use]
    pub fn key_len_max(mut self, bytes: usize) -> Self {
        self.key_len_max = bytes;
        self
    }

    /// Longest meta, in bytes, 0..=65,535. Default 512.
    #[must_use]
    pub fn meta_len_max(mut self, bytes: usize) -> Self {
        self.meta_len_max = bytes;
        self
    }

    /// Most entries that one session may hold, 1..=2³². Default 2²⁰.
    #[must_use]
    pub fn session_entries_max(mut self, entries: usize) -> Self {
        self.session_entries_max = entries;
        self
    }

    /// Most entries of one shard, this node's and other nodes' together, 1..=2²⁷. Default 2²⁴. A topic lives in one
    /// shard, so this bounds a topic too.
    #[must_use]
    pub fn shard_entries_max(mut self, entries: usize) -> Self {
        self.shard_entries_max = entries;
        self
    }

    /// Events that a subscription holds for a reader that does not come, 1..=2²⁴, before it is told
    /// [`Lagged`](crate::EventKind::Lagged). Default 8192.
    #[must_use]
    pub fn subscription_queue_max(mut self, events: usize) -> Self {
        self.subscription_queue_max = events;
        self
    }

    /// Own operations that each lane remembers, 8 B each, for peers that ask what they missed, 16..=2²⁴. A peer that is
    /// further behind takes a snapshot. Default 8192.
    #[must_use]
    pub fn lane_log_max(mut self, operations: usize) -> Self {
        self.lane_log_max = operations;
        self
    }

    /// Most other nodes known at once, 1..=32,768. Default 1024.
    #[must_use]
    pub fn origins_max(mut self, nodes: usize) -> Self {
        self.origins_max = nodes;
        self
    }

    /// Most entries accepted from one other node, 1..=2³². Default 2²⁶.
    #[must_use]
    pub fn origin_entries_max(mut self, entries: usize) -> Self {
        self.origin_entries_max = entries;
        self
    }

    /// Most entries with the same key in the same topic, of all sessions and nodes, 1..=2¹⁶. Default 4096. Each change of one of
    /// them takes time in proportion to their number.
    #[must_use]
    pub fn key_entries_max(mut self, entries: usize) -> Self {
        self.key_entries_max = entries;
        self
    }

    /// Most bytes of memory for entries, topics and their indexes, 2²⁴..=2³⁶. Default 2³⁴ (16 GiB), some 140 million entries. So
    /// much address space is reserved when the tracker is built, rounded up to a power of two; memory is used only as entries come, and
    /// given back in units of 2 MiB. What does not fit is refused with [`Error::Full`](crate::Error::Full). Where the system does not grant
    /// so much address space, half as much is asked for until it does.
    #[must_use]
    pub fn memory_max(mut self, bytes: usize) -> Self {
        self.memory_max = bytes;
        self
    }

    /// Where the tracker counts what it does, for other processes to see. One tracker counts in one [`Counters`]: of several that are
    /// built with the same, the first does. Default: [`Counters::private`], which nobody else sees.
    #[must_use]
    pub fn counters(mut self, counters: Counters) -> Self {
        self.counters = counters;
        self
    }

    /// Checks every field and builds the tracker.
    ///
    /// # Errors
    /// The first field that is out of its range, by name; nothing is built.
    pub fn build(self) -> Result<Tracker, ConfigError> {
        self.check()?;
        Ok(Tracker::with_config(self))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bounded = [
            ("shards", self.shards, 1, 256),
            ("topic_len_max", self.topic_len_max, 0, 65_535),
            ("key_len_max", self.key_len_max, 0, 65_535),
            ("meta_len_max", self.meta_len_max, 0, 65_535),
            ("session_entries_max", self.session_entries_max, 1, 1 << 32),
            ("shard_entries_max", self.shard_entries_max, 1, 1 << 27),
            ("subscription_queue_max", self.subscription_queue_max, 1, 1 << 24),
            ("lane_log_max", self.lane_log_max, 16, 1 << 24),
            ("origins_max", self.origins_max, 1, 32_768),
            ("origin_entries_max", self.origin_entries_max, 1, 1 << 32),
            ("key_entries_max", self.key_entries_max, 1, 1 << 16),
            ("memory_max", self.memory_max, 1 << 24, 1 << 36),
        ];
        for (field, value, min, max) in bounded {
            let value = value as u64;
            if value < min || value > max {
                return Err(ConfigError::OutOfRange { field, value, min, max });
            }
        }
        if !self.shards.is_power_of_two() {
            return Err(ConfigError::NotAPowerOfTwo { field: "shards", value: self.shards as u64 });
        }
        Ok(())
    }

    /// The number of shards.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards
    }

    /// The longest topic, key and meta, in bytes, in that order.
    #[must_use]
    pub fn len_limits(&self) -> [usize; 3] {
        [self.topic_len_max, self.key_len_max, self.meta_len_max]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_named_with_the_value_and_the_limits() {
        let refused = Config::default().shards(0).build().unwrap_err();
        assert_eq!(refused, ConfigError::OutOfRange { field: "shards", value: 0, min: 1, max: 256 });
        let refused = Config::default().lane_log_max(3).build().unwrap_err();
        assert_eq!(refused.to_string(), "lane_log_max is 3, it must be within 16..=16777216");
        let refused = Config::default().meta_len_max(65_536).build().unwrap_err();
        assert_eq!(refused.to_string(), "meta_len_max is 65536, it must be within 0..=65535");
    }

    #[test]
    fn the_default_is_valid_and_shards_are_a_power_of_two() {
        let tracker = Config::default().build().expect("the default is valid");
        assert!(tracker.config().shard_count().is_power_of_two());
        assert!((16..=256).contains(&tracker.config().shard_count()));
    }
}
