//! How long a join on one node takes to be seen on every other, by clients, over real connections.
//!
//! One client watches the lobby on each node, in a thread of its own that notes when an event came. Visitors join one at
//! a time, on one node after the other, and the next joins when the last was seen everywhere.

use super::crowd::{Crowd, joined_ref};
use super::failure::Failure;
use super::nodes::Nodes;
use super::population::{LOBBY, Population};
use super::progress::Phase;
use headcount_tools::Limit;
use headcount_tools::line::{Client, ClientError, Tokens};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Visitors that join, one at a time.
pub(crate) const JOINS: usize = 500;
/// Between two of them: the cluster is idle when the next one comes.
const PACE: Duration = Duration::from_millis(2);
/// A join that is not seen by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Microseconds from writing the JOIN to reading the EVENT, over all visitors and all other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Visible {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    pub(crate) samples: usize,
}

/// A visitor's join, seen on a node.
struct Sighting {
    node: usize,
    visitor: usize,
    at: Instant,
}

/// Runs the measurement. What it joined has left on every node when it returns.
pub(crate) fn measure(
    nodes: &mut Nodes,
    crowd: &mut Crowd,
    population: &Population,
    limit: &Limit,
    phase: &Phase,
) -> Result<Visible, Failure> {
    let enough = Arc::new(AtomicBool::new(false));
    let watch_limit = Limit::with_flag(limit.left(), Arc::clone(&enough));
    let mut watchers = Vec::new();
    for node in 0..nodes.len() {
        let mut client = Client::connect(nodes.addr(node), limit)?;
        client.request("WATCH", &[LOBBY.as_bytes()], limit)?;
        watchers.push(client);
    }
    let (sender, sightings) = mpsc::channel();
    let outcome = thread::scope(|scope| {
        for (node, client) in watchers.into_iter().enumerate() {
            let (sender, watch_limit) = (sender.clone(), watch_limit.clone());
            scope.spawn(move || watch(node, client, &sender, &watch_limit));
        }
        let outcome = join_visitors(crowd, population, &sightings, limit, phase);
        // Relaxed: the flag carries nothing but itself.
        enough.store(true, Ordering::Relaxed);
        outcome
    });
    let delays = outcome?;
    send_home(crowd, population, limit)?;
    nodes.wait_for_count(population.present(), limit, |_| ())?;
    Ok(Visible::of(delays))
}

/// A visitor's connection: the first client of its node.
fn host_of(visitor: usize, population: &Population) -> usize {
    visitor % population.nodes()
}

fn visitor_key(visitor: usize) -> String {
    format!("visitor-{visitor}")
}

fn join_visitors(
    crowd: &mut Crowd,
    population: &Population,
    sightings: &Receiver<Sighting>,
    limit: &Limit,
    phase: &Phase,
) -> Result<Vec<Duration>, Failure> {
    let mut delays = Vec::new();
    for visitor in 0..JOINS {
        let host = host_of(visitor, population);
        let client = crowd.client(host)?;
        client.queue("JOIN", &[LOBBY.as_bytes(), visitor_key(visitor).as_bytes(), b"device=phone;visiting"]);
        let sent_at = Instant::now();
        client.send(limit)?;

        let lost = limit.within(LOST_AFTER);
        let mut seen = vec![false; population.nodes()];
        // Its own node shows it too; that is no replication, and only waited for so that it is not taken for the next.
        while seen.iter().any(|seen| !seen) {
            match sightings.recv_timeout(lost.left().min(Duration::from_millis(50))) {
                Ok(sighting) if sighting.visitor == visitor => {
                    seen[sighting.node] = true;
                    if sighting.node != host {
                        delays.push(sighting.at - sent_at);
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    limit.check()?;
                    if lost.check().is_err() {
                        let blind: Vec<_> =
                            (0..seen.len()).filter(|&node| !seen[node]).map(|node| node + 1).collect();
                        return Err(Failure::other(format!(
                            "a join on node-{} was not seen within {} s on node {blind:?}",
                            host + 1,
                            LOST_AFTER.as_secs()
                        )));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::other("the connections that watch were lost"));
                }
            }
        }
        joined_ref(&crowd.client(host)?.reply(limit)?)?;
        phase.advance(1);
        limit.sleep(PACE)?;
    }
    Ok(delays)
}

fn send_home(crowd: &mut Crowd, population: &Population, limit: &Limit) -> Result<(), Failure> {
    for visitor in 0..JOINS {
        let client = crowd.client(host_of(visitor, population))?;
        client.request("LEAVE", &[LOBBY.as_bytes(), visitor_key(visitor).as_bytes()], limit)?;
    }
    Ok(())
}

/// Notes when each visitor's event came, until nobody listens any more.
fn watch(node: usize, mut client: Client, sightings: &Sender<Sighting>, limit: &Limit) {
    loop {
        match client.event(limit) {
            Ok(line) => {
                let at = Instant::now();
                let Some(visitor) = joined_visitor(&line) else { continue };
                if sightings.send(Sighting { node, visitor, at }).is_err() {
                    return;
                }
            }
            Err(ClientError::Stopped(_)) => return,
            // Missed below as a sighting that does not come.
            Err(_) => return,
        }
    }
}

fn joined_visitor(line: &[u8]) -> Option<usize> {
    let mut tokens = Tokens::new(line);
    for expected in ["EVENT", "JOIN", LOBBY] {
        if *tokens.token().ok()??.bytes != *expected.as_bytes() {
            return None;
        }
    }
    let key = tokens.token().ok()??.bytes;
    str::from_utf8(&key).ok()?.strip_prefix("visitor-")?.parse().ok()
}

impl Visible {
    fn of(mut delays: Vec<Duration>) -> Self {
        delays.sort_unstable();
        let at = |permille: usize| {
            let index = (delays.len() * permille / 1000).min(delays.len().saturating_sub(1));
            delays.get(index).map_or(0, |delay| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX))
        };
        Self { p50: at(500), p99: at(990), max: at(1000), samples: delays.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_the_greatest_is_the_greatest() {
        let delays = (1..=1000).rev().map(Duration::from_micros).collect();
        assert_eq!(Visible::of(delays), Visible { p50: 501, p99: 991, max: 1000, samples: 1000 });
        let one = Visible::of(vec![Duration::from_micros(7)]);
        assert_eq!(one, Visible { p50: 7, p99: 7, max: 7, samples: 1 });
    }

    #[test]
    fn only_joins_of_visitors_are_sightings() {
        assert_eq!(
            joined_visitor(b"EVENT JOIN lobby visitor-17 web-1 0000001a-1.0000beef-4-17 \"\""),
            Some(17)
        );
        assert_eq!(joined_visitor(b"EVENT LEAVE lobby visitor-17 web-1 0000001a-1.0000beef-4-17 \"\""), None);
        assert_eq!(joined_visitor(b"EVENT JOIN lobby client-17 web-1 0000001a-1.0000beef-4-17 \"\""), None);
    }
}
