//! The demo, whole and interrupted.

mod support;

use headcount::counters::{default_dir, find};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::{Guarded, headcount, program, stderr, stdout, until};

/// Files that nodes of a cluster have left where everybody looks.
fn left_behind(cluster: &str) -> Vec<PathBuf> {
    let found = find(default_dir()).expect("a directory").into_iter();
    let of_it = found.filter(|found| {
        found.reader.as_ref().is_ok_and(|reader| reader.fact("cluster").as_deref() == Some(cluster))
    });
    of_it.map(|found| found.path).collect()
}

#[test]
fn a_small_demo_succeeds_and_reports_every_figure() {
    let cluster = format!("small-{}", std::process::id());
    let size = ["--nodes", "2", "--entries", "2000", "--clients", "20"];
    let output = headcount(&[&["demo", "--json", "--cluster", &cluster], &size[..]].concat());
    assert_eq!(left_behind(&cluster), [""; 0].map(PathBuf::from), "stat and doctor would tell of dead nodes");
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1, "one object and nothing else: {text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&report["nodes"], &report["entries"]), (&Value::from(2), &Value::from(2000)));
    assert_eq!((&report["views_equal"], &report["errors"]), (&Value::Bool(true), &Value::Array(vec![])));
    let figure = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("not a number in {text}"));
    let visible = &report["visible_us"];
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| figure(&visible[name]));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{text}");
    // A wake-up that is lost is made good by a look at the clock, but that takes a tenth of a second.
    assert!(p50 < 50_000.0, "{text}");
    assert_eq!(visible["samples"], 500);
    assert_eq!(report["crash_entries"], 1010);
    assert_eq!(report["old_life_entries"], 0);
    // Half of the entries were compared twice, the rest too: on both nodes, the lobby included.
    assert_eq!(report["compared"], 2 * (2000 + 20));
    for name in ["start_ms", "fill_ms", "settle_ms", "joins_per_s", "rejoin_ms", "refill_ms", "elapsed_ms"] {
        assert!(figure(&report[name]) >= 0.0);
    }
    assert!(figure(&report["crash_noticed_ms"]) > 100.0, "{text}");
    let (wire, payload) = (figure(&report["wire_bytes_per_join"]), figure(&report["payload_bytes_per_join"]));
    assert!(payload < wire && wire < 300.0, "{text}");
}

#[test]
fn a_demo_under_load_reports_what_a_node_costs_and_how_soon_joins_are_seen() {
    let output = headcount(&[
        "demo",
        "--nodes",
        "2",
        "--entries",
        "100",
        "--clients",
        "2",
        "--load",
        "2000",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let figure = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("not a number in {text}"));
    let [quiet, busy] = [&report["quiet_cost"], &report["busy_cost"]];
    // Ten heartbeats a second, some of them with a hello.
    assert!((8.0..50.0).contains(&figure(&quiet["packets_per_s"])), "{text}");
    assert!(figure(&quiet["bits_per_s"]) < figure(&busy["bits_per_s"]), "{text}");
    assert!(figure(&quiet["cpu_percent"]) < 50.0 && figure(&busy["cpu_percent"]) > 0.0, "{text}");
    assert!((1000.0..2200.0).contains(&figure(&report["busy_changes_per_s"])), "{text}");
    assert!(figure(&report["busy_visible_us"]["p99"]) > 0.0, "{text}");
    assert_eq!(report["busy_visible_us"]["samples"], 1000);
}

#[cfg(unix)]
#[test]
fn a_demo_that_is_kept_can_be_looked_into_and_leaves_nothing_behind() {
    let cluster = format!("kept-{}", std::process::id());
    let mut demo = Command::new(program())
        .args(["demo", "--nodes", "2", "--entries", "100", "--clients", "4", "--keep", "--cluster", &cluster])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let said = BufReader::new(demo.stderr.take().expect("a pipe"));
    let demo = Guarded(demo);
    let mut invitation = String::new();
    for line in said.lines().map_while(Result::ok) {
        invitation.push_str(&format!("{line}\n"));
        if line.contains("Ctrl-C") {
            break;
        }
    }
    let told = |command: &str| invitation.lines().any(|line| line.trim_end().ends_with(command));
    for command in [" stat", " top", " topics --process node-1", " watch room:1 --process node-1", " verify"]
    {
        assert!(told(command), "{command} is not in {invitation}");
    }
    // By their process ids: other demos have nodes of these names.
    let files = left_behind(&cluster);
    let pids: Vec<&str> =
        files.iter().map(|path| path.to_str().expect("text").rsplit('.').nth(1).expect("a pid")).collect();
    assert_eq!(pids.len(), 2, "the life that was killed is over: {files:?}");
    let output = headcount(&["topics", "--process", pids[0]]);
    assert!(output.status.success() && stdout(&output).contains("lobby"), "{}", stderr(&output));
    let output = headcount(&["verify", "--process", pids[0], "--process", pids[1]]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let sockets = pids.iter().map(|pid| default_dir().join(format!("headcount.{pid}.0.admin")));
    let sockets: Vec<PathBuf> = sockets.collect();
    assert!(sockets.iter().all(|socket| socket.exists()), "{sockets:?}");
    demo.interrupt();
    assert_eq!(demo.ended().code(), Some(0));
    assert_eq!(left_behind(&cluster), [""; 0].map(PathBuf::from));
    assert!(!sockets.iter().any(|socket| socket.exists()), "{sockets:?}");
}

/// Processes whose parent is `pid`, as Linux tells it.
fn children_of(pid: u32) -> Vec<u32> {
    let parent = |stat: &str| {
        // The name in parentheses may hold anything; the parent is the second field behind it.
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if parent(&stat) == Some(pid) {
            children.push(child);
        }
    }
    children
}

/// Whether it is a `headcount` process that has not ended. (Its number may be somebody else's by now.)
fn runs(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    name.trim_end() == "headcount" && !stat.contains(") Z ")
}

/// A demo in its middle, with its nodes.
fn demo_with_nodes(nodes: usize) -> (Guarded, Vec<u32>) {
    let demo = Command::new(program())
        .args([
            "demo",
            "--nodes",
            &nodes.to_string(),
            "--entries",
            "2000",
            "--clients",
            "20",
            "--keep",
            "--json",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let demo = Guarded(demo);
    let mut children = Vec::new();
    until("the nodes to run", || {
        children = children_of(demo.0.id());
        children.len() == nodes && children.iter().all(|&child| runs(child))
    });
    (demo, children)
}

#[test]
fn an_interrupted_demo_leaves_no_process_behind() {
    let (demo, nodes) = demo_with_nodes(3);
    demo.interrupt();
    assert_eq!(demo.ended().code(), Some(130));
    assert!(nodes.iter().all(|&node| !runs(node)), "a node outlived the demo");
}

#[test]
fn nodes_end_by_themselves_if_the_demo_is_killed() {
    let (demo, nodes) = demo_with_nodes(2);
    // SIGKILL: it has no chance to end them.
    drop(demo);
    until("the nodes to end", || nodes.iter().all(|&node| !runs(node)));
}
