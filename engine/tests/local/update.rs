//! T3: an update replaces the meta in place.

use super::common::{drain, fingerprint, quiet_panic, told};
use headcount::{Error, EventKind, Filter, Tracker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

#[test]
fn t3_update_gives_a_new_ref_and_remembers_the_previous_one() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let first = session.track("room", "alice", "1").unwrap();
    let second = session.update("room", "alice", "2").unwrap();
    assert_eq!((second.lane, second.clock), (first.lane, first.clock + 1));
    let third = session.update("room", "alice", "2").unwrap();
    assert_eq!(third.clock, second.clock + 1, "the same meta is an update too");

    let found = tracker.get("room", "alice");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].meta(), b"2");
    assert_eq!(found[0].entry_ref(), third);
    assert_eq!(found[0].prev_ref(), Some(second));
    assert_eq!(found[0].joined_ref(), first, "the name of the entry through all its versions");
    assert_eq!(found[0].session(), Some(session.id()));
}

#[test]
fn t3_update_emits_one_update_event_and_no_leave_or_join() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "1").unwrap();
    let before = tracker.get("room", "alice").remove(0);
    let mut events = tracker.subscribe(Filter::topic("room"));
    session.update("room", "alice", "2").unwrap();
    let after = tracker.get("room", "alice").remove(0);

    let events = drain(&mut events);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, EventKind::Update { old: before, new: after });
}

#[test]
fn t3_update_of_something_absent_is_not_tracked() {
    let tracker = Tracker::new();
    let (session, other) = (tracker.session(), tracker.session());
    session.track("room", "alice", "1").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let before = fingerprint(&tracker);
    assert_eq!(session.update("room", "bob", "2"), Err(Error::NotTracked));
    assert_eq!(session.update("hall", "alice", "2"), Err(Error::NotTracked));
    assert_eq!(other.update("room", "alice", "2"), Err(Error::NotTracked), "it is another session's");
    let never = |_: &headcount::Entry| -> &str { panic!("there is no entry to call it with") };
    assert_eq!(other.update_with("room", "alice", never), Err(Error::NotTracked));
    session.untrack("room", "alice").unwrap();
    assert_eq!(session.update("room", "alice", "2"), Err(Error::NotTracked), "no longer");
    session.track("room", "alice", "1").unwrap();
    assert_eq!(told(&mut events), ["-alice=1", "empty room", "first room", "+alice=1"]);
    assert_ne!(fingerprint(&tracker), before, "the untrack and the track did change something");
}

#[test]
fn t3_the_closure_sees_the_present_entry_and_its_result_is_the_meta() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "ab").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let mut calls = 0;
    let dot = session.update_with("room", "alice", |entry| {
        calls += 1;
        assert_eq!((entry.key(), entry.meta()), (&b"alice"[..], &b"ab"[..]));
        entry.meta().repeat(2)
    });
    assert_eq!(calls, 1);
    assert_eq!(tracker.get("room", "alice")[0].entry_ref(), dot.unwrap());
    assert_eq!(told(&mut events), ["alice:ab>abab"]);
}

#[test]
fn t3_a_panic_in_the_closure_leaves_everything_as_it_was() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "1").unwrap();
    session.track("room", "bob", "1").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let before = fingerprint(&tracker);
    let call = || session.update_with("room", "alice", |_| -> &str { quiet_panic() });
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(fingerprint(&tracker), before);
    assert!(drain(&mut events).is_empty());

    session.update("room", "alice", "2").expect("nothing stays locked");
    assert_eq!(session.untrack("room", "bob"), Ok(true));
    assert_eq!(told(&mut events), ["alice:1>2", "-bob=1"]);
}

#[test]
fn t3_the_closure_runs_outside_any_lock() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "1").unwrap();
    let (shared, seen) = (tracker.clone(), tracker.subscribe(Filter::all()));
    super::common::must_not_hang("using the tracker and the session in the closure", move || {
        let _seen = seen;
        session
            .update_with("room", "alice", |entry| {
                assert_eq!(shared.list("room"), std::slice::from_ref(entry));
                assert_eq!((shared.len(), session.len(), session.entries().len()), (1, 1, 1));
                let guest = shared.session();
                guest.track("room", "bob", "").unwrap();
                "2"
            })
            .unwrap();
        session.update_with("room", "alice", |_| session.track("room", "carol", "").unwrap().to_string())
    })
    .unwrap();
}

