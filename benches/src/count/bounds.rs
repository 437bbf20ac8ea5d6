//! The bounds, their file, and the verdict.

use super::Operation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs, io};

/// How much more than was measured is allowed, in per cent.
const TOLERANCE_PERCENT: u32 = 10;

/// What was measured when the bound was set, and the bound: instructions of one operation.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The count at that time.
    pub measured: f64,
    /// The most that is allowed.
    pub bound: f64,
}

/// The bounds of all operations: one table, in one file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// What the file says of itself.
    pub about: String,
    /// The architecture that the counts are of.
    pub arch: String,
    /// The resident entries that the counts are with.
    pub entries: usize,
    /// How much more than measured a bound allows.
    pub tolerance_percent: u32,
    /// The bounds, by operation.
    pub operations: BTreeMap<String, Bound>,
}

/// What is said of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is within its bound.
    Ok,
    /// It is over its bound.
    Over,
    /// Nobody has set a bound.
    NoBound,
}

impl Verdict {
    /// Whether the gate lets it pass.
    #[must_use]
    pub fn passes(self) -> bool {
        self == Self::Ok
    }
}

/// A line of the gate's table.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Row {
    /// The operation.
    pub operation: &'static str,
    /// Instructions of one, now.
    pub instructions: f64,
    /// The most that is allowed.
    pub bound: Option<f64>,
    /// What is said of it.
    pub verdict: Verdict,
}

/// Why there are no bounds to hold the counts against.
#[derive(Debug)]
#[non_exhaustive]
pub enum BoundsError {
    /// The file cannot be read or written.
    File(io::Error),
    /// The file is not a table of bounds.
    Parse(serde_json::Error),
    /// The table is of other conditions.
    Elsewhere {
        /// Which condition.
        what: &'static str,
        /// The table's.
        table: String,
        /// This run's.
        here: String,
    },
    /// The table has an operation that there is not.
    Unknown(String),
}

impl fmt::Display for BoundsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "{error}"),
            Self::Parse(error) => write!(f, "not a table of bounds: {error}"),
            Self::Elsewhere { what, table, here } => {
                write!(f, "the bounds are for {what} {table}, and this is {here}: set others with --bless")
            }
            Self::Unknown(name) => {
                write!(f, "there is a bound for {name}, which is no operation: set them anew with --bless")
            }
        }
    }
}

impl std::error::Error for BoundsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Parse(error) => Some(error),
            Self::Elsewhere { .. } | Self::Unknown(_) => None,
        }
    }
}

impl Row {
    /// A count that is held to nothing.
    #[must_use]
    pub fn unbounded(operation: &Operation, instructions: f64) -> Self {
        Self { operation: operation.name, instructions, bound: None, verdict: Verdict::NoBound }
    }
}

impl Bounds {
    /// Bounds that allow the tolerance over these counts.
    #[must_use]
    pub fn of(counts: &[(&'static Operation, f64)], entries: usize) -> Self {
        let bound_of = |measured: f64| Bound { measured: tenth_up(measured), bound: bound_for(measured) };
        Self {
            about: format!(
                "Instructions of one operation under callgrind; `count gate --bless` writes this. A bound is {TOLERANCE_PERCENT} % over what was measured, rounded up."
            ),
            arch: std::env::consts::ARCH.to_owned(),
            entries,
            tolerance_percent: TOLERANCE_PERCENT,
            operations: counts
                .iter()
                .map(|&(operation, count)| (operation.name.to_owned(), bound_of(count)))
                .collect(),
        }
    }

    /// Reads the table and checks that it is for this architecture, so many entries, and operations that there are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path, entries: usize) -> Result<Self, BoundsError> {
        let text = fs::read_to_string(path).map_err(BoundsError::File)?;
        let bounds: Self = serde_json::from_str(&text).map_err(BoundsError::Parse)?;
        bounds.check(std::env::consts::ARCH, entries)?;
        Ok(bounds)
    }

    fn check(&self, arch: &str, entries: usize) -> Result<(), BoundsError> {
        let elsewhere = |what, table: &dyn ToString, here: &dyn ToString| {
            Err(BoundsError::Elsewhere { what, table: table.to_string(), here: here.to_string() })
        };
        if self.arch != arch {
            return elsewhere("the architecture", &self.arch, &arch);
        }
        if self.entries != entries {
            return elsewhere("--entries", &self.entries, &entries);
        }
        match self.operations.keys().find(|name| Operation::named(name).is_none()) {
            Some(name) => Err(BoundsError::Unknown(name.clone())),
            None => Ok(()),
        }
    }

    /// Writes the table.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BoundsError> {
        let text = serde_json::to_string_pretty(self).map_err(BoundsError::Parse)?;
        fs::write(path, text + "\n").map_err(BoundsError::File)
    }

