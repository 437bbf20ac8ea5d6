//! The admin socket of an embedded tracker, with and without a cluster. (What the commands make of it is tested with them.)

#![cfg(all(unix, feature = "admin"))]

use headcount::Tracker;
use headcount_net::admin::{AdminSocket, Code, Outcome, Request, Row, pid_of};
use headcount_net::{Config, Interface, JoinError};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

mod common;

use common::{PATIENCE, eventually, group};

/// A path for the socket of a test.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("hc-net-admin-{}-{name}", std::process::id()))
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self(BufReader::new(stream))
    }

    /// The next row; none at the end.
    fn row(&mut self) -> Option<Row> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("in time");
        (read > 0).then(|| serde_json::from_str(&line).expect(&line))
    }

    fn ask(&mut self, request: &Request) -> Vec<Row> {
        let line = serde_json::to_string(request).expect("JSON") + "\n";
        self.0.get_mut().write_all(line.as_bytes()).expect("it is read");
        let mut rows = Vec::new();
        loop {
            let row = self.row().expect("an end");
            let ends = matches!(row, Row::End { .. } | Row::Error { .. });
            rows.push(row);
            if ends {
                return rows;
            }
        }
    }
}

#[test]
fn a_tracker_alone_can_be_looked_into_and_its_own_entries_evicted() {
    let (tracker, path) = (Tracker::new(), path("alone"));
    let session = tracker.session();
    let joined = session.track("room", "alice", b"\xff").unwrap();
    let socket = AdminSocket::open(&path, &tracker).expect("it opens");
    let mut client = Client::connect(socket.path());
    let Some(Row::Hello(hello)) = client.row() else { panic!("no hello") };
    assert_eq!((hello.pid, hello.cluster, hello.obeys), (std::process::id(), None, false));
    let rows = client.ask(&Request::List { topic: "room".as_bytes().into() });
    let Row::Entry(entry) = &rows[0] else { panic!("{rows:?}") };
    assert_eq!((entry.entry.as_str(), entry.session), (&joined.to_string()[..], Some(session.id().0)));
    assert_eq!(entry.meta.to_bytes(), Some(vec![0xff]));

    let evict = |entry: String| Request::Evict { entry, timeout_ms: 10_000 };
    let rows = client.ask(&evict(joined.to_string()));
    assert_eq!(rows[0], Row::Evicted { outcome: Outcome::Removed });
    assert!(tracker.is_empty() && session.is_empty());
    assert_eq!(client.ask(&evict(joined.to_string()))[0], Row::Evicted { outcome: Outcome::Gone });
    let other = headcount::EntryRef { node: headcount::NodeId(joined.node.0 + 1), ..joined };
    assert!(matches!(&client.ask(&evict(other.to_string()))[0], Row::Error { code: Code::NotAMember, .. }));

    // It ends with its handle: who is connected is cut off, and nobody finds it.
    drop(socket);
    assert_eq!(client.row(), None);
    assert!(!path.exists());
}

#[test]
fn a_clusters_socket_is_there_from_the_join_to_the_last_handle() {
    let (tracker, path, group) = (Tracker::new(), path("cluster"), group());
    let config =
        |name: &str| Config::new("test").node(name).multicast(group, Interface::Loopback).admin_socket(&path);
    let cluster = config("a").join(&tracker).expect("joins");
    assert_eq!(cluster.admin_path(), Some(&*path));
    let mut client = Client::connect(&path);
    let Some(Row::Hello(hello)) = client.row() else { panic!("no hello") };
    assert_eq!((hello.node.as_str(), hello.cluster.as_deref()), ("a", Some("test")));

    // A second one with that path does not join, and can join without it.
    let second = Tracker::new();
    assert!(matches!(config("b").join(&second), Err(JoinError::Admin(_))));
    let dir = std::env::temp_dir();
    let other = config("b").admin_socket_in(&dir).join(&second).expect("the tracker is as it was");
    let numbered = other.admin_path().expect("it has one").to_owned();
    assert_eq!((numbered.parent(), pid_of(&numbered)), (Some(&*dir), Some(std::process::id())));

    // What the socket knows keeps nobody a member.
    let clone = cluster.clone();
    drop(cluster);
    assert!(path.exists());
    drop(clone);
    assert_eq!(client.row(), None);
    assert!(!path.exists());
    eventually("a has left", || other.members().is_empty());
    drop(other);
    assert!(!numbered.exists());
}
