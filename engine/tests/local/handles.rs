//! What the handles are to threads and tasks: auto traits, blocking and polling receipt.

use super::common::{drain, must_not_hang};
use headcount::replica::{Delta, DeltaView, LaneSnapshot, Replica, SnapshotItem};
use headcount::{
    Config, Entry, EntryRef, Error, Event, EventKind, Filter, Node, Page, Pages, RecvTimeoutError, Session,
    Snapshot, Stats, Subscription, Topic, Tracker, TryRecvError,
};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

fn everywhere<T: Send + Sync + 'static>() {}
fn cheap<T: Clone + Send + Sync + 'static>() {}
fn shown<T: std::fmt::Debug>() {}

#[test]
fn handles_and_values_can_be_used_from_every_thread() {
    cheap::<Tracker>();
    cheap::<Replica>();
    cheap::<Entry>();
    cheap::<Event>();
    cheap::<Topic>();
    cheap::<Filter>();
    cheap::<Config>();
    cheap::<EntryRef>();
    cheap::<Snapshot>();
    cheap::<Page>();
    cheap::<Pages>();
    cheap::<Node>();
    cheap::<Stats>();
    cheap::<Error>();
    cheap::<Delta>();
    cheap::<LaneSnapshot>();
    cheap::<DeltaView<'static>>();
    cheap::<SnapshotItem<'static>>();
    everywhere::<Session>();
    everywhere::<Subscription>();
    shown::<(Tracker, Session, Subscription, Replica, Pages)>();
}

#[cfg(feature = "serde")]
#[test]
fn statistics_nodes_and_refs_can_be_serialized() {
    fn out<T: serde::Serialize>() {}
    out::<Stats>();
    out::<Node>();
    out::<EntryRef>();
}

#[test]
fn clones_are_the_same_tracker() {
    let tracker = Tracker::new();
    let clone = tracker.clone();
    let session = clone.session();
    session.track("room", "alice", "").unwrap();
    assert_eq!(tracker.count("room"), 1);
    drop((tracker, clone));
    // A session and a subscription keep what they need alive.
    assert_eq!(session.untrack("room", "alice"), Ok(true));
}

#[test]
fn recv_waits_on_another_thread_until_something_happens() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::topic("room"));
    let (ready, is_ready) = mpsc::channel();
    let reader = thread::spawn(move || {
        ready.send(()).unwrap();
        (0..3).map(|_| events.recv().unwrap().kind).collect::<Vec<_>>()
    });
    is_ready.recv().unwrap();
    session.track("hall", "alice", "").unwrap();
    session.track("room", "alice", "").unwrap();
    session.track("room", "bob", "").unwrap();
    let told = must_not_hang("recv", move || reader.join().unwrap());
    assert!(matches!(&told[0], EventKind::First(topic) if *topic == *"room"));
    assert!(matches!(&told[1], EventKind::Join(entry) if entry.key() == b"alice"));
    assert!(matches!(&told[2], EventKind::Join(entry) if entry.key() == b"bob"));
}

#[test]
fn recv_loses_no_event_however_reader_and_writer_interleave() {
    const ROUNDS: usize = 5_000;
    let tracker = Config::default().subscription_queue_max(4 * ROUNDS).build().unwrap();
    let mut events = tracker.subscribe(Filter::topic("room"));
    let session = tracker.session();
    session.track("room", "alice", "").unwrap();
    drop(drain(&mut events));
    let (ask, asked) = mpsc::channel();
    let writer = thread::spawn(move || {
        for round in asked {
            let _: usize = round;
            session.update("room", "alice", round.to_string()).unwrap();
        }
    });
    // One event at a time, so that nearly every recv has to sleep or nearly has to.
    let told = must_not_hang("a recv whose wake-up was lost", move || {
        (0..ROUNDS)
            .map(|round| {
                ask.send(round).unwrap();
                if round % 2 == 0 {
                    events.recv().unwrap()
                } else {
                    events.recv_timeout(Duration::from_secs(3600)).unwrap()
                }
            })
            .filter(|event| matches!(event.kind, EventKind::Update { .. }))
            .count()
    });
    assert_eq!(told, ROUNDS);
    writer.join().unwrap();
}

