//! All that a lane ever did, in the order of its clock.

use headcount::Entry;
use std::collections::BTreeMap;

/// One operation; its clock is its place.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A new version: of a new entry if its birth is this clock.
    Version(Entry),
    Removal {
        birth: u64,
    },
}

/// Live entries by birth.
pub(crate) type Live = BTreeMap<u64, Entry>;

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    changes: Vec<Change>,
    live: Live,
}

pub(crate) fn birth(entry: &Entry) -> u64 {
    entry.joined_ref().clock
}

pub(crate) fn dot(entry: &Entry) -> u64 {
    entry.entry_ref().clock
}

impl History {
    pub(crate) fn clock(&self) -> u64 {
        self.changes.len() as u64
    }

    /// Live entries now.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Appends an operation, which must be the next.
    pub(crate) fn version(&mut self, entry: &Entry) {
        assert_eq!(dot(entry), self.clock() + 1, "a version takes the lane's next clock: {entry:?}");
        let before = self.live.insert(birth(entry), entry.clone());
        match before {
            None => assert_eq!(birth(entry), dot(entry), "a new entry is born at its clock"),
            Some(before) => {
                assert_eq!((before.topic(), before.key()), (entry.topic(), entry.key()));
                assert_eq!(entry.prev_ref(), Some(before.entry_ref()));
            }
        }
        self.changes.push(Change::Version(entry.clone()));
    }

    pub(crate) fn removal(&mut self, entry: &Entry) {
        assert_eq!(self.live.remove(&birth(entry)).as_ref(), Some(entry), "removed, and not there like that");
        self.changes.push(Change::Removal { birth: birth(entry) });
    }

    /// Live entries after the operation at `clock`.
    pub(crate) fn at(&self, clock: u64) -> Live {
        let mut live = Live::new();
        for change in &self.changes[..usize::try_from(clock).expect("short")] {
            match change {
                Change::Version(entry) => _ = live.insert(birth(entry), entry.clone()),
                Change::Removal { birth } => _ = live.remove(birth),
            }
        }
        live
    }

    /// The version that the operation at `clock` made.
    pub(crate) fn version_at(&self, clock: u64) -> Option<&Entry> {
        match self.changes.get(usize::try_from(clock).expect("short").checked_sub(1)?)? {
            Change::Version(entry) => Some(entry),
            Change::Removal { .. } => None,
        }
    }

    /// Versions of an entry, oldest first.
    pub(crate) fn versions_of(&self, of: u64) -> impl Iterator<Item = &Entry> {
        self.changes.iter().filter_map(move |change| match change {
            Change::Version(entry) if birth(entry) == of => Some(entry),
            _ => None,
        })
    }

    /// The clock at which the entry was removed.
    pub(crate) fn removed_at(&self, of: u64) -> Option<u64> {
        let removal = |change: &Change| matches!(change, Change::Removal { birth } if *birth == of);
        self.changes.iter().position(removal).map(|at| at as u64 + 1)
    }
}
