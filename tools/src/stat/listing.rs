//! All processes, a line each.

use super::Seen;
use crate::inspect::grid::{Grid, Side};
use crate::inspect::snapshot::{Snapshot, life_word, life_words};
use crate::inspect::span::Span;
use crate::inspect::words;
use crate::number::grouped;
use headcount::counters::{Life, ReadError};

/// A number that there may not be.
pub(super) fn or_dash(number: Option<u64>) -> String {
    number.map_or_else(|| "-".into(), grouped)
}

/// Other nodes that a process knows.
pub(super) fn members(now: &Snapshot) -> Option<u64> {
    now.number("node", "members").or_else(|| now.number("engine", "nodes_remote"))
}

pub(super) fn text(seen: &[Seen]) -> String {
    let mut grid = Grid::new([
        ("pid", Side::Right),
        ("node", Side::Left),
        ("cluster", Side::Left),
        ("state", Side::Left),
        ("uptime", Side::Right),
        ("others", Side::Right),
        ("entries", Side::Right),
        ("changes/s", Side::Right),
        ("errors", Side::Right),
    ]);
    let mut notes = String::new();
    for seen in seen {
        let pid = seen.pid.to_string();
        let look = match &seen.what {
            Ok(look) => look,
            Err(error) => {
                let dash = || String::from("-");
                let state = problem_word(error).to_owned();
                grid.row([pid, dash(), dash(), state, dash(), dash(), dash(), dash(), dash()]);
                notes.push_str(&format!("{}: {error}\n", seen.pid));
                continue;
            }
        };
        let now = &look.now;
        let changes = look.span().as_ref().and_then(Span::changes).map(|(own, others)| own + others);
        grid.row([
            pid,
            now.name(),
            now.fact("cluster").map_or_else(|| "-".into(), |cluster| words::plain(cluster, 64)),
            life_word(now.life).into(),
            words::age(now.uptime()),
            or_dash(members(now)),
            or_dash(now.number("engine", "entries")),
            changes.map_or_else(|| "-".into(), words::rate),
            grouped(now.errors()),
        ]);
        if now.life != Life::Running {
            notes.push_str(&format!("{} ({}): {}\n", now.name(), now.pid, life_words(now.life)));
        }
    }
    let mut text = String::new();
    grid.write(0, &mut text);
    text.push_str(&notes);
    text
}

fn problem_word(error: &ReadError) -> &'static str {
    match error {
        ReadError::NoPermission { .. } => "not readable",
        ReadError::OtherUser { .. } => "another user's",
        ReadError::Version { .. } => "other version",
        ReadError::NotCounters { .. } => "no counters",
        ReadError::Damaged { .. } => "damaged",
        _ => "unknown",
    }
}
