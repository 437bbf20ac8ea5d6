//! Everything that a node holds and shows, entry by entry, against the books.

use super::Breach;
use super::invariants::breach;
use super::oracle::{LaneBook, Oracle, STILL};
use super::process::Process;
use crate::core::MemberState;
use headcount::replica::LaneCondition;
use headcount::{Entry, NodeId, NodeState};
use std::collections::BTreeMap;

impl Process {
    /// Every entry held of a node against its history, and every entry that must be held.
    pub(super) fn check_content(&self, node: NodeId, oracle: &Oracle) -> Result<(), Breach> {
        let Some(peer) = self.core.peer(node) else {
            return Ok(());
        };
        let Some(owner) = oracle.process_of(node, peer.incarnation) else {
            return Ok(());
        };
        let entries = self.replica.entries_of(node);
        let mut rest = &entries[..];
        for lane in 0..oracle.lanes(owner) {
            let len = rest.partition_point(|entry| entry.entry_ref().lane <= lane);
            let (held, after) = rest.split_at(len);
            rest = after;
            self.check_lane_content(node, lane, oracle.book(owner, lane), held, oracle)?;
        }
        Ok(())
    }

    fn check_lane_content(
        &self,
        node: NodeId,
        lane: u16,
        book: &LaneBook,
        held: &[Entry],
        oracle: &Oracle,
    ) -> Result<(), Breach> {
        let Some(state) = self.replica.remote_lane(node, lane) else {
            return Ok(());
        };
        let clock = state.summary.clock;
        let at = || format!("n{} at {clock} ({:?}) of {node} lane {lane}", self.host, state.condition);
        let exact = state.condition == LaneCondition::Clean && book.is_exact(clock);
        let mut still = 0;
        for entry in held {
            oracle.check(entry)?;
            let dot = entry.entry_ref().clock;
            let end = book.version(dot).map_or(0, |version| version.end);
            // Between two exact clocks a version may be held that was replaced, if what replaced it is replaced too.
            let removed = book.removal(entry.joined_ref().clock).is_some_and(|removal| removal <= clock);
            if removed || (exact && end <= clock) {
                return breach("2", format!("{}: {entry:?} ended at {end}", at()));
            }
            if dot > clock && state.condition == LaneCondition::Clean {
                return breach("1", format!("{}: {entry:?} is not yet", at()));
            }
            still += usize::from(end == STILL && dot <= clock);
        }
        let must = book.live_dots().filter(|&dot| dot <= clock).count();
        if still != must {
            return breach("1", format!("{}: {still} of {must} entries that still live", at()));
        }
        if exact && held.len() as u64 != book.sum(clock).0 {
            return breach("1", format!("{}: {} entries of {}", at(), held.len(), book.sum(clock).0));
        }
        Ok(())
    }

    /// What the tracker lists is what its events said, and for this node's own entries what its sessions did.
    pub(super) fn check_view(&self, oracle: &Oracle) -> Result<(), Breach> {
        let topics = self.tracker.topics();
        let listed: Vec<Entry> = topics.iter().flat_map(|topic| self.tracker.list(topic)).collect();
        let (own, others): (Vec<_>, Vec<_>) = listed.into_iter().partition(Entry::is_local);
        let mut by_ref: BTreeMap<_, _> = others.into_iter().map(|entry| (entry.entry_ref(), entry)).collect();
        for seen in self.view.entries() {
            if by_ref.remove(&seen.entry_ref()).as_ref() != Some(seen) {
                return breach("6", format!("n{}: {seen:?} is seen and not listed", self.host));
            }
        }
        if let Some(unseen) = by_ref.values().next() {
            return breach("6", format!("n{}: {unseen:?} is listed and was not seen to join", self.host));
        }
        let live: usize = (0..oracle.lanes(self.id)).map(|lane| oracle.book(self.id, lane).live_len()).sum();
        if own.len() != live {
            return breach("4", format!("n{} lists {} own entries of {live}", self.host, own.len()));
        }
        for entry in own {
            let of = entry.entry_ref();
            let version = oracle.book(self.id, of.lane).version(of.clock);
            let same = version.is_some_and(|version| {
                version.end == STILL && version.is(entry.topic(), entry.key(), entry.meta())
            });
            if !same {
                return breach("4", format!("n{} lists {entry:?} of its own, which it has not", self.host));
            }
        }
        self.check_nodes(oracle)
    }

    fn check_nodes(&self, oracle: &Oracle) -> Result<(), Breach> {
        for lane in 0..oracle.lanes(self.id) {
            let (summary, book) = (self.replica.lane_summary(lane), oracle.book(self.id, lane));
            if (summary.count, summary.digest) != book.sum(book.clock()) {
                return breach("4", format!("n{} lane {lane}: {summary:?}", self.host));
            }
        }
        let mut up = Vec::new();
        for peer in self.core.peers() {
            let state = match peer.state {
                _ if peer.hidden => NodeState::Down,
                _ if peer.leaving => NodeState::Suspect,
                MemberState::Up => NodeState::Up,
                MemberState::UpIndirect | MemberState::Suspect | MemberState::Leaving => NodeState::Suspect,
                MemberState::Down => NodeState::Down,
            };
            if self.replica.state_of(peer.node) != Some(state) {
                return breach("6", format!("n{} shows another state of {peer:?}", self.host));
            }
            let shown = if peer.hidden { peer.before } else { Some(peer.incarnation) };
            up.extend(shown.map(|life| (peer.node, life)));
        }
        if !up.iter().eq(self.view.nodes_up()) {
            return breach("6", format!("n{} saw {:?} up, has {up:?}", self.host, self.view.nodes_up()));
        }
        let nodes = self.tracker.nodes().len();
        let peers = self.core.peers().count();
        if nodes != peers + 1 {
            return breach("6", format!("n{} shows {nodes} nodes, its core has {peers} others", self.host));
        }
        Ok(())
    }
}
