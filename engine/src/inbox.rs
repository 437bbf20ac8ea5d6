//! The bounded queue of one subscription: what a slow reader is spared and what it is told.
//!
//! Events queue in order up to the limit. At the limit, an update of an entry whose latest event still waits in the
//! queue is folded into that event (the latest state of a key wins); any other event is missed and counted. The reader
//! gets what had queued, then `Lagged` where the gap is, then what came after: never a block for the writer, never
//! memory beyond the limit.

use crate::Entry;
use crate::entry::OriginIx;
use crate::event::{Event, EventKind};
use crate::kernel::mailbox::Mailbox;
use std::collections::{HashMap, VecDeque};
use std::task::Waker;

/// The name of an entry through all its versions.
type EntryName = (OriginIx, u16, u64);

fn name_of(entry: &Entry) -> EntryName {
    (entry.facts().origin, entry.facts().lane, entry.facts().birth)
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<Event>,
    waiting_max: usize,
    /// How many events were taken so far: the sequence number of the front.
    taken: u64,
    /// While the queue is full: the sequence number of the latest waiting event of each entry.
    latest: Option<HashMap<EntryName, u64, ahash::RandomState>>,
    /// Missed since the last `Lagged`. While it is not 0 nothing is appended, so that the gap keeps its place.
    missed: u64,
    missed_total: u64,
    /// Of these, how many are in the error log.
    missed_noted: u64,
    closed: bool,
}

/// What a look into the queue found.
pub(crate) enum Look {
    Event(Event),
    Closed,
}

impl Queue {
    fn new(waiting_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_max,
            taken: 0,
            latest: None,
            missed: 0,
            missed_total: 0,
            missed_noted: 0,
            closed: false,
        }
    }

    fn push(&mut self, event: &Event) {
        if self.closed {
            return;
        }
        if self.missed == 0 && self.waiting.len() < self.waiting_max {
            self.waiting.push_back(event.clone());
            // It may be the latest of its entry now.
            self.latest = None;
            return;
        }
        if !self.fold(event) {
            self.missed += 1;
            self.missed_total += 1;
        }
    }

    /// Folds an update into the waiting latest event of the same entry; false if there is none.
    fn fold(&mut self, event: &Event) -> bool {
        let EventKind::Update { new, .. } = &event.kind else {
            return false;
        };
        let Self { latest, waiting, taken, .. } = self;
        let latest = latest.get_or_insert_with(|| {
            let mut latest = HashMap::default();
            for (at, waiting) in (*taken..).zip(&*waiting) {
                if let EventKind::Join(entry)
                | EventKind::Leave(entry)
                | EventKind::Update { new: entry, .. } = &waiting.kind
                {
                    latest.insert(name_of(entry), at);
                }
            }
            latest
        });
        let Some(at) = latest.get(&name_of(new)).and_then(|at| at.checked_sub(*taken)) else {
            return false;
        };
        let Some(waiting) = usize::try_from(at).ok().and_then(|at| waiting.get_mut(at)) else {
            return false;
        };
        match &mut waiting.kind {
            EventKind::Join(held) | EventKind::Update { new: held, .. } => {
                *held = new.clone();
                waiting.version = event.version;
                true
            }
            _ => false,
        }
    }

    fn pop(&mut self) -> Option<Look> {
        if let Some(event) = self.waiting.pop_front() {
            self.taken += 1;
            return Some(Look::Event(event));
        }
        self.latest = None;
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            return Some(Look::Event(Event { shard: 0, version: 0, kind: EventKind::Lagged { missed } }));
        }
        self.closed.then_some(Look::Closed)
    }

    fn clear(&mut self) {
        self.taken += self.waiting.len() as u64;
        self.waiting.clear();
        self.latest = None;
        self.missed = 0;
    }
}

/// A subscription's queue with its bell, shared by the subscription and the shards that feed it.
#[derive(Debug)]
pub(crate) struct Inbox(pub(crate) Mailbox<Queue>);

impl Inbox {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self(Mailbox::new(Queue::new(waiting_max)))
    }

    pub(crate) fn push(&self, event: &Event) {
        self.0.with(|queue| queue.push(event));
    }

    /// Wakes the reader. A panic in a foreign waker stays with its subscription and reaches no writer.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.0.ring() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Waker::wake(waker)));
        }
    }

    pub(crate) fn close(&self) {
        self.0.with(|queue| queue.closed = true);
        self.wake();
    }

    pub(crate) fn clear(&self) {
        self.0.with(Queue::clear);
    }

    /// Something is missed that would have been queued.
    pub(crate) fn miss(&self) {
        self.0.with(|queue| {
            queue.missed += 1;
            queue.missed_total += 1;
        });
    }

    /// Drops what waits of one shard, whose new snapshot has it. The caller holds that shard's lock, so nothing more of it
    /// comes meanwhile.
    pub(crate) fn forget_shard(&self, shard: u16) {
        self.0.with(|queue| {
            queue.waiting.retain(|event| event.version == 0 || event.shard != shard);
            queue.latest = None;
        });
    }

    /// How many events wait, whether some are missed that the reader has not been told of, and how many were in all.
    pub(crate) fn measure(&self) -> (usize, bool, u64) {
        self.0.with(|queue| (queue.waiting.len(), queue.missed > 0, queue.missed_total))
    }

    /// How many events were missed since this was asked last.
    pub(crate) fn newly_missed(&self) -> u64 {
        self.0.with(|queue| {
            let noted = std::mem::replace(&mut queue.missed_noted, queue.missed_total);
            queue.missed_total - noted
        })
    }

    pub(crate) fn look(queue: &mut Queue) -> Option<Look> {
        queue.pop()
    }
}
