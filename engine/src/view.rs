//! What reads return: pages and snapshots of topics, and what is known of nodes.

use crate::{Entry, Incarnation, NodeId, Topic, Tracker};
use std::time::Duration;

/// One instant of a topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The shard of the topic.
    pub shard: u16,
    /// The shard's version at that instant: events with a greater version came after it.
    pub version: u64,
    /// The entries, in the order in which they came to this node.
    pub entries: Vec<Entry>,
}

/// Where a listing goes on. Belongs to the topic that it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageToken(pub(crate) u64);

/// Part of a listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The entries, in the order in which they came to this node.
    pub entries: Vec<Entry>,
    /// Where to go on; `None` after the last page.
    pub next: Option<PageToken>,
}

/// A topic, page by page. Made by [`Tracker::pages`].
#[derive(Clone, Debug)]
pub struct Pages {
    tracker: Tracker,
    topic: Topic,
    page_len: usize,
    /// `None` after the last page.
    after: Option<Option<PageToken>>,
}

impl Pages {
    pub(crate) fn new(tracker: Tracker, topic: Topic, page_len: usize) -> Self {
        Self { tracker, topic, page_len, after: Some(None) }
    }
}

impl Iterator for Pages {
    type Item = Vec<Entry>;

    fn next(&mut self) -> Option<Vec<Entry>> {
        let after = self.after?;
        let page = self.tracker.list_page(&self.topic, after, self.page_len);
        self.after = page.next.map(Some);
        (!page.entries.is_empty()).then_some(page.entries)
    }
}

/// Whether a node is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum NodeState {
    /// This node.
    Local,
    /// Heard in time.
    Up,
    /// Not heard for a while; its entries are still listed.
    Suspect,
    /// Not heard for so long that its entries are hidden.
    Down,
}

/// What this node knows of a node.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its name; empty for a node that was given none.
    pub name: String,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Whether it is heard.
    pub state: NodeState,
    /// How long ago it was heard last: how stale its entries can be, beyond what is under way. `None` for this node.
    pub heard_age: Option<Duration>,
    /// Its entries here, hidden or not.
    pub entries: usize,
}
