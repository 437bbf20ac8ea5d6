//! T15: the end of a tracker.

use super::common::replay::Replay;
use super::common::{drain, must_not_hang, told, view};
use headcount::{Config, Error, EventKind, Filter, RecvError, RecvTimeoutError, Tracker, TryRecvError};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

#[test]
fn t15_operations_after_shutdown_are_a_clear_error() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "").unwrap();
    assert!(!tracker.is_shutdown());
    tracker.shutdown();
    assert!(tracker.is_shutdown());

    for session in [session, tracker.session()] {
        assert_eq!(session.track("room", "alice", ""), Err(Error::Shutdown));
        assert_eq!(session.track_many([("room", "bob", "")]), Err(Error::Shutdown));
        assert_eq!(session.update("room", "alice", ""), Err(Error::Shutdown));
        assert_eq!(session.update_with("room", "alice", |_| ""), Err(Error::Shutdown));
        assert_eq!(session.untrack("room", "alice"), Err(Error::Shutdown));
        assert_eq!(session.untrack_topic("room"), Err(Error::Shutdown));
        assert_eq!(session.clear(), Err(Error::Shutdown));
        assert_eq!((session.len(), session.is_empty(), session.entries().len()), (0, true, 0));
    }
    assert_eq!(Error::Shutdown.to_string(), "the tracker is shut down");
    assert!(tracker.is_empty() && tracker.topics().is_empty() && tracker.list("room").is_empty());
    assert_eq!(tracker.stats().tracked_total, 1);
}

#[test]
fn t15_shutdown_is_idempotent_and_every_entry_leaves_once() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "").unwrap();
    session.track("room", "bob", "").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    tracker.shutdown();
    let versions = format!("{:?}", tracker.stats());
    tracker.shutdown();
    tracker.clone().shutdown();
    assert_eq!(format!("{:?}", tracker.stats()), versions);
    let mut told = told(&mut events);
    assert_eq!(told.pop().as_deref(), Some("empty room"));
    told.sort_unstable();
    assert_eq!(told, ["-alice=", "-bob="]);
}

#[test]
fn t15_a_subscription_closes_once_what_waits_was_read() {
    must_not_hang("a reader of a closed subscription", closes_once_what_waits_was_read);
}

fn closes_once_what_waits_was_read() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::all());
    let mut polled = tracker.subscribe(Filter::topic("room"));
    session.track("room", "alice", "").unwrap();
    tracker.shutdown();

    assert!(matches!(events.recv().unwrap().kind, EventKind::First(_)));
    assert!(matches!(events.try_recv().unwrap().kind, EventKind::Join(_)));
    assert!(matches!(events.recv_timeout(Duration::ZERO).unwrap().kind, EventKind::Leave(_)));
    assert!(matches!(events.recv().unwrap().kind, EventKind::Empty(_)));
    for _ in 0..2 {
        assert_eq!(events.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(events.recv(), Err(RecvError));
        assert_eq!(events.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Closed));
        assert_eq!(events.iter().count(), 0);
    }
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..4 {
        assert!(matches!(polled.poll_recv(&mut context), Poll::Ready(Some(_))));
    }
    assert_eq!(polled.poll_recv(&mut context), Poll::Ready(None));
    assert_eq!(polled.poll_recv(&mut context), Poll::Ready(None));
}

#[test]
fn t15_a_subscription_after_shutdown_is_empty_and_closed() {
    must_not_hang("a reader of a closed subscription", is_empty_and_closed_after_shutdown);
}

fn is_empty_and_closed_after_shutdown() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track("room", "alice", "").unwrap();
    tracker.shutdown();
    for filter in [Filter::all(), Filter::topic("room"), Filter::nodes()] {
        let mut events = tracker.subscribe(filter);
        assert!(events.snapshot().is_empty());
        assert_eq!(events.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(events.recv(), Err(RecvError));
    }
}

#[test]
fn t15_shutdown_wakes_readers_that_wait() {
    let tracker = Tracker::new();
    let readers = [Filter::all(), Filter::topic("room"), Filter::nodes()]
        .map(|filter| tracker.subscribe(filter))
        .map(|mut events| thread::spawn(move || events.iter().count()));
    tracker.shutdown();
    for reader in readers {
        assert_eq!(must_not_hang("a reader that waits", || reader.join().unwrap()), 0);
    }
}

#[test]
fn t15_a_subscription_made_during_a_shutdown_is_closed() {
    for round in 0..50 {
        let tracker = Config::default().shards(4).build().unwrap();
        let session = tracker.session();
        session.track("room", "alice", "").unwrap();
        let start = Arc::new(Barrier::new(2));
        let reader = {
            let (tracker, start) = (tracker.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let filter = if round % 2 == 0 { Filter::all() } else { Filter::topic("room") };
                let mut events = tracker.subscribe(filter);
                let mut replay = Replay::of(&mut events);
                while let Ok(event) = events.recv() {
                    replay.take(&event);
                }
                replay.assert_settled();
                replay.entries.len()
            })
        };
        start.wait();
        tracker.shutdown();
        let left = must_not_hang("a reader that nobody closes", move || reader.join().unwrap());
        assert_eq!(left, 0, "round {round}");
    }
}

#[test]
fn t15_dropping_a_session_after_shutdown_is_harmless() {
    let tracker = Tracker::new();
    let (one, two) = (tracker.session(), tracker.session());
    one.track("room", "alice", "").unwrap();
    two.track("room", "alice", "").unwrap();
    let mut events = tracker.subscribe(Filter::all());
    tracker.shutdown();
    assert_eq!(drain(&mut events).len(), 3);
    let totals = tracker.stats().untracked_total;
    drop(one);
    drop(two);
    assert_eq!((tracker.stats().untracked_total, tracker.stats().sessions), (totals, 0));
    assert!(drain(&mut events).is_empty());
}

#[test]
fn t15_after_a_concurrent_shutdown_nothing_is_left_and_nothing_comes() {
    for round in 0..30 {
        let tracker = Config::default().shards(4).subscription_queue_max(1 << 20).build().unwrap();
        let mut events = tracker.subscribe(Filter::all());
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for writer in 0..3 {
                let (tracker, start) = (&tracker, &start);
                scope.spawn(move || {
                    let session = tracker.session();
                    start.wait();
                    for at in 0.. {
                        let (topic, key) = (format!("topic:{}", at % 9), format!("{writer}/{at}"));
                        let outcome = match at % 4 {
                            0 | 1 => session.track(&topic, &key, "").map(|_| ()),
                            2 => session.track_many([(&topic, &key, ""), (&key, &topic, "")]).map(|_| ()),
                            _ => session.untrack_topic(&topic).map(|_| ()),
                        };
                        if let Err(error) = outcome {
                            assert_eq!(error, Error::Shutdown);
                            break;
                        }
                    }
                    assert!(session.is_empty());
                });
            }
            start.wait();
            for _ in 0..round {
                thread::yield_now();
            }
            tracker.shutdown();
            assert!(view(&tracker).is_empty(), "when shutdown returns it is over");
        });
        assert!(tracker.is_empty());
        let mut replay = Replay::default();
        replay.drain(&mut events);
        replay.assert_settled();
        assert!(replay.entries.is_empty(), "every join was followed by its leave");
        assert_eq!(events.try_recv(), Err(TryRecvError::Closed));
        let stats = tracker.stats();
        assert_eq!((stats.entries, stats.topics, stats.sessions), (0, 0, 0));
        assert_eq!(stats.tracked_total, stats.untracked_total);
    }
}
