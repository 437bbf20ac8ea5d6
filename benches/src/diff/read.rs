//! A result as it is read from its file: the conditions that it was made under, and its figures.

use super::error::DiffError;
use super::judge::Kind;
use crate::compare::report::{Figure as Rounds, Figures, Operation, Report};
use crate::compare::stats::OURS;
use crate::results::{COMPARE, COUNT, Machine};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A result takes some 100 KiB.
const BYTES_MAX: u64 = 16 << 20;
/// What the names of the run with huge pages begin with.
const HUGE: &str = "huge_pages/";

/// A figure, and how well it is known.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    /// Its standard error as a part of it; 0 if that is not known.
    pub(crate) error: f64,
    /// The same of the shortest rounds in place of the medians, where there are rounds.
    pub(crate) shortest: Option<f64>,
}

impl Figure {
    /// A figure that is known well, as far as the result says.
    pub(crate) fn plain(value: f64) -> Self {
        Self { value, error: 0.0, shortest: None }
    }
}

/// What has to be alike for two results to be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Condition {
    field: &'static str,
    value: String,
    /// `--any-machine` waives it.
    of_machine: bool,
}

/// A result.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Measured {
    conditions: Vec<Condition>,
    kernel: String,
    pub(crate) figures: IndexMap<(Kind, String), Figure>,
}

/// What is read of a result of `count`.
#[derive(Deserialize)]
struct Counts {
    arch: String,
    entries: usize,
    machine: Machine,
    operations: Vec<Count>,
}

#[derive(Deserialize)]
struct Count {
    operation: String,
    instructions: f64,
}

impl Measured {
    pub(crate) fn read(path: &Path) -> Result<Self, DiffError> {
        let io = |error| DiffError::File { path: path.to_owned(), error };
        let mut text = Vec::new();
        File::open(path).map_err(io)?.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(io)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(DiffError::TooLong { path: path.to_owned(), limit: BYTES_MAX });
        }
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &[u8]) -> Result<Self, DiffError> {
        let parse = |error| DiffError::Parse { path: path.to_owned(), error };
        let field = |field: &str, value: &str, limit: &str| DiffError::Field {
            path: path.to_owned(),
            field: field.to_owned(),
            value: value.to_owned(),
            limit: limit.to_owned(),
        };
        let value: Value = serde_json::from_slice(text).map_err(parse)?;
        let said = |name: &str| value.get(name).map_or_else(|| "missing".to_owned(), Value::to_string);
        let known = [COMPARE, COUNT].into_iter().find(|schema| value["schema"] == schema.name);
        let Some(schema) = known else {
            let limit = format!("{:?} or {:?}", COMPARE.name, COUNT.name);
            return Err(field("schema", &said("schema"), &limit));
        };
        if value["version"] != schema.version {
            return Err(field("version", &said("version"), &schema.version.to_string()));
        }
        let measured = if schema == COMPARE {
            // From the text: it has the operations in the order of the run.
            Self::of_compare(&serde_json::from_slice::<Report>(text).map_err(parse)?)
        } else {
            Self::of_counts(serde_json::from_slice::<Counts>(text).map_err(parse)?)
                .map_err(|name| field("operations", &format!("twice for {name}"), "there once for each"))?
        };
        let is_bad = |figure: &Figure| !(figure.value.is_finite() && figure.value >= 0.0);
        match measured.figures.iter().find(|(_, figure)| is_bad(figure)) {
            Some(((kind, name), figure)) => {
                let what = format!("{} of {name}", kind.name());
                Err(field(&what, &figure.value.to_string(), "a number that is not below 0"))
            }
            None => Ok(measured),
        }
    }

    fn of_compare(report: &Report) -> Self {
        let machine = &report.machine;
        let mut figures = IndexMap::new();
        add_figures(&mut figures, "", &report.figures);
        if let Some(huge) = &report.huge_pages {
            add_figures(&mut figures, HUGE, huge);
        }
        let conditions = vec![
            condition("schema", COMPARE.name, false),
            condition("entries", report.entries, false),
            condition("seed", report.seed, false),
            condition("quick", report.quick, false),
            condition("machine.cpu", machine.cpu.as_str(), true),
            condition("machine.cores", machine.cores, true),
            condition("machine.thp", machine.thp.as_str(), true),
        ];
        Self { conditions, kernel: machine.kernel.clone(), figures }
    }

    /// The name of an operation that is there twice, if one is.
    fn of_counts(counts: Counts) -> Result<Self, String> {
        let mut figures = IndexMap::new();
        for Count { operation, instructions } in counts.operations {
            let figure = Figure::plain(instructions);
            if figures.insert((Kind::Instructions, operation.clone()), figure).is_some() {
                return Err(operation);
            }
        }
        let conditions = vec![
            condition("schema", COUNT.name, false),
            condition("arch", counts.arch, false),
            condition("entries", counts.entries, false),
            // The C library picks its `memcpy` and `memcmp` by it.
            condition("machine.cpu", counts.machine.cpu, true),
        ];
        Ok(Self { conditions, kernel: counts.machine.kernel, figures })
    }

    /// Whether both were made under the same conditions. What differs and makes no difference is returned, to be said.
    pub(crate) fn comparable(
        &self,
        new: &Self,
        (old_path, new_path): (&Path, &Path),
        any_machine: bool,
    ) -> Result<Vec<String>, DiffError> {
        let mut notes = Vec::new();
        for (old, new) in self.conditions.iter().zip(&new.conditions) {
            // Different schemas have different conditions; the schema itself comes first, and it differs.
            if old == new {
                continue;
            }
            if any_machine && old.of_machine {
                notes.push(format!("{} differs: {} before, {} now", old.field, old.value, new.value));
                continue;
            }
            let (was, is) = (&old.value, &new.value);
            return Err(DiffError::Differs {
                field: old.field,
                values: format!("{was} in {}, and {is} in {}", old_path.display(), new_path.display()),
                remedy: if old.of_machine { ": --any-machine compares them nevertheless" } else { "" },
            });
        }
        if self.kernel != new.kernel {
            notes.push(format!("machine.kernel differs: {:?} before, {:?} now", self.kernel, new.kernel));
        }
        Ok(notes)
    }
}

