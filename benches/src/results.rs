//! What all results in JSON say of themselves: which schema they follow, and where they were measured.

use serde::{Deserialize, Serialize};
use std::fs;

/// The schema of what `compare --json` writes.
pub(crate) const COMPARE: Schema = Schema { name: "headcount-compare", version: 1 };
/// The schema of what `count gate --json` and `count measure --json` write.
pub(crate) const COUNT: Schema = Schema { name: "headcount-count", version: 1 };
/// The schema of what `diff --json` writes.
pub(crate) const DIFF: Schema = Schema { name: "headcount-diff", version: 1 };

/// A schema. Its version goes up when a field goes or changes its meaning; fields that are added leave it as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
}

impl Schema {
    /// The two fields that come first in a result.
    pub(crate) fn head(self) -> Head {
        Head { schema: self.name.to_owned(), version: self.version }
    }
}

/// What a result says of itself before anything else.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Head {
    pub(crate) schema: String,
    pub(crate) version: u32,
}

/// Where it ran.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, Debug)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    /// The kernel's setting for transparent huge pages.
    pub(crate) thp: String,
}

impl Machine {
    /// Where this runs, as far as it is known.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            thp: read("/sys/kernel/mm/transparent_hugepage/enabled").trim().to_owned(),
        }
    }
}
