//! What replication can be refused for.

use crate::Incarnation;

/// Why a delta cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// There is no such lane.
    #[error("lane {lane} does not exist, there are {lanes}")]
    NoSuchLane {
        /// The lane asked for.
        lane: u16,
        /// How many there are.
        lanes: u16,
    },
    /// The log no longer reaches back so far: a snapshot is needed.
    #[error("the log reaches back to clock {oldest} only")]
    Compacted {
        /// The least clock from which a delta can be told.
        oldest: u64,
    },
    /// The clock asked for has not come yet.
    #[error("the lane is at clock {clock} only")]
    Ahead {
        /// The lane's clock.
        clock: u64,
    },
}

/// Why a node's life is not accepted. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// That is this node.
    #[error("that is this node")]
    IsLocal,
    /// A later life of that node is known.
    #[error("a later life of that node is known: {highest}")]
    Stale {
        /// The highest incarnation known.
        highest: Incarnation,
    },
    /// As many nodes are known as the configuration allows.
    #[error("origins_max is reached: the limit is {max} nodes")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// No lanes, or more than 256.
    #[error("a node has 1 to 256 lanes, not {lanes}")]
    Lanes {
        /// What was announced.
        lanes: u16,
    },
}

/// Why something of another node's lane was not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The node is not known, or was forgotten. Nothing has changed.
    #[error("the node is not known")]
    UnknownOrigin,
    /// Another life of the node is known. Nothing has changed.
    #[error("the life known of that node is {known}")]
    Incarnation {
        /// That one.
        known: Incarnation,
    },
    /// The node announced fewer lanes. Nothing has changed.
    #[error("lane {lane} does not exist, the node announced {lanes}")]
    NoSuchLane {
        /// The lane named.
        lane: u16,
        /// How many the node has.
        lanes: u16,
    },
    /// The delta begins after the clock held here: what is between is missing. Nothing has changed.
    #[error("operations between clock {have} and the delta are missing")]
    Gap {
        /// The clock held here.
        have: u64,
    },
    /// A snapshot of this lane is under way: the delta is to be kept until it is through. Nothing has changed.
    #[error("a snapshot of the lane is under way")]
    SnapshotUnderWay,
    /// The lane is not as its owner's was at its clock; only a snapshot is accepted. Nothing has changed.
    #[error("the lane needs a snapshot")]
    Unclean,
    /// It contradicts itself (clocks, order, lengths). Nothing has changed; it was not made by a headcount.
    #[error("malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A topic, key or meta is over this node's limit. Nothing has changed, and the lane cannot go on until limits agree.
    #[error("{field} is {len} bytes, the limit here is {max}")]
    TooLong {
        /// `"topic"`, `"key"` or `"meta"`.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A limit is reached. What came before in the delta was applied; the lane needs a snapshot.
    #[error("{field} is reached: the limit is {max}")]
    Full {
        /// The configuration field that sets the limit.
        field: &'static str,
        /// The limit.
        max: usize,
    },
    /// It speaks of an entry that should be held and is not: the lane has diverged and needs a whole snapshot. What came
    /// before it was applied.
    #[error("the entry born at clock {birth} is not held")]
    Diverged {
        /// The birth named.
        birth: u64,
    },
    /// The snapshot would not bring anything newer, or needs an older one before it. Nothing has changed.
    #[error("a snapshot from {base} as of {as_of} does not fit a lane at clock {have}")]
    SnapshotMisfit {
        /// What it builds on.
        base: u64,
        /// What it would lead to.
        as_of: u64,
        /// The clock held here.
        have: u64,
    },
    /// No snapshot of this lane is under way, or the chunk is not its next one. The snapshot is aborted.
    #[error("not the next part of a snapshot under way")]
    OutOfTurn,
    /// The tracker was shut down. Nothing has changed.
    #[error("the tracker is shut down")]
    Shutdown,
}
