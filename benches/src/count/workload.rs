//! The operations, each with its set-up: what runs under callgrind.

use super::{BATCH, Kind, Operation, count_measured_part, delta};
use crate::{Resident, Row, SESSION_ENTRIES, Shape, TOPIC_MEMBERS};
use headcount::counters::Counters;
use headcount::{Config, EntryView, Filter, Session, Tracker};
use std::fmt;
use std::hint::black_box;
use std::mem::ManuallyDrop;

/// Fixed, where the default follows the machine's cores: the price is to be the same on every machine.
const SHARDS: usize = 16;
/// At least one topic with all its members.
const ENTRIES_MIN: usize = TOPIC_MEMBERS;
const ENTRIES_MAX: usize = 10_000_000;
const NEW_META: [u8; 32] = [b'!'; 32];
const ROOM: &str = "the limits are far, and the rows are fresh";

/// Why a run did not start. Nothing was run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RunError {
    /// More steps than are prepared, or none.
    Steps {
        /// The operation.
        operation: &'static str,
        /// The steps asked for.
        steps: usize,
        /// The most that there can be.
        max: usize,
    },
    /// Too few or too many resident entries.
    Entries(usize),
    /// The counters file that is to be there could not be made.
    Counters(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps { operation, steps, max } => {
                write!(f, "N is {steps}, for {operation} it must be within 1..={max}")
            }
            Self::Entries(entries) => {
                write!(f, "--entries is {entries}, it must be within {ENTRIES_MIN}..={ENTRIES_MAX}")
            }
            Self::Counters(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RunError {}

/// Sets up `entries` resident entries, the same for every number of steps, and runs so many steps of the operation. What
/// was set up is not taken down. `watched`: the tracker counts in a file that other processes could read, if the operation changes or reads
/// one tracker alone.
///
/// # Errors
/// If a number is out of its range.
///
/// # Panics
/// If the tracker refuses something: its limits are far.
pub fn run(operation: &Operation, steps: usize, entries: usize, watched: bool) -> Result<(), RunError> {
    if steps == 0 || steps > operation.prepared() {
        return Err(RunError::Steps { operation: operation.name, steps, max: operation.prepared() });
    }
    if !(ENTRIES_MIN..=ENTRIES_MAX).contains(&entries) {
        return Err(RunError::Entries(entries));
    }
    let shape = Shape { entries, topic_members: TOPIC_MEMBERS };
    let counters = if watched { counters()? } else { Counters::private() };
    let config = config().counters(counters);
    match operation.kind {
        Kind::GetHit | Kind::GetMiss | Kind::GetOwned | Kind::ReadMany | Kind::Count | Kind::Contains => {
            read(operation, steps, resident(shape, config), shape);
        }
        Kind::ListPerMember | Kind::ListOwnedPerMember => list(operation.kind, steps, shape, config),
        Kind::Update => update(steps, &resident(shape, config)),
        Kind::Track | Kind::Untrack | Kind::TrackMany | Kind::SessionEnd | Kind::EventJoin => {
            come_and_go(operation, steps, &resident(shape, config), shape);
        }
        Kind::DeltaMake => delta::make(steps, shape),
        Kind::DeltaApply => delta::apply(operation, steps, shape),
    }
    Ok(())
}

/// The configuration of every tracker that is measured.
pub(super) fn config() -> Config {
    Config::default().shards(SHARDS)
}

/// Counters in a file, which nobody finds and which is gone when the process is.
fn counters() -> Result<Counters, RunError> {
    let folder = std::env::temp_dir();
    let counters = Counters::create(folder).map_err(|error| RunError::Counters(error.to_string()))?;
    if let Some(path) = counters.path() {
        // Nothing is taken down, so it would stay.
        std::fs::remove_file(path).map_err(|error| RunError::Counters(error.to_string()))?;
    }
    Ok(counters)
}

/// Taking a tracker down is neither a price asked for nor short under callgrind.
fn resident(shape: Shape, config: Config) -> ManuallyDrop<Resident> {
    ManuallyDrop::new(Resident::with_config(shape, config))
}

/// What a reader does that only looks.
fn look(entry: &EntryView<'_>) {
    let first = entry.meta().first_chunk::<8>().copied();
    black_box(first.map_or(0, u64::from_le_bytes));
}

fn read(operation: &Operation, steps: usize, resident: ManuallyDrop<Resident>, shape: Shape) {
    let tracker = &resident.tracker;
    let rows: Vec<Row> = if operation.kind == Kind::GetMiss {
        shape.fresh(operation.prepared())
    } else {
        resident
            .rows
            .iter()
            .cycle()
            .take(operation.prepared() * operation.per_step)
            .map(|&(row, _)| row)
            .collect()
    };
    match operation.kind {
        Kind::GetHit => count_measured_part(steps, &mut |step| {
            assert_eq!(tracker.read(rows[step].topic, rows[step].key, look), 1);
        }),
        Kind::GetMiss => count_measured_part(steps, &mut |step| {
            assert_eq!(tracker.read(rows[step].topic, rows[step].key, look), 0);
        }),
        Kind::GetOwned => count_measured_part(steps, &mut |step| {
            black_box(tracker.get(rows[step].topic, rows[step].key));
        }),
        Kind::ReadMany => {
            let batches: Vec<&[Row]> = rows.chunks_exact(BATCH).collect();
            count_measured_part(steps, &mut |step| {
                let keys = batches[step].iter().map(|row| (row.topic, row.key));
                assert_eq!(tracker.read_many(keys, |_, entry| look(entry)), BATCH);
            });
        }
        Kind::Count => count_measured_part(steps, &mut |step| {
            black_box(tracker.count(rows[step].topic));
        }),
        _ => count_measured_part(steps, &mut |step| {
            assert!(tracker.contains(rows[step].topic, rows[step].key));
        }),
    }
}

/// One topic after the other, each of 1,000 members.
fn list(kind: Kind, steps: usize, shape: Shape, config: Config) {
    // Full topics only: the price is that of a member, so the number of members must be known.
    let full = shape.entries / TOPIC_MEMBERS;
    let resident = resident(Shape { entries: full * TOPIC_MEMBERS, ..shape }, config);
    let topics: Vec<[u8; 12]> = (0..full).map(|topic| Row::new(0, topic).topic).collect();
    let tracker = &resident.tracker;
    if kind == Kind::ListPerMember {
        count_measured_part(steps, &mut |step| {
            assert_eq!(tracker.for_each(topics[step % full], look), TOPIC_MEMBERS);
        });
    } else {
        count_measured_part(steps, &mut |step| {
            assert_eq!(black_box(tracker.list(topics[step % full])).len(), TOPIC_MEMBERS);
        });
    }
}

fn update(steps: usize, resident: &Resident) {
    // The log and the storage as they are after some time: every entry has been updated before.
    for (row, session) in &resident.rows {
        resident.sessions[*session].update(row.topic, row.key, row.meta).expect(ROOM);
    }
    count_measured_part(steps, &mut |step| {
        let (row, session) = &resident.rows[step % resident.rows.len()];
        black_box(resident.sessions[*session].update(row.topic, row.key, NEW_META).expect(ROOM));
    });
}

/// Fresh entries beside the residents, in sessions of their own.
fn come_and_go(operation: &Operation, steps: usize, resident: &Resident, shape: Shape) {
    let tracker = &resident.tracker;
    let fresh = fresh(operation, shape);
    let of_session = if operation.kind == Kind::TrackMany { BATCH } else { SESSION_ENTRIES };
    let mut events = (operation.kind == Kind::EventJoin)
        .then(|| tracker.subscribe(Filter::topic(fresh[0].topic).without_snapshot()));
    let mut drain = || {
        if let Some(events) = &mut events {
            while events.try_recv().is_ok() {}
        }
    };
    // Room for all of them, and a queue that has held as many events: growing is not the price of one.
    let earlier = arrive(tracker, &fresh, of_session);
    drain();
    drop(earlier);
    drain();

    let mut sessions = ManuallyDrop::new(match operation.kind {
        Kind::Untrack | Kind::SessionEnd => arrive(tracker, &fresh, of_session),
        _ => fresh.chunks(of_session).map(|_| tracker.session()).collect(),
    });
    match operation.kind {
        Kind::Track | Kind::EventJoin => count_measured_part(steps, &mut |step| {
            let (row, session) = (&fresh[step], &sessions[step / of_session]);
            black_box(session.track(row.topic, row.key, row.meta).expect(ROOM));
        }),
        Kind::Untrack => count_measured_part(steps, &mut |step| {
            let (row, session) = (&fresh[step], &sessions[step / of_session]);
            assert_eq!(session.untrack(row.topic, row.key), Ok(true));
        }),
        Kind::TrackMany => count_measured_part(steps, &mut |step| {
            let batch = fresh[step * BATCH..][..BATCH].iter().map(|row| (row.topic, row.key, row.meta));
            black_box(sessions[step].track_many(batch).expect(ROOM));
        }),
        _ => count_measured_part(steps, &mut |_| drop(sessions.pop())),
    }
    drain();
}

/// Rows for every step that is prepared. Those of `event_join` are of one topic.
fn fresh(operation: &Operation, shape: Shape) -> Vec<Row> {
    let count = operation.prepared() * operation.per_step;
    if operation.kind == Kind::EventJoin {
        (shape.entries..shape.entries + count).map(|index| Row::new(index, 0)).collect()
    } else {
        shape.fresh(count)
    }
}

fn arrive(tracker: &Tracker, rows: &[Row], of_session: usize) -> Vec<Session> {
    let arrived = rows.chunks(of_session).map(|rows| {
        let session = tracker.session();
        for row in rows {
            session.track(row.topic, row.key, row.meta).expect(ROOM);
        }
        session
    });
    arrived.collect()
}
