//! The counts as other programs read them.

use super::Row;
use crate::results::{COUNT, Head, Machine};
use serde::Serialize;

/// What `count` writes with `--json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    head: Head,
    arch: &'static str,
    entries: usize,
    machine: Machine,
    operations: Vec<Row>,
}

impl Report {
    /// Counts that were made here, with so many resident entries.
    #[must_use]
    pub fn new(entries: usize, operations: Vec<Row>) -> Self {
        let (head, machine) = (COUNT.head(), Machine::here());
        Self { head, arch: std::env::consts::ARCH, entries, machine, operations }
    }
}
