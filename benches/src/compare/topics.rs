//! Listing topics: the tracker, and maps of maps.

use super::clock::{Cost, Timing, timed};
use super::data::Data;
use super::plan::{Plan, progress};
use super::stats::OURS;
use super::store::look_at;
use crate::peers::{DashTopics, LockedTopics, TopicMap};
use crate::{TOPIC_MEMBERS, shuffle_seeded};
use headcount::Tracker;

/// Who can list.
pub(crate) trait Lister {
    fn name(&self) -> &'static str;
    /// Lists these topics, looks at every member's meta, and returns how many there were. Members are looked at in
    /// their place, or, if `owned`, in a list that can be kept.
    fn list(&self, topics: &[[u8; 12]], owned: bool) -> usize;
}

impl Lister for Tracker {
    fn name(&self) -> &'static str {
        OURS
    }

    fn list(&self, topics: &[[u8; 12]], owned: bool) -> usize {
        let list = |topic: &[u8; 12]| {
            if !owned {
                return self.for_each(topic, |view| drop_look(view.meta()));
            }
            let entries = Tracker::list(self, topic);
            entries.iter().for_each(|entry| drop_look(entry.meta()));
            entries.len()
        };
        topics.iter().map(list).sum()
    }
}

struct Topics<M>(M);

impl<M: TopicMap> Lister for Topics<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn list(&self, topics: &[[u8; 12]], owned: bool) -> usize {
        let list = |topic: &[u8; 12]| {
            if !owned {
                return self.0.for_each(topic, |_, meta| drop_look(meta));
            }
            let members = self.0.list(topic);
            members.iter().for_each(|member| drop_look(&member.meta));
            members.len()
        };
        topics.iter().map(list).sum()
    }
}

/// [`look_at`] for its own sake.
fn drop_look(meta: &[u8]) {
    let _seen = look_at(meta);
}

/// Lists topics that were listed a moment ago: each several times in a row, the first time without a clock.
pub(crate) fn again(lister: &dyn Lister, topics: &[[u8; 12]]) -> Cost {
    const TIMES: usize = 4;
    let (mut members, mut total) = (0, Timing::default());
    for topic in topics.chunks(1) {
        lister.list(topic, false);
        let (listed, timing) = timed(|| (0..TIMES).map(|_| lister.list(topic, false)).sum::<usize>());
        members += listed;
        total += timing;
    }
    total.per(members)
}

/// The trackers as they are, and those of the maps that take part, with the same residents.
pub(crate) fn listers(
    plan: &Plan,
    data: &Data,
    trackers: impl Iterator<Item = Tracker>,
) -> Vec<Box<dyn Lister>> {
    let mut listers: Vec<Box<dyn Lister>> = Vec::new();
    listers.extend(trackers.map(|tracker| Box::new(tracker) as Box<dyn Lister>));
    let taking_part = |name| plan.entrants.iter().any(|entrant| entrant.name == name);
    if taking_part(<LockedTopics as TopicMap>::NAME) {
        listers.push(Box::new(filled::<LockedTopics>(data)));
    }
    if taking_part(<DashTopics as TopicMap>::NAME) {
        listers.push(Box::new(filled::<DashTopics>(data)));
    }
    listers
}

fn filled<M: TopicMap>(data: &Data) -> Topics<M> {
    progress(&format!("{} entries into topics of {}", data.load.len(), M::NAME));
    let map = M::default();
    data.load.iter().for_each(|item| map.insert(&item.row()));
    Topics(map)
}

/// All topics, in the order in which turns take them.
pub(crate) fn shuffled(plan: &Plan, data: &Data) -> Vec<[u8; 12]> {
    let mut topics: Vec<_> = data.load.iter().map(|item| item.row().topic).collect();
    topics.sort_unstable();
    topics.dedup();
    shuffle_seeded(&mut topics, plan.args.seed);
    topics
}

/// The topics of a turn: others than those of the turn before, as far as there are, and together with as many members
/// as a turn has operations.
pub(crate) fn of_turn<'a>(plan: &Plan, topics: &'a [[u8; 12]], turn: usize) -> &'a [[u8; 12]] {
    let count = plan.operations.div_ceil(TOPIC_MEMBERS).clamp(1, topics.len());
    let start = turn % (topics.len() / count) * count;
    &topics[start..start + count]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::plan::Args;
    use clap::Parser as _;

    #[test]
    fn turns_take_topic_after_topic_and_begin_again_at_the_end() {
        let args = Args::parse_from(["compare", "--entries", "300000", "--quick"]);
        let plan = Plan::new(args).unwrap_or_else(|error| panic!("{error}"));
        let topics: Vec<[u8; 12]> = (0..120).map(|topic| [topic; 12]).collect();
        let first = |turn| of_turn(&plan, &topics, turn)[0][0];
        assert_eq!(of_turn(&plan, &topics, 0).len(), 50);
        assert_eq!([0, 1, 2, 3].map(first), [0, 50, 0, 50]);
        assert_eq!(of_turn(&plan, &topics[..1], 3).len(), 1);
    }
}
