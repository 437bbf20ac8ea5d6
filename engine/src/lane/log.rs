//! The log of a lane's recent operations: what each clock did, without its payload (the live entry has that, and an
//! entry that no longer lives needs none).

use std::collections::VecDeque;

/// What one clock did. `birth` names the entry: the clock at which it was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Logged {
    /// The entry born at this clock was added.
    Add,
    /// The entry was given a new version, whose dot is this clock.
    Update { birth: u64 },
    /// The entry was removed.
    Remove { birth: u64 },
}

impl Logged {
    /// In one word: clocks have 48 bits.
    fn pack(self) -> u64 {
        match self {
            Self::Add => 0,
            Self::Update { birth } => birth << 2 | 1,
            Self::Remove { birth } => birth << 2 | 2,
        }
    }

    fn unpack(word: u64) -> Self {
        let birth = word >> 2;
        match word & 3 {
            0 => Self::Add,
            1 => Self::Update { birth },
            _ => Self::Remove { birth },
        }
    }
}

/// A bounded log of consecutive clocks, oldest first.
#[derive(Debug)]
pub(crate) struct OperationLog {
    /// The clock before the oldest operation held.
    floor: u64,
    /// Packed.
    held: VecDeque<u64>,
    held_max: usize,
}

impl OperationLog {
    pub(crate) fn new(held_max: usize) -> Self {
        Self { floor: 0, held: VecDeque::new(), held_max }
    }

    /// Appends the operation of the next clock; the oldest falls out of a full log.
    pub(crate) fn push(&mut self, logged: Logged) {
        if self.held.len() == self.held_max {
            self.held.pop_front();
            self.floor += 1;
        }
        self.held.push_back(logged.pack());
    }

    /// The least clock from which a delta can still be told.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The operations of the clocks in `(lo, hi]`, with their clocks. Empty unless `floor <= lo`.
    pub(crate) fn range(&self, lo: u64, hi: u64) -> impl Iterator<Item = (u64, Logged)> + '_ {
        let skip = lo
            .checked_sub(self.floor)
            .map_or(self.held.len(), |skip| usize::try_from(skip).unwrap_or(usize::MAX));
        let take = usize::try_from(hi.saturating_sub(lo)).unwrap_or(usize::MAX);
        let held = self.held.iter().skip(skip).take(take);
        held.zip(lo + 1..).map(|(&word, clock)| (clock, Logged::unpack(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_forgets_the_oldest_and_knows_it() {
        let mut log = OperationLog::new(3);
        for clock in 1..=5_u64 {
            log.push(if clock == 4 { Logged::Remove { birth: 2 } } else { Logged::Add });
        }
        assert_eq!(log.floor(), 2);
        assert_eq!(
            log.range(2, 5).collect::<Vec<_>>(),
            [(3, Logged::Add), (4, Logged::Remove { birth: 2 }), (5, Logged::Add)]
        );
        assert_eq!(log.range(3, 4).collect::<Vec<_>>(), [(4, Logged::Remove { birth: 2 })]);
        assert_eq!(log.range(1, 5).count(), 0, "below the floor nothing can be told");
        assert_eq!(log.range(5, 5).count(), 0);
    }
}
