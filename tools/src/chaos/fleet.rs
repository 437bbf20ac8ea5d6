//! The node processes of a lab, and what they say about the cluster and about themselves.

use super::lab::{Host, Lab};
use crate::failure::{Failure, Seen, until};
use crate::process_cost;
use headcount_net::{KeyText, Keys};
use headcount_tools::Limit;
use headcount_tools::line::{Client, ClientError, Listed, Tokens};
use headcount_tools::process::{NodeCommand, NodeProcess};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};
use socket2::Socket;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every lab has a network of its own, so they may share these.
const GROUP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(239, 255, 77, 77)), 7077);
const CLUSTER: &str = "chaos";
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(2);
/// LIST requests sent before their replies are read.
const PIPELINED: usize = 16;

/// An entry with its topic, as LIST tells it.
pub(crate) type Row = (Vec<u8>, Listed);
/// The figures of STATS.
pub(crate) type Figures = BTreeMap<String, u64>;

/// The nodes of a lab, one for each host. Dropping it kills every process.
#[derive(Debug)]
pub(crate) struct Fleet {
    program: PathBuf,
    key: KeyText,
    /// Nodes that are started disturb what they receive.
    disorder: bool,
    running: Vec<Option<Running>>,
    /// What processes that are gone had counted, by host: the figures that are sums.
    gone: Vec<Figures>,
    /// Processor time of processes that are gone, by host.
    used: Vec<Duration>,
}

#[derive(Debug)]
struct Running {
    process: NodeProcess,
    questions: Client,
}

