//! Two nodes and what becomes of their entries, through the program that people run.

mod support;

use headcount_tools::process::{NodeProcess, ProcessError, Ready};
use std::net::{Ipv4Addr, UdpSocket};
use support::{Person, Site, patience, signal, until};

/// Waits until both know each other in full.
fn meet(one: &mut Person, other: &mut Person) {
    for person in [one, other] {
        until("both nodes to be members", || {
            let nodes = person.lines("NODES");
            nodes.len() == 2 && nodes.iter().all(|node| node.contains(" synced=yes "))
        });
    }
}

fn two(site: &Site) -> (NodeProcess, NodeProcess) {
    // Started together, as people do with two terminals.
    let starting = [site.command("web-1"), site.command("web-2")].map(|command| command.start().unwrap());
    let [one, two] = starting.map(|node| node.ready(&patience()).unwrap());
    (one, two)
}

#[test]
fn what_joins_on_one_node_is_listed_on_the_other_and_leaves_when_that_is_killed() {
    let site = Site::new();
    let (mut web1, web2) = two(&site);
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    meet(&mut alice, &mut bob);

    assert_eq!(bob.lines("WATCH room:1"), [""; 0]);
    let joined = alice.ok("JOIN room:1 alice hello world");
    assert_eq!(bob.event(), "EVENT FIRST room:1");
    let entry = format!(r#"alice web-1 {joined} "hello world""#);
    assert_eq!(bob.event(), format!("EVENT JOIN room:1 {entry}"));
    assert_eq!(bob.lines("LIST room:1"), [format!("ENTRY {entry}")]);
    let updated = alice.ok("UPDATE room:1 alice away");
    assert_eq!(bob.event(), format!("EVENT UPDATE room:1 alice web-1 {updated} {joined} away"));
    // The same key on two nodes is two entries, on both.
    let own = bob.ok("JOIN room:1 alice me too");
    assert_eq!(bob.event(), format!(r#"EVENT JOIN room:1 alice web-2 {own} "me too""#));
    alice.until_ok("COUNT room:1", "2");
    assert_eq!(alice.lines("GET room:1 alice").len(), 2);
    // Somebody else's entry is not his to change.
    bob.ok("LEAVE room:1 alice");
    assert_eq!(bob.event(), format!(r#"EVENT LEAVE room:1 alice web-2 {own} "me too""#));
    assert_eq!(bob.ok("LEAVE room:1 alice"), "absent");

    // kill -9
    let Ready { node_id, .. } = web1.ready().clone();
    web1.kill().unwrap();
    assert_eq!(bob.event(), format!("EVENT LEAVE room:1 alice web-1 {updated} away"));
    assert_eq!(bob.event(), "EVENT EMPTY room:1");
    assert_eq!(bob.list("room:1"), []);
    let nodes = bob.lines("NODES");
    assert!(nodes.iter().any(|node| node.starts_with(&format!("NODE web-1 {node_id} down "))), "{nodes:?}");
    until("the log", || web2.said().contains("web-1 is down"));
}

#[test]
fn r5_a_node_that_stands_still_leaves_and_comes_back_with_the_same_refs() {
    let site = Site::new();
    let (web1, web2) = two(&site);
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    meet(&mut alice, &mut bob);
    assert_eq!(bob.lines("WATCH room:1"), [""; 0]);
    let own = bob.ok("JOIN room:1 bob");
    assert_eq!(bob.event(), "EVENT FIRST room:1");
    assert_eq!(bob.event(), format!(r#"EVENT JOIN room:1 bob web-2 {own} """#));
    let joined = alice.ok("JOIN room:1 alice hi");
    assert_eq!(bob.event(), format!("EVENT JOIN room:1 alice web-1 {joined} hi"));

    signal(web1.id(), "-STOP");
    assert_eq!(bob.event(), format!("EVENT LEAVE room:1 alice web-1 {joined} hi"));
    signal(web1.id(), "-CONT");
    assert_eq!(bob.event(), format!("EVENT JOIN room:1 alice web-1 {joined} hi"));

    // The one that stood still has heard nobody meanwhile, and took nobody for dead.
    alice.until_ok("COUNT room:1", "2");
    until("it knows that it stood still", || alice.stat("net.pauses") > 0);
    assert_eq!(alice.stat("net.downs"), 0);
    assert!(!web1.said().contains("web-2 is down"), "{}", web1.said());
}

#[test]
fn a_node_that_starts_again_has_a_new_life_and_nothing_of_the_old_is_listed() {
    let site = Site::new();
    let (mut web1, web2) = two(&site);
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    meet(&mut alice, &mut bob);
    bob.ok("JOIN room:1 bob");
    alice.ok("JOIN room:1 alice first");
    bob.until_ok("COUNT room:1", "2");

    let old = web1.ready().clone();
    let mut again = site.command("web-1");
    again.listen = old.clients;
    web1.kill().unwrap();
    drop(web1);
    let web1 = again.start().unwrap().ready(&patience()).expect("the same port can be had at once");
    assert_eq!((&web1.ready().node_id, web1.ready().clients), (&old.node_id, old.clients));
    assert_ne!(web1.ready().incarnation, old.incarnation);

    let mut alice = Person::of(&web1);
    meet(&mut alice, &mut bob);
    // Whole: it has what the other holds, and neither has anything of its old life.
    alice.until_ok("COUNT room:1", "1");
    bob.until_ok("COUNT room:1", "1");
    let joined = alice.ok("JOIN room:1 alice second");
    assert!(joined.contains(&web1.ready().incarnation));
    bob.until_ok("COUNT room:1", "2");
    assert_eq!(bob.lines("GET room:1 alice"), [format!("ENTRY alice web-1 {joined} second")]);
}

#[test]
fn a_node_that_leaves_is_gone_at_once_with_its_entries() {
    let site = Site::new();
    let (web1, web2) = two(&site);
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    meet(&mut alice, &mut bob);
    alice.ok("JOIN room:1 alice");
    assert_eq!(bob.lines("WATCH *"), [""; 0]);
    bob.until_ok("COUNT room:1", "1");
    assert_eq!(web1.leave(&patience()).unwrap().code(), Some(0));
    bob.until_ok("COUNT room:1", "0");
    until("one node", || bob.lines("NODES").len() == 1);
    // Not by its silence: nobody was declared down.
    assert_eq!(bob.stat("net.downs"), 0);
    until("the log", || web2.said().contains("web-1 has left"));
    until("the event", || bob.event().starts_with("EVENT NODE-DOWN web-1 "));
}

#[test]
fn garbage_in_the_group_is_counted_and_nothing_else_happens() {
    const GARBAGE: u64 = 50;
    let site = Site::new();
    let (web1, web2) = two(&site);
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    meet(&mut alice, &mut bob);
    alice.ok("JOIN room:1 alice");
    bob.until_ok("COUNT room:1", "1");
    let before = [alice.stat("net.malformed"), bob.stat("net.malformed")];
    assert_eq!(before, [0, 0]);

    // Bound to the loopback address, it sends through the loopback interface.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_multicast_ttl_v4(0).unwrap();
    for number in 0..GARBAGE {
        let length = usize::try_from(number * 29).unwrap();
        let nonsense: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
        socket.send_to(&nonsense, site.group).unwrap();
    }
    for person in [&mut alice, &mut bob] {
        until("all of it to be counted", || person.stat("net.malformed") == GARBAGE);
    }
    alice.ok("JOIN room:1 carol");
    bob.until_ok("COUNT room:1", "2");
    assert_eq!(bob.lines("NODES").len(), 2);
    for person in [&mut alice, &mut bob] {
        assert_eq!(person.stat("net.digest_mismatches") + person.stat("net.downs"), 0);
    }
}

#[test]
fn of_two_nodes_with_one_name_one_stops_and_says_why() {
    let site = Site::new();
    let first = site.node("web-1");
    let outcome = site.command("web-1").start().unwrap().ready(&patience());
    let Err(ProcessError::Ended { status, said, .. }) = outcome else {
        panic!("both run: {outcome:?}");
    };
    assert_eq!(status.code(), Some(2));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("error: --name web-1: ") && said.contains("another process runs as node"),
        "{said}"
    );
    assert_eq!(Person::of(&first).ok("PING"), "pong");
}

#[test]
fn nodes_that_are_told_of_a_peer_need_no_multicast() {
    let site = Site::new();
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = port.local_addr().unwrap().to_string();
    drop(port);
    let start = |name: &str, options: &[&str]| {
        let mut command = site.command(name);
        command.options.extend(options.iter().map(|&option| option.into()));
        command.start().unwrap().ready(&patience()).unwrap()
    };
    let web1 = start("web-1", &["--bind", &addr]);
    let web2 = start("web-2", &["--peer", &addr, "--peer", "nobody.invalid:7071"]);
    let (mut alice, mut bob) = (Person::of(&web1), Person::of(&web2));
    meet(&mut alice, &mut bob);
    let joined = alice.ok("JOIN room:1 alice");
    bob.until_ok("COUNT room:1", "1");
    assert!(bob.lines("LIST room:1")[0].contains(&joined));
    assert_eq!((bob.stat("network.multicast"), bob.stat("network.copies")), (0, 1));
}
