//! Catch-ups: a long delta in parts, its interruption, and what may follow. And lanes read in parts, and live dots as ranges.

use super::common::peer::Peer;
use super::common::{told, view};
use headcount::replica::{ApplyError, Delta, DeltaError, DeltaView, LaneCondition, Op, SnapshotItem};
use headcount::{Filter, NodeId, Session};

/// A node of one lane with ten entries at clocks 1 to 10, and a peer that has them.
fn pair() -> (Peer, Session, Peer) {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 4));
    let session = a.tracker.session();
    for key in 1..=10 {
        session.track(format!("topic:{}", key % 3), key.to_string(), "1").unwrap();
    }
    b.pull(&a);
    (a, session, b)
}

/// Updates, removes, adds, adds in vain, and replaces what was just added: clocks 11 to 19.
fn go_on(session: &Session) {
    session.update("topic:2", "2", "2").unwrap();
    session.untrack("topic:1", "1").unwrap();
    session.track("topic:0", "new", "1").unwrap();
    session.track("topic:0", "brief", "").unwrap();
    session.untrack("topic:0", "brief").unwrap();
    session.update("topic:0", "new", "2").unwrap();
    session.update("topic:2", "2", "3").unwrap();
    session.untrack("topic:0", "3").unwrap();
    session.track("topic:0", "3", "again").unwrap();
}

/// Sends `count` operations of a delta, from the `from`-th, as the next part; returns the clock after them.
fn part(
    a: &Peer,
    b: &Peer,
    delta: &Delta,
    (from, count): (usize, usize),
    lo: u64,
) -> Result<u64, ApplyError> {
    let ops: Vec<Op<'_>> = delta.ops().skip(from).take(count).collect();
    let hi = lo + ops.iter().map(Op::clocks).sum::<u64>();
    let lane = delta.lane();
    b.replica.catch_up(a.id(), a.life(), &DeltaView { lane, lo, hi, ops: &ops })?;
    Ok(hi)
}

fn begin(a: &Peer, b: &Peer, delta: &Delta) -> Result<(), ApplyError> {
    b.replica.catch_up_begin(a.id(), a.life(), delta.lane(), delta.lo(), delta.hi())
}

fn end(a: &Peer, b: &Peer, delta: &Delta) -> Result<u64, ApplyError> {
    let summary = delta.summary();
    b.replica.snapshot_end(a.id(), a.life(), delta.lane(), summary.count, summary.digest)
}

fn held(b: &Peer) -> (u64, LaneCondition) {
    let held = b.replica.remote_lane(NodeId(1), 0).unwrap();
    (held.summary.clock, held.condition)
}

#[test]
fn a_catch_up_in_parts_of_any_size_gives_the_owners_lane_and_moves_the_clock_once() {
    for len in [1, 2, 5, 100] {
        let (a, session, b) = pair();
        go_on(&session);
        let delta = a.replica.whole_delta(0, 10, usize::MAX).unwrap();
        assert!(delta.ops().all(|op| !matches!(op, Op::Update { .. })), "every entry is told whole");
        let mut events = b.tracker.subscribe(Filter::all());
        begin(&a, &b, &delta).unwrap();
        let (mut at, mut clock) = (0, delta.lo());
        while clock < delta.hi() {
            assert_eq!(held(&b), (10, LaneCondition::Partial));
            assert_eq!(end(&a, &b, &delta).is_err(), clock < delta.hi());
            begin(&a, &b, &delta).unwrap();
            // The end came too early and took it all back to the beginning.
            clock = delta.lo();
            for from in (0..=at).step_by(len) {
                clock = part(&a, &b, &delta, (from, len), clock).unwrap();
            }
            at += len;
        }
        assert_eq!(end(&a, &b, &delta), Ok(delta.hi()));
        assert_eq!(held(&b), (delta.hi(), LaneCondition::Clean));
        assert!(b.agrees_with(&a), "in parts of {len}");
        assert_eq!(view(&b.tracker), view(&a.tracker));
        let mut lines = told(&mut events);
        lines.sort_unstable();
        assert_eq!(lines, ["+3=again", "+new=2", "-1=1", "-3=1", "2:1>3"], "in parts of {len}");
    }
}

#[test]
fn a_catch_up_that_breaks_off_is_mended_by_another_or_by_a_snapshot_and_by_no_delta() {
    for parts in 0..7 {
        for by_snapshot in [false, true] {
            let (a, session, b) = pair();
            go_on(&session);
            let first = a.replica.whole_delta(0, 10, usize::MAX).unwrap();
            begin(&a, &b, &first).unwrap();
            let clock = part(&a, &b, &first, (0, parts), 10).unwrap();
            b.replica.snapshot_abort(a.id(), 0);
            assert_eq!(held(&b), (10, LaneCondition::Partial));
            assert_eq!(part(&a, &b, &first, (parts, 1), clock), Err(ApplyError::OutOfTurn), "it is over");
            assert_eq!(b.apply(&a, &first), Err(ApplyError::Unclean));
            // What it brought may be changed or gone meanwhile.
            session.untrack("topic:0", "new").unwrap();
            session.update("topic:2", "2", "4").unwrap();
            if by_snapshot {
                assert!(b.take(&a, &a.replica.snapshot(0).unwrap(), 10, 2).is_ok());
            } else {
                assert_eq!(begin(&a, &b, &first), Ok(()), "as new as what it brought");
                let second = a.replica.whole_delta(0, 10, usize::MAX).unwrap();
                begin(&a, &b, &second).unwrap();
                part(&a, &b, &second, (0, usize::MAX), 10).unwrap();
                assert_eq!(end(&a, &b, &second), Ok(21));
                assert!(
                    matches!(begin(&a, &b, &first), Err(ApplyError::SnapshotMisfit { .. })),
                    "an older one"
                );
            }
            assert!(b.agrees_with(&a));
        }
    }
}

