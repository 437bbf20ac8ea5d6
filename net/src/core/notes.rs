//! What the core notes for whoever traces it (feature `tracing`): kept until the driver takes it, and told from there.
//!
//! The core does not tell it itself. A subscriber is code of the application's: it may take its time, read clocks and panic, and a panic under
//! [`guarded`](Core::guarded) would put a blameless node in quarantine. Nothing that is decided depends on what is here.
//!
//! What can come in a storm (gaps, digests, pauses) is summed up, and told once a second.

use super::Core;
use super::io::{StreamId, Time};
use super::member::MemberState;
use headcount::{Incarnation, NodeId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

/// Notes that nobody has taken; more are counted only. The driver takes them after each turn.
const NOTES_MAX: usize = 4_096;
/// Streams that nobody has asked about; the driver asks after each turn, and far fewer are under way.
const STREAMS_MAX: usize = 1_024;
/// How often what is summed up is told.
const SUM_UP_EVERY: Duration = Duration::from_secs(1);

/// Another node, as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) node: NodeId,
}

/// What became of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Met,
    /// A new life takes the place of this one.
    Replaced(Incarnation),
    To(MemberState),
    /// It said goodbye.
    Left,
    /// It was silent for so long, or the time of its handover is over, that nothing is kept of it.
    Forgotten,
    /// What was held of it is not to be trusted; it is met anew.
    Dropped,
}

/// What a transfer is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transfer {
    /// Who gives it, or takes it.
    pub(crate) peer: Peer,
    /// Whose lanes they are.
    pub(crate) owner: Peer,
    /// How many were asked for.
    pub(crate) lanes: usize,
    pub(crate) is_given: bool,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    /// By a name that may not have been known when it began.
    pub(crate) peer: Peer,
    pub(crate) lanes: u64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) outcome: &'static str,
}

/// What was missing of a member in a second.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Repairs {
    /// Gaps noticed.
    pub(crate) noticed: u64,
    /// Gaps that are closed.
    pub(crate) closed: u64,
    /// Gaps that are open at its end.
    pub(crate) open: u64,
    /// The longest of those that were closed, and its lane.
    pub(crate) longest: Duration,
    pub(crate) lane: u16,
}

/// Something to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    Live { incarnation: Incarnation },
    Jumped { known: Incarnation, incarnation: Incarnation },
    Member { peer: Peer, incarnation: Incarnation, turn: Turn },
    Quarantined { peer: Peer, incarnation: Incarnation },
    TransferBegun(StreamId, Transfer),
    LaneTaken { stream: StreamId, lane: u16, is_snapshot: bool },
    TransferEnded(StreamId, Ended),
    Repairs(Peer, Repairs),
    Diverged { peer: Peer, count: u64, lane: u16 },
    Paused { count: u64, longest: Duration },
    Untold { count: u64 },
}

#[derive(Debug)]
struct Stream {
    peer: NodeId,
    begun: Time,
    bytes: u64,
    lanes: u64,
    outcome: &'static str,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    untold: u64,
    streams: BTreeMap<StreamId, Stream>,
    /// Gaps that are open, and since when.
    gaps: BTreeMap<(NodeId, u16), Time>,
    repairs: BTreeMap<NodeId, Repairs>,
    diverged: BTreeMap<NodeId, (u64, u16)>,
    paused: (u64, Duration),
    summed_up: Option<Time>,
}

impl Notes {
    fn add(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        } else {
            self.untold += 1;
        }
    }

    /// One that nobody asks about any more is let go.
    fn begin(&mut self, id: StreamId, stream: Stream) {
        if self.streams.len() >= STREAMS_MAX {
            self.streams.pop_first();
        }
        self.streams.insert(id, stream);
    }
}

impl Core {
    /// What there is to tell by now.
    pub(crate) fn take_notes(&mut self, now: Time) -> Vec<Note> {
        self.end_streams(now);
        let since = *self.notes.summed_up.get_or_insert(Time::ZERO);
        if now >= since + SUM_UP_EVERY {
            self.notes.summed_up = Some(now);
            self.sum_up(now);
        }
        std::mem::take(&mut self.notes.notes)
    }

    /// A stream that the core knows no longer is over, whichever way that came.
    fn end_streams(&mut self, now: Time) {
        let is_over = |id: &StreamId| !self.fetches.contains_key(id) && !self.serves.contains_key(id);
        let over: Vec<StreamId> = self.notes.streams.keys().copied().filter(is_over).collect();
        for id in over {
            if let Some(Stream { peer, begun, bytes, lanes, outcome }) = self.notes.streams.remove(&id) {
                let (peer, took) = (self.named(peer), now.saturating_sub(begun));
                self.notes.add(Note::TransferEnded(id, Ended { peer, lanes, bytes, took, outcome }));
            }
        }
    }

    fn sum_up(&mut self, now: Time) {
        self.close_gaps(now);
        for &(node, _) in self.notes.gaps.keys() {
            // A gap that stays open is told with whatever else happens.
            if let Some(repairs) = self.notes.repairs.get_mut(&node) {
                repairs.open += 1;
            }
        }
        for (node, repairs) in std::mem::take(&mut self.notes.repairs) {
            let peer = self.named(node);
            self.notes.add(Note::Repairs(peer, repairs));
        }
        for (node, (count, lane)) in std::mem::take(&mut self.notes.diverged) {
            let peer = self.named(node);
            self.notes.add(Note::Diverged { peer, count, lane });
        }
        let (count, longest) = std::mem::take(&mut self.notes.paused);
        if count > 0 {
            self.notes.add(Note::Paused { count, longest });
        }
        let count = std::mem::take(&mut self.notes.untold);
        if count > 0 {
            self.notes.add(Note::Untold { count });
        }
    }

