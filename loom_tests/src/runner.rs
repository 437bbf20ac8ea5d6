//! The tests, and what becomes of them.

use crate::effort::take_executions;
use crate::{Args, Effort};
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::panic::{self, UnwindSafe};
use std::sync::Once;
use std::time::{Duration, Instant};

/// A kernel and its models.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// The name of its module.
    pub name: &'static str,
    /// Its source, whose declared faults must all be planted.
    pub source: &'static str,
    /// Its models.
    pub models: &'static [Model],
}

/// A small program over a kernel that has to be right in every interleaving.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// What it shows, as a sentence.
    pub name: &'static str,
    /// Explores it with the kernel as it is. Panics if the model fails.
    pub check: fn(Effort),
    /// The same with bugs.
    pub plantings: &'static [Planting],
}

/// A bug in a kernel that a model must notice.
#[derive(Clone, Copy, Debug)]
pub struct Planting {
    /// The fault: the kernel's module, `::` and the constant's name.
    pub fault: &'static str,
    /// Explores the model with the fault. Must panic.
    pub check: fn(Effort),
    /// How it must fail.
    pub symptom: Symptom,
}

/// How a model fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Symptom {
    /// Everybody waits for ever: a wake-up was lost.
    Deadlock,
    /// An assertion with this in its message.
    Says(&'static str),
}

impl Symptom {
    fn fits(self, message: &str) -> bool {
        match self {
            Self::Deadlock => message.starts_with("deadlock;"),
            Self::Says(part) => message.contains(part),
        }
    }
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock => f.write_str("deadlock"),
            Self::Says(part) => write!(f, "\"{part}\""),
        }
    }
}

/// How many there must be. A count that is written down is the guard against models that quietly fell out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Census {
    /// Models.
    pub models: usize,
    /// Distinct faults that are planted.
    pub faults: usize,
}

/// What becomes of one test.
struct Verdict {
    failure: Option<String>,
    executions: u64,
    elapsed: Duration,
}

/// Runs what `args` select of the models and plantings, and writes one line about each, a summary, and the line that
/// libtest ends with. Returns whether all is well.
///
/// # Errors
/// Those of `out`.
pub fn run(
    kernels: &[Kernel],
    census: Census,
    effort: Effort,
    args: &Args,
    out: &mut impl Write,
) -> io::Result<bool> {
    let tests = tests_of(kernels);
    if args.is_list() {
        for test in tests.iter().filter(|test| args.selects(&test.name)) {
            writeln!(out, "{}: test", test.name)?;
        }
        return Ok(true);
    }
    let started = Instant::now();
    let wrong = audit(kernels, census);
    for complaint in &wrong {
        writeln!(out, "error: {complaint}")?;
    }
    let (selected, filtered_out): (Vec<_>, Vec<_>) = tests.iter().partition(|test| args.selects(&test.name));
    writeln!(out, "\nrunning {} tests", selected.len())?;
    let (mut passed, mut failures) = (Census { models: 0, faults: 0 }, Vec::new());
    let mut caught = BTreeSet::new();
    let mut plantings_caught = 0;
    for test in &selected {
        write!(out, "test {} ... ", test.name)?;
        out.flush()?;
        let Verdict { failure, executions, elapsed } = test.run(effort);
        let outcome = match (&failure, test.planting) {
            (None, None) => "ok".to_owned(),
            (None, Some(planting)) => format!("ok, caught: {}", planting.symptom),
            (Some(_), _) => "FAILED".to_owned(),
        };
        writeln!(out, "{outcome} ({executions} executions, {:.2}s)", elapsed.as_secs_f64())?;
        match (failure, test.planting) {
            (Some(failure), _) => failures.push((&test.name, failure)),
            (None, None) => passed.models += 1,
            (None, Some(planting)) => {
                plantings_caught += 1;
                caught.insert(planting.fault);
            }
        }
    }
    passed.faults = caught.len();
    if !failures.is_empty() {
        writeln!(out, "\nfailures:")?;
        for (name, failure) in &failures {
            writeln!(out, "    {name}: {failure}")?;
        }
    }
    writeln!(
        out,
        "\nloom: {} models passed, {} planted faults caught in {plantings_caught} plantings{}",
        passed.models,
        passed.faults,
        if effort.is_deep() { " (deep)" } else { "" },
    )?;
    let ok = wrong.is_empty() && failures.is_empty() && (!args.is_everything() || passed == census);
    writeln!(
        out,
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if ok { "ok" } else { "FAILED" },
        passed.models + plantings_caught,
        failures.len(),
        filtered_out.len(),
        started.elapsed().as_secs_f64(),
    )?;
    Ok(ok)
}

