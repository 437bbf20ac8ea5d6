//! Deltas: what a lane did between two clocks.
//!
//! A delta of `(lo, hi]` says for each clock what is still worth knowing when it is told: an entry that lives is told whole at
//! the clock of its dot, as an `Update` if a receiver at `lo` has it already and as an `Add` otherwise; a removal is always
//! told; a version that was replaced or removed since is skipped. So a delta costs what is alive, and a receiver that applied
//! the deltas up to the owner's clock, in the order in which they were told, has exactly the owner's entries, wherever they were cut.
//!
//! A delta that ends short of the lane's clock leaves out versions that are replaced behind its end, so a receiver there lacks
//! entries that live. Until the clock at which it was told is passed, updates are therefore told as `Add`s. The same goes for a receiver that
//! has got only a part of a delta: it goes on with the rest of that one, or with a [`whole`](Replica::whole_delta) one.

use super::{DeltaError, LaneSummary, Replica};
use crate::Entry;
use crate::lane::Logged;
use crate::shard::{Entries, SlotId, State};
use crate::sync::Ordering;

/// One operation as it is told, borrowing its bytes. Consumes one clock ([`Skip`](Self::Skip): several).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// The entry born at `birth` lives at this clock; told whole.
    Add {
        /// The clock of its first version: this clock, or an earlier one if it was updated since.
        birth: u64,
        /// Its topic.
        topic: &'a [u8],
        /// Its key.
        key: &'a [u8],
        /// Its metadata.
        meta: &'a [u8],
    },
    /// The entry born at `birth`, which the receiver holds, has a new version at this clock.
    Update {
        /// The clock of its first version.
        birth: u64,
        /// Its new metadata.
        meta: &'a [u8],
    },
    /// The entry born at `birth` was removed. The receiver need not hold it.
    Remove {
        /// The clock of its first version.
        birth: u64,
    },
    /// Nothing that still matters happened for so many clocks, at least one.
    Skip {
        /// How many.
        count: u64,
    },
}

impl Op<'_> {
    /// How many clocks the operation consumes.
    #[must_use]
    pub fn clocks(&self) -> u64 {
        match self {
            Self::Skip { count } => *count,
            _ => 1,
        }
    }
}

/// A delta to be applied, borrowing its operations. It covers the clocks `(lo, hi]`.
#[derive(Clone, Copy, Debug)]
pub struct DeltaView<'a> {
    /// The owner's lane.
    pub lane: u16,
    /// The clock before the first operation.
    pub lo: u64,
    /// The clock of the last operation.
    pub hi: u64,
    /// The operations, whose clocks add up to `hi - lo`.
    pub ops: &'a [Op<'a>],
}

/// One operation of a delta made here.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeltaOp {
    /// See [`Op::Add`].
    Add(Entry),
    /// See [`Op::Update`].
    Update(Entry),
    /// See [`Op::Remove`].
    Remove {
        /// The clock of the removed entry's first version.
        birth: u64,
    },
    /// See [`Op::Skip`].
    Skip {
        /// How many clocks.
        count: u64,
    },
}

/// A delta of one of this node's lanes, for the clocks `(lo, hi]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    lane: u16,
    lo: u64,
    hi: u64,
    operations: Vec<DeltaOp>,
    summary: LaneSummary,
}

impl Delta {
    /// The lane.
    #[must_use]
    pub fn lane(&self) -> u16 {
        self.lane
    }

    /// The clock before the first operation.
    #[must_use]
    pub fn lo(&self) -> u64 {
        self.lo
    }

    /// The clock of the last operation.
    #[must_use]
    pub fn hi(&self) -> u64 {
        self.hi
    }

    /// The lane at the instant at which it was told. If the delta ends at its clock, who follows it has that count and digest.
    #[must_use]
    pub fn summary(&self) -> LaneSummary {
        self.summary
    }

    /// The operations, in order.
    pub fn ops(&self) -> impl Iterator<Item = Op<'_>> {
        self.operations.iter().map(|operation| match operation {
            DeltaOp::Add(entry) => Op::Add {
                birth: if planted!(ReplacedNotLogged) {
                    entry.entry_ref().clock
                } else {
                    entry.facts().birth
                },
                topic: entry.topic(),
                key: entry.key(),
                meta: entry.meta(),
            },
            DeltaOp::Update(entry) => Op::Update { birth: entry.facts().birth, meta: entry.meta() },
            DeltaOp::Remove { birth } => Op::Remove { birth: *birth },
            DeltaOp::Skip { count } => Op::Skip { count: *count },
        })
    }

    /// The operations, in order, with the entries that they are about.
    #[must_use]
    pub fn operations(&self) -> &[DeltaOp] {
        &self.operations
    }

    /// The delta in the form that [`Replica::apply`] takes; `ops` are those of [`ops`](Self::ops).
    #[must_use]
    pub fn view<'a>(&self, ops: &'a [Op<'a>]) -> DeltaView<'a> {
        DeltaView { lane: self.lane, lo: self.lo, hi: self.hi, ops }
    }
}

