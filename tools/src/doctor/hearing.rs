//! Who hears whom, as one node knows it: how long it has not heard each of the others, and what they say themselves.

use super::sample::{Node, Sample};
use serde::Serialize;

/// Nodes that are drawn.
const DRAWN_MAX: usize = 32;
/// What is said above the listeners.
const HEADING: &str = "hears:";
/// Reports of members that a heartbeat has room for, in calm times: they take turns.
const REPORTS: u64 = 16;

/// What is known of how a listener hears a speaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hearing {
    /// A node and itself.
    Itself,
    /// It had not heard it for so many nanoseconds when it said so last; `u64::MAX`: for longer than can be said.
    #[serde(rename = "silence_ns")]
    Silence(u64),
    /// It speaks, and says nothing of it any more, as nodes do of those that they hold for down.
    Unmentioned,
    /// It has not said.
    Unknown,
}

/// See the module's documentation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Matrix {
    /// This node first, the others by name.
    pub(crate) names: Vec<String>,
    /// Rows of listeners, with a cell for each speaker.
    pub(crate) cells: Vec<Vec<Hearing>>,
    /// Silence up to this is calm; beyond it a node is suspect.
    suspect_after: u64,
    down_after: u64,
}

/// A link that does not work as it should: the numbers of two nodes in the matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The first hears the second, which does not hear the first.
    OneWay(usize, usize),
    /// Neither hears the other.
    Cut(usize, usize),
}

impl Matrix {
    pub(crate) fn of(name: &str, node: &Node, sample: &Sample) -> Self {
        let mut peers: Vec<_> = sample.peers.iter().collect();
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        let ids: Vec<u64> = [node.id].into_iter().chain(peers.iter().map(|peer| peer.id)).collect();
        // A node under strain bears longer silence, up to twice as long.
        let patience = node.patience.clamp(1000, 2000);
        let suspect_after = node.suspect_after.saturating_mul(patience) / 1000;
        let rounds = ids.len() as u64 / REPORTS + 1;
        let report_max = node.down_after.saturating_add(node.heartbeat.saturating_mul(2 * rounds));
        let silence_of = |id: u64| {
            let peer = peers.iter().find(|peer| peer.id == id)?;
            sample.ago(peer.heard_at).map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
        };
        let speaks = |id: u64| silence_of(id).is_some_and(|silence| silence <= suspect_after);
        let cell = |listener: u64, speaker: u64| {
            if listener == speaker {
                return Hearing::Itself;
            }
            if listener == node.id {
                return silence_of(speaker).map_or(Hearing::Unknown, Hearing::Silence);
            }
            let said = |pair: &&super::sample::Pair| (pair.listener, pair.speaker) == (listener, speaker);
            match sample.pairs.iter().find(said) {
                Some(pair) if sample.now.saturating_sub(pair.said_at) <= report_max => {
                    Hearing::Silence(pair.silence)
                }
                Some(_) if speaks(listener) => Hearing::Unmentioned,
                _ => Hearing::Unknown,
            }
        };
        let cells = ids
            .iter()
            .map(|&listener| ids.iter().map(|&speaker| cell(listener, speaker)).collect())
            .collect();
        let names = [name].into_iter().chain(peers.iter().map(|peer| peer.name.as_str()));
        let down_after = node.down_after.max(suspect_after);
        Self { names: names.map(super::words::plain).collect(), cells, suspect_after, down_after }
    }

    /// Whether it hears it; `None` if that is not known.
    fn hears(&self, listener: usize, speaker: usize) -> Option<bool> {
        match self.cells[listener][speaker] {
            Hearing::Silence(silence) => Some(silence <= self.suspect_after),
            Hearing::Unmentioned => Some(false),
            Hearing::Itself | Hearing::Unknown => None,
        }
    }