    /// Gaps that went in another way than by deltas: by a stream, or with their member.
    fn close_gaps(&mut self, now: Time) {
        let members = &self.members;
        let is_open = |&(node, lane): &(NodeId, u16)| {
            let lane = members.get(&node).and_then(|member| member.lanes.get(usize::from(lane)));
            lane.is_some_and(super::member::Lane::has_gap)
        };
        let gone: Vec<_> = self.notes.gaps.keys().copied().filter(|gap| !is_open(gap)).collect();
        for (node, lane) in gone {
            self.note_closed(now, node, lane);
        }
    }

    /// By the name that is known of it. Of a node that is not a member, by its id.
    fn named(&self, node: NodeId) -> Peer {
        let name = self.members.get(&node).map_or_else(|| node.to_string(), |member| member.name.clone());
        Peer { name, node }
    }

    pub(super) fn note_live(&mut self) {
        self.notes.add(Note::Live { incarnation: self.incarnation });
    }

    pub(super) fn note_jumped(&mut self, known: Incarnation) {
        self.notes.add(Note::Jumped { known, incarnation: self.incarnation });
    }

    /// While the member is there.
    pub(crate) fn note_turn(&mut self, node: NodeId, turn: Turn) {
        if let Some(incarnation) = self.members.get(&node).map(|member| member.incarnation) {
            let peer = self.named(node);
            self.notes.add(Note::Member { peer, incarnation, turn });
        }
    }

    pub(super) fn note_quarantined(&mut self, node: NodeId, life: Option<Incarnation>) {
        let (peer, incarnation) = (self.named(node), life.unwrap_or_default());
        self.notes.add(Note::Quarantined { peer, incarnation });
    }

    /// Lanes of `owner` are asked for.
    pub(super) fn note_fetch(&mut self, now: Time, id: StreamId) {
        if let Some(fetch) = self.fetches.get(&id) {
            let (giver, owner, lanes) = (fetch.giver(), fetch.node, fetch.lanes.len());
            self.note_transfer(now, id, (giver, owner), lanes, false);
        }
    }

    /// Somebody is given lanes.
    pub(super) fn note_serve(&mut self, now: Time, id: StreamId, (taker, owner): (NodeId, NodeId)) {
        let lanes = self.serves.get(&id).map_or(0, |serve| serve.lanes.len());
        self.note_transfer(now, id, (taker, owner), lanes, true);
    }

    fn note_transfer(
        &mut self,
        now: Time,
        id: StreamId,
        (peer, owner): (NodeId, NodeId),
        lanes: usize,
        is_given: bool,
    ) {
        let owner = match owner == self.node {
            true => Peer { name: self.settings.name.clone(), node: owner },
            false => self.named(owner),
        };
        let transfer = Transfer { peer: self.named(peer), owner, lanes, is_given };
        self.notes.begin(id, Stream { peer, begun: now, bytes: 0, lanes: 0, outcome: "broken off" });
        self.notes.add(Note::TransferBegun(id, transfer));
    }

    pub(super) fn note_bytes(&mut self, id: StreamId, bytes: usize) {
        if let Some(stream) = self.notes.streams.get_mut(&id) {
            stream.bytes += bytes as u64;
        }
    }

    pub(super) fn note_lane_given(&mut self, id: StreamId) {
        if let Some(stream) = self.notes.streams.get_mut(&id) {
            stream.lanes += 1;
        }
    }

    pub(super) fn note_lane_taken(&mut self, now: Time, node: NodeId, lane: u16, is_snapshot: bool) {
        self.note_closed(now, node, lane);
        let id = self.members.get(&node).and_then(|member| member.transfer);
        if let Some((id, stream)) = id.and_then(|id| Some((id, self.notes.streams.get_mut(&id)?))) {
            stream.lanes += 1;
            self.notes.add(Note::LaneTaken { stream: id, lane, is_snapshot });
        }
    }

    /// How a stream that is about to end does so. The first to say it knows best.
    pub(super) fn note_outcome(&mut self, id: StreamId, outcome: &'static str) {
        if let Some(stream) = self.notes.streams.get_mut(&id).filter(|stream| stream.outcome == "broken off")
        {
            stream.outcome = outcome;
        }
    }

    pub(super) fn note_noticed(&mut self, now: Time, node: NodeId, lane: u16) {
        // One that was asked for in vain is open since it was noticed first.
        if let Entry::Vacant(gap) = self.notes.gaps.entry((node, lane)) {
            gap.insert(now);
            self.notes.repairs.entry(node).or_default().noticed += 1;
        }
    }

    pub(super) fn note_closed(&mut self, now: Time, node: NodeId, lane: u16) {
        // Nothing is missing, mostly, and this is asked with every delta.
        if self.notes.gaps.is_empty() {
            return;
        }
        if let Some(since) = self.notes.gaps.remove(&(node, lane)) {
            let repairs = self.notes.repairs.entry(node).or_default();
            repairs.closed += 1;
            let took = now.saturating_sub(since);
            if took >= repairs.longest {
                (repairs.longest, repairs.lane) = (took, lane);
            }
        }
    }

    pub(super) fn note_diverged(&mut self, node: NodeId, lane: u16) {
        let (count, latest) = self.notes.diverged.entry(node).or_default();
        (*count, *latest) = (*count + 1, lane);
    }

    pub(super) fn note_paused(&mut self, lost: Duration) {
        let (count, longest) = &mut self.notes.paused;
        (*count, *longest) = (*count + 1, lost.max(*longest));
    }
}
