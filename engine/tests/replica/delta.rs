//! What a delta says: adds whole, updates, removals, and nothing of what no longer matters.

use super::common::peer::Peer;
use super::common::{Random, drain, told, view};
use headcount::replica::{DeltaError, DeltaOp, LaneCondition, Op};
use headcount::{Config, Filter};

/// The operations of a delta, in short.
fn said(peer: &Peer, since: u64, clocks_max: usize) -> Vec<String> {
    let delta = peer.replica.delta(0, since, clocks_max).unwrap();
    let consumed: u64 = delta.ops().map(|op| op.clocks()).sum();
    assert_eq!((delta.lane(), delta.lo(), delta.hi() - delta.lo()), (0, since, consumed));
    delta
        .ops()
        .map(|op| match op {
            Op::Add { birth, key, meta, .. } => format!("add {birth} {}={}", text(key), text(meta)),
            Op::Update { birth, meta } => format!("update {birth} {}", text(meta)),
            Op::Remove { birth } => format!("remove {birth}"),
            Op::Skip { count } => format!("skip {count}"),
        })
        .collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_delta_costs_what_is_alive() {
    let a = Peer::new(1, 1);
    let session = a.tracker.session();
    session.track("room", "a", "1").unwrap(); // 1
    session.track("room", "b", "1").unwrap(); // 2
    session.update("room", "a", "2").unwrap(); // 3
    session.update("room", "a", "3").unwrap(); // 4
    session.untrack("room", "b").unwrap(); // 5
    session.track("room", "b", "2").unwrap(); // 6
    assert_eq!(said(&a, 0, usize::MAX), ["skip 3", "add 1 a=3", "remove 2", "add 6 b=2"]);
    assert_eq!(said(&a, 1, usize::MAX)[0], "skip 2");
    assert_eq!(said(&a, 5, usize::MAX), ["add 6 b=2"]);
    assert!(said(&a, 6, usize::MAX).is_empty());
    assert_eq!(said(&a, 4, 1), ["remove 2"]);
    assert!(said(&a, 4, 0).is_empty());
    let delta = a.replica.delta(0, 5, usize::MAX).unwrap();
    assert_eq!(delta.operations(), [DeltaOp::Add(a.tracker.get("room", "b").remove(0))]);
}

#[test]
fn st12_what_cannot_be_told_is_refused() {
    let a = Peer::with(Config::default().shards(2).lane_log_max(16).build().unwrap());
    let session = a.tracker.session();
    let lane = session.track("room", "alice", "").unwrap().lane;
    for round in 0..40 {
        session.update("room", "alice", round.to_string()).unwrap();
    }
    assert_eq!(a.replica.delta(2, 0, 9), Err(DeltaError::NoSuchLane { lane: 2, lanes: 2 }));
    assert_eq!(a.replica.delta(lane, 42, 9), Err(DeltaError::Ahead { clock: 41 }));
    assert_eq!(a.replica.delta(lane, 24, 9), Err(DeltaError::Compacted { oldest: 25 }));
    assert_eq!(a.replica.delta(1 - lane, 1, 9), Err(DeltaError::Ahead { clock: 0 }));
    let delta = a.replica.delta(lane, 25, usize::MAX).unwrap();
    assert_eq!((delta.lo(), delta.hi()), (25, 41));
    let delta = a.replica.delta(lane, 41, usize::MAX).unwrap();
    assert_eq!((delta.lo(), delta.hi(), delta.operations().len()), (41, 41, 0));
    assert_eq!(a.replica.lane_clock(2), 0);
    assert!(a.replica.snapshot(2).is_none());
}

#[test]
fn r13_track_and_untrack_within_one_delta_end_right_and_silently() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    b.meet(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    session.track("room", "passing", "").unwrap();
    session.update("room", "passing", "2").unwrap();
    session.untrack("room", "passing").unwrap();
    b.pull(&a);
    assert!(b.tracker.is_empty() && drain(&mut events).is_empty());
    assert_eq!(b.clock_of(&a, 0), 3);
    assert_eq!(b.tracker.stats().topics, 0);

    // Update and untrack of something held; track, untrack and track again.
    session.track("room", "held", "").unwrap();
    b.pull(&a);
    session.update("room", "held", "2").unwrap();
    session.untrack("room", "held").unwrap();
    session.track("room", "held", "3").unwrap();
    session.untrack("room", "held").unwrap();
    session.track("room", "held", "4").unwrap();
    b.pull(&a);
    assert_eq!(told(&mut events), ["first room", "+held=", "-held=", "empty room", "first room", "+held=4"]);
    assert!(b.agrees_with(&a));
}

#[test]
fn an_update_that_began_before_the_delta_reaches_a_receiver_in_the_middle_of_it() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    session.track("room", "alice", "1").unwrap();
    let early = a.replica.delta(0, 0, usize::MAX).unwrap();
    session.track("room", "bob", "1").unwrap();
    session.update("room", "alice", "2").unwrap();
    b.meet(&a);
    b.apply(&a, &early).unwrap();
    // Told from 0, so alice comes as an add at clock 3; the receiver holds her at clock 1.
    let whole = a.replica.delta(0, 0, usize::MAX).unwrap();
    let mut events = b.tracker.subscribe(Filter::all());
    assert_eq!(b.apply(&a, &whole), Ok(3));
    assert_eq!(told(&mut events), ["+bob=1", "alice:1>2"]);
    assert!(b.agrees_with(&a));
}

