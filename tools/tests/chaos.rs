//! The lab: what it finds, and that nothing of it is left, however it ends. Where there can be no lab (no root, no nftables),
//! the tests say so and pass.

#![cfg(target_os = "linux")]

mod support;

use serde_json::Value;
use std::fs;
use std::process::{Command, Output, Stdio};
use support::{Guarded, stderr, stdout, until};

/// What the program says where it cannot make a lab, whatever it is asked to do there.
const OBSTACLES: [&str; 4] = [
    "error: network namespaces need root",
    "error: `ip` is missing",
    "error: `nft` is missing",
    "error: this system does not let network namespaces be made",
];

fn chaos(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Whether it ran into an obstacle, which is told.
#[expect(
    clippy::print_stderr,
    reason = "whoever reads the test's output wants to know that nothing was tested"
)]
fn skipped(output: &Output) -> bool {
    let said = stderr(output);
    let obstacle = said.lines().find(|line| OBSTACLES.iter().any(|obstacle| line.starts_with(obstacle)));
    if let Some(obstacle) = obstacle {
        assert_eq!(output.status.code(), Some(1), "{said}");
        eprintln!("skipped: {obstacle}");
    }
    obstacle.is_some()
}

/// The namespaces of the lab of a process.
fn namespaces_of(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/var/run/netns") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("headcount-chaos-{pid}-"))).collect()
}

/// Nodes that run in a lab: their command lines name its namespaces' addresses.
fn nodes_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|child| child.parse().ok());
    pids.filter(|&pid| is_node(pid)).collect()
}

fn is_node(pid: u32) -> bool {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // Not `ip netns exec`, which is about to become one and is not in its namespace yet.
    line.contains("\0node\0--name\0node-") && !line.starts_with("ip\0")
}

#[test]
fn a_split_and_a_lossy_link_end_with_equal_views_and_nobody_taken_for_dead_by_mistake() {
    // What a lab has left behind whose process, and whose keeper, were killed. (No process has such a number.)
    let leftover = "headcount-chaos-4000000000-1-hub";
    let _ = Command::new("ip").args(["netns", "add", leftover]).output();

    let scenarios = ["--scenario", "split-heal", "--scenario", "loss-5"];
    let child = chaos(&[&scenarios[..], &["--seconds", "3", "--json"]].concat()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    if skipped(&output) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1, "one object and nothing else: {text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let [split, loss] = [&report["scenarios"][0], &report["scenarios"][1]];
    assert_eq!([&split["scenario"], &loss["scenario"]], ["split-heal", "loss-5"]);
    for found in [split, loss] {
        assert_eq!(found["views_equal"], true, "{text}");
        assert_eq!(found["false_downs"], 0, "{text}");
        assert_eq!(found["problems"], Value::Array(vec![]), "{text}");
        let figure = |name: &str| found[name].as_u64().unwrap_or_else(|| panic!("no {name} in {text}"));
        assert!(figure("converge_ms") < 20_000 && figure("compared") > 1_000 && figure("changes") > 1_000);
        let hosts = found["hosts"].as_array().expect("a list");
        assert_eq!(hosts.len(), 3);
        assert!(hosts.iter().all(|host| host["sent_bytes"].as_u64() > Some(10_000)), "{text}");
    }
    // The faults were real, and are told apart.
    let figure = |found: &Value, name: &str| found[name].as_u64().unwrap();
    assert!(figure(split, "packets_cut") > 0 && figure(split, "packets_lost") == 0, "{text}");
    assert!(figure(loss, "packets_lost") > 0 && figure(loss, "packets_cut") == 0, "{text}");
    // One node on its own and two together: each side misses the other.
    assert_eq!((figure(split, "downs"), figure(loss, "downs")), (4, 0));
    assert_eq!(namespaces_of(pid), [""; 0]);
    assert_eq!(namespaces_of(4_000_000_000), [""; 0]);
}

#[test]
fn delays_reordering_and_duplicates_are_tried_whether_the_kernel_can_or_not() {
    let output = chaos(&["--scenario", "disorder", "--seconds", "3", "--json"]).output().unwrap();
    if skipped(&output) {
        return;
    }
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let found = &report["scenarios"][0];
    assert_eq!(found["skipped"], Value::Null, "{text}");
    assert_eq!(
        (&found["views_equal"], &found["false_downs"]),
        (&Value::from(true), &Value::from(0)),
        "{text}"
    );
    let figure = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("a figure is missing in {text}"));
    assert!(figure(&found["changes"]) > 1_000, "{text}");
    // What is held up for 10 ms and more is not seen sooner, unless it overtakes.
    assert!(figure(&found["visible_us"]["p50"]) > 5_000, "{text}");
    assert!(figure(&found["counters"]["net.gaps"]) > 100, "{text}");
    assert!(figure(&found["counters"]["net.duplicates"]) > 10, "{text}");
}

#[test]
fn a_node_outside_of_the_lab_disturbs_nothing() {
    let output = support::headcount(&["node", "--name", "a", "--cluster", "b", "--disorder", "1"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

/// A lab in its middle, with its nodes; none if there can be no lab here.
fn lab_with_nodes() -> Option<(Guarded, Vec<u32>)> {
    let mut child =
        chaos(&["--scenario", "loss-1", "--seconds", "60"]).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let mut nodes = Vec::new();
    let mut ended = false;
    until("the nodes to run", || {
        nodes = nodes_of(pid);
        ended = child.try_wait().unwrap().is_some();
        ended || nodes.len() == 3
    });
    if ended {
        let output = child.wait_with_output().unwrap();
        assert!(skipped(&output), "{}", stderr(&output));
        return None;
    }
    Some((Guarded(child), nodes))
}

#[test]
fn an_interrupted_lab_leaves_nothing_behind() {
    let Some((lab, nodes)) = lab_with_nodes() else { return };
    let pid = lab.0.id();
    assert_eq!(namespaces_of(pid).len(), 4);
    lab.interrupt();
    assert_eq!(lab.ended().code(), Some(130));
    assert_eq!(namespaces_of(pid), [""; 0]);
    assert!(!nodes.into_iter().any(is_node), "a node outlived the lab");
}

#[test]
fn a_lab_that_is_killed_leaves_nothing_behind_even_with_a_node_that_stands_still() {
    let Some((lab, nodes)) = lab_with_nodes() else { return };
    let pid = lab.0.id();
    support::signal(nodes[0], "-STOP");
    // SIGKILL: it has no chance to remove anything.
    drop(lab);
    until("the namespaces to be gone", || namespaces_of(pid).is_empty());
    until("the nodes to end", || !nodes.iter().copied().any(is_node));
}

#[test]
fn the_list_and_the_help_tell_what_there_is() {
    let output = chaos(&["--list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    for name in ["split-heal", "one-way", "sigstop-10s", "rolling", "small-rcvbuf", "load-50k", "loss-20"] {
        assert!(stdout(&output).lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    let output = chaos(&["--scenario", "loss-7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("no such scenario; take one of idle, split-heal"),
        "{}",
        stderr(&output)
    );
    let help = stdout(&chaos(&["--help"]).output().unwrap());
    for word in ["--scenario", "--list", "--nodes", "--seconds", "--rate", "--json", "nftables"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert!(!help.contains("keeper"), "{help}");
}