#[test]
fn a_part_of_a_delta_leaves_out_what_a_whole_delta_tells() {
    let (a, session, b) = pair();
    session.track("topic:0", "new", "1").unwrap();
    session.track("topic:0", "other", "").unwrap();
    session.update("topic:0", "new", "2").unwrap();
    // Told at 13 and cut by who sent it: the first version of "new" is not in its first part.
    let delta = a.replica.delta(0, 10, usize::MAX).unwrap();
    let ops: Vec<Op<'_>> = delta.ops().take(2).collect();
    assert_eq!(b.replica.apply(a.id(), a.life(), &DeltaView { lane: 0, lo: 10, hi: 12, ops: &ops }), Ok(12));
    session.update("topic:0", "new", "3").unwrap();
    let rest = a.replica.whole_delta(0, 12, usize::MAX).unwrap();
    begin(&a, &b, &rest).unwrap();
    part(&a, &b, &rest, (0, usize::MAX), 12).unwrap();
    assert_eq!(end(&a, &b, &rest), Ok(14));
    assert!(b.agrees_with(&a));
}

#[test]
fn a_catch_up_that_does_not_fit_changes_nothing_and_a_false_part_or_end_counts_for_nothing() {
    let (a, session, b) = pair();
    go_on(&session);
    let delta = a.replica.whole_delta(0, 10, usize::MAX).unwrap();
    let misfit = |lo, as_of| b.replica.catch_up_begin(a.id(), a.life(), 0, lo, as_of);
    for (lo, as_of) in [(9, 19), (11, 19), (10, 10), (10, 9)] {
        assert!(matches!(misfit(lo, as_of), Err(ApplyError::SnapshotMisfit { .. })), "({lo}, {as_of}]");
    }
    assert!(matches!(misfit(10, 1 << 48), Err(ApplyError::Malformed { .. })));
    assert_eq!(part(&a, &b, &delta, (0, 1), 10), Err(ApplyError::OutOfTurn), "not begun");
    assert_eq!(held(&b), (10, LaneCondition::Clean));
    // Beyond its end, with a gap, and with what is not there.
    let wrong: [(u64, u64, Op<'_>); 4] = [
        (10, 1_000_000, Op::Skip { count: 999_990 }),
        (11, 12, Op::Skip { count: 1 }),
        (10, 11, Op::Update { birth: 77, meta: b"" }),
        (10, 11, Op::Remove { birth: 11 }),
    ];
    for (lo, hi, op) in wrong {
        begin(&a, &b, &delta).unwrap();
        let view = DeltaView { lane: 0, lo, hi, ops: &[op] };
        assert!(b.replica.catch_up(a.id(), a.life(), &view).is_err(), "{op:?}");
        assert_eq!(held(&b), (10, LaneCondition::Partial));
    }
    begin(&a, &b, &delta).unwrap();
    let view = DeltaView { lane: 0, lo: 10, hi: 11, ops: &[Op::Update { birth: 3, meta: b"x" }] };
    b.replica.catch_up(a.id(), a.life(), &view).unwrap();
    let rest = DeltaView { lane: 0, lo: 11, hi: delta.hi(), ops: &[Op::Skip { count: delta.hi() - 11 }] };
    b.replica.catch_up(a.id(), a.life(), &rest).unwrap();
    assert_eq!(end(&a, &b, &delta), Err(ApplyError::Diverged { birth: 0 }), "the digest is not the owner's");
    assert_eq!(held(&b), (10, LaneCondition::Diverged));
    assert!(
        matches!(begin(&a, &b, &delta), Err(ApplyError::SnapshotMisfit { .. })),
        "only a whole snapshot helps"
    );
    assert!(b.take(&a, &a.replica.snapshot(0).unwrap(), 0, 100).is_ok());
    assert!(b.agrees_with(&a));
}

#[test]
fn whole_deltas_reach_as_far_back_as_the_log() {
    let a = Peer::with(headcount::Config::default().shards(1).lane_log_max(16).build().unwrap());
    let session = a.tracker.session();
    for key in 0..20 {
        session.track("room", key.to_string(), "").unwrap();
    }
    assert_eq!(a.replica.log_floor(0), 4);
    assert_eq!(a.replica.whole_delta(0, 3, 100).unwrap_err(), DeltaError::Compacted { oldest: 4 });
    assert_eq!(a.replica.whole_delta(0, 4, 100).unwrap().hi(), 20);
    assert_eq!(a.replica.log_floor(1), 0, "a lane that there is not");
}

#[test]
fn a_lane_read_in_parts_is_one_instant_whatever_happens_meanwhile() {
    let (a, session, b) = pair();
    go_on(&session);
    let entries: Vec<_> =
        a.replica.snapshot(0).unwrap().entries.iter().map(|entry| entry.entry_ref().clock).collect();
    for (base, len) in [(0, 1), (5, 1), (5, 3), (10, 2), (12, 100), (19, 1), (100, 1)] {
        let mut reader = a.replica.read_lane(0, base).unwrap();
        let summary = reader.summary();
        assert_eq!((reader.lane(), reader.base(), summary), (0, base, a.replica.lane_summary(0)));
        let mut dots = Vec::new();
        while !reader.is_read() {
            let mut room = len;
            reader.read(|item: &SnapshotItem<'_>| {
                let takes = room > 0;
                if takes {
                    room -= 1;
                    assert!(!item.payload.unwrap().topic.is_empty());
                    dots.push(item.dot);
                }
                takes
            });
            session.untrack("topic:1", "10").unwrap();
            session.track("topic:1", "10", "meanwhile").unwrap();
        }
        session.untrack("topic:1", "10").unwrap();
        session.track("topic:1", "10", "1").unwrap();
        assert!(dots.is_sorted_by(|left, right| left > right) && dots.iter().all(|&dot| dot > base));
        let live: u64 = reader.live().iter().map(|(first, last)| last - first).sum();
        assert_eq!(dots.len() as u64 + live, summary.count);
    }
    assert_eq!(entries.len(), 10);
    drop(b);
    assert!(a.replica.read_lane(1, 0).is_none());
}

