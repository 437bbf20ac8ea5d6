//! The longest single writes, each contestant in a process of its own: glibc leaves the sorting of small blocks that were freed to whoever
//! next asks for a large one, and a million of them that another contestant freed take it milliseconds.

use super::child;
use super::clock::Longest;
use super::data::Data;
use super::plan::{CompareError, Plan, progress};
use super::report::{LongestFigure, LongestWrite};
use super::stats::{OURS, best_peer, ratio};
use super::store::Store;
use super::turns::owners;
use crate::{SESSION_ENTRIES, mix};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Processes of each contestant. What its code takes long for, it takes long for in each of them; the machine strikes now and then.
const PROCESSES: usize = 3;

/// The longest writes of a contestant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LongestWrites {
    track: LongestFigure,
    update: LongestFigure,
    untrack: LongestFigure,
}

impl LongestWrites {
    /// Takes in another process's.
    fn take(&mut self, other: &Self) {
        self.track.take(other.track);
        self.update.take(other.update);
        self.untrack.take(other.untrack);
    }
}

/// Measures all maps that take part, and the tracker.
pub(crate) fn measure(plan: &Plan) -> Result<IndexMap<String, LongestWrite>, CompareError> {
    let mut all: IndexMap<&str, LongestWrites> = IndexMap::new();
    for entrant in &plan.entrants {
        progress(&format!("the longest writes of {}", entrant.name));
        let task = format!("longest:{}", entrant.name);
        let mut least: LongestWrites = child::run(plan, &task)?;
        for _ in 1..PROCESSES {
            least.take(&child::run(plan, &task)?);
        }
        all.insert(entrant.name, least);
    }
    let kind = |kind: &str, pick: fn(&LongestWrites) -> LongestFigure| {
        let contestants: IndexMap<String, LongestFigure> =
            all.iter().map(|(&name, writes)| (name.to_owned(), pick(writes))).collect();
        let best = best_peer(contestants.iter().map(|(name, figure)| (name.as_str(), figure.wall_us)));
        let ratio_to_best_peer = best.and_then(|(_, wall)| ratio(contestants.get(OURS)?.wall_us, wall));
        let best_peer = best.map(|(name, _)| name.to_owned());
        (kind.to_owned(), LongestWrite { contestants, best_peer, ratio_to_best_peer })
    };
    Ok([
        kind("track", |writes| writes.track),
        kind("update", |writes| writes.update),
        kind("untrack", |writes| writes.untrack),
    ]
    .into_iter()
    .collect())
}

/// Measures one, in this process: each join of the load, and the updates, joins and leaves of as many turns as there are rounds.
pub(crate) fn of<S: Store>(plan: &Plan) -> LongestWrites {
    let data = Data::new(plan.shape, plan.operations, plan.args.seed);
    let store = S::empty(data.load.len().div_ceil(SESSION_ENTRIES));
    let [mut track, mut update, mut untrack] = [Longest::default(); 3];
    track.look(&data.load, |item| store.join_resident(item));
    for round in 0..plan.rounds {
        let meta = [u8::try_from(round % 256).unwrap_or(0) ^ 0x80; 32];
        let residents = data.residents(mix(round as u64), plan.operations);
        update.look(residents, |item| assert!(store.update(item, &meta), "it is resident"));
        let owners = owners(&store, &data.fresh);
        track.look(&data.fresh, |item| store.join(&owners[item.session as usize], item));
        untrack.look(&data.fresh_random, |item| {
            assert!(store.leave(&owners[item.session as usize], item), "it was joined");
        });
    }
    let [track, update, untrack] = [track, update, untrack].map(|longest| {
        let us = |time: Duration| time.as_nanos() as f64 / 1_000.0;
        LongestFigure::new(us(longest.0.wall), us(longest.0.cpu))
    });
    LongestWrites { track, update, untrack }
}
