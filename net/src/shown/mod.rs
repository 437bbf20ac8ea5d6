//! What a node shows in the counters file of its tracker's process: its traffic, its peers, who hears whom, how long things take, and what
//! happens to it. Only if there is such a file; the network thread stores numbers in memory for it, and makes no call.

mod peers;
mod tables;
#[cfg(all(test, unix))]
mod tests;
mod words;

use crate::config::Config;
use crate::core::{BarrierOutcome, Core, KeyStep, Measure, Output, Phase, Settings, Time};
use crate::stats::NetStats;
use headcount::counters::{Counters, Histogram, Number, Row, Text};
use headcount::{NodeId, Tracker};
use peers::Peers;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tables::{NET, NODE, TIMES};

/// The barrier that measures how soon members show a change. The application's are numbered from 1 on.
pub(crate) const PROBE: u64 = u64::MAX;
/// A probe costs each member a packet; so often at the most, and only when something was told since the last.
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBE_MAX: Duration = Duration::from_secs(2);

/// The times of the driver as others know them: nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Epoch(u64);

impl Epoch {
    fn at(self, time: Time) -> u64 {
        self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Zero for what is not.
    fn at_if(self, time: Option<Time>) -> u64 {
        time.map_or(0, |time| self.at(time))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Board {
    counters: Counters,
    tracker: Tracker,
    epoch: Epoch,
    node: Node,
    net: Vec<Number>,
    times: Times,
    peers: Peers,
    /// The numbers as they were shown last.
    seen: NetStats,
    /// The life that was told of last, and how the node was.
    life: u32,
    is_running: bool,
    /// The probe under way, and what was told when the last one began.
    probing: Option<Time>,
    probed: Option<(Time, u64)>,
}

/// What changes of the node's row.
#[derive(Debug)]
struct Node {
    row: Row,
    /// In the order in which [`Board::show_node`] has them.
    numbers: [Number; 9],
    members: Number,
    key_epochs: (Text, Vec<u16>),
}

impl Node {
    fn new(row: Row) -> Self {
        let numbers = [
            "id",
            "epoch",
            "status",
            "multicast",
            "copies",
            "fallback_since",
            "stale_since",
            "patience",
            "key_epoch",
        ];
        let numbers = numbers.map(|name| row.number(name));
        let members = row.number("members");
        Self { numbers, members, key_epochs: (row.text("key_epochs"), Vec::new()), row }
    }
}

#[derive(Debug)]
struct Times {
    visible: Histogram,
    apply: Histogram,
    repair: Histogram,
    flush: Histogram,
    loop_lag: Histogram,
    snapshot: Histogram,
    probes_lost: Number,
}

impl Board {
    /// A board in the counters of the tracker's process, if anybody sees them. `network`: the address that datagrams come from, the receive
    /// buffer asked for, and the largest packet.
    pub(crate) fn new(
        tracker: &Tracker,
        config: &Config,
        settings: &Settings,
        network: (SocketAddr, u64, u32),
        started: Instant,
    ) -> Option<Self> {
        let counters = tracker.counters().clone();
        if !counters.are_seen() {
            return None;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun = unix.saturating_sub(started.elapsed());
        let epoch = Epoch(u64::try_from(begun.as_nanos()).unwrap_or(u64::MAX));
        let node = counters.table(&NODE, 1).row(0);
        let net = counters.table(&NET, 1).row(0);
        let times = counters.table(&TIMES, 1).row(0);
        for row in [&node, &net, &times] {
            // A node that joins again begins again.
            row.hide();
        }
        let (local, receive_buffer_asked, mtu) = network;
        let timing = settings.timing;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for (name, value) in [
            ("receive_buffer_asked", receive_buffer_asked),
            ("receive_buffer", settings.receive_buffer),
            ("datagram_max", settings.datagram_max as u64),
            ("interface_mtu", u64::from(mtu)),
            ("heartbeat", nanos(timing.heartbeat)),
            ("suspect_after", nanos(timing.suspect_after)),
            ("down_after", nanos(timing.down_after)),
        ] {
            node.number(name).set(value);
        }
        counters.set_fact("node", &settings.name);
        counters.set_fact("cluster", &config.cluster);
        counters.set_fact("address", &local.to_string());
        let network = if config.is_unicast() {
            "unicast".to_owned()
        } else {
            format!("multicast {} on {}", config.group, config.interface)
        };
        counters.set_fact("network", &network);
        let names = NetStats::default();
        let shown = Self {
            net: names.iter().map(|(name, _)| net.number(name)).collect(),
            times: Times {
                visible: times.histogram("visible"),
                apply: times.histogram("apply"),
                repair: times.histogram("repair"),
                flush: times.histogram("flush"),
                loop_lag: times.histogram("loop_lag"),
                snapshot: times.histogram("snapshot"),
                probes_lost: times.number("probes_lost_total"),
            },
            peers: Peers::new(&counters),
            tracker: tracker.clone(),
            counters,
            epoch,
            node: Node::new(node),
            seen: NetStats::default(),
            life: 0,
            is_running: false,
            probing: None,
            probed: None,
        };
        for row in [&shown.node.row, &net, &times] {
            row.show();
        }
        Some(shown)
    }

    /// What was due was done so late.
    pub(crate) fn late(&self, lag: Duration) {
        self.times.loop_lag.record_time(lag);
    }

    /// A datagram was handled in that time.
    pub(crate) fn applied(&self, time: Duration) {
        self.times.apply.record_time(time);
    }

    /// Whether a probe is to begin, and until when it may take.
    pub(crate) fn probe(&mut self, now: Time, core: &Core) -> Option<Time> {
        // Every turn of the thread asks.
        if self.probing.is_some() || self.probed.is_some_and(|(at, _)| now < at + PROBE_EVERY) {
            return None;
        }
        let tells = core.stats().delta_ops_sent;
        let told = self.probed.map_or(0, |(_, told)| told);
        if tells == told || *core.phase() != Phase::Live || core.peers_shown(now).next().is_none() {
            return None;
        }
        self.probed = Some((now, tells));
        self.probing = Some(now);
        Some(now + PROBE_MAX)
    }

    /// Takes what the core has measured and said. Notices stay for the application.
    pub(crate) fn take(&mut self, now: Time, output: &mut Output) {
        for measure in output.measures.drain(..) {
            match measure {
                Measure::Repair(time) => self.times.repair.record_time(time),
                Measure::Flush(time) => self.times.flush.record_time(time),
                Measure::Snapshot(time) => self.times.snapshot.record_time(time),
                Measure::Heard { listener, speaker, silence } => {
                    self.peers.heard((listener, speaker), silence, self.epoch.at(now));
                }
            }
        }
        for notice in &output.notices {
            self.counters.note_event(&words::of_notice(notice));
        }
        output.barriers.retain(|(id, outcome)| {
            if *id != PROBE {
                return true;
            }
            if let Some(began) = self.probing.take() {
                match outcome {
                    BarrierOutcome::Reached => {
                        self.times.visible.record_time(now.saturating_sub(began));
                    }
                    BarrierOutcome::TimedOut { .. } => self.times.probes_lost.add(1),
                    // It was not made, or ended with the membership: that says nothing of the members.
                    BarrierOutcome::TooMany | BarrierOutcome::NotAMember => {}
                }
            }
            false
        });
    }

    /// The keys were changed.
    pub(crate) fn keys_changed(&self, step: &KeyStep) {
        self.counters.note_event(&words::of_key_step(step));
    }

    /// Shows the node as it is.
    pub(crate) fn show(&mut self, now: Time, core: &Core) {
        let stats = core.stats();
        for (number, (_, value)) in self.net.iter().zip(stats.iter()) {
            number.set(value);
        }
        for (message, count) in words::errors(&self.seen, &stats) {
            self.counters.count_error(message, count);
        }
        let obeyed = stats.evictions_obeyed.saturating_sub(self.seen.evictions_obeyed);
        if obeyed > 0 {
            self.counters.note_event(&words::of_evictions(obeyed));
        }
        self.seen = stats;
        self.show_node(now, core);
        let members = self.peers.show(now, self.epoch, core, &self.tracker, &self.counters);
        self.node.members.set(members);
    }

    fn show_node(&mut self, now: Time, core: &Core) {
        let status = match core.phase() {
            Phase::Listening { .. } => 1,
            Phase::Live | Phase::Leaving { .. } => 2,
            Phase::Left => 3,
            Phase::Stopped(_) => 4,
        };
        let life = core.incarnation().epoch;
        if status == 2 && (life, true) != (self.life, self.is_running) {
            self.counters.note_event(&format!("is a member, epoch {life}"));
        }
        if self.is_running
            && let Phase::Stopped(reason) = core.phase()
        {
            self.counters.note_event(&format!("stopped: {reason}"));
        }
        (self.life, self.is_running) = (life, status == 2);
        let (key_epoch, key_epochs) = core.key_epochs();
        let values = [
            u64::from(core.node().0),
            u64::from(life),
            status,
            u64::from(core.multicasts()),
            core.fan_out().len() as u64,
            self.epoch.at_if(core.fallback_since()),
            self.epoch.at_if(core.stale_since()),
            1_000 + u64::from(core.strain(now)),
            u64::from(key_epoch),
        ];
        for (number, value) in self.node.numbers.iter().zip(values) {
            number.set(value);
        }
        let (text, shown) = &mut self.node.key_epochs;
        if *shown != key_epochs {
            text.set(&words::of_epochs(&key_epochs));
            *shown = key_epochs;
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // Who looks at the file of a process that goes on without its cluster finds no peers.
        self.peers.clear();
    }
}

/// A pair of nodes: who hears, and who is heard.
type Pair = (NodeId, NodeId);