struct Test {
    name: String,
    check: fn(Effort),
    planting: Option<&'static Planting>,
}

impl Test {
    fn run(&self, effort: Effort) -> Verdict {
        let started = Instant::now();
        take_executions();
        let check = self.check;
        let panicked = caught(self.planting.is_some(), move || check(effort)).err();
        let failure = match (self.planting, panicked) {
            (None, None) => None,
            (None, Some(message)) => Some(message),
            (Some(planting), None) => Some(format!("the checker did not find {}", planting.fault)),
            (Some(planting), Some(message)) => (!planting.symptom.fits(&message))
                .then(|| format!("expected {}, failed otherwise: {message}", planting.symptom)),
        };
        Verdict { failure, executions: take_executions(), elapsed: started.elapsed() }
    }
}

fn tests_of(kernels: &[Kernel]) -> Vec<Test> {
    let mut tests = Vec::new();
    for kernel in kernels {
        for model in kernel.models {
            let name = format!("{}::{}", kernel.name, model.name);
            for planting in model.plantings {
                let name = format!("{name} with {}", planting.fault);
                tests.push(Test { name, check: planting.check, planting: Some(planting) });
            }
            tests.push(Test { name, check: model.check, planting: None });
        }
    }
    // The kernels as they are first, then their faults; stable, so in the order of the tables otherwise.
    tests.sort_by_key(|test| test.planting.is_some());
    tests
}

/// What is wrong with the tables themselves.
fn audit(kernels: &[Kernel], census: Census) -> Vec<String> {
    let mut wrong = Vec::new();
    let models = || kernels.iter().flat_map(|kernel| kernel.models);
    let planted: BTreeSet<&str> =
        models().flat_map(|model| model.plantings).map(|planting| planting.fault).collect();
    for kernel in kernels {
        for fault in declared_faults(kernel.source) {
            let fault = format!("{}::{fault}", kernel.name);
            if !planted.contains(fault.as_str()) {
                wrong.push(format!("no model plants {fault}"));
            }
        }
    }
    for model in models().filter(|model| model.plantings.is_empty()) {
        wrong.push(format!("nothing shows that {} can fail: it has no planting", model.name));
    }
    let found = Census { models: models().count(), faults: planted.len() };
    if found != census {
        wrong.push(format!("expected {census:?}, found {found:?}"));
    }
    wrong
}

/// The names of the constants in the module `fault` of a kernel's source.
fn declared_faults(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .skip_while(|line| line.trim() != "pub(crate) mod fault {")
        .take_while(|line| *line != "}")
        .filter_map(|line| line.trim().strip_prefix("pub(crate) const ")?.split(':').next())
}

