//! What a shard counts, and which topics its changes are in.
//!
//! The counters are words of the process's counters file, if it keeps one, so counting is all that being watched costs. Topics are
//! sampled: of some changes the topic is noted, and whoever reads the notes makes of them which topics are hot. A sample touches a
//! few cold lines, so there are no more of them in a second than readers can use: every change while there are few of them, and
//! about [`SAMPLES_A_SECOND`] when there are more.

use super::{State, Store};
use crate::counters::{Counters, Field, Number, Row, Schema, Table, Text};

/// So many samples in a shard and second; each time that so many were taken the next ones are half as frequent.
const SAMPLES_A_SECOND: u64 = 64;
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
    help: "Topics of the latest sampled changes, in a ring for each shard.",
    fields: &[
        Field::gauge("change", "changes", "The number of the change in its shard."),
        Field::gauge("changes", "changes", "Changes since the sample before, which this one stands for."),
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
    /// The version whose change is the next sample; never reached without a sampler.
    sample_at: u64,
    sampler: Option<Box<Sampler>>,
}

impl Meter {
    pub(crate) fn new(meters: &Meters, shard: u16) -> Self {
        let shard = usize::from(shard);
        let row = meters.shard.row(shard);
        row.show();
        let sampler = meters.topics.as_ref().map(|tables| Box::new(Sampler::new(tables, shard)));
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
            sample_at: if sampler.is_some() { 1 } else { u64::MAX },
            sampler,
        }
    }
}

#[derive(Debug)]
struct Line {
    row: Row,
    members: Number,
    topic: Text,
}

impl Line {
    fn new(row: Row) -> Self {
        Self { members: row.number("members"), topic: row.text("topic"), row }
    }
}

/// A line of the ring: the change's number, and what the sample stands for.
#[derive(Debug)]
struct Note {
    line: Line,
    change: Number,
    changes: Number,
}

impl Note {
    fn new(row: Row) -> Self {
        Self { change: row.number("change"), changes: row.number("changes"), line: Line::new(row) }
    }
}

/// A topic by the number of its record, and the record's stamp: another topic that has the number later has another stamp.
type TopicId = (u32, u64);

/// Which topics the changes of a shard are in.
#[derive(Debug)]
struct Sampler {
    pace: Pace,
    samples: Vec<Note>,
    large: Vec<Line>,
    largest: Vec<TopicId>,
}

/// When samples are taken.
#[derive(Debug)]
struct Pace {
    taken: u64,
    /// The version at the last sample, and at the last second.
    sampled: u64,
    second: u64,
    /// Samples in this second, or since `stride` grew.
    lately: u64,
    /// Changes from one sample to the next, on average.
    stride: u64,
}

impl Pace {
    const fn new() -> Self {
        Self { taken: 0, sampled: 0, second: 0, lately: 0, stride: 1 }
    }

    /// A sample at that version: the changes that it stands for, and the version of the next one.
    fn take(&mut self, version: u64) -> (u64, u64) {
        let changes = version - self.sampled;
        self.sampled = version;
        self.taken += 1;
        self.lately += 1;
        if self.lately == SAMPLES_A_SECOND {
            self.lately = 0;
            self.stride = self.stride.saturating_mul(2);
        }
        (changes, version + self.gap())
    }

    /// A second is over: the version of the next sample, which is not farther off than `next`.
    fn tick(&mut self, version: u64, next: u64) -> u64 {
        self.stride = (version - self.second).div_ceil(SAMPLES_A_SECOND).max(1);
        self.second = version;
        self.lately = 0;
        next.min(version + self.gap())
    }

    /// Anything from one to almost twice the stride: changes that take turns among topics are not all taken for one of them.
    fn gap(&self) -> u64 {
        let spread = self.taken.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        1 + spread % (2 * self.stride - 1)
    }
}

