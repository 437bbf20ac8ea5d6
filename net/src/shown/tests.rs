//! A board and its reader, over cores whose network passes on what the test lets through.

use super::*;
use crate::core::{Input, Notice, Target};
use crate::keys::Keys;
use headcount::counters::Reader;
use std::collections::BTreeSet;
use std::path::PathBuf;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A directory of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("headcount-board-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Node {
    tracker: Tracker,
    core: Core,
    addr: SocketAddr,
    out: Output,
}

/// Three nodes; the first has a board.
struct Cluster {
    nodes: Vec<Node>,
    board: Board,
    reader: Reader,
    now: Time,
    /// From whom to whom nothing passes.
    cut: BTreeSet<(usize, usize)>,
    _folder: Folder,
}

impl Cluster {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let counters = Counters::create(&folder.0).unwrap();
        let reader = Reader::open(counters.path().unwrap()).unwrap();
        let config = Config::new("test").node("a");
        let mut boards = Vec::new();
        let mut nodes = Vec::new();
        for (at, name) in (0_u16..).zip(["a", "b", "c"]) {
            let tracker = match at {
                0 => headcount::Config::default().shards(1).counters(counters.clone()).build().unwrap(),
                _ => headcount::Config::default().shards(1).build().unwrap(),
            };
            let settings = Settings { watched: at == 0, ..Settings::plain(7, name, u64::from(at) + 1) };
            let addr = SocketAddr::from(([127, 0, 0, 1], 10_000 + at));
            boards.extend(Board::new(&tracker, &config, &settings, (addr, 0, 0), Instant::now()));
            let core = Core::new(settings, &tracker, Time::ZERO);
            nodes.push(Node { tracker, core, addr, out: Output::default() });
        }
        let board = boards.pop().unwrap();
        assert!(boards.is_empty(), "the others have no file");
        let mut reader = reader;
        reader.look_for_tables().unwrap();
        let (now, cut) = (Time::ZERO, BTreeSet::new());
        let mut cluster = Self { nodes, board, reader, now, cut, _folder: folder };
        cluster.run(MS(1000));
        assert_eq!(cluster.events()[0], "is a member, epoch 1");
        cluster
    }

    /// What a driver does, in turns of ten milliseconds.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += MS(10);
            if let Some(until) = self.board.probe(self.now, &self.nodes[0].core) {
                self.handle(0, Input::Barrier { id: PROBE, until });
            }
            for at in 0..self.nodes.len() {
                self.handle(at, Input::Turn);
            }
            for from in 0..self.nodes.len() {
                let addr = self.nodes[from].addr;
                for (target, bytes) in std::mem::take(&mut self.nodes[from].out.datagrams) {
                    for to in 0..self.nodes.len() {
                        let is_meant = match target {
                            Target::Group => to != from,
                            Target::Node(addr) => addr == self.nodes[to].addr,
                        };
                        if is_meant && !self.cut.contains(&(from, to)) {
                            let by_group = target == Target::Group;
                            self.handle(to, Input::Datagram { from: addr, bytes: &bytes, by_group });
                        }
                    }
                }
            }
            self.board.show(self.now, &self.nodes[0].core);
        }
    }

    fn handle(&mut self, at: usize, input: Input<'_>) {
        let node = &mut self.nodes[at];
        node.core.handle(self.now, input, &mut node.out);
        if at == 0 {
            self.board.take(self.now, &mut node.out);
        }
        node.out.notices.clear();
        node.out.measures.clear();
    }

    /// The messages of the ring, from the oldest on.
    fn events(&self) -> Vec<String> {
        let events = self.reader.table("event").unwrap();
        let told = |row| Some((events.number(row, "number")?, events.text(row, "message")?));
        let mut rows: Vec<_> = events.live_rows().filter_map(told).collect();
        rows.sort();
        rows.into_iter().map(|(_, message)| message).collect()
    }

    fn number(&self, table: &str, name: &str) -> u64 {
        self.reader.table(table).unwrap().number(0, name).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        self.reader.table("times").unwrap().distribution(0, name).unwrap().count()
    }
}

