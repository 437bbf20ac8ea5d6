//! Splits and joins with many entries, over real sockets. The short runs are part of the tests; the full ones take a while:
//!
//! ```text
//! cargo test --release -p headcount-net --test scale -- --ignored --nocapture --test-threads 1
//! ```
//!
//! They tell how long things took, and never fail for it: that is for a machine with nothing else to do.
use headcount::{EntryRef, EventKind, Filter, Session, Subscription, Tracker};
use headcount_net::{Cluster, Config, Interface, MemberState, SocketFaults};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

mod common;

use common::{LOOPBACK, eventually_within, free, group, view};

const PATIENCE: Duration = Duration::from_secs(120);

#[expect(clippy::print_stderr, reason = "who runs the full ones by hand wants to know how long things took")]
fn tell(words: &str) {
    eprintln!("{words}");
}

fn tracker() -> Tracker {
    headcount::Config::default().subscription_queue_max(1 << 22).build().expect("sizes that are allowed")
}

#[track_caller]
fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, holds);
}

/// A cluster that can be split.
struct Halves {
    addrs: Vec<SocketAddr>,
    faults: Vec<SocketFaults>,
    trackers: Vec<Tracker>,
    clusters: Vec<Cluster>,
    sessions: Vec<Session>,
}

impl Halves {
    const NODES: usize = 4;

    fn new() -> Self {
        let addrs: Vec<_> = (0..Self::NODES).map(|_| free(LOOPBACK)).collect();
        let faults: Vec<_> = (0..Self::NODES as u64).map(SocketFaults::new).collect();
        let trackers: Vec<_> = (0..Self::NODES).map(|_| tracker()).collect();
        let clusters = (0..Self::NODES).map(|at| {
            let config = Config::new("test").node(format!("n{at}")).bind(addrs[at]);
            let config = config.peers(addrs.iter().map(ToString::to_string)).faults(faults[at].clone());
            config.join(&trackers[at]).expect("joins")
        });
        let clusters = clusters.collect();
        let sessions = trackers.iter().map(Tracker::session).collect();
        Self { addrs, faults, trackers, clusters, sessions }
    }

    fn others(at: usize) -> impl Iterator<Item = usize> {
        (0..Self::NODES).filter(move |other| other / 2 != at / 2)
    }

    fn split(&self) {
        for (at, faults) in self.faults.iter().enumerate() {
            Self::others(at).for_each(|other| faults.cut(self.addrs[other]));
        }
    }

    fn mend(&self) {
        self.faults.iter().for_each(SocketFaults::mend);
    }

    fn all_list(&self, count: usize) {
        for tracker in &self.trackers {
            eventually("everybody lists everything", || tracker.len() == count);
        }
    }
}

/// How often each entry of other nodes has joined and left since the last time.
fn drain(events: &mut Subscription) -> BTreeMap<EntryRef, (usize, usize)> {
    let mut seen: BTreeMap<EntryRef, (usize, usize)> = BTreeMap::new();
    while let Ok(event) = events.try_recv() {
        match event.kind {
            EventKind::Join(entry) if !entry.is_local() => {
                seen.entry(entry.entry_ref()).or_default().0 += 1;
            }
            EventKind::Leave(entry) if !entry.is_local() => {
                seen.entry(entry.entry_ref()).or_default().1 += 1;
            }
            EventKind::Lagged { missed } => panic!("{missed} events are missing"),
            _ => {}
        }
    }
    seen
}

