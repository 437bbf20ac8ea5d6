//! Causality: a lane is one shard's totally ordered stream of this node's own operations.

mod log;

pub(crate) use log::{Logged, OperationLog};

use crate::replica::LaneSummary;
use crate::sync::AtomicU64;
use std::collections::BTreeMap;

/// What a shard keeps of the lane that it writes.
#[derive(Debug)]
pub(crate) struct OwnLane {
    /// The clock of the last operation; 0 before the first.
    pub(crate) clock: u64,
    /// Wrapping sum of [`Record::digest`](crate::entry::Record::digest) over the live entries.
    pub(crate) digest: u64,
    /// Live entries by the clock of their dot.
    pub(crate) by_dot: BTreeMap<u64, u32>,
    pub(crate) log: OperationLog,
    /// The highest clock at which a delta was told that ended short of it.
    pub(crate) cut_as_of: AtomicU64,
}

impl OwnLane {
    pub(crate) fn new(log_max: usize) -> Self {
        Self {
            clock: 0,
            digest: 0,
            by_dot: BTreeMap::new(),
            log: OperationLog::new(log_max),
            cut_as_of: AtomicU64::new(0),
        }
    }

    /// Clock, count and digest.
    pub(crate) fn summary(&self) -> LaneSummary {
        LaneSummary { clock: self.clock, count: self.by_dot.len() as u64, digest: self.digest }
    }

    /// The next operation's clock.
    pub(crate) fn tick(&mut self, logged: impl FnOnce(u64) -> Logged) -> u64 {
        self.clock += 1;
        self.log.push(logged(self.clock));
        self.clock
    }
}
