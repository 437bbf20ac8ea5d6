//! Two looks at the same process, and what happened between them.

use super::snapshot::Snapshot;
use headcount::counters::Distribution;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    pub(crate) before: &'a Snapshot,
    pub(crate) now: &'a Snapshot,
}

impl Span<'_> {
    pub(crate) fn seconds(&self) -> f64 {
        self.now.at.saturating_duration_since(self.before.at).as_secs_f64()
    }

    fn over(&self, more: u64) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 { more as f64 / seconds } else { 0.0 }
    }

    /// How fast a counter grows, all rows of its table together; `None` without such a table.
    pub(crate) fn rate(&self, table: &str, field: &str) -> Option<f64> {
        let now = self.now.sum(table, field)?;
        let before = self.before.sum(table, field).unwrap_or(0);
        Some(self.over(now.saturating_sub(before)))
    }

    /// How fast a counter of one row grows.
    pub(crate) fn row_rate(&self, table: &str, row: usize, field: &str) -> Option<f64> {
        let number = |of: &Snapshot| {
            let table = of.table(table)?;
            table.number(table.row(row)?, field)
        };
        let now = number(self.now)?;
        Some(self.over(now.saturating_sub(number(self.before).unwrap_or(0))))
    }

    /// What was recorded between the looks.
    pub(crate) fn times(&self, table: &str, row: usize, field: &str) -> Option<Distribution> {
        let times = |of: &Snapshot| {
            let table = of.table(table)?;
            table.times(table.row(row)?, field).cloned()
        };
        let now = times(self.now)?;
        Some(times(self.before).map_or_else(|| now.clone(), |before| now.since(&before)))
    }

    /// Changes a second: those of this node's sessions, and those of other nodes.
    pub(crate) fn changes(&self) -> Option<(f64, f64)> {
        let own = OWN_CHANGES.iter().map(|field| self.rate("shard", field)).sum::<Option<f64>>()?;
        Some((own, self.rate("shard", "remote_operations_total")?))
    }
}

/// What a shard counts of this node's own changes.
pub(crate) const OWN_CHANGES: [&str; 3] = ["tracked_total", "updated_total", "untracked_total"];
/// All changes of a shard.
pub(crate) const ALL_CHANGES: [&str; 4] =
    ["tracked_total", "updated_total", "untracked_total", "remote_operations_total"];

#[cfg(test)]
mod tests {
    use super::super::snapshot::tests::{Folder, taken};
    use super::*;
    use std::time::Duration;

    #[test]
    fn rates_are_what_came_between_the_looks_by_the_time_between_them() {
        let folder = Folder::new("span");
        let counters = folder.counters();
        let tracker = headcount::Config::default().shards(2).counters(counters.clone()).build().unwrap();
        let session = tracker.session();
        session.track("a", "x", "").unwrap();
        let before = taken(&counters);
        for key in 0..10 {
            session.track("b", key.to_string(), "").unwrap();
        }
        session.untrack("a", "x").unwrap();
        let mut now = taken(&counters);
        now.at = before.at + Duration::from_secs(2);
        let span = Span { before: &before, now: &now };
        assert_eq!(span.changes(), Some((5.5, 0.0)));
        assert_eq!(span.rate("shard", "tracked_total"), Some(5.0));
        let rows: f64 = (0..2).filter_map(|row| span.row_rate("shard", row, "tracked_total")).sum();
        assert_eq!((rows, span.rate("net", "gaps")), (5.0, None));
        now.at = before.at;
        assert_eq!(Span { before: &before, now: &now }.changes(), Some((0.0, 0.0)), "no time, no rate");
    }
}