    /// Links that do not work as they should, between nodes that somebody hears: who is heard by nobody has no fault in a link.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let nodes = 0..self.names.len();
        let is_heard = |node: usize| node == 0 || nodes.clone().any(|by| self.hears(by, node) == Some(true));
        let mut faults = Vec::new();
        for a in nodes.clone() {
            for b in a + 1..self.names.len() {
                if !is_heard(a) || !is_heard(b) {
                    continue;
                }
                match (self.hears(a, b), self.hears(b, a)) {
                    (Some(true), Some(false)) => faults.push(Fault::OneWay(a, b)),
                    (Some(false), Some(true)) => faults.push(Fault::OneWay(b, a)),
                    (Some(false), Some(false)) => faults.push(Fault::Cut(a, b)),
                    _ => {}
                }
            }
        }
        faults
    }

    fn shade(&self, cell: Hearing) -> char {
        match cell {
            Hearing::Itself => '\\',
            Hearing::Unknown => '?',
            Hearing::Unmentioned => '█',
            Hearing::Silence(silence) if silence <= self.suspect_after / 2 => '·',
            Hearing::Silence(silence) if silence <= self.suspect_after => '░',
            Hearing::Silence(silence) if silence <= self.down_after => '▒',
            Hearing::Silence(_) => '█',
        }
    }

    /// The heat map, a line each: listeners from top to bottom, speakers from left to right. With more nodes than fit, those with faults.
    pub(crate) fn draw(&self) -> Vec<String> {
        let faults = self.faults();
        let is_at_fault = |node: usize| {
            faults.iter().any(|fault| match *fault {
                Fault::OneWay(a, b) | Fault::Cut(a, b) => node == a || node == b,
            })
        };
        let all = self.names.len();
        let mut drawn: Vec<usize> = (0..all).collect();
        if all > DRAWN_MAX {
            drawn.sort_by_key(|&node| (node != 0 && !is_at_fault(node), node));
            drawn.truncate(DRAWN_MAX);
            drawn.sort_unstable();
        }
        let names = drawn.iter().map(|&node| self.names[node].as_str());
        let width = names.chain([HEADING]).map(|name| name.chars().count()).max().unwrap_or(0);
        let column = (drawn.len()).to_string().len() + 1;
        let heads: String = (1..=drawn.len()).map(|number| format!("{number:>column$}")).collect();
        let mut lines = vec![format!("{:>column$} {:width$} {heads}", "", HEADING)];
        for (row, &listener) in drawn.iter().enumerate() {
            let cells: String = drawn
                .iter()
                .map(|&speaker| format!("{:>column$}", self.shade(self.cells[listener][speaker])))
                .collect();
            lines.push(format!("{:>column$} {:width$} {cells}", row + 1, self.names[listener]));
        }
        let limits = [self.suspect_after / 2, self.suspect_after, self.down_after].map(super::words::nanos);
        let [half, suspect, down] = limits;
        lines.push(format!("silence: · up to {half}  ░ {suspect}  ▒ {down}  █ longer  ? not said"));
        if drawn.len() < all {
            lines.push(format!("{} nodes more are not drawn; --json has all", all - drawn.len()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::made;
    use super::super::patient::Patient;
    use super::*;

    fn matrix(patient: &Patient) -> Matrix {
        Matrix::of(&patient.name, patient.now.node.as_ref().unwrap(), &patient.now)
    }

    fn say(patient: &mut Patient, listener: u64, speaker: u64, silence_ms: u64, said_ms_ago: u64) {
        let said_at = patient.now.now - said_ms_ago * 1_000_000;
        let silence = silence_ms.saturating_mul(1_000_000);
        let pairs = &mut patient.now.pairs;
        pairs.retain(|pair| (pair.listener, pair.speaker) != (listener, speaker));
        pairs.push(super::super::sample::Pair { listener, speaker, silence, said_at });
    }

    #[test]
    fn a_cluster_in_which_all_hear_each_other_has_no_faults_and_is_drawn_calm() {
        let matrix = matrix(&made::healthy());
        assert_eq!(matrix.faults(), []);
        assert_eq!(
            matrix.draw(),
            [
                "   hears:  1 2 3",
                " 1 web-1   \\ · ·",
                " 2 web-2   · \\ ·",
                " 3 web-3   · · \\",
                "silence: · up to 250 ms  ░ 500 ms  ▒ 2.0 s  █ longer  ? not said",
            ]
        );
    }

    #[test]
    fn a_link_that_works_one_way_is_told_from_one_that_is_cut() {
        let mut patient = made::healthy();
        say(&mut patient, 3, 2, 900, 50);
        assert_eq!(matrix(&patient).faults(), [Fault::OneWay(1, 2)], "web-2 hears web-3");
        assert_eq!(matrix(&patient).draw()[3], " 3 web-3   · ▒ \\");
        say(&mut patient, 2, 3, u64::MAX, 50);
        assert_eq!(matrix(&patient).faults(), [Fault::Cut(1, 2)]);
        // This node is in it as well, and under strain it is more patient.
        let mut patient = made::healthy();
        say(&mut patient, 2, 1, 700, 50);
        assert_eq!(matrix(&patient).faults(), [Fault::OneWay(0, 1)]);
        patient.now.node.as_mut().unwrap().patience = 1500;
        assert_eq!(matrix(&patient).faults(), []);
    }

    #[test]
    fn who_says_nothing_of_a_node_any_more_does_not_hear_it_if_it_speaks_at_all() {
        let mut patient = made::healthy();
        say(&mut patient, 2, 1, 20, 9_000);
        assert_eq!(matrix(&patient).cells[1][0], Hearing::Unmentioned);
        assert_eq!(matrix(&patient).faults(), [Fault::OneWay(0, 1)]);
        patient.now.peers[0].heard_at -= 9_000_000_000;
        assert_eq!(matrix(&patient).cells[1][0], Hearing::Unknown, "web-2 has fallen silent");
        patient.now.pairs.clear();
        assert_eq!(matrix(&patient).draw()[2], " 2 web-2   ? \\ ?");
    }

    #[test]
    fn the_dead_have_no_faulty_links() {
        let mut patient = made::healthy();
        patient.now.peers[1].heard_at -= 30_000_000_000;
        say(&mut patient, 2, 3, 30_000, 50);
        assert_eq!(matrix(&patient).faults(), [], "nobody hears web-3");
    }

    #[test]
    fn of_many_nodes_those_with_faults_are_drawn() {
        let mut patient = made::healthy();
        for id in 4..=60 {
            let peer =
                super::super::sample::Peer { name: format!("web-{id:02}"), id, ..made::peer(&patient.now) };
            patient.now.peers.push(peer);
        }
        say(&mut patient, 60, 1, 900, 50);
        let drawn = matrix(&patient).draw();
        assert_eq!(drawn.len(), 1 + DRAWN_MAX + 2);
        assert!(drawn.iter().any(|line| line.contains("web-60")), "{drawn:?}");
        assert_eq!(drawn.last().unwrap(), "28 nodes more are not drawn; --json has all");
    }
}
