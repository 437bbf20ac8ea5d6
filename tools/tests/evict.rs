//! Ghosts, evictions and the comparison of views, through the program that people run.

#![cfg(unix)]

mod support;

use headcount_tools::process::NodeProcess;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::admin::{Folder, all_know, listen, stand_between};
use support::{Person, Site, program, signal, stderr, until};

/// Two nodes with admin sockets that know each other, and a client of each.
fn two(folder: &Folder) -> (Site, [NodeProcess; 2], [Person; 2]) {
    let site = Site::new();
    let nodes = ["web-1", "web-2"].map(|name| folder.node(&site, name));
    let [mut first, mut second] = nodes.each_ref().map(Person::of);
    all_know(&mut [&mut first, &mut second], 2);
    (site, nodes, [first, second])
}

#[test]
fn entries_of_a_node_that_is_silent_are_ghosts() {
    let (site, folder) = (Site::new(), Folder::new());
    let (web1, web2) = (site.node("web-1"), folder.node(&site, "web-2"));
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    all_know(&mut [&mut alice, &mut bob], 2);
    let joined = alice.ok("JOIN room:1 alice");
    bob.ok("JOIN room:1 bob");
    bob.until_ok("COUNT room:1", "2");
    let (status, out, error) = folder.run(&["ghosts"]);
    assert_eq!((status, out.as_str(), error.as_str()), (0, "", "0 of 2 entries of web-2\n"));

    // Suspect after half a second, down and hidden after two.
    until("alice to be a ghost", || {
        signal(web1.id(), "-STOP");
        let mut found = false;
        while !found && bob.ok("COUNT room:1") == "2" {
            let (status, out, error) = folder.run(&["ghosts"]);
            assert_eq!(status, i32::from(!out.is_empty()), "{out}{error}");
            found = out.starts_with("alice in room:1 of web-1: its node is silent for ")
                && out.ends_with(&format!("({joined})\n"));
        }
        signal(web1.id(), "-CONT");
        bob.until_ok("COUNT room:1", "2");
        found
    });
    until("nobody to be one", || folder.run(&["ghosts", "--json"]) == (0, String::new(), String::new()));
}

/// What a process says that has ghosts of every kind.
fn haunted(client: UnixStream) {
    let _ = BufReader::new(&client).read_line(&mut String::new());
    let kinds = ["leaving", "life_over", "silent", "indirect", "behind", "of_a_later_version"];
    for (number, why) in kinds.iter().enumerate() {
        let entry = serde_json::json!({
            "topic": "room", "key": format!("k{number}"), "meta": "", "node": "web-2", "session": null,
            "entry": format!("1-1.1-1-{number}"), "joined": format!("1-1.1-1-{number}"), "heard_ms": 1500,
        });
        let row = serde_json::json!({ "row": "ghost", "why": why, "entry": entry });
        let _ = (&client).write_all(format!("{row}\n").as_bytes());
    }
    let _ = (&client).write_all(b"{\"row\":\"end\",\"rows\":5,\"of\":1200}\n");
}

#[test]
fn every_reason_of_a_ghost_is_said_in_words() {
    let folder = Folder::new();
    let hello = r#"{"row":"hello","protocol":1,"version":"0.1.0","pid":7,"node":"web-1","node_id":"1","incarnation":"1.1"}"#;
    listen(&folder.0.join("headcount.7.0.admin"), format!("{hello}\n").leak(), haunted);
    let (status, out, error) = folder.run(&["ghosts"]);
    let lines: Vec<&str> = out.lines().collect();
    for (number, why) in [
        "its node has left and its entries stay for a while",
        "that life of its node is over",
        "its node is silent",
        "its node is heard by others only",
        "its lane is not here to its end",
    ]
    .iter()
    .enumerate()
    {
        let expected = format!("k{number} in room of web-2: {why} for 1.50 s  (1-1.1-1-{number})");
        assert_eq!(lines.get(number), Some(&&*expected), "{out}{error}");
    }
    // A row that this version does not know ends it: better than a list that is not whole.
    assert_eq!((status, lines.len()), (6, 5), "{out}{error}");
}

