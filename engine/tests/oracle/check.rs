//! What must hold at a node after every step. See `main.rs` for the properties.

use super::cluster::{Cluster, Known};
use super::common::{View, paged, view};
use super::history::{History, Live, birth, dot};
use super::owner::topic;
use headcount::replica::LaneCondition;
use headcount::{Entry, Event, EventKind, NodeId, NodeState, Tracker};

impl Cluster {
    pub(crate) fn check(&mut self, node: usize) {
        let events = self.nodes[node].listen();
        for event in &events {
            self.no_flicker(node, event);
        }
        self.own_view(node);
        let mut seen = self.own_entries(node);
        let owner = &self.nodes[node];
        let known: Vec<(usize, Known)> =
            (0..self.nodes.len()).filter_map(|from| Some((from, *self.known.get(&(node, from))?))).collect();
        assert_eq!(owner.peer.tracker.nodes().len(), known.len() + 1);
        for (from, known) in known {
            let held = self.remote_lanes(node, self.nodes[from].node(), known);
            if known.state != NodeState::Down {
                seen.extend(held);
            }
        }
        let listed = view(&owner.peer.tracker);
        assert_eq!(listed, seen, "listed is what is held and not hidden");
        assert_eq!(owner.replay.entries, listed, "the events lead to the view");
        reads_agree(&owner.peer.tracker, &listed);
    }

    fn own_entries(&self, node: usize) -> View {
        let lanes = self.nodes[node].lanes.iter();
        lanes.flat_map(History::live).map(|(_, entry)| (entry.joined_ref(), entry.clone())).collect()
    }

    fn own_view(&self, node: usize) {
        let owner = &self.nodes[node];
        assert_eq!(owner.tracked(), owner.model(), "what the sessions have");
        assert_eq!(owner.listed(), owner.model(), "what is listed of them");
        for (lane, history) in (0..).zip(&owner.lanes) {
            let summary = owner.peer.replica.lane_summary(lane);
            assert_eq!(summary.clock, history.clock());
            assert_eq!(owner.peer.replica.lane_clock(lane), history.clock());
            assert_eq!((summary.count, summary.digest), sums(history.live().values()));
        }
    }

    fn history(&self, node: NodeId, known: Known, lane: u16) -> &History {
        let now = self.nodes.iter().find(|owner| owner.node() == node && owner.life() == known.life);
        let lanes = now.map_or_else(|| &self.past[&(node, known.life)], |owner| &owner.lanes);
        &lanes[usize::from(lane)]
    }

    /// Checks every lane that `at` holds of another node; returns all that it holds.
    fn remote_lanes(&self, at: usize, of: NodeId, known: Known) -> View {
        let peer = &self.nodes[at].peer;
        let told = peer.tracker.node(of).expect("it is known");
        assert_eq!((told.incarnation, told.state), (known.life, known.state));
        let entries = peer.replica.entries_of(of);
        assert_eq!(told.entries, entries.len());
        let mut lane = 0;
        while let Some(held) = peer.replica.remote_lane(of, lane) {
            let here = entries.iter().filter(|entry| entry.entry_ref().lane == lane);
            let live: Live = here.map(|entry| (birth(entry), entry.clone())).collect();
            assert_eq!((held.summary.count, held.summary.digest), sums(live.values()), "of what is held");
            let history = self.history(of, known, lane);
            no_resurrection(history, &live, held.summary.clock);
            if held.condition != LaneCondition::Clean {
                self.genuine(history, &live);
            } else if self.faults.cuts {
                between_cuts(history, &live, held.summary.clock);
            } else {
                assert_eq!(live, history.at(held.summary.clock), "clean at {}", held.summary.clock);
            }
            lane += 1;
        }
        let refs = entries.into_iter().map(|entry| (entry.joined_ref(), entry));
        refs.inspect(|(joined, _)| assert_eq!((joined.node, joined.incarnation), (of, known.life))).collect()
    }

