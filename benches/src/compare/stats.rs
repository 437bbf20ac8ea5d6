//! From the rounds' figures to those of the report.

use super::clock::Cost;
use super::report::{Figure, Operation};
use indexmap::IndexMap;

/// What the reports call the tracker.
pub(crate) const OURS: &str = "headcount";

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// How many times `theirs` ours is; `None` where that is no number.
pub(crate) fn ratio(ours: f64, theirs: f64) -> Option<f64> {
    let ratio = ours / theirs;
    ratio.is_finite().then_some(ratio)
}

/// The peer with the smallest value. Ours is none.
pub(crate) fn best_peer<'a>(values: impl IntoIterator<Item = (&'a str, f64)>) -> Option<(&'a str, f64)> {
    values.into_iter().filter(|&(name, _)| name != OURS).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// The rounds of one operation.
#[derive(Clone, Default, Debug)]
pub(crate) struct Rounds(pub(crate) IndexMap<String, Vec<Cost>>);

impl Rounds {
    pub(crate) fn add(&mut self, name: &str, cost: Cost) {
        self.0.entry(name.to_owned()).or_default().push(cost);
    }

    /// Ours of these rounds beside the peers of others.
    pub(crate) fn ours_beside(&self, others: &Self) -> Self {
        let mut both: IndexMap<_, _> = self
            .0
            .iter()
            .filter(|(name, _)| *name == OURS)
            .map(|(name, costs)| (name.clone(), costs.clone()))
            .collect();
        both.extend(
            others
                .0
                .iter()
                .filter(|(name, _)| *name != OURS)
                .map(|(name, costs)| (name.clone(), costs.clone())),
        );
        Self(both)
    }

    /// Two operations after each other, round by round.
    pub(crate) fn sum(&self, other: &Self) -> Self {
        let sums = self.0.iter().filter_map(|(name, costs)| {
            let others = other.0.get(name)?;
            Some((name.clone(), costs.iter().zip(others).map(|(&a, &b)| a + b).collect()))
        });
        Self(sums.collect())
    }

    /// Medians and ratios. Contestants come in the order of `names`, whatever the order of the rounds.
    pub(crate) fn operation(&self, names: &[&str]) -> Operation {
        let in_order = names.iter().filter_map(|&name| self.0.get(name).map(|costs| (name, costs)));
        let contestants: IndexMap<String, Figure> =
            in_order.map(|(name, costs)| (name.to_owned(), figure(costs))).collect();
        let mut operation = Operation { contestants, ..Operation::default() };
        let walls = || operation.contestants.iter().map(|(name, figure)| (name.as_str(), figure.wall_ns));
        let cpus = operation.contestants.iter().map(|(name, figure)| (name.as_str(), figure.cpu_ns));
        let best = best_peer(walls());
        let best_cpu = best_peer(cpus);
        if let Some(ours) = operation.contestants.get(OURS) {
            let peers = walls().filter(|&(name, _)| name != OURS);
            let ratios: IndexMap<_, _> = peers
                .filter_map(|(name, wall)| Some((name.to_owned(), ratio(ours.wall_ns, wall)?)))
                .collect();
            operation.ratio_to_best_peer = best.and_then(|(_, wall)| ratio(ours.wall_ns, wall));
            operation.ratio_to_best_peer_cpu = best_cpu.and_then(|(_, cpu)| ratio(ours.cpu_ns, cpu));
            operation.best_peer = best.map(|(name, _)| name.to_owned());
            operation.ratios = ratios;
        }
        operation
    }
}

fn figure(costs: &[Cost]) -> Figure {
    let walls = || costs.iter().map(|cost| cost.wall_ns);
    Figure {
        wall_ns: median(walls()),
        cpu_ns: median(costs.iter().map(|cost| cost.cpu_ns)),
        wall_ns_min: walls().fold(f64::INFINITY, f64::min),
        wall_ns_max: walls().fold(0.0, f64::max),
        rounds: costs.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(wall_ns: f64) -> Cost {
        Cost { wall_ns, cpu_ns: wall_ns / 2.0 }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median([]), 0.0);
        assert_eq!(median([3.0]), 3.0);
        assert_eq!(median([9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
        assert_eq!(ratio(0.0, 0.0), None);
    }

    #[test]
    fn the_best_peer_is_never_ours() {
        assert_eq!(best_peer([(OURS, 1.0), ("a", 3.0), ("b", 2.0)]), Some(("b", 2.0)));
        assert_eq!(best_peer([(OURS, 1.0)]), None);
    }

    #[test]
    fn an_operation_compares_the_medians_of_the_rounds() {
        let mut rounds = Rounds::default();
        for (ours, a, b) in [(10.0, 20.0, 90.0), (30.0, 25.0, 50.0), (20.0, 900.0, 60.0)] {
            rounds.add("b", cost(b));
            rounds.add(OURS, cost(ours));
            rounds.add("a", cost(a));
        }
        let operation = rounds.operation(&[OURS, "a", "b", "c"]);
        assert_eq!(operation.contestants.keys().collect::<Vec<_>>(), [OURS, "a", "b"]);
        assert_eq!(operation.best_peer.as_deref(), Some("a"));
        assert_eq!(operation.ratio_to_best_peer, Some(0.8));
        assert_eq!(operation.ratio_to_best_peer_cpu, Some(0.8));
        assert_eq!(operation.ratios["b"], 20.0 / 60.0);
        let ours = &operation.contestants[OURS];
        assert_eq!((ours.wall_ns_min, ours.wall_ns_max, ours.rounds), (10.0, 30.0, 3));
    }

    #[test]
    fn sums_and_mixtures_keep_the_rounds() {
        let (mut joins, mut leaves) = (Rounds::default(), Rounds::default());
        for round in [1.0, 2.0, 3.0] {
            joins.add(OURS, cost(round));
            leaves.add(OURS, cost(round * 10.0));
            leaves.add("a", cost(5.0));
        }
        let both = joins.sum(&leaves);
        assert_eq!(both.0.keys().collect::<Vec<_>>(), [OURS]);
        assert_eq!(both.operation(&[OURS]).contestants[OURS].wall_ns, 22.0);
        let beside = joins.ours_beside(&leaves).operation(&[OURS, "a"]);
        assert_eq!(beside.ratio_to_best_peer, Some(0.4));
    }
}