#[test]
fn recv_timeout_gives_up_and_try_recv_does_not_wait() {
    let tracker = Tracker::new();
    let mut events = tracker.subscribe(Filter::all());
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(events.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert_eq!(events.recv_timeout(Duration::from_millis(2)), Err(RecvTimeoutError::Timeout));
    let session = tracker.session();
    session.track("room", "alice", "").unwrap();
    assert!(events.recv_timeout(Duration::ZERO).is_ok());
    assert!(events.try_recv().is_ok());
    assert_eq!(events.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
}

/// Says through a channel that it was woken.
struct Told(mpsc::Sender<()>);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

fn telling_waker() -> (Waker, mpsc::Receiver<()>) {
    let (sender, woken) = mpsc::channel();
    (Waker::from(Arc::new(Told(sender))), woken)
}

#[test]
fn poll_recv_leaves_its_waker_and_is_woken_once_for_a_batch() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::all());
    let (waker, woken) = telling_waker();
    let mut context = Context::from_waker(&waker);
    assert!(events.poll_recv(&mut context).is_pending());
    assert!(woken.try_recv().is_err(), "nothing has happened");
    session.track("room", "alice", "").unwrap();
    session.track("room", "bob", "").unwrap();
    assert_eq!(woken.try_iter().count(), 1, "one wake-up until it looks again");
    for _ in 0..3 {
        assert!(matches!(events.poll_recv(&mut context), Poll::Ready(Some(_))));
    }
    assert!(events.poll_recv(&mut context).is_pending());
    assert!(woken.try_recv().is_err(), "what it has read does not wake it again");
    session.untrack("room", "bob").unwrap();
    assert_eq!(woken.try_iter().count(), 1);
}

#[test]
fn however_many_listen_each_is_woken_once_for_a_batch() {
    let tracker = Config::default().shards(4).build().unwrap();
    let session = tracker.session();
    let mut listeners: Vec<_> = (0..50)
        .map(|at| {
            let filter = if at % 3 == 0 { Filter::topic("room") } else { Filter::all() };
            (tracker.subscribe(filter), telling_waker())
        })
        .collect();
    for (events, (waker, _)) in &mut listeners {
        assert!(events.poll_recv(&mut Context::from_waker(waker)).is_pending());
    }
    let batch = (0..200).map(|at| (if at % 2 == 0 { "room" } else { "hall" }, at.to_string(), ""));
    session.track_many(batch).unwrap();
    for (at, (events, (_, woken))) in listeners.iter_mut().enumerate() {
        assert_eq!(woken.try_iter().count(), 1, "listener {at}");
        assert_eq!(drain(events).len(), if at % 3 == 0 { 101 } else { 202 });
    }
}

#[test]
fn poll_recv_wakes_the_waker_that_was_left_last() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::all());
    let ((first, first_woken), (second, second_woken)) = (telling_waker(), telling_waker());
    assert!(events.poll_recv(&mut Context::from_waker(&first)).is_pending());
    assert!(events.poll_recv(&mut Context::from_waker(&second)).is_pending());
    session.track("room", "alice", "").unwrap();
    assert_eq!((first_woken.try_iter().count(), second_woken.try_iter().count()), (0, 1));
    assert_eq!(drain(&mut events).len(), 2);
    assert!(events.poll_recv(&mut Context::from_waker(&first)).is_pending());
    tracker.shutdown();
    assert_eq!(first_woken.try_iter().count(), 1, "a shutdown wakes too");
}

#[test]
fn polling_and_blocking_can_be_mixed() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::all());
    assert!(events.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(events.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    assert!(events.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
    let writer = thread::spawn(move || session.track("room", "alice", "").map(|_| session));
    let told =
        must_not_hang("recv after poll_recv", move || (events.recv().unwrap(), events.recv().unwrap()));
    assert!(matches!((told.0.kind, told.1.kind), (EventKind::First(_), EventKind::Join(_))));
    drop(writer.join().unwrap());
}

#[cfg(feature = "stream")]
#[test]
fn a_subscription_is_a_stream() {
    use futures_core::Stream;
    use std::pin::Pin;
    let tracker = Tracker::new();
    let session = tracker.session();
    let mut events = tracker.subscribe(Filter::all());
    let (waker, woken) = telling_waker();
    let mut context = Context::from_waker(&waker);
    assert!(Pin::new(&mut events).poll_next(&mut context).is_pending());
    session.track("room", "alice", "").unwrap();
    assert_eq!(woken.try_iter().count(), 1);
    tracker.shutdown();
    let mut told = 0;
    while let Poll::Ready(Some(_)) = Pin::new(&mut events).poll_next(&mut context) {
        told += 1;
    }
    assert_eq!(told, 4);
    assert_eq!(Pin::new(&mut events).poll_next(&mut context), Poll::Ready(None));
}
