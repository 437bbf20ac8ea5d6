//! How long a join on one node takes to be seen on every other, by clients, over real connections.
//!
//! One client watches a topic on each node, in a thread of its own that notes when an event came. Visitors join one at a
//! time, on one node after the other, and the next joins when the last was seen everywhere.

use crate::failure::Failure;
use headcount_tools::Limit;
use headcount_tools::line::{Client, ClientError, Tokens};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Between two joins at least: the cluster is idle when the next one comes.
pub(crate) const PACE: Duration = Duration::from_millis(2);
/// A join that is not seen by then is lost, on a link that is whole.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(5);

/// Microseconds from writing the JOIN to reading the EVENT, over all visitors and all other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Visible {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    pub(crate) samples: usize,
}

/// Two connections to one node.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) node: String,
    /// Joins; its visitors leave when it is dropped.
    pub(crate) speaker: Client,
    /// Watches.
    pub(crate) watcher: Client,
}

/// Who visits what, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visits<'a> {
    pub(crate) topic: &'a str,
    /// Visitors that join, one at a time.
    pub(crate) joins: usize,
    /// Between two of them.
    pub(crate) pace: Duration,
    /// No more begin after this time.
    pub(crate) time: Duration,
    /// A join that is not seen by then is lost, and the measurement fails.
    pub(crate) lost_after: Duration,
}

/// A visitor's join, seen on a node.
struct Sighting {
    post: usize,
    visitor: usize,
    at: Instant,
}

/// Runs the measurement; `seen` is told of each visitor that was seen everywhere. The visitors are about to leave when it
/// returns: their connections are closed.
pub(crate) fn measure(
    posts: Vec<Post>,
    visits: Visits<'_>,
    limit: &Limit,
    seen: impl FnMut(),
) -> Result<Visible, Failure> {
    let enough = Arc::new(AtomicBool::new(false));
    let watch_limit = Limit::with_flag(limit.left(), Arc::clone(&enough));
    let mut watchers = Vec::new();
    let mut speakers = Vec::new();
    for Post { node, speaker, mut watcher } in posts {
        watcher.request("WATCH", &[visits.topic.as_bytes()], limit)?;
        watchers.push(watcher);
        speakers.push((node, speaker));
    }
    let (sender, sightings) = mpsc::channel();
    let outcome = thread::scope(|scope| {
        for (post, client) in watchers.into_iter().enumerate() {
            let (sender, watch_limit) = (sender.clone(), watch_limit.clone());
            scope.spawn(move || watch(post, visits.topic, client, &sender, &watch_limit));
        }
        drop(sender);
        let outcome = join_visitors(&mut speakers, visits, &sightings, limit, seen);
        // Relaxed: the flag carries nothing but itself.
        enough.store(true, Ordering::Relaxed);
        outcome
    });
    Ok(Visible::of(outcome?))
}

fn join_visitors(
    speakers: &mut [(String, Client)],
    visits: Visits<'_>,
    sightings: &Receiver<Sighting>,
    limit: &Limit,
    mut told: impl FnMut(),
) -> Result<Vec<Duration>, Failure> {
    let posts = speakers.len();
    let names: Vec<String> = speakers.iter().map(|(name, _)| name.clone()).collect();
    let mut delays = Vec::new();
    let began = Instant::now();
    for visitor in (0..visits.joins).take_while(|_| began.elapsed() < visits.time) {
        let host = visitor % posts;
        let (_, client) = &mut speakers[host];
        let key = format!("visitor-{visitor}");
        client.queue("JOIN", &[visits.topic.as_bytes(), key.as_bytes(), b"device=phone;visiting"]);
        let sent_at = Instant::now();
        client.send(limit)?;

        let lost = limit.within(visits.lost_after);
        let mut seen = vec![false; posts];
        // Its own node shows it too; that is no replication, and only waited for so that it is not taken for the next.
        while seen.iter().any(|seen| !seen) {
            match sightings.recv_timeout(lost.left().min(Duration::from_millis(50))) {
                Ok(sighting) if sighting.visitor == visitor => {
                    seen[sighting.post] = true;
                    if sighting.post != host {
                        delays.push(sighting.at - sent_at);
                    }
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    limit.check()?;
                    if lost.check().is_err() {
                        let blind: Vec<&str> =
                            (0..posts).filter(|&post| !seen[post]).map(|post| &names[post][..]).collect();
                        return Err(Failure::other(format!(
                            "a join on {} was not seen within {} s on {}",
                            names[host],
                            visits.lost_after.as_secs(),
                            blind.join(", ")
                        )));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::other("the connections that watch were lost"));
                }
            }
        }
        client.reply(limit)?.entry_ref().ok_or_else(|| Failure::unclear("JOIN"))?;
        told();
        limit.sleep(visits.pace)?;
    }
    Ok(delays)
}

/// Notes when each visitor's event came, until nobody listens any more.
fn watch(post: usize, topic: &str, mut client: Client, sightings: &Sender<Sighting>, limit: &Limit) {
    loop {
        match client.event(limit) {
            Ok(line) => {
                let at = Instant::now();
                let Some(visitor) = joined_visitor(topic, &line) else { continue };
                if sightings.send(Sighting { post, visitor, at }).is_err() {
                    return;
                }
            }
            Err(ClientError::Stopped(_)) => return,
            // Missed above as a sighting that does not come.
            Err(_) => return,
        }
    }
}

fn joined_visitor(topic: &str, line: &[u8]) -> Option<usize> {
    let mut tokens = Tokens::new(line);
    for expected in ["EVENT", "JOIN", topic] {
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
        let seen = |line: &str| joined_visitor("lobby", line.as_bytes());
        assert_eq!(seen("EVENT JOIN lobby visitor-17 web-1 0000001a-1.0000beef-4-17 \"\""), Some(17));
        assert_eq!(seen("EVENT JOIN hall visitor-17 web-1 0000001a-1.0000beef-4-17 \"\""), None);
        assert_eq!(seen("EVENT LEAVE lobby visitor-17 web-1 0000001a-1.0000beef-4-17 \"\""), None);
        assert_eq!(seen("EVENT JOIN lobby client-17 web-1 0000001a-1.0000beef-4-17 \"\""), None);
    }
}
