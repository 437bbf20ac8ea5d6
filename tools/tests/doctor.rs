//! `headcount doctor`, run against real nodes in this process and in others.
#![cfg(unix)]

mod support;

use headcount::counters::{Counters, Field, Life, Reader, Schema, find};
use headcount::{Config, Filter, Tracker};
#[cfg(feature = "faults")]
use headcount_net::SocketFaults;
use headcount_net::{Cluster, Interface, Keys};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Guarded, Site, headcount, patience, program, signal, stderr, stdout, until};

/// A directory for counters files, which goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-doctor-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the doctor said.
struct Said {
    json: Value,
    status: i32,
}

impl Said {
    /// Asks the doctor about the processes of a directory.
    fn of(folder: &Folder, more: &[&str]) -> Self {
        let args = [&["doctor", "--json", "--dir", folder.path()], more].concat();
        let output = headcount(&args);
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", stdout(&output), stderr(&output));
        });
        Self { json, status: output.status.code().unwrap() }
    }

    /// The findings of a check, of a process or of the machine: status, what is so, and what to do.
    fn findings(&self, process: &str, check: &str) -> Vec<(String, String, String)> {
        let machine = self.json["machine"].as_array().into_iter().flatten();
        let processes = self.json["processes"].as_array().into_iter().flatten();
        let of = processes.filter(|found| found["name"] == process);
        let findings = of.filter_map(|found| found["findings"].as_array()).flatten().chain(machine);
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let checked = findings.filter(|finding| finding["check"] == check);
        checked
            .map(|finding| (text(finding, "status"), text(finding, "what"), text(finding, "remedy")))
            .collect()
    }

    #[track_caller]
    fn finding(&self, process: &str, check: &str) -> (String, String, String) {
        let found = self.findings(process, check);
        found.into_iter().next().unwrap_or_else(|| panic!("no {check} of {process} in {:#}", self.json))
    }
}

/// A tracker that keeps counters.
fn tracker(folder: &Folder, config: Config) -> Tracker {
    config.counters(Counters::create(&folder.0).unwrap()).build().unwrap()
}

/// How a node joins. Its times are long: a machine that is busy with tests is not to look like an ill one.
fn member(site: &Site, name: &str) -> headcount_net::Config {
    let config =
        headcount_net::Config::new(&site.cluster).node(name).multicast(site.group, Interface::Loopback);
    config
        .heartbeat(Duration::from_millis(500))
        .suspect_after(Duration::from_secs(2))
        .down_after(Duration::from_secs(5))
        .down_limit(Duration::from_secs(15))
        .receive_buffer(128 << 10)
}

fn node(folder: &Folder, site: &Site, name: &str) -> (Tracker, Cluster) {
    let tracker = tracker(folder, Config::default().shards(16));
    let cluster = member(site, name).join(&tracker).unwrap();
    (tracker, cluster)
}