#[cfg(feature = "faults")]
#[test]
fn entries_of_a_node_that_only_others_hear_or_that_hands_over_are_ghosts() {
    use headcount_net::{Config, Interface, SocketFaults};
    use std::time::Duration;
    let (site, folder) = (Site::new(), Folder::new());
    let faults = SocketFaults::new(7);
    let join = |name: &str, change: &dyn Fn(Config) -> Config| {
        let tracker = headcount::Config::default().build().expect("a tracker");
        let config = Config::new(&site.cluster).node(name).multicast(site.group, Interface::Loopback);
        (change(config).join(&tracker).expect("it joins"), tracker)
    };
    let (web1, view) = join("web-1", &|config| config.faults(faults.clone()).admin_socket_in(&folder.0));
    let (web2, others) = join("web-2", &|config| config);
    let (web3, _tracker) = join("web-3", &|config| config);
    until("all to know each other", || [&web1, &web2, &web3].iter().all(|node| node.members().len() == 2));
    let session = others.session();
    session.track("room", "alice", "").expect("there is room");
    until("alice to be seen", || view.count("room") == 1);
    assert_eq!(folder.run(&["ghosts"]).0, 0);

    faults.cut(web2.local_addr());
    let says = |why: &str| {
        let (status, out, _) = folder.run(&["ghosts"]);
        status == 1 && out.starts_with(&format!("alice in room of web-2: {why}"))
    };
    until("others alone to hear web-2", || says("its node is heard by others only"));
    faults.mend();
    until("web-2 to be heard", || folder.run(&["ghosts"]).0 == 0);
    web2.leave_with_handover(Duration::from_secs(20));
    until("web-2 to hand over", || says("its node has left and its entries stay for a while"));
}

#[test]
fn an_entry_is_removed_by_its_owner_and_leaves_everywhere() {
    let folder = Folder::new();
    let (_site, _nodes, [mut alice, mut bob]) = two(&folder);
    let ghost = alice.ok("JOIN room:1 alice");
    bob.until_ok("COUNT room:1", "1");
    let out = folder.ok(&["evict", "room:1", "alice", "--process", "web-2"]);
    assert_eq!(out, format!("removed alice in room:1 of web-1 ({ghost})\n"));
    assert_eq!(alice.ok("COUNT room:1"), "0");
    bob.until_ok("COUNT room:1", "0");
    let message = folder.refused(8, &["evict", "room:1", "alice", "--process", "web-2"]);
    assert_eq!(message, "error: nobody has alice in room:1; nothing was removed");

    // Its client can join again: that is another entry, and the old ref names nothing.
    let again = alice.ok("JOIN room:1 alice back");
    bob.until_ok("COUNT room:1", "1");
    let message = folder.refused(8, &["evict", "room:1", "alice", "--ref", &ghost, "--process", "web-2"]);
    assert_eq!(
        message,
        format!("error: alice in room:1 has no version {ghost} any more; nothing was removed")
    );
    let rows = folder.rows(&["evict", "room:1", "alice", "--ref", &again, "--process", "web-1"]);
    assert_eq!(rows[0]["outcome"], "removed");
    bob.until_ok("COUNT room:1", "0");
}

#[test]
fn of_several_with_one_key_none_is_removed_unless_one_is_named() {
    let folder = Folder::new();
    let (_site, _nodes, [mut alice, mut other]) = two(&folder);
    let refs = [alice.ok("JOIN room:1 alice"), other.ok("JOIN room:1 alice")];
    for person in [&mut alice, &mut other] {
        person.until_ok("COUNT room:1", "2");
    }
    let (status, out, error) = folder.run(&["evict", "room:1", "alice", "--process", "web-1"]);
    assert_eq!((status, out.as_str()), (8, ""));
    assert!(refs.iter().all(|entry| error.contains(entry)), "{error}");
    let last = "error: 2 have alice in room:1; nothing was removed: choose one with --node or --ref\n";
    assert!(error.ends_with(last), "{error}");
    let message = folder.refused(8, &["evict", "room:1", "alice", "--node", "web-3", "--process", "web-1"]);
    assert_eq!(message, "error: node web-3 does not have alice in room:1; nothing was removed");
    folder.ok(&["evict", "room:1", "alice", "--node", "web-2", "--process", "web-1"]);
    alice.until_ok("COUNT room:1", "1");
    assert!(alice.lines("LIST room:1")[0].contains(&refs[0]));
}

#[test]
fn a_node_that_was_not_told_to_obey_keeps_its_entries() {
    let (site, folder) = (Site::new(), Folder::new());
    let (web1, web2) = (site.node("web-1"), folder.node(&site, "web-2"));
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    all_know(&mut [&mut alice, &mut bob], 2);
    alice.ok("JOIN room:1 alice");
    bob.until_ok("COUNT room:1", "1");
    let message = folder.refused(7, &["evict", "room:1", "alice"]);
    let id = &web1.ready().node_id;
    assert_eq!(
        message,
        format!("error: node {id} does not allow others to evict its entries: set `obey_evictions` there")
    );
    assert_eq!(alice.ok("COUNT room:1"), "1");

    signal(web1.id(), "-STOP");
    let message = folder.refused(5, &["evict", "room:1", "alice", "--timeout", "200"]);
    signal(web1.id(), "-CONT");
    assert_eq!(message, format!("error: node {id} has not answered within 200ms"));
}

