//! Which packets of a session have come: each is taken once.

use std::fmt;

/// How far back a packet may be. As many as the ring of sent datagrams holds, because a repair is the old datagram again, byte for
/// byte and under its old number: what may be repaired must not look like a replay.
pub(super) const WINDOW: u64 = 16 * 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// The packets within [`WINDOW`] of the highest that has come.
pub(super) struct Window {
    top: u64,
    /// A bit for each packet, by its number modulo [`WINDOW`].
    bits: Box<[u64; WORDS]>,
}

/// What a packet number is to a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// The highest so far.
    Newest,
    /// Late, or a repair: it has not come before.
    New,
    /// It has come before.
    Seen,
    /// So old that nobody knows.
    Behind,
}

impl Window {
    /// Takes only what comes after that packet: the ones before count as seen.
    pub(super) fn after(packet: u64) -> Self {
        Self { top: packet, bits: Box::new([u64::MAX; WORDS]) }
    }

    fn bit(packet: u64) -> (usize, u64) {
        let at = packet % WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }

    /// What the packet would be, without taking it.
    pub(super) fn look(&self, packet: u64) -> Arrival {
        let (word, bit) = Self::bit(packet);
        if packet > self.top {
            Arrival::Newest
        } else if self.top - packet >= WINDOW {
            Arrival::Behind
        } else if self.bits[word] & bit != 0 {
            Arrival::Seen
        } else {
            Arrival::New
        }
    }

    /// Takes a packet, if it is one to take.
    pub(super) fn take(&mut self, packet: u64) -> Arrival {
        let arrival = self.look(packet);
        if arrival == Arrival::Newest {
            self.advance(packet);
        }
        if matches!(arrival, Arrival::Newest | Arrival::New) {
            let (word, bit) = Self::bit(packet);
            self.bits[word] |= bit;
        }
        arrival
    }

    /// Forgets what falls out behind.
    fn advance(&mut self, top: u64) {
        if top - self.top >= WINDOW {
            self.bits.fill(0);
        } else {
            let mut ahead = top - self.top;
            while ahead > 0 {
                let (word, bit) = Self::bit(top - (ahead - 1));
                if bit == 1 && ahead >= 64 {
                    self.bits[word] = 0;
                    ahead -= 64;
                } else {
                    self.bits[word] &= !bit;
                    ahead -= 1;
                }
            }
        }
        self.top = top;
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("top", &self.top).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_packet_is_taken_once_and_not_from_behind_the_window() {
        let mut window = Window::after(0);
        assert_eq!(window.take(0), Arrival::Seen);
        assert_eq!(window.take(WINDOW), Arrival::Newest);
        assert_eq!(window.take(WINDOW), Arrival::Seen);
        assert_eq!(window.take(1), Arrival::New);
        assert_eq!(window.take(0), Arrival::Behind);
        assert_eq!(window.take(WINDOW + 1), Arrival::Newest);
        assert_eq!(window.take(1), Arrival::Behind);
        assert_eq!(window.take(u64::MAX), Arrival::Newest);
        assert_eq!(window.take(u64::MAX - WINDOW + 1), Arrival::New);
        assert_eq!(window.take(u64::MAX - WINDOW), Arrival::Behind);
    }

    proptest! {
        /// Against a set of all numbers that were ever taken.
        #[test]
        fn a_window_is_a_set_of_the_last_numbers(
            start in prop_oneof![0_u64..100_000, Just(u64::MAX - 200_000)],
            steps in vec(prop_oneof![6 => -80_i64..80, 2 => -20_000_i64..20_000, 1 => Just(16_384), 1 => Just(-16_383)], 1..300),
        ) {
            let (mut window, mut taken) = (Window::after(start), BTreeSet::new());
            let (mut packet, mut top) = (start, start);
            for step in steps {
                packet = packet.saturating_add_signed(step);
                let expected = if packet > top {
                    Arrival::Newest
                } else if top - packet >= WINDOW {
                    Arrival::Behind
                } else if packet <= start || taken.contains(&packet) {
                    Arrival::Seen
                } else {
                    Arrival::New
                };
                prop_assert_eq!(window.look(packet), expected);
                prop_assert_eq!(window.take(packet), expected);
                if matches!(expected, Arrival::Newest | Arrival::New) {
                    prop_assert!(taken.insert(packet), "taken twice");
                }
                top = top.max(packet);
            }
        }
    }
}