/// So many entries on four nodes; two halves that change a hundredth of theirs while they do not hear each other.
fn a_split_heals(entries: usize) {
    let own = entries / Halves::NODES;
    let changed = own / 100;
    let halves = Halves::new();
    let topic = |i: usize| format!("room:{}", i % 100);
    let mut refs = Vec::new();
    for (at, session) in halves.sessions.iter().enumerate() {
        let made = session.track_many((0..own).map(|i| (topic(i), format!("n{at}-{i}"), "some meta")));
        refs.push(made.unwrap());
    }
    halves.all_list(entries);
    let mut events = halves.trackers[0].subscribe(Filter::all().without_snapshot());
    halves.split();
    for at in 0..Halves::NODES {
        eventually("the other half is down", || {
            let down = |member: &&headcount_net::Member| member.state == MemberState::Down;
            halves.trackers[at].len() == entries / 2
                && halves.clusters[at].members().iter().filter(down).count() == 2
        });
    }
    for (at, session) in halves.sessions.iter().enumerate() {
        for i in 0..changed {
            session.untrack(topic(i), format!("n{at}-{i}")).unwrap();
            session.track(topic(i), format!("new-n{at}-{i}"), "").unwrap();
        }
    }
    for tracker in &halves.trackers[..2] {
        eventually("each half sees its own changes", || {
            view(tracker).iter().filter(|row| row.1.starts_with(b"new-")).count() == 2 * changed
        });
    }
    let during = drain(&mut events);
    let before: Vec<u64> =
        halves.clusters.iter().map(|cluster| cluster.stats().snapshot_bytes_received).collect();
    halves.mend();
    let mended = Instant::now();
    halves.all_list(entries);
    let counted = mended.elapsed();
    let truth = view(&halves.trackers[0]);
    for tracker in &halves.trackers {
        eventually("the views are equal", || view(tracker) == truth);
    }
    let bytes: u64 = halves.clusters.iter().map(|cluster| cluster.stats().snapshot_bytes_received).sum();
    tell(&format!(
        "{entries} entries, {} changes on each side: all listed {counted:?} after the split, {} B of streams",
        2 * 2 * changed,
        bytes - before.iter().sum::<u64>()
    ));
    let after = drain(&mut events);
    // What went on the other side while it was out of sight left with it, and never came back; what stayed left and came back.
    for other in Halves::others(0) {
        for (i, at) in refs[other].iter().enumerate() {
            assert_eq!(during.get(at), Some(&(0, 1)), "{at} did not leave once");
            assert_eq!(after.get(at).copied(), (i >= changed).then_some((1, 0)), "{at}, number {i}");
        }
    }
    // And what went on this side left once, too.
    for (i, at) in refs[1].iter().enumerate() {
        assert_eq!(during.get(at).copied(), (i < changed).then_some((0, 1)), "{at}");
        assert_eq!(after.get(at), None);
    }
    assert_eq!(after.len(), 2 * own);
    assert!(halves.clusters.iter().all(|cluster| cluster.stats().digest_mismatches == 0));
}

/// Latencies of changes, in order.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn tell(mut self, what: &str) {
        self.0.sort_unstable();
        let at = |share: usize| self.0.get(self.0.len() * share / 100).copied().unwrap_or_default();
        let longest = self.0.last().copied().unwrap_or_default();
        tell(&format!(
            "  {what}: {} changes, median {:?}, 99 of 100 {:?}, longest {longest:?}",
            self.0.len(),
            at(50),
            at(99)
        ));
    }
}

/// What a joiner may take in of a stream, in entries of this test, before a change that is in its socket's buffer: what it reads in four turns, of at
/// most 64 KiB each. It is busy with one, and looks at its datagrams before the next; the rest is for a machine that stops a thread
/// between two sockets. However fast the machine is, a stream that went first would be ten times as much.
const AHEAD_MAX: usize = 4 * 64 * 1024 / 30;