#[test]
fn live_dots_as_ranges_take_out_what_is_gone_and_find_out_what_is_not_held() {
    let whole = |a: &Peer, b: &Peer, ranges: &[&[(u64, u64)]], cuts: &[u64]| -> Result<u64, ApplyError> {
        let reader = a.replica.read_lane(0, 10).unwrap();
        let summary = reader.summary();
        b.replica.snapshot_begin(a.id(), a.life(), 0, 10, summary.clock)?;
        b.replica.snapshot_chunk(a.id(), a.life(), 0, (10, summary.clock), &[])?;
        let mut hi = 10;
        for (ranges, &lo) in ranges.iter().zip(cuts) {
            b.replica.snapshot_live(a.id(), a.life(), 0, (lo, hi), ranges.iter().copied())?;
            hi = lo;
        }
        b.replica.snapshot_end(a.id(), a.life(), 0, summary.count, summary.digest)
    };
    let gone = || {
        let (a, session, b) = pair();
        for key in ["1", "4", "5", "10"] {
            let number: u32 = key.parse().unwrap();
            session.untrack(format!("topic:{}", number % 3), key).unwrap();
        }
        (a, b, session)
    };
    let (a, b, _session) = gone();
    assert_eq!(a.replica.read_lane(0, 10).unwrap().live(), [(5, 9), (1, 3)]);
    assert_eq!(whole(&a, &b, &[&[(5, 9), (1, 3)]], &[0]), Ok(14));
    assert!(b.agrees_with(&a));
    let (a, b, _session) = gone();
    assert_eq!(whole(&a, &b, &[&[(7, 9)], &[(5, 7)], &[(1, 3)], &[]], &[7, 4, 1, 0]), Ok(14));
    assert!(b.agrees_with(&a));
    // A dot that is not held, however many are claimed.
    let (a, b, _session) = gone();
    b.replica.snapshot_begin(a.id(), a.life(), 0, 10, 14).unwrap();
    b.replica.snapshot_chunk(a.id(), a.life(), 0, (10, 14), &[]).unwrap();
    b.replica.snapshot_abort(a.id(), 0);
    let more: &[(u64, u64)] = &[(5, 10), (1, 3)];
    let claimed = whole(&a, &b, &[more], &[0]);
    assert_eq!(claimed, Err(ApplyError::Diverged { birth: 0 }));
    // Above the base, overlapping, ascending, empty, below the range, and not next.
    for (range, ranges) in [
        ((3, 14), &[(5, 9)][..]),
        ((0, 10), &[(5, 9), (1, 6)]),
        ((0, 10), &[(1, 3), (5, 9)]),
        ((0, 10), &[(5, 5)]),
        ((4, 10), &[(3, 9)]),
        ((0, 9), &[(5, 9)]),
    ] {
        let (a, b, _session) = gone();
        b.replica.snapshot_begin(a.id(), a.life(), 0, 10, 14).unwrap();
        if range.1 != 14 {
            b.replica.snapshot_chunk(a.id(), a.life(), 0, (10, 14), &[]).unwrap();
        }
        let told = b.replica.snapshot_live(a.id(), a.life(), 0, range, ranges.iter().copied());
        assert!(
            matches!(told, Err(ApplyError::Malformed { .. } | ApplyError::OutOfTurn)),
            "{range:?} {ranges:?}"
        );
        assert_eq!(held(&b), (10, LaneCondition::Partial));
    }
}