#[test]
fn a_healthy_pair_is_told_to_be_well() {
    let (folder, site) = (Folder::new("healthy"), Site::new());
    let (a, _a) = node(&folder, &site, "web-1");
    let (b, _b) = node(&folder, &site, "web-2");
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    until("web-2 to show alice", || b.count("room") == 1);
    let mut said = Said::of(&folder, &[]);
    until("all to be well, and the two to be old enough to know each other", || {
        said = Said::of(&folder, &[]);
        said.status == 0 && !said.findings("web-1", "neighbours").is_empty()
    });
    let untold = said.json.to_string();
    assert!(
        !untold.contains("does not show"),
        "this version shows all that its checks are made of: {untold}"
    );
    let what = format!("cluster {}: web-1, web-2 know each other", site.cluster);
    assert_eq!(said.finding("web-1", "neighbours"), ("ok".into(), what, String::new()));
    for name in ["web-1", "web-2"] {
        assert_eq!(said.finding(name, "peers").1, "1 other node, all up");
        assert!(said.finding(name, "multicast").1.ends_with("its own datagrams are heard, and others are"));
    }
    let hearing = &said.json["processes"][0]["hearing"];
    assert_eq!(hearing["nodes"], serde_json::json!(["web-1", "web-2"]));
    for (listener, speaker) in [(0, 1), (1, 0)] {
        let silence = hearing["rows"][listener][speaker]["silence_ns"].as_u64();
        assert!(silence.is_some_and(|silence| silence < 2_000_000_000), "{hearing}");
    }
    let output = headcount(&["doctor", "--dir", folder.path(), "--process", "web-2"]);
    let text = stdout(&output);
    assert!(
        stdout(&headcount(&["doctor", "--dir", folder.path(), "web-2"])).starts_with("web-2 of cluster ")
    );
    assert!(text.starts_with(&format!(
        "web-2 of cluster {}, process {}\n",
        site.cluster,
        std::process::id()
    )));
    assert!(
        text.contains("\n  Who hears whom, as web-2 knows it:\n       hears:  1 2\n     1 web-2   \\ "),
        "{text}"
    );
    assert!(!text.contains("\nweb-1 of cluster"), "{text}");
}

#[test]
fn a_small_receive_buffer_has_its_remedy() {
    let Ok(max) = fs::read_to_string("/proc/sys/net/core/rmem_max") else { return };
    let asked = 2 * max.trim().parse::<usize>().unwrap();
    let (folder, site) = (Folder::new("buffer"), Site::new());
    let tracker = tracker(&folder, Config::default());
    let _cluster = member(&site, "web-1").receive_buffer(asked).join(&tracker).unwrap();
    let said = Said::of(&folder, &[]);
    let (status, what, remedy) = said.finding("web-1", "receive-buffer");
    assert_eq!(status, "warning");
    assert!(what.contains(" granted, "), "{what}");
    assert!(remedy.starts_with(&format!("`sysctl -w net.core.rmem_max={asked}`")), "{remedy}");
    assert_eq!(said.status, 1, "{:#}", said.json);
}

#[test]
fn a_subscription_that_lags_is_told() {
    let folder = Folder::new("lagging");
    let tracker = tracker(&folder, Config::default().subscription_queue_max(16));
    let _unread = tracker.subscribe(Filter::all());
    let session = tracker.session();
    for key in 0..1000 {
        session.track("room", format!("{key}"), "").unwrap();
    }
    let mut said = Said::of(&folder, &[]);
    until("the gauges to be set", || {
        said = Said::of(&folder, &[]);
        said.status == 1
    });
    let name = said.json["processes"][0]["name"].as_str().unwrap().to_owned();
    let (status, what, remedy) = said.finding(&name, "subscriptions");
    assert_eq!(status, "warning");
    assert!(
        what.starts_with("1 of 1 lag, ") && remedy.contains("subscription_queue_max"),
        "{what}: {remedy}"
    );
    assert_eq!(said.finding(&name, "member").0, "note", "a tracker without a cluster is nothing bad");
}

#[test]
fn a_hot_shard_is_told_with_its_topic() {
    let folder = Folder::new("hot");
    let tracker = tracker(&folder, Config::default().shards(16));
    let done = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let session = tracker.session();
            session.track("lobby", "alice", "").unwrap();
            for turn in 0_u64.. {
                session.update("lobby", "alice", format!("{turn}")).unwrap();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let said = std::panic::catch_unwind(|| Said::of(&folder, &[]));
        done.store(true, Ordering::Relaxed);
        said.unwrap()
    });
    let name = said.json["processes"][0]["name"].as_str().unwrap().to_owned();
    let (status, what, _) = said.finding(&name, "hot-shard");
    assert!(["note", "warning"].contains(&status.as_str()), "{what}");
    assert!(what.contains(" of 16 has 100 % of ") && what.contains("were in topic \"lobby\""), "{what}");
}

