//! What one node says to another, and what the network makes of it.

use super::cluster::{Cluster, Known};
use super::owner::LANE_LOG_MAX;
use super::transfer::{Opened, Taken};
use headcount::replica::{ApplyError, Delta, DeltaError, Joined, LaneCondition, Op, OriginError};
use headcount::{Incarnation, NodeState};
use std::collections::{BTreeMap, VecDeque};

/// Messages and snapshots that a link keeps.
pub(crate) const KEPT_MAX: usize = 12;

#[derive(Clone)]
pub(crate) enum Message {
    Greeting {
        life: Incarnation,
        lanes: u16,
    },
    /// `told`: how many were told before it.
    Delta {
        life: Incarnation,
        delta: Delta,
        told: u64,
    },
}

/// What one node has said to another, and the snapshots that are open between them.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) messages: VecDeque<Message>,
    /// The clock up to which each lane was flushed.
    pub(crate) flushed: BTreeMap<u16, u64>,
    pub(crate) taken: VecDeque<Taken>,
    pub(crate) opened: BTreeMap<u16, Opened>,
    /// In the life that is known, by lane: the latest snapshot that was ever opened …
    pub(crate) newest: BTreeMap<u16, u64>,
    /// … and the latest of the deltas that were applied.
    pub(crate) applied: BTreeMap<u16, u64>,
}

impl Wire {
    pub(crate) fn new_life(&mut self) {
        self.opened.clear();
        self.newest.clear();
        self.applied.clear();
    }

    /// The lane of one of the snapshots that are open.
    pub(crate) fn opened_lane(&self, pick: usize) -> Option<u16> {
        self.opened.keys().nth(pick % self.opened.len().max(1)).copied()
    }

    pub(crate) fn lose(&mut self, pick: usize) {
        let _lost = self.messages.remove(pick % self.messages.len().max(1));
    }
}

pub(crate) fn kept<T>(kept: &mut VecDeque<T>, one: T) {
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(one);
}

impl Cluster {
    pub(crate) fn greet(&mut self, to: usize, from: usize) {
        let greeting = Message::Greeting { life: self.nodes[from].life(), lanes: self.lanes_of(from) };
        kept(&mut self.wire(to, from).messages, greeting);
    }

    pub(crate) fn flush(&mut self, to: usize, from: usize, cut: usize) {
        for lane in 0..self.lanes_of(from) {
            let since = self.wire(to, from).flushed.get(&lane).copied().unwrap_or(0);
            if let Some(clock) = self.tell(to, from, lane, since, cut) {
                self.wire(to, from).flushed.insert(lane, clock);
            }
        }
    }

    pub(crate) fn repair(&mut self, to: usize, from: usize, lane: u16, back: u64, cut: usize) {
        let lane = lane % self.lanes_of(from);
        let clock = self.nodes[from].lanes[usize::from(lane)].clock();
        let held = self.held(to, from, lane).map_or(0, |(have, _)| have).min(clock);
        self.tell(to, from, lane, held.saturating_sub(back), cut);
    }

    /// Says what a lane did; returns the clock up to which that is flushed now.
    pub(crate) fn tell(&mut self, to: usize, from: usize, lane: u16, since: u64, cut: usize) -> Option<u64> {
        let clock = self.nodes[from].lanes[usize::from(lane)].clock();
        let clocks_max = if self.faults.cuts && cut > 0 { cut } else { usize::MAX };
        let oldest = clock.saturating_sub(LANE_LOG_MAX);
        self.deltas_told += 1;
        match self.nodes[from].peer.replica.delta(lane, since, clocks_max) {
            Ok(delta) => {
                assert!(since >= oldest);
                assert_eq!(delta.hi(), clock.min(since.saturating_add(clocks_max as u64)));
                let hi = delta.hi();
                if hi > since {
                    let message =
                        Message::Delta { life: self.nodes[from].life(), delta, told: self.deltas_told };
                    kept(&mut self.wire(to, from).messages, message);
                }
                Some(hi)
            }
            Err(error) => {
                assert!(since < oldest);
                assert_eq!(error, DeltaError::Compacted { oldest });
                Some(clock)
            }
        }
    }

    /// Clock and condition of a lane as it is held, if the life that runs now is the one known.
    pub(crate) fn held(&self, to: usize, from: usize, lane: u16) -> Option<(u64, LaneCondition)> {
        let known = self.known.get(&(to, from))?;
        if known.life != self.nodes[from].life() {
            return None;
        }
        let held = self.nodes[to].peer.replica.remote_lane(self.nodes[from].node(), lane)?;
        Some((held.summary.clock, held.condition))
    }