#[test]
fn a_client_that_comes_back_while_its_ghost_is_evicted_stays() {
    let folder = Folder::new();
    let (_site, _nodes, [mut alice, mut bob]) = two(&folder);
    alice.ok("JOIN room:1 alice");
    bob.until_ok("COUNT room:1", "1");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let evicting = scope.spawn(|| {
            let mut removed = Vec::new();
            for _ in 0..25 {
                let (status, out, error) = folder.run(&["evict", "room:1", "alice", "--process", "web-2"]);
                assert!(status == 0 || error.contains("nothing was removed"), "{out}{error}");
                let named = out.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
                removed.extend(named.map(|(entry, _)| entry.to_owned()));
            }
            over.store(true, Ordering::Relaxed);
            removed
        });
        // Comes back, as a new version or a new entry, again and again, with moments of rest of all lengths.
        let (mut last, mut round) = (String::new(), 0_u32);
        while !over.load(Ordering::Relaxed) {
            match alice.says("UPDATE room:1 alice back") {
                Ok(headcount_tools::line::Reply::Ok(updated)) => last = updated,
                _ => last = alice.ok("JOIN room:1 alice again"),
            }
            round += 1;
            (0..round * 37 % 512).for_each(|_| drop(alice.ok("PING")));
        }
        let removed = evicting.join().expect("it ends");
        assert!(!removed.is_empty(), "some were removed");
        // What came last is there, unless it is exactly what was removed.
        let expected = usize::from(!removed.contains(&last));
        bob.until_ok("COUNT room:1", &expected.to_string());
        assert_eq!(alice.ok("COUNT room:1"), expected.to_string());
        if expected == 1 {
            until("the last version", || bob.lines("LIST room:1")[0].contains(&last));
        }
    });
}

#[test]
fn views_that_are_one_agree_while_entries_come_and_go() {
    let folder = Folder::new();
    let (_site, _nodes, [mut alice, mut bob]) = two(&folder);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = 0_u64;
            while !over.load(Ordering::Relaxed) {
                alice.ok(&format!("JOIN room:{} {key}", key % 50));
                bob.ok(&format!("JOIN room:{} {key}", key % 30));
                key += 1;
            }
        });
        let (status, out, error) = folder.run(&["verify"]);
        over.store(true, Ordering::Relaxed);
        assert_eq!(status, 0, "{out}{error}");
        assert!(
            out.starts_with("agree: web-1, web-2; ") || out.starts_with("agree: web-2, web-1; "),
            "{out}"
        );
    });
    let answer = folder.rows_of_one(&["verify", "--process", "web-1", "--process", "web-2"]);
    assert_eq!(
        (answer["verdict"].as_str(), answer["processes"].as_array().map(Vec::len)),
        (Some("agree"), Some(2))
    );
    assert!(answer["lanes_agreed"].as_u64() > Some(10));
}