#[test]
fn a_peer_that_was_killed_is_a_problem() {
    let (folder, site) = (Folder::new("down"), Site::new());
    let tracker = tracker(&folder, Config::default());
    // With the times that the other has.
    let config = headcount_net::Config::new(&site.cluster).node("web-1");
    let cluster = config.multicast(site.group, Interface::Loopback).join(&tracker).unwrap();
    let mut other = site.node("web-2");
    until("web-1 to know web-2", || cluster.members().len() == 1);
    other.kill().unwrap();
    let mut said = Said::of(&folder, &[]);
    until("web-2 to be down", || {
        said = Said::of(&folder, &[]);
        said.finding("web-1", "peers").1.contains("down: web-2 (for ")
    });
    let (status, _, remedy) = said.finding("web-1", "peers");
    assert_eq!(status, "problem");
    assert!(remedy.starts_with("see whether web-2 still runs, at 127.0.0.1:"), "{remedy}");
    assert_eq!(said.status, 2);
}

#[test]
fn another_key_keeps_nodes_apart_and_both_are_told_so() {
    let (folder, site) = (Folder::new("keys"), Site::new());
    let mut nodes = Vec::new();
    for (name, key) in [("web-1", "5e"), ("web-2", "6f")] {
        let tracker = tracker(&folder, Config::default());
        let keys = Keys::parse(&format!("1:{}", key.repeat(32))).unwrap();
        nodes.push((member(&site, name).keys(keys).join(&tracker).unwrap(), tracker));
    }
    let mut said = Said::of(&folder, &[]);
    until("the two to be old enough to know each other", || {
        said = Said::of(&folder, &[]);
        !said.findings("web-1", "neighbours").is_empty()
    });
    let (status, what, remedy) = said.finding("web-1", "neighbours");
    assert_eq!(status, "problem");
    assert!(what.ends_with("do not know each other: web-1 and web-2"), "{what}");
    assert!(remedy.contains("compare the keys"), "{remedy}");
    let (status, what, remedy) = said.finding("web-2", "errors");
    assert_eq!(status, "problem", "it hears nobody, and cannot open what comes");
    assert!(what.contains("had a wrong tag") && remedy.contains("sha256sum"), "{what}: {remedy}");
    assert_eq!(said.status, 2);
}

#[test]
fn noise_is_told_with_what_to_look_for() {
    let (folder, site) = (Folder::new("noise"), Site::new());
    let (_a, cluster) = node(&folder, &site, "web-1");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut said = Said::of(&folder, &[]);
    until("the noise to be told", || {
        socket.send_to(b"not one of ours", cluster.local_addr()).unwrap();
        said = Said::of(&folder, &[]);
        said.status == 1
    });
    let (status, what, remedy) = said.finding("web-1", "errors");
    assert_eq!(status, "warning");
    assert!(what.ends_with("datagrams were not well-formed"), "{what}");
    assert!(remedy.contains("`ss -ulnp`"), "{remedy}");
}

/// The counters of a tracker, copied as those of another process: the copy has no lock, as if that process had died.
fn copy(folder: &Folder) -> PathBuf {
    let origin = Folder::new(&format!("origin-{}", folder.0.file_name().unwrap().to_str().unwrap()));
    let tracker = tracker(&origin, Config::default());
    let path = tracker.counters().path().unwrap().to_owned();
    let copy = folder.0.join("headcount.999999.0");
    fs::copy(path, &copy).unwrap();
    copy
}

#[test]
fn a_file_without_a_process_is_of_a_dead_one() {
    let folder = Folder::new("dead");
    let path = copy(&folder);
    let said = Said::of(&folder, &[]);
    let process = &said.json["processes"][0];
    let name = process["name"].as_str().unwrap().to_owned();
    let (status, what, remedy) = said.finding(&name, "life");
    assert_eq!(status, "problem");
    assert!(what.starts_with("was killed or crashed "), "{what}");
    assert!(remedy.contains(&format!("`rm {}`", path.display())), "{remedy}");
    assert_eq!(said.status, 2);
    let checks: Vec<_> =
        process["findings"].as_array().unwrap().iter().map(|found| &found["check"]).collect();
    assert_eq!(checks, ["life", "errors"], "what it shows besides is of the past");
}