/// A node with so many entries, one that has them, and one that comes for them, while the first two go on changing things. Returns
/// whether changes of both were seen where they should be before the last had all entries.
///
/// That the stream does not go before what is live is seen by the order in which the joiner's subscriber is told: once the giver has a change
/// of its peer, it is in the joiner's buffer as well, as both hear the same group; from then on few entries of the stream may come before it.
fn a_joiner_fetches(
    entries: usize,
    attempt: usize,
    giver: &Tracker,
    peer: &Tracker,
    group: SocketAddr,
) -> bool {
    let (giving, peering) = (giver.session(), peer.session());
    let mut number = 0;
    let mut change = |joiner: Option<&Tracker>| {
        number += 1;
        let key = format!("{attempt}-{number}");
        let began = Instant::now();
        giving.track("live", key.as_str(), "").unwrap();
        eventually("the peer sees the giver's change", || peer.contains("live", key.as_str()));
        let at_peer = began.elapsed();
        let at_joiner = joiner.map(|joiner| {
            let key = format!("{key}-peer");
            let began = Instant::now();
            peering.track("live", key.as_str(), "").unwrap();
            eventually("the giver sees the peer's change", || giver.contains("live", key.as_str()));
            let fetched = joiner.count("crowd");
            eventually("the joiner sees the peer's change", || joiner.contains("live", key.as_str()));
            (began.elapsed(), key, fetched)
        });
        (at_peer, at_joiner)
    };
    let alone = Latencies((0..200).map(|_| change(None).0).collect());
    let joiner = tracker();
    let mut told = joiner.subscribe(Filter::all());
    let config = Config::new("test").node(format!("joiner-{attempt}")).multicast(group, Interface::Loopback);
    // A node fetches while it still listens for what others know of it.
    let joining = std::thread::spawn({
        let joiner = joiner.clone();
        move || config.join(&joiner).expect("joins")
    });
    let is_fetching = || (1..entries).contains(&joiner.count("crowd"));
    eventually("the transfer begins", || joiner.count("crowd") > 0);
    let began = Instant::now();
    let (mut at_peer, mut at_joiner, mut fetched_before) = (Vec::new(), Vec::new(), BTreeMap::new());
    while is_fetching() {
        let (first, second) = change(Some(&joiner));
        // Both were seen, and the transfer is still under way.
        if is_fetching() {
            at_peer.push(first);
            let (took, key, fetched) = second.expect("there is a joiner");
            at_joiner.push(took);
            fetched_before.insert(key.into_bytes(), fetched);
        }
    }
    let took = began.elapsed();
    let cluster = joining.join().expect("it has joined");
    assert!(cluster.wait_synced(PATIENCE));
    let seen = at_peer.len();
    tell(&format!("{entries} entries fetched within {took:?}, {seen} changes of each were seen meanwhile"));
    alone.tell("giver to peer, before");
    Latencies(at_peer).tell("giver to peer, meanwhile");
    Latencies(at_joiner).tell("peer to joiner, meanwhile");
    eventually("the views are equal", || joiner.len() == giver.len() && peer.len() == giver.len());
    assert_eq!(cluster.stats().downs, 0);
    let (mut fetched, mut ahead) = (0_usize, Vec::new());
    while let Ok(event) = told.try_recv() {
        match event.kind {
            EventKind::Join(entry) if *entry.topic() == "crowd" => fetched += 1,
            EventKind::Join(entry) if *entry.topic() == "live" => {
                ahead.extend(fetched_before.get(entry.key()).map(|&before| fetched.saturating_sub(before)));
            }
            EventKind::Lagged { missed } => panic!("{missed} events are missing"),
            _ => {}
        }
    }
    assert_eq!((fetched, ahead.len()), (entries, seen), "each is told once");
    ahead.sort_unstable();
    let most = ahead.last().copied().unwrap_or_default();
    tell(&format!("  entries of the stream that came before a change that was there: at most {most}"));
    // One that the buffer had no room for comes when it is repaired.
    assert!(most <= AHEAD_MAX || cluster.stats().gaps > 0, "{most} entries came before a change");
    seen > 0
}

fn a_joiner_holds_nothing_up(entries: usize, attempts: usize) {
    let group = group();
    let (giver, peer) = (tracker(), tracker());
    let join = |name: &str, tracker: &Tracker| {
        let config = Config::new("test").node(name).multicast(group, Interface::Loopback);
        config.join(tracker).expect("joins")
    };
    let (cluster_giver, cluster_peer) = (join("giver", &giver), join("peer", &peer));
    let (crowd, small) = (giver.session(), peer.session());
    crowd.track_many((0..entries).map(|i| ("crowd", format!("user-{i:08}"), "some meta of a user"))).unwrap();
    small.track("small", "alice", "").unwrap();
    eventually("the peer has them", || peer.count("crowd") == entries && giver.count("small") == 1);
    // A machine that is busy may not run this thread while a transfer is under way; hardly all the time.
    assert!(
        (0..attempts).any(|attempt| a_joiner_fetches(entries, attempt, &giver, &peer, group)),
        "no change was seen before a transfer was over"
    );
    assert_eq!(cluster_giver.stats().downs + cluster_peer.stats().downs, 0);
}

#[test]
fn r9_a_split_in_halves_heals_and_what_went_meanwhile_leaves_once() {
    a_split_heals(8_000);
}

#[test]
#[ignore = "a hundred thousand entries on each of four nodes"]
fn r9_a_split_heals_with_100_000_entries() {
    a_split_heals(100_000);
}

#[test]
fn r15_changes_are_seen_while_a_joiner_fetches() {
    a_joiner_holds_nothing_up(100_000, 5);
}

#[test]
#[ignore = "a million entries on each of three nodes"]
fn r15_changes_are_seen_while_a_joiner_fetches_a_million_entries() {
    a_joiner_holds_nothing_up(1_000_000, 1);
}
