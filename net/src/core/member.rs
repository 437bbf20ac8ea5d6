//! A member: another node as this one hears it, and where this one is in each of its lanes.

use super::io::{StreamId, Time};
use super::liveness::Liveness;
use headcount::replica::LaneSummary;
use headcount::{Incarnation, NodeId, NodeState};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Whether a member is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MemberState {
    /// Heard in time.
    Up,
    /// Not heard for a while by this node, but by others: the way from there to here is broken. Its entries are still listed, and
    /// its changes come through one of the others.
    UpIndirect,
    /// Not heard for a while; its entries are still listed.
    Suspect,
    /// It has said goodbye, and that its entries are to stay listed for a while: another life of it may be about to take its place.
    Leaving,
    /// Not heard for so long that its entries have left. They are kept, and come back with it.
    Down,
}

/// A delta that waits for the ones in front of it.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) hi: u64,
    /// The body of the datagram that it came in.
    pub(super) body: Arc<[u8]>,
}

/// Where this node is in one lane of another.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The clock held, as the engine last said.
    pub(super) clock: u64,
    /// The highest clock that the owner is known to have reached.
    pub(super) target: u64,
    /// The owner's clock was heard since this life of it was met; until then a gap is not worth a request.
    pub(super) primed: bool,
    /// The owner's clock was heard since the owner was last out of hearing.
    pub(super) confirmed: bool,
    /// A stream is to be asked for it.
    pub(super) needs_snapshot: bool,
    /// One was.
    pub(super) in_transfer: bool,
    /// It is not what its owner's was at any clock: a stream brings it, or broke off, or it has diverged. Only the end of a stream mends
    /// that; deltas wait for it.
    pub(super) unclean: bool,
    /// What is missing up to this clock is left to a stream; what is missing above it is asked for.
    pub(super) left_to_stream: u64,
    /// Deltas that came too early, by their lower clock.
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// Since when something is missing that is to be repaired.
    pub(super) gap_since: Option<Time>,
    /// When to ask for what is missing.
    pub(super) nak_at: Option<Time>,
    /// Requests that nothing has come of.
    pub(super) naks: u8,
    /// The last request since something was first missing reached up to this clock; 0 if there was none.
    pub(super) asked_to: u64,
    /// The owner's heartbeat as of which its clock is known.
    pub(super) named: u64,
    /// What its owner has said of it at a clock that was held then, and it was so.
    pub(super) attested: Option<LaneSummary>,
    /// The clock that another has brought it to, until its owner has named it or a later one; and since when the owner names earlier ones.
    pub(super) relayed: Option<(u64, Option<Time>)>,
}

impl Lane {
    pub(super) fn is_synced(&self) -> bool {
        self.primed && !self.needs_snapshot && !self.in_transfer && self.clock >= self.target
    }

    /// A stream is to bring it, or brings it.
    pub(super) fn awaits_stream(&self) -> bool {
        self.needs_snapshot || self.in_transfer
    }

    /// A stream that is to bring it, if there is one, brings whatever is missing until it is there.
    pub(super) fn leave_to_stream(&mut self) {
        if self.awaits_stream() {
            self.left_to_stream = u64::MAX;
            self.nak_at = None;
            self.gap_since = None;
        }
    }

    /// Nothing is missing any more: no stream is needed, and nothing to be asked for. Since when something was, if a repair was to mend it.
    pub(super) fn close(&mut self) -> Option<Time> {
        self.nak_at = None;
        self.asked_to = 0;
        if !self.unclean {
            self.needs_snapshot = false;
            self.in_transfer = false;
            self.left_to_stream = 0;
        }
        self.gap_since.take()
    }

    /// Something is missing between the clock held and what is known to be.
    pub(super) fn has_gap(&self) -> bool {
        self.clock < self.target
    }

    /// The ranges missing that no stream is to bring, in order.
    pub(super) fn missing(&self) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut clock = self.clock.max(self.left_to_stream);
        for (&lo, waiting) in &self.waiting {
            if lo > clock {
                missing.push((clock, lo));
            }
            clock = clock.max(waiting.hi);
        }
        if clock < self.target {
            missing.push((clock, self.target));
        }
        missing
    }

    /// Drops what waits; returns how many bytes that were.
    pub(super) fn drop_waiting(&mut self) -> usize {
        std::mem::take(&mut self.waiting).values().map(|waiting| waiting.body.len()).sum()
    }
}