    pub(crate) fn deliver(&mut self, to: usize, from: usize, pick: usize, keep: bool) {
        let messages = &mut self.wire(to, from).messages;
        let at = pick % messages.len().max(1);
        let message = if keep { messages.get(at).cloned() } else { messages.remove(at) };
        match message {
            Some(Message::Greeting { life, lanes }) => self.meet(to, from, life, lanes),
            Some(Message::Delta { life, delta, told }) => self.apply(to, from, life, &delta, told),
            None => {}
        }
    }

    pub(crate) fn meet(&mut self, to: usize, from: usize, life: Incarnation, lanes: u16) {
        let node = self.nodes[from].node();
        let joined = self.nodes[to].peer.replica.origin_join(node, "", life, lanes);
        let (known, highest) = (self.known.get(&(to, from)), self.highest.get(&(to, from)).copied());
        let expected = match known {
            _ if highest.is_some_and(|highest| life < highest) => {
                Err(OriginError::Stale { highest: highest.expect("there is one") })
            }
            Some(known) if known.life == life => Ok(Joined::Known),
            Some(_) => Ok(Joined::Replaced),
            None => Ok(Joined::New),
        };
        assert_eq!(joined, expected);
        if matches!(joined, Ok(Joined::New | Joined::Replaced)) {
            self.known.insert((to, from), Known { life, state: NodeState::Up });
            self.highest.insert((to, from), life);
            self.wire(to, from).new_life();
        }
    }

    /// Applies a delta, and expects what the clocks say.
    pub(crate) fn apply(&mut self, to: usize, from: usize, life: Incarnation, delta: &Delta, told: u64) {
        let node = self.nodes[from].node();
        let replica = &self.nodes[to].peer.replica;
        let expected = match self.known.get(&(to, from)) {
            None => Err(ApplyError::UnknownOrigin),
            Some(known) if known.life != life => Err(ApplyError::Incarnation { known: known.life }),
            Some(_) => {
                let held = replica.remote_lane(node, delta.lane()).expect("the life has that lane");
                let have = held.summary.clock;
                if delta.hi() <= have {
                    Ok(have)
                } else if self.wires[&(to, from)].opened.contains_key(&delta.lane()) {
                    Err(ApplyError::SnapshotUnderWay)
                } else if held.condition != LaneCondition::Clean {
                    Err(ApplyError::Unclean)
                } else if delta.lo() > have {
                    Err(ApplyError::Gap { have })
                } else {
                    Ok(delta.hi())
                }
            }
        };
        let ops: Vec<Op<'_>> = delta.ops().collect();
        let outcome = replica.apply(node, life, &delta.view(&ops));
        let cuts = self.faults.cuts;
        let applied = self.wire(to, from).applied.entry(delta.lane()).or_default();
        // A delta that was cut leaves out what was replaced behind it by then; one that was told before it does not know.
        let overtaken = cuts && told < *applied;
        if outcome != expected {
            assert!(
                overtaken && matches!(outcome, Err(ApplyError::Diverged { .. })),
                "{outcome:?} of {delta:?}"
            );
        } else if outcome == Ok(delta.hi()) {
            *applied = told.max(*applied);
        }
    }

    /// Everything that a peer that hears everything does: meets who runs now, and takes deltas or snapshots until it is whole.
    pub(crate) fn catch_up(&mut self, to: usize, from: usize) {
        self.meet(to, from, self.nodes[from].life(), self.lanes_of(from));
        self.wire(to, from).opened.clear();
        for lane in 0..self.lanes_of(from) {
            let (owner, node) = (&self.nodes[from], self.nodes[from].node());
            let peer = &self.nodes[to].peer;
            peer.replica.snapshot_abort(node, lane);
            let (have, condition) = self.held(to, from, lane).expect("it was met");
            let clock = owner.lanes[usize::from(lane)].clock();
            if condition == LaneCondition::Clean && have == clock {
                continue;
            }
            if condition == LaneCondition::Clean
                && let Ok(delta) = owner.peer.replica.delta(lane, have, usize::MAX)
            {
                self.apply(to, from, owner.life(), &delta, u64::MAX);
                continue;
            }
            let snapshot = owner.peer.replica.snapshot(lane).expect("the lane exists");
            let base = peer.replica.snapshot_base(node, lane).expect("it was met");
            let taken = Taken { node, life: owner.life(), snapshot, base };
            let mut caught_up = taken.clone().open(peer).and_then(|opened| opened.finish(peer, 2));
            if self.faults.cuts && caught_up == Err(ApplyError::Diverged { birth: 0 }) {
                let whole = Taken { base: 0, ..taken };
                caught_up = whole.open(peer).and_then(|opened| opened.finish(peer, 2));
            }
            assert_eq!(caught_up, Ok(clock));
            self.wire(to, from).newest.insert(lane, clock);
        }
    }
}
