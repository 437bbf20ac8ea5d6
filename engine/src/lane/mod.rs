//! Causality: a lane is one shard's totally ordered stream of this node's own operations.

mod index;
mod log;

pub(crate) use index::DotIndex;
pub(crate) use log::{Logged, OperationLog};

use crate::replica::LaneSummary;
use crate::sync::AtomicU64;

/// What a shard keeps of the lane that it writes.
#[derive(Debug)]
pub(crate) struct OwnLane {
    /// The clock of the last operation; 0 before the first.
    pub(crate) clock: u64,
    /// Wrapping sum of [`digest`](crate::entry::digest) over the live entries.
    pub(crate) digest: u64,
    /// Live entries by the clock of their dot.
    pub(crate) dots: DotIndex,
    pub(crate) log: OperationLog,
    /// The highest clock at which a delta was told that ended short of it.
    pub(crate) cut_as_of: AtomicU64,
}

impl OwnLane {
    pub(crate) fn new(log_max: usize) -> Self {
        Self {
            clock: 0,
            digest: 0,
            dots: DotIndex::default(),
            log: OperationLog::new(log_max),
            cut_as_of: AtomicU64::new(0),
        }
    }

    /// Clock, count and digest.
    pub(crate) fn summary(&self) -> LaneSummary {
        LaneSummary { clock: self.clock, count: self.dots.len() as u64, digest: self.digest }
    }

    /// Counts one more operation.
    pub(crate) fn tick(&mut self, logged: Logged) {
        self.clock += 1;
        self.log.push(logged);
    }
}
