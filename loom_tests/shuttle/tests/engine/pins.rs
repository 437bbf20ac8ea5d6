//! What is read outside the lock of what was chosen under it: snapshots, deltas.

use super::explore::{explore, random};
use super::stage::{meta, node, small, whole};
use crate::common::life;
use crate::common::peer::Peer;
use headcount::NodeId;
use shuttle::thread;

/// A snapshot is one instant: of a token that is passed on, by a join and then a leave, it shows one holder, or two that follow each
/// other; and its version says which. Its entries are whole, whatever became of their slots.
#[test]
fn a_snapshot_is_one_instant() {
    explore("a_snapshot_is_one_instant", 300, || {
        let tracker = small();
        let session = tracker.session();
        let pass = |round: u64| {
            let key = round.to_string();
            session
                .track("room", &key, meta(b"room", key.as_bytes(), round, 8 + 70 * (round as usize % 2)))
                .unwrap();
        };
        pass(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..8 {
                    pass(round);
                    session.untrack("room", (round - 1).to_string()).unwrap();
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    for _ in 0..4 {
                        let snapshot = tracker.snapshot("room");
                        let rounds: Vec<u64> = snapshot
                            .entries
                            .iter()
                            .map(|entry| whole(b"room", entry.key(), entry.meta()))
                            .collect();
                        // Version 1 is the first join; every round has two changes.
                        let round = snapshot.version / 2;
                        let expected =
                            if snapshot.version % 2 == 1 { vec![round] } else { vec![round - 1, round] };
                        assert_eq!(rounds, expected, "at version {}", snapshot.version);
                        assert!(snapshot.version >= last, "time went back");
                        last = snapshot.version;
                    }
                });
            }
        });
        let memory = tracker.stats().memory_used_bytes;
        session.clear().unwrap();
        assert!(tracker.stats().memory_used_bytes <= memory && tracker.is_empty());
    });
}

/// A snapshot of a lane is what its count and digest say, and a delta that was taken under way brings another node to exactly the
/// state at its clock, while entries are updated, removed and made again.
#[test]
fn a_lane_that_is_read_under_way_is_what_its_digest_says() {
    explore("a_lane_that_is_read_under_way_is_what_its_digest_says", 200, || {
        let a = Peer::with(node(1));
        a.replica.set_identity(NodeId(1), "a", life(1));
        let session = a.tracker.session();
        let write = |topic: &str, key: &str, round: u64| {
            let meta = meta(topic.as_bytes(), key.as_bytes(), round, 8 + 60 * (round as usize % 3));
            if session.update(topic, key, &meta).is_err() {
                session.track(topic, key, &meta).unwrap();
            }
        };
        ["x", "y", "z"].iter().for_each(|key| write("room", key, 0));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = random();
                for round in 1..8 {
                    let key = ["x", "y", "z"][random.below(3) as usize];
                    let topic = ["room", "hall"][random.below(2) as usize];
                    if random.below(3) > 0 {
                        write(topic, key, round);
                    } else {
                        session.untrack(topic, key).unwrap();
                    }
                }
            });
            scope.spawn(|| {
                for _ in 0..3 {
                    let snapshot = a.replica.snapshot(0).unwrap();
                    assert_eq!(snapshot.entries.len() as u64, snapshot.summary.count);
                    let digest = snapshot.entries.iter().fold(0_u64, |sum, entry| {
                        whole(entry.topic(), entry.key(), entry.meta());
                        assert!(entry.entry_ref().clock <= snapshot.summary.clock);
                        sum.wrapping_add(entry.digest())
                    });
                    assert_eq!(digest, snapshot.summary.digest, "the snapshot of a lane");
                }
            });
            scope.spawn(|| {
                let b = Peer::with(node(2));
                b.replica.set_identity(NodeId(2), "b", life(1));
                for _ in 0..2 {
                    b.meet(&a);
                    let delta = b.ask(&a, 0);
                    if delta.hi() > delta.lo() {
                        b.apply(&a, &delta).expect("a delta of what is there applies");
                    }
                    for entry in b.replica.entries_of(NodeId(1)) {
                        whole(entry.topic(), entry.key(), entry.meta());
                    }
                }
                let snapshot = a.replica.snapshot(0).unwrap();
                if snapshot.summary.clock > b.clock_of(&a, 0) {
                    b.take(&a, &snapshot, 0, 2).expect("a whole snapshot applies");
                    assert_eq!(b.replica.remote_lane(NodeId(1), 0).unwrap().summary, snapshot.summary);
                }
            });
        });
        let b = Peer::with(node(2));
        b.replica.set_identity(NodeId(2), "b", life(1));
        b.pull(&a);
        assert!(b.agrees_with(&a));
    });
}
