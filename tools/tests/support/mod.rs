//! Clusters of their own for tests: each with a group, a port and a name that no other test has.

#![allow(dead_code)] // Each test program uses its part.

#[cfg(unix)]
pub(crate) mod admin;

use headcount_tools::Limit;
use headcount_tools::line::{Client, ClientError, Listed, Reply};
use headcount_tools::process::{NodeCommand, NodeProcess};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Long enough on a busy machine; nothing waits for it that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

pub(crate) fn patience() -> Limit {
    Limit::after(PATIENCE)
}

pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_headcount").into()
}

/// The command line under test, to its end.
pub(crate) fn headcount(args: &[&str]) -> Output {
    let mut child = Command::new(program())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // Read while it runs: what does not fit a pipe would keep it from ending.
    let out = all_of(child.stdout.take().expect("a pipe"));
    let err = all_of(child.stderr.take().expect("a pipe"));
    let ended = Limit::after(Duration::from_secs(60))
        .poll(PAUSE, || Ok::<_, headcount_tools::Stopped>(child.try_wait().expect("a child")));
    if ended.is_err() {
        child.kill().expect("a child");
    }
    let status = child.wait().expect("a child");
    let [stdout, stderr] = [out, err].map(|reading| reading.join().expect("it is read"));
    let output = Output { status, stdout, stderr };
    assert!(ended.is_ok(), "{args:?} does not end: {}{}", self::stdout(&output), self::stderr(&output));
    output
}

fn all_of(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe");
        bytes
    })
}

/// A process that does not outlive its test, however that ends.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let mut status = None;
        until("the process to end", || {
            status = self.0.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it ended")
    }

    pub(crate) fn interrupt(&self) {
        signal(self.0.id(), "-INT");
    }
}

/// Sends a signal to a process that the test has started.
pub(crate) fn signal(process: u32, signal: &str) {
    let signalled = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(signalled.expect("there is a kill command").success());
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The surroundings of one test.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) cluster: String,
    pub(crate) group: SocketAddr,
    /// Keeps the port to this test.
    _port: UdpSocket,
}

impl Site {
    pub(crate) fn new() -> Self {
        static SITES: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let site = SITES.fetch_add(1, Ordering::Relaxed);
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let number = port.local_addr().expect("a bound port").port();
        let [.., high, low] = pid.wrapping_mul(31).wrapping_add(site).to_be_bytes();
        Self {
            cluster: format!("test-{pid}-{site}"),
            group: SocketAddr::from(([239, 255, high, low], number)),
            _port: port,
        }
    }

    pub(crate) fn command(&self, name: &str) -> NodeCommand {
        let mut command = NodeCommand::new(program(), name, &self.cluster, self.group);
        // Tests kill their nodes, and a killed node's file stays for a while where there may be little room.
        command.options = vec!["--counters".into(), "off".into()];
        command
    }

    pub(crate) fn node(&self, name: &str) -> NodeProcess {
        self.command(name).start().expect("it starts").ready(&patience()).expect("it gets ready")
    }
}

/// A directory for the counters files of a test's nodes, gone with the test. Other users may look into it, as into the usual one.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self { path }
    }

    pub(crate) fn name(&self) -> &str {
        self.path.to_str().expect("text")
    }

    /// A node that keeps its counters here.
    pub(crate) fn node(&self, site: &Site, name: &str) -> NodeProcess {
        let mut command = site.command(name);
        command.options = vec!["--counters".into(), self.name().into()];
        command.start().expect("it starts").ready(&patience()).expect("it gets ready")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A client of a node, as a person with `nc` would be one.
pub(crate) struct Person(pub(crate) Client);

impl Person {
    pub(crate) fn of(node: &NodeProcess) -> Self {
        Self(Client::connect(node.ready().clients, &patience()).expect("the node accepts clients"))
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.0.queue_raw(line.as_bytes());
        self.0.queue_raw(b"\n");
        self.0.send(&patience()).expect("the node takes it");
    }

    /// Types a line and reads the reply as it stands.
    pub(crate) fn says(&mut self, line: &str) -> Result<Reply, ClientError> {
        self.types(line);
        self.0.reply(&patience())
    }

    /// Types a line that is answered by `OK`; returns what follows it.
    pub(crate) fn ok(&mut self, line: &str) -> String {
        match self.says(line) {
            Ok(Reply::Ok(text)) => text,
            other => panic!("{line:?} was answered {other:?}"),
        }
    }

    /// Types a line that is answered by several; returns them.
    pub(crate) fn lines(&mut self, line: &str) -> Vec<String> {
        match self.says(line) {
            Ok(Reply::Lines(lines)) => {
                lines.iter().map(|line| String::from_utf8_lossy(line).into()).collect()
            }
            other => panic!("{line:?} was answered {other:?}"),
        }
    }

    /// Types a line that is refused; returns the code and the words.
    pub(crate) fn refused(&mut self, line: &str) -> (String, String) {
        match self.says(line) {
            Err(ClientError::Refused { code, text }) => (code, text),
            other => panic!("{line:?} was answered {other:?}"),
        }
    }

    pub(crate) fn list(&mut self, topic: &str) -> Vec<Listed> {
        let lines = self.lines(&format!("LIST {topic}"));
        let parse = |line: &String| Listed::parse(line.as_bytes(), &[b"ENTRY"]).expect("a line of an entry");
        lines.iter().map(parse).collect()
    }

    /// The next pushed line.
    pub(crate) fn event(&mut self) -> String {
        let line = self.0.event(&patience()).expect("an event comes");
        String::from_utf8_lossy(&line).into()
    }

    /// One figure of STATS.
    pub(crate) fn stat(&mut self, name: &str) -> u64 {
        let heading = format!("STAT {name} ");
        let lines = self.lines("STATS");
        let found = lines.iter().find_map(|line| line.strip_prefix(&heading));
        found.unwrap_or_else(|| panic!("no {name} in {lines:?}")).parse().expect("a number")
    }

    /// Asks until the answer is right.
    pub(crate) fn until_ok(&mut self, line: &str, expected: &str) {
        until(&format!("{line} to say {expected}"), || self.ok(line) == expected);
    }
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let found = patience().poll(PAUSE, || Ok::<_, headcount_tools::Stopped>(so().then_some(())));
    assert!(found.is_ok(), "waited in vain for {what}");
}
