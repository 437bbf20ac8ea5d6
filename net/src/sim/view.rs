//! What a subscriber of everything sees on one node: the events replayed, each held against the books.

use super::Breach;
use super::oracle::Oracle;
use headcount::{Entry, EventKind, Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// An entry of another node, through all its versions: node, life, lane, birth.
type Name = (NodeId, Incarnation, u16, u64);

/// Other nodes' entries and nodes, as the events of one tracker tell.
#[derive(Debug, Default)]
pub(crate) struct View {
    entries: BTreeMap<Name, Entry>,
    /// How many entries are seen of each life.
    counts: BTreeMap<(NodeId, Incarnation), usize>,
    nodes_up: BTreeSet<(NodeId, Incarnation)>,
    /// Topics of which the first entry was announced and the last not, with how many are seen; this node's own too.
    topics: BTreeMap<Vec<u8>, usize>,
    /// Of these, the ones without an entry: between a first and its join, or a leave and its last.
    bare: BTreeSet<Vec<u8>>,
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
}

fn name_of(entry: &Entry) -> Name {
    let of = entry.joined_ref();
    (of.node, of.incarnation, of.lane, of.clock)
}

impl View {
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = (NodeId, Incarnation, usize)> + '_ {
        self.counts.iter().map(|(&(node, life), &count)| (node, life, count))
    }

    pub(crate) fn nodes_up(&self) -> &BTreeSet<(NodeId, Incarnation)> {
        &self.nodes_up
    }

    /// Follows the edges of topics: the first entry is announced before it joins, the last after it left, once each. Takes every event,
    /// this node's own too.
    pub(crate) fn note_edge(&mut self, kind: &EventKind) -> Result<(), Breach> {
        let wrong = |what: &str| Err(Breach::new("6", format!("{what}: {kind:?}")));
        match kind {
            EventKind::First(topic) => {
                if self.topics.insert(topic.as_bytes().into(), 0).is_some() {
                    return wrong("a topic has its first entry twice");
                }
                self.bare.insert(topic.as_bytes().into());
            }
            EventKind::Join(entry) => {
                let Some(count) = self.topics.get_mut(entry.topic().as_bytes()) else {
                    return wrong("an entry joins before the first of its topic is announced");
                };
                *count += 1;
                self.bare.remove(entry.topic().as_bytes());
            }
            EventKind::Leave(entry) => {
                let count = self.topics.get_mut(entry.topic().as_bytes()).filter(|count| **count > 0);
                let Some(count) = count else {
                    return wrong("an entry leaves a topic that has none");
                };
                *count -= 1;
                if *count == 0 {
                    self.bare.insert(entry.topic().as_bytes().into());
                }
            }
            EventKind::Empty(topic) => {
                if self.topics.remove(topic.as_bytes()) != Some(0) {
                    return wrong("a topic that has entries, or never had one, is told to be empty");
                }
                self.bare.remove(topic.as_bytes());
            }
            _ => {}
        }
        Ok(())
    }

    /// After all that there was to be told: no topic is left between a first and its join, or a leave and its last.
    pub(crate) fn check_edges(&self) -> Result<(), Breach> {
        match self.bare.first() {
            None => Ok(()),
            Some(topic) => {
                let topic = String::from_utf8_lossy(topic);
                Err(Breach::new("6", format!("topic {topic} has no entry, and nobody was told")))
            }
        }
    }

    /// Takes an event about another node. `is_gone`: this node holds that life for down, left, replaced or forgotten.
    pub(crate) fn apply(
        &mut self,
        kind: EventKind,
        oracle: &Oracle,
        is_gone: impl Fn(NodeId, Incarnation) -> bool,
    ) -> Result<(), Breach> {
        match kind {
            EventKind::Join(entry) => {
                oracle.check(&entry)?;
                self.joins += 1;
                let of = entry.entry_ref();
                *self.counts.entry((of.node, of.incarnation)).or_default() += 1;
                if let Some(held) = self.entries.insert(name_of(&entry), entry) {
                    return Err(Breach::new("6", format!("{held:?} joined twice")));
                }
            }
            EventKind::Update { old, new } => {
                oracle.check(&new)?;
                if name_of(&old) != name_of(&new) || old.entry_ref().clock >= new.entry_ref().clock {
                    return Err(Breach::new("6", format!("an update from {old:?} to {new:?}")));
                }
                let held = self.entries.insert(name_of(&new), new);
                if held.as_ref() != Some(&old) {
                    return Err(Breach::new("6", format!("{held:?} was seen, {old:?} was updated")));
                }
            }
            EventKind::Leave(entry) => {
                self.leaves += 1;
                let of = entry.joined_ref();
                let life = (of.node, of.incarnation);
                if let Some(count) = self.counts.get_mut(&life) {
                    *count -= 1;
                    if *count == 0 {
                        self.counts.remove(&life);
                    }
                }
                let held = self.entries.remove(&name_of(&entry));
                if held.as_ref() != Some(&entry) {
                    return Err(Breach::new("6", format!("{held:?} was seen, {entry:?} left")));
                }
                if oracle.book_of(of)?.is_live(of.clock) && !is_gone(of.node, of.incarnation) {
                    return Err(Breach::new("3", format!("{entry:?} left, and its owner never removed it")));
                }
            }
            EventKind::NodeUp { node, incarnation } if !self.nodes_up.insert((node, incarnation)) => {
                return Err(Breach::new("6", format!("{node} in life {incarnation} went up twice")));
            }
            EventKind::NodeDown { node, incarnation } if !self.nodes_up.remove(&(node, incarnation)) => {
                return Err(Breach::new("6", format!("{node} in life {incarnation} went down twice")));
            }
            EventKind::Lagged { missed } => {
                return Err(Breach::new("6", format!("{missed} events were missed")));
            }
            _ => {}
        }
        Ok(())
    }
}
