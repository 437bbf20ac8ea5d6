//! The screen of every size, drawn from plain pictures.

use super::draw::draw;
use super::picture::{Entry, Level, Node, Picture, Rate, Shard, Time, Topic};
use super::process::Process;
use super::view::{PANES, View};
use super::{Processes, Where};
use crate::inspect::choose::is_alive;
use crate::inspect::clustered::clustered;
use crate::inspect::snapshot::tests::Folder;
use headcount::counters::Reader;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;
use std::thread;
use std::time::{Duration, Instant};

fn screen(picture: &Picture, view: &View, (cols, rows): (u16, u16)) -> (String, TestBackend) {
    let mut terminal = Terminal::new(TestBackend::new(cols, rows)).unwrap();
    terminal.draw(|frame| draw(frame, picture, view)).unwrap();
    let backend = terminal.backend().clone();
    (backend.to_string(), backend)
}

fn full() -> Picture {
    let second = Some(Duration::from_secs(1));
    Picture {
        processes: vec![("web-1".into(), Level::Good), ("web-2".into(), Level::Bad)],
        shown: 0,
        title: "web-1 of cluster chat, pid 4711".into(),
        condition: "running for 3 min 1 s".into(),
        level: Level::Good,
        figures: vec![("entries".into(), "50,000".into()), ("errors".into(), "0".into())],
        nodes: (0..40)
            .map(|number| Node {
                name: format!("node-{number}"),
                state: "up".into(),
                since: second,
                heard: second,
                entries: 12,
                ..Node::default()
            })
            .collect(),
        rates: vec![Rate { name: "changes here".into(), now: Some(1204.0), history: (0..300).collect() }],
        times: ["visible", "apply", "repair", "flush", "loop lag", "snapshot"]
            .map(|name| Time {
                name: name.into(),
                p50: Some(284_000),
                p99: Some(589_000),
                max: Some(1_196_000),
                history: vec![0, 1, 2, 589_000],
            })
            .into(),
        hot: vec![Topic { name: "room:\u{1b}[2J".repeat(30), members: 7, rate: 99.0 }],
        large: vec![Topic { name: "lobby".into(), members: 20_000, rate: 0.0 }],
        shards: (0..16)
            .map(|number| Shard { number, rate: if number == 3 { 900.0 } else { 10.0 }, entries: 3000 })
            .collect(),
        diary: vec![
            Entry { age: Duration::from_secs(3), text: "node-2 is down".into(), errors: None },
            Entry { age: Duration::from_secs(4), text: "no route".into(), errors: Some(12) },
        ],
    }
}

const SIZES: [(u16, u16); 9] =
    [(1, 1), (20, 5), (80, 24), (200, 60), (64, 20), (63, 19), (3, 200), (400, 1), (37, 8)];

#[test]
fn no_screen_is_too_small_or_too_large_in_any_view() {
    for size in SIZES {
        for (focus, help, alone) in PANES
            .into_iter()
            .flat_map(|pane| [(pane, false, false), (pane, true, false), (pane, false, true)])
        {
            let mut view = View { focus, help, alone, ..View::default() };
            for picture in [full(), Picture::default()] {
                drop(screen(&picture, &view, size));
                view.scroll = [usize::MAX; PANES.len()];
                drop(screen(&picture, &view, size));
            }
        }
    }
}

