//! The binary `count` as it is called: with a valgrind that is not there, and with one that counts what it is told to.
#![cfg(unix)]

use headcount_benches::count::OPERATIONS;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// Runs `count` where `valgrind` counts so many instructions for every step.
fn count_at(instructions_per_step: u64, arguments: &[&str]) -> Output {
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand_in");
    let mut command = Command::new(env!("CARGO_BIN_EXE_count"));
    command.env("PATH", stand_in).env("INSTRUCTIONS_PER_STEP", instructions_per_step.to_string());
    command.args(arguments).output().expect("the binary starts")
}

/// A table of bounds that allow 1,100 instructions a step.
fn bounds(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let blessed = count_at(1_000, &["gate", "--bless", "--bounds", &path.display().to_string()]);
    assert_eq!(blessed.status.code(), Some(0), "{}", stderr(&blessed));
    path
}

fn gate_at(instructions_per_step: u64, bounds: &Path, more: &[&str]) -> Output {
    let path = bounds.display().to_string();
    count_at(instructions_per_step, &[&["gate", "--bounds", &path], more].concat())
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_gate_passes_up_to_its_bounds() {
    let bounds = bounds("passes.json");
    for instructions in [1, 1_000, 1_100] {
        let passed = gate_at(instructions, &bounds, &[]);
        assert_eq!(passed.status.code(), Some(0), "{}", stderr(&passed));
        assert_eq!(stdout(&passed).lines().filter(|line| line.ends_with("ok")).count(), OPERATIONS.len());
    }
}

#[test]
fn the_gate_fails_above_its_bounds_and_names_every_operation() {
    let bounds = bounds("fails.json");
    let failed = gate_at(1_200, &bounds, &[]);
    assert_eq!(failed.status.code(), Some(1));
    let said = stderr(&failed);
    let last = said.lines().last().unwrap_or_default();
    assert!(OPERATIONS.iter().all(|operation| last.contains(operation.name)), "{said}");
    assert!(last.contains("track takes 1200.0 instructions, its bound is 1100.0"), "{said}");
    assert_eq!(stdout(&failed).lines().filter(|line| line.ends_with("OVER")).count(), OPERATIONS.len());
}

#[test]
fn the_json_says_what_it_is_and_has_every_operation_with_its_verdict() {
    let bounds = bounds("json.json");
    let failed = gate_at(1_200, &bounds, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&failed.stdout).expect("it is JSON");
    assert_eq!((&report["schema"], &report["version"]), (&"headcount-count".into(), &1.into()));
    assert_eq!((&report["arch"], &report["entries"]), (&std::env::consts::ARCH.into(), &20_000.into()));
    assert!(report["machine"]["cpu"].is_string());
    let rows = report["operations"].as_array().expect("it is an array");
    assert_eq!(rows.len(), OPERATIONS.len());
    assert!(rows.iter().all(|row| row["verdict"] == "over"));
    let track = rows.iter().find(|row| row["operation"] == "track").expect("there is a track");
    assert_eq!((&track["instructions"], &track["bound"]), (&1_200.0.into(), &1_100.0.into()));
}

#[test]
fn what_is_only_measured_is_held_to_no_bound() {
    let measured = count_at(1_200, &["measure", "--json", "--entries", "5000"]);
    assert_eq!(measured.status.code(), Some(0), "{}", stderr(&measured));
    let report: serde_json::Value = serde_json::from_slice(&measured.stdout).expect("it is JSON");
    let rows = report["operations"].as_array().expect("it is an array");
    assert_eq!((rows.len(), &report["entries"]), (OPERATIONS.len(), &5_000.into()));
    assert!(rows.iter().all(|row| row["bound"].is_null() && row["verdict"] == "no_bound"));
    let table = stdout(&count_at(1_200, &["measure"]));
    assert_eq!(table.lines().filter(|line| line.contains("NO BOUND")).count(), OPERATIONS.len());
}

#[test]
fn without_valgrind_the_gate_says_so_and_has_a_status_of_its_own() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_count"));
    let nowhere = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let absent = command.args(["gate"]).env("PATH", nowhere).output().expect("the binary starts");
    assert_eq!(absent.status.code(), Some(2));
    assert!(stderr(&absent).starts_with("count: valgrind cannot be started"), "{}", stderr(&absent));
    assert_eq!(stderr(&absent).lines().count(), 1);
}

#[test]
fn what_is_asked_for_in_vain_is_named_in_one_line() {
    for (arguments, said) in [
        (&["run", "trakc", "1"][..], "count: OPERATION is trakc, it must be one of get_hit, "),
        (&["run", "track", "8001"], "count: N is 8001, for track it must be within 1..=8000"),
        (&["run", "track", "1", "--entries", "3"], "count: --entries is 3, it must be within 1000..="),
        (&["gate", "--entries", "5000"], "the bounds are for --entries 20000, and this is 5000"),
        (&["gate", "--bounds", "no/such/file"], "count: no/such/file: "),
    ] {
        let refused = count_at(1, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
        assert_eq!(stderr(&refused).lines().count(), 1);
    }
}

#[test]
fn a_run_that_fails_under_valgrind_is_told_with_what_it_said() {
    let bounds = bounds("run_fails.json");
    // The stand-in needs a number.
    let path = bounds.display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_count"));
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand_in");
    command.env("PATH", stand_in).env("INSTRUCTIONS_PER_STEP", "1 +").args(["gate", "--bounds", &path]);
    let failed = command.output().expect("the binary starts");
    assert_eq!(failed.status.code(), Some(2));
    assert!(stderr(&failed).lines().last().is_some_and(|line| line.contains("failed under valgrind")));
    assert!(fs::exists(&path).expect("the folder can be read"), "the bounds stay");
}

#[test]
fn being_watched_may_take_two_per_cent_and_no_more() {
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand_in");
    let watched = |more: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_count"));
        command.env("PATH", &stand_in).env("INSTRUCTIONS_PER_STEP", "1000").env("MORE_WATCHED", more);
        command.arg("watched").output().expect("the binary starts")
    };
    let passed = watched("20");
    assert_eq!(passed.status.code(), Some(0), "{}", stderr(&passed));
    assert_eq!(stdout(&passed).lines().filter(|line| line.ends_with("1.0200")).count(), 5);
    let failed = watched("21");
    assert_eq!(failed.status.code(), Some(1));
    let said = stderr(&failed);
    let complaint = "track takes 1.0210 times as many instructions when it is watched";
    assert!(said.contains(complaint) && said.ends_with("the bound is 1.02\n"), "{said}");
}
