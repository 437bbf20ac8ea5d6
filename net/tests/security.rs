//! What somebody can do who is on the network and not of the cluster: nothing, and it is counted. Real sockets on the loopback interface.
use headcount::Tracker;
use headcount_net::{Cluster, Config, Interface, KeyError, Keys, MemberState, NetStats, Status};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

mod common;
use common::{PATIENCE, eventually, group};

fn fresh(epoch: u16) -> Keys {
    Keys::parse(Keys::generate(epoch).unwrap().expose()).unwrap()
}

fn config(group: SocketAddr, name: &str) -> Config {
    Config::new("test").node(name).multicast(group, Interface::Loopback)
}

fn join(group: SocketAddr, name: &str, keys: &Keys) -> (Tracker, Cluster) {
    let tracker = Tracker::new();
    let cluster = config(group, name).keys(keys.clone()).join(&tracker).expect("joins");
    (tracker, cluster)
}

/// A socket that can send to the group, from a port of its own.
fn stranger() -> UdpSocket {
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let socket = socket2::SockRef::from(&stranger);
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.set_multicast_ttl_v4(0).unwrap();
    socket.set_multicast_loop_v4(true).unwrap();
    stranger
}

/// A socket that hears the group.
fn listener(group: SocketAddr) -> UdpSocket {
    let SocketAddr::V4(v4) = group else { panic!("an IPv4 group") };
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&group.into()).unwrap();
    socket.join_multicast_v4(v4.ip(), &Ipv4Addr::LOCALHOST).unwrap();
    let socket: UdpSocket = socket.into();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next datagrams of the group that `wanted` chooses.
fn capture(socket: &UdpSocket, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut captured = Vec::new();
    let mut buffer = [0; 2048];
    let deadline = Instant::now() + PATIENCE;
    while captured.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} captured", captured.len());
        let (len, _) = socket.recv_from(&mut buffer).unwrap();
        if wanted(&buffer[..len]) {
            captured.push(buffer[..len].to_vec());
        }
    }
    captured
}

/// A sealed datagram with a challenge: header, frame, tag.
const CHALLENGE_LEN: usize = 30 + 26 + 16;

fn node_of(datagram: &[u8]) -> u32 {
    u32::from_le_bytes(datagram[10..14].try_into().unwrap())
}

/// Everything but the counters of ordinary traffic and those named.
fn others(stats: &NetStats, named: &[&str]) -> Vec<(&'static str, u64)> {
    let ordinary = ["datagrams_sent", "bytes_sent", "datagrams_received", "bytes_received", "echoes"];
    stats.iter().filter(|(name, _)| !ordinary.contains(name) && !named.contains(name)).collect()
}

/// What the application sees of a node.
fn seen(
    tracker: &Tracker,
    cluster: &Cluster,
) -> (usize, Status, headcount::Incarnation, Vec<(String, MemberState)>) {
    let members = cluster.members().into_iter().map(|member| (member.name, member.state)).collect();
    (tracker.len(), cluster.status(), cluster.incarnation(), members)
}

/// Two nodes that agree, with an entry each.
fn pair(group: SocketAddr, keys: &Keys) -> [(Tracker, Cluster, headcount::Session); 2] {
    let nodes = ["a", "b"].map(|name| {
        let (tracker, cluster) = join(group, name, keys);
        let session = tracker.session();
        session.track("room", name, "").unwrap();
        (tracker, cluster, session)
    });
    for (tracker, cluster, _) in &nodes {
        eventually("both are seen", || tracker.len() == 2 && cluster.members().len() == 1);
        assert!(cluster.wait_synced(PATIENCE));
    }
    nodes
}

/// Waits until two nodes have nothing more to say to each other but heartbeats: what they know is confirmed both ways, and after that each
/// has been heard for three more.
fn acquainted(a: &Cluster, b: &Cluster) {
    for cluster in [a, b] {
        assert!(cluster.wait_synced(PATIENCE));
        assert_eq!(cluster.barrier(PATIENCE), Ok(()));
    }
    for cluster in [a, b] {
        let received = cluster.stats().datagrams_received;
        eventually("heartbeats", || cluster.stats().datagrams_received >= received + 3);
    }
}

