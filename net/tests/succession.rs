//! One life of a node after another, between real sockets: handover, and the epoch that a file keeps.

mod common;

use common::{PATIENCE, eventually, group, join};
use headcount::{Entry, Tracker};
use headcount_net::{Cluster, Config, Interface, JoinError, MemberState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn keeping(group: SocketAddr, name: &str, epoch_file: &Path) -> Result<(Tracker, Cluster), JoinError> {
    let tracker = Tracker::new();
    let config = Config::new("test").node(name).multicast(group, Interface::Loopback).epoch_file(epoch_file);
    config.join(&tracker).map(|cluster| (tracker, cluster))
}

/// A node that lists others however long they are silent, and for so long what they leave behind.
fn patient(group: SocketAddr, handover_max: Duration) -> (Tracker, Cluster) {
    let tracker = Tracker::new();
    let patience = Duration::from_secs(600);
    let config = Config::new("test").node("b").multicast(group, Interface::Loopback);
    let config = config.down_limit(patience).down_after(patience).handover_max(handover_max);
    let cluster = config.join(&tracker).expect("joins");
    (tracker, cluster)
}

/// A file of the test's own, gone with it.
struct Kept(PathBuf);

impl Kept {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("headcount-net-{}-{name}", std::process::id())))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn metas(tracker: &Tracker) -> Vec<String> {
    tracker.list("room").iter().map(|entry: &Entry| entry.meta_str().into_owned()).collect()
}

#[test]
fn a_program_that_is_replaced_hands_over_and_nobody_sees_a_gap() {
    let group = group();
    let (b, cluster_b) = patient(group, Duration::from_secs(60));
    let (old, cluster_old) = join(group, "a");
    let session = old.session();
    session.track("room", "alice", "old").unwrap();
    assert_eq!(cluster_old.barrier(PATIENCE), Ok(()));
    assert_eq!(metas(&b), ["old"]);
    cluster_old.leave_with_handover(Duration::from_secs(50));
    eventually("b has heard the goodbye", || {
        cluster_b.members().iter().any(|member| member.state == MemberState::Leaving)
    });
    assert_eq!(metas(&b), ["old"], "it stays");

    // The new program has its entries before it joins.
    let new = Tracker::new();
    let session = new.session();
    session.track("room", "alice", "new").unwrap();
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = vec!["old".to_owned()];
            eventually("the new one is there", || {
                let now = metas(&b);
                assert!(!now.is_empty(), "a gap");
                let last = now.last().expect("it is not empty").clone();
                if seen.last() != Some(&last) {
                    seen.push(last);
                }
                now == ["new"]
            });
            seen
        });
        let config = Config::new("test").node("a").multicast(group, Interface::Loopback);
        let cluster = config.join(&new).expect("joins");
        let seen = watcher.join().expect("there was no gap");
        cluster.leave();
        seen
    });
    assert_eq!(seen, ["old", "new"]);
    eventually("a plain goodbye is at once", || metas(&b).is_empty());
}

#[test]
fn what_is_handed_over_to_nobody_goes_when_others_bear_it_no_longer() {
    let group = group();
    let (b, cluster_b) = patient(group, Duration::from_millis(300));
    let (a, cluster_a) = join(group, "a");
    let session = a.session();
    session.track("room", "alice", "kept").unwrap();
    assert_eq!(cluster_a.barrier(PATIENCE), Ok(()));
    cluster_a.leave_with_handover(Duration::from_secs(50));
    eventually("it is gone", || metas(&b).is_empty() && cluster_b.members().is_empty());
    assert_eq!(cluster_b.stats().handovers, 1);
}

#[test]
fn a_node_lives_above_the_epoch_in_its_file_though_nobody_tells_it() {
    let kept = Kept::new("epoch");
    for epoch in 1..=3 {
        // A group of its own each time: there is nobody.
        let (_tracker, cluster) = keeping(group(), "a", &kept.0).expect("joins");
        assert_eq!(cluster.incarnation().epoch, epoch);
        let written = std::fs::read_to_string(&kept.0).unwrap();
        assert_eq!(written, format!("headcount epoch {epoch}\n"), "before it is live");
    }
    std::fs::write(&kept.0, "headcount epoch 41\n").unwrap();
    let (_tracker, cluster) = keeping(group(), "a", &kept.0).expect("joins");
    assert_eq!(cluster.incarnation().epoch, 42);
    // What others know counts as well.
    let group = group();
    let (_other, cluster_other) = join(group, "b");
    let fresh = Kept::new("fresh");
    for epoch in 1..=2 {
        let (_tracker, cluster) = keeping(group, "a", &fresh.0).expect("joins");
        eventually("b has met it", || cluster_other.members().len() == 1);
        assert_eq!(cluster.incarnation().epoch, epoch);
        drop(cluster);
        eventually("b has heard the goodbye", || cluster_other.members().is_empty());
        if epoch == 1 {
            std::fs::write(&fresh.0, "headcount epoch 0\n").unwrap();
        }
    }
}

#[test]
fn a_file_that_is_not_one_is_refused_by_field_and_path_and_the_tracker_is_free() {
    let kept = Kept::new("broken");
    std::fs::write(&kept.0, "12").unwrap();
    let tracker = Tracker::new();
    let config = Config::new("test").node("a").multicast(group(), Interface::Loopback);
    let refused = config.clone().epoch_file(&kept.0).join(&tracker).unwrap_err();
    let expected = format!("epoch_file {}: does not hold a line like", kept.0.display());
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    assert_eq!(std::fs::read_to_string(&kept.0).unwrap(), "12");
    config.join(&tracker).expect("it is free");
}
