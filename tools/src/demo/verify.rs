//! Whether every node lists what the demo put there: each topic, each entry, nothing else.

use super::nodes::{Life, Nodes};
use super::population::Population;
use super::progress::Phase;
use crate::failure::Failure;
use headcount::EntryRef;
use headcount_tools::Limit;
use headcount_tools::line::{Client, Listed, Tokens};
use std::collections::BTreeMap;
use std::thread;

/// LIST requests sent before their replies are read.
const PIPELINED: usize = 16;
/// Differences told of each node; the first say it all.
const TOLD_MAX: usize = 3;

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// In words, a few for each node; empty if all views are equal.
    pub(crate) differences: Vec<String>,
    /// Entries of the life that is over.
    pub(crate) old_life: usize,
    /// Entries compared, on all nodes together.
    pub(crate) compared: usize,
}

impl Findings {
    fn tell(&mut self, difference: String) {
        if self.differences.len() < TOLD_MAX {
            self.differences.push(difference);
        }
    }
}

/// Compares the views of the running nodes with the population, all nodes at the same time. Nothing of the life that is
/// over may be listed.
pub(crate) fn compare(
    nodes: &Nodes,
    population: &Population,
    over: Life,
    limit: &Limit,
    phase: &Phase,
) -> Result<Findings, Failure> {
    let names: Vec<&str> = (0..nodes.len()).map(|node| nodes.name(node)).collect();
    let names = &names[..];
    let outcomes: Vec<Result<Findings, Failure>> = thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .alive()
            .into_iter()
            .map(|node| {
                scope.spawn(move || {
                    let mut client = Client::connect(nodes.addr(node), limit)?;
                    let view = View { name: names[node], names, population, over, limit, phase };
                    view.compare(&mut client)
                })
            })
            .collect();
        let lost = || Err(Failure::other("a thread of the demo was lost"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    let mut all = Findings::default();
    for outcome in outcomes {
        let found = outcome?;
        all.differences.extend(found.differences);
        all.old_life += found.old_life;
        all.compared += found.compared;
    }
    Ok(all)
}

/// One node's view.
struct View<'a> {
    name: &'a str,
    /// Of all nodes, by number.
    names: &'a [&'a str],
    population: &'a Population,
    over: Life,
    limit: &'a Limit,
    phase: &'a Phase,
}

impl View<'_> {
    fn compare(&self, client: &mut Client) -> Result<Findings, Failure> {
        let mut findings = Findings::default();
        self.compare_topics(client, &mut findings)?;
        let topics: Vec<String> = self.population.topics().collect();
        let mut place = 0;
        for batch in topics.chunks(PIPELINED) {
            for topic in batch {
                client.queue("LIST", &[topic.as_bytes()]);
            }
            client.send(self.limit)?;
            for topic in batch {
                let reply = client.reply(self.limit)?;
                let listed: Option<Vec<Listed>> =
                    reply.lines().iter().map(|line| Listed::parse(line, &[b"ENTRY"])).collect();
                let listed = listed.ok_or_else(|| Failure::unclear("LIST"))?;
                self.compare_entries(topic, place, listed, &mut findings);
                place += 1;
            }
            self.phase.advance(batch.len());
        }
        Ok(findings)
    }

    /// That it has the topics and no others, with the right counts.
    fn compare_topics(&self, client: &mut Client, findings: &mut Findings) -> Result<(), Failure> {
        let reply = client.request("TOPICS", &[], self.limit)?;
        let topics: Option<BTreeMap<String, usize>> =
            reply.lines().iter().map(|line| parse_topic(line)).collect();
        let mut topics = topics.ok_or_else(|| Failure::unclear("TOPICS"))?;
        for (place, topic) in self.population.topics().enumerate() {
            let expected = self.present(place).count();
            let counted = topics.remove(&topic).unwrap_or(0);
            if counted != expected {
                findings.tell(format!("{}: {topic} has {counted} entries instead of {expected}", self.name));
            }
        }
        for topic in topics.keys() {
            findings.tell(format!("{}: has the topic {topic}, where nobody is", self.name));
        }
        Ok(())
    }

    fn compare_entries(&self, topic: &str, place: usize, mut listed: Vec<Listed>, findings: &mut Findings) {
        let mut expected: Vec<Listed> = self
            .present(place)
            .map(|(item, entry_ref)| {
                let person = self.population.person(item);
                let node = self.names[self.population.node_of(item)].as_bytes().to_vec();
                Listed { key: person.key, node, entry_ref, meta: person.meta }
            })
            .collect();
        findings.compared += listed.len();
        findings.old_life += listed.iter().filter(|entry| self.is_over(entry.entry_ref)).count();
        expected.sort_unstable();
        listed.sort_unstable();
        if listed == expected {
            return;
        }
        let difference = |wanted: Option<&Listed>, found: Option<&Listed>| {
            let show = |entry: Option<&Listed>| entry.map_or_else(|| "nothing".to_owned(), shown);
            format!("{}: {topic} lists {} where {} belongs", self.name, show(found), show(wanted))
        };
        let length = expected.len().max(listed.len());
        let first = (0..length).find(|&at| expected.get(at) != listed.get(at)).unwrap_or(0);
        findings.tell(difference(expected.get(first), listed.get(first)));
    }

    /// The items of a topic that are present, with their refs.
    fn present(&self, place: usize) -> impl Iterator<Item = (usize, EntryRef)> + '_ {
        self.population.items_at(place).filter_map(|item| Some((item, self.population.entry_ref(item)?)))
    }

    fn is_over(&self, entry_ref: EntryRef) -> bool {
        self.over == (entry_ref.node, entry_ref.incarnation)
    }
}

fn parse_topic(line: &[u8]) -> Option<(String, usize)> {
    let mut tokens = Tokens::new(line);
    if *tokens.token().ok()??.bytes != *b"TOPIC" {
        return None;
    }
    let name = String::from_utf8_lossy(&tokens.token().ok()??.bytes).into_owned();
    let count = str::from_utf8(&tokens.token().ok()??.bytes).ok()?.parse().ok()?;
    Some((name, count))
}

fn shown(entry: &Listed) -> String {
    format!("{} {}", String::from_utf8_lossy(&entry.key), entry.entry_ref)
}