    /// The verdict on these counts.
    #[must_use]
    pub fn judge(&self, counts: &[(&'static Operation, f64)]) -> Vec<Row> {
        let row = |&(operation, instructions): &(&'static Operation, f64)| {
            let bound = self.operations.get(operation.name).map(|bound| bound.bound);
            let verdict = match bound {
                None => Verdict::NoBound,
                Some(bound) if instructions <= bound => Verdict::Ok,
                // So is a count or a bound that is no number.
                Some(_) => Verdict::Over,
            };
            Row { operation: operation.name, instructions, bound, verdict }
        };
        counts.iter().map(row).collect()
    }
}

/// Whole instructions, but tenths where few are all there is.
fn bound_for(measured: f64) -> f64 {
    let bound = measured * (1.0 + f64::from(TOLERANCE_PERCENT) / 100.0);
    if bound < 100.0 { tenth_up(bound) } else { bound.ceil() }
}

fn tenth_up(number: f64) -> f64 {
    (number * 10.0).ceil() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::OPERATIONS;

    fn counts(count: f64) -> Vec<(&'static Operation, f64)> {
        OPERATIONS.iter().map(|operation| (operation, count)).collect()
    }

    fn verdicts(bounds: &Bounds, count: f64) -> Vec<Verdict> {
        bounds.judge(&counts(count)).iter().map(|row| row.verdict).collect()
    }

    #[test]
    fn a_count_passes_up_to_its_bound_and_fails_above_it() {
        let bounds = Bounds::of(&counts(1_000.0), 20_000);
        for (count, verdict) in
            [(1.0, Verdict::Ok), (1_100.0, Verdict::Ok), (1_100.1, Verdict::Over), (f64::NAN, Verdict::Over)]
        {
            assert_eq!(verdicts(&bounds, count), [verdict; OPERATIONS.len()], "{count}");
        }
    }

    #[test]
    fn one_operation_over_its_bound_is_the_one_that_is_named() {
        let bounds = Bounds::of(&counts(1_000.0), 20_000);
        let mut counts = counts(1_000.0);
        counts[3].1 = 2_000.0;
        let rows = bounds.judge(&counts);
        let failed: Vec<_> = rows.iter().filter(|row| !row.verdict.passes()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].operation, failed[0].bound), (OPERATIONS[3].name, Some(1_100.0)));
    }

    #[test]
    fn an_operation_without_a_bound_does_not_pass() {
        let mut bounds = Bounds::of(&counts(1_000.0), 20_000);
        bounds.operations.remove("track");
        let rows = bounds.judge(&counts(1.0));
        let failed: Vec<_> = rows.iter().filter(|row| !row.verdict.passes()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].operation, failed[0].verdict), ("track", Verdict::NoBound));
    }

    #[test]
    fn a_bound_is_a_tenth_over_the_count_and_rounded_up() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(bound_for(1_000.1), 1_101.0), "{}", bound_for(1_000.1));
        assert!(near(bound_for(8.3), 9.2), "{}", bound_for(8.3));
    }

    #[test]
    fn bounds_of_other_conditions_are_refused() {
        let bounds = Bounds::of(&counts(1.0), 20_000);
        let arch = std::env::consts::ARCH;
        bounds.check(arch, 20_000).expect("they are of here");
        let refused = bounds.check(arch, 5_000).unwrap_err().to_string();
        assert!(refused.starts_with("the bounds are for --entries 20000, and this is 5000"), "{refused}");
        assert!(bounds.check("pdp11", 20_000).is_err());
        let mut bounds = bounds;
        bounds.operations.insert("trakc".to_owned(), Bound { measured: 1.0, bound: 2.0 });
        let refused = bounds.check(arch, 20_000).unwrap_err().to_string();
        assert!(refused.contains("trakc"), "{refused}");
    }

    #[test]
    fn the_table_comes_back_as_it_was_written() {
        let bounds = Bounds::of(&counts(123.4), 20_000);
        let text = serde_json::to_string_pretty(&bounds).expect("it is plain data");
        assert_eq!(serde_json::from_str::<Bounds>(&text).expect("it is a table"), bounds);
    }

    #[test]
    fn the_committed_table_has_a_bound_for_every_operation() {
        let bounds: Bounds =
            serde_json::from_str(include_str!("../../instruction_bounds.json")).expect("it is a table");
        for operation in &OPERATIONS {
            let bound = bounds.operations.get(operation.name);
            let bound = bound.unwrap_or_else(|| panic!("{} has no bound", operation.name));
            assert!(bound.measured > 0.0 && bound.bound > bound.measured, "{}", operation.name);
        }
        assert_eq!(bounds.operations.len(), OPERATIONS.len());
    }
}
