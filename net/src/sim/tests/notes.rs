//! What is noted for whoever traces a node.

use super::stage::{MS, Stage, stage};
use crate::core::{MemberState, Note, Repairs, Turn};
use crate::sim::network::Weather;
use std::time::Duration;

/// What a host has to tell by now, each time that it is asked for in so long.
fn told(stage: &mut Stage, host: usize, time: Duration) -> Vec<Note> {
    let mut notes = Vec::new();
    for _ in 0..time.as_millis() / 10 {
        stage.run(MS(10));
        let now = stage.world.now;
        let process = stage.world.hosts[host].process.as_mut().expect("the node runs");
        notes.extend(process.core.take_notes(now));
    }
    notes
}

fn repairs(notes: &[Note]) -> Vec<Repairs> {
    let repairs = |note: &Note| match note {
        Note::Repairs(_, repairs) => Some(*repairs),
        _ => None,
    };
    notes.iter().filter_map(repairs).collect()
}

#[test]
fn a_gap_is_told_once_it_is_closed_with_how_long_it_was_open() {
    let mut stage = stage(1, &[1, 1]);
    stage.track(0, "room", "first", "");
    told(&mut stage, 1, MS(2_000));
    stage.world.block_one_way(0, 1, MS(10));
    stage.track(0, "room", "lost", "");
    let notes = told(&mut stage, 1, MS(2_000));
    let [gap] = repairs(&notes)[..] else { panic!("{notes:?}") };
    assert_eq!((gap.noticed, gap.closed, gap.open, gap.lane), (1, 1, 0, 0));
    assert!(gap.longest > Duration::ZERO && gap.longest < MS(300), "{gap:?}");
    assert_eq!(repairs(&told(&mut stage, 1, MS(2_000))), [], "there is nothing more to tell");
}

#[test]
fn a_storm_of_loss_is_told_once_a_second_for_each_member() {
    let mut stage = stage(2, &[4, 4, 4]);
    told(&mut stage, 2, MS(1_500));
    stage.weather(Weather { loss: 200, ..Weather::CALM });
    let mut notes = Vec::new();
    for _ in 0..200 {
        stage.operate(0, 20);
        stage.operate(1, 20);
        notes.extend(told(&mut stage, 2, MS(20)));
    }
    let repairs = repairs(&notes);
    let noticed: u64 = repairs.iter().map(|gaps| gaps.noticed).sum();
    assert!(noticed > 100, "{noticed} gaps");
    assert!(repairs.len() <= 2 * 5, "{} notes of {noticed} gaps", repairs.len());
    stage.weather(Weather::CALM);
    stage.settle();
}

#[test]
fn a_member_that_falls_silent_is_told_by_its_states() {
    let mut stage = stage(3, &[1, 1]);
    told(&mut stage, 0, MS(100));
    stage.world.block_one_way(1, 0, MS(3_000));
    let mut notes = told(&mut stage, 0, MS(4_000));
    notes.retain(|note| matches!(note, Note::Member { .. }));
    let turns: Vec<Turn> = notes
        .iter()
        .map(|note| match note {
            Note::Member { turn, .. } => *turn,
            _ => panic!("{note:?}"),
        })
        .collect();
    let wanted = [MemberState::Suspect, MemberState::Down, MemberState::Up].map(Turn::To);
    assert_eq!(turns, wanted);
}

#[test]
fn a_node_that_stood_still_tells_it_once_a_second() {
    let mut stage = stage(4, &[1, 1]);
    told(&mut stage, 0, MS(1_500));
    stage.world.pause(0, MS(400));
    let notes = told(&mut stage, 0, MS(2_500));
    let pauses: Vec<&Note> = notes.iter().filter(|note| matches!(note, Note::Paused { .. })).collect();
    let [Note::Paused { count: 1, longest }] = pauses[..] else { panic!("{notes:?}") };
    assert!(*longest >= MS(200) && *longest <= MS(400), "{longest:?}");
}

#[test]
fn notes_that_nobody_takes_are_counted_only_and_that_is_told() {
    let mut stage = stage(5, &[1, 1]);
    let node = stage.at(1).node;
    let now = stage.world.now;
    let core = &mut stage.world.hosts[0].process.as_mut().expect("the node runs").core;
    core.take_notes(now);
    for _ in 0..5_000 {
        core.note_turn(node, Turn::Dropped);
    }
    assert_eq!(core.take_notes(now).len(), 4_096);
    let later = core.take_notes(now + MS(1_000));
    assert_eq!(later, [Note::Untold { count: 904 }]);
}
