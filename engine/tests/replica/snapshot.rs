//! Snapshots: base, chunks, interruption, and what heals a lane that has diverged. ST18.

use super::common::peer::{Peer, Transfer, item};
use super::common::{drain, fingerprint, told, view};
use headcount::replica::{ApplyError, LaneCondition, LaneSnapshot, LaneSummary};
use headcount::{Filter, NodeId, Session};

/// A node of one lane with ten entries, of which some were updated and some are gone: clocks 1 to 16, nine live.
fn owner() -> (Peer, Session) {
    let a = Peer::new(1, 1);
    let session = a.tracker.session();
    for key in 1..=10 {
        session.track(format!("topic:{}", key % 3), key.to_string(), "1").unwrap();
    }
    for key in [2, 5, 7] {
        session.update(format!("topic:{}", key % 3), key.to_string(), "2").unwrap();
    }
    for key in [3, 4] {
        session.untrack(format!("topic:{}", key % 3), key.to_string()).unwrap();
    }
    session.track("topic:0", "3", "again").unwrap();
    (a, session)
}

fn condition(b: &Peer) -> LaneCondition {
    b.replica.remote_lane(NodeId(1), 0).unwrap().condition
}

fn now(a: &Peer) -> LaneSnapshot {
    a.replica.snapshot(0).unwrap()
}

#[test]
fn a_snapshot_has_all_that_lives_newest_first_and_its_digest() {
    let (a, _session) = owner();
    let snapshot = now(&a);
    let dots: Vec<u64> = snapshot.entries.iter().map(|entry| entry.entry_ref().clock).collect();
    assert_eq!(dots, [16, 13, 12, 11, 10, 9, 8, 6, 1]);
    let digest = snapshot.entries.iter().fold(0_u64, |sum, entry| sum.wrapping_add(entry.digest()));
    assert_eq!(snapshot.summary, LaneSummary { clock: 16, count: 9, digest });
    assert_eq!(snapshot.summary, a.replica.lane_summary(0));
    assert_eq!(snapshot.lane, 0);
}

#[test]
fn a_whole_snapshot_in_chunks_of_any_size_gives_the_owners_lane() {
    let (a, _session) = owner();
    for chunk_len in [1, 2, 4, 9, 100] {
        let b = Peer::new(2, 4);
        b.meet(&a);
        let mut events = b.tracker.subscribe(Filter::all());
        assert_eq!(b.take(&a, &now(&a), 0, chunk_len), Ok(16));
        assert_eq!(view(&b.tracker), view(&a.tracker), "in chunks of {chunk_len}");
        assert!(b.agrees_with(&a));
        assert_eq!(drain(&mut events).len(), 9 + 3, "nine joins, three topics, nothing else");
    }
}

#[test]
fn a_snapshot_on_a_base_brings_what_is_newer_and_takes_what_is_gone_without_flicker() {
    for chunk_len in [1, 3, 100] {
        let (a, session) = owner();
        let b = Peer::new(2, 4);
        b.pull(&a);
        session.untrack("topic:1", "1").unwrap();
        session.update("topic:0", "6", "2").unwrap();
        session.track("topic:9", "new", "").unwrap();
        session.track("topic:9", "passing", "").unwrap();
        session.untrack("topic:9", "passing").unwrap();
        let mut events = b.tracker.subscribe(Filter::all());
        let base = b.replica.snapshot_base(a.id(), 0).unwrap();
        assert_eq!(base, 16);
        let snapshot = now(&a);
        let known = snapshot.entries.iter().filter(|entry| item(entry, base).payload.is_none()).count();
        assert_eq!(known, 7, "these come as dots only");
        assert_eq!(b.take(&a, &snapshot, base, chunk_len), Ok(21));
        let mut lines = told(&mut events);
        lines.sort_unstable();
        assert_eq!(lines, ["+new=", "-1=1", "6:1>2", "first topic:9"]);
        assert!(b.agrees_with(&a));
    }
}

#[test]
fn a_snapshot_on_an_older_base_than_what_is_held_is_fine() {
    let (a, session) = owner();
    let b = Peer::new(2, 4);
    b.pull(&a);
    session.update("topic:0", "6", "2").unwrap();
    assert_eq!(b.take(&a, &now(&a), 5, 2), Ok(17));
    assert!(b.agrees_with(&a));
}

