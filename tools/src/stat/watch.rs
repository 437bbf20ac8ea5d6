//! Watching: a line for each interval, and a word at once when a process is gone.

use super::{Look, Seen, json, listing, look, say, status_of_life};
use crate::error::Error;
use crate::inspect::choose::{Where, is_alive};
use crate::inspect::snapshot::life_words;
use crate::inspect::span::Span;
use crate::inspect::{status, words};
use crate::number::grouped;
use crate::ui;
use headcount::counters::{Life, Reader};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether a process is still there, however long the interval is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Lines between two heads.
const PAGE: usize = 20;

/// Watches one process until it is gone; its fate is the exit status.
pub(super) fn one(reader: Reader, every: Duration, as_json: bool) -> Result<ExitCode, Error> {
    let (file, pid) = (reader.path().display().to_string(), reader.pid());
    let mut seen = [Seen { file, pid, what: Ok(Look::new(reader)) }];
    let mut told = Life::Running;
    for number in 0.. {
        if number % PAGE == 0 && !as_json {
            say(HEAD)?;
        }
        let life = sit(&seen, every, |look| tell(look, &mut told));
        let Ok(look) = &mut seen[0].what else { break };
        look.again();
        if is_alive(life) {
            say(&if as_json { json::text(&seen) } else { line(&seen) })?;
            continue;
        }
        if as_json {
            say(&json::text(&seen))?;
        }
        return Ok(ExitCode::from(status_of_life(life)));
    }
    Ok(ExitCode::from(status::NOTHING))
}

/// Watches all processes until none is left.
pub(super) fn all(place: &Where, every: Duration, as_json: bool) -> Result<ExitCode, Error> {
    let mut seen = look(place)?;
    if seen.is_empty() {
        return Err(place.nothing());
    }
    let mut first = true;
    while first || seen.iter().any(|seen| seen.what.as_ref().is_ok_and(|look| is_alive(look.now.life))) {
        first = false;
        let mut gone = Vec::new();
        sit(&seen, every, |look| {
            if !is_alive(look.reader.life()) && is_alive(look.now.life) && !gone.contains(&look.now.file) {
                gone.push(look.now.file.clone());
                announce(look);
            }
        });
        seen.iter_mut().filter_map(|seen| seen.what.as_mut().ok()).for_each(Look::again);
        add_new(place, &mut seen);
        if as_json {
            say(&json::text(&seen))?;
        } else {
            say(&format!("{}\n", listing::text(&seen)))?;
        }
        // What has ended in order is told once.
        seen.retain(|seen| seen.what.as_ref().map_or(true, |look| look.now.life != Life::Ended));
    }
    Ok(ExitCode::from(if seen.is_empty() { status::NOTHING } else { super::status_of_all(&seen) }))
}

/// Processes that have started since.
fn add_new(place: &Where, seen: &mut Vec<Seen>) {
    // A directory that cannot be read just now has no new ones.
    for new in look(place).unwrap_or_default() {
        if !seen.iter().any(|known| known.file == new.file) {
            seen.push(new);
        }
    }
}

/// Lets the interval pass, looking all the while at who lives. Ends as soon as nobody does; the life of the last looked at.
fn sit(seen: &[Seen], every: Duration, mut tell: impl FnMut(&Look)) -> Life {
    let end = Instant::now() + every;
    loop {
        let mut alive = None;
        let mut last = Life::Ended;
        for look in seen.iter().filter_map(|seen| seen.what.as_ref().ok()) {
            tell(look);
            last = look.reader.life();
            if is_alive(last) {
                alive = Some(last);
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        if alive.is_none() || left.is_zero() {
            return alive.unwrap_or(last);
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

/// Says on standard error when a process falls silent, speaks again, or is gone.
fn tell(look: &Look, told: &mut Life) {
    let life = look.reader.life();
    if std::mem::discriminant(&life) != std::mem::discriminant(told) {
        *told = life;
        announce(look);
    }
}

fn announce(look: &Look) {
    ui::note(&format!("{} (pid {}) is {}", look.now.name(), look.now.pid, life_words(look.reader.life())));
}

const HEAD: &str =
    "   entries  others  changes/s  by others   events/s   sent/s   received/s  visible p99  errors\n";

fn line(seen: &[Seen; 1]) -> String {
    let Ok(look) = &seen[0].what else { return String::new() };
    let (now, span) = (&look.now, look.span());
    let rate =
        |table, field| span.and_then(|span| span.rate(table, field)).map_or_else(|| "-".into(), words::rate);
    let changes = span.as_ref().and_then(Span::changes);
    let (own, others) = changes
        .map_or_else(|| ("-".into(), "-".into()), |(own, others)| (words::rate(own), words::rate(others)));
    let visible = span.and_then(|span| span.times("times", 0, "visible")?.quantile(0.99));
    format!(
        "{:>10}  {:>6}  {:>9}  {:>9}  {:>9}  {:>7}  {:>11}  {:>11}  {:>6}{}\n",
        listing::or_dash(now.number("engine", "entries")),
        listing::or_dash(listing::members(now)),
        own,
        others,
        rate("shard", "events_total"),
        rate("net", "datagrams_sent"),
        rate("net", "datagrams_received"),
        visible.map_or_else(|| "-".into(), words::nanos),
        grouped(now.errors()),
        if matches!(now.life, Life::Silent(_)) { "  silent" } else { "" },
    )
}
