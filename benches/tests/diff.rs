//! The binary `diff` as a pipeline calls it: two files in, a table or JSON and an exit status out.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// A result of `compare`: operations with our median, the peer's, and the shortest of our rounds.
fn compare_result(operations: &[(&str, f64, f64, f64)]) -> Value {
    let figure = |wall: f64, min: f64| json!({ "wall_ns": wall, "cpu_ns": wall, "wall_ns_min": min, "wall_ns_max": wall * 2.0, "rounds": 5 });
    let operation = |&(name, ours, theirs, min): &(&str, f64, f64, f64)| {
        let operation = json!({
            "contestants": { "headcount": figure(ours, min), "dashmap": figure(theirs, theirs) },
            "best_peer": "dashmap",
            "ratio_to_best_peer": ours / theirs,
            "ratio_to_best_peer_cpu": ours / theirs,
            "ratios": { "dashmap": ours / theirs },
        });
        (name.to_owned(), operation)
    };
    json!({
        "schema": "headcount-compare",
        "version": 1,
        "entries": 100_000,
        "seed": 1,
        "quick": true,
        "rounds": 5,
        "machine": { "cores": 2, "cpu": "Abacus 3000", "kernel": "6.1", "thp": "always [madvise] never" },
        "huge_pages_used":
            { "malloc_asks": false, "in_effect": false, "anon_huge_kib": 0, "rss_kib": 1 },
        "operations": operations.iter().map(operation).collect::<serde_json::Map<_, _>>(),
        "delta_apply_growth": null,
        "longest_write": {},
        "tail": null,
        "tail_bursts": null,
        "memory": null,
    })
}

/// A result of `count`.
fn count_result(operations: &[(&str, f64)]) -> Value {
    let row = |&(operation, instructions): &(&str, f64)| json!({ "operation": operation, "instructions": instructions });
    json!({
        "schema": "headcount-count",
        "version": 1,
        "arch": "x86_64",
        "entries": 20_000,
        "machine": { "cores": 2, "cpu": "Abacus 3000", "kernel": "6.1", "thp": "" },
        "operations": operations.iter().map(row).collect::<Vec<_>>(),
    })
}

/// One test's files.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("diff-{test}"));
        fs::create_dir_all(&path).expect("the folder can be made");
        Self(path)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("the file can be written");
    }

    fn diff(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diff"));
        command.current_dir(&self.0).args(arguments).output().expect("the binary starts")
    }

    /// The two, compared.
    fn diff_of(&self, old: &Value, new: &Value, more: &[&str]) -> Output {
        self.put("old.json", &old.to_string());
        self.put("new.json", &new.to_string());
        self.diff(&[&["old.json", "new.json"], more].concat())
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn passes(output: &Output) {
    assert_eq!((output.status.code(), stderr(output).as_str()), (Some(0), ""), "{}", stdout(output));
}

#[track_caller]
fn finds(output: &Output, wanted: &str) {
    assert_eq!((output.status.code(), stderr(output).as_str()), (Some(1), wanted), "{}", stdout(output));
}

/// One line that says why.
#[track_caller]
fn refuses(output: &Output, wanted: &str) {
    assert_eq!((output.status.code(), stderr(output).as_str()), (Some(2), wanted));
    assert_eq!(stdout(output), "", "there is no verdict");
}

#[test]
fn equal_results_have_no_regression() {
    let folder = Folder::new("equal");
    let old = compare_result(&[("get_hit", 400.0, 370.0, 390.0), ("track", 640.0, 380.0, 630.0)]);
    let equal = folder.diff_of(&old, &old, &[]);
    passes(&equal);
    assert!(stdout(&equal).ends_with("0 of 2 that are judged got worse\n"), "{}", stdout(&equal));
    let counts = count_result(&[("get_hit", 339.0)]);
    passes(&folder.diff_of(&counts, &counts, &[]));
}

#[test]
fn a_ratio_that_grew_is_a_regression_and_is_named() {
    let folder = Folder::new("worse");
    let old = compare_result(&[("get_hit", 400.0, 400.0, 399.0), ("track", 640.0, 400.0, 639.0)]);
    let new = compare_result(&[("get_hit", 600.0, 400.0, 599.0), ("track", 640.0, 400.0, 639.0)]);
    let worse = folder.diff_of(&old, &new, &[]);
    finds(&worse, "diff: ratio of get_hit grew by 50.0 %, 35.0 % is allowed\n");
    let table = stdout(&worse);
    let row = table.lines().find(|line| line.starts_with("get_hit") && line.contains("ratio"));
    assert!(row.is_some_and(|row| row.contains("+50.0 %") && row.ends_with("WORSE")), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 110), "{table}");
    assert!(table.ends_with("1 of 2 that are judged got worse\n"), "{table}");
    // More is allowed, or it goes the other way.
    passes(&folder.diff_of(&old, &new, &["--max-regression", "ratio=51"]));
    passes(&folder.diff_of(&new, &old, &[]));
}

