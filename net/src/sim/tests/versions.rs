use super::stage::{MS, Stage, stage_with};
use crate::core::MemberState;
use crate::sim::versions::Version;

const VERSIONS: [Version; 3] = [Version::Later, Version::This, Version::Older];

/// A node of each version.
fn mixed(seed: u64) -> Stage {
    stage_with(seed, &[2, 2, 2], |build| {
        let host: usize = build.name[1..].parse().expect("a number");
        build.version = VERSIONS[host];
    })
}

#[test]
fn nodes_of_three_versions_are_one_cluster_and_repair_nothing_for_it() {
    let mut stage = mixed(41);
    for _ in 0..200 {
        (0..3).for_each(|host| stage.operate(host, 4));
        stage.run(MS(5));
    }
    stage.agree(MS(500));
    assert!(stage.world.faults.unknown_frames > 500);
    for host in 0..3 {
        let stats = stage.stats(host);
        assert_eq!((stats.naks_sent, stats.snapshots_failed, stats.downs), (0, 0, 0));
    }
    // What is for others is counted, and as what it is.
    assert!(stage.world.faults.foreign_versions > 0 && stage.world.faults.critical_frames > 0);
    assert!(stage.stats(1).foreign > 0 && stage.stats(1).malformed > 0);
    assert_eq!(stage.stats(1).auth_failed, 0);
    stage.settle();
}

#[test]
fn a_change_in_a_datagram_that_cannot_be_read_comes_by_stream() {
    let mut stage = mixed(42);
    // Everything of the later node's is marked as not to be skipped while that lasts; what is sent again is the same again.
    stage.world.restless = true;
    stage.world.versions.critical_every = 1;
    let before = stage.stats(1);
    stage.track(0, "room", "alice", "");
    stage.run(MS(20));
    assert!(stage.refs(1, "room").is_empty());
    stage.world.restless = false;
    stage.run(MS(2_000));
    let after = stage.stats(1);
    assert_eq!(stage.refs(1, "room").len(), 1);
    assert!(after.naks_sent > before.naks_sent && after.duplicates > before.duplicates);
    assert!(
        after.snapshot_lanes_taken + after.catch_ups_taken
            > before.snapshot_lanes_taken + before.catch_ups_taken
    );
    stage.settle();
}

#[test]
fn a_node_that_goes_over_to_a_version_of_its_own_is_down_until_it_is_back() {
    let mut stage = mixed(43);
    let at = stage.track(0, "room", "alice", "");
    stage.agree(MS(500));
    stage.go(|world| {
        world.estrange(0, MS(3_500));
        Ok(())
    });
    stage.run(MS(3_300));
    for host in [1, 2] {
        assert!(stage.refs(host, "room").is_empty());
        assert!(stage.stats(host).foreign > 20 && stage.stats(host).downs == 1);
        assert!(stage.at(host).core.peers().any(|peer| peer.state == MemberState::Down));
    }
    stage.agree(MS(2_000));
    assert_eq!(stage.refs(1, "room"), [at]);
    stage.settle();
}
