//! What a process says of itself in words: facts, errors by kind, and what happened lately.

use super::cells::{Number, Row, Table, Text};
use super::file::unix_now;
use super::schema::{Field, Schema};
use crate::sync::Mutex;

const NAME_BYTES: usize = 32;
const TEXT_BYTES: usize = 184;
const FACTS: usize = 32;
const ERRORS: usize = 64;
const EVENTS: usize = 128;
/// What errors are counted as when there are too many kinds.
const OTHERS: &str = "(errors of more kinds than fit)";

pub(super) const SCHEMAS: [(Schema, usize); 3] = [
    (
        Schema {
            name: "fact",
            help: "What the process says of itself: node, cluster, addresses.",
            fields: &[
                Field::text("name", NAME_BYTES, "What it is about."),
                Field::text("value", TEXT_BYTES, "What it is."),
            ],
        },
        FACTS,
    ),
    (
        Schema {
            name: "error",
            help: "Errors, each kind once.",
            fields: &[
                Field::counter("count_total", "errors", "How often it came."),
                Field::gauge("first_at", "unix ns", "When it came first."),
                Field::gauge("last_at", "unix ns", "When it came last."),
                Field::text("message", TEXT_BYTES, "What it says."),
            ],
        },
        ERRORS,
    ),
    (
        Schema {
            name: "event",
            help: "What happened lately, in a ring: nodes that come and go, isolation, keys.",
            fields: &[
                Field::gauge("number", "", "Its number; the least are the oldest."),
                Field::gauge("at", "unix ns", "When it was."),
                Field::text("message", TEXT_BYTES, "What it was."),
            ],
        },
        EVENTS,
    ),
];

#[derive(Debug)]
pub(super) struct Diary {
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    facts: Table,
    errors: Table,
    events: Table,
    /// The names of the facts in their rows, and the messages of the errors.
    named: Vec<String>,
    seen: Vec<Error>,
    happened: u64,
}

#[derive(Debug)]
struct Error {
    message: String,
    count: Number,
    last: Number,
}

fn fill(row: &Row, numbers: &[(&str, u64)], texts: &[(&str, &str)]) {
    row.hide();
    numbers.iter().for_each(|(name, value)| row.number(name).set(*value));
    texts.iter().for_each(|(name, value)| {
        let text: Text = row.text(name);
        text.set(value);
    });
    row.show();
}

impl Diary {
    pub(super) fn new([facts, errors, events]: [Table; 3]) -> Self {
        let (named, seen) = (Vec::new(), Vec::new());
        Self { pages: Mutex::new(Pages { facts, errors, events, named, seen, happened: 0 }) }
    }

    /// Sets a fact. Of more facts than fit, the last ones are not kept.
    pub(super) fn set_fact(&self, name: &str, value: &str) {
        let mut pages = self.pages.lock();
        let at = pages.named.iter().position(|held| held == name).unwrap_or(pages.named.len());
        if at == FACTS {
            return;
        }
        if at == pages.named.len() {
            pages.named.push(name.into());
        }
        fill(&pages.facts.row(at), &[], &[("name", name), ("value", value)]);
    }

    pub(super) fn count_error(&self, message: &str, count: u64) {
        let now = unix_now();
        let mut pages = self.pages.lock();
        let message =
            if pages.seen.len() < ERRORS - 1 || pages.seen.iter().any(|held| held.message == message) {
                message
            } else {
                OTHERS
            };
        if let Some(seen) = pages.seen.iter().find(|held| held.message == message) {
            seen.count.add(count);
            seen.last.set(now);
            return;
        }
        let row = pages.errors.row(pages.seen.len());
        let numbers = [("count_total", count), ("first_at", now), ("last_at", now)];
        fill(&row, &numbers, &[("message", message)]);
        let (count, last) = (row.number("count_total"), row.number("last_at"));
        pages.seen.push(Error { message: message.into(), count, last });
    }

    pub(super) fn note_event(&self, message: &str) {
        let mut pages = self.pages.lock();
        pages.happened += 1;
        let row = pages.events.row((pages.happened % EVENTS as u64) as usize);
        fill(&row, &[("number", pages.happened), ("at", unix_now())], &[("message", message)]);
    }
}
