//! Lanes of a third node: read as of the clock held, taken over by somebody who cannot ask their owner. ST5, ST6.

use super::common::peer::{Peer, take_from};
use super::common::{drain, told, view};
use headcount::replica::{ApplyError, LaneCondition};
use headcount::{Filter, NodeState, Session};

/// An owner of two lanes with some history, a relay with other shards that has all of it, and somebody who has none.
fn three() -> (Peer, Session, Peer, Peer) {
    let (a, b, c) = (Peer::new(1, 2), Peer::new(2, 4), Peer::new(3, 1));
    let session = a.tracker.session();
    for key in 0..40 {
        session.track(format!("topic:{}", key % 7), key.to_string(), "1").unwrap();
    }
    for key in 10..20 {
        session
            .update(format!("topic:{}", key % 7), key.to_string(), "a longer one that lies elsewhere")
            .unwrap();
        session.untrack(format!("topic:{}", (key + 10) % 7), (key + 10).to_string()).unwrap();
    }
    b.pull(&a);
    c.meet(&a);
    (a, session, b, c)
}

/// `to` takes every lane of `of` as `via` holds it.
fn relay(to: &Peer, of: &Peer, via: &Peer, len: usize) -> Vec<Result<u64, ApplyError>> {
    (0..of.replica.lanes()).map(|lane| to.take_over(of, via, lane, len)).collect()
}

#[test]
fn a_relayed_lane_is_the_owners_as_of_the_clock_that_the_relay_holds() {
    for len in [1, 3, 1000] {
        let (a, session, b, c) = three();
        let then = (view(&a.tracker), [a.replica.lane_clock(0), a.replica.lane_clock(1)]);
        session.track("topic:0", "later", "").unwrap();
        assert_eq!(relay(&c, &a, &b, len), then.1.map(Ok));
        assert_eq!((view(&c.tracker), view(&b.tracker)), (then.0.clone(), then.0));
        // And the owner's next delta goes on from there.
        c.pull(&a);
        assert!(c.agrees_with(&a));
    }
}

#[test]
fn a_relayed_lane_on_a_base_brings_the_change_and_nothing_flickers() {
    let (a, session, b, c) = three();
    c.pull(&a);
    session.untrack("topic:1", "1").unwrap();
    session.update("topic:2", "2", "2").unwrap();
    session.track("topic:9", "new", "").unwrap();
    b.pull(&a);
    let mut events = c.tracker.subscribe(Filter::all());
    for lane in 0..2 {
        let base = c.clock_of(&a, lane);
        let mut reader = b.replica.read_remote_lane(a.id(), a.life(), lane, base).unwrap();
        reader.read(|item| {
            assert!(item.dot > base, "what is held already is not read");
            true
        });
    }
    let moved = |taken: &[Result<u64, ApplyError>]| taken.iter().filter(|taken| taken.is_ok()).count();
    assert!(moved(&relay(&c, &a, &b, 2)) >= 1);
    let mut lines = told(&mut events);
    lines.sort_unstable();
    assert_eq!(lines, ["+new=", "-1=1", "2:1>2", "first topic:9"]);
    assert!(c.agrees_with(&a));
    // There is nothing newer now.
    assert_eq!(moved(&relay(&c, &a, &b, 2)), 0);
    assert_eq!(drain(&mut events).len(), 0);
}

#[test]
fn st5_a_relayed_lane_that_is_older_than_what_is_held_is_refused_and_changes_nothing() {
    let (a, session, b, c) = three();
    for key in 0..10 {
        session.untrack(format!("topic:{}", key % 7), key.to_string()).unwrap();
        session.track(format!("topic:{}", key % 7), format!("new {key}"), "").unwrap();
    }
    c.pull(&a);
    let (before, mut events) = (view(&c.tracker), c.tracker.subscribe(Filter::all()));
    for taken in relay(&c, &a, &b, 3) {
        assert!(matches!(taken, Err(ApplyError::SnapshotMisfit { .. })), "{taken:?}");
    }
    assert_eq!((view(&c.tracker), drain(&mut events).len()), (before, 0));
    assert!(c.agrees_with(&a));
}

#[test]
fn a_lane_that_is_read_stays_what_it_was_whatever_becomes_of_it_meanwhile() {
    let (a, session, b, c) = three();
    let then = view(&a.tracker);
    let readers: Vec<_> =
        (0..2).map(|lane| b.replica.read_remote_lane(a.id(), a.life(), lane, 0).unwrap()).collect();
    for key in 0..20 {
        session.update(format!("topic:{}", key % 7), key.to_string(), "meanwhile").unwrap();
    }
    for key in 30..40 {
        session.untrack(format!("topic:{}", key % 7), key.to_string()).unwrap();
    }
    b.pull(&a);
    b.replica.forget(a.id());
    while b.tracker.stats().entries > 0 {
        assert!(b.replica.maintain(1));
    }
    assert!(b.replica.maintain(1), "the number of that life is not free while its lanes are read");
    for reader in readers {
        take_from(&c, (a.id(), a.life()), reader, 4).unwrap();
    }
    assert_eq!(view(&c.tracker), then);
    assert!(!b.replica.maintain(1));
}

#[test]
fn only_clean_lanes_of_the_life_known_are_read() {
    let (a, _session, b, c) = three();
    let (id, life) = (a.id(), a.life());
    let is_read = |life, lane| b.replica.read_remote_lane(id, life, lane, 0).is_some();
    assert!(is_read(life, 0) && is_read(life, 1));
    assert!(!is_read(life, 2), "there is no such lane");
    assert!(!is_read(super::common::life(2), 0), "another life");
    assert!(b.replica.read_remote_lane(c.id(), c.life(), 0, 0).is_none(), "nobody knows that one");
    b.replica.origin_state(id, NodeState::Down);
    assert!(is_read(life, 0), "it is held all the same: whether it is to be told is the caller's affair");
    let clock = a.replica.lane_clock(0);
    b.replica.snapshot_begin(id, life, 0, clock, clock + 1).unwrap();
    assert!(!is_read(life, 0), "a transfer is under way");
    b.replica.snapshot_abort(id, 0);
    assert_eq!(b.replica.remote_lane(id, 0).unwrap().condition, LaneCondition::Partial);
    assert!(!is_read(life, 0));
    b.replica.mark_diverged(id, 1);
    assert!(!is_read(life, 1));
}
