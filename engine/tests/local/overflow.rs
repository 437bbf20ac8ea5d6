//! T12, T13: subscribers that are slow, that panic, that go away.

use super::common::replay::Replay;
use super::common::{Random, drain, listed, must_not_hang, quiet_panic, told, view};
use headcount::{Config, Event, EventKind, Filter, Session, Subscription, Tracker};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

fn small(subscription_queue_max: usize) -> (Tracker, Session) {
    let tracker = Config::default().shards(1).subscription_queue_max(subscription_queue_max).build().unwrap();
    let session = tracker.session();
    (tracker, session)
}

#[test]
fn t12_a_slow_subscriber_is_told_how_much_it_missed() {
    let (tracker, session) = small(4);
    let mut events = tracker.subscribe(Filter::all());
    for key in 0..10 {
        session.track("room", key.to_string(), "").unwrap();
    }
    assert_eq!(tracker.stats().events_missed_total, 7);
    assert_eq!(told(&mut events), ["first room", "+0=", "+1=", "+2=", "lagged 7"]);
    session.untrack("room", "9").unwrap();
    assert_eq!(told(&mut events), ["-9="], "what follows goes on after the gap");
    assert_eq!(tracker.stats().events_missed_total, 7);
    drop(events);
    assert_eq!(tracker.stats().events_missed_total, 0, "of live subscriptions");
}

#[test]
fn t12_the_gap_is_told_where_it_is() {
    let (tracker, session) = small(3);
    let mut events = tracker.subscribe(Filter::all());
    for key in 0..4 {
        session.track("room", key.to_string(), "").unwrap();
    }
    // The queue has room again, but what comes now came after the gap and must not pass in front of it.
    assert!(matches!(events.try_recv().unwrap().kind, EventKind::First(_)));
    assert!(matches!(events.try_recv().unwrap().kind, EventKind::Join(_)));
    session.untrack("room", "0").unwrap();
    assert_eq!(told(&mut events), ["+1=", "lagged 3"]);
    session.untrack("room", "1").unwrap();
    assert_eq!(told(&mut events), ["-1="]);
}

#[test]
fn t12_the_queue_never_holds_more_than_its_limit() {
    let (tracker, session) = small(16);
    let mut events = tracker.subscribe(Filter::all());
    for round in 0..2000 {
        session.track("room", round.to_string(), "").unwrap();
        session.update("room", round.to_string(), "2").unwrap();
        session.untrack("room", (round / 2).to_string()).unwrap();
    }
    let waiting = drain(&mut events);
    assert_eq!(waiting.len(), 17, "16 and the Lagged");
    assert!(matches!(waiting[16].kind, EventKind::Lagged { .. }));
    assert_eq!(tracker.len(), 1000, "and no writer was held up");
}

#[test]
fn t12_at_a_full_queue_updates_of_a_waiting_entry_become_one() {
    let (tracker, session) = small(2);
    session.track("room", "old", "0").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    session.track("room", "new", "0").unwrap();
    session.update("room", "old", "1").unwrap();
    for round in 2..1000 {
        session.update("room", "old", round.to_string()).unwrap();
        session.update("room", "new", round.to_string()).unwrap();
    }
    assert_eq!(told(&mut events), ["+new=999", "old:0>999"], "the latest state, and nothing missed");
    assert_eq!(tracker.stats().events_missed_total, 0);
}

#[test]
fn t12_an_update_is_not_folded_into_an_entry_that_has_left() {
    let (tracker, session) = small(3);
    session.track("room", "other", "").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    session.track("room", "alice", "1").unwrap();
    session.untrack("room", "alice").unwrap();
    session.update("room", "other", "x").unwrap();
    // Full. Another alice: a new entry, whose events find no place.
    session.track("room", "alice", "2").unwrap();
    session.update("room", "alice", "3").unwrap();
    assert_eq!(told(&mut events), ["+alice=1", "-alice=1", "other:>x", "lagged 2"]);
}