/// The documentation of deltas: applied up to the owner's clock they give the owner's entries, however the clocks between
/// were cut.
#[test]
fn a_lane_told_in_two_cuts_ends_right_when_an_entry_before_the_cut_was_updated_after_it() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    session.track("room", "alice", "1").unwrap(); // 1
    session.track("room", "bob", "1").unwrap(); // 2
    session.update("room", "alice", "2").unwrap(); // 3
    b.meet(&a);
    let first = a.replica.delta(0, 0, 2).unwrap();
    assert_eq!(b.apply(&a, &first), Ok(2));
    let second = a.replica.delta(0, 2, usize::MAX).unwrap();
    assert_eq!(b.apply(&a, &second), Ok(3));
    assert_eq!(view(&b.tracker), view(&a.tracker));
    assert!(b.agrees_with(&a));
}

/// The same with every cut of some random work, told while the work is over (a backlog) and while it goes on.
#[test]
fn a_lane_told_in_any_cuts_ends_as_its_owners() {
    for seed in 0..200 {
        let (a, b) = (Peer::new(1, 1), Peer::new(2, 2));
        let session = a.tracker.session();
        let mut random = Random(seed);
        b.meet(&a);
        for _ in 0..30 {
            let key = random.below(4).to_string();
            match random.below(6) {
                0 | 1 => _ = session.track("room", &key, ""),
                2 => _ = session.untrack("room", &key),
                3 | 4 => _ = session.update("room", &key, random.below(100).to_string()),
                _ => tell_some(&a, &b, &mut random),
            }
        }
        while b.clock_of(&a, 0) < a.replica.lane_clock(0) {
            tell_some(&a, &b, &mut random);
        }
        assert_eq!(view(&b.tracker), view(&a.tracker), "seed {seed}");
        assert!(b.agrees_with(&a), "seed {seed}");
    }
}

fn tell_some(a: &Peer, b: &Peer, random: &mut Random) {
    let held = b.clock_of(a, 0);
    // Sometimes from before what is held, as a repeated datagram is.
    let since = held - random.below(3).min(held);
    let delta = a.replica.delta(0, since, 1 + usize::try_from(random.below(6)).unwrap()).unwrap();
    if delta.hi() > delta.lo() {
        assert_eq!(b.apply(a, &delta), Ok(held.max(delta.hi())));
        assert_eq!(b.replica.remote_lane(a.id(), 0).unwrap().condition, LaneCondition::Clean);
    }
}
