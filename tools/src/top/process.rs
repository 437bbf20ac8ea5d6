//! One process as `top` follows it: what it does now, and what it did.

use super::hot::Hot;
use super::picture::{Entry, Level, Node, Picture, Rate, Shard, Time, Topic};
use crate::inspect::choose::is_alive;
use crate::inspect::diary;
use crate::inspect::snapshot::{Snapshot, life_words};
use crate::inspect::span::{ALL_CHANGES, OWN_CHANGES, Span};
use crate::inspect::words::{self, plain};
use crate::number::grouped;
use headcount::counters::{Kind, Life, Reader};
use std::collections::{HashMap, VecDeque};

/// Looks that are remembered.
const REMEMBERED: usize = 256;

/// Rates that are shown: what they are called, and the counters that they are of.
const RATES: [(&str, &str, &[&str]); 9] = [
    ("changes here", "shard", &OWN_CHANGES),
    ("changes of others", "shard", &["remote_operations_total"]),
    ("events", "shard", &["events_total"]),
    ("clients' requests", "clients", &["requests_total"]),
    ("datagrams sent", "net", &["datagrams_sent"]),
    ("datagrams received", "net", &["datagrams_received"]),
    ("bytes sent", "net", &["bytes_sent"]),
    ("repairs sent", "net", &["repairs_sent"]),
    ("lost by this node", "net", &["receive_drops"]),
];

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Process {
    reader: Reader,
    before: Option<Snapshot>,
    now: Snapshot,
    /// By the names of what is shown.
    past: HashMap<String, VecDeque<u64>>,
    hot: Hot,
}

impl Process {
    pub(crate) fn new(mut reader: Reader) -> Self {
        let now = Snapshot::take(&mut reader);
        let mut hot = Hot::default();
        hot.look(&now, 0.0);
        Self { reader, before: None, now, past: HashMap::new(), hot }
    }

    pub(crate) fn file(&self) -> &str {
        &self.now.file
    }

    pub(crate) fn name(&self) -> String {
        self.now.name()
    }

    /// Whether it lives, as it is at this moment.
    pub(crate) fn life(&self) -> Life {
        self.reader.life()
    }

    /// Takes another look. What is dead stays as it was last.
    pub(crate) fn look(&mut self) {
        let now = Snapshot::take(&mut self.reader);
        if !is_alive(now.life) && !is_alive(self.now.life) {
            self.now = now;
            return;
        }
        let before = std::mem::replace(&mut self.now, now);
        let span = Span { before: &before, now: &self.now };
        self.hot.look(&self.now, span.seconds());
        for (name, rate) in rates(&span) {
            remember(&mut self.past, name, rate.round() as u64);
        }
        for (name, row, field) in times(&self.now) {
            let p99 = span.times("times", row, &field).and_then(|times| times.quantile(0.99));
            remember(&mut self.past, &name, p99.unwrap_or(0));
        }
        self.before = Some(before);
    }

    fn past(&self, name: &str) -> Vec<u64> {
        self.past.get(name).map_or_else(Vec::new, |past| past.iter().copied().collect())
    }

    pub(crate) fn level(&self) -> Level {
        match self.life() {
            Life::Running => Level::Good,
            Life::Silent(_) => Level::Doubtful,
            _ => Level::Bad,
        }
    }

    /// What there is to see of it.
    pub(crate) fn picture(&self) -> Picture {
        let now = &self.now;
        let life = self.life();
        let cluster =
            now.fact("cluster").map_or(String::new(), |name| format!(" of cluster {}", plain(name, 64)));
        let condition = match life {
            Life::Running => format!("running for {}", words::age(now.uptime())),
            life => life_words(life),
        };
        // What it did last is no rate of now; how it came to that is in the curves.
        let runs = is_alive(life);
        let span = self.before.as_ref().map(|before| Span { before, now });
        let rates = span.as_ref().map_or_else(Vec::new, rates);
        let rates = rates.into_iter().map(|(name, now)| Rate {
            name: name.into(),
            now: runs.then_some(now),
            history: self.past(name),
        });
        let large = diary::largest(now).into_iter().map(|(members, name)| Topic { name, members, rate: 0.0 });
        Picture {
            processes: Vec::new(),
            shown: 0,
            title: format!("{}{cluster}, pid {}", now.name(), now.pid),
            condition,
            level: self.level(),
            figures: figures(now),
            nodes: nodes(now),
            rates: rates.collect(),
            times: times(now).into_iter().map(|(name, row, field)| self.time(name, row, &field)).collect(),
            hot: if runs { self.hot.topics() } else { Vec::new() },
            large: large.collect(),
            shards: shards(now, span.filter(|_| runs)),
            diary: entries(now),
        }
    }

