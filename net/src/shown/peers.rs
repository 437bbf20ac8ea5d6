//! The other nodes, and who hears whom.

use super::tables::{PAIR, PAIRS_SHOWN, PEER, PEERS_SHOWN};
use super::{Epoch, Pair, words};
use crate::core::{Core, MemberState, PeerShown, Time};
use headcount::counters::{Counters, Number, Row, Table, Text};
use headcount::{Incarnation, NodeId, Tracker};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Entries are counted so often: to count those of one node, all nodes are looked at.
const ENTRIES_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Peers {
    table: Table,
    pairs_table: Table,
    rows: BTreeMap<NodeId, Line>,
    pairs: BTreeMap<Pair, PairLine>,
    /// Rows that nobody has.
    free: Vec<usize>,
    free_pairs: Vec<usize>,
    entries_at: Option<Time>,
}

/// A peer's row.
#[derive(Debug)]
struct Line {
    at: usize,
    row: Row,
    name: String,
    incarnation: Incarnation,
    state: MemberState,
    /// What changes all the time, in the order in which [`Line::set`] has it.
    numbers: [Number; 9],
    key_epochs: (Text, Vec<u16>),
    entries: Number,
}

#[derive(Debug)]
struct PairLine {
    at: usize,
    row: Row,
    silence: Number,
    said_at: Number,
}

fn code(state: MemberState) -> u64 {
    match state {
        MemberState::Up => 1,
        MemberState::UpIndirect => 2,
        MemberState::Suspect => 3,
        MemberState::Leaving => 4,
        MemberState::Down => 5,
    }
}

impl Line {
    fn new(table: &Table, at: usize, peer: &PeerShown<'_>) -> Self {
        let row = table.row(at);
        row.hide();
        let numbers = [
            "heard_at",
            "group_heard_at",
            "synced",
            "lanes",
            "lanes_behind",
            "operations_behind",
            "lanes_streaming",
            "receive_drops_total",
            "copied",
        ];
        row.text("name").set(peer.name);
        row.number("id").set(u64::from(peer.node.0));
        Self {
            at,
            name: peer.name.to_owned(),
            // The first look sets these, and what else may be new.
            incarnation: Incarnation::default(),
            state: MemberState::Down,
            numbers: numbers.map(|name| row.number(name)),
            key_epochs: (row.text("key_epochs"), Vec::new()),
            entries: row.number("entries"),
            row,
        }
    }

    fn set(&mut self, now: Time, epoch: Epoch, peer: &PeerShown<'_>, is_new: bool, counters: &Counters) {
        let group_heard = if peer.group_heard == Time::ZERO { 0 } else { epoch.at(peer.group_heard) };
        let values = [
            epoch.at(peer.heard),
            group_heard,
            u64::from(peer.synced),
            peer.lanes,
            peer.lanes_behind,
            peer.operations_behind,
            peer.lanes_streaming,
            peer.receive_drops,
            u64::from(peer.is_copied),
        ];
        for (number, value) in self.numbers.iter().zip(values) {
            number.set(value);
        }
        if self.key_epochs.1 != peer.key_epochs {
            self.key_epochs.1 = peer.key_epochs.to_vec();
            self.key_epochs.0.set(&words::of_epochs(peer.key_epochs));
        }
        if is_new || self.incarnation != peer.incarnation {
            self.row.text("addr").set(&peer.addr.to_string());
            self.row.number("epoch").set(u64::from(peer.incarnation.epoch));
            let what = if is_new { "met" } else { "in a new life:" };
            let (name, life) = (peer.name, peer.incarnation.epoch);
            counters.note_event(&format!("{what} {name}, epoch {life}, at {}", peer.addr));
            self.incarnation = peer.incarnation;
        }
        if is_new || self.state != peer.state {
            self.row.number("state").set(code(peer.state));
            self.row.number("state_since").set(epoch.at(now));
            if !is_new {
                counters.note_event(&format!("{} is {}", peer.name, words::of_state(peer.state)));
            }
            self.state = peer.state;
        }
        if is_new {
            self.row.show();
        }
    }
}

impl Peers {
    pub(super) fn new(counters: &Counters) -> Self {
        Self {
            table: counters.table(&PEER, PEERS_SHOWN),
            pairs_table: counters.table(&PAIR, PAIRS_SHOWN),
            rows: BTreeMap::new(),
            pairs: BTreeMap::new(),
            free: (0..PEERS_SHOWN).rev().collect(),
            free_pairs: (0..PAIRS_SHOWN).rev().collect(),
            entries_at: None,
        }
    }

    /// Shows them as they are; how many are not down.
    pub(super) fn show(
        &mut self,
        now: Time,
        epoch: Epoch,
        core: &Core,
        tracker: &Tracker,
        counters: &Counters,
    ) -> u64 {
        let mut up = 0;
        let mut gone = self.rows.keys().copied().collect::<BTreeSet<_>>();
        for peer in core.peers_shown(now) {
            gone.remove(&peer.node);
            up += u64::from(peer.state != MemberState::Down);
            let is_new = !self.rows.contains_key(&peer.node);
            if is_new {
                let Some(at) = self.free.pop() else { continue };
                self.rows.insert(peer.node, Line::new(&self.table, at, &peer));
                // Its entries are counted at once.
                self.entries_at = None;
            }
            if let Some(line) = self.rows.get_mut(&peer.node) {
                line.set(now, epoch, &peer, is_new, counters);
            }
        }
        for node in gone {
            if let Some(line) = self.rows.remove(&node) {
                line.row.hide();
                self.free.push(line.at);
                counters.note_event(&format!("{} is gone", line.name));
            }
            self.forget_pairs(node);
        }
        if self.entries_at.is_none_or(|at| now >= at + ENTRIES_EVERY) {
            self.entries_at = Some(now);
            for node in tracker.nodes() {
                if let Some(line) = self.rows.get(&node.id) {
                    line.entries.set(node.entries as u64);
                }
            }
        }
        up
    }

    /// A node has said how long it had not heard another.
    pub(super) fn heard(&mut self, pair: Pair, silence: Option<Duration>, at: u64) {
        if !self.pairs.contains_key(&pair) {
            let Some(free) = self.free_pairs.pop() else { return };
            let row = self.pairs_table.row(free);
            row.hide();
            row.number("listener").set(u64::from(pair.0.0));
            row.number("speaker").set(u64::from(pair.1.0));
            let (silence, said_at) = (row.number("silence"), row.number("said_at"));
            self.pairs.insert(pair, PairLine { at: free, row, silence, said_at });
        }
        if let Some(line) = self.pairs.get(&pair) {
            let nanos = silence.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            line.silence.set(nanos);
            line.said_at.set(at);
            line.row.show();
        }
    }

    fn forget_pairs(&mut self, node: NodeId) {
        let free = &mut self.free_pairs;
        self.pairs.retain(|&(listener, speaker), line| {
            let stays = listener != node && speaker != node;
            if !stays {
                line.row.hide();
                free.push(line.at);
            }
            stays
        });
    }

    pub(super) fn clear(&mut self) {
        self.rows.values().for_each(|line| line.row.hide());
        self.pairs.values().for_each(|line| line.row.hide());
    }
}