#[test]
fn nodes_with_the_same_keys_see_each_other_and_snapshots_come_sealed() {
    let (group, keys) = (group(), fresh(1));
    let ears = listener(group);
    let (a, _cluster_a) = join(group, "a", &keys);
    let session = a.session();
    session.track_many((0..20_000).map(|at| ("room", format!("user-{at}"), "a meta that is told"))).unwrap();
    let (b, cluster_b) = join(group, "b", &keys);
    eventually("b has all", || b.len() == 20_000);
    assert!(cluster_b.stats().snapshot_lanes_taken > 0);
    session.track("room", "a key that is told", "").unwrap();
    eventually("b has the last one", || b.contains("room", "a key that is told"));
    // Nothing of what is said can be read.
    for datagram in capture(&ears, 20, |_| true) {
        assert_eq!(datagram[3], 1, "the suite");
        assert!(!datagram.windows(4).any(|part| part == b"told" || part == b"user"));
    }
    let refused =
        ["no_key", "auth_failed", "replayed", "malformed", "foreign", "over_budget", "proofs_refused"];
    assert!(cluster_b.stats().iter().all(|(name, value)| value == 0 || !refused.contains(&name)));
}

#[test]
fn r17_without_the_key_nothing_is_heard_or_changed_and_each_try_is_counted_under_its_name() {
    let (group, keys) = (group(), fresh(1));
    let [(a, cluster_a, _sa), (_b, cluster_b, _sb)] = pair(group, &keys);
    let before = (seen(&a, &cluster_a), others(&cluster_a.stats(), &["no_key", "auth_failed"]));

    // No key: a node of the same cluster that speaks in clear.
    let (clear, cluster) = common::join(group, "clear");
    eventually("what is in clear is counted", || cluster_a.stats().no_key > 3);
    assert!(cluster.members().is_empty() && clear.is_empty());
    assert!(cluster.stats().no_key > 0, "and the other way round");
    drop(cluster);
    // A wrong key: the same epoch, other bytes. And an epoch that nobody knows.
    assert_eq!(cluster_a.stats().auth_failed, 0);
    let (wrong, cluster) = join(group, "wrong", &fresh(1));
    eventually("what does not open is counted", || cluster_a.stats().auth_failed > 3);
    assert!(cluster.members().is_empty() && wrong.is_empty());
    drop(cluster);
    let no_key = cluster_a.stats().no_key;
    let (unknown, cluster) = join(group, "unknown", &fresh(2));
    eventually("an epoch without a key is counted", || cluster_a.stats().no_key > no_key + 3);
    assert!(cluster.members().is_empty() && unknown.is_empty());
    drop(cluster);

    assert_eq!((seen(&a, &cluster_a), others(&cluster_a.stats(), &["no_key", "auth_failed"])), before);
    assert_eq!(cluster_b.members().len(), 1);
}

#[test]
fn r17_truncated_damaged_forged_and_oversized_datagrams_change_nothing_and_are_counted() {
    let (group, keys) = (group(), fresh(1));
    let ears = listener(group);
    let [(a, cluster_a, _sa), (_b, cluster_b, _sb)] = pair(group, &keys);
    let from_b = cluster_b.node_id().0;
    let genuine = capture(&ears, 1, |datagram| node_of(datagram) == from_b).remove(0);
    let named = ["malformed", "foreign", "auth_failed", "no_key"];
    let before = (seen(&a, &cluster_a), others(&cluster_a.stats(), &named));
    let stranger = stranger();
    let mut expect = [0_u64; 4];
    let mut send = |datagram: &[u8], at: usize| {
        stranger.send_to(datagram, cluster_a.local_addr()).unwrap();
        expect[at] += 1;
    };
    // Too short to be one, or longer than anybody sends.
    for len in [0, 1, 3, 29, 37, 45] {
        send(&genuine[..len], 0);
    }
    send(&[genuine.clone(), vec![0; 3000]].concat(), 0);
    send(&vec![0xFF; 60_000], 0);
    // Another magic, version, cluster; a suite that nobody knows.
    for (at, counter) in [(0, 0), (2, 1), (3, 1), (4, 1)] {
        let mut turned = genuine.clone();
        turned[at] ^= 0x40;
        send(&turned, counter);
    }
    // In clear, and under an epoch that is not there.
    for (at, value) in [(3, 0), (8, 9)] {
        let mut turned = genuine.clone();
        turned[at] = value;
        send(&turned, 3);
    }
    // In another node's, session's or packet's name; cut off; with a bit turned; with more at its end.
    for at in [10, 14, 22, 30, genuine.len() - 1] {
        let mut turned = genuine.clone();
        turned[at] ^= 1;
        send(&turned, 2);
    }
    send(&genuine[..genuine.len() - 1], 2);
    send(&[&genuine[..], &[0; 8]].concat(), 2);
    let counted = || {
        let stats = cluster_a.stats();
        [stats.malformed, stats.foreign, stats.auth_failed, stats.no_key]
    };
    eventually("all are counted", || counted() == expect);
    assert_eq!((seen(&a, &cluster_a), others(&cluster_a.stats(), &named)), before);
}

