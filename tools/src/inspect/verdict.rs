//! Whether several views of a cluster are one, judged from what each process says of every lane that it holds.
//!
//! They are asked one after the other while everything moves, so numbers that differ say nothing by themselves: count and digest are compared
//! at equal clocks only, a lane that was equal once is done, and a difference counts when every number of it has stood still for
//! [`SETTLED`]. (A receiver may stand between two clocks of its owner for a moment and lack something there.)

use headcount_net::admin::{LaneRow, NodeRow};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A lane that has not moved for so long, and still is not what it should be, is not being repaired.
pub(super) const SETTLED: Duration = Duration::from_secs(2);

/// What one process says of everybody.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) name: String,
    /// Its own id and life.
    pub(super) own: (String, String),
    pub(super) nodes: Vec<NodeRow>,
    pub(super) lanes: Vec<LaneRow>,
}

/// What is compared: of a node, or a lane of it, by an observer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Item {
    pub(super) observer: String,
    pub(super) node: String,
    pub(super) lane: Option<u16>,
}

/// What is wrong with an item, with all its numbers, and since when it is just that.
#[derive(Clone, Debug)]
struct Problem {
    text: String,
    since: Instant,
}

/// Items, and what is wrong with each.
type Open<'a> = Vec<(&'a Item, &'a str)>;

/// A lane, and who holds it.
type Held<'a> = (&'a Report, &'a LaneRow);

/// What is known after some rounds.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// Lanes that were equal once, with the life of their node.
    agreed: BTreeSet<(Item, String)>,
    open: BTreeMap<Item, Problem>,
}

impl Judge {
    /// Takes a round of reports.
    pub(super) fn hear(&mut self, reports: &[Report], now: Instant) {
        let mut found = BTreeMap::new();
        Self::compare_nodes(reports, &mut found);
        self.compare_lanes(reports, &mut found);
        let before = std::mem::take(&mut self.open);
        for (item, text) in found {
            let same = before.get(&item).filter(|problem| problem.text == text);
            let since = same.map_or(now, |problem| problem.since);
            self.open.insert(item, Problem { text, since });
        }
    }

    /// Nothing is left to compare.
    pub(super) fn agrees(&self) -> bool {
        self.open.is_empty()
    }