#[test]
fn a_slower_machine_is_no_regression_unless_times_are_judged() {
    let folder = Folder::new("times");
    let old = compare_result(&[("get_hit", 400.0, 400.0, 399.0)]);
    let new = compare_result(&[("get_hit", 800.0, 800.0, 799.0)]);
    passes(&folder.diff_of(&old, &new, &[]));
    let judged = folder.diff_of(&old, &new, &["--max-regression", "time=50"]);
    finds(&judged, "diff: time of get_hit grew by 100.0 %, 50.0 % is allowed\n");
}

#[test]
fn what_the_rounds_spread_explains_is_noise() {
    let folder = Folder::new("noise");
    let old = compare_result(&[("get_hit", 400.0, 400.0, 399.0)]);
    // The shortest round took half of the median.
    let new = compare_result(&[("get_hit", 600.0, 400.0, 300.0)]);
    let noise = folder.diff_of(&old, &new, &[]);
    passes(&noise);
    assert!(stdout(&noise).lines().any(|line| line.ends_with("noise")), "{}", stdout(&noise));
}

#[test]
fn a_median_that_grew_while_the_shortest_round_did_not_is_noise() {
    let folder = Folder::new("shortest");
    let old = compare_result(&[("get_hit", 400.0, 400.0, 380.0)]);
    // Of four standard errors, so it is not the spread that explains it.
    let new = compare_result(&[("get_hit", 800.0, 400.0, 385.0)]);
    let noise = folder.diff_of(&old, &new, &[]);
    passes(&noise);
    assert!(stdout(&noise).lines().any(|line| line.ends_with("noise")), "{}", stdout(&noise));
}

#[test]
fn a_count_is_judged_by_five_per_cent() {
    let folder = Folder::new("counts");
    let old = count_result(&[("get_hit", 1_000.0), ("track", 2_000.0)]);
    passes(&folder.diff_of(&old, &count_result(&[("get_hit", 1_049.0), ("track", 2_000.0)]), &[]));
    let worse = folder.diff_of(&old, &count_result(&[("get_hit", 1_051.0), ("track", 2_000.0)]), &[]);
    finds(&worse, "diff: instructions of get_hit grew by 5.1 %, 5.0 % is allowed\n");
}

#[test]
fn what_is_worse_in_one_of_two_runs_is_noise_and_in_both_a_regression() {
    let folder = Folder::new("again");
    let old = count_result(&[("get_hit", 1_000.0), ("track", 2_000.0)]);
    let (once, twice) =
        ([("get_hit", 1_000.0), ("track", 3_000.0)], [("get_hit", 2_000.0), ("track", 3_000.0)]);
    folder.put("again.json", &count_result(&once).to_string());
    let both = folder.diff_of(&old, &count_result(&twice), &["--again", "again.json"]);
    finds(&both, "diff: instructions of track grew by 50.0 %, 5.0 % is allowed\n");
    assert!(stdout(&both).lines().any(|line| line.starts_with("get_hit") && line.ends_with("noise")));
    let mut other = count_result(&once);
    other["entries"] = json!(1);
    folder.put("again.json", &other.to_string());
    let wanted = "diff: entries differs: it is 20000 in old.json, and 1 in again.json\n";
    refuses(&folder.diff_of(&old, &count_result(&twice), &["--again", "again.json"]), wanted);
}

