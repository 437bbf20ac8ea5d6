//! A tracker with entries in it.

use crate::{Row, Shape, shuffle};
use headcount::{Config, Session, Tracker};

/// Entries that one session of a [`Resident`] holds.
pub const SESSION_ENTRIES: usize = 100;

/// A tracker with rows tracked by many sessions.
#[derive(Debug)]
pub struct Resident {
    /// The tracker.
    pub tracker: Tracker,
    /// The rows, each with the number of its session, in an order that is not that in which they were tracked.
    pub rows: Vec<(Row, usize)>,
    /// The sessions, of [`SESSION_ENTRIES`] each.
    pub sessions: Vec<Session>,
}

impl Resident {
    /// Tracks the rows of a shape in a tracker with the default configuration.
    ///
    /// # Panics
    /// If the tracker refuses.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self::with_config(shape, Config::default())
    }

    /// Tracks the rows of a shape.
    ///
    /// # Panics
    /// If the tracker refuses.
    #[must_use]
    pub fn with_config(shape: Shape, config: Config) -> Self {
        let tracker = config.build().expect("the benchmark's configuration is valid");
        let (mut rows, mut sessions) = (Vec::with_capacity(shape.entries), Vec::new());
        for part in shape.resident().chunks(SESSION_ENTRIES) {
            let session = tracker.session();
            for row in part {
                session.track(row.topic, row.key, row.meta).expect("the limits are far");
            }
            rows.extend(part.iter().map(|&row| (row, sessions.len())));
            sessions.push(session);
        }
        shuffle(&mut rows);
        Self { tracker, rows, sessions }
    }
}