#[test]
fn where_views_differ_is_named_by_lane_and_observer() {
    let folder = Folder::new();
    let (_site, [web1, web2], [mut alice, mut bob]) = two(&folder);
    alice.ok("JOIN room:1 alice");
    bob.until_ok("COUNT room:1", "1");
    // A process that tells something else of one lane of web-1.
    let liar = folder.0.join("liar");
    let of = web1.ready().node_id.clone();
    stand_between(&liar, folder.socket_of(&web2), move |row| {
        if row["row"] == "lane" && row["node"] == of.as_str() && row["lane"] == 3 {
            row["digest"] = "00000000deadbeef".into();
        }
    });
    let liar = liar.to_str().unwrap();
    let (status, out, error) = folder.run(&["verify", "--process", "web-1", "--socket", liar]);
    assert_eq!(status, 1, "{out}{error}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with(
            "lane 3 of web-1: web-1 has 0 entries at clock 0, digest 0000000000000000; web-2 has "
        ),
        "{out}"
    );
    assert!(lines[0].ends_with("digest 00000000deadbeef"), "{out}");
    assert!(
        lines[1].starts_with("differ: web-2, web-1; ") && lines[1].ends_with(" 1 difference above"),
        "{out}"
    );
    let (status, out, _) = folder.run(&["verify", "--process", "web-1", "--socket", liar, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let difference = &answer["differences"][0];
    assert_eq!(
        (status, answer["verdict"].as_str(), difference["lane"].as_u64()),
        (1, Some("differ"), Some(3))
    );
    assert_eq!(
        (difference["observer"].as_str(), difference["node"].as_str()),
        (Some("web-2"), Some("web-1"))
    );
}

#[test]
fn nodes_that_do_not_hear_each_other_differ_and_one_that_does_not_answer_cannot_be_told() {
    let (site, mut apart, folder) = (Site::new(), Site::new(), Folder::new());
    apart.cluster.clone_from(&site.cluster);
    let (web1, _web2) = (folder.node(&site, "web-1"), folder.node(&apart, "web-2"));
    let (status, out, error) = folder.run(&["verify"]);
    assert_eq!(status, 1, "{out}{error}");
    assert!(out.contains("web-1 does not know web-2, which web-2 sees\n"), "{out}");
    assert!(out.contains("web-2 does not know web-1, which web-1 sees\n"), "{out}");

    signal(web1.id(), "-STOP");
    let (status, out, _) = folder.run(&["verify"]);
    signal(web1.id(), "-CONT");
    assert_eq!(status, 2, "{out}");
    assert!(
        out.contains("does not answer; it may be stopped") && out.contains("could not be told: web-2"),
        "{out}"
    );

    let (status, _, error) = folder.run(&["verify", "--process", "web-1"]);
    assert_eq!(status, 2);
    assert!(error.starts_with("error: it takes two processes to compare, and 1 can be asked; "), "{error}");
}

#[test]
fn a_node_is_not_compared_with_itself() {
    let folder = Folder::new();
    let (_site, [web1, _web2], _) = two(&folder);
    let (pid, socket) = (web1.id().to_string(), folder.socket_of(&web1));
    let socket = socket.to_str().unwrap();
    for again in [&["--process", "web-1"][..], &["--process", &pid], &["--socket", socket]] {
        let (status, out, error) = folder.run(&[&["verify", "--process", "web-1"], again].concat());
        assert_eq!((status, out.as_str()), (2, ""), "{again:?}");
        let all = format!(
            "error: it takes two nodes to compare, and all that were named are one: web-1 (process {pid})\n"
        );
        let one = "error: it takes two processes to compare, and 1 can be asked; ";
        assert!(error == all || error.starts_with(one), "{error}");
    }
    let named = ["verify", "--process", "web-1", "--process", &pid, "--process", "web-2", "--socket", socket];
    let answer = folder.rows_of_one(&named);
    let mut names: Vec<_> =
        answer["processes"].as_array().unwrap().iter().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [Some("web-1"), Some("web-2")], "{answer}");
}

#[test]
fn sockets_of_other_users_are_passed_over_with_a_word() {
    let folder = Folder::new();
    let (_site, nodes, _) = two(&folder);
    // Another user can only be had by root.
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.socket_of(&nodes[0])).unwrap()) != 0 {
        return;
    }
    // Where everybody can run it, and by a process of its own: a child that another test starts at this moment would keep the copy open.
    let copy = folder.0.join("headcount");
    assert!(Command::new("cp").arg(program()).arg(&copy).status().unwrap().success());
    let output = Command::new(&copy).args(["verify", "--dir", folder.text()]).uid(65534).gid(65534).output();
    let output = output.expect("it runs");
    let said = stderr(&output);
    for node in &nodes {
        let socket = folder.socket_of(node).display().to_string();
        let expected = format!(
            "passed over: {socket}: permission denied: only the user that process {} runs as",
            node.id()
        );
        assert!(said.lines().any(|line| line.starts_with(&expected)), "{expected} is not in {said}");
    }
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: it takes two processes to compare, and 0 can be asked; "), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn nodes_of_several_clusters_are_not_compared() {
    let (site, other, folder) = (Site::new(), Site::new(), Folder::new());
    let _nodes = [folder.node(&site, "web-1"), folder.node(&other, "web-2")];
    let (status, out, error) = folder.run(&["verify"]);
    assert_eq!((status, out.as_str()), (2, ""));
    let mut clusters = [&site.cluster[..], &other.cluster];
    clusters.sort_unstable();
    let expected = format!(
        "error: these processes are of several clusters; choose those of one with --process: {}\n",
        clusters.join(", ")
    );
    assert_eq!(error, expected);
}
