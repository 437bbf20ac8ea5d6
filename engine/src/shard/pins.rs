//! Slots and topics that are gone and still read.

use std::collections::{BTreeSet, VecDeque};

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Slot(u32),
    Topic(u32),
}

/// Pins: readers outside the lock of slots that they chose under it. What goes is kept as long as a pin lasts that began before;
/// later pins did not choose it.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// The number of the latest pin.
    latest: u64,
    lasting: BTreeSet<u64>,
    /// Each with the number of the latest pin when it went; ascending.
    kept: VecDeque<(u64, Kept)>,
}

impl Pins {
    pub(super) fn begin(&mut self) -> u64 {
        self.latest += 1;
        self.lasting.insert(self.latest);
        self.latest
    }

    pub(super) fn end(&mut self, pin: u64) {
        self.lasting.remove(&pin);
    }

    /// Whether nobody reads: what is there may be changed where it is.
    pub(super) fn is_idle(&self) -> bool {
        self.lasting.is_empty()
    }

    /// Keeps what goes now; false if nobody reads.
    pub(super) fn keep(&mut self, kept: Kept) -> bool {
        if self.lasting.is_empty() {
            return false;
        }
        self.kept.push_back((self.latest, kept));
        true
    }

    pub(super) fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Takes out something for which no pin lasts any more.
    pub(super) fn next_free(&mut self) -> Option<Kept> {
        let &(latest, kept) = self.kept.front()?;
        if self.lasting.first().is_some_and(|&oldest| oldest <= latest) {
            return None;
        }
        self.kept.pop_front();
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_kept_for_pins_that_began_before_and_for_no_others() {
        let mut pins = Pins::default();
        assert!(!pins.keep(Kept::Slot(1)), "nobody reads");
        let first = pins.begin();
        assert!(pins.keep(Kept::Slot(2)));
        let second = pins.begin();
        assert!(pins.keep(Kept::Topic(3)));
        assert_eq!(pins.next_free(), None);
        pins.end(first);
        assert_eq!((pins.next_free(), pins.next_free()), (Some(Kept::Slot(2)), None));
        let _third = pins.begin();
        pins.end(second);
        assert_eq!((pins.next_free(), pins.next_free()), (Some(Kept::Topic(3)), None));
        assert!(!pins.keeps_any());
    }
}
