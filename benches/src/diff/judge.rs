//! The verdict on each figure, and on all of them.

use super::error::DiffError;
use super::read::{Figure, Measured};
use serde::Serialize;
use std::collections::BTreeMap;

/// A change by less than so many of its standard errors may be the rounds' spread.
const ERRORS: f64 = 3.0;

/// What a figure is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Instructions,
    Ratio,
    Memory,
    Time,
    Tail,
    Longest,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Instructions, Self::Ratio, Self::Memory, Self::Time, Self::Tail, Self::Longest];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Ratio => "ratio",
            Self::Memory => "memory",
            Self::Time => "time",
            Self::Tail => "tail",
            Self::Longest => "longest",
        }
    }

    /// How much more is allowed if nothing else is said, in per cent. See the documentation of [`diff`](super).
    fn default_limit(self) -> Option<f64> {
        match self {
            Self::Instructions => Some(5.0),
            Self::Ratio => Some(35.0),
            Self::Memory => Some(10.0),
            Self::Time | Self::Tail | Self::Longest => None,
        }
    }
}

/// What is allowed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Limits {
    percent: BTreeMap<Kind, f64>,
    allow_missing: bool,
}

impl Limits {
    /// The defaults, and what was said beside them; of what was said twice, the last.
    pub(crate) fn new(said: &[(Kind, f64)], allow_missing: bool) -> Self {
        let defaults = Kind::ALL.into_iter().filter_map(|kind| Some((kind, kind.default_limit()?)));
        Self { percent: defaults.chain(said.iter().copied()).collect(), allow_missing }
    }

    /// In per cent. `None`: the kind is not judged.
    pub(crate) fn of(&self, kind: Kind) -> Option<f64> {
        self.percent.get(&kind).copied()
    }

    pub(crate) fn percents(&self) -> &BTreeMap<Kind, f64> {
        &self.percent
    }
}

/// What is said of a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It grew by more than is allowed.
    Worse,
    /// It grew by more than is allowed, but that may be the rounds' spread, or the shortest rounds did not, or not in each run.
    Noise,
    /// It changed by no more than is allowed.
    Same,
    /// It shrank by more than it would have been allowed to grow.
    Better,
    /// Only the old result has it, and that counts as worse.
    Missing,
    /// Only the old result has it, which is allowed or not judged.
    Gone,
    /// Only the new result has it.
    New,
    /// It is shown and not judged.
    Shown,
}

impl Verdict {
    pub(crate) fn is_worse(self) -> bool {
        matches!(self, Self::Worse | Self::Missing)
    }
}

/// A figure of both.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) old: Option<f64>,
    pub(crate) new: Option<f64>,
    /// `None` where that is no number.
    pub(crate) change_percent: Option<f64>,
    /// What is allowed, or the rounds' spread if that is more.
    pub(crate) tolerance_percent: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// All of them.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

impl Outcome {
    /// How many got worse.
    pub(crate) fn worse(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict.is_worse()).count()
    }

    /// Takes in another run of what `new` was, judged by the same limits: what is worse is so in each.
    pub(crate) fn confirm(&mut self, again: &Self) {
        for row in self.rows.iter_mut().filter(|row| row.verdict == Verdict::Worse) {
            let other = again.rows.iter().find(|other| (other.kind, &other.name) == (row.kind, &row.name));
            if other.is_some_and(|other| !other.verdict.is_worse()) {
                row.verdict = Verdict::Noise;
            }
        }
    }

    /// Those that got worse, in one line.
    pub(crate) fn complaint(&self) -> String {
        let worse = self.rows.iter().filter(|row| row.verdict.is_worse()).map(|row| {
            let what = format!("{} of {}", row.kind.name(), row.name);
            match (row.verdict, row.change_percent, row.tolerance_percent) {
                (Verdict::Missing, ..) => format!("{what} is missing, which --allow-missing allows"),
                (_, Some(change), Some(tolerance)) => {
                    format!("{what} grew by {change:.1} %, {tolerance:.1} % is allowed")
                }
                _ => format!("{what} grew from 0"),
            }
        });
        worse.collect::<Vec<_>>().join("; ")
    }
}

/// Holds the new result against the old one.
pub(crate) fn judge(
    old: &Measured,
    new: &Measured,
    limits: &Limits,
    notes: Vec<String>,
) -> Result<Outcome, DiffError> {
    let both = |key: &(Kind, String)| new.figures.contains_key(key) && limits.of(key.0).is_some();
    if !old.figures.keys().any(both) {
        return Err(DiffError::NothingInCommon);
    }
    let fresh = new.figures.keys().filter(|key| !old.figures.contains_key(*key));
    let rows = old.figures.keys().chain(fresh).map(|key| {
        let (old, new) = (old.figures.get(key), new.figures.get(key));
        row(key, old.copied(), new.copied(), limits)
    });
    Ok(Outcome { rows: rows.collect(), notes })
}

