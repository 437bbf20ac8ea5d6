//! What is reported. The keys are stable: other programs read them.

use crate::results::{Head, Machine};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// One run.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) head: Head,
    pub(crate) entries: usize,
    pub(crate) seed: u64,
    /// Fewer operations a turn than without.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) machine: Machine,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// The same with huge pages asked of `malloc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) huge_pages: Option<Figures>,
}

/// What one process measured.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Figures {
    pub(crate) huge_pages_used: HugePages,
    pub(crate) operations: IndexMap<String, Operation>,
    /// Ours at `entries` resident, against ours at a tenth of it.
    pub(crate) delta_apply_growth: Option<f64>,
    pub(crate) longest_write: IndexMap<String, LongestWrite>,
    pub(crate) tail: Option<Tail>,
    /// With a reader that reads in bursts.
    pub(crate) tail_bursts: Option<Tail>,
    pub(crate) memory: Option<Memory>,
}

/// Whether `malloc` was asked for huge pages, and what the process had of them with all contestants resident. Some of
/// them may have been asked for by a contestant itself.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub(crate) struct HugePages {
    pub(crate) malloc_asks: bool,
    pub(crate) in_effect: bool,
    pub(crate) anon_huge_kib: u64,
    pub(crate) rss_kib: u64,
}

/// One operation, by everybody who has it.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Operation {
    pub(crate) contestants: IndexMap<String, Figure>,
    pub(crate) best_peer: Option<String>,
    pub(crate) ratio_to_best_peer: Option<f64>,
    /// CPU time against the peer that takes least of it.
    pub(crate) ratio_to_best_peer_cpu: Option<f64>,
    /// Ours against each peer.
    pub(crate) ratios: IndexMap<String, f64>,
}

/// Nanoseconds an operation: medians over the rounds, and the extremes.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Figure {
    pub(crate) wall_ns: f64,
    pub(crate) cpu_ns: f64,
    pub(crate) wall_ns_min: f64,
    pub(crate) wall_ns_max: f64,
    pub(crate) rounds: usize,
}

/// The longest of all writes of a kind.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct LongestWrite {
    pub(crate) contestants: IndexMap<String, LongestFigure>,
    pub(crate) best_peer: Option<String>,
    pub(crate) ratio_to_best_peer: Option<f64>,
}

/// Microseconds: the least and the greatest over the processes. Wall and CPU time may be of different operations.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub(crate) struct LongestFigure {
    pub(crate) wall_us: f64,
    pub(crate) cpu_us: f64,
    pub(crate) wall_us_max: f64,
    pub(crate) cpu_us_max: f64,
}

impl LongestFigure {
    pub(crate) fn new(wall_us: f64, cpu_us: f64) -> Self {
        Self { wall_us, cpu_us, wall_us_max: wall_us, cpu_us_max: cpu_us }
    }

    /// Takes in another process's.
    pub(crate) fn take(&mut self, other: Self) {
        self.wall_us = self.wall_us.min(other.wall_us);
        self.cpu_us = self.cpu_us.min(other.cpu_us);
        self.wall_us_max = self.wall_us_max.max(other.wall_us_max);
        self.cpu_us_max = self.cpu_us_max.max(other.cpu_us_max);
    }
}

/// Single reads beside more writers than there are cores.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Tail {
    pub(crate) writers: usize,
    pub(crate) seconds: f64,
    pub(crate) contestants: IndexMap<String, TailFigure>,
    /// The best of the maps whose readers lock, by p99.99.
    pub(crate) best_locked: Option<String>,
    /// The p99.99 of that one against ours: how many times shorter ours is.
    pub(crate) ratio_best_locked_to_ours: Option<f64>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub(crate) struct TailFigure {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) p9999_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
}

/// Resident bytes, each contestant in a process of its own.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Memory {
    pub(crate) contestants: IndexMap<String, MemoryFigure>,
    pub(crate) best_peer: Option<String>,
    pub(crate) ratio_to_best_peer: Option<f64>,
}

/// One process.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub(crate) struct MemoryFigure {
    pub(crate) bytes_per_entry: f64,
    pub(crate) rss_before_kib: u64,
    pub(crate) rss_full_kib: u64,
    pub(crate) rss_after_leave_kib: u64,
    /// What was left of `bytes_per_entry` when every entry had left.
    pub(crate) memory_after_leave: f64,
    /// The part that went back to the system then, 0 to 1.
    pub(crate) given_back: f64,
}
