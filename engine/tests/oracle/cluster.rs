//! Several nodes, the links between them, and one step after the other.

use super::Faults;
use super::action::{Action, Link};
use super::common::{life, view};
use super::history::History;
use super::owner::Owner;
use super::wire::Wire;
use headcount::replica::Identity;
use headcount::{Incarnation, NodeId, NodeState};
use std::collections::BTreeMap;

/// What a node must know of another, by the oracle.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) life: Incarnation,
    pub(crate) state: NodeState,
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Owner>,
    /// Histories of lives that are over.
    pub(crate) past: BTreeMap<(NodeId, Incarnation), Vec<History>>,
    /// What node `to` knows of node `from`, by `(to, from)`.
    pub(crate) known: BTreeMap<(usize, usize), Known>,
    pub(crate) highest: BTreeMap<(usize, usize), Incarnation>,
    pub(crate) wires: BTreeMap<(usize, usize), Wire>,
    pub(crate) deltas_told: u64,
    pub(crate) faults: Faults,
}

impl Cluster {
    pub(crate) fn new(shards: &[usize], faults: Faults) -> Self {
        let identity = |id| Identity { node: NodeId(id), incarnation: life(1) };
        let nodes: Vec<Owner> =
            (1..).zip(shards).map(|(id, &shards)| Owner::start(identity(id), shards)).collect();
        let count = nodes.len();
        let mut cluster = Self {
            nodes,
            past: BTreeMap::new(),
            known: BTreeMap::new(),
            highest: BTreeMap::new(),
            wires: BTreeMap::new(),
            deltas_told: 0,
            faults,
        };
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                cluster.wires.insert((to, from), Wire::default());
                cluster.meet(to, from, life(1), cluster.lanes_of(from));
            }
        }
        cluster
    }

    pub(crate) fn lanes_of(&self, node: usize) -> u16 {
        self.nodes[node].peer.replica.lanes()
    }

    pub(crate) fn wire(&mut self, to: usize, from: usize) -> &mut Wire {
        self.wires.get_mut(&(to, from)).expect("there is one for each pair")
    }

    /// Another node than the one that it comes from.
    fn ends(&self, link: Link) -> (usize, usize) {
        let count = self.nodes.len();
        let from = link.from % count;
        ((from + 1 + link.to % (count - 1)) % count, from)
    }

    pub(crate) fn step(&mut self, action: &Action) {
        let touched = self.act(action);
        self.check(touched);
    }

    /// Does it; returns the node whose state it may have changed.
    fn act(&mut self, action: &Action) -> usize {
        if let Some((node, session)) = action.own() {
            let node = node % self.nodes.len();
            self.nodes[node].act(session, action);
            return node;
        }
        match *action {
            Action::Maintain { node, max } => {
                let node = node % self.nodes.len();
                self.nodes[node].peer.replica.maintain(max);
                return node;
            }
            Action::Restart { node, shards } => {
                let node = node % self.nodes.len();
                self.restart(node, shards);
                return node;
            }
            _ => {}
        }
        let Some(link) = action.link() else {
            unreachable!("every other action is about a link: {action:?}")
        };
        let (to, from) = self.ends(link);
        match *action {
            Action::Greet { .. } => self.greet(to, from),
            Action::Flush { cut, .. } => self.flush(to, from, cut),
            Action::Repair { lane, back, cut, .. } => self.repair(to, from, lane, back, cut),
            Action::Deliver { pick, messages, keep, .. } => {
                for _ in 0..messages {
                    self.deliver(to, from, pick, keep);
                    self.check(to);
                }
            }
            Action::Lose { pick, .. } => self.wire(to, from).lose(pick),
            Action::CatchUp { .. } => self.catch_up(to, from),
            Action::Request { lane, back, .. } => self.request(to, from, lane, back),
            Action::Open { pick, .. } => self.open(to, from, pick),
            Action::Chunk { pick, len, .. } => self.chunk(to, from, pick, len),
            Action::Finish { pick, len, .. } => self.finish(to, from, pick, len),
            Action::Abort { pick, .. } => self.abort(to, from, pick),
            Action::Diverge { lane, .. } => {
                self.nodes[to].peer.replica.mark_diverged(self.nodes[from].node(), lane);
            }
            Action::Relay { via, lane, len, .. } => self.relay((to, from), via, lane, len),
            Action::Down { .. } => self.set_state(to, from, NodeState::Down),
            Action::Suspect { .. } => self.set_state(to, from, NodeState::Suspect),
            Action::Up { .. } => self.set_state(to, from, NodeState::Up),
            Action::Forget { .. } => self.forget(to, from),
            _ => unreachable!("done above: {action:?}"),
        }
        to
    }

    /// Kills a node and starts it again: nobody hears of what ends with the process.
    fn restart(&mut self, node: usize, shards: usize) {
        let Identity { node: id, incarnation } = self.nodes[node].identity;
        let next = Incarnation { epoch: incarnation.epoch + 1, ..incarnation };
        let new = Owner::start(Identity { node: id, incarnation: next }, shards);
        let old = std::mem::replace(&mut self.nodes[node], new);
        self.past.insert((id, incarnation), old.lanes);
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            self.known.remove(&(node, other));
            self.highest.remove(&(node, other));
            *self.wire(node, other) = Wire::default();
            self.wire(other, node).flushed.clear();
            self.greet(other, node);
        }
    }

    fn set_state(&mut self, to: usize, from: usize, state: NodeState) {
        let known = self.known.get_mut(&(to, from));
        let set = self.nodes[to].peer.replica.origin_state(self.nodes[from].node(), state);
        assert_eq!(set, known.is_some());
        if let Some(known) = known {
            known.state = state;
        }
    }

    fn forget(&mut self, to: usize, from: usize) {
        let known = self.known.remove(&(to, from));
        assert_eq!(self.nodes[to].peer.replica.forget(self.nodes[from].node()), known.is_some());
        self.wire(to, from).new_life();
    }

    /// The faults stop: everybody hears everybody, and all views are equal.
    pub(crate) fn heal(&mut self) {
        let count = self.nodes.len();
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                self.catch_up(to, from);
                self.set_state(to, from, NodeState::Up);
                self.check(to);
            }
        }
        let all = view(&self.nodes[0].peer.tracker);
        for to in 0..count {
            let Owner { peer, .. } = &self.nodes[to];
            assert_eq!(view(&peer.tracker), all, "views of nodes 1 and {}", to + 1);
            for from in (0..count).filter(|&from| from != to) {
                assert!(peer.agrees_with(&self.nodes[from].peer), "digests");
            }
            while peer.replica.maintain(1) {}
            let stats = peer.tracker.stats();
            assert_eq!((stats.entries, stats.origins_purging), (all.len(), 0));
            assert_eq!((stats.nodes_remote, stats.events_missed_total), (count - 1, 0));
            self.check(to);
        }
    }
}
