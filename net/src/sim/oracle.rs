//! The books: every operation of every lane, written down as its owner performs it, apart from replication.
//!
//! What a lane had at any clock is read from here, and what a receiver holds is compared with it. The digest is computed here anew,
//! from the same definition as the engine's.

use super::Breach;
use headcount::{Entry, EntryRef, EventKind, Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A process: one run of a node from its start to its end. It lives one life, or several if it has to jump above another.
pub(crate) type ProcessId = usize;

/// The end of a version that lives.
pub(crate) const STILL: u64 = u64::MAX;

/// One version of one entry.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) birth: u64,
    /// The clock that replaced or removed it.
    pub(crate) end: u64,
    topic: Box<[u8]>,
    key: Box<[u8]>,
    meta: Box<[u8]>,
}

impl Version {
    fn digest(&self, dot: u64) -> u64 {
        let content = xxh3_64_with_seed(&self.meta, xxh3_64_with_seed(&self.key, xxh3_64(&self.topic)));
        // The finalizer of SplitMix64.
        let mix = |number: u64| {
            let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        mix(content ^ mix(self.birth.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix(dot)))
    }

    pub(crate) fn is(&self, topic: &[u8], key: &[u8], meta: &[u8]) -> bool {
        *self.topic == *topic && *self.key == *key && *self.meta == *meta
    }
}

/// The history of one lane.
#[derive(Debug, Default)]
pub(crate) struct LaneBook {
    /// What each clock did, from clock 1; `None` for a removal.
    past: Vec<Option<Version>>,
    /// Entry → its live version.
    live: BTreeMap<u64, u64>,
    /// Entry → the clock that removed it.
    removed: BTreeMap<u64, u64>,
    /// Count and digest at each clock, from clock 0.
    sums: Vec<(u64, u64)>,
    /// How far the owner has told it.
    told: u64,
    /// Clocks at which the owner said that this is all.
    exact: BTreeSet<u64>,
}

impl LaneBook {
    pub(crate) fn clock(&self) -> u64 {
        self.past.len() as u64
    }

    pub(crate) fn version(&self, dot: u64) -> Option<&Version> {
        let at = usize::try_from(dot.checked_sub(1)?).ok()?;
        self.past.get(at)?.as_ref()
    }

    pub(crate) fn is_live(&self, birth: u64) -> bool {
        self.live.contains_key(&birth)
    }

    /// The clock that removed an entry, if one has.
    pub(crate) fn removal(&self, birth: u64) -> Option<u64> {
        self.removed.get(&birth).copied()
    }

    /// Live dots now, in the order of their entries' births.
    pub(crate) fn live_dots(&self) -> impl Iterator<Item = u64> + '_ {
        self.live.values().copied()
    }

    pub(crate) fn live_len(&self) -> usize {
        self.live.len()
    }

    /// Count and digest at a clock that has been.
    pub(crate) fn sum(&self, clock: u64) -> (u64, u64) {
        let at = usize::try_from(clock).unwrap_or(usize::MAX);
        self.sums.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn is_exact(&self, clock: u64) -> bool {
        clock == 0 || self.exact.contains(&clock)
    }

    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// The owner has told it so far. What is told short of the lane's clock leaves out versions that are replaced behind it.
    pub(crate) fn note_told(&mut self, clock: u64) {
        self.told = clock;
        if clock == self.clock() {
            self.exact.insert(clock);
        }
    }

    fn push(&mut self, version: Version, replaced: Option<u64>) {
        let dot = self.clock() + 1;
        let (mut count, mut digest) = self.sum(dot - 1);
        if let Some(old) = replaced {
            digest = digest.wrapping_sub(self.end(old, dot));
            count -= 1;
        }
        self.sums.resize(self.past.len() + 1, (0, 0));
        self.live.insert(version.birth, dot);
        self.sums.push((count + 1, digest.wrapping_add(version.digest(dot))));
        self.past.push(Some(version));
    }

    fn remove(&mut self, birth: u64) -> bool {
        let Some(old) = self.live.remove(&birth) else {
            return false;
        };
        let clock = self.clock() + 1;
        let (count, digest) = self.sum(clock - 1);
        let gone = self.end(old, clock);
        self.sums.push((count - 1, digest.wrapping_sub(gone)));
        self.past.push(None);
        self.removed.insert(birth, clock);
        true
    }

    /// Ends a version; returns what it had in the digest.
    fn end(&mut self, dot: u64, clock: u64) -> u64 {
        let at = usize::try_from(dot - 1).unwrap_or(usize::MAX);
        self.past.get_mut(at).and_then(Option::as_mut).map_or(0, |version| {
            version.end = clock;
            version.digest(dot)
        })
    }
}

/// The histories of all processes.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    books: Vec<Vec<LaneBook>>,
    lives: BTreeMap<(NodeId, Incarnation), ProcessId>,
}

