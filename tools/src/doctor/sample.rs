//! What a counters file says at one moment, as plain values: what the checks look at, and what their tests make up.

use super::checks::needed;
use crate::inspect::span::ALL_CHANGES;
use headcount::counters::{Distribution, Reader, TableReader};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// See the module's documentation. What another version does not show is zero, empty or missing; `lacking` names it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Nanoseconds since 1970.
    pub(crate) now: u64,
    /// Of the network address that datagrams come from.
    pub(crate) address: String,
    /// `unicast`, or `multicast GROUP on INTERFACE`.
    pub(crate) network: String,
    pub(crate) node: Option<Node>,
    /// The node's traffic, by the names of `NetStats`.
    pub(crate) net: BTreeMap<String, u64>,
    pub(crate) loop_lag: Distribution,
    pub(crate) peers: Vec<Peer>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) engine: Option<Engine>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) errors: Vec<Logged>,
    /// The latest events, oldest first: when, and what.
    pub(crate) events: Vec<(u64, String)>,
    /// What checks are made of and this process does not show, of another version as it is.
    pub(crate) lacking: BTreeSet<&'static str>,
}

/// The table `node`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) id: u64,
    /// 1 listening, 2 running, 3 left, 4 stopped by itself.
    pub(crate) status: u64,
    pub(crate) multicast: bool,
    pub(crate) fallback_since: u64,
    pub(crate) stale_since: u64,
    pub(crate) patience: u64,
    pub(crate) receive_buffer_asked: u64,
    pub(crate) receive_buffer: u64,
    pub(crate) datagram_max: u64,
    pub(crate) interface_mtu: u64,
    pub(crate) key_epoch: u64,
    pub(crate) key_epochs: Vec<u16>,
    pub(crate) heartbeat: u64,
    pub(crate) suspect_after: u64,
    pub(crate) down_after: u64,
}

/// A row of the table `peer`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) addr: String,
    pub(crate) id: u64,
    pub(crate) state: u64,
    pub(crate) state_since: u64,
    pub(crate) heard_at: u64,
    pub(crate) group_heard_at: u64,
    pub(crate) synced: bool,
    pub(crate) lanes_behind: u64,
    pub(crate) operations_behind: u64,
    pub(crate) lanes_streaming: u64,
    pub(crate) receive_drops: u64,
    pub(crate) copied: bool,
    pub(crate) key_epochs: Vec<u16>,
}

/// States of a peer.
pub(crate) mod state {
    pub(crate) const UP: u64 = 1;
    pub(crate) const INDIRECT: u64 = 2;
    pub(crate) const SUSPECT: u64 = 3;
    pub(crate) const LEAVING: u64 = 4;
    pub(crate) const DOWN: u64 = 5;
}

/// A row of the table `hearing`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) listener: u64,
    pub(crate) speaker: u64,
    /// Nanoseconds; `u64::MAX` for longer than can be said.
    pub(crate) silence: u64,
    pub(crate) said_at: u64,
}

/// The table `engine`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engine {
    pub(crate) subscriptions: u64,
    pub(crate) subscriptions_lagging: u64,
    pub(crate) queue_longest: u64,
    pub(crate) queue_max: u64,
    pub(crate) events_missed: u64,
    pub(crate) memory_used: u64,
    pub(crate) memory_held: u64,
    pub(crate) memory_max: u64,
    pub(crate) huge_advised: bool,
    pub(crate) shard_entries_max: u64,
}

/// A row of the table `shard`, with the topics that were sampled in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    pub(crate) number: usize,
    /// Changes of any kind since the start.
    pub(crate) changes: u64,
    pub(crate) entries: u64,
    pub(crate) sampled: Vec<String>,
}

/// A row of the table `error`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged {
    pub(crate) message: String,
    pub(crate) count: u64,
    pub(crate) last_at: u64,
}

impl Sample {
    pub(crate) fn of(reader: &Reader) -> Self {
        let node = first(reader, "node").map(|(table, row)| node_of(table, row));
        let engine = first(reader, "engine").map(|(table, row)| engine_of(table, row));
        let loop_lag = first(reader, "times").and_then(|(table, row)| table.distribution(row, "loop_lag"));
        Self {
            now: unix_now(),
            address: reader.fact("address").unwrap_or_default(),
            network: reader.fact("network").unwrap_or_default(),
            node,
            net: first(reader, "net").map(|(table, row)| numbers_of(table, row)).unwrap_or_default(),
            loop_lag: loop_lag.unwrap_or_default(),
            peers: rows(reader, "peer", peer_of),
            pairs: rows(reader, "hearing", pair_of),
            engine,
            shards: shards_of(reader),
            errors: rows(reader, "error", error_of),
            events: events_of(reader),
            lacking: needed().filter(|need| !need.split('|').any(|need| shows(reader, need))).collect(),
        }
    }

    /// A number of the traffic.
    pub(crate) fn net(&self, name: &str) -> u64 {
        self.net.get(name).copied().unwrap_or(0)
    }