impl Fleet {
    /// Starts a node on every host and waits until each serves.
    pub(crate) fn start(lab: &Lab, limit: &Limit) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::other(format!("cannot find this program: {error}")))?;
        let key = Keys::generate(1).map_err(|error| Failure::other(format!("cannot make a key: {error}")))?;
        let nodes = lab.hosts().len();
        let mut fleet = Self {
            program,
            key,
            disorder: false,
            running: (0..nodes).map(|_| None).collect(),
            gone: vec![Figures::new(); nodes],
            used: vec![Duration::ZERO; nodes],
        };
        // All at once, as after a power cut.
        let starting: Vec<_> =
            (0..nodes).map(|node| fleet.command(lab, node).start()).collect::<Result<_, _>>()?;
        for (node, starting) in starting.into_iter().enumerate() {
            fleet.take(lab, node, starting.ready(limit)?, limit)?;
        }
        Ok(fleet)
    }

    fn command(&self, lab: &Lab, node: usize) -> NodeCommand {
        let host: &Host = &lab.hosts()[node];
        let mut command = NodeCommand::new(self.program.clone(), &name(node), CLUSTER, GROUP);
        command.launcher = ["ip", "netns", "exec", host.namespace.name()].map(Into::into).into();
        // Nobody looks inside, and the many that are killed would leave their files.
        command.options = vec!["--interface".into(), host.ip.to_string(), "--counters".into(), "off".into()];
        if self.disorder {
            command.options.extend(["--disorder".into(), (node + 1).to_string()]);
        }
        command.key = Some(self.key.clone());
        command
    }

    /// Nodes that are started from now on disturb what they receive, each from its number as a seed.
    pub(crate) fn disturb(&mut self) {
        self.disorder = true;
    }

    fn take(&mut self, lab: &Lab, node: usize, process: NodeProcess, limit: &Limit) -> Result<(), Failure> {
        let questions = connect(lab, node, process.ready().clients, limit)?;
        self.running[node] = Some(Running { process, questions });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// The nodes that run.
    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.len()).filter(|&node| self.running[node].is_some()).collect()
    }

    /// A new connection to a node, from its own host.
    pub(crate) fn connect(&self, lab: &Lab, node: usize, limit: &Limit) -> Result<Client, Failure> {
        let running = self.running[node].as_ref().ok_or_else(not_running)?;
        connect(lab, node, running.process.ready().clients, limit)
    }

    /// Starts the node of a host again, under its name.
    pub(crate) fn start_again(&mut self, lab: &Lab, node: usize, limit: &Limit) -> Result<(), Failure> {
        let process = self.command(lab, node).start()?.ready(limit)?;
        self.take(lab, node, process, limit)
    }

    /// SIGKILL, and the end of the process.
    pub(crate) fn kill(&mut self, node: usize, limit: &Limit) -> Result<(), Failure> {
        let mut running = self.retire(node, limit)?;
        running.process.kill().map_err(|error| Failure::other(format!("cannot kill: {error}")))
    }

    /// Lets a node say goodbye and waits until it is gone.
    pub(crate) fn leave(&mut self, node: usize, limit: &Limit) -> Result<(), Failure> {
        let running = self.retire(node, limit)?;
        let said = running.process.said();
        let status = running.process.leave(limit)?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::other(format!("{} left badly: {said}", name(node))))
        }
    }

    /// Keeps what it has counted, as of this moment.
    fn retire(&mut self, node: usize, limit: &Limit) -> Result<Running, Failure> {
        self.gone[node] = self.figures(node, limit)?;
        self.used[node] = self.cpu_time(node);
        self.running[node].take().ok_or_else(not_running)
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, node: usize, signal: Signal) -> Result<(), Failure> {
        let pid = self.pid(node).ok_or_else(not_running)?;
        kill_process(pid, signal).map_err(|error| Failure::other(format!("cannot send a signal: {error}")))
    }

    /// Makes the receive buffers of a node's UDP sockets as small as the system lets them be, from outside. Returns how many
    /// sockets there were.
    pub(crate) fn shrink_buffers(&self, node: usize) -> Result<usize, Failure> {
        let pid = self.pid(node).ok_or_else(not_running)?;
        let shrink = || -> io::Result<usize> {
            let sockets = udp_sockets(pid)?;
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            for &descriptor in &sockets {
                let copy = pidfd_getfd(process.as_fd(), descriptor, PidfdGetfdFlags::empty())?;
                Socket::from(copy).set_recv_buffer_size(1)?;
            }
            Ok(sockets.len())
        };
        shrink()
            .map_err(|error| Failure::other(format!("cannot reach the sockets of {}: {error}", name(node))))
    }

    fn pid(&self, node: usize) -> Option<Pid> {
        let id = self.running[node].as_ref()?.process.id();
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// Processor time of all processes of a host.
    pub(crate) fn cpu_time(&self, node: usize) -> Duration {
        let now =
            self.running[node].as_ref().and_then(|running| process_cost::cpu_time(running.process.id()));
        self.used[node] + now.unwrap_or_default()
    }

    /// Waits until every running node has every other one as a member and everything that it holds.
    pub(crate) fn wait_for_members(&mut self, limit: &Limit) -> Result<(), Failure> {
        let alive = self.alive();
        until(limit, PAUSE, || {
            for &node in &alive {
                let present = self.members(node, limit)?;
                let missing: Vec<String> =
                    alive.iter().map(|&other| name(other)).filter(|name| !present.contains(name)).collect();
                if !missing.is_empty() {
                    let missing = missing.join(", ");
                    return Ok(Seen::Missing(format!("{} to know {missing} in full", name(node))));
                }
            }
            Ok(Seen::Done(()))
        })
    }

    /// Waits until every running node counts so many entries.
    pub(crate) fn wait_for_count(&mut self, expected: u64, limit: &Limit) -> Result<(), Failure> {
        let alive = self.alive();
        until(limit, PAUSE, || {
            for &node in &alive {
                let count = self.count(node, limit)?;
                if count != expected {
                    let text = format!("{expected} entries on {}, which counts {count}", name(node));
                    return Ok(Seen::Missing(text));
                }
            }
            Ok(Seen::Done(()))
        })
    }

    pub(crate) fn count(&mut self, node: usize, limit: &Limit) -> Result<u64, Failure> {
        let reply = self.questions(node)?.request("COUNT", &[], limit)?;
        reply.number().ok_or_else(|| Failure::unclear("COUNT"))
    }

    /// Everything that a node lists, in order.
    pub(crate) fn rows(&mut self, node: usize, limit: &Limit) -> Result<Vec<Row>, Failure> {
        let client = self.questions(node)?;
        let reply = client.request("TOPICS", &[], limit)?;
        let topics: Vec<Vec<u8>> =
            reply.lines().iter().filter_map(|line| words(line)?.into_iter().nth(1)).collect();
        let mut rows = Vec::new();
        for batch in topics.chunks(PIPELINED) {
            for topic in batch {
                client.queue("LIST", &[topic]);
            }
            client.send(limit)?;
            for topic in batch {
                for line in client.reply(limit)?.lines() {
                    let listed = Listed::parse(line, &[b"ENTRY"]).ok_or_else(|| Failure::unclear("LIST"))?;
                    rows.push((topic.clone(), listed));
                }
            }
        }
        rows.sort_unstable();
        Ok(rows)
    }

    /// A node's figures since its host's first process started.
    pub(crate) fn figures(&mut self, node: usize, limit: &Limit) -> Result<Figures, Failure> {
        let mut figures = self.gone[node].clone();
        if self.running[node].is_none() {
            return Ok(figures);
        }
        let reply = self.questions(node)?.request("STATS", &[], limit)?;
        for line in reply.lines() {
            let text = String::from_utf8_lossy(line);
            let mut words = text.split(' ').skip(1);
            if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse::<u64>)) {
                *figures.entry(name.to_owned()).or_default() += value;
            }
        }
        Ok(figures)
    }

    /// What a node logged about nodes that it lost.
    pub(crate) fn log_of_downs(&self, node: usize) -> Vec<String> {
        let said = self.running[node].as_ref().map(|running| running.process.said()).unwrap_or_default();
        said.lines().filter(|line| line.contains(" is down")).map(|line| line.trim().to_owned()).collect()
    }

    /// The first node that has ended by itself, with what it said.
    pub(crate) fn fallen(&mut self) -> Option<String> {
        for (node, running) in self.running.iter_mut().enumerate() {
            let Some(running) = running else { continue };
            if let Ok(Some(status)) = running.process.ended() {
                return Some(format!("{} ended by itself ({status}) {}", name(node), running.process.said()));
            }
        }
        None
    }

    /// Ends all, giving them until the limit to say goodbye.
    pub(crate) fn leave_all(mut self, limit: &Limit) {
        let running = self.running.drain(..).flatten();
        NodeProcess::leave_all(running.map(|running| running.process).collect(), limit);
    }

    fn questions(&mut self, node: usize) -> Result<&mut Client, Failure> {
        self.running[node].as_mut().map(|running| &mut running.questions).ok_or_else(not_running)
    }

    /// The names of nodes that are heard and whose entries are all there.
    fn members(&mut self, node: usize, limit: &Limit) -> Result<BTreeSet<String>, Failure> {
        let reply = self.questions(node)?.request("NODES", &[], limit)?;
        Ok(reply.lines().iter().filter_map(|line| present_member(line)).collect())
    }
}