#[test]
fn what_vanished_is_a_regression_unless_allowed_and_what_is_new_is_said() {
    let folder = Folder::new("missing");
    let old = count_result(&[("get_hit", 1_000.0), ("track", 2_000.0)]);
    let new = count_result(&[("get_hit", 1_000.0), ("join", 2_000.0)]);
    let missing = folder.diff_of(&old, &new, &[]);
    finds(&missing, "diff: instructions of track is missing, which --allow-missing allows\n");
    assert!(stdout(&missing).lines().any(|line| line.starts_with("track") && line.ends_with("MISSING")));
    let allowed = folder.diff_of(&old, &new, &["--allow-missing"]);
    passes(&allowed);
    assert!(stdout(&allowed).lines().any(|line| line.starts_with("track") && line.ends_with("gone")));
    assert!(stdout(&allowed).lines().any(|line| line.starts_with("join") && line.ends_with("new")));
}

#[test]
fn the_json_has_every_row_with_its_verdict() {
    let folder = Folder::new("json");
    let old = count_result(&[("get_hit", 1_000.0), ("track", 2_000.0)]);
    let new = count_result(&[("get_hit", 1_500.0), ("track", 2_000.0)]);
    let output = folder.diff_of(&old, &new, &["--json", "--max-regression", "instructions=10"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&report["schema"], &report["version"]), (&json!("headcount-diff"), &json!(1)));
    assert_eq!((&report["old"], &report["new"]), (&json!("old.json"), &json!("new.json")));
    assert_eq!(
        (&report["regressions"], &report["max_regression_percent"]["instructions"]),
        (&json!(1), &json!(10.0))
    );
    assert_eq!(
        report["rows"][0],
        json!({
            "name": "get_hit", "kind": "instructions", "old": 1_000.0, "new": 1_500.0,
            "change_percent": 50.0, "tolerance_percent": 10.0, "verdict": "worse",
        })
    );
    assert_eq!(report["rows"][1]["verdict"], "same");
}

#[test]
fn results_of_other_conditions_are_not_compared_and_the_field_is_named() {
    let folder = Folder::new("conditions");
    let old = compare_result(&[("get_hit", 400.0, 400.0, 399.0)]);
    for (pointer, value, field, was, waived) in [
        ("/entries", json!(1_000), "entries", "100000", false),
        ("/seed", json!(2), "seed", "1", false),
        ("/quick", json!(false), "quick", "true", false),
        ("/machine/cpu", json!("Abacus 4000"), "machine.cpu", "\"Abacus 3000\"", true),
        ("/machine/cores", json!(64), "machine.cores", "2", true),
        ("/machine/thp", json!("never"), "machine.thp", "\"always [madvise] never\"", true),
    ] {
        let mut new = old.clone();
        *new.pointer_mut(pointer).expect("it is there") = value.clone();
        let remedy = if waived { ": --any-machine compares them nevertheless" } else { "" };
        let wanted =
            format!("diff: {field} differs: it is {was} in old.json, and {value} in new.json{remedy}\n");
        refuses(&folder.diff_of(&old, &new, &[]), &wanted);
        let any = folder.diff_of(&old, &new, &["--any-machine"]);
        assert_eq!(any.status.code(), Some(if waived { 0 } else { 2 }), "{field}");
        let note = format!("note: {field} differs: {was} before, {value} now\n");
        assert_eq!(stdout(&any).starts_with(&note), waived, "{}", stdout(&any));
    }
    let mut new = old.clone();
    new["machine"]["kernel"] = json!("6.2");
    let other_kernel = folder.diff_of(&old, &new, &[]);
    passes(&other_kernel);
    assert!(stdout(&other_kernel).starts_with("note: machine.kernel differs: \"6.1\" before, \"6.2\" now\n"));
}

