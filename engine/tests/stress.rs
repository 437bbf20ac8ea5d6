//! The engine with real threads: four that write in every way, three that read in every way and believe nothing.
//!
//! Runs for three seconds; `HEADCOUNT_STRESS_SECONDS` for longer, in a release build, to look for what models are too small for.

#[path = "common/mod.rs"]
mod common;

use common::peer::Peer;
use common::stamped::{meta, whole};
use common::{Random, life};
use headcount::{Entry, NodeId, NodeState, Session, Tracker};
use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HOT: &str = "hot";
const RESIDENTS: usize = 150;
/// Keys of each writer, and of each other node, in the hot topic.
const GUESTS: u64 = 400;
const SMALL_TOPICS: u64 = 1000;

/// How long the threads get to end once they are told to. One that does not hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    b: Peer,
    residents: Vec<String>,
    stop: AtomicBool,
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Keys of all kinds: short, of 40 bytes and a little more, and long.
fn key(owner: &str, at: u64) -> String {
    let filler = [0, 33, 41, 100][at as usize % 4];
    format!("{owner}/{at}/{}", "k".repeat(filler))
}

fn some_len(random: &mut Random) -> usize {
    8 + [0, 16, 40, 100, 504][random.below(5) as usize]
}

fn write(session: &Session, topic: &str, key: &str, round: u64, random: &mut Random) {
    let meta = meta(topic.as_bytes(), key.as_bytes(), round, some_len(random));
    match random.below(3) {
        0 => drop(session.untrack(topic, key).unwrap()),
        // Refused if it is there or not there; one of them is not.
        1 => drop(session.update(topic, key, &meta)),
        _ => drop(session.track(topic, key, &meta)),
    }
}

