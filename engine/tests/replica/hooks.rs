//! What the replication's driver is told: identity, own lanes, the change hook.

use super::common::peer::Peer;
use super::common::{drain, life, must_not_hang, node, topic_names};
use headcount::replica::{Identity, Joined};
use headcount::{Filter, NodeId, NodeState, Tracker};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

#[test]
fn setting_the_identity_gives_present_and_future_entries_its_refs_silently() {
    let tracker = node(0, 4);
    let session = tracker.session();
    let before = session.track("room", "alice", "1").unwrap();
    assert_eq!((before.node, before.incarnation), (NodeId(0), life_zero()));
    let digest = tracker.replica().lane_summary(before.lane);
    let mut events = tracker.subscribe(Filter::all());
    tracker.replica().set_identity(NodeId(5), "five", life(3));

    let now = tracker.get("room", "alice")[0].entry_ref();
    assert_eq!(
        (now.node, now.incarnation, now.lane, now.clock),
        (NodeId(5), life(3), before.lane, before.clock)
    );
    assert_eq!(session.entries()[0].entry_ref(), now);
    assert_eq!(tracker.replica().lane_summary(before.lane), digest);
    assert!(drain(&mut events).is_empty());
    assert_eq!(tracker.replica().identity(), Identity { node: NodeId(5), incarnation: life(3) });
    let me = tracker.node(NodeId(5)).unwrap();
    assert_eq!((&me.name[..], me.incarnation, me.state), ("five", life(3), NodeState::Local));
    assert!(tracker.node(NodeId(0)).is_none());

    let later = session.track("room", "bob", "").unwrap();
    assert_eq!((later.node, later.incarnation), (NodeId(5), life(3)));
    session.update("room", "alice", "2").unwrap();
    assert_eq!(tracker.get("room", "alice")[0].prev_ref(), Some(now));
    assert_eq!(session.clear(), Ok(2));
}

fn life_zero() -> headcount::Incarnation {
    headcount::Incarnation::default()
}

#[test]
fn a_tracker_has_one_driver_at_a_time() {
    let tracker = Tracker::new();
    assert!(tracker.replica().claim());
    assert!(!tracker.replica().claim() && !tracker.clone().replica().claim());
    tracker.replica().release();
    assert!(tracker.replica().claim());
}

#[test]
fn lane_clocks_and_summaries_follow_the_operations() {
    let a = Peer::new(1, 8);
    let session = a.tracker.session();
    assert_eq!(a.replica.lanes(), 8);
    for topic in topic_names(50) {
        let dot = session.track(&topic, "key", "").unwrap();
        assert_eq!(a.replica.lane_clock(dot.lane), dot.clock);
        let dot = session.update(&topic, "key", "2").unwrap();
        let summary = a.replica.lane_summary(dot.lane);
        assert_eq!(summary.clock, dot.clock);
    }
    let count: u64 = (0..8).map(|lane| a.replica.lane_summary(lane).count).sum();
    assert_eq!(count, 50);
    session.clear().unwrap();
    for lane in 0..8 {
        let summary = a.replica.lane_summary(lane);
        assert_eq!((summary.count, summary.digest), (0, 0), "nothing sums up to nothing");
        assert_eq!(summary.clock, a.replica.lane_clock(lane));
    }
}

#[test]
fn the_hook_is_called_once_for_each_time_that_it_is_armed() {
    let a = Peer::new(1, 4);
    let session = a.tracker.session();
    let (ring, rings) = mpsc::channel();
    a.replica.on_change(move || ring.send(()).unwrap());
    session.track("room", "alice", "").unwrap();
    assert_eq!(rings.try_iter().count(), 0, "not armed");
    for change in 0..5 {
        a.replica.arm();
        match change {
            0 => _ = session.track("hall", "alice", "").unwrap(),
            1 => _ = session.update("room", "alice", "2").unwrap(),
            2 => _ = session.untrack("room", "alice").unwrap(),
            3 => _ = session.track_many([("a", "", ""), ("b", "", "")]).unwrap(),
            _ => _ = session.clear().unwrap(),
        }
        session.track("more", change.to_string(), "").unwrap();
        assert_eq!(rings.try_iter().count(), 1, "change {change}");
    }
    a.replica.arm();
    assert_eq!(session.untrack("nowhere", "nobody"), Ok(false));
    assert!(session.track("more", "4", "").is_err());
    assert_eq!(rings.try_iter().count(), 0, "nothing has moved");
    a.replica.clear_on_change();
    session.track("room", "alice", "").unwrap();
    assert_eq!(rings.try_iter().count(), 0);
}

