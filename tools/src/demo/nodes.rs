//! The demo's nodes: their processes, and one connection to each for questions.

use crate::failure::{Failure, Seen, until};
use crate::process_cost;
use headcount::counters::default_dir;
use headcount::{Incarnation, NodeId};
use headcount_tools::Limit;
use headcount_tools::line::{Client, Tokens, parse_ref};
use headcount_tools::process::{NodeCommand, NodeProcess, ProcessError, StartingNode};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(2);
/// How old a node's figures can be, with something to spare.
const TOLD_WAIT: Duration = Duration::from_secs(1);
/// How long a node that was started again may find its port taken.
const PORT_WAIT: Duration = Duration::from_secs(5);

/// The cluster. Dropping it kills every process, and removes what killed ones leave behind.
#[derive(Debug)]
pub(crate) struct Nodes {
    commands: Vec<NodeCommand>,
    running: Vec<Option<Running>>,
    /// Processes whose files may still be there.
    started: Vec<u32>,
}

#[derive(Debug)]
struct Running {
    process: NodeProcess,
    questions: Client,
}

impl Nodes {
    /// Starts all at once and waits until each serves.
    pub(crate) fn start(commands: Vec<NodeCommand>, limit: &Limit) -> Result<Self, Failure> {
        // First of all, so that it is dropped last: what is removed then is of processes that have ended.
        let mut nodes = Self { commands, running: Vec::new(), started: Vec::new() };
        let mut starting: Vec<StartingNode> = Vec::new();
        for command in &nodes.commands {
            let node = command.start()?;
            nodes.started.push(node.id());
            starting.push(node);
        }
        for (number, node) in starting.into_iter().enumerate() {
            let process = node.ready(limit)?;
            // The address that it has is the one it will have again.
            let addr = process.ready().clients;
            nodes.commands[number].listen = addr;
            let questions = Client::connect(addr, limit)?;
            nodes.running.push(Some(Running { process, questions }));
        }
        Ok(nodes)
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn name(&self, node: usize) -> &str {
        &self.commands[node].name
    }

    pub(crate) fn addr(&self, node: usize) -> SocketAddr {
        self.commands[node].listen
    }

    /// The nodes that run.
    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.len()).filter(|&node| self.running[node].is_some()).collect()
    }

    /// The life that a node lives now, as it says itself.
    pub(crate) fn life(&mut self, node: usize, limit: &Limit) -> Result<Life, Failure> {
        let name = self.commands[node].name.clone();
        let member = self.members(node, limit)?.remove(&name);
        member.and_then(|member| member.life).ok_or_else(|| Failure::unclear("NODES"))
    }

    /// Waits until every node has every other one as a member and everything that it holds.
    pub(crate) fn wait_for_members(&mut self, limit: &Limit) -> Result<(), Failure> {
        let alive = self.alive();
        until(limit, PAUSE, || {
            for &node in &alive {
                let members = self.members(node, limit)?;
                let present = members.values().filter(|member| member.present).count();
                if present < alive.len() {
                    let missing = alive
                        .iter()
                        .map(|&other| self.name(other))
                        .filter(|&name| members.get(name).is_none_or(|member| !member.present));
                    let missing = missing.collect::<Vec<_>>().join(", ");
                    return Ok(Seen::Missing(format!("{} to know {missing} in full", self.name(node))));
                }
            }
            Ok(Seen::Done(()))
        })
    }

    /// Waits until every running node counts `expected` entries. `seen` is told the least count.
    pub(crate) fn wait_for_count(
        &mut self,
        expected: usize,
        limit: &Limit,
        mut seen: impl FnMut(usize),
    ) -> Result<(), Failure> {
        let mut waiting = self.alive();
        until(limit, PAUSE, || {
            let mut missing = Vec::new();
            let mut least = expected;
            for node in std::mem::take(&mut waiting) {
                let count = self.count(node, limit)?;
                if count != expected {
                    least = least.min(count);
                    missing.push(format!("{} counts {count}", self.name(node)));
                    waiting.push(node);
                }
            }
            seen(least);
            if waiting.is_empty() {
                return Ok(Seen::Done(()));
            }
            Ok(Seen::Missing(format!("{expected} entries on every node ({})", missing.join(", "))))
        })
    }

    pub(crate) fn count(&mut self, node: usize, limit: &Limit) -> Result<usize, Failure> {
        let count = self.questions(node)?.request("COUNT", &[], limit)?.number();
        count.and_then(|count| usize::try_from(count).ok()).ok_or_else(|| Failure::unclear("COUNT"))
    }

    /// Every figure of a node's STATS.
    pub(crate) fn stats(&mut self, node: usize, limit: &Limit) -> Result<HashMap<String, u64>, Failure> {
        let reply = self.questions(node)?.request("STATS", &[], limit)?;
        let figure = |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line);
            let mut words = text.split(' ').skip(1);
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        };
        Ok(reply.lines().iter().filter_map(figure).collect())
    }

    /// One figure, of all running nodes together.
    pub(crate) fn stat_sum(&mut self, name: &str, limit: &Limit) -> Result<u64, Failure> {
        let mut sum = 0;
        for node in self.alive() {
            sum += self.stats(node, limit)?.get(name).copied().unwrap_or(0);
        }
        Ok(sum)
    }

    /// Processor time that all running nodes have used; zero where the system does not tell.
    pub(crate) fn cpu_time(&self) -> Duration {
        let running = self.running.iter().flatten();
        running.filter_map(|running| process_cost::cpu_time(running.process.id())).sum()
    }

    /// Waits until the nodes have told each other this many operations since they started, all together, or gives up after
    /// a moment: what a snapshot has told is not told again.
    pub(crate) fn wait_for_told(&mut self, operations: u64, limit: &Limit) -> Result<(), Failure> {
        let moment = limit.within(TOLD_WAIT);
        while self.stat_sum("net.delta_ops_sent", limit)? < operations && moment.check().is_ok() {
            limit.sleep(PAUSE)?;
        }
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) -> Result<(), Failure> {
        if let Some(mut running) = self.running[node].take() {
            running.process.kill().map_err(|error| Failure::other(format!("cannot kill: {error}")))?;
            let pid = running.process.id();
            drop(running);
            self.started.retain(|&started| started != pid);
            remove_remains(pid);
        }
        Ok(())
    }

    /// Starts a node again, under its name and at its address.
    pub(crate) fn start_again(&mut self, node: usize, limit: &Limit) -> Result<(), Failure> {
        let port_limit = limit.within(PORT_WAIT);
        let command = self.commands[node].clone();
        let process = loop {
            let starting = command.start()?;
            self.started.push(starting.id());
            match starting.ready(limit) {
                Ok(process) => break process,
                // Somebody else's connection may have the number for a moment.
                Err(ProcessError::Ended { said, .. })
                    if said.contains("--listen") && port_limit.check().is_ok() =>
                {
                    limit.sleep(Duration::from_millis(50))?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let questions = Client::connect(command.listen, limit)?;
        self.running[node] = Some(Running { process, questions });
        Ok(())
    }

    /// The first node that has ended by itself, with what it said.
    pub(crate) fn fallen(&mut self) -> Option<String> {
        for (running, command) in self.running.iter_mut().zip(&self.commands) {
            let Some(running) = running else { continue };
            if let Ok(Some(status)) = running.process.ended() {
                return Some(format!(
                    "{} ended by itself ({status}) {}",
                    command.name,
                    running.process.said()
                ));
            }
        }
        None
    }

    /// Ends all, giving them until the limit to say goodbye.
    pub(crate) fn leave(mut self, limit: &Limit) {
        let running = self.running.drain(..).flatten();
        NodeProcess::leave_all(running.map(|running| running.process).collect(), limit);
    }

    fn questions(&mut self, node: usize) -> Result<&mut Client, Failure> {
        match &mut self.running[node] {
            Some(running) => Ok(&mut running.questions),
            None => Err(Failure::other("asked a node that does not run")),
        }
    }

    fn members(&mut self, node: usize, limit: &Limit) -> Result<HashMap<String, Member>, Failure> {
        let reply = self.questions(node)?.request("NODES", &[], limit)?;
        Ok(reply.lines().iter().filter_map(|line| Member::parse(line)).collect())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Kills whoever still runs, and waits for them.
        self.running.clear();
        self.started.iter().for_each(|&pid| remove_remains(pid));
    }
}

/// Removes the counters file, and the admin socket, of a node that was killed: whoever asks for what runs would be told of a process that
/// has crashed. One that left has taken them along.
fn remove_remains(pid: u32) {
    let prefix = format!("headcount.{pid}.");
    let Ok(files) = fs::read_dir(default_dir()) else { return };
    for file in files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(&prefix)) {
        // What cannot be removed is told as dead for ten minutes, and is harmless.
        let _ = fs::remove_file(file.path());
    }
}

/// A life of a node: its id and its incarnation, which every ref of that life carries.
pub(crate) type Life = (NodeId, Incarnation);

/// What a NODE line says.
#[derive(Debug)]
struct Member {
    /// Heard, and everything it had is here.
    present: bool,
    life: Option<Life>,
}

impl Member {
    fn parse(line: &[u8]) -> Option<(String, Self)> {
        let mut tokens = Tokens::new(line);
        let mut words = Vec::new();
        while let Ok(Some(token)) = tokens.token() {
            words.push(String::from_utf8_lossy(&token.bytes).into_owned());
        }
        let [_, name, id, state, _, _, synced, incarnation] = &words[..] else { return None };
        let present = matches!(&state[..], "local" | "up") && synced == "synced=yes";
        let incarnation = incarnation.strip_prefix("incarnation=")?;
        // Both parts as a ref shows them.
        let dot = parse_ref(format!("{id}-{incarnation}-0-0").as_bytes());
        let life = dot.map(|dot| (dot.node, dot.incarnation));
        Some((name.clone(), Self { present, life }))
    }
}
