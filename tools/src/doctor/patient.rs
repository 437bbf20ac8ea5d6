//! A process as it is examined: two looks at its counters, and what the system knows of it.

use super::sample::{Node, Sample};
use super::system::System;
use crate::inspect::choose::{is_alive, name_of};
use headcount::counters::{Life, Reader};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// See the module's documentation. Plain values: tests make them up.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) pid: u32,
    pub(crate) file: PathBuf,
    pub(crate) life: Life,
    /// How long ago it made its file.
    pub(crate) age: Duration,
    pub(crate) before: Sample,
    pub(crate) now: Sample,
    /// Between the two looks.
    pub(crate) between: Duration,
    pub(crate) lag: Lag,
    pub(crate) system: System,
}

/// How late the turns of the network thread began, between the two looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lag {
    pub(crate) turns: u64,
    /// Nanoseconds that 99 of 100 turns did not exceed.
    pub(crate) p99: u64,
}

impl Patient {
    pub(crate) fn new(reader: &Reader, (before, at): (Sample, Instant)) -> Self {
        let now = Sample::of(reader);
        let between = at.elapsed();
        let turns = now.loop_lag.since(&before.loop_lag);
        let lag = Lag { turns: turns.count(), p99: turns.quantile(0.99).unwrap_or(0) };
        Self {
            name: name_of(reader),
            cluster: reader.fact("cluster").unwrap_or_default(),
            pid: reader.pid(),
            file: reader.path().to_owned(),
            life: reader.life(),
            age: SystemTime::now().duration_since(reader.created()).unwrap_or_default(),
            before,
            now,
            between,
            lag,
            system: System::of(reader.pid()),
        }
    }

    /// Its node, if it is a member of a cluster at present.
    pub(crate) fn member(&self) -> Option<&Node> {
        self.now.node.as_ref().filter(|node| node.status == 2)
    }

    /// What a number of the traffic grew by between the two looks.
    pub(crate) fn net_more(&self, name: &str) -> u64 {
        self.now.net(name).saturating_sub(self.before.net(name))
    }

    /// How much something that grew so much between the two looks grows in a second.
    pub(crate) fn per_second(&self, more: u64) -> u64 {
        let millis = u64::try_from(self.between.as_millis()).unwrap_or(u64::MAX).max(1);
        more.saturating_mul(1000) / millis
    }

    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.life)
    }
}
