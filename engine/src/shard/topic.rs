//! A topic: its members in the order in which they came, how many each origin has, and who listens.

use super::counts::OriginCounts;
use crate::Topic;
use crate::entry::OriginIx;
use crate::inbox::Inbox;
use crate::sync::Arc;
use std::collections::BTreeMap;

/// What a shard keeps of one topic. It stays while it has members or listeners.
#[derive(Debug)]
pub(crate) struct TopicRecord {
    pub(crate) name: Topic,
    /// Position → slot. A position is given when an entry joins and kept through its updates, so that a page can go on
    /// after the last position of the one before and neither lose nor repeat a member.
    members: BTreeMap<u64, u32>,
    next_position: u64,
    by_origin: OriginCounts,
    pub(crate) listeners: Vec<Arc<Inbox>>,
}

impl TopicRecord {
    pub(crate) fn new(name: Topic) -> Self {
        Self {
            name,
            members: BTreeMap::new(),
            next_position: 1,
            by_origin: OriginCounts::default(),
            listeners: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.listeners.is_empty()
    }

    pub(crate) fn count_of(&self, origin: OriginIx) -> usize {
        self.by_origin.of(origin)
    }

    /// Adds a member; returns its position.
    pub(crate) fn join(&mut self, slot: u32, origin: OriginIx) -> u64 {
        let position = self.next_position;
        self.next_position += 1;
        self.members.insert(position, slot);
        self.by_origin.add(origin);
        position
    }

    pub(crate) fn leave(&mut self, position: u64, origin: OriginIx) {
        self.members.remove(&position);
        self.by_origin.remove(origin);
    }

    /// Slots of the members after a position, in order.
    pub(crate) fn after(&self, position: u64) -> impl Iterator<Item = u32> + '_ {
        self.members.range(position + 1..).map(|(_, &slot)| slot)
    }
}
