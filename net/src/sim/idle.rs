//! What a cluster costs that does nothing: many real nodes on virtual time, on a network that loses nothing.

use crate::core::{Core, Input, MemberState, Mode, Output, Security, Settings, Target, Time};
use crate::keys::Keys;
use headcount::{Session, Tracker};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// From one node to the other.
const DELAY: Duration = Duration::from_micros(50);
/// One node starts so long after the one before.
const START_EVERY: Duration = Duration::from_millis(5);
/// After the last has started, until its entries are joined; after that, until it is counted.
const SETTLE: Duration = Duration::from_secs(2);
/// Of each node: its lanes have clocks that are not 0.
const ENTRIES: usize = 100;
/// A key, so that datagrams are as long as on a network.
const KEY: &str = "1:4f2a6cb0e1957d3844aa0b6f1c9d2e7358a4c0f16be2937d05c8f1a29b3e6d47";

/// What each node of an idle cluster sends and gets, on average.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct IdleCost {
    /// Datagrams a second that a node sends. A multicast is one, whoever gets it.
    pub sent: f64,
    /// Their bits a second: what UDP carries, tags of the encryption included, headers of UDP and IP (28 B each) not.
    pub sent_bits: f64,
    /// Datagrams a second that a node gets.
    pub received: f64,
    /// Their bits a second.
    pub received_bits: f64,
    /// Members that a node held for other than up, at the end, all nodes together.
    pub not_up: usize,
}

struct Node {
    core: Core,
    addr: SocketAddr,
    tracker: Tracker,
    session: Session,
    wake: Time,
}

/// Where a datagram is to arrive, and what it is.
struct Arrival {
    to: usize,
    from: SocketAddr,
    bytes: Rc<[u8]>,
    by_group: bool,
}

struct Cluster {
    nodes: Vec<Node>,
    by_addr: BTreeMap<SocketAddr, usize>,
    arrivals: BTreeMap<(Time, u64), Arrival>,
    wakes: BTreeSet<(Time, usize)>,
    output: Output,
    sent: (u64, u64),
    received: (u64, u64),
    number: u64,
}

/// The cost of so many nodes (2 to 1000) that know each other and have nothing to say, over so many seconds of their time: by multicast, or
/// one by one, where each copy is a datagram of its own.
///
/// Lanes are as many as a machine of four cores has, 16.
#[must_use]
pub fn idle(nodes: u16, unicast: bool, seconds: u16) -> IdleCost {
    let nodes = nodes.clamp(2, 1000);
    let mut cluster = Cluster {
        nodes: Vec::new(),
        by_addr: BTreeMap::new(),
        arrivals: BTreeMap::new(),
        wakes: BTreeSet::new(),
        output: Output::default(),
        sent: (0, 0),
        received: (0, 0),
        number: 0,
    };
    for at in 0..nodes {
        let now = START_EVERY * u32::from(at);
        cluster.run_until(now);
        cluster.start(at, unicast, now);
    }
    let mut now = START_EVERY * u32::from(nodes) + SETTLE;
    cluster.run_until(now);
    for at in 0..cluster.nodes.len() {
        let topics = (0..ENTRIES).map(|entry| format!("room:{entry}"));
        // The limits are far; an entry that is missing would only make it a little cheaper.
        let _all = cluster.nodes[at].session.track_many(topics.map(|topic| (topic, "user", "meta")));
        cluster.take(at, now, Input::Turn);
    }
    now += SETTLE;
    cluster.run_until(now);
    (cluster.sent, cluster.received) = ((0, 0), (0, 0));
    cluster.run_until(now + Duration::from_secs(seconds.into()));
    let per = |count: u64| count as f64 / f64::from(nodes) / f64::from(seconds.max(1));
    let others = usize::from(nodes) - 1;
    let up = |node: &Node| {
        let full = node.tracker.len() == ENTRIES * usize::from(nodes);
        let members = node.core.members();
        if full { members.iter().filter(|member| member.state == MemberState::Up).count() } else { 0 }
    };
    IdleCost {
        sent: per(cluster.sent.0),
        sent_bits: per(cluster.sent.1 * 8),
        received: per(cluster.received.0),
        received_bits: per(cluster.received.1 * 8),
        not_up: cluster.nodes.iter().map(|node| others - up(node)).sum(),
    }
}

