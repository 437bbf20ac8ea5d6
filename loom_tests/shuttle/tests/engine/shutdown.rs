//! The end, against everything.

use super::explore::explore;
use super::stage::{meta, node, whole};
use crate::common::life;
use crate::common::peer::Peer;
use crate::common::replay::Replay;
use headcount::{Error, EventKind, Filter, NodeId, NodeState};
use shuttle::thread;

/// While everything goes on, a shutdown ends it: every operation succeeds whole or says so, nobody hangs, readers see whole entries,
/// subscriptions are told of every leave and closed, own entries are gone, and another node's stay.
#[test]
fn a_shutdown_ends_everything_in_order() {
    explore("a_shutdown_ends_everything_in_order", 300, || {
        let (a, b) = (Peer::with(node(1)), Peer::with(node(2)));
        a.replica.set_identity(NodeId(1), "a", life(1));
        b.replica.set_identity(NodeId(2), "b", life(1));
        let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
        on_a.track("room", "a", meta(b"room", b"a", 0, 8)).unwrap();
        on_b.track("room", "b", meta(b"room", b"b", 0, 80)).unwrap();
        b.pull(&a);
        let mut events = b.tracker.subscribe(Filter::topic("room"));
        let mut replay = Replay::of(&mut events);
        thread::scope(|scope| {
            scope.spawn(|| b.tracker.shutdown());
            scope.spawn(|| {
                for round in 1..4 {
                    let updated = on_b.update("room", "b", meta(b"room", b"b", round, 60));
                    assert!(matches!(updated, Ok(_) | Err(Error::Shutdown)), "{updated:?}");
                }
                let session = b.tracker.session();
                let tracked = session.track("room", "c", meta(b"room", b"c", 0, 8));
                assert!(matches!(tracked, Ok(_) | Err(Error::Shutdown)), "{tracked:?}");
                // And its end is that of its entry, if the tracker's was not.
            });
            scope.spawn(|| {
                on_a.update("room", "a", meta(b"room", b"a", 1, 60)).unwrap();
                let delta = b.ask(&a, 0);
                let _refused_or_not = b.apply(&a, &delta);
                b.replica.origin_state(NodeId(1), NodeState::Down);
                b.replica.origin_state(NodeId(1), NodeState::Up);
            });
            scope.spawn(|| {
                for entry in b.tracker.list("room").into_iter().chain(b.tracker.snapshot("room").entries) {
                    whole(b"room", entry.key(), entry.meta());
                }
                assert!(b.tracker.count("room") <= 3);
                let late = b.tracker.subscribe(Filter::all());
                assert!(late.snapshot().len() <= 3);
                let _lane = b.replica.snapshot(0);
            });
            scope.spawn(|| {
                while let Ok(event) = events.recv() {
                    assert!(!matches!(event.kind, EventKind::Lagged { .. }));
                    replay.take(&event);
                    // After the shutdown, what happens to other nodes' entries is nobody's business.
                }
            });
        });
        assert_eq!(on_b.track("room", "d", ""), Err(Error::Shutdown));
        assert_eq!((on_b.len(), b.tracker.stats().entries_local), (0, 0));
        let left = b.tracker.list("room");
        assert_eq!(left.len(), 1, "the other node's stays");
        assert!(left[0].origin() == NodeId(1) && b.tracker.count("room") == 1);
        assert!(replay.entries.values().all(|entry| entry.origin() == NodeId(1)), "told of every leave");
    });
}
