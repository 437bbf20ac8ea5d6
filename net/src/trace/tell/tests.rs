//! Every kind of thing that is told, with its target, level and words; the documentation of the crate lists the same.

use super::*;
use crate::core::{Input, Output, Peer, Repairs, Settings};
use crate::keys::Keys;
use headcount::{Incarnation, NodeId, Tracker};
use std::sync::{Arc, Mutex};
use tracing::Level;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// What an event is: its level, its target's last word, and its message.
type Kind = (Level, &'static str, &'static str);

#[derive(Clone, Debug)]
struct Told {
    level: Level,
    target: String,
    message: String,
    /// `name=value`, in the order of the fields.
    fields: Vec<String>,
}

impl tracing::field::Visit for Told {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push(format!("{name}={value:?}")),
        }
    }
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

impl<S: tracing::Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let target = event.metadata().target().rsplit("::").next().unwrap_or_default().to_owned();
        let level = *event.metadata().level();
        let mut told = Told { level, target, message: String::new(), fields: Vec::new() };
        event.record(&mut told);
        self.0.lock().expect("nobody panics with it").push(told);
    }
}

fn core() -> Core {
    Core::new(Settings::plain(7, "a", 1), &Tracker::new(), Time::ZERO)
}

/// What a node tells meanwhile.
fn told(run: impl FnOnce(&mut Teller)) -> Vec<Told> {
    let collector = Collector::default();
    let subscriber = tracing_subscriber::registry().with(collector.clone());
    tracing::subscriber::with_default(subscriber, || run(&mut Teller::new(&core())));
    collector.0.lock().expect("nobody panics with it").clone()
}

/// That just this is told; its fields.
#[track_caller]
fn tells((level, target, message): Kind, run: impl FnOnce(&mut Teller)) -> Vec<String> {
    let all = told(run);
    let [one] = &all[..] else { panic!("{message}: {all:?}") };
    assert_eq!((one.level, one.target.as_str(), one.message.as_str()), (level, target, message));
    one.fields.clone()
}

fn peer() -> Peer {
    Peer { name: "b".into(), node: NodeId(7) }
}

const LIFE: Incarnation = Incarnation { epoch: 3, nonce: 5 };

fn kind_of_turn(turn: Turn) -> (usize, Kind) {
    // A new kind does not compile until it has a number and words; the test asks for all numbers.
    match turn {
        Turn::Met => (0, (Level::INFO, "membership", "member met")),
        Turn::Replaced(_) => (1, (Level::INFO, "membership", "member replaced by its next life")),
        Turn::To(MemberState::Up) => (2, (Level::INFO, "membership", "member up")),
        Turn::To(MemberState::UpIndirect) => {
            (3, (Level::INFO, "membership", "member up, heard by others only"))
        }
        Turn::To(MemberState::Suspect) => (4, (Level::INFO, "membership", "member suspect")),
        Turn::To(MemberState::Leaving) => {
            (5, (Level::INFO, "membership", "member leaving, its entries stay for a while"))
        }
        Turn::To(MemberState::Down) => (6, (Level::WARN, "membership", "member down")),
        Turn::Left => (7, (Level::INFO, "membership", "member left")),
        Turn::Forgotten => (8, (Level::INFO, "membership", "member forgotten")),
        Turn::Dropped => (9, (Level::WARN, "membership", "member dropped, to be met anew")),
    }
}

#[test]
fn each_turn_of_a_member_is_told_with_the_member() {
    let states = [
        MemberState::Up,
        MemberState::UpIndirect,
        MemberState::Suspect,
        MemberState::Leaving,
        MemberState::Down,
    ];
    let others = [Turn::Met, Turn::Replaced(LIFE), Turn::Left, Turn::Forgotten, Turn::Dropped];
    let turns: Vec<Turn> = others.into_iter().chain(states.map(Turn::To)).collect();
    let mut numbers: Vec<usize> = turns.iter().map(|&turn| kind_of_turn(turn).0).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "each kind once");
    for turn in turns {
        let note = Note::Member { peer: peer(), incarnation: LIFE, turn };
        let fields = tells(kind_of_turn(turn).1, |teller| teller.tell_note(note));
        let mut expected =
            vec!["peer=\"b\"".to_owned(), format!("id={}", NodeId(7)), format!("incarnation={LIFE}")];
        if let Turn::Replaced(by) = turn {
            expected.push(format!("by={by}"));
        }
        assert_eq!(fields, expected, "{turn:?}");
    }
}

/// `None` for what is a span, or told in one.
fn kind_of_note(note: &Note) -> (usize, Option<Kind>) {
    let kind = |level, target, message| Some((level, target, message));
    match note {
        Note::Live { .. } => (0, kind(Level::INFO, "membership", "joined")),
        Note::Jumped { .. } => {
            (1, kind(Level::WARN, "membership", "incarnation raised: a peer knew a higher one"))
        }
        // The test above has these.
        Note::Member { turn, .. } => (2, Some(kind_of_turn(*turn).1)),
        Note::Quarantined { .. } => {
            (3, kind(Level::WARN, "membership", "member quarantined: its frames made this node panic"))
        }
        Note::TransferBegun(..) => (4, None),
        Note::LaneTaken { .. } => (5, None),
        Note::TransferEnded(..) => (6, None),
        Note::Repairs(..) => (7, kind(Level::DEBUG, "repair", "gaps")),
        Note::Diverged { .. } => (8, kind(Level::WARN, "repair", "digest mismatch: a snapshot mends it")),
        Note::Paused { .. } => (9, kind(Level::WARN, "health", "this node stood still")),
        Note::Untold { .. } => (10, kind(Level::WARN, "health", "events untold")),
    }
}

