//! One node and its clients, through the program that people run.

mod support;

use headcount_tools::line::{Client, Listed, push_token};
use headcount_tools::process::Ready;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use support::{Guarded, Person, Site, patience, program, until};

#[test]
fn a_conversation_with_every_verb() {
    let site = Site::new();
    let node = site.node("web-1");
    let mut alice = Person::of(&node);
    let mut bob = Person::of(&node);

    assert_eq!(alice.ok("PING"), "pong");
    let first = alice.ok("JOIN room:1 alice hello world");
    assert!(first.starts_with(&format!("{}-", node.ready().node_id)));
    let listed = bob.list("room:1");
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].key[..], &listed[0].node[..]), (&b"alice"[..], &b"web-1"[..]));
    assert_eq!((listed[0].entry_ref.to_string(), &listed[0].meta[..]), (first.clone(), &b"hello world"[..]));

    let (code, words) = alice.refused("JOIN room:1 alice again");
    assert_eq!(code, "already-tracked");
    assert!(words.contains(&first) && words.contains("UPDATE"), "{words}");

    let second = alice.ok("update room:1 alice away");
    assert_ne!(second, first);
    assert_eq!(bob.lines("GET room:1 alice"), [format!("ENTRY alice web-1 {second} away")]);
    assert_eq!(bob.refused("UPDATE room:1 alice mine").0, "not-tracked");

    bob.ok("JOIN room:1 bob");
    bob.ok("JOIN room:2 bob");
    assert_eq!((alice.ok("COUNT room:1"), alice.ok("COUNT")), ("2".into(), "3".into()));
    let mut topics = alice.lines("TOPICS");
    topics.sort();
    assert_eq!(topics, ["TOPIC room:1 2", "TOPIC room:2 1"]);

    assert_eq!(alice.ok("LEAVE room:1 bob"), "absent", "not hers");
    assert_eq!(alice.ok("LEAVE room:1 alice"), "left");
    assert_eq!(alice.ok("LEAVE room:1 alice"), "absent");
    bob.ok("JOIN room:1 bob2");
    assert_eq!(bob.ok("LEAVE room:1"), "left 2");
    assert_eq!(bob.ok("LEAVE *"), "left 1");
    assert_eq!(bob.lines("TOPICS"), [""; 0]);
    assert_eq!(bob.lines("LIST nowhere"), [""; 0]);

    let nodes = bob.lines("NODES");
    let Ready { node_id, incarnation, .. } = node.ready();
    assert_eq!(
        nodes,
        [format!("NODE web-1 {node_id} local - entries=0 synced=yes incarnation={incarnation}")]
    );
    assert_eq!(bob.stat("clients.connections"), 2);
    assert!(bob.stat("clients.requests_total") > 20 && bob.stat("tracker.tracked_total") == 4);
    let help = bob.lines("HELP").join("\n");
    for verb in
        ["JOIN", "UPDATE", "LEAVE", "LIST", "GET", "COUNT", "TOPICS", "WATCH", "NODES", "STATS", "QUIT"]
    {
        assert!(help.contains(verb), "HELP does not tell about {verb}");
    }
    assert_eq!(bob.ok("QUIT"), "bye");
    bob.0.closed(&patience()).expect("the node closes the connection");
}