#[test]
fn r17_a_capture_that_is_played_again_changes_nothing_before_and_after_a_restart() {
    let (group, keys) = (group(), fresh(1));
    let ears = listener(group);
    let [(a, cluster_a, session_a), (b, cluster_b, session_b)] = pair(group, &keys);
    // Joins and heartbeats of b's first life.
    let from_b = cluster_b.node_id().0;
    for at in 0..20 {
        session_b.track("room", format!("guest-{at}"), "").unwrap();
    }
    eventually("the guests are seen", || a.count("room") == 22);
    let capture_of = |count| capture(&ears, count, |datagram| node_of(datagram) == from_b);
    let captured = capture_of(12);
    let stranger = stranger();
    let play = |captured: &[Vec<u8>], to: SocketAddr| {
        captured.iter().for_each(|datagram| {
            stranger.send_to(datagram, to).unwrap();
        });
    };
    // Played again at once: each has come before.
    let all = |tracker: &Tracker, cluster: &Cluster, named: &[&str]| {
        (seen(tracker, cluster), others(&cluster.stats(), named))
    };
    let before = all(&a, &cluster_a, &["duplicates"]);
    let duplicates = cluster_a.stats().duplicates;
    play(&captured, cluster_a.local_addr());
    eventually("they are duplicates", || cluster_a.stats().duplicates >= duplicates + 12);
    assert_eq!(all(&a, &cluster_a, &["duplicates"]), before);
    assert_eq!(cluster_a.stats().duplicates, duplicates + 12);

    // b restarts, empty: what it said in its first life is of a session that is superseded.
    drop(session_b);
    drop(cluster_b);
    drop(b);
    eventually("b is gone", || a.count("room") == 1);
    let (b, cluster_b) = join(group, "b", &keys);
    eventually("b is back", || cluster_a.members().len() == 1);
    acquainted(&cluster_a, &cluster_b);
    let before = all(&a, &cluster_a, &["replayed"]);
    let replayed = cluster_a.stats().replayed;
    play(&captured, cluster_a.local_addr());
    eventually("they are counted", || cluster_a.stats().replayed >= replayed + 12);
    assert_eq!(all(&a, &cluster_a, &["replayed"]), before);
    assert_eq!(cluster_a.stats().replayed, replayed + 12);

    // a restarts: it knows no session at all, and what does not prove itself is not believed.
    let old_a = capture(&ears, 4, |datagram| node_of(datagram) != from_b);
    drop(session_a);
    drop(cluster_a);
    drop(a);
    let (a, cluster_a) = join(group, "a", &keys);
    eventually("they know each other", || cluster_a.members().len() == 1 && b.is_empty());
    acquainted(&cluster_a, &cluster_b);
    let named = ["unproven", "challenges_sent"];
    let before = all(&a, &cluster_a, &named);
    let unproven = cluster_a.stats().unproven;
    play(&captured, cluster_a.local_addr());
    // In its own name too, which would have stopped it.
    play(&old_a, cluster_a.local_addr());
    eventually("they are counted", || cluster_a.stats().unproven >= unproven + 16);
    assert_eq!(all(&a, &cluster_a, &named), before);
    assert_eq!(cluster_a.stats().unproven, unproven + 16);
    assert_eq!(cluster_a.status(), Status::Running);
    assert!(cluster_b.stats().proofs_refused == 0 && cluster_a.stats().proofs_refused == 0);
}

#[test]
fn r17_nobody_is_sent_more_than_was_sent_in_his_name() {
    let (group, keys) = (group(), fresh(1));
    let ears = listener(group);
    let [(_a, cluster_a, _sa), (_b, cluster_b, session_b)] = pair(group, &keys);
    let from_b = cluster_b.node_id().0;
    let captured = capture(&ears, 10, |datagram| node_of(datagram) == from_b);
    drop((session_b, cluster_b));
    eventually("b is gone", || cluster_a.members().is_empty());
    drop(cluster_a);
    // A node that knows nobody, and somebody who plays b to it from an address that is not b's.
    let (_c, cluster_c) = join(group, "c", &keys);
    let (victim, mut sent) = (stranger(), 0);
    for datagram in &captured {
        sent += victim.send_to(datagram, cluster_c.local_addr()).unwrap();
    }
    eventually("all have come", || cluster_c.stats().unproven >= 10);
    assert!(cluster_c.members().is_empty());
    let challenges = cluster_c.stats().challenges_sent;
    // Once it has ended, all that it has sent is there: nothing is on its way on a loopback interface.
    drop(cluster_c);
    victim.set_nonblocking(true).unwrap();
    let (mut received, mut buffer) = (Vec::new(), [0; 2048]);
    while let Ok(len) = victim.recv(&mut buffer) {
        received.push(len);
    }
    let bytes: usize = received.iter().sum();
    assert!(bytes <= sent, "{bytes} B for {sent} B");
    assert!(challenges >= 1, "it is asked for its proof");
    assert_eq!(received.len() as u64, challenges, "that came, and nothing else: {received:?}");
    assert!(received.iter().all(|&len| len == CHALLENGE_LEN), "{received:?}");
}