#[test]
fn until_a_snapshot_ends_its_clock_stays_and_deltas_are_refused() {
    let (a, _session) = owner();
    let b = Peer::new(2, 4);
    b.meet(&a);
    let (snapshot, delta) = (now(&a), a.replica.delta(0, 0, usize::MAX).unwrap());
    let mut transfer = Transfer::begin(&b, &a, &snapshot, 0).unwrap();
    assert_eq!(b.apply(&a, &delta), Err(ApplyError::SnapshotUnderWay));
    transfer.chunk(3).unwrap();
    assert_eq!((b.clock_of(&a, 0), condition(&b)), (0, LaneCondition::Partial));
    assert_eq!(b.tracker.len(), 3, "what has come is to be seen");
    let before = fingerprint(&b.tracker);
    assert_eq!(b.apply(&a, &delta), Err(ApplyError::SnapshotUnderWay));
    assert_eq!(fingerprint(&b.tracker), before);
    while transfer.next_hi > 0 {
        transfer.chunk(3).unwrap();
    }
    assert_eq!(b.clock_of(&a, 0), 0);
    assert_eq!(transfer.end(), Ok(16));
    assert_eq!((b.clock_of(&a, 0), condition(&b)), (16, LaneCondition::Clean));
    assert_eq!(b.apply(&a, &delta), Ok(16));
    assert!(b.agrees_with(&a));
}

#[test]
fn a_snapshot_that_breaks_off_keeps_the_clock_and_another_mends_it() {
    let (a, session) = owner();
    for chunks_before in 0..5 {
        let b = Peer::new(2, 4);
        b.meet(&a);
        let first = now(&a);
        let mut transfer = Transfer::begin(&b, &a, &first, 0).unwrap();
        for _ in 0..chunks_before {
            transfer.chunk(2).unwrap();
        }
        b.replica.snapshot_abort(a.id(), 0);
        assert_eq!((b.clock_of(&a, 0), condition(&b)), (0, LaneCondition::Partial));
        assert_eq!(transfer.chunk(2), Err(ApplyError::OutOfTurn), "it is over");
        let delta = a.replica.delta(0, 0, usize::MAX).unwrap();
        assert_eq!(b.apply(&a, &delta), Err(ApplyError::Unclean));

        // Meanwhile the owner goes on: what came of the first may be changed or gone.
        session.update("topic:0", "3", format!("after {chunks_before}")).unwrap();
        let mut events = b.tracker.subscribe(Filter::all());
        let second = now(&a);
        let base = b.replica.snapshot_base(a.id(), 0).unwrap();
        assert_eq!(b.take(&a, &second, base, 2), Ok(second.summary.clock));
        assert!(b.agrees_with(&a));
        assert_eq!(view(&b.tracker), view(&a.tracker));
        assert!(told(&mut events).iter().all(|line| !line.starts_with('-')), "nothing flickers");
    }
}

#[test]
fn a_new_beginning_replaces_a_snapshot_under_way() {
    let (a, session) = owner();
    let b = Peer::new(2, 4);
    b.meet(&a);
    let first = now(&a);
    let mut transfer = Transfer::begin(&b, &a, &first, 0).unwrap();
    transfer.chunk(4).unwrap();
    session.clear().unwrap();
    let second = now(&a);
    assert_eq!(b.take(&a, &second, 0, 4), Ok(second.summary.clock));
    assert!(b.agrees_with(&a) && b.tracker.is_empty());
    assert_eq!(transfer.chunk(4), Err(ApplyError::OutOfTurn));
    assert!(b.agrees_with(&a), "a late chunk does no harm to a clean lane");
}

