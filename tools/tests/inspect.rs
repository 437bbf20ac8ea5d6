//! Looking into running nodes through their admin sockets, with the program that people run.

#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::admin::{Folder, all_know, listen};
use support::{Person, Site, headcount, patience, program, signal, stderr, until};

#[test]
fn topics_entries_and_keys_are_shown_as_the_process_has_them() {
    let (site, folder) = (Site::new(), Folder::new());
    let (web1, web2) = (folder.node(&site, "web-1"), site.node("web-2"));
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    all_know(&mut [&mut alice, &mut bob], 2);
    let own = alice.ok("JOIN room:1 alice hello world");
    let others = bob.ok(r#"JOIN room:1 bob "caf\xe9 \x1b[2J""#);
    alice.ok("JOIN room:2 alice");
    alice.ok(r#"JOIN "r\xff" alice"#);
    alice.until_ok("COUNT room:1", "2");

    let out = folder.ok(&["topics"]);
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines, ["MEMBERS  TOPIC", "2  room:1", "1  room:2", r#"1  "r\xff""#]);
    let (_, out, error) = folder.run(&["topics", "--limit", "1"]);
    assert_eq!((out.lines().count(), error.as_str()), (2, "1 of 3 topics in web-1\n"));
    let rows = folder.rows(&["topics"]);
    assert_eq!(rows[2].to_string(), r#"{"members":1,"row":"topic","topic":{"hex":"72ff"}}"#);

    let (status, out, error) = folder.run(&["list", "room:1"]);
    assert_eq!((status, error.as_str()), (0, "2 entries in room:1 of web-1\n"));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["KEY", "NODE", "SESSION", "HEARD", "REF", "META"]);
    assert_eq!(lines[1], ["alice", "web-1", lines[1][2], "here", &own, "\"hello", "world\""]);
    assert!(lines[1][2].parse::<u64>().is_ok(), "its session is this process's");
    assert_eq!(lines[2][..3], ["bob", "web-2", "-"]);
    assert_eq!(lines[2][4..], ["s", &others, r#""caf\xe9"#, r#"\x1b[2J""#]);
    let rows = folder.rows(&["list", "room:1"]);
    assert_eq!((rows[0]["entry"].as_str(), rows[0]["meta"].as_str()), (Some(&own[..]), Some("hello world")));
    assert_eq!(rows[1]["meta"]["hex"], "636166e9201b5b324a");
    assert!(rows[1]["heard_ms"].as_u64().is_some_and(|ms| ms < 2_000) && rows[0]["heard_ms"].is_null());
    let (status, out, error) = folder.run(&["list", "nowhere"]);
    assert_eq!((status, out.as_str(), error.as_str()), (8, "", "nobody is in nowhere of web-1\n"));

    assert_eq!(folder.rows(&["get", r#""r\xff""#, "alice"]).len(), 1);
    assert!(folder.ok(&["get", "room:1", "bob"]).contains(&others));
    let (status, out, error) = folder.run(&["get", "room:1", "carol"]);
    assert_eq!((status, out.as_str(), error.as_str()), (8, "", "nobody has carol in room:1 of web-1\n"));
}

#[test]
fn a_long_list_comes_whole_and_nobody_minds_who_has_enough_of_it() {
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let mut crowd = Person::of(&node);
    let keys: Vec<String> = (0..20_000).map(|key| key.to_string()).collect();
    for part in keys.chunks(500) {
        part.iter().for_each(|key| crowd.0.queue("JOIN", &[b"crowd", key.as_bytes()]));
        crowd.0.send(&patience()).unwrap();
        part.iter().for_each(|_| drop(crowd.0.reply(&patience()).unwrap()));
    }
    let mut child = Command::new(program())
        .args(["list", "crowd", "--json", "--dir", folder.text()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0), "a pipe that nobody reads is no failure");
    let output =
        Command::new(program()).args(["list", "crowd", "--json", "--dir", folder.text()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(listed == keys, "{} of {}", listed.len(), keys.len());
}

#[test]
fn one_of_several_processes_is_chosen_by_name_or_number() {
    let (site, folder) = (Site::new(), Folder::new());
    let nodes = ["web-1", "web-2"].map(|name| folder.node(&site, name));
    Person::of(&nodes[0]).ok("PING");
    let message = folder.refused(2, &["topics"]);
    assert!(
        message.starts_with("error: several processes can be asked; choose one with --process: "),
        "{message}"
    );
    for (node, name) in nodes.iter().zip(["web-1", "web-2"]) {
        assert!(message.contains(&format!("{} ({name})", node.id())), "{message}");
        for process in [name.to_owned(), node.id().to_string()] {
            let (status, _, error) = folder.run(&["topics", "--process", &process]);
            assert_eq!((status, error), (0, format!("no topics in {name}\n")));
        }
    }
    // One that stands still keeps nobody from asking another.
    signal(nodes[1].id(), "-STOP");
    let asked = Instant::now();
    let (status, ..) = folder.run(&["topics", "--process", "web-1"]);
    assert!(status == 0 && asked.elapsed() < Duration::from_millis(1_500), "after {:?}", asked.elapsed());
    signal(nodes[1].id(), "-CONT");
    let message = folder.refused(3, &["topics", "--process", "web-9"]);
    assert!(message.starts_with("error: --process web-9: none of the 2 admin sockets in "), "{message}");
    assert!(message.ends_with("--admin`, or sets `admin_socket_in` in its configuration"), "{message}");
}

#[test]
fn it_is_off_unless_enabled_and_whoever_finds_none_is_told_how() {
    let (site, folder) = (Site::new(), Folder::new());
    let node = site.node("web-1");
    let own = std::fs::read_dir(headcount_net_dir()).unwrap().flatten();
    let prefix = format!("headcount.{}.", node.id());
    let sockets = own.filter(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.starts_with(&prefix) && name.ends_with(".admin")
    });
    assert_eq!(sockets.count(), 0);
    let message = folder.refused(3, &["topics"]);
    assert_eq!(
        message,
        format!(
            "error: no admin socket in {}: a process has one if it is started with `headcount node --admin`, or sets \
             `admin_socket_in` in its configuration",
            folder.text()
        )
    );
    let output = headcount(&["topics", "--socket", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).starts_with("error: /nowhere/at/all: there is no such socket; a process has one if")
    );
}

fn headcount_net_dir() -> std::path::PathBuf {
    headcount_net::admin::default_dir()
}

#[test]
fn a_dead_processs_socket_is_said_to_be_one_and_replaced() {
    let (site, folder) = (Site::new(), Folder::new());
    let mut node = folder.node(&site, "web-1");
    let socket = folder.socket_of(&node);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.kill().unwrap();
    let gone = format!(
        "error: {}: process {} is gone and has left its socket behind; it can be removed",
        socket.display(),
        node.id()
    );
    // Until it is dead it may still take a connection.
    until("the process to be gone", || folder.run(&["topics"]) == (4, String::new(), format!("{gone}\n")));
    assert_eq!(folder.refused(4, &["watch", "room", "--process", &node.id().to_string()]), gone);
    drop(node);
    // It is nobody whom anybody else is taken for.
    let message = folder.refused(3, &["topics", "--process", "web-9"]);
    assert!(message.starts_with("error: --process web-9: there is no admin socket in "), "{message}");

    // The same path, by name: a live one keeps it.
    let path = socket.to_str().unwrap();
    let mut again = site.command("web-1");
    again.options = vec![format!("--admin={path}")];
    let node = again.start().unwrap().ready(&patience()).expect("the dead one's is replaced");
    let (status, _, error) = folder.run(&["topics"]);
    assert_eq!((status, error.as_str()), (0, "no topics in web-1\n"));
    let mut other = site.command("web-2");
    other.options = vec![format!("--admin={path}")];
    let refused = other.start().unwrap().ready(&patience()).expect_err("it is taken").to_string();
    assert!(
        refused.contains(&format!("--admin {path}: admin_socket {path}: a live process has it")),
        "{refused}"
    );
    assert_eq!(folder.run(&["topics"]).0, 0);

    assert_eq!(node.leave(&patience()).unwrap().code(), Some(0));
    assert_eq!(folder.sockets(), [""; 0], "it is removed at the end");
}

#[test]
fn a_process_that_cannot_be_asked_by_its_name_is_told_with_what_is_known_of_it() {
    let (site, folder) = (Site::new(), Folder::new());
    let mut node = folder.node(&site, "web-1");
    let pid = node.id();
    for args in [&["topics"][..], &["list", "room"], &["get", "room", "alice"], &["ghosts"]] {
        signal(pid, "-STOP");
        let message = folder.refused(5, &[args, &["--process", "web-1"]].concat());
        let expected = format!("error: --process web-1: it is process {pid}, silent for ");
        assert!(message.starts_with(&expected) && message.contains("stopped (SIGSTOP"), "{message}");
        signal(pid, "-CONT");
        until("it to go on", || folder.run(&["topics", "--process", "web-1"]).0 == 0);
    }
    node.kill().unwrap();
    drop(node);
    let message = folder.refused(4, &["list", "room", "--process", "web-1"]);
    let expected = format!("error: --process web-1: it was process {pid}, dead: killed or crashed ");
    assert!(message.starts_with(&expected), "{message}");
    let (status, _, error) = folder.run(&["verify", "--process", "web-1", "--process", "web-2"]);
    assert!(status == 2 || error.contains(&expected["error: ".len()..]), "{error}");

    let mut command = site.command("web-2");
    command.options = vec!["--counters".into(), folder.text().into()];
    let closed = command.start().unwrap().ready(&patience()).unwrap();
    let message = folder.refused(3, &["topics", "--process", "web-2"]);
    let expected = format!(
        "error: --process web-2: it is process {} and runs, without an admin socket in ",
        closed.id()
    );
    assert!(message.starts_with(&expected), "{message}");
}

/// Every command that looks at running processes, with arguments that it needs.
const LOOKING: [&[&str]; 10] = [
    &["stat"],
    &["top"],
    &["doctor"],
    &["topics"],
    &["list", "room"],
    &["get", "room", "alice"],
    &["watch", "room"],
    &["ghosts"],
    &["evict", "room", "alice"],
    &["verify"],
];

#[test]
fn a_directory_that_is_not_there_is_the_same_mistake_for_every_command() {
    for command in LOOKING {
        let output = headcount(&[command, &["--dir", "/nowhere/at/all"]].concat());
        let expected =
            "error: --dir /nowhere/at/all: there is no such directory; leave --dir out for the usual one\n";
        assert_eq!((stderr(&output).as_str(), output.status.code()), (expected, Some(2)), "{command:?}");
    }
}

#[test]
fn every_commands_help_has_its_exit_statuses() {
    for (command, statuses) in LOOKING.iter().zip([
        "0 it runs; 1 it could not be done; 2 the command line is wrong; 3 nothing runs, or not that process; 4 it was killed",
        "0 it was left with a key, or has written its picture; 1 there is no terminal, or it cannot be drawn on; 2 ",
        "0 all well, or notes only; 1 warnings; 2 problems",
        "0 it was shown, be it nothing; 1 it could not be written; 2 ",
        "0 somebody is there; 1 it could not be written; 2 ",
        "0 somebody has it; 1 it could not be written; 2 ",
        "0 until Ctrl-C; 1 it could not be written; 2 ",
        "0 there are none; 1 there are some; 2 ",
        "0 it was removed; 1 it could not be written; 2 ",
        "0 all agree; 1 they differ; 2 it could not be told",
    ]) {
        let output = headcount(&[command[0], "--help"]);
        let help = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
        let (_, told) = help.split_once("Exit status: ").unwrap_or_else(|| panic!("{command:?}: {help}"));
        assert!(told.starts_with(statuses), "{command:?}: {told}");
    }
}

#[test]
fn nobody_but_the_owner_may_look() {
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let socket = folder.socket_of(&node);
    // Another user can only be had by root.
    let mine = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&socket).unwrap());
    if mine != 0 {
        return;
    }
    // Where everybody can run it.
    let copy = folder.0.join("headcount");
    // By a process of its own: a child that another test starts at this moment would keep what is written to open, and so busy.
    assert!(Command::new("cp").arg(program()).arg(&copy).status().unwrap().success());
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output =
        Command::new(&copy).args(["topics", "--dir", folder.text()]).uid(65534).gid(65534).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let expected = format!(
        "error: {}: permission denied: only the user that process {} runs as, and root, may look into it\n",
        socket.display(),
        node.id()
    );
    assert_eq!(stderr(&output), expected);
}

#[test]
fn another_version_and_other_programs_are_told_apart() {
    let folder = Folder::new();
    let foreign =
        r#"{"row":"hello","protocol":99,"version":"9.9.0","pid":7,"something":"new"}"#.to_owned() + "\n";
    listen(&folder.0.join("headcount.7.0.admin"), foreign.leak(), drop);
    let message = folder.refused(6, &["topics"]);
    assert!(
        message.ends_with(
            "process 7 is headcount 9.9.0 and speaks version 99 of the admin protocol, this program version 1: use the \
             headcount command that belongs to it"
        ),
        "{message}"
    );
    let other = folder.0.join("other");
    listen(&other, "HTTP/1.1 400 Bad Request\r\n", drop);
    let output = headcount(&["topics", "--socket", other.to_str().unwrap()]);
    assert!(stderr(&output).contains("what listens there does not speak headcount's admin protocol"));
}

#[test]
fn a_watch_shows_each_change_until_it_is_interrupted() {
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let mut alice = Person::of(&node);
    let mut watch = folder.watch(&["room:1"]);
    let mut json = folder.watch(&["room:1", "--json"]);
    let joined = alice.ok("JOIN room:1 alice hello world");
    let updated = alice.ok("UPDATE room:1 alice away");
    alice.ok("JOIN room:2 alice");
    alice.ok("LEAVE room:1 alice");
    assert_eq!(watch.line(), "first   room:1");
    assert_eq!(watch.line(), format!(r#"join    alice of web-1 "hello world"  ({joined})"#));
    assert_eq!(watch.line(), format!(r#"update  alice of web-1 "hello world" -> away  ({updated})"#));
    assert_eq!(watch.line(), format!("leave   alice of web-1 away  ({updated})"));
    assert_eq!(watch.line(), "empty   room:1");
    assert_eq!(json.line(), r#"{"row":"event","event":"first","topic":"room:1"}"#);
    let row: serde_json::Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((row["event"].as_str(), row["entry"]["entry"].as_str()), (Some("join"), Some(&joined[..])));
    // The last that is heard of a node has its name.
    let other = site.node("web-2");
    let mut bob = Person::of(&other);
    all_know(&mut [&mut alice, &mut bob], 2);
    let joined = bob.ok("JOIN room:1 bob");
    assert_eq!(watch.line(), "first   room:1");
    assert_eq!(watch.line(), format!(r#"join    bob of web-2 ""  ({joined})"#));
    assert_eq!(other.leave(&patience()).unwrap().code(), Some(0));
    assert_eq!(watch.line(), format!(r#"leave   bob of web-2 ""  ({joined})"#));
    for watch in [watch, json] {
        watch.child.interrupt();
        assert_eq!(watch.child.ended().code(), Some(0));
    }
}

#[test]
fn a_watch_says_within_two_seconds_that_the_process_is_dead_or_stands_still() {
    let (site, folder) = (Site::new(), Folder::new());
    let mut node = folder.node(&site, "web-1");
    let mut watch = folder.watch(&["room:1"]);
    let process = format!("web-1 (process {})", node.id());

    let stopped = Instant::now();
    signal(node.id(), "-STOP");
    assert_eq!(watch.said(), format!("nothing was heard of {process} for 1.5s: it may be stopped"));
    assert!(stopped.elapsed() < Duration::from_secs(2), "after {:?}", stopped.elapsed());
    // Others get an answer about it, too, and do not hang.
    let message = folder.refused(5, &["topics"]);
    assert!(message.contains("does not answer; it may be stopped"), "{message}");
    signal(node.id(), "-CONT");
    assert_eq!(watch.said(), format!("{process} is heard again"));

    let killed = Instant::now();
    node.kill().unwrap();
    assert_eq!(watch.said(), format!("error: {process} is gone"));
    assert!(killed.elapsed() < Duration::from_secs(2), "after {:?}", killed.elapsed());
    assert_eq!(watch.child.ended().code(), Some(4));
}

#[test]
fn a_watch_of_a_process_that_leaves_in_order_says_so() {
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let mut watch = folder.watch(&["room:1"]);
    assert!(node.leave(&patience()).unwrap().success());
    let said = watch.said();
    assert!(said.ends_with(" has ended") || said.ends_with(" was shut down"), "{said}");
    assert_eq!(watch.child.ended().code(), Some(3));
}

/// Memory of a process, as Linux tells it.
#[cfg(target_os = "linux")]
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn a_watcher_that_is_stopped_costs_the_process_nothing_and_is_told_what_it_missed() {
    const ROUNDS: usize = 60;
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let mut alice = Person::of(&node);
    let mut churn = |rounds: usize| {
        for _ in 0..rounds {
            for key in 0..250 {
                let key = key.to_string();
                alice.0.queue("JOIN", &[b"room:1", key.as_bytes(), &[b'm'; 200]]);
                alice.0.queue("LEAVE", &[b"room:1", key.as_bytes()]);
            }
            alice.0.send(&patience()).unwrap();
            (0..500).for_each(|_| drop(alice.0.reply(&patience()).unwrap()));
        }
    };
    // What one round of changes takes anyway is taken by then.
    churn(ROUNDS);
    let mut watch = folder.watch(&["room:1"]);
    signal(watch.child.0.id(), "-STOP");
    let before = resident_kib(node.id());
    churn(ROUNDS);
    let grown = resident_kib(node.id()).saturating_sub(before);
    // Its queue holds 8,192 changes.
    assert!(grown < 16 * 1024, "the node holds {grown} KiB for a watcher that does not read");
    let asked = Instant::now();
    folder.ok(&["topics"]);
    assert!(asked.elapsed() < Duration::from_secs(2), "others are served meanwhile: {:?}", asked.elapsed());
    signal(watch.child.0.id(), "-CONT");
    let mut lines = 0_usize;
    let missed: usize = loop {
        let line = watch.line();
        if let Some(rest) = line.strip_prefix("lagged  ") {
            let missed = rest.split_once(' ').and_then(|(missed, _)| missed.replace(',', "").parse().ok());
            break missed.unwrap_or_else(|| panic!("{line}"));
        }
        lines += 1;
    };
    assert!(missed > 0 && lines > 0 && lines < ROUNDS * 1000, "{lines} shown, {missed} missed");
    // It goes on after the gap.
    until("a change after the gap", || {
        churn(1);
        watch.line().contains(" of web-1 ")
    });
}

#[test]
fn eight_clients_are_served_and_a_ninth_is_told_so() {
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let mut watches: Vec<_> = (0..8).map(|_| folder.watch(&["room:1"])).collect();
    let message = folder.refused(5, &["topics"]);
    assert_eq!(message, "error: 8 clients are connected, and no more are served at once");
    drop(watches.pop());
    until("a place", || folder.run(&["topics"]).0 == 0);
    drop(node);
}

#[test]
fn a_request_that_is_none_is_answered_and_one_that_is_too_long_ends_the_connection() {
    use std::io::{BufRead, BufReader, Write};
    let (site, folder) = (Site::new(), Folder::new());
    let node = folder.node(&site, "web-1");
    let stream = std::os::unix::net::UnixStream::connect(folder.socket_of(&node)).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut lines = BufReader::new(&stream).lines().map(|line| line.unwrap());
    assert!(lines.next().unwrap().starts_with(r#"{"row":"hello","protocol":1,"#));
    for bad in [
        "dance",
        "{}",
        r#"{"op":"list"}"#,
        r#"{"op":"list","topic":{"hex":"f"}}"#,
        r#"{"op":"evict","entry":"x","timeout_ms":1}"#,
    ] {
        (&stream).write_all(format!("{bad}\n").as_bytes()).unwrap();
        let line = lines.next().unwrap();
        assert!(line.starts_with(r#"{"row":"error","code":"bad_request","#), "{bad}: {line}");
    }
    (&stream).write_all(b"{\"op\":\"topics\",\"limit\":5}\n").unwrap();
    assert_eq!(lines.next().unwrap(), r#"{"row":"end","rows":0,"of":0}"#);
    (&stream).write_all(&vec![b'x'; 300_000]).unwrap_or(());
    assert!(lines.next().is_none_or(|line| line.contains("the request is longer than 262144 bytes")));
}