fn condition(field: &'static str, value: impl Into<Value>, of_machine: bool) -> Condition {
    Condition { field, value: value.into().to_string(), of_machine }
}

fn add_figures(all: &mut IndexMap<(Kind, String), Figure>, run: &str, figures: &Figures) {
    let mut add = |kind, name: &str, figure| {
        all.insert((kind, format!("{run}{name}")), figure);
    };
    for (name, operation) in &figures.operations {
        if let Some(ours) = operation.contestants.get(OURS) {
            if let Some(ratio) = ratio(operation, ours) {
                add(Kind::Ratio, name, ratio);
            }
            let shortest = Some(ours.wall_ns_min);
            add(Kind::Time, name, Figure { value: ours.wall_ns, error: standard_error(ours), shortest });
        }
    }
    for (name, longest) in &figures.longest_write {
        if let Some(ours) = longest.contestants.get(OURS) {
            add(Kind::Longest, &format!("longest_{name}"), Figure::plain(ours.cpu_us));
        }
    }
    for (name, tail) in [("tail", &figures.tail), ("tail_bursts", &figures.tail_bursts)] {
        if let Some(ours) = tail.as_ref().and_then(|tail| tail.contestants.get(OURS)) {
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a read are far below 2^52")]
            add(Kind::Tail, name, Figure::plain(ours.p9999_ns as f64));
        }
    }
    if let Some(ours) = figures.memory.as_ref().and_then(|memory| memory.contestants.get(OURS)) {
        add(Kind::Memory, "memory", Figure::plain(ours.bytes_per_entry));
    }
}

/// Ours against the best peer's.
fn ratio(operation: &Operation, ours: &Rounds) -> Option<Figure> {
    let peer = operation.contestants.get(operation.best_peer.as_deref()?)?;
    let peers = operation.contestants.iter().filter(|(name, _)| *name != OURS);
    let shortest = peers.map(|(_, peer)| peer.wall_ns_min).min_by(f64::total_cmp)?;
    Some(Figure {
        value: operation.ratio_to_best_peer?,
        error: standard_error(ours).hypot(standard_error(peer)),
        shortest: Some(ours.wall_ns_min / shortest),
    })
}

/// The mean range of so many normal values over their standard deviation, for 2 to 7 of them.
const RANGES: [f64; 6] = [1.128, 1.693, 2.059, 2.326, 2.534, 2.704];
/// The standard error of a median over that of a mean.
const OF_A_MEDIAN: f64 = 1.253;

/// The standard error of a median of rounds, as a part of it. From the lower half of their range: what disturbs a round makes
/// it longer.
fn standard_error(rounds: &Rounds) -> f64 {
    let Some(most) = rounds.rounds.checked_sub(2).map(|at| at.min(RANGES.len() - 1)) else {
        // One round has no spread.
        return 0.0;
    };
    let range = 2.0 * (rounds.wall_ns - rounds.wall_ns_min);
    #[expect(clippy::cast_precision_loss, reason = "rounds are at most a thousand")]
    let mean_of = (rounds.rounds as f64).sqrt();
    let error = range / RANGES[most] * OF_A_MEDIAN / mean_of / rounds.wall_ns;
    if error.is_finite() { error.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(wall_ns: f64, wall_ns_min: f64, wall_ns_max: f64, rounds: usize) -> Rounds {
        Rounds { wall_ns, wall_ns_min, wall_ns_max, rounds, ..Rounds::default() }
    }

    #[test]
    fn the_spread_is_that_of_the_rounds_that_were_not_disturbed() {
        let calm = standard_error(&rounds(100.0, 90.0, 110.0, 5));
        assert!((calm - 0.048).abs() < 0.001, "{calm}");
        assert_eq!(standard_error(&rounds(100.0, 90.0, 9_000.0, 5)), calm);
        assert!(standard_error(&rounds(100.0, 90.0, 110.0, 100)) < calm);
    }

    #[test]
    fn what_has_no_spread_has_no_error() {
        assert_eq!(standard_error(&rounds(100.0, 90.0, 110.0, 1)), 0.0);
        assert_eq!(standard_error(&rounds(100.0, 90.0, 110.0, 0)), 0.0);
        assert_eq!(standard_error(&rounds(0.0, 0.0, 0.0, 5)), 0.0);
    }
}
