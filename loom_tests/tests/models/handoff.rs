//! Subscribing: the snapshot and the events that follow it have every change once, with the mailbox of the engine's queues.

use crate::kernel::mailbox::Mailbox;
use crate::sync::Mutex;
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;
use std::sync::Arc;

pub(crate) const MODELS: &[Model] = &[
    model!(
        a_snapshot_and_the_events_after_it_have_every_change_once,
        handoff::SNAPSHOT_FIRST => Says(GAP),
        handoff::CONNECT_FIRST => Says(TWICE),
    ),
    model!(
        two_writers_are_heard_of_in_their_order,
        handoff::SNAPSHOT_FIRST => Says(GAP),
        handoff::CONNECT_FIRST => Says(TWICE),
    ),
];

/// Bugs that the models plant.
pub(crate) mod fault {
    /// The snapshot is taken, and the queue connected after that, under another turn of the lock.
    pub(crate) const SNAPSHOT_FIRST: u8 = 161;
    /// The queue is connected, and the snapshot taken after that, under another turn of the lock.
    pub(crate) const CONNECT_FIRST: u8 = 162;
}

const GAP: &str = "a change is neither in the snapshot nor in an event";
const TWICE: &str = "a change is in the snapshot and in an event";

type Inbox = Mailbox<Vec<u32>>;

#[derive(Default)]
struct Shard {
    entries: Vec<u32>,
    listeners: Vec<Arc<Inbox>>,
}

/// As a shard's writer: queue under the lock, ring after it.
fn track(shard: &Mutex<Shard>, entry: u32) {
    let listeners = {
        let mut shard = shard.lock();
        shard.entries.push(entry);
        for inbox in &shard.listeners {
            inbox.with(|events| events.push(entry));
        }
        shard.listeners.clone()
    };
    for inbox in listeners {
        assert!(inbox.ring().is_none(), "nobody left a waker");
    }
}

/// As `attach` of the engine: connect the queue and note the entries in one turn of the lock.
fn subscribe<const FAULT: u8>(shard: &Mutex<Shard>, inbox: &Arc<Inbox>) -> Vec<u32> {
    match FAULT {
        fault::SNAPSHOT_FIRST => {
            let snapshot = shard.lock().entries.clone();
            shard.lock().listeners.push(Arc::clone(inbox));
            snapshot
        }
        fault::CONNECT_FIRST => {
            shard.lock().listeners.push(Arc::clone(inbox));
            shard.lock().entries.clone()
        }
        _ => {
            let mut shard = shard.lock();
            shard.listeners.push(Arc::clone(inbox));
            shard.entries.clone()
        }
    }
}

/// Subscribes while as many writers as there are lists of entries track those. Returns all that the subscriber was told.
fn told<const FAULT: u8, const WRITERS: usize>(entries: [&'static [u32]; WRITERS]) -> Vec<u32> {
    let shard = Arc::new(Mutex::new(Shard::default()));
    let writers = entries.map(|entries| {
        let shard = Arc::clone(&shard);
        thread::spawn(move || entries.iter().for_each(|&entry| track(&shard, entry)))
    });
    let inbox = Arc::new(Inbox::new(Vec::new()));
    let mut told = subscribe::<FAULT>(&shard, &inbox);
    let tracked: usize = entries.iter().map(|entries| entries.len()).sum();
    for writer in writers {
        writer.join().unwrap();
    }
    let events = inbox.with(std::mem::take);
    assert!(told.iter().all(|entry| !events.contains(entry)), "{TWICE}: {told:?} {events:?}");
    told.extend(events);
    assert_eq!(told.len(), tracked, "{GAP}: {told:?}");
    assert_eq!(told, shard.lock().entries, "told in another order");
    told
}

fn a_snapshot_and_the_events_after_it_have_every_change_once<const FAULT: u8>(effort: Effort) {
    effort.explore(|| assert_eq!(told::<FAULT, 1>([&[1, 2]]), [1, 2]));
    // The reader sleeps until it was told of the last one.
    effort.explore(|| {
        let shard = Arc::new(Mutex::new(Shard::default()));
        let writer = thread::spawn({
            let shard = Arc::clone(&shard);
            move || track(&shard, 1)
        });
        let inbox = Arc::new(Inbox::new(Vec::new()));
        if subscribe::<FAULT>(&shard, &inbox).is_empty() {
            assert_eq!(inbox.wait(Vec::pop), 1);
        }
        writer.join().unwrap();
    });
}

fn two_writers_are_heard_of_in_their_order<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let told = told::<FAULT, 2>([&[1, 2], &[3]]);
        let place = |entry| told.iter().position(|&told| told == entry);
        assert!(place(1) < place(2), "told in another order than it was done");
    });
}