impl Replica {
    /// What an own lane did since clock `since`, at most `clocks_max` clocks of it.
    ///
    /// # Errors
    /// [`DeltaError`]: the lane or the clock does not exist, or the log no longer reaches back so far.
    pub fn delta(&self, lane: u16, since: u64, clocks_max: usize) -> Result<Delta, DeltaError> {
        self.tell(lane, since, clocks_max, false)
    }

    /// As [`delta`](Self::delta), for a receiver that may have got to `since` by a part of another delta: there are no
    /// [`Op::Update`]s in it, every entry is told whole.
    ///
    /// # Errors
    /// As for [`delta`](Self::delta).
    pub fn whole_delta(&self, lane: u16, since: u64, clocks_max: usize) -> Result<Delta, DeltaError> {
        self.tell(lane, since, clocks_max, true)
    }

    fn tell(&self, lane: u16, since: u64, clocks_max: usize, whole: bool) -> Result<Delta, DeltaError> {
        let shard = self.shard(lane).ok_or(DeltaError::NoSuchLane { lane, lanes: self.lanes() })?;
        shard.pinned(
            |state| {
                if since > state.lane.clock {
                    return Err(DeltaError::Ahead { clock: state.lane.clock });
                }
                if since < state.lane.log.floor() {
                    return Err(DeltaError::Compacted { oldest: state.lane.log.floor() });
                }
                Ok((state.delta(since, clocks_max, whole), state.lane.summary()))
            },
            |commons, chosen| {
                let (Chosen { hi, operations }, summary) = chosen?;
                let mut entries = Entries::new(commons);
                let told = |operation| match operation {
                    ChosenOp::Add(slot) => entries.read(slot).map(DeltaOp::Add),
                    ChosenOp::Update(slot) => entries.read(slot).map(DeltaOp::Update),
                    ChosenOp::Remove { birth } => Some(DeltaOp::Remove { birth }),
                    ChosenOp::Skip { count } => Some(DeltaOp::Skip { count }),
                };
                // Slots stay readable while they are pinned, so nothing is filtered out.
                let operations = operations.into_iter().filter_map(told).collect();
                Ok(Delta { lane, lo: since, hi, operations, summary })
            },
        )
    }
}

/// A delta whose entries are still to be read: their slots.
struct Chosen {
    hi: u64,
    operations: Vec<ChosenOp>,
}

enum ChosenOp {
    Add(SlotId),
    Update(SlotId),
    Remove { birth: u64 },
    Skip { count: u64 },
}

impl State {
    fn delta(&self, lo: u64, clocks_max: usize, whole: bool) -> Chosen {
        let hi = self.lane.clock.min(lo.saturating_add(clocks_max as u64));
        let mut operations = Vec::new();
        // Relaxed: who tells one receiver two deltas tells them in order, and so sees what the first has left here.
        let holds_what_lives =
            !whole && (lo >= self.lane.cut_as_of.load(Ordering::Relaxed) || planted!(CutIgnored));
        if hi < self.lane.clock {
            self.lane.cut_as_of.fetch_max(self.lane.clock, Ordering::Relaxed);
        }
        for (clock, logged) in self.lane.log.range(lo, hi) {
            let live = || self.lane.dots.get(clock);
            let operation = match logged {
                Logged::Remove { birth } => ChosenOp::Remove { birth },
                Logged::Update { birth }
                    if birth <= lo && holds_what_lives && !planted!(ReplacedNotLogged) =>
                {
                    live().map_or(ChosenOp::Skip { count: 1 }, ChosenOp::Update)
                }
                Logged::Add | Logged::Update { .. } => {
                    live().map_or(ChosenOp::Skip { count: 1 }, ChosenOp::Add)
                }
            };
            match (operations.last_mut(), operation) {
                (Some(ChosenOp::Skip { count }), ChosenOp::Skip { .. }) => *count += 1,
                (_, operation) => operations.push(operation),
            }
        }
        Chosen { hi, operations }
    }
}
