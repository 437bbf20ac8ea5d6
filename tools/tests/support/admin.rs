//! Nodes with an admin socket, and the commands that use it.

use super::{Guarded, Site, headcount, patience, program, stderr, stdout, until};
use headcount_tools::process::NodeProcess;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A folder for the sockets of one test, which goes with it.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hc-admin-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().expect("it is text")
    }

    /// The names of the sockets that are here.
    pub(crate) fn sockets(&self) -> Vec<String> {
        let listed = std::fs::read_dir(&self.0).expect("a folder");
        let names = listed.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".admin")).collect();
        names.sort();
        names
    }

    /// Starts a node whose socket and counters are here.
    pub(crate) fn node(&self, site: &Site, name: &str) -> NodeProcess {
        let mut command = site.command(name);
        command.options = vec![format!("--admin={}", self.text()), "--counters".into(), self.text().into()];
        command.start().expect("it starts").ready(&patience()).expect("it gets ready")
    }

    /// Where the socket of a node is that was started here.
    pub(crate) fn socket_of(&self, node: &NodeProcess) -> PathBuf {
        self.0.join(format!("headcount.{}.0.admin", node.id()))
    }

    /// Runs a command on what is here: its exit status, and what it said.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = headcount(&[args, &["--dir", self.text()]].concat());
        (output.status.code().expect("an exit status"), stdout(&output), stderr(&output))
    }

    /// The same of a command that does what it is asked to.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let (status, out, error) = self.run(args);
        assert_eq!(status, 0, "{args:?}: {out}{error}");
        out
    }

    /// The same of one that refuses, in one line, with that status.
    pub(crate) fn refused(&self, expected: i32, args: &[&str]) -> String {
        let (status, out, error) = self.run(args);
        assert_eq!((status, out.as_str()), (expected, ""), "{args:?}: {error}");
        assert!(error.starts_with("error: "), "{error}");
        error.trim_end().to_owned()
    }

    /// The rows of a command's answer in JSON.
    pub(crate) fn rows(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let text = self.ok(&[args, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The one object that a command answers.
    pub(crate) fn rows_of_one(&self, args: &[&str]) -> serde_json::Value {
        self.rows(args).remove(0)
    }

    /// Starts a watch, and waits until it watches.
    pub(crate) fn watch(&self, args: &[&str]) -> Watch {
        let mut child = Command::new(program())
            .args([&["watch"], args, &["--dir", self.text()]].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let error = BufReader::new(child.stderr.take().expect("piped"));
        let mut watch = Watch { child: Guarded(child), out, error };
        let line = watch.said();
        assert!(line.starts_with("watching "), "{line}");
        watch
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A `headcount watch` under way.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) child: Guarded,
    out: BufReader<ChildStdout>,
    error: BufReader<ChildStderr>,
}

impl Watch {
    /// The next change, without the time.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("text");
        let line = line.trim_end();
        line.split_once(" s  ").map_or(line, |(_, change)| change).to_owned()
    }

    /// The next line of what it says beside the changes.
    pub(crate) fn said(&mut self) -> String {
        let mut line = String::new();
        self.error.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }
}

/// What listens there says so much to whoever connects, and then what `then` makes of the connection.
pub(crate) fn listen(path: &Path, first: &'static str, then: impl Fn(UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(path).expect("a socket");
    // Ends with the test's process.
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.write_all(first.as_bytes());
            then(client);
        }
    });
}

/// Stands between a command and a node, and says something else about some rows.
pub(crate) fn stand_between(
    path: &Path,
    node: PathBuf,
    change: impl Fn(&mut serde_json::Value) + Clone + Send + 'static,
) {
    listen(path, "", move |client| {
        let real = UnixStream::connect(&node).expect("the node listens");
        let (mut from, mut to) = (client.try_clone().expect("a socket"), real.try_clone().expect("a socket"));
        thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (change, mut client) = (change.clone(), client);
        thread::spawn(move || {
            for line in BufReader::new(real).lines() {
                let mut row = serde_json::from_str(&line.expect("text")).expect("an object");
                change(&mut row);
                if client.write_all(format!("{row}\n").as_bytes()).is_err() {
                    return;
                }
            }
        });
    });
}

/// Waits until every node of the folder knows so many nodes, and has everything of them.
pub(crate) fn all_know(people: &mut [&mut super::Person], nodes: usize) {
    for person in people {
        until("all nodes to be members", || {
            let known = person.lines("NODES");
            known.len() == nodes && known.iter().all(|node| node.contains(" synced=yes "))
        });
    }
}
