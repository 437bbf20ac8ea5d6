use crate::sim::mutants::with;
use crate::sim::{Mutant, Violation, hunt, run, trace};
use crate::stats::NetStats;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

const SEEDS: u64 = 300;
/// A mutant that lives through so many seeds has not been looked for well enough.
const SEEDS_PER_MUTANT: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2] {
        let (first, second) = (run(seed).unwrap(), run(seed).unwrap());
        assert_eq!(first, second);
    }
    assert_ne!(run(1).unwrap().trace, run(2).unwrap().trace);
}

#[test]
fn a_trace_tells_a_run_from_its_beginning_and_changes_nothing() {
    let (report, lines) = trace(1);
    assert_eq!(report.unwrap(), run(1).unwrap());
    assert!(lines.lines().count() > 1000);
    assert!(lines.lines().next().unwrap().ends_with("starts as process 0"));
    assert!(lines.contains("the faults stop"));
}

/// What is reported of a seed is of use only if it happens again.
#[test]
fn a_seed_that_goes_wrong_goes_wrong_again_at_the_same_step_with_the_same_words() {
    let of = |violation: Violation| {
        let Violation { seed, invariant, at, step, what, tail } = violation;
        (seed, invariant, at, step, what, tail)
    };
    for mutant in [Mutant::NoGapCheck, Mutant::EpochReused, Mutant::HiddenShown] {
        let found = *hunt(mutant, 1..=SEEDS_PER_MUTANT).killed_by.unwrap();
        let traced = || {
            let (outcome, lines) = with(mutant, || trace(found.seed));
            (*outcome.unwrap_err(), lines)
        };
        let ((first, lines), (second, again)) = (traced(), traced());
        assert!(lines == again, "{mutant}: the traces of two runs of seed {} differ", found.seed);
        assert!(lines.lines().count() > found.tail.lines().count(), "all of it is told");
        assert!(lines.ends_with(&found.tail), "{mutant}: the trace ends in what was reported");
        assert_eq!((&first.tail, &second.tail), (&lines, &lines));
        // A traced run keeps every line, and is the same run otherwise.
        let found = of(found);
        for traced in [first, second] {
            assert_eq!(of(Violation { tail: found.5.clone(), ..traced }), found, "{mutant}");
        }
    }
}

/// `HEADCOUNT_SIM_SEEDS=10000` for more of them, `HEADCOUNT_SIM_SEED=4711` for one.
#[test]
fn random_seeds_keep_every_invariant() {
    let seeds = match number("HEADCOUNT_SIM_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("HEADCOUNT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut stats = NetStats::default();
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for seed in seeds.clone() {
        let report = run(seed).unwrap_or_else(|violation| panic!("{violation}"));
        stats.add(&report.stats);
        slowest = slowest.max(report.converged_after);
        let run = [
            ("steps", report.steps),
            ("operations", report.operations),
            ("virtual seconds", report.time.as_secs()),
            ("barriers reached", report.barriers_reached),
            ("answers to barriers missed", report.barriers_missed),
        ];
        for (name, count) in report.faults.iter().chain(run) {
            *totals.entry(name).or_default() += count;
        }
    }
    let totals: Vec<(&str, u64)> = totals.into_iter().chain(stats.iter()).collect();
    let count = seeds.count() as u64;
    if number("HEADCOUNT_SIM_SEEDS").is_some() {
        let mut said = format!("{count} seeds, slowest agreement {slowest:?}\n");
        totals.iter().for_each(|(name, sum)| said += &format!("{name}: {sum}\n"));
        let _ = std::io::stderr().write_all(said.as_bytes());
    }
    // Runs that reach nothing prove nothing.
    // (Those of the sockets are met in `driver` and in the tests on real ones.)
    let unreached = [
        "digest_mismatches",
        "refused_operations",
        "refused_nodes",
        "receive_buffer_bytes",
        "receive_drops",
        "receive_errors",
        "lookups_failed",
        // These need an enemy, or another key; see tests/security.rs and the tests of core/.
        "over_budget",
        "implausible",
        "quarantines",
        "quarantined",
        "stumbles",
        // This one needs a relay that makes something up.
        "relayed_lanes_refused",
    ];
    for (name, sum) in totals {
        assert!(sum > 0 || count < SEEDS || unreached.contains(&name), "no run has reached {name}");
    }
}

#[test]
fn every_mutant_is_killed() {
    for &mutant in Mutant::ALL {
        let hunt = hunt(mutant, 1..=SEEDS_PER_MUTANT);
        assert!(hunt.killed_by.is_some(), "{mutant} lives after {} seeds", hunt.seeds);
    }
    // And is gone after the hunt.
    assert!(run(1).is_ok());
}