impl Sampler {
    fn new([samples, large]: &[Table; 2], shard: usize) -> Self {
        let samples = (0..SAMPLES).map(|at| Note::new(samples.row(shard * SAMPLES + at))).collect();
        let large = (0..LARGEST).map(|at| Line::new(large.row(shard * LARGEST + at))).collect();
        Self { pace: Pace::new(), samples, large, largest: Vec::with_capacity(LARGEST) }
    }

    /// Notes the topic of the change that made it `version`; the version whose change is the next one.
    fn sample(&mut self, store: &Store, record: u32, version: u64) -> u64 {
        let (changes, next) = self.pace.take(version);
        let Note { line, change, changes: stands_for } =
            &self.samples[(self.pace.taken % SAMPLES as u64) as usize];
        let topic = store.topics.get(record);
        change.set(version);
        stands_for.set(changes);
        line.members.set(topic.len() as u64);
        line.topic.set_bytes(&topic.name);
        line.row.show();
        self.keep_large(store, (record, topic.stamp));
        next
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
        if self.version >= self.meter.sample_at {
            self.sample(record);
        }
    }

    #[cold]
    fn sample(&mut self, record: u32) {
        if let Some(sampler) = &mut self.meter.sampler {
            self.meter.sample_at = sampler.sample(&self.store, record, self.version);
        }
    }

    /// Sets what is not counted on the way.
    pub(crate) fn set_gauges(&mut self) {
        self.meter.entries.set(self.store.len() as u64);
        self.meter.topics.set(self.store.topics.len() as u64);
        self.meter.clock.set(self.lane.clock);
        self.meter.version.set(self.version);
        if let Some(sampler) = &mut self.meter.sampler {
            self.meter.sample_at = sampler.pace.tick(self.version, self.meter.sample_at);
            sampler.show_largest(&self.store);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs so many changes; the versions of the samples.
    fn run(pace: &mut Pace, from: &mut u64, next: &mut u64, changes: u64) -> Vec<u64> {
        let mut samples = Vec::new();
        for version in *from + 1..=*from + changes {
            if version >= *next {
                let (stands_for, at) = pace.take(version);
                assert!(stands_for > 0 && at > version);
                samples.push(version);
                *next = at;
            }
        }
        *from += changes;
        samples
    }

    #[test]
    fn every_change_is_a_sample_while_there_are_few_of_them() {
        let (mut pace, mut version, mut next) = (Pace::new(), 0, 1);
        for _ in 0..10 {
            assert_eq!(run(&mut pace, &mut version, &mut next, 60).len(), 60);
            next = pace.tick(version, next);
        }
    }

    #[test]
    fn samples_are_few_while_there_are_many_changes_and_stand_for_all_of_them() {
        let (mut pace, mut version, mut next) = (Pace::new(), 0, 1);
        let burst = run(&mut pace, &mut version, &mut next, 1_000_000);
        assert!((64..1_100).contains(&burst.len()), "{} samples of a sudden burst", burst.len());
        next = pace.tick(version, next);
        let second = run(&mut pace, &mut version, &mut next, 1_000_000);
        assert!((40..=128).contains(&second.len()), "{} samples in a second", second.len());
        // What they stand for has no hole: from each to the next.
        assert_eq!(pace.sampled, *second.last().unwrap());
        // Then there are few again: not later than a second after.
        next = pace.tick(version, next);
        run(&mut pace, &mut version, &mut next, 10);
        next = pace.tick(version, next);
        assert_eq!(run(&mut pace, &mut version, &mut next, 10).len(), 10);
    }

    #[test]
    fn topics_that_take_turns_have_their_share_of_samples() {
        let (mut pace, mut version, mut next) = (Pace::new(), 0, 1);
        let mut even = 0.0;
        let mut all = 0.0;
        for _ in 0..100 {
            for at in run(&mut pace, &mut version, &mut next, 100_000) {
                all += 1.0;
                even += f64::from(u8::from(at % 2 == 0));
            }
            next = pace.tick(version, next);
        }
        let share: f64 = even / all;
        assert!((0.45..0.55).contains(&share), "{share} of {all} samples");
    }
}
