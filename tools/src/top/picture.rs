//! What `top` shows, as plain values: drawing needs nothing else.

use std::time::Duration;

/// How good something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Level {
    #[default]
    Good,
    Doubtful,
    Bad,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// Every process, and which is shown.
    pub(crate) processes: Vec<(String, Level)>,
    pub(crate) shown: usize,
    /// The process and where it is at home.
    pub(crate) title: String,
    /// Whether it lives, in words.
    pub(crate) condition: String,
    pub(crate) level: Level,
    /// Figures of the whole, with their names.
    pub(crate) figures: Vec<(String, String)>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) times: Vec<Time>,
    pub(crate) hot: Vec<Topic>,
    pub(crate) large: Vec<Topic>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) diary: Vec<Entry>,
}

/// A node of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) level: Level,
    pub(crate) since: Option<Duration>,
    pub(crate) heard: Option<Duration>,
    pub(crate) entries: u64,
    pub(crate) behind: u64,
}

/// How fast a counter grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    pub(crate) name: String,
    /// None of a process that does not run.
    pub(crate) now: Option<f64>,
    /// One for each look, the latest last.
    pub(crate) history: Vec<u64>,
}

/// How long something takes, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Time {
    pub(crate) name: String,
    /// Since the process started.
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) max: Option<u64>,
    /// The p99 of what came between two looks, one for each look, the latest last; 0 if nothing came.
    pub(crate) history: Vec<u64>,
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) members: u64,
    /// Changes a second, estimated from samples.
    pub(crate) rate: f64,
}

/// A shard of the tracker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    pub(crate) number: usize,
    /// Changes a second.
    pub(crate) rate: f64,
    pub(crate) entries: u64,
}

/// An error, with how often it came, or an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) age: Duration,
    pub(crate) text: String,
    pub(crate) errors: Option<u64>,
}

impl Shard {
    /// Whether a shard has so much more than its share that its lock is the node's limit.
    pub(crate) fn is_hot(&self, all: &[Self]) -> bool {
        let sum: f64 = all.iter().map(|shard| shard.rate).sum();
        let share = sum / all.len().max(1) as f64;
        all.len() > 1 && sum >= 10.0 && self.rate > 3.0 * share
    }
}