fn row((kind, name): &(Kind, String), old: Option<Figure>, new: Option<Figure>, limits: &Limits) -> Row {
    let limit = limits.of(*kind);
    let mut row = Row {
        name: name.clone(),
        kind: *kind,
        old: old.map(|figure| figure.value),
        new: new.map(|figure| figure.value),
        change_percent: None,
        tolerance_percent: None,
        verdict: Verdict::New,
    };
    let (Some(old), Some(new)) = (old, new) else {
        if old.is_some() {
            let counts = limit.is_some() && !limits.allow_missing;
            row.verdict = if counts { Verdict::Missing } else { Verdict::Gone };
        }
        return row;
    };
    let percent = |old: f64, new: f64| (new / old - 1.0) * 100.0;
    let change = percent(old.value, new.value);
    // What the shortest rounds say of it. Where they say nothing, the medians stand alone.
    let shortest = old.shortest.zip(new.shortest).map(|(old, new)| percent(old, new));
    let shortest = shortest.filter(|shortest| shortest.is_finite()).unwrap_or(change);
    row.change_percent = change.is_finite().then_some(change);
    let spread = ERRORS * old.error.hypot(new.error) * 100.0;
    row.tolerance_percent = limit.map(|limit| limit.max(spread));
    row.verdict = match limit {
        None => Verdict::Shown,
        // From nothing to nothing there is no change to speak of.
        Some(_) if change.is_nan() => Verdict::Same,
        Some(limit) if change.min(shortest) > limit.max(spread) => Verdict::Worse,
        Some(limit) if change > limit => Verdict::Noise,
        Some(limit) if change.max(shortest) < -limit.max(spread) => Verdict::Better,
        Some(_) => Verdict::Same,
    };
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(kind: Kind, old: (f64, f64), new: (f64, f64), limits: &Limits) -> Verdict {
        let figure = |(value, error)| Some(Figure { value, error, shortest: None });
        row(&(kind, "get".to_owned()), figure(old), figure(new), limits).verdict
    }

    #[test]
    fn a_figure_is_judged_by_what_is_allowed_of_its_kind() {
        let limits = Limits::new(&[(Kind::Time, 50.0), (Kind::Ratio, 10.0), (Kind::Ratio, 20.0)], false);
        for (kind, new, wanted) in [
            (Kind::Instructions, 105.1, Verdict::Worse),
            (Kind::Instructions, 104.9, Verdict::Same),
            (Kind::Instructions, 94.0, Verdict::Better),
            (Kind::Ratio, 119.0, Verdict::Same),
            (Kind::Ratio, 121.0, Verdict::Worse),
            (Kind::Time, 151.0, Verdict::Worse),
            (Kind::Tail, 900.0, Verdict::Shown),
        ] {
            assert_eq!(verdict(kind, (100.0, 0.0), (new, 0.0), &limits), wanted, "{kind:?} {new}");
        }
    }

    #[test]
    fn what_the_rounds_spread_explains_is_noise() {
        let limits = Limits::new(&[], false);
        let judge = |new, error| verdict(Kind::Ratio, (1.0, 0.0), (new, error), &limits);
        assert_eq!(judge(1.5, 0.2), Verdict::Noise);
        assert_eq!(judge(1.7, 0.2), Verdict::Worse);
        assert_eq!(judge(0.5, 0.2), Verdict::Same);
        assert_eq!(judge(0.5, 0.1), Verdict::Better);
    }

    #[test]
    fn from_nothing_to_something_is_worse_and_from_nothing_to_nothing_is_the_same() {
        let limits = Limits::new(&[], false);
        let judge = |old, new| verdict(Kind::Instructions, (old, 0.0), (new, 0.0), &limits);
        assert_eq!(judge(0.0, 1.0), Verdict::Worse);
        assert_eq!(judge(0.0, 0.0), Verdict::Same);
        assert_eq!(judge(1.0, 0.0), Verdict::Better);
    }

    #[test]
    fn what_is_missing_is_worse_if_it_is_judged_and_not_allowed() {
        let figure = Some(Figure::plain(1.0));
        let key = |kind| (kind, "get".to_owned());
        let (strict, lax) = (Limits::new(&[], false), Limits::new(&[], true));
        assert_eq!(row(&key(Kind::Ratio), figure, None, &strict).verdict, Verdict::Missing);
        assert_eq!(row(&key(Kind::Ratio), figure, None, &lax).verdict, Verdict::Gone);
        assert_eq!(row(&key(Kind::Time), figure, None, &strict).verdict, Verdict::Gone);
        assert_eq!(row(&key(Kind::Ratio), None, figure, &strict).verdict, Verdict::New);
    }
}