/// Another node.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) incarnation: Incarnation,
    pub(super) session: u64,
    pub(super) addr: SocketAddr,
    pub(super) tcp_port: u16,
    pub(super) lanes: Vec<Lane>,
    pub(super) heard: Time,
    pub(super) state: MemberState,
    /// Its entries are hidden: it was down, and what went meanwhile is not known yet.
    pub(super) hidden: bool,
    /// The life before this one, whose entries are listed until those of this one are.
    pub(super) before: Option<Incarnation>,
    /// While it is heard and hidden: when it is shown at the latest.
    pub(super) show_by: Time,
    pub(super) waiting_bytes: usize,
    /// The snapshot stream under way from it.
    pub(super) transfer: Option<StreamId>,
    /// When to begin one.
    pub(super) transfer_at: Option<Time>,
    pub(super) transfer_failures: u32,
    /// The last stream from it brought more than this node's limits allow. Others would bring no less.
    pub(super) is_over_limit: bool,
    /// While it is down: when to ask whether it is there.
    pub(super) probe_at: Time,
    /// The epochs of the keys that it has, as it said last.
    pub(super) epochs: Vec<u16>,
    /// No lane has anything to ask for before this.
    pub(super) nak_due: Time,
    pub(super) liveness: Liveness,
    /// When it was last heard by the group.
    pub(super) group_heard: Time,
    /// Until when it gets copies of what is sent to the group.
    pub(super) copies_until: Time,
    /// When to ask others for its lanes, or to look whether that is needed.
    pub(super) relay_at: Time,
    /// It has said goodbye, counts as down, and is listed until then.
    pub(super) leaves_at: Option<Time>,
    /// How many datagrams it has lost for want of room, as it said last.
    pub(super) drops: Option<u64>,
}

impl Member {
    pub(super) fn is_synced(&self) -> bool {
        self.lanes.iter().all(Lane::is_synced)
    }

    /// What the application is shown of it.
    pub(super) fn shown(&self) -> NodeState {
        match self.state {
            // Its goodbye says for how long.
            _ if self.leaves_at.is_some() => NodeState::Suspect,
            MemberState::Down => NodeState::Down,
            _ if self.hidden => NodeState::Down,
            MemberState::Up => NodeState::Up,
            MemberState::UpIndirect | MemberState::Suspect | MemberState::Leaving => NodeState::Suspect,
        }
    }

    /// Nothing that went while it was out of hearing is still held.
    pub(super) fn has_caught_up(&self) -> bool {
        self.lanes.iter().all(|lane| lane.confirmed && lane.is_synced())
    }

    /// Asks for a snapshot of a lane, soon; nothing else brings it.
    pub(super) fn want_snapshot(&mut self, lane: u16, at: Time) {
        self.want_snapshot_beside(lane, at);
        self.lanes[usize::from(lane)].leave_to_stream();
    }

    /// Asks for a snapshot of a lane, soon, beside the requests for what it lacks.
    pub(super) fn want_snapshot_beside(&mut self, lane: u16, at: Time) {
        self.lanes[usize::from(lane)].needs_snapshot = true;
        if self.transfer_at.is_none() {
            self.transfer_at = Some(at);
        }
    }

    /// A stream from it can be begun: there is none yet, and nothing says that it would be in vain.
    pub(super) fn is_to_be_asked(&self) -> bool {
        self.transfer.is_none() && !matches!(self.state, MemberState::Down | MemberState::UpIndirect)
    }

    /// Keeps a delta until what is in front of it has come. False if there is no room: what waited in its lane is dropped.
    pub(super) fn keep_waiting(
        &mut self,
        lane: u16,
        (lo, hi): (u64, u64),
        body: &Arc<[u8]>,
        bytes_max: usize,
    ) -> bool {
        let at = usize::from(lane);
        if self.waiting_bytes + body.len() > bytes_max && !planted!(WaitingUnbounded) {
            self.waiting_bytes -= self.lanes[at].drop_waiting();
            return false;
        }
        let waiting = Waiting { hi, body: Arc::clone(body) };
        self.waiting_bytes += body.len();
        if let Some(other) = self.lanes[at].waiting.insert(lo, waiting) {
            self.waiting_bytes -= other.body.len();
        }
        true
    }

    /// Takes the next waiting delta of a lane that its clock has reached.
    pub(super) fn take_waiting(&mut self, lane: u16) -> Option<(u64, Waiting)> {
        let lane = &mut self.lanes[usize::from(lane)];
        let first = lane.waiting.first_entry().filter(|first| *first.key() <= lane.clock)?;
        let (lo, waiting) = first.remove_entry();
        self.waiting_bytes -= waiting.body.len();
        Some((lo, waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_is_what_lies_between_the_clock_the_waiting_and_the_target() {
        let mut lane = Lane { clock: 4, target: 20, primed: true, ..Lane::default() };
        let body: Arc<[u8]> = Arc::new([]);
        for (lo, hi) in [(6, 9), (9, 11), (15, 16)] {
            lane.waiting.insert(lo, Waiting { hi, body: Arc::clone(&body) });
        }
        assert_eq!(lane.missing(), [(4, 6), (11, 15), (16, 20)]);
        lane.left_to_stream = 12;
        assert_eq!(lane.missing(), [(12, 15), (16, 20)], "a stream brings the rest");
        lane.left_to_stream = u64::MAX;
        assert_eq!(lane.missing(), []);
        assert!(!lane.is_synced() && lane.has_gap());
    }
}