#[test]
fn st18_a_stale_snapshot_never_overwrites_newer_state() {
    for held_by_snapshot in [false, true] {
        let (a, session) = owner();
        let stale = now(&a);
        session.update("topic:0", "6", "newer").unwrap();
        session.untrack("topic:0", "9").unwrap();
        let b = Peer::new(2, 4);
        if held_by_snapshot {
            b.take_all(&a, 5)
        } else {
            b.pull(&a)
        };
        let mut events = b.tracker.subscribe(Filter::all());
        let before = fingerprint(&b.tracker);
        for base in [0, 10, 16] {
            let misfit = ApplyError::SnapshotMisfit { base, as_of: 16, have: 18 };
            assert_eq!(b.take(&a, &stale, base, 100), Err(misfit));
        }
        // Neither does one that brings nothing newer, or one that builds on what is not held.
        assert_eq!(
            b.take(&a, &now(&a), 0, 100),
            Err(ApplyError::SnapshotMisfit { base: 0, as_of: 18, have: 18 })
        );
        session.update("topic:0", "6", "newest").unwrap();
        let misfit = ApplyError::SnapshotMisfit { base: 19, as_of: 19, have: 18 };
        assert_eq!(b.take(&a, &now(&a), 19, 100), Err(misfit));
        assert_eq!(fingerprint(&b.tracker), before);
        assert!(drain(&mut events).is_empty());
        assert_eq!(condition(&b), LaneCondition::Clean);
        b.pull(&a);
        assert!(b.agrees_with(&a), "and deltas go on");
    }
}

/// The stale one was taken before the one that broke off: some of what it would bring was replaced already.
#[test]
fn st18_a_snapshot_older_than_one_that_broke_off_never_overwrites_what_that_brought() {
    let (a, session) = owner();
    let b = Peer::new(2, 4);
    b.pull(&a);
    session.track("topic:5", "other", "").unwrap(); // 17
    let stale = now(&a);
    session.update("topic:0", "6", "newer").unwrap(); // 18
    let newer = now(&a);
    let mut transfer = Transfer::begin(&b, &a, &newer, 16).unwrap();
    transfer.chunk(1).unwrap();
    b.replica.snapshot_abort(a.id(), 0);
    assert_eq!(b.tracker.get("topic:0", "6")[0].meta(), b"newer");

    let mut events = b.tracker.subscribe(Filter::topic("topic:0"));
    for base in [16, 0] {
        let _refused_or_not = b.take(&a, &stale, base, 100);
        assert!(
            told(&mut events).is_empty(),
            "from {base}: what lives on with its owner has left or gone back"
        );
        assert_eq!(b.tracker.get("topic:0", "6")[0].meta(), b"newer", "from {base}");
    }
    assert_eq!(b.take(&a, &now(&a), 0, 100), Ok(18), "the way on stays open");
    assert!(b.agrees_with(&a));
}

#[test]
fn chunks_come_in_turn_or_the_snapshot_is_over() {
    let (a, _session) = owner();
    let snapshot = now(&a);
    let of = (a.id(), a.life());
    let items: Vec<_> = snapshot.entries.iter().map(|entry| item(entry, 0)).collect();
    // A chunk after a hole, one that ends too high, an empty range, one twice, and an end before the end.
    for (ranges, count) in [
        (&[(9, 15)][..], 9),
        (&[(9, 17)], 9),
        (&[(16, 16)], 9),
        (&[(0, 0)], 9),
        (&[(10, 16), (10, 16)], 9),
        (&[(10, 16), (0, 9)], 9),
        (&[(10, 16)], 4),
        (&[], 0),
    ] {
        let b = Peer::new(2, 1);
        b.meet(&a);
        b.replica.snapshot_begin(of.0, of.1, 0, 0, 16).unwrap();
        let mut last = Ok(());
        for &(lo, hi) in ranges {
            let inside: Vec<_> =
                items.iter().copied().filter(|item| item.dot > lo && item.dot <= hi).collect();
            last = b.replica.snapshot_chunk(of.0, of.1, 0, (lo, hi), &inside);
        }
        if last.is_ok() {
            last = b.replica.snapshot_end(of.0, of.1, 0, count, 0).map(drop);
        }
        assert!(matches!(last, Err(ApplyError::OutOfTurn)), "{ranges:?}: {last:?}");
        assert_eq!(b.clock_of(&a, 0), 0);
        assert_eq!(b.replica.snapshot_end(of.0, of.1, 0, 9, 0), Err(ApplyError::OutOfTurn), "aborted");
        b.take_all(&a, 3);
        assert!(b.agrees_with(&a));
    }
}