#[test]
fn r18_a_flood_of_valid_datagrams_spends_its_own_budget_and_others_are_served() {
    let (group, keys) = (group(), fresh(1));
    let ears = listener(group);
    let [(a, cluster_a, _sa), (_b, cluster_b, session_b)] = pair(group, &keys);
    let from_b = cluster_b.node_id().0;
    let valid = capture(&ears, 4, |datagram| node_of(datagram) == from_b);
    acquainted(&cluster_a, &cluster_b);
    // Its own name, and that of what of it is looked at. Beside it there is what a busy machine may lose or delay; that is mended.
    let named = ["over_budget", "duplicates"];
    let busy =
        ["receive_drops", "pauses", "gaps", "naks_sent", "naks_spared", "naks_received", "repairs_sent"];
    let named = [&named[..], &busy].concat();
    let before = others(&cluster_a.stats(), &named);
    let (to, stop) = (cluster_a.local_addr(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flooder = stranger();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for datagram in &valid {
                    // A full buffer is a flood's own trouble.
                    let _ = flooder.send_to(datagram, to);
                }
            }
        });
        eventually("the flood is over its budget", || cluster_a.stats().over_budget > 20_000);
        for at in 0..50 {
            session_b.track("room", format!("guest-{at}"), "").unwrap();
            eventually("others are heard all the while", || a.count("room") == 3 + at);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let stats = cluster_a.stats();
    assert_eq!(others(&stats, &named), before);
    assert_eq!((stats.auth_failed, stats.malformed, stats.downs), (0, 0, 0));
    assert!(cluster_a.members().iter().all(|member| member.state == MemberState::Up));
}

#[test]
fn keys_are_rotated_while_three_nodes_work() {
    let (group, old, new) = (group(), fresh(1), fresh(2));
    let ears = listener(group);
    let nodes: Vec<_> = ["a", "b", "c"].map(|name| join(group, name, &old)).into();
    let sessions: Vec<_> = nodes.iter().map(|(tracker, _)| tracker.session()).collect();
    let mut tracked = 0;
    let mut work = |why: &str| {
        for session in &sessions {
            session.track(format!("room:{}", tracked % 5), format!("user-{tracked}"), "").unwrap();
            tracked += 1;
        }
        for (tracker, _) in &nodes {
            eventually(why, || tracker.len() == tracked);
        }
    };
    work("before");
    let (a, b, c) = (&nodes[0].1, &nodes[1].1, &nodes[2].1);
    assert!(matches!(a.use_key(2), Err(KeyError::Unknown { epoch: 2 })));
    a.install_keys(new.clone()).unwrap();
    a.install_keys(new.clone()).expect("the same key again is no change");
    assert!(matches!(a.install_keys(fresh(2)), Err(KeyError::EpochTaken { epoch: 2 })));
    b.install_keys(new.clone()).unwrap();
    eventually(
        "only c does not know it",
        || matches!(a.use_key(2), Err(KeyError::NotEverywhere { epoch: 2, members }) if members == ["c"]),
    );
    work("installed on two");
    c.install_keys(new).unwrap();
    for cluster in [a, b, c] {
        eventually("all know it", || cluster.use_key(2).is_ok());
        work("used by some");
    }
    eventually("nobody seals with the old one", || a.remove_key(1).is_ok());
    work("removed on one");
    assert!(
        matches!(a.remove_key(2), Err(KeyError::InUse { epoch: 2, members }) if members.contains(&"a".into()))
    );
    for cluster in [b, c] {
        eventually("nobody seals with the old one", || cluster.remove_key(1).is_ok());
    }
    work("removed everywhere");
    let mut late = capture(&ears, 1, |datagram| datagram[8] == 2);
    assert_eq!(late.pop().unwrap()[8..10], [2, 0]);
    for (_, cluster) in &nodes {
        let stats = cluster.stats();
        assert_eq!((stats.no_key, stats.auth_failed, stats.downs, stats.snapshots_failed), (0, 0, 0, 0));
        assert_eq!(cluster.members().len(), 2);
    }
    // Who has the old key only is out; who has the new one is in.
    let (outsider, _cluster) = join(group, "old", &old);
    eventually("it is counted", || a.stats().no_key > 0);
    assert!(outsider.is_empty());
}

#[test]
fn keys_cannot_be_changed_where_there_are_none() {
    let (_tracker, cluster) = common::join(group(), "a");
    assert!(matches!(cluster.install_keys(fresh(1)), Err(KeyError::NoKeys)));
    cluster.leave();
    assert!(matches!(cluster.install_keys(fresh(1)), Err(KeyError::Left)));
}