/// Reads now and then while updates pour in; with nothing reported missed, the events must lead to the view.
#[test]
fn t12_folding_goes_on_right_after_the_reader_has_taken_some() {
    let (tracker, session) = small(2);
    session.track("room", "a", "0").unwrap();
    session.track("room", "b", "0").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    let mut replay = Replay::of(&mut events);
    session.update("room", "a", "1").unwrap();
    session.update("room", "b", "1").unwrap();
    session.update("room", "b", "2").unwrap(); // Full: folded into the waiting update of b.
    replay.take(&events.try_recv().unwrap()); // a's; there is room for one.
    session.update("room", "b", "3").unwrap(); // Appended.
    session.update("room", "b", "4").unwrap(); // Full again: to be folded into the later one.
    assert_eq!(tracker.stats().events_missed_total, 0);
    replay.drain(&mut events);
    assert_eq!(replay.entries, view(&tracker));
}

#[test]
fn t12_a_reader_that_comes_at_any_time_is_led_to_the_view_or_told_of_a_gap() {
    for queue_max in 1..8 {
        for seed in 0..40 {
            let (tracker, session) = small(queue_max);
            for key in 0..3 {
                session.track("room", key.to_string(), "0").unwrap();
            }
            let mut events = tracker.subscribe(Filter::all());
            let mut replay = Some(Replay::of(&mut events));
            let mut random = Random(seed);
            for round in 0..60 {
                let key = random.below(3).to_string();
                match random.below(8) {
                    0 => _ = session.untrack("room", &key),
                    1 => _ = session.track("room", &key, "new"),
                    2 => read(&mut events, &mut replay, 1),
                    3 => read(&mut events, &mut replay, 3),
                    _ => _ = session.update("room", &key, round.to_string()),
                }
            }
            read(&mut events, &mut replay, usize::MAX);
            if let Some(replay) = replay {
                assert_eq!(replay.entries, view(&tracker), "queue of {queue_max}, seed {seed}");
            }
        }
    }
}

/// Reads some events; a `Lagged` ends the replay (`resync` is the way on).
fn read(events: &mut Subscription, replay: &mut Option<Replay>, most: usize) {
    for _ in 0..most {
        let Ok(event) = events.try_recv() else { return };
        match (&event.kind, &mut *replay) {
            (EventKind::Lagged { missed }, _) => {
                assert!(*missed > 0);
                *replay = None;
            }
            (_, Some(replay)) => replay.take(&event),
            (_, None) => {}
        }
    }
}

#[test]
fn t12_resync_gives_the_view_and_events_go_on_from_it() {
    let (tracker, session) = small(2);
    let mut events = tracker.subscribe(Filter::topic("room").without_snapshot());
    for key in 0..10 {
        session.track("room", key.to_string(), "").unwrap();
        session.track("hall", key.to_string(), "").unwrap();
    }
    let mut replay = Replay::new(events.resync());
    assert_eq!(replay.entries.values().cloned().collect::<Vec<_>>(), tracker.list("room"));
    assert!(drain(&mut events).is_empty(), "what waited is in the snapshot, the gap too");
    session.untrack("room", "3").unwrap();
    session.update("room", "4", "x").unwrap();
    replay.drain(&mut events);
    assert_eq!(replay.entries.into_values().collect::<Vec<_>>(), tracker.list("room"));
}

#[test]
fn t12_resync_while_writers_go_on_leads_to_their_view() {
    for filter in [Filter::all(), Filter::topics(["topic:0", "topic:1", "topic:2", "topic:3", "topic:4"])] {
        let tracker = Config::default().shards(4).subscription_queue_max(64).build().unwrap();
        let mut events = tracker.subscribe(filter);
        let sessions: Vec<Session> = (0..2).map(|_| tracker.session()).collect();
        let mut resyncs = 0;
        thread::scope(|scope| {
            let tracker = &tracker;
            let writers: Vec<_> = sessions
                .iter()
                .map(|session| {
                    scope.spawn(move || {
                        for round in 0..20_000 {
                            let (topic, key) = (format!("topic:{}", round % 5), format!("{}", round % 7));
                            let _ = session.track(&topic, &key, "");
                            if round % 3 == 0 {
                                session.untrack(&topic, &key).unwrap();
                            } else {
                                session.update(&topic, &key, round.to_string()).unwrap();
                            }
                        }
                    })
                })
                .collect();
            let mut replay = Replay::of(&mut events);
            loop {
                let over = writers.iter().all(thread::ScopedJoinHandle::is_finished);
                match events.try_recv() {
                    Ok(Event { kind: EventKind::Lagged { .. }, .. }) => {
                        replay = Replay::new(events.resync());
                        resyncs += 1;
                    }
                    Ok(event) => replay.take(&event),
                    Err(_) if over => break,
                    Err(_) => thread::yield_now(),
                }
            }
            replay.assert_settled();
            assert_eq!(replay.entries, view(tracker));
        });
        // Not for sure, but a reader that never fell behind would have tested nothing.
        assert!(resyncs > 0, "the queue of 64 never overflowed");
    }
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        quiet_panic()
    }
}

