//! One topic with all members: listing it, and everybody joining and leaving it.

use super::clock::timed;
use super::data::Data;
use super::plan::{Plan, progress};
use super::report::Figures;
use super::stats::Rounds;
use super::topics;
use crate::Shape;
use indexmap::IndexMap;

const LIST: &str = "list_large";
const HOT: [(&str, usize); 2] = [("hot_topic_1t", 1), ("hot_topic_2t", 2)];

/// Measures what is wanted of it. Nothing else may be resident: the caller has dropped the rest.
pub(crate) fn measure(plan: &Plan, figures: &mut Figures) {
    let hot = plan.wants_any(&HOT.map(|(name, _)| name));
    if !hot && !plan.wants(LIST) {
        return;
    }
    let shape = Shape { topic_members: plan.shape.entries, ..plan.shape };
    let data = Data::new(shape, plan.operations, plan.args.seed);
    let mut contestants = Vec::new();
    // A listing needs the tracker only.
    for entrant in plan.entrants.iter().take(if hot { usize::MAX } else { 1 }) {
        progress(&format!("{} entries of one topic into {}", shape.entries, entrant.name));
        contestants.push((entrant.load)(&data));
    }
    let listers = if plan.wants(LIST) {
        topics::listers(plan, &data, contestants.iter().filter_map(|contestant| contestant.tracker()))
    } else {
        Vec::new()
    };
    let topic = topics::shuffled(plan, &data);
    let mut table = IndexMap::<&str, Rounds>::new();
    for round in 0..plan.rounds {
        progress(&format!("one topic, round {} of {}", round + 1, plan.rounds));
        for lister in Plan::order(listers.len(), round).map(|at| &listers[at]) {
            let (members, timing) = timed(|| lister.list(&topic, false));
            table.entry(LIST).or_default().add(lister.name(), timing.per(members));
        }
        for (name, threads) in HOT.into_iter().filter(|(name, _)| plan.wants(name)) {
            let pairs = (plan.operations / 2 / threads).max(1);
            let items: Vec<_> = data.fresh.chunks(data.fresh.len().div_ceil(threads)).collect();
            for contestant in Plan::order(contestants.len(), round).map(|at| &contestants[at]) {
                table.entry(name).or_default().add(contestant.name(), contestant.hot(&items, pairs));
            }
        }
    }
    let names: Vec<&str> = plan.entrants.iter().map(|entrant| entrant.name).collect();
    for (name, rounds) in table {
        figures.operations.insert(name.to_owned(), rounds.operation(&names));
    }
}
