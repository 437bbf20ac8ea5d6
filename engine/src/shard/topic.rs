//! A topic, as its shard's writer knows it: its members, how many each origin has, and who listens.

use super::commons::NameHash;
use crate::Topic;
use crate::inbox::Inbox;
use crate::kernel::counts::OriginCounts;
use crate::kernel::members::{Head, List};
use crate::memory::Run;
use crate::shard::layout::{at, topic_word};
use crate::sync::Arc;

/// The most slots that a topic takes at a time: half a page.
const RUN_MAX: usize = 21;

/// What a shard keeps of one topic beside the record that readers see. It stays while it has members or listeners.
#[derive(Debug)]
pub(crate) struct TopicRecord {
    pub(crate) name: Topic,
    pub(crate) hash: NameHash,
    /// The number of the record that readers see, and its stamp.
    pub(crate) id: u32,
    pub(crate) stamp: u64,
    pub(crate) list: List<0>,
    /// Slots for its next members.
    pub(crate) run: Run,
    /// Members of other origins than this node.
    pub(crate) others: OriginCounts<0>,
    /// Members that subscribers were told of: their last event was a join or an update, or would have been.
    pub(crate) told: usize,
    pub(crate) listeners: Vec<Arc<Inbox>>,
}

impl TopicRecord {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Slots that it takes at a time: its members lie near each other then, and few slots wait for members in vain.
    pub(crate) fn run_len(&self) -> u32 {
        (self.list.len() / 8).min(RUN_MAX) as u32
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.list.len() == 0 && self.listeners.is_empty()
    }

    /// Where the list of its members begins.
    pub(crate) fn head(&self) -> Head {
        Head { record: at(self.id), word: topic_word::HEAD, stamp: self.stamp }
    }
}