#[test]
fn a_file_of_another_version_cannot_be_told_from() {
    let folder = Folder::new("version");
    let path = copy(&folder);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&(2_u64 << 32).to_ne_bytes(), 8).unwrap();
    let output = headcount(&["doctor", "--dir", folder.path()]);
    assert_eq!(output.status.code(), Some(3));
    let text = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    let expected =
        "has layout 2, this program reads 1: use the program that came with the version that runs there";
    assert!(text.starts_with("process 999999 ? file ") && text.contains(expected), "{text}");
    assert!(text.ends_with("1 process that cannot be examined."), "{text}");
}

/// Tables as a version had them that showed less.
const OLD_NODE: Schema = Schema {
    name: "node",
    help: "This node of its cluster.",
    fields: &[Field::gauge("id", "", "Its id."), Field::gauge("status", "", "2 running.")],
};
const OLD_PEER: Schema = Schema {
    name: "peer",
    help: "Another node of the cluster.",
    fields: &[Field::text("name", 64, "Its name."), Field::gauge("id", "", "Its id.")],
};
const OLD_ENGINE: Schema = Schema {
    name: "engine",
    help: "The tracker as a whole.",
    fields: &[
        Field::gauge("memory_used_bytes", "bytes", "Bytes in use."),
        Field::gauge("memory_reserved_bytes", "bytes", "Address space."),
    ],
};

#[test]
fn what_a_process_of_another_version_does_not_show_is_unknown_and_not_well() {
    let folder = Folder::new("lacking");
    let counters = Counters::create(&folder.0).unwrap();
    counters.set_fact("node", "web-1");
    let node = counters.table(&OLD_NODE, 1).row(0);
    node.number("status").set(2);
    node.show();
    let peers = counters.table(&OLD_PEER, 2);
    for (at, name) in ["web-2", "web-3"].into_iter().enumerate() {
        peers.row(at).text("name").set(name);
        peers.row(at).number("id").set(at as u64 + 2);
        peers.row(at).show();
    }
    let engine = counters.table(&OLD_ENGINE, 1).row(0);
    engine.number("memory_used_bytes").set(1 << 20);
    engine.number("memory_reserved_bytes").set(1 << 30);
    engine.show();
    let said = Said::of(&folder, &[]);
    for check in [
        "member",
        "isolation",
        "peers",
        "links",
        "lanes",
        "keys",
        "multicast",
        "mtu",
        "receive-buffer",
        "drops",
        "gaps",
        "send-budget",
        "quarantine",
        "lag",
        "huge-pages",
        "subscriptions",
    ] {
        let (status, what, remedy) = said.finding("web-1", check);
        assert_eq!(status, "unknown", "{check}: {what}");
        assert!(what.starts_with("cannot be told: what runs there does not show "), "{check}: {what}");
        assert!(remedy.contains("of the version that runs there"), "{check}: {remedy}");
    }
    // What it does show is examined: the limit by the older name.
    assert_eq!(said.finding("web-1", "memory").0, "ok");
    let text = stdout(&headcount(&["doctor", "--dir", folder.path()]));
    assert!(text.contains("\n  ?        receive-buffer  cannot be told: "), "{text}");
}

