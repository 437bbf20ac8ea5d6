//! A made-up process that is well, for tests to make ill.

use super::super::finding::{Finding, Status};
use super::super::patient::{Lag, Patient};
use super::super::sample::{Engine, Node, Pair, Peer, Sample, Shard, state};
use super::super::system::System;
use headcount::counters::Life;
use std::net::IpAddr;
use std::time::Duration;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000 * MS;
const NOW: u64 = 1_000_000 * S;

/// What a check has found, which had something to check.
pub(crate) fn found(finding: Option<Finding>) -> (Status, String) {
    let finding = finding.expect("there is something to check");
    (finding.status, finding.what)
}

/// A peer that was heard just now.
pub(crate) fn peer(sample: &Sample) -> Peer {
    Peer {
        state: state::UP,
        state_since: sample.now - 60 * S,
        heard_at: sample.now - 20 * MS,
        group_heard_at: sample.now - 40 * MS,
        synced: true,
        key_epochs: vec![1],
        ..Peer::default()
    }
}

fn sample(now: u64) -> Sample {
    let mut sample = Sample {
        now,
        address: "10.0.0.1:40000".into(),
        network: "multicast 239.255.70.70:7070 on 10.0.0.1".into(),
        ..Sample::default()
    };
    sample.node = Some(Node {
        id: 1,
        status: 2,
        multicast: true,
        patience: 1000,
        receive_buffer_asked: 8 << 20,
        receive_buffer: 8 << 20,
        datagram_max: 1424,
        interface_mtu: 1500,
        key_epoch: 1,
        key_epochs: vec![1],
        heartbeat: 100 * MS,
        suspect_after: 500 * MS,
        down_after: 2 * S,
        ..Node::default()
    });
    sample.peers = [(2, "web-2"), (3, "web-3")]
        .map(|(id, name)| Peer { id, name: name.into(), addr: format!("10.0.0.{id}:40000"), ..peer(&sample) })
        .into();
    let pairs = [(2, 1), (2, 3), (3, 1), (3, 2)];
    sample.pairs = pairs
        .map(|(listener, speaker)| Pair { listener, speaker, silence: 32 * MS, said_at: now - 90 * MS })
        .into();
    sample.engine = Some(Engine {
        subscriptions: 2,
        queue_longest: 3,
        queue_max: 4096,
        memory_used: 60 << 20,
        memory_held: 64 << 20,
        memory_max: 16 << 30,
        huge_advised: true,
        shard_entries_max: 1 << 24,
        ..Engine::default()
    });
    sample.shards =
        (0..16).map(|number| Shard { number, changes: 10_000, entries: 1000, sampled: Vec::new() }).collect();
    sample
}

pub(crate) fn healthy() -> Patient {
    let (mut before, mut now) = (sample(NOW - S), sample(NOW));
    for (sample, turns) in [(&mut before, 100), (&mut now, 110)] {
        let numbers = [
            ("datagrams_sent", 10 * turns),
            ("echoes", 10 * turns),
            ("datagrams_received", 20 * turns),
            ("send_budget", 64 << 20),
        ];
        sample.net = numbers.map(|(name, value)| (name.into(), value)).into();
    }
    for shard in &mut now.shards {
        shard.changes += 50;
    }
    Patient {
        name: "web-1".into(),
        cluster: "chat".into(),
        pid: 4242,
        file: "/dev/shm/headcount.4242.0".into(),
        life: Life::Running,
        age: Duration::from_secs(300),
        before,
        now,
        between: Duration::from_secs(1),
        lag: Lag { turns: 200, p99: 300_000 },
        system: System {
            receive_buffer_max: Some(8 << 20),
            huge_pages: Some("madvise".into()),
            huge_bytes: Some(62 << 20),
            huge_allowed: Some(true),
            groups: Some(vec![IpAddr::from([239, 255, 70, 70])]),
            bridges: Vec::new(),
        },
    }
}

impl Patient {
    /// The node, in both looks.
    pub(crate) fn set_node(&mut self, set: impl Fn(&mut Node)) {
        for sample in [&mut self.before, &mut self.now] {
            set(sample.node.as_mut().expect("a made-up process has one"));
        }
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        self.now.engine.as_mut().expect("a made-up process has one")
    }

    /// A number of the traffic: what it was, and what it is.
    pub(crate) fn set_net(&mut self, name: &str, before: u64, now: u64) {
        self.before.net.insert(name.into(), before);
        self.now.net.insert(name.into(), now);
    }
}