/// Runs `f`; of a panic, returns the message, and prints nothing if it is an expected one.
fn caught(expected: bool, f: impl FnOnce() + UnwindSafe) -> Result<(), String> {
    thread_local! {
        static SILENT: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                usual(info);
            }
        }));
    });
    SILENT.set(expected);
    let result = panic::catch_unwind(f);
    SILENT.set(false);
    result.map_err(|payload| message_of(&*payload))
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
#[allow(dead_code)]
pub(crate) mod fault {
    /// A comment.
    pub(crate) const LOST: u8 = 1;
    pub(crate) const TORN: u8 = 2;
}
pub(crate) const NO_FAULT: u8 = 3;
";

    const LOST: Planting = Planting {
        fault: "bell::LOST",
        check: |_| panic!("deadlock; threads = {:?}", [0]),
        symptom: Symptom::Deadlock,
    };
    const TORN: Planting =
        Planting { fault: "bell::TORN", check: |_| panic!("half of it"), symptom: Symptom::Says("half") };
    const UNNOTICED: Planting = Planting { check: |_| (), ..TORN };
    const NOTICED_OTHERWISE: Planting = Planting { symptom: Symptom::Deadlock, ..TORN };

    const fn model(plantings: &'static [Planting]) -> Model {
        Model { name: "model", check: |_| (), plantings }
    }

    fn run_with(models: &'static [Model], census: Census, args: &[&str]) -> (bool, String) {
        let kernels = [Kernel { name: "bell", source: SOURCE, models }];
        let args = Args::parse(args.iter().map(|&arg| arg.into()));
        let mut out = Vec::new();
        let ok =
            run(&kernels, census, Effort::from_env(), &args, &mut out).expect("a vector takes everything");
        (ok, String::from_utf8(out).expect("the report is text"))
    }

    const ONE_MODEL_TWO_FAULTS: Census = Census { models: 1, faults: 2 };

    #[test]
    fn a_full_run_says_how_many_ran() {
        let (ok, report) = run_with(const { &[model(&[LOST, TORN])] }, ONE_MODEL_TWO_FAULTS, &[]);
        assert!(ok, "{report}");
        assert!(report.contains("loom: 1 models passed, 2 planted faults caught in 2 plantings"), "{report}");
        assert!(report.contains("test result: ok. 3 passed; 0 failed;"), "{report}");
    }

    #[test]
    fn a_fault_that_is_not_noticed_or_only_by_accident_fails() {
        let (ok, report) = run_with(const { &[model(&[LOST, UNNOTICED])] }, ONE_MODEL_TWO_FAULTS, &[]);
        assert!(!ok && report.contains("the checker did not find bell::TORN"), "{report}");
        let (ok, report) =
            run_with(const { &[model(&[LOST, NOTICED_OTHERWISE])] }, ONE_MODEL_TWO_FAULTS, &[]);
        assert!(!ok && report.contains("expected deadlock, failed otherwise: half of it"), "{report}");
    }

    #[test]
    fn a_fault_that_nobody_plants_and_a_model_that_cannot_fail_are_errors() {
        let (ok, report) = run_with(const { &[model(&[LOST])] }, Census { models: 1, faults: 1 }, &[]);
        assert!(!ok && report.contains("no model plants bell::TORN"), "{report}");
        let (ok, report) =
            run_with(const { &[model(&[LOST, TORN]), model(&[])] }, Census { models: 2, faults: 2 }, &[]);
        assert!(!ok && report.contains("it has no planting"), "{report}");
    }

    #[test]
    fn a_model_that_fell_out_is_an_error_even_if_it_was_not_asked_for() {
        for filter in [&[][..], &["LOST"]] {
            let (ok, report) =
                run_with(const { &[model(&[LOST, TORN])] }, Census { models: 2, faults: 2 }, filter);
            assert!(!ok && report.contains("error: expected"), "{report}");
        }
    }

    #[test]
    fn a_filter_leaves_out_and_a_list_runs_nothing() {
        let (ok, report) = run_with(const { &[model(&[LOST, TORN])] }, ONE_MODEL_TWO_FAULTS, &["LOST"]);
        assert!(
            ok && report.contains("1 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out"),
            "{report}"
        );
        let (ok, report) =
            run_with(const { &[model(&[LOST, UNNOTICED])] }, ONE_MODEL_TWO_FAULTS, &["--list", "TORN"]);
        assert!(ok && report == "bell::model with bell::TORN: test\n", "{report}");
    }
}