#[test]
fn a_chunk_that_contradicts_itself_is_malformed_and_ends_the_snapshot() {
    let (a, _session) = owner();
    let snapshot = now(&a);
    let of = (a.id(), a.life());
    let whole: Vec<_> = snapshot.entries.iter().map(|entry| item(entry, 0)).collect();
    let ascending: Vec<_> = whole.iter().rev().copied().collect();
    let twice = [&whole[..1], &whole[..]].concat();
    let mut unborn = whole.clone();
    unborn[3].birth = 0;
    let mut born_late = whole.clone();
    born_late[3].birth = born_late[3].dot + 1;
    let mut without_content = whole.clone();
    without_content[0].payload = None;
    for items in [ascending, twice, unborn, born_late, without_content] {
        let b = Peer::new(2, 1);
        b.meet(&a);
        b.replica.snapshot_begin(of.0, of.1, 0, 0, 16).unwrap();
        let outcome = b.replica.snapshot_chunk(of.0, of.1, 0, (0, 16), &items);
        assert!(matches!(outcome, Err(ApplyError::Malformed { .. })), "{outcome:?}");
        assert!(b.tracker.is_empty(), "nothing of it was applied");
        assert_eq!(condition(&b), LaneCondition::Partial);
        b.take_all(&a, 3);
        assert!(b.agrees_with(&a));
    }
}

#[test]
fn a_wrong_count_or_digest_is_diverged_and_a_whole_snapshot_heals_it() {
    let (a, session) = owner();
    let of = (a.id(), a.life());
    for (count, digest) in [(1, 0), (0, 1)] {
        let b = Peer::new(2, 4);
        b.meet(&a);
        let mut snapshot = now(&a);
        snapshot.summary.count += count;
        snapshot.summary.digest ^= digest;
        assert_eq!(b.take(&a, &snapshot, 0, 3), Err(ApplyError::Diverged { birth: 0 }));
        assert_eq!((b.clock_of(&a, 0), condition(&b)), (0, LaneCondition::Diverged));
        assert_eq!(b.replica.snapshot_base(of.0, 0), Some(0));
        let delta = a.replica.delta(0, 0, usize::MAX).unwrap();
        assert_eq!(b.apply(&a, &delta), Err(ApplyError::Unclean));
        assert_eq!(b.take(&a, &now(&a), 0, 3), Ok(now(&a).summary.clock));
        assert!(b.agrees_with(&a));
        session.update("topic:0", "6", "on").unwrap();
        b.pull(&a);
        assert!(b.agrees_with(&a));
    }
}

#[test]
fn a_lane_marked_as_diverged_takes_only_a_whole_snapshot_which_heals_it_silently() {
    let (a, _session) = owner();
    let b = Peer::new(2, 4);
    b.pull(&a);
    b.replica.mark_diverged(a.id(), 0);
    b.replica.mark_diverged(a.id(), 7);
    assert_eq!(condition(&b), LaneCondition::Diverged);
    assert_eq!(b.replica.snapshot_base(a.id(), 0), Some(0));
    let snapshot = now(&a);
    let misfit = ApplyError::SnapshotMisfit { base: 16, as_of: 16, have: 16 };
    assert_eq!(b.take(&a, &snapshot, 16, 3), Err(misfit));
    let mut events = b.tracker.subscribe(Filter::all());
    assert_eq!(b.take(&a, &snapshot, 0, 3), Ok(16), "at the same clock");
    assert!(drain(&mut events).is_empty(), "it was right after all");
    assert!(b.agrees_with(&a));
}

#[test]
fn a_dot_that_should_be_held_and_is_not_is_diverged() {
    let (a, session) = owner();
    let (liar, b) = (Peer::new(1, 1), Peer::new(2, 4));
    let on_liar = liar.tracker.session();
    for key in 0..16 {
        on_liar.track("wrong", key.to_string(), "").unwrap();
    }
    // B holds something else than A's lane at clock 16.
    b.pull(&liar);
    assert_eq!(b.clock_of(&a, 0), 16);
    session.track("topic:0", "later", "").unwrap();
    let snapshot = now(&a);
    assert_eq!(b.take(&a, &snapshot, 16, 3), Err(ApplyError::Diverged { birth: 0 }));
    assert_eq!(b.replica.snapshot_base(a.id(), 0), Some(0));
    assert_eq!(b.take(&a, &snapshot, 0, 3), Ok(17));
    assert!(b.agrees_with(&a));
    assert_eq!(view(&b.tracker), view(&a.tracker), "nothing wrong is left");
    assert_eq!(b.tracker.stats().entries, a.tracker.len());
}
