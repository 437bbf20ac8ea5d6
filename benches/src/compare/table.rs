//! The report for people.

use super::report::{Figures, LongestWrite, Memory, Operation, Report, Tail};
use super::stats::OURS;
use indexmap::IndexMap;
use std::io::{self, Write};

/// Writes the tables, at most 110 columns wide.
pub(crate) fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let machine = &report.machine;
    writeln!(out, "{} entries, seed {}, median of {} rounds", report.entries, report.seed, report.rounds)?;
    writeln!(out, "{} cores, {}", machine.cores, machine.cpu)?;
    writeln!(out, "kernel {}, transparent huge pages: {}", machine.kernel, machine.thp)?;
    writeln!(
        out,
        "Nanoseconds of wall time an operation. A ratio is ours / theirs: below 1, ours is faster."
    )?;
    figures(out, "malloc as it is", &report.figures)?;
    if let Some(huge) = &report.huge_pages {
        figures(out, "malloc asked for huge pages, for everybody", huge)?;
    }
    Ok(())
}

fn figures(out: &mut impl Write, title: &str, figures: &Figures) -> io::Result<()> {
    let used = &figures.huge_pages_used;
    writeln!(
        out,
        "\n{title}: {} MiB of {} MiB in huge pages with all resident{}",
        used.anon_huge_kib >> 10,
        used.rss_kib >> 10,
        if used.malloc_asks && !used.in_effect { "; NOT in effect" } else { "" }
    )?;
    operations(out, &figures.operations)?;
    if let Some(growth) = figures.delta_apply_growth {
        writeln!(out, "Our delta into all against our delta into a tenth: {growth:.2}")?;
    }
    for (kind, longest) in &figures.longest_write {
        longest_write(out, kind, longest)?;
    }
    for (reader, figure) in [("reads", &figures.tail), ("bursts", &figures.tail_bursts)] {
        if let Some(figure) = figure {
            tail(out, reader, figure)?;
        }
    }
    if let Some(figure) = &figures.memory {
        memory(out, figure)?;
    }
    Ok(())
}

/// Names in columns are cut to their first word.
fn word(name: &str) -> &str {
    name.split('_').next().unwrap_or(name)
}

/// Whoever is a peer in any of the operations, in the order of their first appearance.
fn peers(operations: &IndexMap<String, Operation>) -> Vec<&str> {
    let mut peers: Vec<&str> = Vec::new();
    for name in operations.values().flat_map(|operation| operation.contestants.keys()) {
        if name != OURS && !peers.contains(&name.as_str()) {
            peers.push(name);
        }
    }
    peers
}

fn operations(out: &mut impl Write, operations: &IndexMap<String, Operation>) -> io::Result<()> {
    if operations.is_empty() {
        return Ok(());
    }
    let peers = peers(operations);
    write!(out, "{:<20}{:>8} {:>9} {:<9}{:>6}{:>6}", "operation", "ours", "best", "peer", "ratio", "cpu")?;
    for peer in &peers {
        write!(out, "{:>8}", word(peer))?;
    }
    writeln!(out)?;
    for (name, operation) in operations {
        let wall = |name: &str| operation.contestants.get(name).map(|figure| figure.wall_ns);
        let best = operation.best_peer.as_deref();
        write!(
            out,
            "{name:<20}{:>8} {:>9} ({:<8}{:>6}{:>6}",
            number(wall(OURS)),
            number(best.and_then(wall)),
            format!("{})", word(best.unwrap_or("none"))),
            fraction(operation.ratio_to_best_peer),
            fraction(operation.ratio_to_best_peer_cpu),
        )?;
        for peer in &peers {
            write!(out, "{:>8}", number(wall(peer)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn longest_write(out: &mut impl Write, kind: &str, longest: &LongestWrite) -> io::Result<()> {
    write!(out, "longest {kind}, us of CPU, least to greatest of the processes:")?;
    for (name, figure) in &longest.contestants {
        write!(out, "  {} {:.0}-{:.0}", word(name), figure.cpu_us, figure.cpu_us_max)?;
    }
    writeln!(out)
}

fn tail(out: &mut impl Write, reader: &str, tail: &Tail) -> io::Result<()> {
    let header = ["p50", "p99", "p99.9", "p99.99", "max", "reads", "writes"];
    write!(out, "\n{:<20}", format!("{reader}, {} writers", tail.writers))?;
    for column in header {
        write!(out, "{column:>12}")?;
    }
    writeln!(out)?;
    for (name, figure) in &tail.contestants {
        let times = [figure.p50_ns, figure.p99_ns, figure.p999_ns, figure.p9999_ns, figure.max_ns];
        write!(out, "{name:<20}")?;
        for column in times.into_iter().chain([figure.reads, figure.writes]) {
            write!(out, "{column:>12}")?;
        }
        writeln!(out)?;
    }
    if let (Some(best), Some(ratio)) = (&tail.best_locked, tail.ratio_best_locked_to_ours) {
        writeln!(out, "p99.99 of the best locked map ({best}) / ours: {ratio:.1}")?;
    }
    Ok(())
}

fn memory(out: &mut impl Write, memory: &Memory) -> io::Result<()> {
    writeln!(out, "\n{:<20}{:>14}{:>18}{:>12}", "memory", "B an entry", "B after leaving", "given back")?;
    for (name, figure) in &memory.contestants {
        let back = figure.given_back * 100.0;
        let (full, left) = (figure.bytes_per_entry, figure.memory_after_leave);
        writeln!(out, "{name:<20}{full:>14.1}{left:>18.1}{back:>10.0} %")?;
    }
    if let (Some(best), Some(ratio)) = (&memory.best_peer, memory.ratio_to_best_peer) {
        writeln!(out, "ours / best peer ({best}): {ratio:.2}")?;
    }
    Ok(())
}

/// In at most seven columns.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) if value < 1e6 => format!("{value:.0}"),
        Some(value) => format!("{:.1}M", value / 1e6),
    }
}

fn fraction(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0.01 => format!("{value:.4}").replacen('0', "", 1),
        Some(value) if value < 100.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::report::Figure;

    #[test]
    fn the_table_is_no_wider_than_110_columns_whatever_the_numbers() {
        let names =
            [OURS, "rwlock_hashbrown_64", "dashmap", "papaya", "scc", "mutex_hashmap", "crdts_orswot"];
        let figure = Figure { wall_ns: 987_654.0, cpu_ns: 3.0, ..Figure::default() };
        let operation = Operation {
            contestants: names.iter().map(|&name| (name.to_owned(), figure)).collect(),
            best_peer: Some("dashmap".to_owned()),
            ratio_to_best_peer: Some(0.000_123),
            ratio_to_best_peer_cpu: Some(12_345.6),
            ..Operation::default()
        };
        let mut report = Report::default();
        report.figures.operations.insert("delta_apply_10000000".to_owned(), operation);
        let mut out = Vec::new();
        write(&mut out, &report).unwrap();
        let text = String::from_utf8(out).unwrap();
        let row = text.lines().find(|line| line.starts_with("delta_apply")).unwrap();
        assert!(text.lines().all(|line| line.len() <= 110), "{text}");
        assert!(row.contains("987654") && row.contains("(dashmap)"), "{row}");
    }
}