fn poll(events: &mut Subscription, waker: &Waker) -> Poll<Option<Event>> {
    events.poll_recv(&mut Context::from_waker(waker))
}

#[test]
fn t13_a_waker_that_panics_harms_nobody() {
    let (tracker, session) = small(64);
    let waker = Waker::from(Arc::new(PanickingWaker));
    let mut bad = tracker.subscribe(Filter::all());
    let mut good = tracker.subscribe(Filter::all());
    for round in 0..3 {
        assert!(poll(&mut bad, &waker).is_pending());
        let key = round.to_string();
        session.track("room", &key, "").expect("the writer does not notice");
        session.update("room", &key, "2").unwrap();
        while poll(&mut bad, &waker).is_ready() {}
    }
    assert_eq!(session.clear(), Ok(3));
    assert_eq!(told(&mut good).len(), 11, "everybody else is told everything");
    assert_eq!(told(&mut bad).len(), 4);
    assert!(tracker.is_empty());
}

#[test]
fn t13_a_subscriber_that_panics_or_is_dropped_harms_nobody() {
    let (tracker, session) = small(64);
    let mut good = tracker.subscribe(Filter::topic("room"));
    let (seen, has_seen) = mpsc::channel();
    let mut dying = tracker.subscribe(Filter::all());
    let thread = thread::spawn(move || {
        seen.send(dying.recv().unwrap()).unwrap();
        quiet_panic();
    });
    drop(tracker.subscribe(Filter::topic("room")));
    session.track("room", "alice", "").unwrap();
    let seen = must_not_hang("a reader that waits", move || has_seen.recv().unwrap());
    assert!(matches!(seen.kind, EventKind::First(_)));
    assert!(thread.join().is_err());
    assert_eq!(tracker.stats().subscriptions, 1, "its subscription went with it");
    session.untrack("room", "alice").unwrap();
    assert_eq!(told(&mut good), ["first room", "+alice=", "-alice=", "empty room"]);
    drop(good);
    assert_eq!((tracker.stats().subscriptions, tracker.stats().topics), (0, 0), "nothing is kept for them");
}

/// A waker that does what an executor may do at once, on the writer's thread: run a task that uses the tracker.
struct InlineTask(Box<dyn Fn() + Send + Sync>);

impl Wake for InlineTask {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn t13_a_waker_may_use_the_tracker_and_another_session() {
    let (tracker, session) = small(64);
    let other = Arc::new(tracker.session());
    let (shared, mut events) = (tracker.clone(), tracker.subscribe(Filter::all()));
    let woken = Arc::clone(&other);
    let task = InlineTask(Box::new(move || {
        assert_eq!(shared.count("room"), 1);
        woken.track("hall", "woken", shared.len().to_string()).unwrap();
    }));
    assert!(poll(&mut events, &Waker::from(Arc::new(task))).is_pending());
    must_not_hang("a waker that reads and tracks", move || {
        session.track("room", "alice", "").unwrap();
        assert_eq!(told(&mut events), ["first room", "+alice=", "first hall", "+woken=1"]);
    });
    assert_eq!(listed(&tracker, "hall"), ["woken=1"]);
}

#[test]
fn t13_a_waker_may_use_the_session_whose_change_woke_it() {
    let (tracker, session) = small(64);
    let session = Arc::new(session);
    let (shared, mut events) = (Arc::downgrade(&session), tracker.subscribe(Filter::topic("room")));
    let task = InlineTask(Box::new(move || {
        shared.upgrade().unwrap().track("hall", "woken", "").unwrap();
    }));
    assert!(poll(&mut events, &Waker::from(Arc::new(task))).is_pending());
    must_not_hang(
        "a waker that uses the session: no lock may be held while a caller's code runs",
        move || {
            session.track("room", "alice", "").unwrap();
            assert_eq!(listed(&tracker, "hall"), ["woken="]);
        },
    );
}
