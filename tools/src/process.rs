//! Node processes that end with whoever started them.
//!
//! A [`NodeProcess`] is a guard: dropping it kills the process and waits for it. If the starter itself is killed, the
//! node sees the end of its standard input (it runs with `--exit-with-stdin`) and leaves on its own.

use crate::limit::{LOOK_AGAIN, Limit, Stopped};
use headcount_net::KeyText;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Lines of standard error kept for a message about a process that failed.
const SAID_MAX: usize = 64;

/// The environment variable that `headcount node` takes the cluster's keys from, if it is given no file.
pub const KEY_VARIABLE: &str = "HEADCOUNT_KEY";

/// What a node says on standard output, in one line, when it serves: with `--json` as an object of these fields.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The node's name.
    pub name: String,
    /// Where it accepts clients.
    pub clients: SocketAddr,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's multicast group.
    pub group: SocketAddr,
    /// The node's id, as refs show it.
    pub node_id: String,
    /// This life of the node, as refs show it.
    pub incarnation: String,
    /// The process.
    pub pid: u32,
}

/// How to start a node.
#[derive(Clone, Debug)]
pub struct NodeCommand {
    /// What starts the program, if it is not to be started directly: a program that runs the command line behind it in its own
    /// place, with its arguments (`ip netns exec NAME`).
    pub launcher: Vec<String>,
    /// The `headcount` program.
    pub program: PathBuf,
    /// `--name`
    pub name: String,
    /// `--cluster`
    pub cluster: String,
    /// `--group`
    pub group: SocketAddr,
    /// `--listen`
    pub listen: SocketAddr,
    /// Further options.
    pub options: Vec<String>,
    /// The cluster's key, for [`KEY_VARIABLE`]: a command line is for everybody to see, this is not. Without it the node has the
    /// environment of whoever starts it.
    pub key: Option<KeyText>,
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready ({status}) {said}")]
    Ended {
        /// The node's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote on standard error.
        said: String,
    },
    /// Its first line was not the ready line.
    #[error("{name} said {line:?} instead of that it is ready")]
    NotReady {
        /// The node's name.
        name: String,
        /// What it said.
        line: String,
    },
    /// The limit ended the wait; the process was killed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The system failed to tell about the process.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running node.
#[derive(Debug)]
pub struct NodeProcess {
    process: Guarded,
    /// Closing it asks the node to leave.
    stdin: Option<ChildStdin>,
    ready: Ready,
    said: Said,
}

/// The last lines of standard error, gathered by a thread that ends with the process.
#[derive(Debug)]
struct Said {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl NodeCommand {
    /// A node of `cluster` on any free port of the loopback interface.
    #[must_use]
    pub fn new(program: PathBuf, name: &str, cluster: &str, group: SocketAddr) -> Self {
        Self {
            launcher: Vec::new(),
            program,
            name: name.into(),
            cluster: cluster.into(),
            group,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            options: Vec::new(),
            key: None,
        }
    }

    /// Starts the node without waiting for it.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn start(&self) -> Result<StartingNode, ProcessError> {
        let mut command = match self.launcher.split_first() {
            None => Command::new(&self.program),
            Some((launcher, arguments)) => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        command
            .arg("node")
            .args(["--name", &self.name, "--cluster", &self.cluster])
            .args(["--group", &self.group.to_string(), "--listen", &self.listen.to_string()])
            .args(["--json", "--exit-with-stdin"])
            .args(&self.options)
            .envs(self.key.as_ref().map(|key| (KEY_VARIABLE, key.expose())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own: Ctrl-C in the terminal reaches the starter, which decides what becomes of its nodes.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command
            .spawn()
            .map_err(|source| ProcessError::Start { program: self.program.clone(), source })?;
        let mut process = Guarded(child);

        let stdin = process.0.stdin.take();
        let said = Said::gather(process.0.stderr.take());
        let (send, first_line) = mpsc::channel();
        if let Some(stdout) = process.0.stdout.take() {
            // Reads on after the first line so that the node never blocks on a full pipe.
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            });
        }
        Ok(StartingNode { name: self.name.clone(), process, stdin, said, first_line })
    }
}

/// A process that is killed and waited for when it is dropped; harmless for one that has ended.
#[derive(Debug)]
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that was started and is not ready yet. Dropping it kills the process.
#[derive(Debug)]
pub struct StartingNode {
    name: String,
    process: Guarded,
    stdin: Option<ChildStdin>,
    said: Said,
    first_line: Receiver<String>,
}

impl StartingNode {
    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Waits until the node serves.
    ///
    /// # Errors
    /// It ended, said something else, or the limit ended the wait; in every case the process is gone.
    pub fn ready(self, limit: &Limit) -> Result<NodeProcess, ProcessError> {
        let line = loop {
            match self.first_line.recv_timeout(LOOK_AGAIN) {
                Ok(line) => break line,
                Err(RecvTimeoutError::Timeout) => limit.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended(limit)),
            }
        };
        let Ok(ready) = serde_json::from_str(&line) else {
            return Err(ProcessError::NotReady { name: self.name, line });
        };
        Ok(NodeProcess { process: self.process, stdin: self.stdin, ready, said: self.said })
    }

    fn ended(mut self, limit: &Limit) -> ProcessError {
        let status =
            limit.poll(Duration::from_millis(5), || Ok::<_, ProcessError>(self.process.0.try_wait()?));
        match status {
            Ok(status) => ProcessError::Ended { name: self.name, status, said: self.said.all() },
            Err(error) => error,
        }
    }
}

impl NodeProcess {
    /// What it said when it was ready.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// What it wrote on standard error, the last lines of it.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.so_far()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The system failed to tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.0.try_wait()
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Kills it (SIGKILL): no chance to say goodbye. Returns at once; the process is waited for on drop.
    ///
    /// # Errors
    /// The system refused.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.0.kill()
    }

    /// Asks it to leave the cluster and waits until it ended.
    ///
    /// # Errors
    /// The limit ended the wait; the process is killed by the drop that follows.
    pub fn leave(mut self, limit: &Limit) -> Result<ExitStatus, ProcessError> {
        drop(self.stdin.take());
        limit.poll(Duration::from_millis(2), || Ok(self.process.0.try_wait()?))
    }

    /// Asks all of them to leave at once and waits for all; whoever has not ended when the limit does is killed.
    pub fn leave_all(mut nodes: Vec<Self>, limit: &Limit) {
        for node in &mut nodes {
            drop(node.stdin.take());
        }
        for node in nodes {
            // Killed by the drop in `leave` if it did not end.
            let _ = node.leave(limit);
        }
    }
}

impl Said {
    fn gather(stderr: Option<impl io::Read + Send + 'static>) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let gathered = Arc::clone(&lines);
        let reader = stderr.map(|stderr| {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                    if gathered.len() == SAID_MAX {
                        gathered.pop_front();
                    }
                    gathered.push_back(line);
                }
            })
        });
        Self { lines, reader }
    }

    fn so_far(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Everything, of a process that has ended.
    fn all(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}
