//! Which topics change most, from the samples that a tracker leaves.

use crate::inspect::snapshot::Snapshot;
use crate::inspect::words::plain;
use crate::top::picture::Topic;
use std::collections::HashMap;

/// How fast what was is forgotten: after so many seconds a third of it is left.
const MEMORY_S: f64 = 10.0;
/// Topics below so many changes a second are forgotten.
const LEAST: f64 = 0.01;

/// Estimates for every topic that was sampled lately.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    /// The change of the last sample of each shard that was counted.
    seen: HashMap<usize, u64>,
    topics: HashMap<String, Held>,
    /// Seconds looked at so far; none before the first look, whose samples may be of any age.
    watched: Option<f64>,
}

/// A row of the table `topic_sample`.
struct Sample {
    change: u64,
    changes: u64,
    members: u64,
    topic: String,
}

#[derive(Debug, Default)]
struct Held {
    /// Changes, those of long ago counted less.
    weight: f64,
    members: u64,
}

impl Hot {
    /// Takes in the samples that came in the last `seconds`.
    pub(crate) fn look(&mut self, now: &Snapshot, seconds: f64) {
        let first = self.watched.is_none();
        let kept = (-seconds / MEMORY_S).exp();
        self.topics.values_mut().for_each(|held| held.weight *= kept);
        self.watched = Some(self.watched.map_or(0.0, |watched| watched + seconds));
        let Some(samples) = now.table("topic_sample") else { return };
        let shards = now.table("shard").map_or(1, |shards| shards.room.max(1));
        let per_shard = (samples.room / shards).max(1);
        let mut new: HashMap<usize, Vec<Sample>> = HashMap::new();
        for row in &samples.rows {
            let shard = row.number / per_shard;
            let number = |name| samples.number(row, name);
            let (Some(change), Some(changes), Some(topic)) =
                (number("change"), number("changes"), samples.text(row, "topic"))
            else {
                continue;
            };
            if change > self.seen.get(&shard).copied().unwrap_or(0) {
                let members = number("members").unwrap_or(0);
                let topic = plain(topic, 64);
                new.entry(shard).or_default().push(Sample { change, changes, members, topic });
            }
        }
        for (shard, mut samples) in new {
            samples.sort_by_key(|sample| sample.change);
            let last = samples.last().map_or(0, |sample| sample.change);
            let before = self.seen.insert(shard, last).unwrap_or(0);
            // Of more samples than the ring has room for, those that are left stand for all.
            let stood_for = samples.iter().map(|sample| sample.changes).sum::<u64>();
            let weight = last.saturating_sub(before) as f64 / stood_for.max(1) as f64;
            for Sample { changes, members, topic, .. } in samples {
                let held = self.topics.entry(topic).or_default();
                held.members = members;
                if !first {
                    held.weight += weight * changes as f64;
                }
            }
        }
        if !first {
            let span = self.span();
            self.topics.retain(|_, held| held.weight / span > LEAST);
        }
    }

    /// The seconds that weights are of.
    fn span(&self) -> f64 {
        let watched = self.watched.unwrap_or(0.0);
        (MEMORY_S * (1.0 - (-watched / MEMORY_S).exp())).max(0.1)
    }

    /// The topics, in no order.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        let span = self.span();
        let topic = |(name, held): (&String, &Held)| {
            let (name, members) = (name.clone(), held.members);
            Topic { name, members, rate: held.weight / span }
        };
        self.topics.iter().map(topic).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::snapshot::tests::{Folder, taken};

    #[test]
    fn rates_of_topics_are_estimated_and_fade() {
        let folder = Folder::new("hot");
        let counters = folder.counters();
        let tracker = headcount::Config::default().shards(1).counters(counters.clone()).build().unwrap();
        let session = tracker.session();
        let changes = |topic: &str, count: usize| {
            for _ in 0..count / 2 {
                session.track(topic, "k", "").unwrap();
                session.untrack(topic, "k").unwrap();
            }
        };
        let mut hot = Hot::default();
        changes("old", 640);
        hot.look(&taken(&counters), 0.0);
        assert!(hot.topics().iter().all(|topic| topic.rate == 0.0), "nobody knows how old they are");
        // Three times as many as fit the ring of samples, a second's worth.
        for _ in 0..48 {
            changes("busy", 48);
            changes("calm", 16);
        }
        hot.look(&taken(&counters), 1.0);
        let rate = |hot: &Hot, name: &str| {
            hot.topics().iter().filter(|topic| topic.name == name).map(|topic| topic.rate).sum::<f64>()
        };
        let sum = rate(&hot, "busy") + rate(&hot, "calm");
        assert!((2900.0..3400.0).contains(&sum), "{sum} of 3072");
        assert_eq!(rate(&hot, "old"), 0.0);
        for _ in 0..30 {
            hot.look(&taken(&counters), 1.0);
        }
        let faded = rate(&hot, "busy") + rate(&hot, "calm");
        assert!(faded < sum / 20.0, "{faded} is left of {sum}");
        for _ in 0..150 {
            hot.look(&taken(&counters), 1.0);
        }
        assert!(hot.topics().is_empty());
    }
}
