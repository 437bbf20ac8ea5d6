//! What a shard counts, and which topics its changes are in.
//!
//! The counters are words of the process's counters file, if it keeps one, so counting is all that being watched costs. Topics are
//! sampled: of every [`SAMPLE_EVERY`]-th change its topic is noted, and whoever reads the notes makes of them which topics are hot.

use super::{State, Store};
use crate::counters::{Counters, Field, Number, Row, Schema, Table, Text};

/// Changes of a shard for each that is noted; a power of two.
const SAMPLE_EVERY: u64 = 64;
/// Notes of each shard that readers find.
const SAMPLES: usize = 16;
/// Topics of each shard that are kept as the largest.
const LARGEST: usize = 8;
const NAME_BYTES: usize = 64;

const SHARD: Schema = Schema {
    name: "shard",
    help: "A shard of the tracker: the topics whose names hash to it.",
    fields: &[
        Field::counter("tracked_total", "operations", "Entries tracked by this node's sessions."),
        Field::counter("updated_total", "operations", "Entries updated by this node's sessions."),
        Field::counter(
            "untracked_total",
            "operations",
            "Entries untracked, by this node's sessions that ended too.",
        ),
        Field::counter("remote_operations_total", "operations", "Changes applied for other nodes."),
        Field::counter(
            "events_total",
            "events",
            "Events queued for subscriptions, each subscription counted.",
        ),
        Field::gauge("entries", "entries", "Entries stored, hidden ones included; once a second."),
        Field::gauge("topics", "topics", "Topics with entries or listeners; once a second."),
        Field::gauge("clock", "operations", "The clock of its lane; once a second."),
        Field::gauge("version", "changes", "All changes since the start; once a second."),
    ],
};

const SAMPLE: Schema = Schema {
    name: "topic_sample",
    help: "Topics of the latest sampled changes, one change in 64, in a ring for each shard.",
    fields: &[
        Field::gauge("number", "samples", "The number of the sample in its shard."),
        Field::gauge("members", "entries", "Members that the topic had then."),
        Field::text("topic", NAME_BYTES, "The topic, cut to 64 bytes."),
    ],
};

const LARGE: Schema = Schema {
    name: "topic_large",
    help: "The largest topics of each shard among those that were sampled; once a second.",
    fields: &[
        Field::gauge("members", "entries", "Members of the topic."),
        Field::text("topic", NAME_BYTES, "The topic, cut to 64 bytes."),
    ],
};

/// The tables of all shards.
pub(crate) struct Meters {
    shard: Table,
    /// Nobody reads them if the counters have no file.
    topics: Option<[Table; 2]>,
}

impl Meters {
    pub(crate) fn new(counters: &Counters, shards: usize) -> Self {
        let seen = counters.are_seen();
        let topics = || [counters.table(&SAMPLE, shards * SAMPLES), counters.table(&LARGE, shards * LARGEST)];
        Self { shard: counters.table(&SHARD, shards), topics: seen.then(topics) }
    }
}

/// What a shard counts. Whoever counts holds the shard's lock.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) tracked: Number,
    pub(crate) updated: Number,
    pub(crate) untracked: Number,
    pub(crate) remote_operations: Number,
    pub(crate) events: Number,
    entries: Number,
    topics: Number,
    clock: Number,
    version: Number,
    sampler: Option<Box<Sampler>>,
}

impl Meter {
    pub(crate) fn new(meters: &Meters, shard: u16) -> Self {
        let shard = usize::from(shard);
        let row = meters.shard.row(shard);
        row.show();
        Self {
            tracked: row.number("tracked_total"),
            updated: row.number("updated_total"),
            untracked: row.number("untracked_total"),
            remote_operations: row.number("remote_operations_total"),
            events: row.number("events_total"),
            entries: row.number("entries"),
            topics: row.number("topics"),
            clock: row.number("clock"),
            version: row.number("version"),
            sampler: meters.topics.as_ref().map(|tables| Box::new(Sampler::new(tables, shard))),
        }
    }
}

#[derive(Debug)]
struct Line {
    row: Row,
    number: Option<Number>,
    members: Number,
    topic: Text,
}

impl Line {
    fn new(row: Row, numbered: bool) -> Self {
        let number = numbered.then(|| row.number("number"));
        Self { number, members: row.number("members"), topic: row.text("topic"), row }
    }
}

/// A topic by the number of its record, and the record's stamp: another topic that has the number later has another stamp.
type TopicId = (u32, u64);

/// Which topics the changes of a shard are in.
#[derive(Debug)]
struct Sampler {
    taken: u64,
    samples: Vec<Line>,
    large: Vec<Line>,
    largest: Vec<TopicId>,
}

impl Sampler {
    fn new([samples, large]: &[Table; 2], shard: usize) -> Self {
        let samples = (0..SAMPLES).map(|at| Line::new(samples.row(shard * SAMPLES + at), true)).collect();
        let large = (0..LARGEST).map(|at| Line::new(large.row(shard * LARGEST + at), false)).collect();
        Self { taken: 0, samples, large, largest: Vec::with_capacity(LARGEST) }
    }

    fn sample(&mut self, store: &Store, record: u32) {
        self.taken += 1;
        let line = &self.samples[(self.taken % SAMPLES as u64) as usize];
        let topic = store.topics.get(record);
        if let Some(number) = &line.number {
            number.set(self.taken);
        }
        line.members.set(topic.len() as u64);
        line.topic.set_bytes(&topic.name);
        line.row.show();
        self.keep_large(store, (record, topic.stamp));
    }

    fn keep_large(&mut self, store: &Store, id: TopicId) {
        if self.largest.contains(&id) {
            return;
        }
        if self.largest.len() < LARGEST {
            self.largest.push(id);
            return;
        }
        let members = |id: TopicId| members_of(store, id).unwrap_or(0);
        if let Some(least) = self.largest.iter_mut().min_by_key(|id| members(**id))
            && members(*least) < members(id)
        {
            *least = id;
        }
    }

    fn show_largest(&mut self, store: &Store) {
        self.largest.retain(|&id| members_of(store, id).is_some_and(|members| members > 0));
        for (at, line) in self.large.iter().enumerate() {
            match self.largest.get(at) {
                Some(&(record, _)) => {
                    let topic = store.topics.get(record);
                    line.members.set(topic.len() as u64);
                    line.topic.set_bytes(&topic.name);
                    line.row.show();
                }
                None => line.row.hide(),
            }
        }
    }
}

fn members_of(store: &Store, (record, stamp): TopicId) -> Option<usize> {
    let topic = store.topics.is_live(record).then(|| store.topics.get(record))?;
    (topic.stamp == stamp).then(|| topic.len())
}

impl State {
    /// One more change, in that topic.
    #[inline(always)]
    pub(super) fn count_change(&mut self, record: u32) {
        self.version += 1;
        if self.version.is_multiple_of(SAMPLE_EVERY) {
            self.sample(record);
        }
    }

    #[cold]
    fn sample(&mut self, record: u32) {
        if let Some(sampler) = &mut self.meter.sampler {
            sampler.sample(&self.store, record);
        }
    }

    /// Sets what is not counted on the way.
    pub(crate) fn set_gauges(&mut self) {
        self.meter.entries.set(self.store.len() as u64);
        self.meter.topics.set(self.store.topics.len() as u64);
        self.meter.clock.set(self.lane.clock);
        self.meter.version.set(self.version);
        if let Some(sampler) = &mut self.meter.sampler {
            sampler.show_largest(&self.store);
        }
    }
}