#[test]
fn members_that_fall_silent_and_come_back_are_events() {
    let mut cluster = Cluster::new("silent");
    // Nobody hears b.
    cluster.cut.extend([(1, 0), (1, 2)]);
    cluster.run(MS(5000));
    cluster.cut.clear();
    cluster.run(MS(5000));
    let events = cluster.events();
    let of_b: Vec<&str> = events.iter().filter_map(|event| event.strip_prefix("b ")).collect();
    assert_eq!(of_b.first(), Some(&"is suspect"), "{events:?}");
    assert!(of_b.contains(&"is down"), "{events:?}");
    assert_eq!(of_b.last(), Some(&"is up"), "{events:?}");
    // Nobody hears a, and a hears nobody.
    let before = events.len();
    cluster.cut.extend([(0, 1), (0, 2), (1, 0), (2, 0)]);
    cluster.run(MS(1900));
    let cut_off = "cut off: most other nodes fell silent at once";
    assert!(cluster.events()[before..].iter().any(|event| event == cut_off), "{:?}", cluster.events());
    cluster.cut.clear();
    cluster.run(MS(5000));
    assert!(cluster.events().iter().any(|event| event == "no longer cut off"), "{:?}", cluster.events());
}

#[test]
fn each_notice_and_each_change_of_keys_is_an_event() {
    let mut cluster = Cluster::new("notices");
    let before = cluster.events().len();
    let mut out = Output {
        notices: vec![
            Notice::Isolated,
            Notice::Rejoined,
            Notice::MulticastLost,
            Notice::MulticastBack,
            Notice::SmallReceiveBuffer { asked: 8, granted: 4 },
        ],
        ..Output::default()
    };
    cluster.board.take(cluster.now, &mut out);
    assert_eq!(out.notices.len(), 5, "they stay for the application");
    let keys = |epochs: &[u16]| {
        let lines = epochs.iter().map(|epoch| format!("{epoch}:{}", "5e".repeat(32)));
        Keys::parse(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    };
    for step in
        [KeyStep::Install(keys(&[7])), KeyStep::Install(keys(&[8, 9])), KeyStep::Use(7), KeyStep::Remove(1)]
    {
        cluster.board.keys_changed(&step);
    }
    assert_eq!(
        cluster.events()[before..],
        [
            "cut off: most other nodes fell silent at once",
            "no longer cut off",
            "the multicast group does not work any more; members answer by unicast",
            "the multicast group works again",
            "receive buffer of 4 bytes granted, 8 asked for",
            "has the key of epoch 7 now",
            "has the keys of epochs 8 9 now",
            "seals with the key of epoch 7 now",
            "has the key of epoch 1 no more",
        ]
    );
}

#[test]
fn a_probe_that_somebody_does_not_answer_is_counted_as_lost() {
    let mut cluster = Cluster::new("probes");
    let session = cluster.nodes[0].tracker.session();
    session.track("room", "alice", "1").unwrap();
    cluster.run(MS(7000));
    assert_eq!((cluster.count("visible"), cluster.number("times", "probes_lost_total")), (1, 0));
    // What b says reaches c alone, which says that it hears b: so b is up, and its answers do not come.
    cluster.cut.insert((1, 0));
    session.update("room", "alice", "2").unwrap();
    cluster.run(MS(8000));
    assert_eq!((cluster.count("visible"), cluster.number("times", "probes_lost_total")), (1, 1));
    cluster.cut.clear();
    cluster.run(MS(2000));
    session.update("room", "alice", "3").unwrap();
    cluster.run(MS(8000));
    assert_eq!((cluster.count("visible"), cluster.number("times", "probes_lost_total")), (2, 1));
}

/// A text that is too long for its room in the file would be cut.
#[test]
fn the_help_of_every_field_is_whole() {
    let cluster = Cluster::new("help");
    for schema in [&NODE, &NET, &TIMES, &tables::PEER, &tables::PAIR] {
        let table = cluster.reader.table(schema.name).unwrap();
        assert_eq!(table.help(), schema.help);
        for field in table.fields() {
            assert!(field.help.ends_with('.'), "{}: {}", field.name, field.help);
        }
    }
}
