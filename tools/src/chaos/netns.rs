//! Network namespaces with names, and work done inside them.
//!
//! A thread can be in a namespace of its own, and a socket stays in the one where it was made. So the lab speaks to a node
//! through the loopback interface of the node's own namespace: its questions are not traffic on the links that are measured
//! and broken, and no link leads from the lab to the machine's own network.

use super::system::{self, NETNS_DIR};
use crate::failure::Failure;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

/// How long a killed process may take to be gone.
const KILLED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A namespace by name. Dropping it leaves it where it is: the lab removes all of its own together.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it.
    pub(crate) fn add(name: String) -> Result<Self, Failure> {
        system::run("ip", &["netns", "add", &name])?;
        Ok(Self { name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `ip`, about this namespace.
    pub(crate) fn ip(&self, arguments: &str) -> Result<(), Failure> {
        let mut words = vec!["-n", &self.name];
        words.extend(arguments.split(' '));
        system::run("ip", &words).map(drop)
    }

    /// Any program in this namespace; what it wrote on standard output.
    pub(crate) fn exec(&self, arguments: &str, input: &str) -> Result<String, Failure> {
        let mut words = vec!["netns", "exec", &self.name];
        words.extend(arguments.split(' '));
        system::feed("ip", &words, input)
    }

    /// Does something in a thread that is in this namespace.
    pub(crate) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let path = format!("{NETNS_DIR}/{}", self.name);
        let enter = || {
            let file = File::open(&path)?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(())
        };
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let entered: std::io::Result<()> = enter();
                entered.map_err(|error| Failure::other(format!("cannot enter {path}: {error}")))?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err(Failure::other("a thread of the lab was lost")))
        })
    }
}

/// The namespaces that exist, by name.
pub(crate) fn existing() -> Vec<String> {
    // No directory: nobody has made one since the machine started.
    let Ok(entries) = fs::read_dir(NETNS_DIR) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Removes a namespace, and ends whatever still runs in it: a stopped node would never do so by itself.
pub(crate) fn remove(name: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + KILLED_WITHIN;
    loop {
        let pids = system::run("ip", &["netns", "pids", name])?;
        let pids: Vec<Pid> =
            pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        if pids.is_empty() || Instant::now() >= deadline {
            break;
        }
        for pid in pids {
            // It may be gone already.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(PAUSE);
    }
    system::run("ip", &["netns", "del", name]).map(drop)
}
