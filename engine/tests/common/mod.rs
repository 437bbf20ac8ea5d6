//! What the integration tests share: reading a subscription dry, replaying events, and nodes that are replicated by hand.
#![allow(dead_code)] // Every test binary compiles this and uses its own part of it.

pub(crate) mod peer;
pub(crate) mod replay;
pub(crate) mod stamped;

use headcount::{Config, Entry, EntryRef, Event, EventKind, Incarnation, NodeId, Subscription, Tracker};
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A view: every entry by the dot of its first version.
pub(crate) type View = BTreeMap<EntryRef, Entry>;

/// All that a tracker lists, topic by topic.
pub(crate) fn view(tracker: &Tracker) -> View {
    let mut view = View::new();
    for topic in tracker.topics() {
        for entry in tracker.list(&topic) {
            assert_eq!(*entry.topic(), topic);
            let again = view.insert(entry.joined_ref(), entry);
            assert!(again.is_none(), "listed twice: {again:?}");
        }
    }
    view
}

/// Everything that waits.
pub(crate) fn drain(events: &mut Subscription) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

/// Everything that waits, in short: `+key=meta`, `-key=meta`, `key:old>new`, `first topic`, `empty topic`, `up node`,
/// `down node`, `lagged n`.
pub(crate) fn told(events: &mut Subscription) -> Vec<String> {
    drain(events).iter().map(|event| short(&event.kind)).collect()
}

/// An event in short, as [`told`] has it.
pub(crate) fn short(kind: &EventKind) -> String {
    let shown = |entry: &Entry| format!("{}={}", entry.key_str(), entry.meta_str());
    match kind {
        EventKind::Join(entry) => format!("+{}", shown(entry)),
        EventKind::Leave(entry) => format!("-{}", shown(entry)),
        EventKind::Update { old, new } => {
            assert_eq!(old.key(), new.key());
            format!("{}:{}>{}", new.key_str(), old.meta_str(), new.meta_str())
        }
        EventKind::First(topic) => format!("first {topic}"),
        EventKind::Empty(topic) => format!("empty {topic}"),
        EventKind::NodeUp { node, incarnation } => format!("up {}.{}", node.0, incarnation.epoch),
        EventKind::NodeDown { node, incarnation } => format!("down {}.{}", node.0, incarnation.epoch),
        EventKind::Lagged { missed } => format!("lagged {missed}"),
        other => panic!("an event that these tests do not know: {other:?}"),
    }
}

/// A topic in pages of `page_len`, put together; fails if they do not end.
pub(crate) fn paged(tracker: &Tracker, topic: impl AsRef<[u8]>, page_len: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (at, page) in tracker.pages(topic, page_len).enumerate() {
        assert!(at < 10_000, "the pages do not end");
        entries.extend(page);
    }
    entries
}

/// Everything that can be observed of the tracker's state, to show that a refused operation changed nothing.
pub(crate) fn fingerprint(tracker: &Tracker) -> String {
    format!("{:?} {:?}", view(tracker), tracker.stats())
}

/// `key=meta` of a topic, in the order of the list.
pub(crate) fn listed(tracker: &Tracker, topic: &str) -> Vec<String> {
    tracker.list(topic).iter().map(|entry| format!("{}={}", entry.key_str(), entry.meta_str())).collect()
}

/// A tracker with that id and so many shards.
pub(crate) fn node(id: u32, shards: usize) -> Tracker {
    Config::default().node(NodeId(id)).shards(shards).build().expect("the configuration is valid")
}

/// The `epoch`-th life of a node.
pub(crate) fn life(epoch: u32) -> Incarnation {
    Incarnation { epoch, nonce: 7 }
}

/// Topics that a tracker of one shard and one of many put into one shard and into many.
pub(crate) fn topic_names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("topic:{at}")).collect()
}

/// Random-looking numbers that are the same in every run (Knuth's MMIX generator).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Unwinds like a panic, without the message on the terminal.
pub(crate) fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("a panic that the test wants"))
}

/// Runs `work` on a thread of its own and fails if it hangs, instead of hanging the whole run. The limit only ends a
/// failing test; no passing one comes near it.
pub(crate) fn must_not_hang<R: Send + 'static>(what: &str, work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, outcome) = mpsc::channel();
    let worker = thread::spawn(move || {
        let _ = done.send(work());
    });
    match outcome.recv_timeout(Duration::from_secs(20)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {what}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let payload = worker.join().expect_err("it sends unless it panics");
            std::panic::resume_unwind(payload)
        }
    }
}
