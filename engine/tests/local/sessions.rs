//! T5, T6, T10: what ends with a session, what it costs, and in what pieces.

use super::common::{drain, quiet_panic, told, topic_names, view};
use headcount::{Config, Error, EventKind, Filter, Session, Stats, Tracker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

#[test]
fn t5_dropping_a_session_removes_its_entries_in_every_topic_with_one_leave_each() {
    let tracker = Tracker::new();
    let (session, other) = (tracker.session(), tracker.session());
    for topic in topic_names(50) {
        session.track(&topic, "mine", "").unwrap();
        session.track(&topic, "mine too", "").unwrap();
        other.track(&topic, "others", "").unwrap();
    }
    session.update("topic:3", "mine", "updated").unwrap();
    let (mut events, stays) = (tracker.subscribe(Filter::all()), view_of(&tracker, &other));
    drop(session);

    assert_eq!(view(&tracker), stays, "the others' entries stay as they were");
    let mut left: Vec<String> = told(&mut events);
    left.sort_unstable();
    let mut expected: Vec<String> =
        ["-mine="; 49].iter().chain(&["-mine too="; 50]).map(ToString::to_string).collect();
    expected.push("-mine=updated".to_owned());
    expected.sort_unstable();
    assert_eq!(left, expected, "no topic was emptied, and each leaves once");
    assert_eq!((tracker.stats().sessions, tracker.len()), (1, 50));
}

fn view_of(tracker: &Tracker, session: &Session) -> super::common::View {
    view(tracker).into_iter().filter(|(_, entry)| entry.session() == Some(session.id())).collect()
}

#[test]
fn t5_a_thread_that_panics_with_its_session_takes_the_entries_with_it() {
    let tracker = Tracker::new();
    let mut events = tracker.subscribe(Filter::all());
    let shared = tracker.clone();
    let died = thread::spawn(move || {
        let session = shared.session();
        session.track("room", "alice", "").unwrap();
        session.track("hall", "alice", "").unwrap();
        quiet_panic();
    })
    .join();
    assert!(died.is_err());
    assert!(tracker.is_empty() && tracker.topics().is_empty());
    assert_eq!(tracker.stats().sessions, 0);
    let told = told(&mut events);
    assert_eq!(told.iter().filter(|line| **line == "-alice=").count(), 2);
    assert_eq!(told.len(), 8, "{told:?}");
}

#[test]
fn t5_a_panic_caught_on_the_same_thread_does_too() {
    let tracker = Tracker::new();
    let call = || {
        let session = tracker.session();
        session.track_many([("room", "alice", ""), ("room", "bob", "")]).unwrap();
        session.update_with("room", "alice", |_| -> &str { quiet_panic() })
    };
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert!(tracker.is_empty());
}

#[test]
fn t5_a_session_shared_between_threads_leaves_with_its_last_handle() {
    let tracker = Tracker::new();
    let session = std::sync::Arc::new(tracker.session());
    thread::scope(|scope| {
        for at in 0..4 {
            let session = std::sync::Arc::clone(&session);
            scope.spawn(move || {
                session.track("room", format!("key:{at}"), "").unwrap();
            });
        }
    });
    assert_eq!(tracker.count("room"), 4);
    drop(session);
    assert!(tracker.is_empty());
}

#[test]
fn t6_clear_touches_its_own_entries_only() {
    let tracker = Config::default().shards(8).build().unwrap();
    let (session, others) = (tracker.session(), tracker.session());
    let topics = topic_names(100);
    for (at, topic) in topics.iter().enumerate() {
        others.track_many((0..100).map(|key| (topic, key.to_string(), ""))).unwrap();
        if at % 10 == 0 {
            session.track(topic, "mine", "").unwrap();
        }
    }
    let stays = view_of(&tracker, &others);
    let before = tracker.stats();
    assert_eq!(session.clear(), Ok(10));
    let after = tracker.stats();

    assert_eq!(view(&tracker), stays, "refs, metas and order of the 10,000 others");
    assert_eq!(after.untracked_total - before.untracked_total, 10);
    assert_eq!(after.tracked_total, before.tracked_total);
    let moved = |of: fn(&headcount::ShardStats) -> u64| sum(&after, of) - sum(&before, of);
    assert_eq!(moved(|shard| shard.clock), 10, "ten operations in all lanes together");
    assert_eq!(moved(|shard| shard.version), 10, "ten changes in all shards together");
    assert_eq!(session.clear(), Ok(0));
    assert_eq!(sum(&tracker.stats(), |shard| shard.version), sum(&after, |shard| shard.version));
}

fn sum(stats: &Stats, of: fn(&headcount::ShardStats) -> u64) -> u64 {
    stats.shards.iter().map(of).sum()
}

#[test]
fn t6_a_session_stays_usable_after_clear() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let first = session.track("room", "alice", "").unwrap();
    assert_eq!(session.clear(), Ok(1));
    assert!(session.is_empty() && session.entries().is_empty());
    assert_eq!(session.update("room", "alice", ""), Err(Error::NotTracked));
    let second = session.track("room", "alice", "").unwrap();
    assert!(second.clock > first.clock, "a new entry, not the old one");
    assert_eq!(session.entries(), tracker.list("room"));
}

