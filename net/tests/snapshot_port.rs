//! The TCP port of a node. A process of its own: it finds the port among those that the process listens on.
use headcount_net::Status;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

mod common;
use common::{PATIENCE, eventually, group, join};

#[test]
fn noise_on_the_snapshot_port_is_counted_and_closed() {
    let group = group();
    let (a, cluster_a) = join(group, "a");
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ports = listening.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let (ip, port) = local.split_once(':')?;
        (state == "0A" && ip == "0100007F").then(|| u16::from_str_radix(port, 16).ok())?
    });
    let mut closed = 0;
    for port in ports.filter(|&port| is_ours(port)) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        // Closed or reset: either way there is nothing to read.
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
        closed += 1;
    }
    assert_eq!(closed, 1);
    eventually("counted", || cluster_a.stats().malformed == 1);
    assert_eq!(cluster_a.status(), Status::Running);
    let session = a.session();
    session.track("room", "alice", "").unwrap();
    let (b, _cluster_b) = join(group, "b");
    eventually("the port still serves", || b.count("room") == 1);
}

/// Whether a listening port belongs to this process.
fn is_ours(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let wanted = format!(":{port:04X}");
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[1].ends_with(&wanted) && fields[3] == "0A").then(|| format!("socket:[{}]", fields[9]))
    });
    let Some(inode) = inode else {
        return false;
    };
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .flatten()
        .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy() == inode))
}
