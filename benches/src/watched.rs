//! What it costs in time that another process can see what a tracker counts: one that counts in a file beside one that does not, turn by
//! turn, on the same rows. Instructions are counted by `count watched`, and do not move with the machine's noise.

use crate::compare::{median, timed};
use crate::{Resident, Row, Shape};
use headcount::Config;
use headcount::counters::{Counters, CreateError};
use std::hint::black_box;

/// What is measured.
pub const OPERATIONS: [&str; 4] = ["get", "update", "track", "untrack"];
const ROOM: &str = "the limits are far, and the rows are fresh";

/// Both trackers, and rows that come and go.
#[derive(Debug)]
pub struct Watched {
    /// Without a file, with one.
    trackers: [Resident; 2],
    fresh: Vec<Row>,
}

/// CPU nanoseconds of one operation each, without a file and with one.
pub type Round = [[f64; 2]; OPERATIONS.len()];

impl Watched {
    /// Both hold the rows of a shape. Which pages memory is in makes a difference of a few percent between two trackers that are
    /// alike, so one pair says little: `number` says which of the two is made first.
    ///
    /// # Errors
    /// The counters file could not be made.
    ///
    /// # Panics
    /// If a tracker refuses.
    pub fn new(shape: Shape, number: usize) -> Result<Self, CreateError> {
        let seen = Counters::create(headcount::counters::default_dir())?;
        Ok(Self::of(shape, number, [Counters::private(), seen]))
    }

    /// Neither has a file: what is told apart then is the measurement's own doing.
    ///
    /// # Panics
    /// If a tracker refuses.
    #[must_use]
    pub fn control(shape: Shape, number: usize) -> Self {
        Self::of(shape, number, [Counters::private(), Counters::private()])
    }

    fn of(shape: Shape, number: usize, counters: [Counters; 2]) -> Self {
        let make = |counters| Resident::with_config(shape, Config::default().counters(counters));
        let [without, with] = counters;
        let trackers = if number.is_multiple_of(2) {
            let first = make(without);
            [first, make(with)]
        } else {
            let first = make(with);
            [make(without), first]
        };
        Self { trackers, fresh: shape.fresh(10_000) }
    }

    /// Every operation on both, the one or the other first by turns.
    ///
    /// # Panics
    /// If a tracker refuses.
    #[must_use]
    pub fn round(&self, number: usize) -> Round {
        let mut round = Round::default();
        for step in 0..2 {
            let which = (number + step) % 2;
            for (cost, spent) in round.iter_mut().zip(self.turn(which, number)) {
                cost[which] = spent;
            }
        }
        round
    }

    fn turn(&self, which: usize, number: usize) -> [f64; OPERATIONS.len()] {
        let Resident { tracker, rows, sessions } = &self.trackers[which];
        let (_, get) = timed(|| {
            for (row, _) in rows {
                tracker.read(row.topic, row.key, |entry| {
                    black_box(entry.meta());
                });
            }
        });
        let meta = [number as u8; 32];
        let (_, update) = timed(|| {
            for (row, session) in rows {
                sessions[*session].update(row.topic, row.key, meta).expect(ROOM);
            }
        });
        let session = tracker.session();
        let (_, track) = timed(|| {
            for row in &self.fresh {
                session.track(row.topic, row.key, row.meta).expect(ROOM);
            }
        });
        let (_, untrack) = timed(|| {
            for row in &self.fresh {
                assert_eq!(session.untrack(row.topic, row.key), Ok(true));
            }
        });
        let (resident, fresh) = (rows.len(), self.fresh.len());
        [get.per(resident), update.per(resident), track.per(fresh), untrack.per(fresh)]
            .map(|cost| cost.cpu_ns)
    }
}

/// What the rounds say of an operation: CPU nanoseconds without a file and with one, and the one over the other; medians.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cost {
    /// The operation.
    pub operation: &'static str,
    /// Nanoseconds without a file.
    pub without_ns: f64,
    /// Nanoseconds with one.
    pub with_ns: f64,
    /// The median of the pairs' ratios, each the median of its rounds' ratios.
    pub ratio: f64,
    /// The lowest and the highest of the pairs' ratios.
    pub range: [f64; 2],
}

/// Sums up what the rounds of each pair of trackers say.
#[must_use]
pub fn costs(pairs: &[Vec<Round>]) -> Vec<Cost> {
    let cost = |(at, &operation): (usize, &&'static str)| {
        let ns = |which: usize| median(pairs.iter().flatten().map(|round| round[at][which]));
        let ratio = |rounds: &Vec<Round>| median(rounds.iter().map(|round| round[at][1] / round[at][0]));
        let range = pairs
            .iter()
            .map(ratio)
            .fold([f64::INFINITY, 0.0], |[low, high], ratio| [low.min(ratio), high.max(ratio)]);
        Cost { operation, without_ns: ns(0), with_ns: ns(1), ratio: median(pairs.iter().map(ratio)), range }
    };
    OPERATIONS.iter().enumerate().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trackers_do_the_same_and_stay_as_they_are() {
        let watched = Watched::new(Shape { entries: 2_000, topic_members: 100 }, 1).expect("there is room");
        for number in 0..2 {
            let round = watched.round(number);
            assert!(round.iter().flatten().all(|&spent| spent > 0.0), "{round:?}");
        }
        let [private, seen] = &watched.trackers;
        assert!(!private.tracker.counters().are_seen() && seen.tracker.counters().are_seen());
        assert_eq!((private.tracker.len(), seen.tracker.len()), (2_000, 2_000));
        let totals = |resident: &Resident| {
            let stats = resident.tracker.stats();
            (stats.tracked_total, stats.updated_total, stats.untracked_total)
        };
        assert_eq!(totals(private), totals(seen));
        assert_eq!(totals(seen), (22_000, 4_000, 20_000));
    }

    #[test]
    fn a_cost_is_the_median_of_the_rounds_and_of_the_pairs_ratios() {
        let round = |without: f64, with: f64| [[without, with]; OPERATIONS.len()];
        let first = vec![round(100.0, 110.0), round(200.0, 204.0), round(50.0, 50.0)];
        let costs = costs(&[first, vec![round(100.0, 99.0)], vec![round(100.0, 105.0)]]);
        assert_eq!(costs.len(), OPERATIONS.len());
        assert_eq!((costs[0].without_ns, costs[0].with_ns), (100.0, 105.0));
        assert!((costs[3].ratio - 1.02).abs() < 1e-9, "{:?}", costs[3]);
        assert_eq!(costs[3].range, [0.99, 1.05]);
    }
}