#[test]
fn t3_the_closure_runs_again_if_the_entry_changed_meanwhile() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "1").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let mut calls = 0;
    session
        .update_with("room", "alice", |entry| {
            calls += 1;
            if calls == 1 {
                session.update("room", "alice", "other").unwrap();
            }
            [entry.meta(), b"+"].concat()
        })
        .unwrap();
    assert_eq!(calls, 2);
    assert_eq!(told(&mut events), ["alice:1>other", "alice:other>other+"]);

    // Gone meanwhile, or gone and back: the old version is not brought back.
    let gone = session.update_with("room", "alice", |_| {
        session.untrack("room", "alice").unwrap();
        "never"
    });
    assert_eq!(gone, Err(Error::NotTracked));
    assert!(tracker.is_empty());
}

#[test]
fn t3_closures_of_many_threads_lose_no_update() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 500;
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "counter", "0").unwrap();
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..ROUNDS {
                    let next = |e: &headcount::Entry| (e.meta_str().parse::<u64>().unwrap() + 1).to_string();
                    session.update_with("room", "counter", next).unwrap();
                }
            });
        }
    });
    assert_eq!(tracker.get("room", "counter")[0].meta_str(), (THREADS * ROUNDS).to_string());
    assert_eq!(tracker.stats().updated_total, THREADS * ROUNDS);
}

#[test]
fn t3_a_ref_updates_and_untracks_the_version_that_it_names_and_no_other() {
    let tracker = Tracker::new();
    let (session, other) = (tracker.session(), tracker.session());
    let first = session.track("room", "alice", "1").unwrap();
    let mut events = tracker.subscribe(Filter::topic("room").without_snapshot());
    let second = session.update_ref(first, "2").unwrap();
    assert_eq!((second.lane, second.clock), (first.lane, first.clock + 1));
    // Longer than a slot, and back.
    let third = session.update_ref(second, "3".repeat(100)).unwrap();
    let fourth = session.update_ref(third, "4").unwrap();
    assert_eq!(tracker.get("room", "alice")[0].entry_ref(), fourth);
    assert_eq!(session.entries().len(), 1);

    let before = fingerprint(&tracker);
    let refused = Err(Error::NotTracked);
    assert_eq!(session.update_ref(third, "5"), refused, "another version is there");
    assert_eq!(other.update_ref(fourth, "5"), refused, "it is another session's");
    let elsewhere = headcount::EntryRef { lane: u16::MAX, ..fourth };
    assert_eq!(session.update_ref(elsewhere, "5"), refused, "there is no such lane");
    let earlier =
        headcount::EntryRef { incarnation: headcount::Incarnation { epoch: 7, nonce: 7 }, ..fourth };
    assert_eq!(session.update_ref(earlier, "5"), refused, "another life's");
    let long = session.update_ref(fourth, vec![0; 1 << 20]);
    assert!(matches!(long, Err(Error::TooLong { field: "meta", .. })));
    assert_eq!((session.untrack_ref(third), other.untrack_ref(fourth)), (Ok(false), Ok(false)));
    assert_eq!(session.untrack_ref(elsewhere), Ok(false));
    assert_eq!(fingerprint(&tracker), before, "nothing was changed");

    assert_eq!(session.untrack_ref(fourth), Ok(true));
    assert_eq!(session.untrack_ref(fourth), Ok(false), "it is gone");
    assert!(session.is_empty() && !tracker.contains("room", "alice"));
    let told = told(&mut events);
    assert_eq!((told.len(), told.last().map(String::as_str)), (5, Some("empty room")));
    tracker.shutdown();
    assert_eq!(
        (session.update_ref(fourth, "6"), session.untrack_ref(fourth)),
        (Err(Error::Shutdown), Err(Error::Shutdown))
    );
}

/// What was chosen under the lock is read outside of it: versions that come meanwhile get slots of their own.
#[test]
fn t3_updates_beside_snapshots_and_entries_lose_nothing() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let keys: Vec<String> = (0..64).map(|key| format!("key-{key}")).collect();
    for key in &keys {
        session.track("room", key, [0; 16]).unwrap();
    }
    let start = Barrier::new(3);
    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            for version in 1..=2_000_usize {
                // Every eighth does not fit its slot.
                let meta = vec![version as u8; if version % 8 == 0 { 64 } else { 16 }];
                session.update("room", &keys[version % keys.len()], meta).unwrap();
            }
        });
        scope.spawn(|| {
            start.wait();
            for _ in 0..300 {
                let snapshot = tracker.snapshot("room");
                assert_eq!(snapshot.entries.len(), keys.len());
                let is_whole =
                    |entry: &headcount::Entry| entry.meta().iter().all(|&byte| byte == entry.meta()[0]);
                assert!(snapshot.entries.iter().all(is_whole));
            }
        });
        scope.spawn(|| {
            start.wait();
            for _ in 0..300 {
                assert_eq!(session.entries().len(), keys.len());
            }
        });
    });
}