#[test]
fn a_comparison_and_counts_are_not_compared() {
    let folder = Folder::new("kinds");
    let (old, new) = (compare_result(&[("get_hit", 400.0, 400.0, 399.0)]), count_result(&[("get_hit", 1.0)]));
    let wanted = "diff: schema differs: it is \"headcount-compare\" in old.json, and \"headcount-count\" in new.json\n";
    refuses(&folder.diff_of(&old, &new, &[]), wanted);
}

#[test]
fn results_with_nothing_in_common_are_not_compared() {
    let folder = Folder::new("nothing");
    let (old, new) = (count_result(&[("get_hit", 1.0)]), count_result(&[("track", 1.0)]));
    let wanted = "diff: nothing that is judged is in both results\n";
    refuses(&folder.diff_of(&old, &new, &[]), wanted);
    refuses(&folder.diff_of(&old, &new, &["--allow-missing"]), wanted);
}

#[test]
fn what_is_no_result_is_refused_with_the_reason() {
    let folder = Folder::new("no-result");
    let good = count_result(&[("get_hit", 1_000.0)]);
    folder.put("old.json", &good.to_string());
    let refused = |name: &str, text: &str, wanted: &str| {
        folder.put(name, text);
        let output = folder.diff(&["old.json", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(stderr(&output).starts_with(&format!("diff: {name}: {wanted}")), "{}", stderr(&output));
        assert_eq!((stderr(&output).lines().count(), stdout(&output).as_str()), (1, ""));
    };
    let text = good.to_string();
    refused("cut.json", &text[..text.len() / 2], "not a result: EOF while parsing");
    refused("empty.json", "", "not a result: EOF while parsing");
    refused("text.json", "all good", "not a result: expected value");
    refused("list.json", "[]", "schema is missing, it must be \"headcount-compare\" or \"headcount-count\"");
    let changed = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).expect("it is there") = value;
        changed.to_string()
    };
    refused("other.json", &changed("/schema", json!("weather")), "schema is \"weather\", it must be");
    refused("later.json", &changed("/version", json!(2)), "version is 2, it must be 1");
    refused("bare.json", &changed("/operations", json!({})), "not a result: invalid type: map");
    refused(
        "below.json",
        &changed("/operations/0/instructions", json!(-3.0)),
        "instructions of get_hit is -3, it must be a number that is not below 0",
    );
    let twice = count_result(&[("get_hit", 1.0), ("get_hit", 2.0)]).to_string();
    refused("twice.json", &twice, "operations is twice for get_hit, it must be there once for each");
    refused("long.json", &" ".repeat((16 << 20) + 1), "it is longer than 16777216 bytes");
    let absent = folder.diff(&["old.json", "absent.json"]);
    refuses(&absent, "diff: absent.json: No such file or directory (os error 2)\n");
}

#[test]
fn a_limit_that_makes_no_sense_is_refused() {
    let folder = Folder::new("limits");
    for (limit, wanted) in [
        ("speed=3", "KIND is \"speed\", it must be one of instructions, ratio, memory, time, tail, longest"),
        ("ratio=-1", "PERCENT is \"-1\", it must be within 0..=9900"),
        ("ratio=NaN", "PERCENT is \"NaN\", it must be within 0..=9900"),
        ("ratio", "it must be KIND=PERCENT"),
    ] {
        let refused = folder.diff(&["a", "b", "--max-regression", limit]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(wanted), "{}", stderr(&refused));
    }
}

#[test]
fn what_compare_and_count_write_is_read() {
    let folder = Folder::new("real");
    let mut compare = Command::new(env!("CARGO_BIN_EXE_compare"));
    compare.args(["--quick", "--json", "--no-huge", "--entries", "1000", "--only", "get_hit"]);
    folder.put("compare.json", &stdout(&compare.output().expect("the binary starts")));
    passes(&folder.diff(&["compare.json", "compare.json"]));
    #[cfg(unix)]
    {
        let mut count = Command::new(env!("CARGO_BIN_EXE_count"));
        count.env("PATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand_in"));
        count.env("INSTRUCTIONS_PER_STEP", "100").args(["measure", "--json"]);
        folder.put("count.json", &stdout(&count.output().expect("the binary starts")));
        passes(&folder.diff(&["count.json", "count.json"]));
    }
}
