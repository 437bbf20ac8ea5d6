//! What a subscription is told.

use crate::{Entry, Incarnation, NodeId, Topic};

/// A change of the view, with its place in the order of its shard.
///
/// The events of one topic come in the order in which they happened on this node; events of topics in different shards
/// are not ordered against each other.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The shard whose version this is; for node events and `Lagged`, 0.
    pub shard: u16,
    /// The shard's version after the change; for node events and `Lagged`, 0. Several events of one change share it.
    pub version: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. For each entry, joins and leaves alternate, and updates come between a join and its leave.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// An entry came into the view.
    Join(Entry),
    /// An entry left the view: it was untracked, its session ended, or its node is gone or down.
    Leave(Entry),
    /// An entry has a new version. One event, never a leave and a join.
    Update {
        /// The version before.
        old: Entry,
        /// The version now.
        new: Entry,
    },
    /// A topic has got its first entry; its `Join` follows.
    First(Topic),
    /// A topic has lost its last entry; its `Leave` came before.
    Empty(Topic),
    /// A node came up: its entries join (their events came before, where they were known already).
    NodeUp {
        /// Which.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// A node is down, has left, or its life was replaced by a later one; its entries have left.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// The subscription's queue was full and this many events were not delivered. What follows continues after the gap;
    /// [`resync`](crate::Subscription::resync) gets a whole view again.
    Lagged {
        /// How many.
        missed: u64,
    },
}
