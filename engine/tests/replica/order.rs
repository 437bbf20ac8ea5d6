//! ST12: gaps, overlaps and repeats of deltas.

use super::common::peer::Peer;
use super::common::{drain, fingerprint, life, listed, told};
use headcount::replica::{ApplyError, Delta, DeltaView, Op};
use headcount::{Filter, NodeId, Session};

/// Three deltas of one operation each: alice joins, bob joins, alice leaves.
fn three() -> (Peer, Peer, [Delta; 3], Session) {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    session.track("room", "alice", "").unwrap();
    let first = a.replica.delta(0, 0, usize::MAX).unwrap();
    session.track("room", "bob", "").unwrap();
    let second = a.replica.delta(0, 1, usize::MAX).unwrap();
    session.untrack("room", "alice").unwrap();
    let third = a.replica.delta(0, 2, usize::MAX).unwrap();
    b.meet(&a);
    (a, b, [first, second, third], session)
}

#[test]
fn st12_a_delta_that_leaves_a_gap_is_refused_and_nothing_changes() {
    let (a, b, said, _session) = three();
    let mut events = b.tracker.subscribe(Filter::all());
    let before = fingerprint(&b.tracker);
    assert_eq!(b.apply(&a, &said[1]), Err(ApplyError::Gap { have: 0 }));
    assert_eq!(b.apply(&a, &said[2]), Err(ApplyError::Gap { have: 0 }));
    assert_eq!(fingerprint(&b.tracker), before);
    assert!(drain(&mut events).is_empty());

    // The refused ones were kept by the driver and fit once the gap is closed.
    assert_eq!(b.apply(&a, &said[0]), Ok(1));
    assert_eq!(b.apply(&a, &said[2]), Err(ApplyError::Gap { have: 1 }));
    assert_eq!(b.apply(&a, &said[1]), Ok(2));
    assert_eq!(b.apply(&a, &said[2]), Ok(3));
    assert_eq!(told(&mut events), ["first room", "+alice=", "+bob=", "-alice="]);
    assert!(b.agrees_with(&a));
}

#[test]
fn st12_a_delta_from_before_what_is_held_is_passed_over() {
    let (a, b, said, _session) = three();
    for delta in &said {
        b.apply(&a, delta).unwrap();
    }
    let mut events = b.tracker.subscribe(Filter::all());
    let before = fingerprint(&b.tracker);
    for at in [2, 0, 1, 0] {
        assert_eq!(b.apply(&a, &said[at]), Ok(3), "the clock held");
    }
    assert_eq!(fingerprint(&b.tracker), before);
    assert!(drain(&mut events).is_empty());
    assert_eq!(listed(&b.tracker, "room"), ["bob="]);
}

#[test]
fn st12_of_an_overlapping_delta_only_what_is_new_is_applied() {
    let (a, b, said, _session) = three();
    b.apply(&a, &said[0]).unwrap();
    let mut events = b.tracker.subscribe(Filter::all());
    let overlap = a.replica.delta(0, 0, usize::MAX).unwrap();
    assert_eq!(b.apply(&a, &overlap), Ok(3));
    assert_eq!(told(&mut events), ["+bob=", "-alice="]);
    assert!(b.agrees_with(&a));
}

#[test]
fn st12_the_gap_is_per_lane() {
    let (a, b) = (Peer::new(1, 8), Peer::new(2, 1));
    let session = a.tracker.session();
    for at in 0..40 {
        session.track(format!("topic:{at}"), "key", "").unwrap();
    }
    b.meet(&a);
    let late = a.replica.delta(0, 1, usize::MAX).unwrap();
    assert_eq!(b.apply(&a, &late), Err(ApplyError::Gap { have: 0 }));
    for lane in (1..8).rev() {
        b.apply(&a, &b.ask(&a, lane)).unwrap();
    }
    assert_eq!(b.tracker.len() as u64, 40 - a.replica.lane_clock(0), "the other lanes do not wait");
    b.apply(&a, &b.ask(&a, 0)).unwrap();
    assert!(b.agrees_with(&a));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let (a, b, said, _session) = three();
    let ops: Vec<Op<'_>> = said[0].ops().collect();
    let view = said[0].view(&ops);
    let before = fingerprint(&b.tracker);
    let apply = |node, epoch, view: &DeltaView<'_>| b.replica.apply(NodeId(node), life(epoch), view);
    assert_eq!(apply(9, 1, &view), Err(ApplyError::UnknownOrigin));
    assert_eq!(apply(2, 1, &view), Err(ApplyError::UnknownOrigin), "not of this node itself either");
    assert_eq!(apply(1, 2, &view), Err(ApplyError::Incarnation { known: life(1) }));
    assert_eq!(apply(1, 0, &view), Err(ApplyError::Incarnation { known: life(1) }));
    let other_lane = DeltaView { lane: 1, ..view };
    assert_eq!(apply(1, 1, &other_lane), Err(ApplyError::NoSuchLane { lane: 1, lanes: 1 }));
    assert_eq!(fingerprint(&b.tracker), before);
    assert!(b.replica.remote_lane(NodeId(1), 1).is_none() && b.replica.remote_lane(NodeId(9), 0).is_none());
    assert_eq!(apply(1, 1, &view), Ok(1));
    assert!(a.tracker.contains("room", "bob"));
}

#[test]
fn what_contradicts_itself_is_malformed_and_changes_nothing() {
    let (a, b, said, _session) = three();
    b.apply(&a, &said[0]).unwrap();
    let add = |birth| Op::Add { birth, topic: b"room", key: b"carol", meta: b"" };
    let cases: [(u64, u64, &[Op<'_>]); 14] = [
        (2, 1, &[]),
        (1, 2, &[]),
        (1, 3, &[add(2)]),
        (1, 2, &[add(2), add(3)]),
        (1, 2, &[add(0)]),
        (1, 2, &[add(3)]),
        (1, 2, &[Op::Update { birth: 0, meta: b"" }]),
        (1, 2, &[Op::Update { birth: 2, meta: b"" }]),
        (1, 2, &[Op::Remove { birth: 0 }]),
        (1, 2, &[Op::Remove { birth: 2 }]),
        (1, 2, &[Op::Skip { count: 0 }, add(2)]),
        (1, 2, &[Op::Skip { count: 2 }]),
        (1, 0, &[Op::Skip { count: u64::MAX }]),
        (u64::MAX, u64::MAX, &[Op::Skip { count: 1 }]),
    ];
    let before = fingerprint(&b.tracker);
    for (lo, hi, ops) in cases {
        let outcome = b.replica.apply(a.id(), a.life(), &DeltaView { lane: 0, lo, hi, ops });
        assert!(matches!(outcome, Err(ApplyError::Malformed { .. })), "({lo}, {hi}] {ops:?}: {outcome:?}");
    }
    let empty = DeltaView { lane: 0, lo: 1, hi: 1, ops: &[] };
    assert_eq!(
        b.replica.apply(a.id(), a.life(), &empty),
        Ok(1),
        "a delta since the present clock says nothing"
    );
    assert_eq!(fingerprint(&b.tracker), before);
    assert_eq!(b.apply(&a, &said[1]), Ok(2), "and the lane goes on");
}
