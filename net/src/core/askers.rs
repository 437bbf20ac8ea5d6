//! Who lacks which datagram. What is asked for is sent after a moment, so that others who lack it are heard too: once to all of
//! them then, if there is a way to all.

use super::io::Time;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// See the module's documentation. Each datagram of the ring is in it once at most.
#[derive(Debug, Default)]
pub(super) struct Askers {
    /// When each is due, in that order.
    queue: VecDeque<(Time, u64)>,
    by_datagram: BTreeMap<u64, Vec<SocketAddr>>,
}

impl Askers {
    /// Somebody lacks the datagram with that number; if nobody did before, it is due then. Whether that is new, and how many lack it by
    /// now.
    pub(super) fn add(&mut self, due: Time, number: u64, from: SocketAddr) -> (bool, usize) {
        let askers = self.by_datagram.entry(number).or_default();
        if askers.is_empty() {
            self.queue.push_back((due, number));
        }
        let is_new = !askers.contains(&from);
        if is_new {
            askers.push(from);
        }
        (is_new, askers.len())
    }

    /// When the next datagram is due.
    pub(super) fn due_at(&self) -> Option<Time> {
        self.queue.front().map(|&(at, _)| at)
    }

    /// Takes it: when it was due, its number, and who lacks it.
    pub(super) fn take(&mut self) -> Option<(Time, u64, Vec<SocketAddr>)> {
        let (at, number) = self.queue.pop_front()?;
        Some((at, number, self.by_datagram.remove(&number).unwrap_or_default()))
    }

    /// A datagram is held no longer.
    pub(super) fn forget(&mut self, number: u64) {
        if self.by_datagram.remove(&number).is_some() && self.queue.len() > 2 * self.by_datagram.len() {
            let by_datagram = &self.by_datagram;
            self.queue.retain(|(_, number)| by_datagram.contains_key(number));
        }
    }

    /// Datagrams asked for, and places in the queue: at most twice as many, and one.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_datagram.len(), self.queue.len())
    }
}