#[test]
fn a_usual_screen_shows_every_pane() {
    for size in [(80, 24), (120, 40), (200, 60)] {
        let (text, backend) = screen(&full(), &View::default(), size);
        for part in [
            "web-1 of cluster chat, pid 4711: running for 3 min 1 s",
            "50,000 entries",
            " web-2 ",
            "1 nodes, by name",
            "node-0",
            "2 rates, a second",
            "1,204  ",
            "3 times since the start",
            "visible",
            "snapshot",
            "284 µs",
            "589 µs",
            "4 hottest topics, by changes",
            "99/s",
            "5 shards",
            "6 largest topics",
            "20,000 members  lobby",
            "7 errors and events",
            "node-2 is down",
            "q quit  ? help",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        // The shard with nearly all of the load stands out among the others.
        let buffer = backend.buffer();
        let red: Vec<&str> =
            buffer.content().iter().filter(|cell| cell.fg == Color::Red).map(|cell| cell.symbol()).collect();
        assert!(red.contains(&"█"), "{text}");
        assert!(!text.contains('\u{1b}'), "what others name their topics does nothing to the terminal");
    }
}

#[test]
fn a_dead_process_is_said_first_and_over_the_whole_width() {
    let picture =
        Picture { level: Level::Bad, condition: "dead: killed or crashed 0.4 s ago".into(), ..full() };
    for size in [(20, 5), (80, 24)] {
        let (text, backend) = screen(&picture, &View::default(), size);
        assert!(text.lines().next().unwrap().contains("web-1 of cluster"), "{text}");
        let first = (0..size.0).map(|col| &backend.buffer()[(col, 0)]);
        assert!(first.into_iter().all(|cell| cell.fg == Color::Red), "{text}");
    }
    let (text, _) = screen(&picture, &View::default(), (100, 24));
    assert!(text.contains("pid 4711 is dead: killed or crashed 0.4 s ago"), "{text}");
}

#[test]
fn rows_and_columns_that_do_not_fit_are_told() {
    let title = |text: &str, of: &str| {
        let at = text.lines().find(|line| line.contains(of)).unwrap().to_owned();
        at.split(of).nth(1).unwrap().to_owned()
    };
    let (text, _) = screen(&full(), &View::default(), (80, 24));
    // The heads, the names and two columns more are there, of forty nodes five.
    assert!(title(&text, "1 nodes, by name").contains(" » "), "{text}");
    let more = title(&text, "1 nodes, by name");
    let more: usize = more.split_once('+').unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!((30..41).contains(&more), "{text}");
    assert!(
        !title(&text, "3 times since the start").split("4 hottest").next().unwrap().contains('+'),
        "{text}"
    );
    let mut picture = full();
    picture.figures = (0..9).map(|number| ("subscriptions".into(), format!("{number},000"))).collect();
    let (text, _) = screen(&picture, &View::default(), (80, 24));
    let figures = text.lines().nth(1).unwrap();
    assert!(
        figures.contains("0,000 subscriptions   1,000 subscriptions   2,000 subscriptions   »"),
        "{text}"
    );
    assert!(!figures.contains("3,000"), "a number without its name may be anything: {text}");
    let (text, _) = screen(&full(), &View { alone: true, ..View::default() }, (120, 60));
    assert!(!text.lines().any(|line| line.contains("1 nodes") && line.contains(['+', '»'])), "{text}");
}

#[test]
fn the_rates_of_a_process_that_is_over_are_not_those_of_now() {
    let folder = Folder::new("top-dead");
    let counters = folder.counters();
    let path = counters.path().unwrap().to_owned();
    let tracker = headcount::Config::default().shards(2).counters(counters).build().unwrap();
    let session = tracker.session();
    let mut process = Process::new(Reader::open(&path).unwrap());
    for _ in 0..1000 {
        session.track("lobby", "k", "").unwrap();
        session.untrack("lobby", "k").unwrap();
    }
    process.look();
    let now = |process: &Process| {
        let picture = process.picture();
        let rate = picture.rates.iter().find(|rate| rate.name == "changes here").unwrap().now;
        (
            rate.is_some_and(|rate| rate > 0.0),
            picture.hot.len(),
            picture.shards.iter().any(|shard| shard.rate > 0.0),
        )
    };
    assert_eq!(now(&process), (true, 1, true));
    drop((session, tracker));
    // Whoever else has the counters in hand just then, as the thread that beats, lets go of them a moment later.
    let latest = Instant::now() + Duration::from_secs(10);
    while is_alive(process.life()) {
        assert!(Instant::now() < latest, "it is over");
        thread::yield_now();
    }
    assert_eq!(now(&process), (false, 0, false));
    let (text, _) = screen(&process.picture(), &View::default(), (120, 40));
    assert!(text.contains("it does not run") && !text.contains("/s lobby"), "{text}");
}

#[test]
fn a_pane_alone_has_the_screen_and_scrolls_to_its_last_row() {
    let mut view = View { alone: true, ..View::default() };
    let (text, _) = screen(&full(), &view, (80, 24));
    assert!(text.contains("node-5") && !text.contains("largest topics"), "{text}");
    assert!(!text.contains("node-39"), "{text}");
    for _ in 0..10 {
        view.key(KeyEvent::from(KeyCode::PageDown));
    }
    let (text, _) = screen(&full(), &view, (80, 24));
    assert!(text.contains("node-39") && !text.contains("node-0 "), "{text}");
}

#[test]
fn help_names_the_keys() {
    let view = View { help: true, ..View::default() };
    let (text, _) = screen(&full(), &view, (80, 24));
    assert!(text.contains("Esc, Ctrl-C") && text.contains("another process"), "{text}");
}

#[test]
fn a_picture_is_made_of_what_a_process_counts() {
    let folder = Folder::new("top");
    let place = Where { process: None, dir: Some(folder.0.clone()), ..Where::default() };
    assert!(Processes::find(&place).unwrap_err().to_string().starts_with("nothing runs"));
    let counters = folder.counters();
    counters.set_fact("node", "web-1");
    counters.note_event("web-2 is up");
    counters.count_error("no route", 2);
    let tracker = headcount::Config::default().shards(2).counters(counters).build().unwrap();
    let session = tracker.session();
    let mut processes = Processes::find(&place).unwrap();
    for _ in 0..1000 {
        session.track("lobby", "k", "").unwrap();
        session.untrack("lobby", "k").unwrap();
    }
    processes.look();
    let picture = processes.picture(&View::default());
    assert_eq!((picture.processes.len(), picture.level), (1, Level::Good));
    assert!(picture.title.starts_with("web-1, pid "), "{}", picture.title);
    let rate = picture.rates.iter().find(|rate| rate.name == "changes here").unwrap();
    assert!(rate.now > Some(2000.0) && rate.history.len() == 1 && rate.history[0] > 2000, "{rate:?}");
    assert_eq!((picture.hot.len(), picture.hot[0].name.as_str()), (1, "lobby"));
    assert!(picture.hot[0].rate > 1000.0);
    assert_eq!(picture.shards.iter().filter(|shard| shard.rate > 0.0).count(), 1);
    assert_eq!(picture.diary.len(), 2);
    assert!(picture.nodes.is_empty() && picture.times.is_empty(), "it is in no cluster");

    let other = folder.counters();
    other.set_fact("node", "web-2");
    processes.add_new(&place);
    processes.turn(-1);
    assert!(processes.picture(&View::default()).title.starts_with("web-2, pid "));
    processes.turn(1);
    assert!(processes.picture(&View::default()).title.starts_with("web-1, pid "));
}

#[test]
fn a_node_of_a_cluster_is_shown_with_the_others_and_its_times() {
    let folder = Folder::new("top-cluster");
    let counters = folder.counters();
    clustered(&counters);
    let place = Where { process: Some("web-1".into()), dir: Some(folder.0.clone()), ..Where::default() };
    let mut processes = Processes::find(&place).unwrap();
    processes.look();
    let picture = processes.picture(&View::default());
    let nodes: Vec<_> = picture.nodes.iter().map(|node| (&*node.name, &*node.state, node.level)).collect();
    assert_eq!(
        nodes,
        [("web-1", "this", Level::Good), ("web-2", "up", Level::Good), ("web-3", "down", Level::Bad)]
    );
    assert_eq!((picture.times[0].name.as_str(), picture.times[0].p99), ("visible", Some(284_000)));
    assert_eq!(picture.times[0].history, [0], "nothing came between the two looks");
    assert!(picture.rates.iter().any(|rate| rate.name == "datagrams sent"));
    let (text, _) = screen(&picture, &View::default(), (120, 40));
    assert!(text.contains("web-3       down       2 min   16,766       7   5 min"), "{text}");
}