#[test]
fn each_note_of_the_core_is_told() {
    let (count, longest, lane) = (2, Duration::from_millis(1_500), 4);
    let id = StreamId(2);
    let transfer = Transfer { peer: peer(), owner: peer(), lanes: 1, is_given: false };
    let ended = Ended { peer: peer(), lanes: 1, bytes: 100, took: longest, outcome: "complete" };
    let repairs = Repairs { noticed: 3, closed: 2, open: 1, longest, lane };
    let notes = [
        (Note::Live { incarnation: LIFE }, vec![format!("incarnation={LIFE}")]),
        (
            Note::Jumped { known: LIFE, incarnation: Incarnation { epoch: 4, nonce: 6 } },
            vec![format!("known={LIFE}"), format!("incarnation={}", Incarnation { epoch: 4, nonce: 6 })],
        ),
        (
            Note::Member { peer: peer(), incarnation: LIFE, turn: Turn::Met },
            vec!["peer=\"b\"".to_owned(), format!("id={}", NodeId(7)), format!("incarnation={LIFE}")],
        ),
        (
            Note::Quarantined { peer: peer(), incarnation: LIFE },
            vec!["peer=\"b\"".to_owned(), format!("id={}", NodeId(7)), format!("incarnation={LIFE}")],
        ),
        (Note::TransferBegun(id, transfer.clone()), vec![]),
        (Note::LaneTaken { stream: id, lane, is_snapshot: true }, vec![]),
        (Note::TransferEnded(id, ended.clone()), vec![]),
        (
            Note::Repairs(peer(), repairs),
            vec![
                "peer=\"b\"".into(),
                format!("id={}", NodeId(7)),
                "noticed=3".into(),
                "closed=2".into(),
                "open=1".into(),
                "longest_ms=1500.0".into(),
                "lane=4".into(),
            ],
        ),
        (
            Note::Diverged { peer: peer(), count, lane },
            vec!["peer=\"b\"".into(), format!("id={}", NodeId(7)), "count=2".into(), "lane=4".into()],
        ),
        (Note::Paused { count, longest }, vec!["count=2".into(), "longest_ms=1500.0".into()]),
        (Note::Untold { count }, vec!["count=2".into()]),
    ];
    let numbers: Vec<usize> = notes.iter().map(|(note, _)| kind_of_note(note).0).collect();
    assert_eq!(numbers, (0..11).collect::<Vec<_>>(), "each kind once");
    for (note, fields) in notes {
        match kind_of_note(&note).1 {
            Some(kind) => {
                assert_eq!(tells(kind, |teller| teller.tell_note(note.clone())), fields, "{note:?}")
            }
            // Of a stream that nobody has heard of, nothing is told.
            None => assert!(told(|teller| teller.tell_note(note)).is_empty()),
        }
    }
    // A transfer, from its beginning to its end.
    let all = told(|teller| {
        teller.tell_note(Note::TransferBegun(id, transfer));
        teller.tell_note(Note::LaneTaken { stream: id, lane, is_snapshot: false });
        teller.tell_note(Note::TransferEnded(id, ended));
    });
    let kinds: Vec<_> =
        all.iter().map(|told| (told.level, told.target.as_str(), told.message.as_str())).collect();
    let taken = (Level::TRACE, "snapshot", "lane taken");
    assert_eq!(kinds, [taken, (Level::DEBUG, "snapshot", "snapshot over")]);
    assert_eq!(all[0].fields, ["lane=4", "kind=\"catch-up\""]);
    assert!(all[1].fields.contains(&"outcome=\"complete\"".to_owned()), "{all:?}");
}

#[test]
fn each_notice_is_told() {
    let kind_of = |notice: Notice| match notice {
        Notice::Isolated => (Level::WARN, "isolated: most members fell silent at once"),
        Notice::Rejoined => (Level::INFO, "isolation over"),
        Notice::MulticastLost => (Level::WARN, "fallback to unicast: the group brings nothing"),
        Notice::MulticastBack => (Level::INFO, "fallback over"),
        Notice::SmallReceiveBuffer { .. } => (Level::WARN, "receive buffer smaller than asked for"),
    };
    let small = Notice::SmallReceiveBuffer { asked: 8, granted: 4 };
    for notice in [Notice::Isolated, Notice::Rejoined, Notice::MulticastLost, Notice::MulticastBack, small] {
        let (level, message) = kind_of(notice);
        // What comes of a turn, and what is known before the first.
        let kind = (level, "health", message);
        let fields = tells(kind, |teller| teller.tell(&mut core(), Time::ZERO, &[notice]));
        assert_eq!(fields, tells(kind, |teller| Teller::tell_notice(teller, notice)));
        let expected = if notice == small { vec!["asked=8", "granted=4"] } else { vec![] };
        assert_eq!(fields, expected, "{notice:?}");
    }
}

