//! What idle clusters cost.

use headcount_net::sim;
use serde::Serialize;
use std::io::{self, Write as _};

const SECONDS: u16 = 5;

#[derive(Serialize)]
struct Row {
    nodes: u16,
    mode: &'static str,
    sent_per_s: f64,
    sent_bits_per_s: f64,
    received_per_s: f64,
    received_bits_per_s: f64,
    /// Members that somebody held for other than up.
    not_up: usize,
}

/// Whether everybody was up everywhere.
pub(crate) fn run(sizes: &[u16], json: bool) -> io::Result<bool> {
    let mut rows = Vec::new();
    for &nodes in sizes {
        for (mode, unicast) in [("multicast", false), ("unicast", true)] {
            writeln!(io::stderr(), "{nodes} nodes, {mode}, {SECONDS} s of their time")?;
            let cost = sim::idle(nodes, unicast, SECONDS);
            rows.push(Row {
                nodes,
                mode,
                sent_per_s: cost.sent,
                sent_bits_per_s: cost.sent_bits,
                received_per_s: cost.received,
                received_bits_per_s: cost.received_bits,
                not_up: cost.not_up,
            });
        }
    }
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "{:>5} {:<10} {:>10} {:>12} {:>12} {:>14}",
            "nodes", "mode", "sent/s", "sent kbit/s", "received/s", "received kbit/s"
        )?;
        for row in &rows {
            let kbit = |bits: f64| bits / 1000.0;
            let (sent, received) = (kbit(row.sent_bits_per_s), kbit(row.received_bits_per_s));
            let (nodes, mode) = (row.nodes, row.mode);
            writeln!(
                out,
                "{nodes:>5} {mode:<10} {:>10.1} {sent:>12.1} {:>12.1} {received:>14.1}",
                row.sent_per_s, row.received_per_s
            )?;
        }
    }
    Ok(rows.iter().all(|row| row.not_up == 0))
}