    fn time(&self, name: String, row: usize, field: &str) -> Time {
        let table = self.now.table("times");
        let all = table.and_then(|table| table.times(table.row(row)?, field));
        let quantile = |quantile| all.and_then(|all| all.quantile(quantile));
        let max = all.filter(|all| all.count() > 0).map(|all| all.max());
        let history = self.past(&name);
        Time { name, p50: quantile(0.5), p99: quantile(0.99), max, history }
    }
}

fn remember(past: &mut HashMap<String, VecDeque<u64>>, name: &str, value: u64) {
    let past = past.entry(name.to_owned()).or_default();
    if past.len() == REMEMBERED {
        past.pop_front();
    }
    past.push_back(value);
}

fn rates(span: &Span<'_>) -> Vec<(&'static str, f64)> {
    let rate = |&(name, table, fields): &(&'static str, &str, &[&str])| {
        let sum = fields.iter().map(|field| span.rate(table, field)).sum::<Option<f64>>()?;
        Some((name, sum))
    };
    RATES.iter().filter_map(rate).collect()
}

/// Histograms of the table of times: what each is called, its row and its field.
fn times(now: &Snapshot) -> Vec<(String, usize, String)> {
    let Some(table) = now.table("times") else { return Vec::new() };
    let of_row = |row: usize| {
        let fields = table.fields.iter().filter(|field| field.kind == Kind::Histogram);
        fields.map(move |field| (plain(&field.name.replace('_', " "), 24), row, field.name.clone()))
    };
    table.rows.first().map_or_else(Vec::new, |row| of_row(row.number).collect())
}

fn figures(now: &Snapshot) -> Vec<(String, String)> {
    let figure = |number: u64, one: &str, more: &str| {
        (if number == 1 { one } else { more }.to_owned(), grouped(number))
    };
    let mut figures = vec![figure(now.errors(), "error", "errors")];
    for (table, field, one, more) in [
        ("engine", "entries", "entry", "entries"),
        ("engine", "entries_local", "here", "here"),
        ("engine", "topics", "topic", "topics"),
        ("engine", "sessions", "session", "sessions"),
        ("engine", "subscriptions", "subscription", "subscriptions"),
        ("engine", "subscriptions_lagging", "behind", "behind"),
        ("clients", "connections", "client", "clients"),
    ] {
        figures.extend(now.number(table, field).map(|number| figure(number, one, more)));
    }
    figures
        .extend(now.number("engine", "memory_used_bytes").map(|used| ("memory".into(), words::bytes(used))));
    figures
}

/// The other nodes, and this one.
fn nodes(now: &Snapshot) -> Vec<Node> {
    let mut nodes = Vec::new();
    if now.number("node", "status").is_some() {
        let (state, level) = match now.number("node", "stale_since") {
            Some(since) if since > 0 => ("cut off", Level::Bad),
            _ => ("this", Level::Good),
        };
        nodes.push(Node {
            name: now.name(),
            state: state.into(),
            level,
            since: Some(now.uptime()),
            entries: now.number("engine", "entries_local").unwrap_or(0),
            ..Node::default()
        });
    }
    let Some(peers) = now.table("peer") else { return nodes };
    for row in &peers.rows {
        let number = |field| peers.number(row, field);
        let ago = |field| number(field).filter(|&at| at > 0).map(|at| now.ago(at));
        nodes.push(Node {
            name: plain(peers.text(row, "name").unwrap_or("?"), 64),
            state: match number("state") {
                Some(2) => "indirect".into(),
                state => diary::peer_state(state).into(),
            },
            level: match number("state") {
                Some(1) => Level::Good,
                Some(5) => Level::Bad,
                _ => Level::Doubtful,
            },
            since: ago("state_since"),
            heard: ago("heard_at"),
            entries: number("entries").unwrap_or(0),
            behind: number("operations_behind").unwrap_or(0),
        });
    }
    nodes
}

fn shards(now: &Snapshot, span: Option<Span<'_>>) -> Vec<Shard> {
    let Some(shards) = now.table("shard") else { return Vec::new() };
    let rate = |row| {
        let rate = |field: &&str| span.and_then(|span| span.row_rate("shard", row, field));
        ALL_CHANGES.iter().filter_map(rate).sum()
    };
    let shard = |row: &crate::inspect::snapshot::Row| Shard {
        number: row.number,
        rate: rate(row.number),
        entries: shards.number(row, "entries").unwrap_or(0),
    };
    shards.rows.iter().map(shard).collect()
}

fn entries(now: &Snapshot) -> Vec<Entry> {
    let entry = |(age, table, row): (_, &crate::inspect::snapshot::Table, usize)| {
        let row = &table.rows[row];
        let text = plain(table.text(row, "message").unwrap_or("?"), 184);
        Entry { age, text, errors: table.number(row, "count_total") }
    };
    let mut entries: Vec<Entry> =
        diary::latest(now, "error", "last_at", "last_at").into_iter().map(entry).collect();
    entries.extend(diary::latest(now, "event", "at", "number").into_iter().map(entry));
    entries.sort_by_key(|entry| entry.age);
    entries
}
