//! What a tracker shows of itself once a second in a counters file.

use crate::counters::{Counters, Field, Number, Schema};
use crate::shard::State;
use crate::sync::{Arc, Ordering};
use crate::tracker::Inner;
use crate::{Error, ShardStats, Stats};

const ENGINE: Schema = Schema {
    name: "engine",
    help: "The tracker as a whole; once a second.",
    fields: &[
        Field::gauge("entries", "entries", "Entries stored, this node's and others', hidden ones included."),
        Field::gauge("entries_local", "entries", "Entries of this node's sessions."),
        Field::gauge("entries_remote", "entries", "Entries of other nodes, hidden ones included."),
        Field::gauge("topics", "topics", "Topics with entries or listeners."),
        Field::gauge("sessions", "sessions", "Live sessions."),
        Field::gauge("subscriptions", "subscriptions", "Live subscriptions."),
        Field::gauge(
            "subscriptions_lagging",
            "subscriptions",
            "Live subscriptions that miss events at present.",
        ),
        Field::gauge("queue_longest", "events", "Events that wait in the fullest queue of a subscription."),
        Field::gauge("queue_max", "events", "Events that a queue holds at the most."),
        Field::gauge("events_missed", "events", "Events that live subscriptions missed."),
        Field::gauge("nodes_remote", "nodes", "Other nodes known."),
        Field::gauge("origins_purging", "lives", "Lives of other nodes whose entries wait to be purged."),
        Field::gauge("memory_used_bytes", "bytes", "Bytes of the arena in use."),
        Field::gauge("memory_held_bytes", "bytes", "Bytes of the arena that the system gave memory for."),
        Field::gauge("memory_reserved_bytes", "bytes", "Address space of the arena."),
        Field::gauge("memory_max_bytes", "bytes", "Bytes of the arena that may be used."),
        Field::gauge("memory_huge_advised", "", "1 if the system agreed to huge pages for the arena."),
        Field::gauge("shard_entries_max", "entries", "Most entries of a shard."),
    ],
};

/// Which number of the tracker a gauge shows.
type Shows = fn(&Stats) -> usize;

/// The gauges, with what each shows.
struct Gauges(Vec<(Number, Shows)>);

impl Gauges {
    fn set(&self, stats: &Stats) {
        for (number, of) in &self.0 {
            number.set(of(stats) as u64);
        }
    }
}

/// Shows the tracker once a second, as long as it is there.
pub(crate) fn show(inner: &Arc<Inner>, counters: &Counters) {
    if !counters.are_seen() {
        return;
    }
    let row = counters.table(&ENGINE, 1).row(0);
    let shown: [(&str, Shows); 15] = [
        ("entries", |stats| stats.entries),
        ("entries_local", |stats| stats.entries_local),
        ("entries_remote", |stats| stats.entries_remote),
        ("topics", |stats| stats.topics),
        ("sessions", |stats| stats.sessions),
        ("subscriptions", |stats| stats.subscriptions),
        ("subscriptions_lagging", |stats| stats.subscriptions_lagging),
        ("queue_longest", |stats| stats.queue_longest),
        ("events_missed", |stats| stats.events_missed_total as usize),
        ("nodes_remote", |stats| stats.nodes_remote),
        ("origins_purging", |stats| stats.origins_purging),
        ("memory_used_bytes", |stats| stats.memory_used_bytes),
        ("memory_held_bytes", |stats| stats.memory_held_bytes),
        ("memory_reserved_bytes", |stats| stats.memory_reserved_bytes),
        ("memory_huge_advised", |stats| usize::from(stats.memory_huge_advised)),
    ];
    let gauges = Gauges(shown.into_iter().map(|(name, of)| (row.number(name), of)).collect());
    row.number("queue_max").set(inner.config.subscription_queue_max as u64);
    row.number("memory_max_bytes").set(inner.config.memory_max as u64);
    row.number("shard_entries_max").set(inner.config.shard_entries_max as u64);
    let tracker = Arc::downgrade(inner);
    let mut is_shown = false;
    counters.every_second(move || {
        let Some(inner) = tracker.upgrade() else { return false };
        gauges.set(&inner.measure(State::set_gauges));
        inner.note_missed();
        if !is_shown {
            row.show();
            is_shown = true;
        }
        true
    });
}

impl Inner {
    /// Notes in the error log what slow subscriptions missed lately. Not where they miss it: that is under a shard's lock.
    fn note_missed(&self) {
        let missed = self.inboxes.lock().values().map(|listener| listener.inbox.newly_missed()).sum();
        self.note_missed_by(missed);
    }

    /// Notes in the error log that subscriptions missed so many events.
    pub(crate) fn note_missed_by(&self, missed: u64) {
        if missed > 0 {
            self.counters
                .count_error("events were missed by subscriptions whose readers are too slow", missed);
        }
    }

    /// Runs an operation of a session, and notes in the error log if a limit refuses it. No lock is held then.
    #[inline(always)]
    pub(crate) fn noting<T>(&self, operation: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        operation().map_err(|error| self.noted(error))
    }

    /// What the caller got wrong otherwise is its own to know.
    #[cold]
    #[inline(never)]
    fn noted(&self, error: Error) -> Error {
        if !self.counters.are_seen() {
            return error;
        }
        let what = match &error {
            Error::Full { field, .. } => format!("operations were refused: {field} is reached"),
            Error::TooLong { field, .. } => format!("operations were refused: the {field} was too long"),
            Error::AlreadyTracked { .. } | Error::NotTracked | Error::Shutdown => return error,
        };
        self.counters.count_error(&what, 1);
        error
    }

    /// Numbers about the tracker. Each shard is looked at under its lock, by `look` as well.
    pub(crate) fn measure(&self, look: impl Fn(&mut State)) -> Stats {
        let mut stats = Stats { entries_local: self.entries_local(), ..Stats::default() };
        for shard in &self.shards {
            let mut state = shard.lock();
            look(&mut state);
            let shard = ShardStats {
                entries: state.store.len(),
                topics: state.store.topics.len(),
                clock: state.lane.clock,
                version: state.version,
            };
            stats.entries += shard.entries;
            stats.topics += shard.topics;
            stats.shards.push(shard);
            stats.tracked_total += state.meter.tracked.get();
            stats.updated_total += state.meter.updated.get();
            stats.untracked_total += state.meter.untracked.get();
            stats.remote_operations_total += state.meter.remote_operations.get();
            stats.events_total += state.meter.events.get();
        }
        stats.entries_remote = stats.entries.saturating_sub(stats.entries_local);
        stats.sessions = usize::try_from(self.sessions_live.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let memory = self.commons.memory();
        stats.memory_used_bytes = memory.used_bytes;
        stats.memory_held_bytes = memory.held_bytes;
        stats.memory_reserved_bytes = memory.reserved_bytes;
        stats.memory_huge_advised = memory.huge_advised;
        (stats.nodes_remote, stats.origins_purging) = self.origins.counts();
        let inboxes = self.inboxes.lock();
        stats.subscriptions = inboxes.len();
        for listener in inboxes.values() {
            let (waiting, lags, missed) = listener.inbox.measure();
            stats.queue_longest = stats.queue_longest.max(waiting);
            stats.subscriptions_lagging += usize::from(lags);
            stats.events_missed_total += missed;
        }
        stats
    }
}
