//! Multicast over IPv6 on the loopback interface. Linux has no route for groups there, so the test runs again in a network
//! namespace of its own, which it may make if it is root.
#![cfg(target_os = "linux")]

use headcount::Tracker;
use headcount_net::{Cluster, Config, Interface, JoinError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

mod common;

use common::{PATIENCE, eventually};

const INSIDE: &str = "HEADCOUNT_TEST_NAMESPACE";
const SETUP: &str =
    "ip link set lo up && ip -6 route add local ff00::/8 dev lo table local && exec \"$0\" \"$@\"";

fn join(name: &str, group: &str) -> Result<(Tracker, Cluster), JoinError> {
    let tracker = Tracker::new();
    let group: SocketAddr = group.parse().expect("an address");
    let cluster = Config::new("test").node(name).multicast(group, Interface::Loopback).join(&tracker)?;
    Ok((tracker, cluster))
}

#[test]
fn r1_two_nodes_meet_on_an_ipv6_group() {
    if std::env::var_os(INSIDE).is_none() {
        run_in_a_namespace("r1_two_nodes_meet_on_an_ipv6_group");
        return;
    }
    for group in ["[ff12::4843]:7070", "[ff15::4843]:7070"] {
        let (a, cluster_a) = join("a", group).expect("joins");
        let (b, cluster_b) = join("b", group).expect("joins");
        assert!(cluster_a.local_addr().is_ipv6() && cluster_a.network().multicast);
        let session = a.session();
        session.track_many((0..5_000).map(|i| ("room", format!("user-{i}"), "meta"))).unwrap();
        eventually("b has all", || b.count("room") == 5_000);
        session.untrack("room", "user-7").unwrap();
        eventually("b sees the leave", || b.count("room") == 4_999);
        assert!(cluster_b.wait_synced(PATIENCE));
        assert_eq!((cluster_a.stats().send_errors, cluster_b.network().fallback), (0, None));
    }
}

#[test]
fn an_ipv6_group_without_a_route_is_a_clear_error() {
    // The loopback has one only if somebody has made it.
    if let Err(refused) = join("a", "[ff12::4843]:7071") {
        let text = refused.to_string();
        assert!(text.contains("sending to multicast group [ff12::4843]:7071 on interface lo"), "{text}");
    }
}

fn run_in_a_namespace(test: &str) {
    let this = std::env::current_exe().expect("this program");
    let run = Command::new("unshare")
        .args(["--net", "sh", "-c", SETUP])
        .arg(&this)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let Ok(output) = run else {
        let _ = writeln!(std::io::stderr(), "skipped: there is no `unshare`");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() && !out.contains("running 1 test") {
        let _ = writeln!(std::io::stderr(), "skipped, no namespace: {}", err.trim());
        return;
    }
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}
