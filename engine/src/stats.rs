//! Numbers about a tracker.

/// Numbers about a tracker, each read while others may change: they need not add up to the last one.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Entries stored: this node's and other nodes', hidden ones included.
    pub entries: usize,
    /// Entries of this node's sessions.
    pub entries_local: usize,
    /// Entries of other nodes, hidden ones included.
    pub entries_remote: usize,
    /// Topics with entries or listeners.
    pub topics: usize,
    /// Live sessions.
    pub sessions: usize,
    /// Live subscriptions.
    pub subscriptions: usize,
    /// Live subscriptions whose reader has yet to be told that it missed events.
    pub subscriptions_lagging: usize,
    /// Events that wait in the fullest queue of a subscription.
    pub queue_longest: usize,
    /// Other nodes known.
    pub nodes_remote: usize,
    /// Lives of other nodes that are over and whose entries, hidden, wait to be purged.
    pub origins_purging: usize,
    /// Entries tracked since the start.
    pub tracked_total: u64,
    /// Updates since the start.
    pub updated_total: u64,
    /// Entries untracked since the start, by sessions that ended too.
    pub untracked_total: u64,
    /// Changes applied for other nodes since the start.
    pub remote_operations_total: u64,
    /// Events queued for subscriptions since the start, each subscription counted.
    pub events_total: u64,
    /// Events that live subscriptions missed because their queues were full.
    pub events_missed_total: u64,
    /// Bytes of the arena in use, in pages of 4 KiB.
    pub memory_used_bytes: usize,
    /// Bytes of the arena that the system may have given memory for: units of 2 MiB with pages in use, or kept ready.
    pub memory_held_bytes: usize,
    /// Address space reserved for the arena, which is not memory.
    pub memory_reserved_bytes: usize,
    /// Whether the system agreed to huge pages for the arena.
    pub memory_huge_advised: bool,
    /// Shard by shard.
    pub shards: Vec<ShardStats>,
}

/// Numbers about one shard.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ShardStats {
    /// Entries stored, hidden ones included.
    pub entries: usize,
    /// Topics with entries or listeners.
    pub topics: usize,
    /// The clock of its lane: this node's operations since the start.
    pub clock: u64,
    /// Its version: all changes since the start.
    pub version: u64,
}