#[test]
fn whatever_bytes_go_in_come_out_again() {
    let site = Site::new();
    let node = site.node("web-1");
    let mut person = Person::of(&node);
    let mut other = Person::of(&node);
    let awkward: [&[u8]; 8] =
        [b"", b" ", b"*", b"a b", br#"q"\"#, b"line\r\nend\t", b"\x00\x7f\xff\xe2\x82", "Zoë ☃".as_bytes()];
    for topic in awkward {
        for (index, key) in awkward.into_iter().enumerate() {
            let meta = awkward[(index + 3) % awkward.len()];
            person.0.request("JOIN", &[topic, key, meta], &patience()).expect("it is taken");
        }
        let mut line = b"LIST ".to_vec();
        push_token(&mut line, topic);
        other.types(str::from_utf8(&line).expect("what is quoted is text"));
        let reply = other.0.reply(&patience()).expect("a list");
        let listed: Vec<Listed> =
            reply.lines().iter().map(|line| Listed::parse(line, &[b"ENTRY"]).expect("an entry")).collect();
        assert_eq!(listed.len(), awkward.len());
        for (index, entry) in listed.iter().enumerate() {
            assert_eq!(entry.key, awkward[index]);
            assert_eq!(entry.meta, awkward[(index + 3) % awkward.len()]);
        }
    }
    assert_eq!(person.ok(r#"LEAVE "*" "*""#), "left");
    assert_eq!(person.ok("COUNT"), (awkward.len() * awkward.len() - 1).to_string());
}

#[test]
fn mistakes_are_answered_in_plain_words_and_change_nothing() {
    let site = Site::new();
    let node = site.node("web-1");
    let mut person = Person::of(&node);
    let long = "t".repeat(300);
    assert_eq!(
        person.refused(&format!("JOIN {long} key")),
        ("too-long".into(), "topic is 300 bytes, the limit is 256".into())
    );
    assert_eq!(person.refused(&format!("JOIN t {long}")).1, "key is 300 bytes, the limit is 256");
    assert_eq!(
        person.refused(&format!("JOIN t k {}", "m".repeat(513))).1,
        "meta is 513 bytes, the limit is 512"
    );
    let (code, words) = person.refused("DANCE all night");
    assert_eq!((&code[..], &words[..]), ("unknown-command", "DANCE is not a command; HELP lists them"));
    assert_eq!(person.refused("JOIN room:1").0, "usage");
    assert_eq!(person.refused(r#"LIST "room"#).0, "bad-quotes");
    assert_eq!(person.refused("UNWATCH room:1").0, "not-watching");

    // Longer than a line may be, in one piece and in two, with the next line right behind it.
    assert_eq!(person.refused(&"x".repeat(5000)).0, "line-too-long");
    person.0.queue_raw(&[b'y'; 9000]);
    person.0.send(&patience()).unwrap();
    person.0.queue_raw(&[b'y'; 90_000]);
    assert_eq!(person.refused("").0, "line-too-long");
    // An empty line is none, and \r\n ends a line as \n does.
    person.0.queue_raw(b"\n\r\n");
    assert_eq!(person.ok("COUNT\r"), "0");
    assert_eq!(person.stat("clients.refused_total"), 9);
}

#[test]
fn a_watch_shows_what_is_there_and_then_what_happens() {
    let site = Site::new();
    let node = site.node("web-1");
    let (mut actor, mut watcher) = (Person::of(&node), Person::of(&node));
    let first = actor.ok("JOIN room:1 alice hi there");
    let snapshot = watcher.lines("WATCH room:1");
    assert_eq!(snapshot, [format!(r#"SNAPSHOT room:1 alice web-1 {first} "hi there""#)]);
    assert_eq!(watcher.refused("WATCH room:1").0, "already-watching");
    assert_eq!(watcher.lines("WATCH room:2"), [""; 0]);

    let second = actor.ok("UPDATE room:1 alice");
    assert_eq!(watcher.event(), format!(r#"EVENT UPDATE room:1 alice web-1 {second} {first} """#));
    actor.ok("LEAVE room:1 alice");
    assert_eq!(watcher.event(), format!(r#"EVENT LEAVE room:1 alice web-1 {second} """#));
    assert_eq!(watcher.event(), "EVENT EMPTY room:1");
    let third = actor.ok("JOIN room:2 bob x");
    assert_eq!(watcher.event(), "EVENT FIRST room:2");
    assert_eq!(watcher.event(), format!("EVENT JOIN room:2 bob web-1 {third} x"));

    // Ended watches are silent; WATCH * sees every topic, with no snapshot.
    assert_eq!(watcher.ok("UNWATCH room:2"), "");
    assert_eq!(watcher.ok("UNWATCH room:1"), "");
    assert_eq!(watcher.lines("WATCH *"), [""; 0]);
    actor.ok("LEAVE room:2 bob");
    assert_eq!(watcher.event(), format!("EVENT LEAVE room:2 bob web-1 {third} x"));
    assert_eq!(watcher.event(), "EVENT EMPTY room:2");
    // A reply is never interrupted by an event, and no event is lost beside it.
    actor.ok("JOIN room:3 carol");
    assert_eq!(watcher.ok("PING"), "pong");
    assert_eq!(watcher.event(), "EVENT FIRST room:3");
    assert!(watcher.event().starts_with("EVENT JOIN room:3 carol "));
    drop(watcher);
    until("the subscriptions to end", || actor.stat("tracker.subscriptions") == 1);
}

#[test]
fn a_watcher_that_does_not_read_is_told_what_it_missed_and_gets_the_view_again() {
    const JOINS: usize = 40_000;
    let site = Site::new();
    let node = site.node("web-1");
    let (mut actor, mut watcher) = (Person::of(&node), Person::of(&node));
    watcher.lines("WATCH crowd");
    watcher.lines("WATCH quiet");
    // More than the sockets, the node's buffer for the connection and the subscription's queue hold together.
    let meta = "m".repeat(500);
    for chunk in (0..JOINS).collect::<Vec<_>>().chunks(100) {
        for key in chunk {
            actor.0.queue("JOIN", &[b"crowd", key.to_string().as_bytes(), meta.as_bytes()]);
        }
        actor.0.send(&patience()).unwrap();
        for _ in chunk {
            actor.0.reply(&patience()).expect("a writer never waits for a reader");
        }
    }
    assert!(actor.stat("tracker.events_missed_total") > 0, "the watcher was too fast for this test");

    // The view, replayed from what is pushed.
    let mut view = std::collections::BTreeSet::new();
    let (mut lagged, mut resynced, mut fresh) = (false, false, Vec::new());
    while view.len() < JOINS {
        let line = watcher.event();
        let words: Vec<&str> = line.split(' ').collect();
        match (words[0], words[1]) {
            ("EVENT", "FIRST") => {}
            ("EVENT", "JOIN") => drop(view.insert(words[3].to_owned())),
            ("EVENT", "LAGGED") => {
                assert!(words[2].parse::<u64>().unwrap() > 0 && words[3] == "crowd", "{line}");
                lagged = true;
                fresh.clear();
            }
            ("SNAPSHOT", "crowd") => fresh.push(words[2].to_owned()),
            ("EVENT", "RESYNCED") => {
                assert_eq!(words[3].parse(), Ok(fresh.len()), "{line}");
                view = fresh.drain(..).collect();
                resynced = true;
            }
            _ => panic!("unexpected {line}"),
        }
    }
    assert!(lagged && resynced);
    // It goes on from there, the other watch too.
    actor.ok("LEAVE crowd 7");
    assert!(watcher.event().starts_with("EVENT LEAVE crowd 7 "));
    actor.ok("JOIN quiet x");
    assert_eq!(watcher.event(), "EVENT FIRST quiet");
}

#[test]
fn a_watcher_of_everything_that_does_not_read_is_told_what_it_missed_and_goes_on() {
    let site = Site::new();
    let node = site.node("web-1");
    let (mut actor, mut watcher) = (Person::of(&node), Person::of(&node));
    watcher.lines("WATCH *");
    let meta = "m".repeat(500);
    let mut joined = 0;
    while actor.stat("tracker.events_missed_total") == 0 {
        for _ in 0..100 {
            joined += 1;
            actor.0.queue("JOIN", &[b"crowd", joined.to_string().as_bytes(), meta.as_bytes()]);
        }
        actor.0.send(&patience()).unwrap();
        for _ in 0..100 {
            actor.0.reply(&patience()).expect("a writer never waits for a reader");
        }
        assert!(joined < 200_000, "the watcher was too fast for this test");
    }
    let mut markers = 0;
    loop {
        let line = watcher.event();
        let words: Vec<&str> = line.split(' ').collect();
        match words[1] {
            "LAGGED" => {
                assert!(words[2].parse::<u64>().unwrap() > 0 && words[3] == "*", "{line}");
                markers += 1;
                actor.ok(&format!("JOIN marker {markers}"));
            }
            "JOIN" if words[2] == "marker" => break,
            _ => assert!(matches!(words[1], "FIRST" | "JOIN"), "{line}"),
        }
    }
    assert!(markers > 0, "it was told that it lags before it went on");
}

#[test]
fn entries_leave_with_their_connection_however_it_ends() {
    let site = Site::new();
    let node = site.node("web-1");
    let mut observer = Person::of(&node);

    let mut closes = Person::of(&node);
    closes.ok("JOIN room:1 closes");
    let mut quits = Person::of(&node);
    quits.ok("JOIN room:1 quits");
    let mut resets = Person::of(&node);
    for key in 0..2000 {
        resets.0.queue("JOIN", &[b"room:1", key.to_string().as_bytes()]);
    }
    resets.0.send(&patience()).unwrap();
    observer.until_ok("COUNT room:1", "2002");

    drop(closes);
    observer.until_ok("COUNT room:1", "2001");
    assert_eq!(quits.ok("QUIT"), "bye");
    observer.until_ok("COUNT room:1", "2000");
    // Replies that were received and not read make the system answer the close with a reset.
    until("replies to arrive", || matches!(resets.0.stream().peek(&mut [0; 1]), Ok(1)));
    drop(resets);
    observer.until_ok("COUNT room:1", "0");
    until("the connections to be forgotten", || observer.stat("clients.connections") == 1);
}

#[test]
fn a_client_that_only_writes_and_closes_gets_its_answers() {
    let site = Site::new();
    let node = site.node("web-1");
    let mut stream = TcpStream::connect(node.ready().clients).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    // As `printf ... | nc -N` does; what is left without a line's end is no request.
    stream.write_all(b"JOIN room:1 a\nCOUNT room:1\nLIST room:1\nPING").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let lines: Vec<&str> = answers.lines().collect();
    assert_eq!(lines.len(), 4, "{answers}");
    assert!(lines[0].starts_with("OK ") && lines[1] == "OK 1" && lines[2].starts_with("ENTRY a "));
    assert_eq!(lines[3], "END 1");
    Person::of(&node).until_ok("COUNT", "0");
}

#[test]
fn a_long_list_to_a_slow_reader_keeps_nobody_waiting() {
    const ENTRIES: usize = 30_000;
    let site = Site::new();
    let node = site.node("web-1");
    let mut slow = Person::of(&node);
    let meta = [b'm'; 500];
    for chunk in (0..ENTRIES).collect::<Vec<_>>().chunks(200) {
        for key in chunk {
            slow.0.queue("JOIN", &[b"big", key.to_string().as_bytes(), &meta]);
        }
        slow.0.send(&patience()).unwrap();
        for _ in chunk {
            slow.0.reply(&patience()).unwrap();
        }
    }
    slow.lines("WATCH news");
    // 48 MB of lists that nobody takes yet, a request behind them, and an event.
    let before = resident_kib(node.ready().pid);
    slow.0.queue_raw(b"LIST big\nLIST big\nLIST big\nPING\n");
    slow.0.send(&patience()).unwrap();
    let mut other = Person::of(&node);
    for _ in 0..100 {
        assert_eq!(other.ok("COUNT big"), ENTRIES.to_string());
    }
    let grown = resident_kib(node.ready().pid).saturating_sub(before);
    assert!(grown < 8 * 1024, "the node holds {grown} KiB for a client that does not read");
    other.ok("JOIN news flash");
    for _ in 0..3 {
        for _ in 0..ENTRIES {
            let line = slow.0.line(&patience()).unwrap();
            assert!(
                line.starts_with(b"ENTRY "),
                "a reply is not interrupted: {}",
                String::from_utf8_lossy(&line)
            );
        }
        assert_eq!(slow.0.line(&patience()).unwrap(), format!("END {ENTRIES}").as_bytes());
    }
    let mut rest: Vec<Vec<u8>> = (0..3).map(|_| slow.0.line(&patience()).unwrap()).collect();
    rest.sort();
    assert!(rest[0] == b"EVENT FIRST news" && rest[1].starts_with(b"EVENT JOIN news flash "), "{rest:?}");
    assert_eq!(rest[2], b"OK pong");
}

/// Memory of a process, as Linux tells it.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn one_client_too_many_is_told_so() {
    let site = Site::new();
    let mut command = site.command("web-1");
    command.options = vec!["--max-connections".into(), "2".into()];
    let node = command.start().unwrap().ready(&patience()).unwrap();
    let (mut one, mut two) = (Person::of(&node), Person::of(&node));
    assert_eq!((one.ok("PING"), two.ok("PING")), ("pong".into(), "pong".into()));
    let mut three = Client::connect(node.ready().clients, &patience()).unwrap();
    let line = three.line(&patience()).expect("a refusal");
    assert!(line.starts_with(b"ERR too-many-connections "), "{}", String::from_utf8_lossy(&line));
    three.closed(&patience()).unwrap();
    drop(two);
    until("a place", || {
        let mut again = Person::of(&node);
        again.says("PING").is_ok()
    });
}

#[test]
fn the_ready_line_is_for_people_and_an_interrupt_ends_the_node() {
    let site = Site::new();
    let group = site.group.to_string();
    let child = Command::new(program())
        .args(["node", "--name", "web 1", "--cluster", &site.cluster, "--group", &group])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Guarded(child);
    let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let rest = line.strip_prefix("headcount node web 1 ready: clients 127.0.0.1:").expect(&line);
    let (port, rest) = rest.split_once(", ").expect(&line);
    assert!(port.parse::<u16>().is_ok(), "{line}");
    assert!(rest.starts_with(&format!("cluster {}, node id ", site.cluster)), "{line}");

    child.interrupt();
    assert_eq!(child.ended().code(), Some(0));
    let mut more = String::new();
    stdout.read_to_string(&mut more).unwrap();
    assert_eq!(more, "", "one line and no more");
}

#[test]
fn a_node_ends_with_its_standard_input_if_it_is_told_to() {
    let site = Site::new();
    let node = site.node("web-1");
    let mut person = Person::of(&node);
    person.ok("JOIN room:1 a");
    let status = node.leave(&patience()).expect("it ends");
    assert_eq!(status.code(), Some(0));
    person.0.closed(&patience()).unwrap();
}
