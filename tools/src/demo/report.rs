//! What the demo found out: for people, and as one JSON object.

use super::busy::Cost;
use crate::number::grouped;
use crate::visible::Visible;
use serde::Serialize;
use std::fmt::Write;

/// Every figure. What was not reached is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) nodes: usize,
    pub(crate) entries: usize,
    pub(crate) clients: usize,
    pub(crate) topics: usize,
    /// From the first process started until every node had every other one as a member.
    pub(crate) start_ms: Option<u64>,
    /// From the first JOIN to the last reply.
    pub(crate) fill_ms: Option<u64>,
    /// From the last reply until every node counted every entry.
    pub(crate) settle_ms: Option<u64>,
    pub(crate) joins_per_s: Option<u64>,
    /// Of deltas, as multicast by all nodes during the fill.
    pub(crate) wire_bytes_per_join: Option<f64>,
    /// With heartbeats, repairs and snapshots.
    pub(crate) wire_total_bytes_per_join: Option<f64>,
    /// Of key and metadata alone.
    pub(crate) payload_bytes_per_join: Option<f64>,
    pub(crate) visible_us: Option<Visible>,
    /// Of one node while nothing happened; with --load only.
    pub(crate) quiet_cost: Option<Cost>,
    /// Changes that were made under --load, and what was measured meanwhile.
    pub(crate) busy_changes_per_s: Option<u64>,
    pub(crate) busy_visible_us: Option<Visible>,
    pub(crate) busy_cost: Option<Cost>,
    /// Entries of the node that was killed.
    pub(crate) crash_entries: Option<usize>,
    /// From SIGKILL until every survivor counted what was left.
    pub(crate) crash_noticed_ms: Option<u64>,
    /// From the start of the new process until it counted what the others did.
    pub(crate) rejoin_ms: Option<u64>,
    /// From the first JOIN of its clients until every node counted every entry again.
    pub(crate) refill_ms: Option<u64>,
    /// Entries of the life that was killed, listed anywhere at the end.
    pub(crate) old_life_entries: Option<usize>,
    /// Entries compared one by one at the end, on all nodes together.
    pub(crate) compared: Option<usize>,
    pub(crate) views_equal: bool,
    pub(crate) repairs_sent: Option<u64>,
    pub(crate) snapshot_lanes_taken: Option<u64>,
    pub(crate) elapsed_ms: u64,
    pub(crate) errors: Vec<String>,
}

impl Report {
    /// Whether everything was done and is as it should be.
    pub(crate) fn is_good(&self) -> bool {
        self.views_equal && self.errors.is_empty()
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "\nheadcount demo: {} nodes (processes), {} entries in {} topics, {} clients\n\n",
            self.nodes,
            grouped(self.entries as u64),
            grouped(self.topics as u64),
            grouped(self.clients as u64),
        );
        for (name, value, meaning) in self.rows() {
            let _ = writeln!(text, "  {name:<10} {value:>12}   {meaning}");
        }
        text.push('\n');
        if self.is_good() {
            let _ = writeln!(text, "  All good, in {}.", seconds(self.elapsed_ms));
            if cfg!(debug_assertions) {
                text.push_str("  (A debug build: cargo run --release shows what it can do.)\n");
            }
        } else {
            let _ = writeln!(text, "  FAILED, after {}:", seconds(self.elapsed_ms));
            for error in &self.errors {
                let _ = writeln!(text, "  - {error}");
            }
        }
        text
    }

    fn rows(&self) -> Vec<(&'static str, String, String)> {
        let mut rows = Vec::new();
        let mut row = |name, value: String, meaning: String| rows.push((name, value, meaning));
        if let Some(ms) = self.start_ms {
            row("start", millis(ms), format!("until {} processes knew each other", self.nodes));
        }
        if let (Some(ms), Some(rate)) = (self.fill_ms, self.joins_per_s) {
            let meaning = format!("for {} joins: {} a second", grouped(self.entries as u64), grouped(rate));
            row("fill", millis(ms), meaning);
        }
        if let Some(ms) = self.settle_ms {
            row("settle", millis(ms), "later every node listed all of them".into());
        }
        if let (Some(bytes), Some(payload)) = (self.wire_bytes_per_join, self.payload_bytes_per_join) {
            row(
                "wire",
                format!("{bytes:.1} B"),
                format!("a join on the network; its key and meta are {payload:.1} B"),
            );
        }
        if let Some(cost) = self.quiet_cost {
            row("quiet", cost.cpu(), cost.meaning());
        }
        let mut visible = |name, visible: Visible, on: &str| {
            let samples = grouped(visible.samples as u64);
            row(name, micros(visible.p50), format!("median, from JOIN on one node to EVENT on another{on}"));
            row(
                "",
                micros(visible.p99),
                format!("99 of 100 were faster ({samples} measured, client to client)"),
            );
            row("", micros(visible.max), "the slowest".into());
        };
        if let Some(idle) = self.visible_us {
            visible("visible", idle, "");
        }
        if let (Some(busy), Some(rate)) = (self.busy_visible_us, self.busy_changes_per_s) {
            visible("busy", busy, &format!(", under {} changes a second", grouped(rate)));
        }
        if let Some(cost) = self.busy_cost {
            row("", cost.cpu(), cost.meaning());
        }
        if let (Some(ms), Some(entries)) = (self.crash_noticed_ms, self.crash_entries) {
            let (victim, entries) = (self.nodes, grouped(entries as u64));
            row(
                "crash",
                millis(ms),
                format!("from kill -9 of node-{victim} until its {entries} entries were gone"),
            );
        }
        if let Some(ms) = self.rejoin_ms {
            row("rejoin", millis(ms), "from its next start until it listed all that the others hold".into());
        }
        if let Some(ms) = self.refill_ms {
            row("refill", millis(ms), "until its clients were back, on every node".into());
        }
        if let Some(entries) = self.old_life_entries {
            row("old life", grouped(entries as u64), "entries of the killed process still listed".into());
        }
        if let Some(compared) = self.compared {
            let equal = if self.views_equal { "equal" } else { "DIFFERENT" };
            row(
                "views",
                equal.into(),
                format!("on all nodes: {} entries compared", grouped(compared as u64)),
            );
        }
        rows
    }
}

fn millis(ms: u64) -> String {
    format!("{} ms", grouped(ms))
}

fn micros(us: u64) -> String {
    format!("{} µs", grouped(us))
}

#[expect(clippy::cast_precision_loss, reason = "a duration for people")]
fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_got_nowhere_says_why_and_is_not_good() {
        let report = Report { nodes: 3, errors: vec!["no luck".into()], ..Report::default() };
        assert!(!report.is_good());
        assert!(report.text().contains("FAILED") && report.text().contains("- no luck"));
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["views_equal"], false);
        assert_eq!(json["visible_us"], serde_json::Value::Null);
    }
}
