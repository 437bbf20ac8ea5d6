//! The binary `compare`, run as a user runs it: everything is measured, and flags that make no sense are refused.

use serde_json::Value;
use std::process::{Command, Output};

const OURS: &str = "headcount";
const MAPS: [&str; 5] = ["rwlock_hashbrown_64", "dashmap", "papaya", "scc", "mutex_hashmap"];
const TOPIC_MAPS: [&str; 2] = ["rwlock_hashbrown_64", "dashmap"];
const ORSWOT: [&str; 1] = ["crdts_orswot"];
const BESIDE_MAPS: [&str; 19] = [
    "get_hit",
    "get_stream",
    "get_many",
    "get_owned_hit",
    "get_miss",
    "track",
    "untrack",
    "track_untrack",
    "track_many",
    "update",
    "update_ref",
    "update_vs_insert",
    "session_end",
    "mix_90_10_1t",
    "mix_90_10_2t",
    "mix_50_50_1t",
    "mix_50_50_2t",
    "hot_topic_1t",
    "hot_topic_2t",
];
const BESIDE_TOPIC_MAPS: [&str; 4] = ["list", "list_owned", "list_again", "list_large"];
const BESIDE_ORSWOT: [&str; 5] =
    ["crdt_contains", "crdt_add", "crdt_remove", "delta_apply_200", "delta_apply_2000"];

fn compare(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare")).args(args).output().expect("the binary runs")
}

fn json(args: &[&str]) -> Value {
    let output = compare(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn positive(value: &Value, what: &str) -> f64 {
    let number = value.as_f64().unwrap_or_else(|| panic!("{what} is {value}"));
    assert!(number > 0.0 && number.is_finite(), "{what} is {number}");
    number
}

/// Ours and exactly these peers, each with these numbers.
fn has(contestants: &Value, peers: &[&str], numbers: &[&str], what: &str) {
    let mut names: Vec<&str> = contestants.as_object().expect(what).keys().map(String::as_str).collect();
    let mut wanted: Vec<&str> = peers.iter().copied().chain([OURS]).collect();
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "{what}");
    for name in names {
        for number in numbers {
            positive(&contestants[name][number], &format!("{number} of {name} in {what}"));
        }
    }
}

#[test]
fn every_operation_has_every_contestant_with_positive_numbers() {
    let report = json(&["--entries", "2000", "--quick", "--json", "--no-huge", "--seed", "7"]);
    assert_eq!((&report["entries"], &report["seed"]), (&Value::from(2000), &Value::from(7)));
    assert_eq!((&report["schema"], &report["version"]), (&Value::from("headcount-compare"), &Value::from(1)));
    assert_eq!(report["quick"], true);
    positive(&report["rounds"], "rounds");
    positive(&report["machine"]["cores"], "cores");
    assert!(report.get("huge_pages").is_none());

    let operations = report["operations"].as_object().expect("operations");
    let groups: [(&[&str], &[&str]); 3] =
        [(&BESIDE_MAPS, &MAPS), (&BESIDE_TOPIC_MAPS, &TOPIC_MAPS), (&BESIDE_ORSWOT, &ORSWOT)];
    assert_eq!(operations.len(), groups.iter().map(|(names, _)| names.len()).sum::<usize>());
    for (names, peers) in groups {
        for name in names {
            let operation = operations.get(*name).unwrap_or_else(|| panic!("{name} is missing"));
            has(&operation["contestants"], peers, &["wall_ns", "cpu_ns"], name);
            let best = operation["best_peer"].as_str().expect(name);
            let wall =
                |contestant: &str| operation["contestants"][contestant]["wall_ns"].as_f64().expect(name);
            assert!(peers.iter().all(|peer| wall(best) <= wall(peer)), "{best} is the best peer of {name}");
            let ratio = positive(&operation["ratio_to_best_peer"], name);
            assert!((ratio - wall(OURS) / wall(best)).abs() < 1e-9, "{name}: {ratio}");
            assert_eq!(operation["ratios"].as_object().expect(name).len(), peers.len(), "{name}");
        }
    }
    positive(&report["delta_apply_growth"], "delta_apply_growth");
    for kind in ["track", "update", "untrack"] {
        has(
            &report["longest_write"][kind]["contestants"],
            &MAPS,
            &["wall_us", "cpu_us", "wall_us_max", "cpu_us_max"],
            kind,
        );
    }
    let quantiles = ["p50_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns", "reads", "writes"];
    for tail in ["tail", "tail_bursts"] {
        has(&report[tail]["contestants"], &MAPS, &quantiles, tail);
        positive(&report[tail]["ratio_best_locked_to_ours"], tail);
    }
    let all: Vec<&str> = MAPS.into_iter().chain(ORSWOT).collect();
    has(&report["memory"]["contestants"], &all, &["bytes_per_entry", "rss_before_kib"], "memory");
}

#[test]
fn only_and_peers_leave_the_rest_out_and_the_second_run_is_of_the_same() {
    let report =
        json(&["--entries", "1000", "--quick", "--json", "--only", "get_hit", "--peers", "scc,rwlock"]);
    for figures in [&report, &report["huge_pages"]] {
        let operations = figures["operations"].as_object().expect("operations");
        assert_eq!(operations.keys().collect::<Vec<_>>(), ["get_hit"]);
        has(&operations["get_hit"]["contestants"], &["scc", "rwlock_hashbrown_64"], &["wall_ns"], "get_hit");
        assert!(figures["tail"].is_null() && figures["memory"].is_null());
    }
    assert_eq!(report["huge_pages_used"]["malloc_asks"], false);
    assert_eq!(report["huge_pages"]["huge_pages_used"]["malloc_asks"], true);
}

#[test]
fn people_get_a_table() {
    let output = compare(&["--entries", "1000", "--quick", "--no-huge", "--only", "update"]);
    let table = String::from_utf8(output.stdout).expect("text");
    assert!(table.contains("operation") && table.contains("update_vs_insert"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 110), "{table}");
}

#[test]
fn a_bad_flag_gives_one_line_that_names_it_and_its_limit() {
    let cases: [(&[&str], &str); 5] = [
        (&["--entries", "10"], "compare: --entries is 10, it must be within 1000..=4000000\n"),
        (&["--entries", "5000000"], "compare: --entries is 5000000, it must be within 1000..=4000000\n"),
        (&["--rounds", "0"], "compare: --rounds is 0, it must be within 1..=1000\n"),
        (
            &["--peers", "scc,redis"],
            "compare: --peers is \"redis\", it must be among rwlock_hashbrown_64, dashmap, papaya, scc, \
             mutex_hashmap, crdts_orswot\n",
        ),
        (
            &["--entries", "1000", "--only", "nothing"],
            "compare: --only is \"nothing\", it must be part of the name of something that is measured\n",
        ),
    ];
    for (args, wanted) in cases {
        let output = compare(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), wanted);
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = compare(&["--entries", "many"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--entries"));
}