#[test]
fn each_end_is_told() {
    let end = |phase: Phase| move |teller: &mut Teller| teller.tell_end(&phase);
    assert!(tells((Level::INFO, "membership", "left"), end(Phase::Left)).is_empty());
    let other = ([127, 0, 0, 1], 9).into();
    for reason in [
        StopReason::DuplicateNode { name: "a".into(), other },
        StopReason::Driver("no more".into()),
        StopReason::EpochNotKept { path: "/epoch".into(), why: "full".into() },
    ] {
        let message = match reason {
            StopReason::DuplicateNode { .. } => "stopped: duplicate node",
            StopReason::Driver(_) | StopReason::EpochNotKept { .. } => "stopped",
        };
        let kind = (Level::ERROR, "membership", message);
        let fields = tells(kind, end(Phase::Stopped(reason.clone())));
        assert!(fields.contains(&format!("reason={reason}")), "{fields:?}");
        assert_eq!(fields.contains(&"other=127.0.0.1:9".to_owned()), message != "stopped", "{fields:?}");
        assert_eq!(fields, tells(kind, |teller| teller.tell_stop(&reason)), "the driver's end");
    }
}

#[test]
fn each_change_of_keys_is_told_if_it_was_made() {
    let kind_of = |step: &KeyStep| match step {
        KeyStep::Install(_) => ("keys installed", "epochs=[7]"),
        KeyStep::Use(_) => ("key in use", "epoch=7"),
        KeyStep::Remove(_) => ("key removed", "epoch=7"),
    };
    let keys = Keys::parse(&format!("7:{}", "5e".repeat(32))).expect("keys");
    for step in [KeyStep::Install(keys), KeyStep::Use(7), KeyStep::Remove(7)] {
        let (message, field) = kind_of(&step);
        assert_eq!(tells((Level::INFO, "keys", message), |teller| teller.tell_key(&step, true)), [field]);
        assert!(told(|teller| teller.tell_key(&step, false)).is_empty());
    }
}

#[test]
fn trouble_and_refused_datagrams_are_told_by_what_has_grown() {
    let before = NetStats { send_errors: 5, malformed: 1, ..NetStats::default() };
    let after = |change: fn(&mut NetStats)| {
        let mut after = before;
        change(&mut after);
        after
    };
    assert!(told(|_| tell_trouble(&before, &before)).is_empty());
    let trouble = after(|now| (now.send_errors, now.receive_drops) = (7, 3));
    let kind = (Level::WARN, "health", "trouble");
    assert_eq!(tells(kind, |_| tell_trouble(&before, &trouble)), ["send_errors=2", "receive_drops=3"]);
    let refused = after(|now| (now.malformed, now.over_budget) = (2, 4));
    let kind = (Level::WARN, "health", "datagrams refused");
    assert_eq!(tells(kind, |_| tell_trouble(&before, &refused)), ["malformed=1", "over_budget=4"]);
    let every: [fn(&mut NetStats); 12] = [
        |now| now.send_errors += 1,
        |now| now.receive_errors += 1,
        |now| now.receive_drops += 1,
        |now| now.refused_operations += 1,
        |now| now.refused_nodes += 1,
        |now| now.lookups_failed += 1,
        |now| now.malformed += 1,
        |now| now.foreign += 1,
        |now| now.no_key += 1,
        |now| now.auth_failed += 1,
        |now| now.replayed += 1,
        |now| now.over_budget += 1,
    ];
    for change in every {
        let all = told(|_| tell_trouble(&before, &after(change)));
        assert!(matches!(&all[..], [one] if one.fields.len() == 1), "{all:?}");
    }
}

/// As the driver does it: what the core notes comes by the teller, once a second if it can come in a storm.
#[test]
fn what_a_core_notes_and_counts_is_told_after_a_turn() {
    let all = told(|teller| {
        let (mut core, mut out) = (core(), Output::default());
        let mut turn = |teller: &mut Teller, now: Duration| {
            core.handle(now, Input::Turn, &mut out);
            teller.tell(&mut core, now, &[]);
        };
        (0..100).for_each(|at| turn(teller, Duration::from_millis(at * 10)));
        // Its machine slept.
        turn(teller, Duration::from_secs(60));
        let from = ([127, 0, 0, 1], 9).into();
        core.handle(
            Duration::from_secs(62),
            Input::Datagram { from, bytes: b"no", by_group: false },
            &mut out,
        );
        teller.tell(&mut core, Duration::from_secs(62), &[]);
    });
    let kinds: Vec<_> =
        all.iter().map(|told| (told.level, told.target.as_str(), told.message.as_str())).collect();
    let still = (Level::WARN, "health", "this node stood still");
    for kind in [(Level::INFO, "membership", "joined"), still, (Level::WARN, "health", "datagrams refused")] {
        assert!(kinds.contains(&kind), "{kind:?}: {all:?}");
    }
}
