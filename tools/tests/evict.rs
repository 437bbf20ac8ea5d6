//! Ghosts, evictions and the comparison of views, through the program that people run.

#![cfg(unix)]

mod support;

use headcount_tools::process::NodeProcess;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use support::admin::{Folder, all_know, stand_between};
use support::{Person, Site, signal, until};

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
    until("nobody to be one", || folder.rows(&["ghosts"]).is_empty());
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