impl Oracle {
    pub(crate) fn begin(&mut self, lanes: usize) -> ProcessId {
        self.books.push((0..lanes).map(|_| LaneBook::default()).collect());
        self.books.len() - 1
    }

    /// A process begins a life.
    pub(crate) fn begin_life(
        &mut self,
        node: NodeId,
        life: Incarnation,
        process: ProcessId,
    ) -> Result<(), Breach> {
        match self.lives.insert((node, life), process) {
            None => Ok(()),
            Some(_) => Err(Breach::new("4", format!("{node} lives {life} twice"))),
        }
    }

    pub(crate) fn process_of(&self, node: NodeId, life: Incarnation) -> Option<ProcessId> {
        self.lives.get(&(node, life)).copied()
    }

    pub(crate) fn book(&self, process: ProcessId, lane: u16) -> &LaneBook {
        &self.books[process][usize::from(lane)]
    }

    pub(crate) fn book_mut(&mut self, process: ProcessId, lane: u16) -> &mut LaneBook {
        &mut self.books[process][usize::from(lane)]
    }

    pub(crate) fn lanes(&self, process: ProcessId) -> u16 {
        u16::try_from(self.books[process].len()).unwrap_or(u16::MAX)
    }

    /// The book of another node's entry.
    pub(crate) fn book_of(&self, of: EntryRef) -> Result<&LaneBook, Breach> {
        self.process_of(of.node, of.incarnation)
            .and_then(|process| self.books[process].get(usize::from(of.lane)))
            .ok_or_else(|| Breach::new("4", format!("{of} is of a life or lane that there never was")))
    }

    /// A version as somebody else shows it has been, like this.
    pub(crate) fn check(&self, entry: &Entry) -> Result<&LaneBook, Breach> {
        let of = entry.entry_ref();
        let book = self.book_of(of)?;
        let known = book.version(of.clock).filter(|version| {
            version.birth == entry.joined_ref().clock && version.is(entry.topic(), entry.key(), entry.meta())
        });
        if known.is_none() {
            return Err(Breach::new("4", format!("its owner never made {entry:?}")));
        }
        Ok(book)
    }

    /// Writes down an operation of a process's own, told as an event to a subscription there.
    pub(crate) fn record(&mut self, process: ProcessId, kind: &EventKind) -> Result<(), Breach> {
        let (EventKind::Join(entry) | EventKind::Leave(entry) | EventKind::Update { new: entry, .. }) = kind
        else {
            return Ok(());
        };
        let at = entry.entry_ref();
        let birth = entry.joined_ref().clock;
        let book = self.book_mut(process, at.lane);
        let wrong = |what: &str| Err(Breach::new("local", format!("{what}: {entry:?}")));
        let version = || Version {
            birth,
            end: STILL,
            topic: entry.topic().as_bytes().into(),
            key: entry.key().into(),
            meta: entry.meta().into(),
        };
        match kind {
            EventKind::Leave(_) => {
                if book.live.get(&birth) != Some(&at.clock) || !book.remove(birth) {
                    return wrong("what left was not there");
                }
            }
            EventKind::Join(_) => {
                if at.clock != book.clock() + 1 || birth != at.clock {
                    return wrong("a join is not the next operation");
                }
                book.push(version(), None);
            }
            _ => {
                let old = book.live.get(&birth).copied();
                if at.clock != book.clock() + 1 || old.is_none() {
                    return wrong("an update is not the next operation");
                }
                book.push(version(), old);
            }
        }
        Ok(())
    }
}
