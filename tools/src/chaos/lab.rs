//! A network of its own: a namespace for each node, and one with the bridge that joins them.
//!
//! Everything is inside namespaces. There is no default route and no link to the machine's own interfaces, so nothing that a
//! node sends can leave the lab, and removing the namespaces removes all of it.
//!
//! It is removed however the program ends: by [`Lab`]'s drop after success, failure, panic or Ctrl-C; by a *keeper*, a process
//! that waits for the end of its standard input, if the program is killed; and by the next start if that is killed too.

use super::links::Link;
use super::netns::{self, Namespace};
use super::system;
use crate::failure::Failure;
use crate::ui;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

/// What the names of all namespaces of all labs start with; whose lab it is follows.
const PREFIX: &str = "headcount-chaos-";

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Lab {
    id: LabId,
    hosts: Vec<Host>,
    keeper: Option<Child>,
}

/// One node's place.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    pub(crate) ip: Ipv4Addr,
    pub(crate) link: Link,
}

/// Whose lab it is: the process that made it, by its number and the moment when it started. The number alone may be somebody
/// else's later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LabId {
    pid: u32,
    /// In the system's own count.
    started: u64,
}

impl LabId {
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        Self { pid, started: started(pid).unwrap_or_default() }
    }

    fn name(self, part: &str) -> String {
        format!("{PREFIX}{self}-{part}")
    }

    /// The lab that a namespace belongs to, if it is one's.
    fn of(name: &str) -> Option<Self> {
        let (id, _) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
        id.parse().ok()
    }

    /// Whether the process that made it runs.
    fn is_alive(self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

impl fmt::Display for LabId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for LabId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (pid, started) = text.split_once('-')?;
            Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
        };
        parse().ok_or("not the id of a lab")
    }
}

/// When a process started, in the system's own count; `None` if it does not run.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state is the first field behind it, the start the twentieth.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

impl Lab {
    /// Makes a network of `nodes` hosts.
    pub(crate) fn new(nodes: usize) -> Result<Self, Failure> {
        let id = LabId::own();
        // Before there is anything to be removed.
        let keeper =
            start_keeper(id).map_err(|error| Failure::other(format!("cannot start a keeper: {error}")))?;
        let mut lab = Self { id, hosts: Vec::new(), keeper: Some(keeper) };
        lab.build(nodes)?;
        Ok(lab)
    }

    fn build(&mut self, nodes: usize) -> Result<(), Failure> {
        let hub = Namespace::add(self.id.name("hub"))?;
        // Without snooping the bridge floods multicast to every port, as a plain switch does.
        hub.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0")?;
        no_ipv6(&hub)?;
        hub.ip("link set br0 up")?;
        for number in 1..=nodes {
            let namespace = Namespace::add(self.id.name(&number.to_string()))?;
            no_ipv6(&namespace)?;
            let last = u8::try_from(number).map_err(|_| Failure::other("too many nodes for the lab"))?;
            let ip = Ipv4Addr::new(10, 77, 0, last);
            hub.ip(&format!("link add port{number} type veth peer name eth0 netns {}", namespace.name()))?;
            hub.ip(&format!("link set port{number} master br0 up"))?;
            namespace.ip(&format!("addr add {ip}/24 dev eth0"))?;
            namespace.ip("link set lo up")?;
            namespace.ip("link set eth0 up")?;
            let link = Link::new(namespace.clone())?;
            self.hosts.push(Host { namespace, ip, link });
        }
        Ok(())
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(self.id);
        if let Some(mut keeper) = self.keeper.take() {
            // The end of its standard input; it finds nothing left to do.
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// IPv4 only: what the kernel says by itself over IPv6 is no traffic of the nodes.
fn no_ipv6(namespace: &Namespace) -> Result<(), Failure> {
    namespace.inside(|| {
        // A kernel without IPv6 has no such file.
        let _ = fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        Ok(())
    })
}

/// Removes every namespace of a lab.
fn remove(lab: LabId) {
    for name in netns::existing() {
        if LabId::of(&name) == Some(lab)
            && let Err(failure) = netns::remove(&name)
            // Another start may have removed it meanwhile.
            && netns::existing().contains(&name)
        {
            ui::note(&format!("cannot remove the namespace {name}: {failure}"));
        }
    }
}

/// Removes what labs have left behind whose processes are gone.
pub(crate) fn remove_leftovers() {
    for name in netns::existing() {
        match LabId::of(&name) {
            Some(lab) if !lab.is_alive() => remove(lab),
            _ => {}
        }
    }
}

/// Makes sure that the system lets a lab be made, with a message that says what is in the way.
pub(crate) fn check() -> Result<(), String> {
    match system::obstacle() {
        Some(obstacle) => Err(obstacle),
        None => system::trial(&LabId::own().name("trial"))
            .map_err(|failure| format!("this system does not let network namespaces be made: {failure}")),
    }
}

/// A process that outlives this one if it must, to remove the lab.
fn start_keeper(lab: LabId) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["keeper", &lab.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    // Ctrl-C in the terminal is not for it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()
}

/// What the keeper does: waits until the process that started it is gone, or has removed its lab, and removes what is left.
pub(crate) fn keep(lab: LabId) {
    let mut ignored = Vec::new();
    // An end and an error mean the same.
    let _ = io::stdin().lock().read_to_end(&mut ignored);
    remove(lab);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_whose_lab_it_is() {
        let lab = LabId { pid: 17, started: 4711 };
        assert_eq!(lab.name("hub"), "headcount-chaos-17-4711-hub");
        assert_eq!(LabId::of(&lab.name("3")), Some(lab));
        for other in ["headcount-chaos-", "headcount-chaos-x-1-1", "headcount-chaos-17-4711", "mine"] {
            assert_eq!(LabId::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_is_alive_only_as_the_one_that_it_is() {
        let own = LabId::own();
        assert!(own.is_alive());
        assert!(!LabId { started: own.started + 1, ..own }.is_alive(), "its number is somebody else's");
        assert!(!LabId { pid: u32::MAX, ..own }.is_alive());
    }
}