#[test]
fn what_other_nodes_bring_does_not_ring_the_hook() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let session = a.tracker.session();
    session.track("room", "alice", "").unwrap();
    let (ring, rings) = mpsc::channel();
    b.replica.on_change(move || ring.send(()).unwrap());
    b.replica.arm();
    b.pull(&a);
    b.replica.origin_state(NodeId(1), NodeState::Down);
    b.replica.forget(NodeId(1));
    b.replica.maintain(usize::MAX);
    assert_eq!(rings.try_iter().count(), 0);
    assert!((0..2).all(|lane| b.replica.lane_clock(lane) == 0));
    b.tracker.session().track("room", "bob", "").unwrap();
    assert_eq!(rings.try_iter().count(), 1, "still armed");
}

#[test]
fn a_watcher_that_arms_and_then_looks_misses_no_change() {
    const CHANGES: u64 = 20_000;
    let a = Peer::new(1, 4);
    let (ring, rings) = mpsc::sync_channel(1);
    a.replica.on_change(move || {
        let _full_is_rung_already = ring.try_send(());
    });
    let writer = {
        let tracker = a.tracker.clone();
        thread::spawn(move || {
            let session = tracker.session();
            for at in 0..CHANGES / 2 {
                session.track(format!("topic:{}", at % 16), "key", "").unwrap();
                session.untrack(format!("topic:{}", at % 16), "key").unwrap();
            }
        })
    };
    let replica = a.replica.clone();
    let seen = must_not_hang("a watcher whose wake-up was lost", move || {
        loop {
            replica.arm();
            let seen: u64 = (0..4).map(|lane| replica.lane_clock(lane)).sum();
            if seen == CHANGES {
                break seen;
            }
            rings.recv().unwrap();
        }
    });
    assert_eq!(seen, CHANGES);
    writer.join().unwrap();
}

/// A waker that uses the replica at once, on the thread that woke it.
struct Inline(Box<dyn Fn() + Send + Sync>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// `change` wakes a reader whose waker asks the replica about the node that the change is about.
fn woken_inline(what: &'static str, change: impl FnOnce(&Peer, &Peer) + Send + 'static) {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 16));
    let session = a.tracker.session();
    for topic in topic_names(40) {
        session.track(&topic, "key", "").unwrap();
    }
    let (asking, called) = (b.tracker.clone(), Arc::new(()));
    let token = Arc::downgrade(&called);
    let waker = Inline(Box::new(move || {
        let _called = &called;
        ask_everything(&asking);
    }));
    let mut events = b.tracker.subscribe(Filter::all());
    let waker = Waker::from(Arc::new(waker));
    assert!(events.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    must_not_hang(what, move || change(&a, &b));
    assert_eq!(token.strong_count(), 0, "the waker was called, and let go");
    drop((events, session));
}

fn ask_everything(tracker: &Tracker) {
    let replica = tracker.replica();
    let _ = (tracker.stats(), tracker.nodes(), tracker.len(), tracker.topics());
    let _ = (replica.remote_lane(NodeId(1), 0), replica.entries_of(NodeId(1)), replica.state_of(NodeId(1)));
    replica.maintain(1);
}

#[test]
fn t13_a_waker_may_use_the_replica_when_a_node_is_met() {
    woken_inline("a waker under origin_join", |a, b| assert_eq!(b.meet(a), Joined::New));
}

#[test]
fn t13_a_waker_may_use_the_replica_when_a_delta_is_applied() {
    woken_inline("a waker under apply", |a, b| b.pull(a));
}
