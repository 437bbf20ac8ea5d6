//! The ring of sent datagrams: what a peer missed is sent again from here, byte for byte.

use super::io::Time;
use super::limits::Limits;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A datagram asked for again by the same peer within this time is on its way already.
const LINGER: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Sent {
    bytes: Vec<u8>,
    /// How many frames of the lanes' indices it accounts for.
    frames: Vec<(u16, u64, u64)>,
    resent: Option<(Time, SocketAddr)>,
}

/// The datagrams sent last, by what they tell of each lane.
#[derive(Debug)]
pub(super) struct Ring {
    sent: VecDeque<Sent>,
    /// The number of the oldest datagram held.
    first: u64,
    bytes: usize,
    /// For each lane, `(lo, hi, datagram)` in order.
    by_lane: Vec<VecDeque<(u64, u64, u64)>>,
    datagrams_max: usize,
    bytes_max: usize,
}

/// What a request for repair finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Datagrams to send again, by number, ascending.
    pub(super) datagrams: Vec<u64>,
    /// Part of the range is no longer held.
    pub(super) beyond: bool,
}

impl Ring {
    pub(super) fn new(lanes: u16, limits: &Limits) -> Self {
        Self {
            sent: VecDeque::new(),
            first: 0,
            bytes: 0,
            by_lane: vec![VecDeque::new(); usize::from(lanes)],
            datagrams_max: limits.ring_datagrams,
            bytes_max: limits.ring_bytes,
        }
    }

    /// Datagrams and bytes held.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.sent.len(), self.sent.iter().map(|sent| sent.bytes.len()).sum())
    }

    pub(super) fn push(&mut self, bytes: Vec<u8>, frames: Vec<(u16, u64, u64)>) {
        let number = self.first + self.sent.len() as u64;
        for &(lane, lo, hi) in &frames {
            self.by_lane[usize::from(lane)].push_back((lo, hi, number));
        }
        self.bytes += bytes.len();
        self.sent.push_back(Sent { bytes, frames, resent: None });
        while self.sent.len() > self.datagrams_max || self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.sent.pop_front() else { return };
        self.bytes -= oldest.bytes.len();
        self.first += 1;
        for (lane, ..) in oldest.frames {
            self.by_lane[usize::from(lane)].pop_front();
        }
    }

    /// Drops what was sent under numbers up to that.
    pub(super) fn drop_before(&mut self, packet: u64) {
        let old = |sent: &Sent| crate::wire::packet_of(&sent.bytes).is_some_and(|number| number <= packet);
        while self.sent.front().is_some_and(old) {
            self.drop_oldest();
        }
    }

    /// The datagrams that tell of clocks of a lane within `(lo, hi]`.
    pub(super) fn find(&self, lane: u16, lo: u64, hi: u64, found: &mut Found) {
        let Some(frames) = self.by_lane.get(usize::from(lane)) else {
            return;
        };
        let from = frames.partition_point(|&(_, frame_hi, _)| frame_hi <= lo);
        let mut covered = lo;
        for &(frame_lo, frame_hi, number) in frames.range(from..).take_while(|&&(frame_lo, ..)| frame_lo < hi)
        {
            if frame_lo > covered && !planted!(RingCoversHoles) {
                break;
            }
            covered = frame_hi;
            found.datagrams.push(number);
        }
        found.beyond |= covered < hi;
    }

    /// A datagram to send again to `to`, unless it was just sent there.
    pub(super) fn again(&mut self, number: u64, now: Time, to: SocketAddr) -> Option<&[u8]> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let sent = self.sent.get_mut(at)?;
        if sent.resent.is_some_and(|(when, whom)| whom == to && now < when + LINGER) {
            return None;
        }
        sent.resent = Some((now, to));
        Some(&sent.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn found(ring: &Ring, lane: u16, lo: u64, hi: u64) -> (Vec<u64>, bool) {
        let mut found = Found::default();
        ring.find(lane, lo, hi, &mut found);
        (found.datagrams, found.beyond)
    }

    #[test]
    fn a_range_finds_the_datagrams_that_overlap_it_and_says_what_is_gone() {
        let mut ring = Ring::new(2, &Limits::default());
        ring.push(vec![0], vec![(0, 5, 8), (1, 0, 2)]);
        ring.push(vec![1], vec![(1, 2, 4)]);
        ring.push(vec![2], vec![(0, 8, 9)]);
        assert_eq!(found(&ring, 0, 5, 9), (vec![0, 2], false));
        assert_eq!(found(&ring, 0, 6, 8), (vec![0], false));
        assert_eq!(found(&ring, 1, 2, 4), (vec![1], false));
        assert_eq!(found(&ring, 0, 3, 8), (vec![], true), "clocks 4 and 5 were never in the ring");
        assert_eq!(found(&ring, 0, 8, 11), (vec![2], true), "clocks beyond the last were not sent");
        assert_eq!(found(&ring, 7, 0, 1), (vec![], false), "a lane that there is not");
    }

    #[test]
    fn a_full_ring_drops_the_oldest_from_every_index() {
        let datagrams_max = 100;
        let mut ring = Ring::new(1, &Limits { ring_datagrams: datagrams_max, ..Limits::default() });
        for clock in 0..datagrams_max as u64 + 2 {
            ring.push(vec![0; 8], vec![(0, clock, clock + 1)]);
        }
        assert_eq!(ring.sent.len(), datagrams_max);
        assert_eq!(ring.by_lane[0].len(), datagrams_max);
        assert_eq!(found(&ring, 0, 1, 2), (vec![], true));
        assert_eq!(found(&ring, 0, 2, 3), (vec![2], false));
    }

    #[test]
    fn the_same_asker_is_not_answered_twice_at_once() {
        let (a, b) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        let mut ring = Ring::new(1, &Limits::default());
        ring.push(vec![9], vec![(0, 0, 1)]);
        assert!(ring.again(0, MS(0), a).is_some());
        assert!(ring.again(0, MS(5), a).is_none());
        assert!(ring.again(0, MS(6), b).is_some());
        assert!(ring.again(0, MS(16), b).is_some());
        assert!(ring.again(1, MS(16), b).is_none(), "never sent");
    }
}