impl Stage {
    fn new() -> (Arc<Self>, Arc<Session>) {
        let b = Peer::new(9, 2);
        let session = Arc::new(b.tracker.session());
        let mut residents = Vec::new();
        for at in 0..RESIDENTS as u64 {
            let key = key("resident", at);
            session.track(HOT, &key, meta(HOT.as_bytes(), key.as_bytes(), 0, 8)).unwrap();
            // So that residents and guests take turns in the chunks.
            residents.push(key);
        }
        let (stop, reads, writes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        (Arc::new(Self { b, residents, stop, reads, writes }), session)
    }

    fn tracker(&self) -> &Tracker {
        &self.b.tracker
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Updates half of the residents, over and over.
    fn update_residents(&self, session: &Session) {
        let mut random = Random(11);
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            let key = &self.residents[random.below(RESIDENTS as u64 / 2) as usize * 2];
            let meta = meta(HOT.as_bytes(), key.as_bytes(), round, some_len(&mut random));
            session.update(HOT, key, meta).unwrap();
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Comes and goes in the hot topic, in small ones, and under a key that others have too; sometimes the whole session ends.
    fn come_and_go(&self, name: &str) {
        let mut random = Random(name.len() as u64 * 77);
        let mut round = 0;
        while self.goes_on() {
            let session = self.tracker().session();
            for _ in 0..random.below(4000) {
                round += 1;
                match random.below(8) {
                    0 => {
                        let topic = format!("small/{}", random.below(SMALL_TOPICS));
                        write(&session, &topic, &key(name, random.below(4)), round, &mut random);
                    }
                    1 => write(&session, HOT, "shared", round, &mut random),
                    _ => write(&session, HOT, &key(name, random.below(GUESTS)), round, &mut random),
                }
                self.writes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Two other nodes, which work, die, come back, end and begin again.
    fn emulate_peers(&self) {
        let mut random = Random(5);
        let mut epochs = [0, 0];
        while self.goes_on() {
            let at = random.below(2) as usize;
            epochs[at] += 1;
            let (id, name) = (NodeId(at as u32 + 1), ["north", "south"][at]);
            let peer = Peer::living(id.0, epochs[at], 2);
            let session = peer.tracker.session();
            for round in 0..random.below(60) {
                for _ in 0..random.below(40) {
                    let topic = format!("small/{}", random.below(SMALL_TOPICS));
                    let topic = if random.below(3) == 0 { topic.as_str() } else { HOT };
                    write(&session, topic, &key(name, random.below(GUESTS)), round, &mut random);
                }
                self.b.pull(&peer);
                self.writes.fetch_add(1, Ordering::Relaxed);
                match random.below(12) {
                    0 => drop(self.b.replica.origin_state(id, NodeState::Down)),
                    1 => drop(self.b.replica.origin_state(id, NodeState::Up)),
                    2 => drop(self.b.replica.maintain(20)),
                    _ => {}
                }
            }
            if random.below(4) == 0 {
                self.b.replica.forget(id);
            }
            if random.below(4) == 0 {
                self.b.replica.maintain(usize::MAX);
            }
            assert!(self.b.replica.highest_incarnation(id).is_none_or(|known| known <= life(epochs[at])));
        }
    }

    fn read_everything(&self, seed: u64) {
        let mut random = Random(seed);
        while self.goes_on() {
            match random.below(16) {
                0 => self.look_at_all(&self.tracker().list(HOT)),
                1 => self.look_at_all(&common::paged(self.tracker(), HOT, 1 + random.below(90) as usize)),
                2 => self.look_at_all(&self.tracker().snapshot(HOT).entries),
                3 => {
                    let count = self.tracker().count(HOT);
                    let most = RESIDENTS + 4 * GUESTS as usize + 2;
                    assert!((RESIDENTS..=most).contains(&count), "a count of {count}");
                }
                4 => {
                    let topics = self.tracker().topics();
                    assert_eq!(topics.iter().filter(|topic| ***topic == *HOT.as_bytes()).count(), 1);
                    let distinct: HashSet<&[u8]> = topics.iter().map(|topic| &**topic).collect();
                    assert_eq!(distinct.len(), topics.len(), "a topic twice");
                }
                5 => {
                    let topic = format!("small/{}", random.below(SMALL_TOPICS));
                    let seen = self.tracker().for_each(&topic, |entry| {
                        assert_eq!(entry.topic(), topic.as_bytes());
                        whole(topic.as_bytes(), entry.key(), entry.meta());
                    });
                    assert!(seen <= 8 + 2 * GUESTS as usize);
                }
                6 => {
                    let shared = self.tracker().get(HOT, "shared");
                    let sessions: HashSet<_> = shared.iter().map(Entry::session).collect();
                    assert_eq!(sessions.len(), shared.len(), "a session twice");
                }
                7 => {
                    let (owner, at) =
                        (["one", "three", "north"][random.below(3) as usize], random.below(GUESTS));
                    let key = key(owner, at);
                    let seen = self.tracker().read(HOT, &key, |entry| {
                        assert_eq!(entry.key(), key.as_bytes());
                        whole(HOT.as_bytes(), entry.key(), entry.meta());
                    });
                    assert!(seen <= 1, "{seen} of one");
                }
                _ => {
                    for _ in 0..200 {
                        let key = &self.residents[random.below(RESIDENTS as u64) as usize];
                        let seen = self.tracker().read(HOT, key, |entry| {
                            whole(HOT.as_bytes(), entry.key(), entry.meta());
                        });
                        assert_eq!(seen, 1, "a resident is missing: {key}");
                    }
                    self.reads.fetch_add(199, Ordering::Relaxed);
                }
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A look at the whole hot topic: whole entries, none twice, this node's in the order of their joins, every resident.
    fn look_at_all(&self, entries: &[Entry]) {
        let mut seen = HashSet::new();
        let mut last = 0;
        let mut residents = 0;
        for entry in entries {
            whole(HOT.as_bytes(), entry.key(), entry.meta());
            assert!(seen.insert(entry.joined_ref()), "listed twice: {entry:?}");
            if entry.is_local() {
                let birth = entry.joined_ref().clock;
                assert!(birth > last, "out of order: {entry:?}");
                last = birth;
                residents += usize::from(entry.key().starts_with(b"resident"));
            }
        }
        assert_eq!(residents, RESIDENTS, "every resident is listed");
    }
}

/// Tells the others to stop, also if its thread panics.
struct Stopping(Arc<Stage>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_are_right_whatever_writers_do() {
    let seconds = std::env::var("HEADCOUNT_STRESS_SECONDS").map_or(3, |text| {
        text.parse().unwrap_or_else(|_| panic!("HEADCOUNT_STRESS_SECONDS is {text:?}, it must be a number"))
    });
    let (stage, session) = Stage::new();
    // The residents stay until the last reader is through.
    let (residents, updates) = (Arc::clone(&session), session);
    let spawn = |work: Box<dyn FnOnce(&Stage) + Send>| {
        let stopping = Stopping(Arc::clone(&stage));
        thread::spawn(move || work(&stopping.0))
    };
    let mut threads = vec![
        spawn(Box::new(move |stage| stage.update_residents(&updates))),
        spawn(Box::new(|stage| stage.come_and_go("one"))),
        spawn(Box::new(|stage| stage.come_and_go("three"))),
        spawn(Box::new(Stage::emulate_peers)),
    ];
    threads.extend((0..3).map(|reader| spawn(Box::new(move |stage| stage.read_everything(reader + 1)))));
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until && stage.goes_on() {
        thread::sleep(Duration::from_millis(20));
    }
    stage.stop.store(true, Ordering::Relaxed);
    let until = Instant::now() + PATIENCE;
    for thread in threads {
        while !thread.is_finished() {
            assert!(Instant::now() < until, "a thread hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.join().expect("every thread found everything in order");
    }
    assert_eq!(residents.len(), RESIDENTS);
    let (reads, writes) = (stage.reads.load(Ordering::Relaxed), stage.writes.load(Ordering::Relaxed));
    writeln!(std::io::stdout(), "{reads} reads beside {writes} writes").unwrap();
    assert!(reads > 0 && writes > 0);
}
