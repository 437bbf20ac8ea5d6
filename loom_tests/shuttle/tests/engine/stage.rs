//! What the tests write, and what every reader expects of what it sees.

pub(crate) use crate::common::stamped::{meta, whole};
use headcount::{Config, Entry, EntryRef, NodeId, Tracker};
use std::collections::BTreeMap;

/// A tracker of one shard, where everything meets, with the smallest memory.
pub(crate) fn small() -> Tracker {
    node(1)
}

/// The same, of a node.
pub(crate) fn node(id: u32) -> Tracker {
    let config = Config::default().node(NodeId(id)).shards(1).origins_max(16).memory_max(1 << 24);
    config.build().expect("the configuration is valid")
}

/// Checks a list: whole entries, none twice, in the order in which they came, and each of `residents` once.
pub(crate) fn check_list(topic: &str, entries: &[Entry], residents: &[String]) {
    let mut seen = BTreeMap::new();
    let mut last = 0;
    for entry in entries {
        assert_eq!(**entry.topic(), *topic.as_bytes());
        whole(topic.as_bytes(), entry.key(), entry.meta());
        // One lane, so births are in the order of the joins.
        let birth = entry.joined_ref().clock;
        assert!(birth > last, "out of order or twice: {entry:?}");
        last = birth;
        *seen.entry(entry.key().to_vec()).or_insert(0) += 1;
    }
    for key in residents {
        assert_eq!(seen.get(key.as_bytes()), Some(&1), "a resident is listed once: {key}");
    }
}

/// What a reader remembers of keys, to see that none goes back in time.
#[derive(Default)]
pub(crate) struct Clocks(BTreeMap<EntryRef, (u64, u64)>);

impl Clocks {
    /// Takes an entry in: whole, and not older than what was seen of it before.
    pub(crate) fn see(&mut self, entry: &Entry) {
        let round = whole(entry.topic(), entry.key(), entry.meta());
        let now = (entry.entry_ref().clock, round);
        let before = self.0.insert(entry.joined_ref(), now).unwrap_or_default();
        assert!(
            before <= now && (before.0 == now.0) == (before.1 == now.1 && before.0 > 0),
            "time went back"
        );
        assert!(entry.prev_ref().is_none_or(|prev| prev.clock < now.0));
    }
}
