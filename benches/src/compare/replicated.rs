//! The tracker beside another ORSWOT: membership, and taking in a delta.

use super::clock::{Cost, Timing, timed};
use super::contestants::Ours;
use super::data::Data;
use super::plan::{ORSWOT, Plan, progress};
use super::report::Figures;
use super::stats::{OURS, Rounds, ratio};
use super::turns::{Contestant, load};
use crate::Shape;
use crate::pair::{DELTA, Pair};
use crate::peers::OrswotSet;
use indexmap::IndexMap;
use std::time::Duration;

const SET: [&str; 3] = ["crdt_contains", "crdt_add", "crdt_remove"];
/// Deltas of one turn of the tracker. One is shorter than a time slice.
const DELTAS: usize = 20;
/// A merge that takes longer is done once only.
const MERGE_MAX: Duration = Duration::from_secs(20);
/// Members up to which the ORSWOT merges with `--quick`: it looks at all of them each time.
const QUICK_MERGE_MAX: usize = 100_000;

/// Measures what is wanted of it. The large maps are not resident any more.
pub(crate) fn measure(plan: &Plan, figures: &mut Figures) {
    if plan.wants_any(&SET) {
        set(plan, figures);
    }
    let tenth = plan.shape.entries.div_ceil(10);
    let names = [tenth, plan.shape.entries].map(|entries| (format!("delta_apply_{entries}"), entries));
    for (name, entries) in &names {
        if plan.wants(name) {
            let operation = delta(plan, *entries).operation(&[OURS, ORSWOT.name]);
            figures.operations.insert(name.clone(), operation);
        }
    }
    let ours = |name: &str| Some(figures.operations.get(name)?.contestants.get(OURS)?.wall_ns);
    figures.delta_apply_growth =
        ours(&names[1].0).zip(ours(&names[0].0)).and_then(|(all, tenth)| ratio(all, tenth));
}

/// What both do as sets, with a tenth resident. The peer keeps no meta.
fn set(plan: &Plan, figures: &mut Figures) {
    let shape = Shape { entries: plan.shape.entries.div_ceil(10), ..plan.shape };
    let data = Data::new(shape, plan.operations.min(shape.entries), plan.args.seed);
    let mut contestants: Vec<Box<dyn Contestant>> = vec![load::<Ours>(&data)];
    if plan.orswot {
        contestants.push((ORSWOT.load)(&data));
    }
    let mut table = IndexMap::<&str, Rounds>::new();
    for round in 0..plan.rounds {
        progress(&format!("sets, round {} of {}", round + 1, plan.rounds));
        for contestant in Plan::order(contestants.len(), round).map(|at| &contestants[at]) {
            let found = contestant.read(data.residents(round as u64, plan.operations), true);
            let [added, removed] = contestant.join_and_leave(&data.fresh, &data.fresh_random);
            for (name, cost) in SET.into_iter().zip([found, added, removed]) {
                table.entry(name).or_default().add(contestant.name(), cost);
            }
        }
    }
    for (name, rounds) in table.into_iter().filter(|(name, _)| plan.wants(name)) {
        figures.operations.insert(name.to_owned(), rounds.operation(&[OURS, ORSWOT.name]));
    }
}

/// Deltas into this many residents.
fn delta(plan: &Plan, entries: usize) -> Rounds {
    let shape = Shape { entries, ..plan.shape };
    progress(&format!("deltas into {entries} entries"));
    let pair = Pair::new(shape);
    let mut peer =
        (plan.orswot && (!plan.args.quick || entries <= QUICK_MERGE_MAX)).then(|| Merging::new(shape));
    let mut rounds = Rounds::default();
    for round in 0..plan.rounds {
        let mut turns: [(&str, &mut dyn FnMut() -> Option<Cost>); 2] =
            [(OURS, &mut || Some(ours(&pair))), (ORSWOT.name, &mut || peer.as_mut()?.merge(round as u64))];
        turns.rotate_left(round % 2);
        for (name, turn) in turns {
            if let Some(cost) = turn() {
                rounds.add(name, cost);
            }
        }
    }
    rounds
}

fn ours(pair: &Pair) -> Cost {
    let mut total = Timing::default();
    for _ in 0..DELTAS {
        let (wall, cpu) = pair.time_delta();
        total += Timing { wall, cpu };
    }
    total.per(DELTAS * DELTA)
}

/// An ORSWOT that merges deltas.
struct Merging {
    set: OrswotSet,
    shape: Shape,
    too_long: bool,
}

impl Merging {
    fn new(shape: Shape) -> Self {
        let mut set = OrswotSet::new(0);
        (0..shape.entries).for_each(|index| set.add(&shape.row(index).flat_key()));
        Self { set, shape, too_long: false }
    }

    /// Takes in a delta of another actor each round. Its members leave again, untimed.
    fn merge(&mut self, round: u64) -> Option<Cost> {
        if self.too_long {
            return None;
        }
        let rows = (self.shape.entries..self.shape.entries + DELTA).map(|index| self.shape.row(index));
        let keys: Vec<_> = rows.map(|row| row.flat_key()).collect();
        let mut delta = OrswotSet::new(round + 1);
        keys.iter().for_each(|key| delta.add(key));
        let ((), timing) = timed(|| self.set.merge(delta));
        assert!(keys.iter().all(|key| self.set.remove(key)), "the delta was taken in");
        self.too_long = timing.wall > MERGE_MAX;
        Some(timing.per(DELTA))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orswot_takes_each_delta_in_and_keeps_the_rest() {
        let shape = Shape { entries: 2_000, topic_members: 100 };
        let mut merging = Merging::new(shape);
        for round in 0..3 {
            assert!(merging.merge(round).is_some_and(|cost| cost.wall_ns > 0.0));
        }
        assert!((0..shape.entries).all(|index| merging.set.contains(&shape.row(index).flat_key())));
    }
}