/// The end state, what was told (as a sorted multiset), and the operations that it took.
fn outcome_of(end: impl FnOnce(Session)) -> (usize, usize, Vec<String>, u64) {
    let tracker = Tracker::new();
    let session = tracker.session();
    for topic in topic_names(100) {
        session.track(&topic, "key", &topic).unwrap();
    }
    let mut events = tracker.subscribe(Filter::all());
    let before = sum(&tracker.stats(), |shard| shard.clock);
    end(session);
    let clocks = sum(&tracker.stats(), |shard| shard.clock) - before;
    let mut told = told(&mut events);
    told.sort_unstable();
    (tracker.len(), tracker.topics().len(), told, clocks)
}

#[test]
fn t10_untracking_100_topics_one_by_one_or_at_once_ends_the_same() {
    let one_by_one = outcome_of(|session| {
        for topic in topic_names(100) {
            assert_eq!(session.untrack(&topic, "key"), Ok(true));
        }
        assert!(session.is_empty());
    });
    let by_topic = outcome_of(|session| {
        for topic in topic_names(100) {
            assert_eq!(session.untrack_topic(&topic), Ok(1));
        }
        assert!(session.is_empty());
    });
    let at_once = outcome_of(|session| assert_eq!(session.clear(), Ok(100)));
    let by_drop = outcome_of(drop);
    assert_eq!((one_by_one.0, one_by_one.1, one_by_one.2.len(), one_by_one.3), (0, 0, 200, 100));
    assert_eq!(one_by_one, by_topic);
    assert_eq!(one_by_one, at_once);
    assert_eq!(one_by_one, by_drop);
}

#[test]
fn untrack_topic_takes_this_sessions_entries_of_that_topic() {
    let tracker = Config::default().shards(1).build().unwrap();
    let (session, other) = (tracker.session(), tracker.session());
    for key in 0..200 {
        session.track("room", key.to_string(), "").unwrap();
        session.track("hall", key.to_string(), "").unwrap();
        other.track("room", key.to_string(), "").unwrap();
    }
    let mut events = tracker.subscribe(Filter::all());
    assert_eq!(session.untrack_topic("room"), Ok(200));
    assert_eq!((tracker.count("room"), tracker.count("hall"), session.len()), (200, 200, 200));
    assert!(tracker.list("room").iter().all(|entry| entry.session() == Some(other.id())));
    assert_eq!(drain(&mut events).len(), 200);
    assert_eq!(session.untrack_topic("room"), Ok(0));
    assert_eq!(session.untrack("room", "7"), Ok(false));
    assert_eq!(session.track("room", "7", "").map(|_| ()), Ok(()));
}

#[test]
fn entries_of_a_session_are_what_it_tracks() {
    let tracker = Tracker::new();
    let (session, other) = (tracker.session(), tracker.session());
    for topic in topic_names(20) {
        session.track(&topic, "mine", "").unwrap();
        other.track(&topic, "others", "").unwrap();
    }
    session.untrack("topic:7", "mine").unwrap();
    session.update("topic:8", "mine", "new").unwrap();
    let entries: super::common::View =
        session.entries().into_iter().map(|entry| (entry.joined_ref(), entry)).collect();
    assert_eq!(entries.len(), 19);
    assert_eq!(entries, view_of(&tracker, &session));
    assert!(session.id() != other.id() && session.id().to_string() == session.id().0.to_string());
}

#[test]
fn r13_a_subscriber_sees_both_halves_of_a_track_and_untrack() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::all());
    let dot = session.track("room", "alice", "x").unwrap();
    session.untrack("room", "alice").unwrap();
    let events = drain(&mut events);
    assert_eq!(events.len(), 4);
    let refs: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Join(entry) | EventKind::Leave(entry) => Some(entry.entry_ref()),
            _ => None,
        })
        .collect();
    assert_eq!(refs, [dot, dot]);
}

#[test]
fn t2_a_session_at_its_limit_is_told_that_it_has_the_key_already() {
    let tracker = headcount::Config::default().session_entries_max(1).build().unwrap();
    let session = tracker.session();
    let existing = session.track("room", "alice", "").unwrap();
    assert_eq!(session.track("room", "alice", ""), Err(Error::AlreadyTracked { existing }));
    assert_eq!(session.track("room", "bob", ""), Err(Error::Full { field: "session_entries_max", max: 1 }));
}
