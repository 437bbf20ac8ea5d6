//! What the lab found out: for people, and as one JSON object.

use super::links::Traffic;
use crate::number::grouped;
use crate::visible::Visible;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// All scenarios that were run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) elapsed_ms: u64,
    pub(crate) scenarios: Vec<Findings>,
}

/// One scenario. What was not reached, or does not apply, is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Findings {
    pub(crate) scenario: &'static str,
    pub(crate) ok: bool,
    /// Why it was not run.
    pub(crate) skipped: Option<String>,
    pub(crate) nodes: usize,
    pub(crate) seconds: u64,
    /// From the first process started until every node had every other one as a member.
    pub(crate) start_ms: Option<u64>,
    /// Changes that were made and answered, after those that filled the nodes.
    pub(crate) changes: u64,
    pub(crate) changes_per_s: Option<u64>,
    /// From the fault until every node that was to notice it had done so.
    pub(crate) noticed_ms: Option<u64>,
    /// From the end of the fault, or of the load, until every node counted as many entries as there are.
    pub(crate) counted_ms: Option<u64>,
    /// Until every node had listed exactly what there is: the time that listing and comparing takes is in it.
    pub(crate) converge_ms: Option<u64>,
    /// Sent meanwhile, by all nodes.
    pub(crate) converge_bytes: Option<u64>,
    pub(crate) views_equal: bool,
    /// Entries compared one by one at the end, on all nodes together.
    pub(crate) compared: Option<usize>,
    /// How often a node took another for dead.
    pub(crate) downs: Option<u64>,
    /// How often the scenario means that to happen.
    pub(crate) expected_downs: u64,
    /// Downs that were not meant.
    pub(crate) false_downs: Option<u64>,
    /// Dropped by the rules, by what the scenario did.
    pub(crate) packets_lost: Option<u64>,
    pub(crate) packets_cut: Option<u64>,
    /// Dropped by the kernel because a receive buffer was full.
    pub(crate) buffer_overflows: Option<u64>,
    pub(crate) visible_us: Option<Visible>,
    /// What passed each node's link, and what the node's process used, in the time that is told.
    pub(crate) measured_ms: Option<u64>,
    pub(crate) hosts: Vec<HostFindings>,
    /// What the nodes counted, all together.
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) notes: Vec<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) elapsed_ms: u64,
}

/// One node.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HostFindings {
    pub(crate) node: String,
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
    pub(crate) sent_packets_per_s: u64,
    pub(crate) sent_bits_per_s: u64,
    /// Of one processor.
    pub(crate) cpu_percent: f64,
}

impl Report {
    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for findings in &self.scenarios {
            findings.tell(&mut text);
        }
        let bad: Vec<&str> =
            self.scenarios.iter().filter(|found| !found.ok).map(|found| found.scenario).collect();
        let elapsed = grouped(self.elapsed_ms);
        let _ = match &bad[..] {
            [] => writeln!(text, "\nAll good, in {elapsed} ms."),
            bad => writeln!(text, "\nFAILED: {}, in {elapsed} ms.", bad.join(", ")),
        };
        text
    }
}

impl Findings {
    fn tell(&self, text: &mut String) {
        let verdict = match (&self.skipped, self.ok) {
            (Some(reason), _) => format!("left out: {reason}"),
            (None, true) => "good".into(),
            (None, false) => "FAILED".into(),
        };
        let _ = writeln!(text, "\n{}: {verdict}", self.scenario);
        if self.skipped.is_some() {
            return;
        }
        for (name, value) in self.rows() {
            let _ = writeln!(text, "  {name:<18} {value}");
        }
        for host in &self.hosts {
            let _ = writeln!(
                text,
                "  {:<18} sent {} B in {} packets ({} bit/s, {} packets/s), received {} B; {} % of a processor",
                host.node,
                grouped(host.traffic.sent_bytes),
                grouped(host.traffic.sent_packets),
                grouped(host.sent_bits_per_s),
                grouped(host.sent_packets_per_s),
                grouped(host.traffic.received_bytes),
                host.cpu_percent,
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "  PROBLEM: {problem}");
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let mut row = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
        let ms = |value: Option<u64>| value.map(|value| format!("{} ms", grouped(value)));
        row("noticed", ms(self.noticed_ms));
        row("counted", ms(self.counted_ms));
        let bytes = self.converge_bytes.map(grouped).unwrap_or_default();
        row("converged", ms(self.converge_ms).map(|time| format!("{time}, {bytes} B sent meanwhile")));
        row(
            "views",
            Some(match self.compared {
                Some(compared) if self.views_equal => {
                    format!("equal: {} entries compared", grouped(compared as u64))
                }
                _ => "DIFFERENT, or never compared".into(),
            }),
        );
        row(
            "downs",
            self.downs
                .map(|downs| format!("{downs}, of which {} false", self.false_downs.unwrap_or_default())),
        );
        row(
            "changes",
            self.changes_per_s.map(|rate| format!("{} ({} a second)", grouped(self.changes), grouped(rate))),
        );
        row(
            "visible",
            self.visible_us.map(|visible| {
                let [p50, p99, max] = [visible.p50, visible.p99, visible.max].map(grouped);
                format!("{p50} µs median, {p99} µs p99, {max} µs at most ({} measured)", visible.samples)
            }),
        );
        let some = |value: Option<u64>| value.filter(|&value| value > 0).map(grouped);
        row("lost packets", some(self.packets_lost));
        row("cut packets", some(self.packets_cut));
        row("buffer overflows", some(self.buffer_overflows));
        let counters = self.counters.iter().filter(|&(_, &value)| value > 0);
        let counters: Vec<String> =
            counters.map(|(name, &value)| format!("{name} {}", grouped(value))).collect();
        row("nodes say", Some(counters.join(", ")).filter(|counters| !counters.is_empty()));
        row("measured for", ms(self.measured_ms));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_scenario_shows_in_both_forms() {
        let problems = vec!["node-2 lists nothing".to_owned()];
        let found = Findings { scenario: "loss-5", problems, ..Findings::default() };
        let report = Report { scenarios: vec![found], ..Report::default() };
        assert!(report.text().contains("loss-5: FAILED") && report.text().contains("PROBLEM: node-2 lists"));
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["scenarios"][0]["ok"], false);
        assert_eq!(json["scenarios"][0]["converge_ms"], serde_json::Value::Null);
    }
}