/// Both nodes of a pair, which know each other; the first has trouble with what it receives.
#[cfg(feature = "faults")]
#[test]
fn a_link_that_works_one_way_is_told_from_the_matrix_with_where_to_look() {
    let (folder, site) = (Folder::new("one-way"), Site::new());
    let faults = SocketFaults::new(7);
    let mut nodes = Vec::new();
    for (name, faults) in [("web-1", None), ("web-2", Some(faults.clone())), ("web-3", None)] {
        let tracker = tracker(&folder, Config::default());
        let config = member(&site, name);
        let config = match faults {
            Some(faults) => config.faults(faults),
            None => config,
        };
        nodes.push((config.join(&tracker).unwrap(), tracker));
    }
    until("all to know each other", || nodes.iter().all(|(cluster, _)| cluster.members().len() == 2));
    let mut said = Said::of(&folder, &["--process", "web-3"]);
    assert_eq!(said.finding("web-3", "links").0, "ok", "{:#}", said.json);
    // From now on web-2 does not hear web-1, which hears it. A third knows that from what they say.
    faults.cut(nodes[0].0.local_addr());
    for observer in ["web-3", "web-1"] {
        until("the link to be told", || {
            said = Said::of(&folder, &["--process", observer]);
            said.finding(observer, "links").0 == "problem"
        });
        let (_, what, remedy) = said.finding(observer, "links");
        assert_eq!(what, "one-way: web-1 hears web-2, and not the other way");
        assert!(
            remedy.starts_with("what web-1 sends does not get to web-2: look on web-2 for a firewall"),
            "{remedy}"
        );
        assert_eq!(said.status, 2);
    }
    faults.mend();
    until("the link to be well again", || {
        said = Said::of(&folder, &["--process", "web-3"]);
        said.finding("web-3", "links").0 == "ok"
    });
}

#[test]
fn a_change_of_keys_that_was_not_finished_is_told() {
    let (folder, site) = (Folder::new("epochs"), Site::new());
    let keys = |text: &str| Keys::parse(text).unwrap();
    let first = format!("1:{}", "5e".repeat(32));
    let mut nodes = Vec::new();
    for name in ["web-1", "web-2"] {
        let tracker = tracker(&folder, Config::default());
        nodes.push((member(&site, name).keys(keys(&first)).join(&tracker).unwrap(), tracker));
    }
    until("the two to know each other", || nodes.iter().all(|(cluster, _)| cluster.members().len() == 1));
    let mut said = Said::of(&folder, &[]);
    until("the keys to be told as the same", || {
        said = Said::of(&folder, &[]);
        said.finding("web-1", "keys").1 == "all have the keys of epochs 1"
    });
    nodes[0].0.install_keys(keys(&format!("2:{}", "6f".repeat(32)))).unwrap();
    until("both to tell the difference", || {
        said = Said::of(&folder, &[]);
        ["web-1", "web-2"].iter().all(|name| said.finding(name, "keys").0 == "warning")
    });
    let (_, what, remedy) = said.finding("web-2", "keys");
    assert!(what.starts_with("epochs differ: this node has 1, web-1 has ") && what.ends_with('2'), "{what}");
    assert!(remedy.contains("install_keys on every node, then use_key on every node"), "{remedy}");
    assert_eq!(said.status, 1, "{:#}", said.json);
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("there is an id command");
    stdout(&output).trim() == "0"
}

#[test]
fn another_users_process_cannot_be_told_from_without_permission() {
    let folder = Folder::new("permission");
    let tracker = tracker(&folder, Config::default());
    let run = |program: &Path| {
        let mut command = Command::new(program);
        command.args(["doctor", "--dir", folder.path()]);
        if is_root() {
            command.uid(65534).gid(65534);
        } else {
            let path = tracker.counters().path().unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
        }
        command.output()
    };
    // Where it was built perhaps nobody else may go.
    let output = run(&program()).or_else(|_| {
        let copy = folder.0.join("program");
        fs::copy(program(), &copy).and_then(|_| run(&copy))
    });
    let output = output.expect("the program can be run by anybody");
    assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
    let text = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("it is another user's; run this as that user"), "{text}");
}

