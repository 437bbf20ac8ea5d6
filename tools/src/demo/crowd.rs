//! The demo's clients: a few hundred real connections, which join what the population says.

use super::nodes::Nodes;
use super::population::Population;
use super::progress::Phase;
use crate::failure::Failure;
use headcount::EntryRef;
use headcount_tools::Limit;
use headcount_tools::line::Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Requests sent on a connection before their replies are read. Small enough for the sockets' buffers to hold both.
const PIPELINED: usize = 128;

/// All clients, by number; `None` while one is not connected.
#[derive(Debug)]
pub(crate) struct Crowd {
    clients: Vec<Option<Client>>,
}

type Joined = Vec<(usize, EntryRef)>;

/// Connections of one node, each with the items that it is to join.
type Work<'a, I> = Vec<(&'a mut Client, I)>;

impl Crowd {
    pub(crate) fn new(clients: usize) -> Self {
        Self { clients: (0..clients).map(|_| None).collect() }
    }

    /// Connects the clients of these nodes.
    pub(crate) fn connect(
        &mut self,
        population: &Population,
        nodes: &Nodes,
        which: &[usize],
        limit: &Limit,
    ) -> Result<(), Failure> {
        for &node in which {
            for client in population.clients_of(node) {
                self.clients[client] = Some(Client::connect(nodes.addr(node), limit)?);
            }
        }
        Ok(())
    }

    /// The clients of a node are gone with it.
    pub(crate) fn disconnect(&mut self, population: &Population, node: usize) {
        for client in population.clients_of(node) {
            self.clients[client] = None;
        }
    }

    /// The clients of these nodes enter the lobby.
    pub(crate) fn enter_lobby(
        &mut self,
        population: &mut Population,
        which: &[usize],
        limit: &Limit,
        phase: &Phase,
    ) -> Result<(), Failure> {
        self.join(population, which, limit, phase, |_, client| std::iter::once(client))
    }

    /// The clients of these nodes enter their rooms.
    pub(crate) fn enter_rooms(
        &mut self,
        population: &mut Population,
        which: &[usize],
        limit: &Limit,
        phase: &Phase,
    ) -> Result<(), Failure> {
        self.join(population, which, limit, phase, Population::rooms_of)
    }

    /// One thread a node; it keeps all connections of its node busy.
    fn join<I: Iterator<Item = usize> + Send>(
        &mut self,
        population: &mut Population,
        which: &[usize],
        limit: &Limit,
        phase: &Phase,
        items: impl Fn(&Population, usize) -> I,
    ) -> Result<(), Failure> {
        let mut work: Vec<Work<'_, I>> = (0..population.nodes()).map(|_| Vec::new()).collect();
        for (number, client) in self.clients.iter_mut().enumerate() {
            let node = population.node_of_client(number);
            if let (Some(client), true) = (client, which.contains(&node)) {
                work[node].push((client, items(population, number)));
            }
        }
        let people: &Population = population;
        // Set by the first thread that fails: the others need not finish.
        let failed = AtomicBool::new(false);
        let failed = &failed;
        let outcomes: Vec<Result<Joined, Failure>> = thread::scope(|scope| {
            let thread = |work| {
                scope.spawn(move || {
                    let outcome = join_all(people, work, limit, phase, failed);
                    // Relaxed: the flag carries nothing but itself.
                    failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                    outcome
                })
            };
            let threads: Vec<_> = work.into_iter().map(thread).collect();
            let lost = || Err(Failure::other("a thread of the demo was lost"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
        });
        for outcome in outcomes {
            for (item, entry_ref) in outcome? {
                population.set_ref(item, entry_ref);
            }
        }
        Ok(())
    }
}

fn join_all<I: Iterator<Item = usize>>(
    people: &Population,
    mut work: Work<'_, I>,
    limit: &Limit,
    phase: &Phase,
    failed: &AtomicBool,
) -> Result<Joined, Failure> {
    let mut joined = Vec::new();
    while !failed.load(Ordering::Relaxed) {
        // All write, then all read: the node works on one connection while the next is written.
        let mut sent: Vec<Vec<usize>> = Vec::new();
        for (client, items) in &mut work {
            let batch: Vec<usize> = items.take(PIPELINED).collect();
            for &item in &batch {
                let person = people.person(item);
                client.queue("JOIN", &[people.topic_of(item).as_bytes(), &person.key, &person.meta]);
            }
            client.send(limit)?;
            sent.push(batch);
        }
        if sent.iter().all(Vec::is_empty) {
            break;
        }
        for ((client, _), batch) in work.iter_mut().zip(sent) {
            for &item in &batch {
                joined
                    .push((item, client.reply(limit)?.entry_ref().ok_or_else(|| Failure::unclear("JOIN"))?));
            }
            phase.advance(batch.len());
        }
    }
    Ok(joined)
}