    /// Every version held is one that its owner made.
    fn genuine(&self, history: &History, held: &Live) {
        for entry in held.values() {
            if self.faults.cuts {
                assert!(is_told(history, entry), "never said by its owner: {entry:?}");
            } else {
                assert_eq!(history.version_at(dot(entry)), Some(entry), "never said by its owner");
            }
        }
    }

    /// What left was removed by its owner, or its node is not to be seen. (That versions do not go back is checked by the
    /// replay: an update has a greater dot, and an entry that left without reason does not get this far.)
    fn no_flicker(&self, at: usize, event: &Event) {
        let EventKind::Leave(entry) = &event.kind else { return };
        let dot = entry.joined_ref();
        let from = self.nodes.iter().position(|owner| owner.node() == dot.node).expect("one of the nodes");
        let Some(&known) = self.known.get(&(at, from)) else { return };
        if known.life != dot.incarnation || known.state == NodeState::Down {
            return;
        }
        let removed = self.history(dot.node, known, dot.lane).removed_at(dot.clock);
        assert!(removed.is_some(), "left here and lives on with its owner: {entry:?}");
    }
}

fn sums<'a>(entries: impl Iterator<Item = &'a Entry>) -> (u64, u64) {
    entries.fold((0, 0), |(count, digest), entry| (count + 1, digest.wrapping_add(entry.digest())))
}

fn no_resurrection(history: &History, held: &Live, clock: u64) {
    for (&birth, entry) in held {
        let removed = history.removed_at(birth);
        assert!(removed.is_none_or(|at| at > clock), "removed at {removed:?}, held at {clock}: {entry:?}");
    }
}

/// Whether the owner made that version, with that content or, where it was told late, with the content of a later one.
fn is_told(history: &History, entry: &Entry) -> bool {
    let mut versions = history.versions_of(birth(entry)).skip_while(|version| dot(version) < dot(entry));
    let said = |version: &Entry| {
        (version.topic(), version.key(), version.meta()) == (entry.topic(), entry.key(), entry.meta())
    };
    history.version_at(dot(entry)).is_some_and(|version| birth(version) == birth(entry)) && versions.any(said)
}

/// A lane that is clean at a clock to which it was told in cuts.
fn between_cuts(history: &History, held: &Live, clock: u64) {
    let then = history.at(clock);
    for (birth, entry) in held {
        let version = then.get(birth).expect("no resurrection, and nothing from after the clock");
        assert!(dot(entry) <= dot(version), "from after the clock: {entry:?}");
        assert!(is_told(history, entry), "never said by its owner: {entry:?}");
    }
    for (birth, version) in &then {
        if history.live().get(birth) == Some(version) {
            assert_eq!(held.get(birth), Some(version), "lives with its owner and was told at {clock}");
        }
    }
}

fn reads_agree(tracker: &Tracker, listed: &View) {
    assert_eq!((tracker.len(), tracker.is_empty()), (listed.len(), listed.is_empty()));
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let name = topic(number);
        let list = tracker.list(&name);
        assert_eq!(tracker.count(&name), list.len());
        assert_eq!(paged(tracker, &name, 2), list);
        assert_eq!(tracker.topics().iter().any(|topic| **topic == *name.as_bytes()), !list.is_empty());
        for key in 0..2 {
            let key = format!("key:{key}");
            let here: Vec<Entry> =
                list.iter().filter(|entry| entry.key() == key.as_bytes()).cloned().collect();
            assert_eq!(tracker.get(&name, &key), here);
            assert_eq!(tracker.contains(&name, &key), !here.is_empty());
            asked.push((name.clone(), key));
            expected.extend(here.into_iter().map(|entry| (asked.len() - 1, entry)));
        }
    }
    let mut found = Vec::new();
    let count = tracker.read_many(asked, |at, entry| found.push((at, entry.to_entry())));
    assert_eq!((count, &found), (expected.len(), &expected), "many at once are read as one by one");
    let stats = tracker.stats();
    assert!(stats.entries >= listed.len() && stats.events_missed_total == 0);
    assert_eq!(stats.entries, stats.entries_local + stats.entries_remote);
}
