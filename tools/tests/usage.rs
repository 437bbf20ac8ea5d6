//! Wrong command lines: one line that names the option and the value and says what to do, and an exit status.

mod support;

use std::net::{TcpListener, UdpSocket};
use support::{headcount, stderr, stdout};

/// The message of a refused `headcount node`, with its exit status.
fn refused(args: &[&str]) -> (String, Option<i32>) {
    let mut line = vec!["node", "--cluster", "usage"];
    if !args.contains(&"--name") {
        line.extend(["--name", "web-1"]);
    }
    line.extend(args);
    let output = headcount(&line);
    assert_eq!(stdout(&output), "", "a node that is refused is never ready");
    let message = stderr(&output);
    assert_eq!(message.lines().count(), 1, "one line: {message}");
    (message.trim_end().into(), output.status.code())
}

#[test]
fn bad_values_are_refused_with_status_2() {
    let long = "n".repeat(65);
    for (args, expected) in [
        (
            ["--listen", "nowhere"],
            "error: invalid value 'nowhere' for '--listen <IP:PORT>': not an address; write IP:PORT, such as \
             127.0.0.1:7001 or 127.0.0.1:0",
        ),
        (
            ["--group", "127.0.0.1:7070"],
            "error: invalid value '127.0.0.1:7070' for '--group <IP:PORT>': not a multicast address; use one within \
             239.255.0.0/16, such as 239.255.70.70:7070",
        ),
        (
            ["--interface", "eth9"],
            "error: invalid value 'eth9' for '--interface <lo|IP>': not lo and not an IPv4 address; `ip -4 addr` lists \
             those of this machine",
        ),
        (
            ["--interface", "203.0.113.9"],
            "error: --interface 203.0.113.9: no interface of this machine has this address; `ip -4 addr` lists them, and \
             lo always works",
        ),
        (["--peer", "web-2"], "error: --peer web-2: write host:port"),
        (["--peer", "web-2:0"], "error: --peer web-2:0: its port is not a number from 1 to 65535"),
        (["--bind", "239.255.1.1:7071"], "error: --bind 239.255.1.1:7071: it is a multicast address"),
        (["--shards", "48"], "error: --shards 48: it must be a power of two: 16, 32, 64 ..."),
        (
            ["--shards", "many"],
            "error: invalid value 'many' for '--shards <N>': write a number from 1 to 256",
        ),
        (
            ["--max-connections", "0"],
            "error: invalid value '0' for '--max-connections <N>': write a number from 1 to 1000000",
        ),
        (
            ["--name", &long],
            &format!("error: invalid value '{long}' for '--name <NAME>': it has 65 bytes, the limit is 64"),
        ),
    ] {
        assert_eq!(refused(&args), (expected.to_owned(), Some(2)));
    }
}

#[test]
fn an_address_of_the_network_needs_to_be_allowed() {
    // The address that this machine would use to speak to another; without a network there is nothing to test.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(()) = socket.connect("192.0.2.99:9") else { return };
    let ip = socket.local_addr().unwrap().ip().to_string();
    if ip.starts_with("127.") {
        return;
    }
    let (message, status) = refused(&["--interface", &ip]);
    assert!(message.starts_with(&format!("error: --interface {ip}: without a key everybody")), "{message}");
    assert!(message.contains("add --insecure"), "{message}");
    assert_eq!(status, Some(2));
}

#[cfg(unix)]
#[test]
fn keys_come_from_a_file_that_nobody_else_can_read_or_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("headcount-usage-{}.key", std::process::id()));
    std::fs::write(&path, format!("1:{}\n", "5e".repeat(32))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let named = path.display().to_string();
    let (message, status) = refused(&["--key-file", &named]);
    std::fs::remove_file(&path).unwrap();
    assert!(
        message.starts_with(&format!("error: --key-file {named}: ")) && message.contains("0644"),
        "{message}"
    );
    assert!(!message.contains("5e5e"), "{message}");
    assert_eq!(status, Some(2));
    let (message, status) = refused(&["--key-file", &named]);
    assert!(message.contains("key_file") && message.contains("No such file"), "{message}");
    assert_eq!(status, Some(2));
}

#[test]
fn a_state_file_that_is_none_is_refused_and_left_alone() {
    let path = std::env::temp_dir().join(format!("headcount-usage-{}.state", std::process::id()));
    std::fs::write(&path, "12\n").unwrap();
    let named = path.display().to_string();
    let (message, status) = refused(&["--state", &named]);
    let left = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let expected = format!("error: --state {named}: does not hold a line like \"headcount epoch 12\"");
    assert!(message.starts_with(&expected) && message.contains("delete it"), "{message}");
    assert_eq!((left.as_str(), status), ("12\n", Some(2)));
}

#[test]
fn a_port_in_use_is_refused_with_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let expected = format!(
        "error: --listen {addr}: another program has this port; choose another, or 0 for any that is free"
    );
    assert_eq!(refused(&["--listen", &addr]), (expected, Some(1)));
}

#[test]
fn the_demo_refuses_numbers_that_make_no_sense() {
    for (args, expected) in [
        (["--nodes", "1"], "'1' for '--nodes <N>': write a number from 2 to 16"),
        (["--entries", "5000001"], "'5000001' for '--entries <N>': write a number from 0 to 5000000"),
        (["--seconds", "5"], "'5' for '--seconds <N>': write a number from 10 to 3600"),
        (["--load", "0"], "'0' for '--load <N>': write a number from 1 to 1000000"),
        (["--clients", "2"], "--clients 2: every node needs a client; take at least 3"),
    ] {
        let output = headcount(&["demo", args[0], args[1]]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(stderr(&output).lines().count(), 1);
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn help_tells_everything_that_a_newcomer_needs() {
    let output = headcount(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for word in ["node", "demo", "stat", "top", "doctor", "Usage: headcount <COMMAND>"] {
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
    let node = stdout(&headcount(&["node", "--help"]));
    for word in [
        "--name",
        "--cluster",
        "--listen",
        "--group",
        "--interface",
        "--insecure",
        "--key-file",
        "--state",
        "HEADCOUNT_KEY",
        "--shards",
        "--counters",
        "nc 127.0.0.1",
    ] {
        assert!(node.contains(word), "{word} is not in {node}");
    }
    assert!(!node.contains("--exit-with-stdin"));
    let demo = stdout(&headcount(&["demo", "--help"]));
    for word in
        ["--nodes", "--entries", "--seconds", "--clients", "--load", "--json", "--keep", "default: 50000"]
    {
        assert!(demo.contains(word), "{word} is not in {demo}");
    }
    // Without a command: the same, as an error.
    let bare = headcount(&[]);
    assert_eq!(bare.status.code(), Some(2));
    assert!(stderr(&bare).contains("Usage: headcount <COMMAND>"));
}