#[test]
fn nothing_to_look_at_is_said_with_what_to_do() {
    let folder = Folder::new("nothing");
    let output = headcount(&["doctor", "--dir", folder.path()]);
    assert_eq!(output.status.code(), Some(3));
    let expected = format!("error: nothing runs that keeps counters in {}; ", folder.path());
    assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    let said = Said::of(&folder, &[]);
    assert_eq!((said.status, &said.json["status"]), (3, &3.into()));

    let nowhere = folder.0.join("nowhere").display().to_string();
    let output = headcount(&["doctor", "--dir", &nowhere]);
    let expected =
        format!("error: --dir {nowhere}: there is no such directory; leave --dir out for the usual one\n");
    assert_eq!((stderr(&output), output.status.code()), (expected, Some(2)));

    let _tracker = tracker(&folder, Config::default());
    let output = headcount(&["doctor", "--dir", folder.path(), "--process", "web-9"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with(
        "error: --process web-9: no process of this name or id keeps counters there; these do: "
    ));
}

#[test]
fn help_tells_the_checks_and_the_exit_statuses() {
    let help = stdout(&headcount(&["doctor", "--help"]));
    for word in [
        "--process",
        "--dir",
        "--json",
        "Exit status: 0 all well",
        "3 it could not tell",
        "hot-shard",
        "neighbours",
    ] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
}

/// Where the process that [`is_watched`] runs in keeps its counters.
const WATCHED: &str = "HEADCOUNT_DOCTOR_WATCHED";

#[test]
#[ignore = "runs in a process of its own, which others start"]
fn is_watched() {
    let Ok(dir) = std::env::var(WATCHED) else { return };
    let counters = Counters::create(dir).unwrap();
    counters.set_fact("node", "web-1");
    let _tracker = Config::default().counters(counters).build().unwrap();
    // Whoever started it keeps the pipe open.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn watched(folder: &Folder) -> (Guarded, Reader) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "is_watched", "--ignored"])
        .env(WATCHED, &folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let child = Guarded(child);
    let pid = child.0.id();
    let reader = patience().poll(support::PAUSE, || {
        let found = find(Path::new(&folder.0)).unwrap().into_iter().find(|found| found.pid == pid);
        Ok::<_, headcount_tools::Stopped>(found.and_then(|found| found.reader.ok()))
    });
    (child, reader.expect("it keeps counters"))
}

#[test]
fn a_process_that_is_stopped_or_killed_is_told_from_one_that_runs() {
    let folder = Folder::new("killed");
    let (child, reader) = watched(&folder);
    assert_eq!(Said::of(&folder, &[]).finding("web-1", "life").0, "ok");
    let pid = child.0.id();
    signal(pid, "-STOP");
    until("it to be silent", || matches!(reader.life(), Life::Silent(_)));
    let said = Said::of(&folder, &[]);
    let (status, what, remedy) = said.finding("web-1", "life");
    assert_eq!((status.as_str(), said.status), ("problem", 2));
    assert!(what.starts_with("there, and has not moved for "), "{what}");
    assert!(remedy.contains(&format!("`kill -CONT {pid}`")), "{remedy}");
    signal(pid, "-KILL");
    child.ended();
    let said = Said::of(&folder, &[]);
    let (status, what, _) = said.finding("web-1", "life");
    assert_eq!((status.as_str(), said.status), ("problem", 2));
    assert!(what.starts_with("was killed or crashed "), "{what}");
    // Another that goes on in its place makes it a thing of the past.
    let (next, _reader) = watched(&folder);
    let said = Said::of(&folder, &[]);
    let mut lives: Vec<_> = said.findings("web-1", "life");
    lives.sort();
    assert_eq!(lives.len(), 2, "{lives:?}");
    assert!(lives[0].1.ends_with(&format!("process {} goes on in its place", next.0.id())), "{lives:?}");
    assert_eq!((lives[0].0.as_str(), lives[1].0.as_str(), said.status), ("note", "ok", 0));
}