    /// Nothing is left that more rounds could settle.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.open.values().all(|problem| now - problem.since >= SETTLED)
    }

    pub(super) fn lanes_agreed(&self) -> u64 {
        self.agreed.len() as u64
    }

    /// What differs, and what still moves.
    pub(super) fn open(&self, now: Instant) -> (Open<'_>, Open<'_>) {
        let mut open = (Vec::new(), Vec::new());
        for (item, problem) in &self.open {
            let list = if now - problem.since >= SETTLED { &mut open.0 } else { &mut open.1 };
            list.push((item, problem.text.as_str()));
        }
        open
    }

    /// That all know the same nodes in the same lives.
    fn compare_nodes(reports: &[Report], found: &mut BTreeMap<Item, String>) {
        let rows = || reports.iter().flat_map(|report| report.nodes.iter().map(move |row| (report, row)));
        let ids: BTreeSet<&str> = rows().map(|(_, row)| row.node.as_str()).collect();
        for id in ids {
            let is_leaving = rows().any(|(_, row)| row.node == id && row.state == "leaving");
            // The owner knows its own life; else whoever sees the node.
            let best = rows()
                .filter(|(_, row)| row.node == id && row.state != "down")
                .min_by_key(|(_, row)| row.state != "local");
            let Some((witness, seen)) = best.filter(|_| !is_leaving) else { continue };
            for report in reports {
                let node = if seen.name.is_empty() { id } else { &seen.name };
                let text = match report.nodes.iter().find(|row| row.node == id) {
                    None => format!("{} does not know {node}, which {} sees", report.name, witness.name),
                    Some(row) if row.state == "down" => {
                        format!("{} holds {node} for down, which {} sees", report.name, witness.name)
                    }
                    Some(row) if row.incarnation != seen.incarnation => format!(
                        "{} knows {node} in its life {}, {} in its life {}",
                        report.name, row.incarnation, witness.name, seen.incarnation
                    ),
                    Some(_) => continue,
                };
                let item = Item { observer: report.name.clone(), node: node.to_owned(), lane: None };
                found.insert(item, text);
            }
        }
    }

    fn compare_lanes(&mut self, reports: &[Report], found: &mut BTreeMap<Item, String>) {
        let mut holders: BTreeMap<(&str, &str, u16), Vec<Held<'_>>> = BTreeMap::new();
        for report in reports {
            let down: BTreeSet<&str> =
                report.nodes.iter().filter(|row| row.state == "down").map(|row| row.node.as_str()).collect();
            for lane in report.lanes.iter().filter(|lane| !down.contains(lane.node.as_str())) {
                let key = (lane.node.as_str(), lane.incarnation.as_str(), lane.lane);
                holders.entry(key).or_default().push((report, lane));
            }
        }
        for ((id, life, number), held) in holders {
            let is_owner = |report: &Report| report.own.0 == id && report.own.1 == life;
            let by_owner = held.iter().find(|(report, _)| is_owner(report));
            let Some(&(witness, right)) = by_owner.or_else(|| held.iter().max_by_key(|(_, lane)| lane.clock))
            else {
                continue;
            };
            let name = reports.iter().flat_map(|report| &report.nodes).find(|row| row.node == id);
            let node = name.map_or(id, |row| if row.name.is_empty() { id } else { &row.name });
            for &(report, lane) in held.iter().filter(|(report, _)| !std::ptr::eq(*report, witness)) {
                let item = Item { observer: report.name.clone(), node: node.to_owned(), lane: Some(number) };
                let key = (item.clone(), life.to_owned());
                if self.agreed.contains(&key) {
                    continue;
                }
                let equal = lane.clean && lane.clock == right.clock;
                if equal && (lane.count, &lane.digest) == (right.count, &right.digest) {
                    self.agreed.insert(key);
                    continue;
                }
                let has = |report: &Report, lane: &LaneRow| {
                    let clean = if lane.clean { "" } else { ", not whole" };
                    format!(
                        "{} has {} entries at clock {}, digest {}{clean}",
                        report.name, lane.count, lane.clock, lane.digest
                    )
                };
                let text = format!("lane {number} of {node}: {}; {}", has(witness, right), has(report, lane));
                found.insert(item, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, state: &str) -> NodeRow {
        let row = json!({"name": name, "node": name, "incarnation": "1.0", "state": state, "synced": true, "lanes": 1, "entries": 0});
        serde_json::from_value(row).unwrap()
    }

    fn lane(of: &str, clock: u64, digest: &str) -> LaneRow {
        let row = json!({"node": of, "incarnation": "1.0", "lane": 0, "clock": clock, "count": 1, "digest": digest, "clean": true});
        serde_json::from_value(row).unwrap()
    }

    fn report(name: &str, nodes: &[(&str, &str)], lanes: &[(&str, u64, &str)]) -> Report {
        Report {
            name: name.into(),
            own: (name.into(), "1.0".into()),
            nodes: nodes.iter().map(|(name, state)| node(name, state)).collect(),
            lanes: lanes.iter().map(|&(of, clock, digest)| lane(of, clock, digest)).collect(),
        }
    }

    const A: &[(&str, &str)] = &[("a", "local"), ("b", "up")];
    const B: &[(&str, &str)] = &[("a", "up"), ("b", "local")];

    #[test]
    fn equal_clocks_and_digests_agree_and_a_lane_that_did_is_done() {
        let (mut judge, now) = (Judge::default(), Instant::now());
        let b = || report("b", B, &[("a", 5, "x"), ("b", 7, "y")]);
        judge.hear(&[report("a", A, &[("a", 5, "x"), ("b", 6, "y")]), b()], now);
        assert!(!judge.agrees());
        // The lane that was equal has moved on at one of them.
        judge.hear(&[report("a", A, &[("a", 9, "z"), ("b", 7, "y")]), b()], now);
        assert!(judge.agrees());
        assert_eq!(judge.lanes_agreed(), 2);
    }

    #[test]
    fn what_moves_is_no_difference_and_what_stands_still_is_one() {
        let (mut judge, start) = (Judge::default(), Instant::now());
        let b = || report("b", B, &[("a", 5, "x")]);
        for step in 0..10 {
            judge.hear(&[report("a", A, &[("a", 6 + step, "x")]), b()], start + SETTLED * step as u32);
        }
        let now = start + SETTLED * 9;
        assert!(!judge.is_settled(now) && judge.open(now).0.is_empty());
        for (digest, clock) in [("other", 5), ("x", 6)] {
            judge.hear(&[report("a", A, &[("a", clock, digest)]), b()], now);
            assert!(judge.open(now).0.is_empty(), "it was seen once");
            let later = now + SETTLED;
            judge.hear(&[report("a", A, &[("a", clock, digest)]), b()], later);
            assert!(judge.is_settled(later));
            let (differs, moving) = judge.open(later);
            assert!(moving.is_empty());
            assert_eq!(
                (&differs[0].0.observer[..], &differs[0].0.node[..], differs[0].0.lane),
                ("b", "a", Some(0))
            );
            assert!(differs[0].1.contains("b has 1 entries at clock 5, digest x"), "{}", differs[0].1);
        }
    }

    #[test]
    fn nodes_that_are_unknown_down_or_of_another_life_are_differences() {
        let now = Instant::now();
        let problem = |nodes: &[(&str, &str)]| {
            let mut judge = Judge::default();
            judge.hear(&[report("a", A, &[]), report("b", nodes, &[])], now);
            let open: Vec<String> = judge.open(now).1.into_iter().map(|(_, text)| text.to_owned()).collect();
            open.join("; ")
        };
        assert_eq!(problem(B), "");
        assert_eq!(problem(&[("b", "local")]), "b does not know a, which a sees");
        assert_eq!(problem(&[("a", "down"), ("b", "local")]), "b holds a for down, which a sees");
        assert_eq!(problem(&[("a", "leaving"), ("b", "local")]), "", "that is soon over");
        // One that is down for all is no difference, and its lanes are not compared.
        let mut judge = Judge::default();
        let all = [&[("c", "down")][..], A].concat();
        let others = [&[("c", "down")][..], B].concat();
        judge.hear(&[report("a", &all, &[("c", 4, "x")]), report("b", &others, &[("c", 5, "y")])], now);
        assert!(judge.agrees());
    }
}
