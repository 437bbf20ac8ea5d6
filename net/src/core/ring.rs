//! The ring of sent datagrams: what a peer missed is sent again from here, byte for byte.

use super::askers::Askers;
use super::io::Time;
use super::limits::Limits;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A datagram asked for again within this time by who was just sent it is on its way already.
const LINGER: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Sent {
    bytes: Vec<u8>,
    /// How many frames of the lanes' indices it accounts for.
    frames: Vec<(u16, u64, u64)>,
    /// When it was sent again lately, and to whom alone, if not to all.
    resent: Vec<(Time, Option<SocketAddr>)>,
}

/// What becomes of a request for one datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// It is held no longer.
    Gone,
    /// It was just sent there.
    Lingers,
    /// The asker has asked for it before, and it goes out soon.
    Before,
    /// It goes out soon, to so many. So many bytes.
    Noted { askers: usize, len: usize },
}

/// A datagram that is to be sent again.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) number: u64,
    /// When it was to be sent.
    pub(super) at: Time,
    pub(super) bytes: Vec<u8>,
    pub(super) askers: Vec<SocketAddr>,
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
    /// What is asked for and goes out soon.
    askers: Askers,
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
            askers: Askers::default(),
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
        self.sent.push_back(Sent { bytes, frames, resent: Vec::new() });
        while self.sent.len() > self.datagrams_max || self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.sent.pop_front() else { return };
        self.bytes -= oldest.bytes.len();
        self.askers.forget(self.first);
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

    fn get_mut(&mut self, number: u64) -> Option<&mut Sent> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.sent.get_mut(at)
    }

    /// Somebody lacks a datagram: it goes out again at `due`, unless it was just sent there.
    pub(super) fn ask(&mut self, now: Time, due: Time, number: u64, from: SocketAddr) -> Asked {
        let Some(sent) = self.get_mut(number) else {
            return Asked::Gone;
        };
        sent.resent.retain(|&(at, _)| now < at + LINGER);
        let reached = |&(_, to): &(Time, Option<SocketAddr>)| to.is_none_or(|to| to == from);
        if sent.resent.iter().any(reached) && !planted!(LingerIgnored) {
            return Asked::Lingers;
        }
        let len = sent.bytes.len();
        match self.askers.add(due, number, from) {
            (true, askers) => Asked::Noted { askers, len },
            (false, _) => Asked::Before,
        }
    }

    /// When the next datagram that was asked for is due.
    pub(super) fn due_at(&self) -> Option<Time> {
        self.askers.due_at()
    }

    /// Takes it, unless it has left the ring meanwhile: who lacks it asks again, and is told.
    pub(super) fn take_due(&mut self) -> Option<Due> {
        let (at, number, askers) = self.askers.take()?;
        self.get_mut(number).map(|sent| Due { number, at, bytes: sent.bytes.clone(), askers })
    }

    /// A datagram goes out again, to one alone or to all.
    pub(super) fn note_resent(&mut self, now: Time, number: u64, to: Option<SocketAddr>) {
        if let Some(sent) = self.get_mut(number) {
            sent.resent.push((now, to));
        }
    }

    /// What is wrong with the books of who asked, in words.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn broken_bound(&self) -> Option<String> {
        let (asked, queue) = self.askers.len();
        let is_bounded = asked <= self.sent.len() && queue <= 2 * asked + 1;
        (!is_bounded)
            .then(|| format!("{asked} datagrams of {} are asked for, {queue} queue", self.sent.len()))
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
    fn what_several_ask_for_within_a_moment_is_due_once_and_lingers_for_those_that_it_went_to() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let us = Duration::from_micros;
        let mut ring = Ring::new(1, &Limits::default());
        let ask = |ring: &mut Ring, at: Time, number, from| ring.ask(at, at + us(300), number, from);
        ring.push(vec![9; 30], vec![(0, 0, 1)]);
        ring.push(vec![8; 40], vec![(0, 1, 2)]);
        assert_eq!(ask(&mut ring, us(0), 0, a), Asked::Noted { askers: 1, len: 30 });
        assert_eq!(ask(&mut ring, us(100), 1, b), Asked::Noted { askers: 1, len: 40 });
        assert_eq!(ask(&mut ring, us(200), 0, a), Asked::Before);
        assert_eq!(ask(&mut ring, us(299), 0, b), Asked::Noted { askers: 2, len: 30 });
        assert_eq!(ask(&mut ring, us(299), 2, b), Asked::Gone);
        assert_eq!(ring.due_at(), Some(us(300)));
        let due = ring.take_due().unwrap();
        assert_eq!((due.at, due.number, due.bytes.len(), due.askers), (us(300), 0, 30, vec![a, b]));
        ring.note_resent(us(310), 0, Some(a));
        ring.note_resent(us(310), 0, Some(b));
        assert_eq!(ring.due_at(), Some(us(400)));
        assert_eq!(ring.take_due().unwrap().askers, [b]);
        ring.note_resent(us(410), 1, None);
        assert_eq!((ring.due_at(), ring.askers.len()), (None, (0, 0)));
        for asker in [a, b] {
            assert_eq!(ask(&mut ring, us(10_309), 0, asker), Asked::Lingers);
        }
        assert_eq!(ask(&mut ring, us(500), 0, c), Asked::Noted { askers: 1, len: 30 }, "it did not get that");
        for asker in [a, b, c] {
            assert_eq!(ask(&mut ring, us(10_409), 1, asker), Asked::Lingers, "all got it");
        }
        assert_eq!(ask(&mut ring, us(10_410), 1, a), Asked::Noted { askers: 1, len: 40 });
    }

    #[test]
    fn what_has_left_the_ring_is_asked_for_no_longer() {
        let a = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut ring = Ring::new(1, &Limits { ring_datagrams: 2, ..Limits::default() });
        for clock in 0..2 {
            ring.push(vec![7], vec![(0, clock, clock + 1)]);
            ring.ask(MS(0), MS(1), clock, a);
        }
        ring.push(vec![7], vec![(0, 2, 3)]);
        assert_eq!((ring.askers.len(), ring.broken_bound()), ((1, 2), None));
        assert!(ring.take_due().is_none(), "that was the one that has left");
        assert_eq!(ring.take_due().map(|due| due.number), Some(1));
        assert_eq!((ring.due_at(), ring.broken_bound()), (None, None));
    }
}