/// The name of the node of a host.
pub(crate) fn name(node: usize) -> String {
    format!("node-{}", node + 1)
}

fn not_running() -> Failure {
    Failure::other("asked a node that does not run")
}

/// Connects from within the node's namespace: the socket stays there.
fn connect(lab: &Lab, node: usize, addr: SocketAddr, limit: &Limit) -> Result<Client, Failure> {
    lab.hosts()[node].namespace.inside(|| {
        Client::connect(addr, limit).map_err(|error: ClientError| {
            Failure::other(format!("cannot connect to {} at {addr}: {error}", name(node)))
        })
    })
}

/// The descriptors of a process that are UDP sockets.
fn udp_sockets(pid: Pid) -> io::Result<Vec<i32>> {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let inodes = udp_inodes(&fs::read_to_string(process.join("net/udp"))?);
    let mut found = Vec::new();
    for entry in fs::read_dir(process.join("fd"))? {
        let entry = entry?;
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let inode = inode_of(&target);
        if inode.is_some_and(|inode| inodes.contains(&inode)) {
            found.extend(entry.file_name().to_str().and_then(|number| number.parse::<i32>().ok()));
        }
    }
    Ok(found)
}

/// The tenth column of each line but the first.
fn udp_inodes(text: &str) -> BTreeSet<u64> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9)?.parse().ok()).collect()
}

fn inode_of(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tokens = Tokens::new(line);
    let mut words = Vec::new();
    while let Some(token) = tokens.token().ok()? {
        words.push(token.bytes.into_owned());
    }
    Some(words)
}

/// The name of a NODE line, if the node is heard and all of it is there.
fn present_member(line: &[u8]) -> Option<String> {
    let words = words(line)?;
    let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).into_owned());
    let is_heard = matches!(word(3)?.as_str(), "local" | "up");
    let is_whole = words.iter().any(|word| word == b"synced=yes");
    (is_heard && is_whole).then(|| word(1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_present_if_it_is_heard_and_whole() {
        let line = |state: &str, synced: &str| {
            format!("NODE node-2 0000001a {state} 12 entries=5 synced={synced} incarnation=1.0000beef")
        };
        assert_eq!(present_member(line("up", "yes").as_bytes()), Some("node-2".into()));
        assert_eq!(present_member(line("local", "yes").as_bytes()), Some("node-2".into()));
        for (state, synced) in [("up", "no"), ("suspect", "yes"), ("down", "yes")] {
            assert_eq!(present_member(line(state, synced).as_bytes()), None, "{state} {synced}");
        }
        assert_eq!(present_member(b"NODE"), None);
    }

    #[test]
    fn sockets_are_found_by_their_inodes() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n \
                    1: 4D4DFFEF:1BA5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 x 0\n";
        assert_eq!(udp_inodes(text), BTreeSet::from([4711]));
        assert_eq!(inode_of(Path::new("socket:[4711]")), Some(4711));
        assert_eq!(inode_of(Path::new("pipe:[4711]")), None);
    }
}