    /// How long ago something was; `None` if it never was.
    pub(crate) fn ago(&self, at: u64) -> Option<Duration> {
        (at != 0).then(|| Duration::from_nanos(self.now.saturating_sub(at)))
    }
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a process shows `table.field`. One without a node, or without a tracker, lacks nothing: there is nothing to check.
fn shows(reader: &Reader, need: &str) -> bool {
    let Some((table, field)) = need.split_once('.') else { return false };
    match reader.table(table) {
        Some(table) => table.fields().iter().any(|known| known.name == field),
        None => matches!(table, "node" | "engine"),
    }
}

fn first<'a>(reader: &'a Reader, table: &str) -> Option<(&'a TableReader, usize)> {
    let table = reader.table(table)?;
    table.live_rows().next().map(|row| (table, row))
}

fn rows<T>(reader: &Reader, table: &str, of: fn(&TableReader, usize) -> T) -> Vec<T> {
    reader.table(table).map_or_else(Vec::new, |table| table.live_rows().map(|row| of(table, row)).collect())
}

fn number(table: &TableReader, row: usize, name: &str) -> u64 {
    table.number(row, name).unwrap_or(0)
}

fn text(table: &TableReader, row: usize, name: &str) -> String {
    table.text(row, name).unwrap_or_default()
}

fn epochs(table: &TableReader, row: usize) -> Vec<u16> {
    text(table, row, "key_epochs").split_whitespace().filter_map(|epoch| epoch.parse().ok()).collect()
}

fn numbers_of(table: &TableReader, row: usize) -> BTreeMap<String, u64> {
    let named = |name: &str| Some((name.to_owned(), table.number(row, name)?));
    table.fields().iter().filter_map(|field| named(&field.name)).collect()
}

fn node_of(table: &TableReader, row: usize) -> Node {
    let number = |name| number(table, row, name);
    Node {
        id: number("id"),
        status: number("status"),
        multicast: number("multicast") == 1,
        fallback_since: number("fallback_since"),
        stale_since: number("stale_since"),
        patience: number("patience"),
        receive_buffer_asked: number("receive_buffer_asked"),
        receive_buffer: number("receive_buffer"),
        datagram_max: number("datagram_max"),
        interface_mtu: number("interface_mtu"),
        key_epoch: number("key_epoch"),
        key_epochs: epochs(table, row),
        heartbeat: number("heartbeat"),
        suspect_after: number("suspect_after"),
        down_after: number("down_after"),
    }
}

fn peer_of(table: &TableReader, row: usize) -> Peer {
    let number = |name| number(table, row, name);
    Peer {
        name: text(table, row, "name"),
        addr: text(table, row, "addr"),
        id: number("id"),
        state: number("state"),
        state_since: number("state_since"),
        heard_at: number("heard_at"),
        group_heard_at: number("group_heard_at"),
        synced: number("synced") == 1,
        lanes_behind: number("lanes_behind"),
        operations_behind: number("operations_behind"),
        lanes_streaming: number("lanes_streaming"),
        receive_drops: number("receive_drops_total"),
        copied: number("copied") == 1,
        key_epochs: epochs(table, row),
    }
}

fn pair_of(table: &TableReader, row: usize) -> Pair {
    let number = |name| number(table, row, name);
    Pair {
        listener: number("listener"),
        speaker: number("speaker"),
        silence: number("silence"),
        said_at: number("said_at"),
    }
}

fn engine_of(table: &TableReader, row: usize) -> Engine {
    let number = |name| number(table, row, name);
    // A version that does not show the limit shows what it reserved, which is no less.
    let memory_max = table.number(row, "memory_max_bytes").unwrap_or_else(|| number("memory_reserved_bytes"));
    Engine {
        subscriptions: number("subscriptions"),
        subscriptions_lagging: number("subscriptions_lagging"),
        queue_longest: number("queue_longest"),
        queue_max: number("queue_max"),
        events_missed: number("events_missed"),
        memory_used: number("memory_used_bytes"),
        memory_held: number("memory_held_bytes"),
        memory_max,
        huge_advised: number("memory_huge_advised") == 1,
        shard_entries_max: number("shard_entries_max"),
    }
}

fn shards_of(reader: &Reader) -> Vec<Shard> {
    let Some(shards) = reader.table("shard") else { return Vec::new() };
    let samples = reader.table("topic_sample");
    let topics = |shard: usize| {
        let table = samples.as_ref()?;
        // So many rows for each row of `shard`.
        let each = table.rows() / shards.rows().max(1);
        let live = (shard * each..(shard + 1) * each).filter(|&row| table.is_live(row));
        Some(live.filter_map(|row| table.text(row, "topic")).collect())
    };
    let shard = |row: usize| Shard {
        number: row,
        changes: ALL_CHANGES.iter().map(|name| number(shards, row, name)).sum(),
        entries: number(shards, row, "entries"),
        sampled: topics(row).unwrap_or_default(),
    };
    shards.live_rows().map(shard).collect()
}

fn error_of(table: &TableReader, row: usize) -> Logged {
    let number = |name| number(table, row, name);
    Logged { message: text(table, row, "message"), count: number("count_total"), last_at: number("last_at") }
}

fn events_of(reader: &Reader) -> Vec<(u64, String)> {
    let numbered = |table: &TableReader, row: usize| {
        (number(table, row, "number"), number(table, row, "at"), text(table, row, "message"))
    };
    let mut events = rows(reader, "event", numbered);
    events.sort_unstable();
    events.into_iter().map(|(_, at, message)| (at, message)).collect()
}