impl Cluster {
    fn start(&mut self, at: u16, unicast: bool, now: Time) {
        let addr = SocketAddr::from(([10, 0, (at >> 8) as u8, at as u8], 7_000));
        let seed = u64::from(at);
        let settings = Settings {
            tcp_port: 7_000,
            security: Security { keys: Keys::parse(KEY).ok(), ..Security::clear(seed) },
            mode: if unicast { Mode::Unicast } else { Mode::Multicast },
            ..Settings::plain(7, &format!("node-{at}"), seed)
        };
        let tracker = headcount::Config::default().shards(16).build().unwrap_or_default();
        let session = tracker.session();
        let core = Core::new(settings, &tracker, now);
        let index = self.nodes.len();
        self.nodes.push(Node { core, addr, tracker, session, wake: now });
        self.by_addr.insert(addr, index);
        self.wakes.insert((now, index));
        let seeds = [self.nodes[0].addr];
        if unicast && index > 0 {
            self.take(index, now, Input::Peers(&seeds));
        }
    }

    fn run_until(&mut self, end: Time) {
        loop {
            let arrival = self.arrivals.first_key_value().map(|(key, _)| *key);
            let wake = self.wakes.first().copied();
            match (arrival, wake) {
                (Some(key), wake) if key.0 <= end && wake.is_none_or(|(at, _)| key.0 <= at) => {
                    let Some(arrival) = self.arrivals.remove(&key) else { continue };
                    self.received.0 += 1;
                    self.received.1 += arrival.bytes.len() as u64;
                    let Arrival { to, from, bytes, by_group } = arrival;
                    self.take(to, key.0, Input::Datagram { from, bytes: &bytes, by_group });
                }
                (_, Some((at, index))) if at <= end => self.take(index, at, Input::Turn),
                _ => return,
            }
        }
    }

    fn take(&mut self, index: usize, now: Time, input: Input<'_>) {
        let mut output = std::mem::take(&mut self.output);
        let node = &mut self.nodes[index];
        node.core.handle(now, input, &mut output);
        self.wakes.remove(&(node.wake, index));
        // A moment later at the earliest: time passes for who is never content.
        node.wake = node.core.wake_at(now).max(now + Duration::from_micros(1));
        self.wakes.insert((node.wake, index));
        for (target, bytes) in output.datagrams.drain(..) {
            self.send(index, now, target, bytes.into());
        }
        // Nobody needs a stream where nothing is lost; one that was asked for all the same would show in `not_up`.
        output.streams.clear();
        self.output = output;
    }

    fn send(&mut self, index: usize, now: Time, target: Target, bytes: Rc<[u8]>) {
        let from = self.nodes[index].addr;
        let (group, alone) = match target {
            Target::Group => {
                let core = &self.nodes[index].core;
                (core.multicasts(), core.fan_out().to_vec())
            }
            Target::Node(to) => (false, vec![to]),
        };
        self.sent.0 += u64::from(group) + alone.len() as u64;
        self.sent.1 += (u64::from(group) + alone.len() as u64) * bytes.len() as u64;
        let alone = alone.iter().filter_map(|to| self.by_addr.get(to).map(|&to| (to, false)));
        let all = (0..if group { self.nodes.len() } else { 0 }).filter(|&to| to != index);
        let to: Vec<_> = all.map(|to| (to, true)).chain(alone).collect();
        for (to, by_group) in to {
            self.number += 1;
            let arrival = Arrival { to, from, bytes: bytes.clone(), by_group };
            self.arrivals.insert((now + DELAY, self.number), arrival);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_node_sends_some_ten_datagrams_a_second_whatever_the_number_of_nodes() {
        for nodes in [3, 12] {
            let cost = idle(nodes, false, 5);
            assert_eq!(cost.not_up, 0, "{cost:?}");
            assert!((9.0..13.0).contains(&cost.sent), "{nodes}: {cost:?}");
            // Everybody hears everybody, and nobody else.
            let others = f64::from(nodes) - 1.0;
            assert!((cost.received / cost.sent / others - 1.0).abs() < 0.02, "{nodes}: {cost:?}");
        }
    }

    #[test]
    fn without_multicast_an_idle_node_sends_a_copy_to_each() {
        let cost = idle(5, true, 5);
        assert_eq!(cost.not_up, 0, "{cost:?}");
        assert!((36.0..60.0).contains(&cost.sent), "{cost:?}");
    }
}
