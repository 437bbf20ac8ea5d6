//! What the cluster costs while nothing happens, and how it does while a lot does.

use super::nodes::Nodes;
use crate::churn::{Churner, Churning};
use crate::failure::Failure;
use crate::number::grouped;
use crate::process_cost::percent;
use headcount_tools::Limit;
use headcount_tools::line::Client;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long nothing happens.
pub(crate) const QUIET: Duration = Duration::from_secs(3);
/// Headers of IPv4 and UDP, in front of every datagram.
const HEADERS: u64 = 28;
/// Entries of one node's changing client: it joins, updates and leaves with them.
const KEYS: usize = 20_000;

/// What one node costs, on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// Datagrams that it sends.
    pub(crate) packets_per_s: f64,
    /// Their bits, with IPv4 and UDP headers.
    pub(crate) bits_per_s: u64,
    /// Of one processor.
    pub(crate) cpu_percent: f64,
}

impl Cost {
    /// For people, with what it means.
    pub(crate) fn cpu(self) -> String {
        format!("{:.1} %", self.cpu_percent)
    }

    pub(crate) fn meaning(self) -> String {
        let bits = grouped(self.bits_per_s);
        format!("of a processor, a node; it sent {} packets and {bits} bits a second", self.packets_per_s)
    }
}

/// A measurement that has begun.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Instant,
    datagrams: u64,
    bytes: u64,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn begin(nodes: &mut Nodes, limit: &Limit) -> Result<Self, Failure> {
        Ok(Self {
            at: Instant::now(),
            datagrams: nodes.stat_sum("net.datagrams_sent", limit)?,
            bytes: nodes.stat_sum("net.bytes_sent", limit)?,
            cpu: nodes.cpu_time(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people, with one decimal")]
    pub(crate) fn end(self, nodes: &mut Nodes, limit: &Limit) -> Result<Cost, Failure> {
        let now = Self::begin(nodes, limit)?;
        let time = now.at - self.at;
        let (datagrams, bytes) = (now.datagrams - self.datagrams, now.bytes - self.bytes);
        let count = nodes.alive().len().max(1);
        let per_node_s = |sum: u64| sum as f64 / count as f64 / time.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bits sent in a second")]
        let bits_per_s = per_node_s((bytes + datagrams * HEADERS) * 8) as u64;
        Ok(Cost {
            packets_per_s: (per_node_s(datagrams) * 10.0).round() / 10.0,
            bits_per_s,
            cpu_percent: percent((now.cpu - self.cpu) / u32::try_from(count).unwrap_or(1), time),
        })
    }
}

/// Clients that change things on every node, at a rate for all of them together. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Bustle {
    churning: Vec<Churning>,
    began: Instant,
}

impl Bustle {
    pub(crate) fn start(nodes: &Nodes, rate: u64, limit: &Limit) -> Result<Self, Failure> {
        let alive = nodes.alive();
        let mut churners = Vec::new();
        for &node in &alive {
            let client = Client::connect(nodes.addr(node), limit)?;
            let mut churner = Churner::new(client, nodes.name(node), KEYS, node as u64 + 1);
            churner.fill(KEYS / 2, limit)?;
            churners.push(churner);
        }
        let began = Instant::now();
        let rate = rate / alive.len().max(1) as u64;
        let churning = churners.into_iter().map(|churner| churner.start(rate, limit)).collect();
        Ok(Self { churning, began })
    }

    /// Ends it. Returns how many changes a second there were; the entries are about to leave.
    pub(crate) fn stop(self) -> Result<u64, Failure> {
        let elapsed = self.began.elapsed();
        let mut changes = 0;
        for churning in self.churning {
            let (churner, outcome) = churning.stop()?;
            outcome?;
            changes += churner.changes();
        }
        let rate = u128::from(changes) * 1000 / elapsed.as_millis().max(1);
        Ok(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}
