//! The verdicts, for people and for programs.

use super::judge::{Kind, Limits, Outcome, Row, Verdict};
use crate::results::{DIFF, Head};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// What `--json` prints. The keys are stable: other programs read them.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    head: Head,
    old: String,
    new: String,
    /// What is allowed of each kind that is judged.
    max_regression_percent: &'a BTreeMap<Kind, f64>,
    regressions: usize,
    notes: &'a [String],
    rows: &'a [Row],
}

pub(crate) fn json(
    out: &mut impl Write,
    (old, new): (&Path, &Path),
    limits: &Limits,
    outcome: &Outcome,
) -> io::Result<()> {
    let report = Report {
        head: DIFF.head(),
        old: old.display().to_string(),
        new: new.display().to_string(),
        max_regression_percent: limits.percents(),
        regressions: outcome.worse(),
        notes: &outcome.notes,
        rows: &outcome.rows,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

/// At most 110 columns wide, but for names of more than 34.
pub(crate) fn table(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    for note in &outcome.notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(
        out,
        "{:<34} {:<12} {:>10} {:>10} {:>10} {:>10}  verdict",
        "operation", "what", "old", "new", "change", "allowed"
    )?;
    for row in &outcome.rows {
        let verdict = match row.verdict {
            Verdict::Worse => "WORSE",
            Verdict::Noise => "noise",
            Verdict::Same => "same",
            Verdict::Better => "better",
            Verdict::Missing => "MISSING",
            Verdict::Gone => "gone",
            Verdict::New => "new",
            Verdict::Shown => "",
        };
        let line = format!(
            "{:<34} {:<12} {:>10} {:>10} {:>10} {:>10}  {verdict}",
            row.name,
            unit(row.kind),
            number(row.old),
            number(row.new),
            row.change_percent.map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} %")),
            row.tolerance_percent.map_or_else(|| "-".to_owned(), |tolerance| format!("{tolerance:.1} %")),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    let worse = outcome.worse();
    let judged =
        outcome.rows.iter().filter(|row| row.tolerance_percent.is_some() || row.verdict == Verdict::Missing);
    let judged = judged.count();
    writeln!(out, "{worse} of {judged} that are judged got worse")
}

fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Instructions => "instructions",
        Kind::Ratio => "ratio",
        Kind::Memory => "B an entry",
        Kind::Time => "ns",
        Kind::Tail => "ns, p99.99",
        Kind::Longest => "us of CPU",
    }
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0.01 => format!("{value:.5}"),
        Some(value) if value < 100.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}
