//! What the command line asks for.

use super::contestants::{Orswot, Ours, Peer};
use super::data::Data;
use super::longest::{self, LongestWrites};
use super::memory;
use super::report::MemoryFigure;
use super::stats::OURS;
use super::turns::{Contestant, load};
use crate::peers::{DashFlat, LockedFlat, MutexFlat, PapayaFlat, SccFlat};
use crate::{Shape, TOPIC_MEMBERS};
use clap::Parser;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::Duration;
use thiserror::Error;

/// Entries that all contestants together can hold in some 10 GB.
const ENTRIES_MAX: usize = 4_000_000;
/// Large allocations that sort what a turn can have freed.
const SETTLE: usize = 200;
/// Entries below which `--quick` is quicker still.
const SMALL: usize = 10_000;

/// Measures headcount beside plain concurrent maps and an ORSWOT, turn by turn in one process.
///
/// Compare the ratios: below 1, headcount is faster than the fastest peer. Times are those of this machine, now.
#[derive(Parser, Clone, Debug)]
#[command(name = "compare")]
pub(crate) struct Args {
    /// Entries that are resident while the rest is measured.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) entries: usize,
    /// Fewer rounds of fewer operations.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of each operation; the medians are reported [default: 7, with --quick 5].
    #[arg(long)]
    pub(crate) rounds: Option<usize>,
    /// The order of the keys and of the operations follows from it.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// One JSON object instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Only what has this in its name: an operation, `longest_write`, `tail` or `memory`.
    #[arg(long, value_name = "SUBSTRING")]
    pub(crate) only: Option<String>,
    /// Only these peers, by name or by the name's first word.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) peers: Vec<String>,
    /// No second run with huge pages asked of malloc.
    #[arg(long)]
    pub(crate) no_huge: bool,
    /// What this process is to do for the one that started it.
    #[arg(long, hide = true)]
    pub(crate) child: Option<String>,
}

/// Why there is nothing to report.
#[derive(Debug, Error)]
pub(crate) enum CompareError {
    #[error("--{flag} is {value}, it must be {limit}")]
    Flag { flag: &'static str, value: String, limit: String },
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the process for {task} ended without a result: {status}")]
    Child { task: String, status: String },
    #[error("the result of the process for {task} cannot be read: {error}")]
    ChildResult { task: String, error: serde_json::Error },
    #[error("{path} does not say {what}")]
    Proc { path: &'static str, what: &'static str },
}

/// Somebody who takes part in the single-process comparison.
#[derive(Clone, Copy)]
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    /// Its readers lock something that writers lock too, for many keys.
    pub(crate) locked: bool,
    pub(crate) load: fn(&Data) -> Box<dyn Contestant>,
    pub(crate) longest: fn(&Plan) -> LongestWrites,
    pub(crate) memory: fn(Shape) -> Result<MemoryFigure, CompareError>,
}

macro_rules! entrant {
    ($store:ty, locked: $locked:expr) => {
        Entrant {
            name: <$store as super::store::Store>::NAME,
            locked: $locked,
            load: load::<$store>,
            longest: longest::of::<$store>,
            memory: memory::of::<$store>,
        }
    };
}

/// The tracker first, then the concurrent maps.
const ENTRANTS: [Entrant; 6] = [
    entrant!(Ours, locked: false),
    entrant!(Peer<LockedFlat>, locked: true),
    entrant!(Peer<DashFlat>, locked: true),
    entrant!(Peer<PapayaFlat>, locked: false),
    entrant!(Peer<SccFlat>, locked: false),
    entrant!(Peer<MutexFlat>, locked: true),
];

/// The peer of what replicates.
pub(crate) const ORSWOT: Entrant = entrant!(Orswot, locked: false);

/// The run, with every limit checked.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) args: Args,
    pub(crate) shape: Shape,
    pub(crate) rounds: usize,
    /// Operations of one turn.
    pub(crate) operations: usize,
    pub(crate) tail: Duration,
    /// The tracker, and the maps that take part.
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) orswot: bool,
}

impl Plan {
    pub(crate) fn new(args: Args) -> Result<Self, CompareError> {
        let quick = args.quick;
        within("entries", args.entries, 1_000, ENTRIES_MAX)?;
        let rounds = args.rounds.unwrap_or(if quick { 5 } else { 7 });
        within("rounds", rounds, 1, 1_000)?;
        let picked = |name: &str| {
            let word = name.split('_').next();
            let asked = |asked: &String| asked == name || Some(asked.as_str()) == word;
            args.peers.is_empty() || args.peers.iter().any(asked)
        };
        for asked in &args.peers {
            let known = || ENTRANTS[1..].iter().chain([&ORSWOT]).map(|entrant| entrant.name);
            if !known().any(|name| name == asked || name.split('_').next() == Some(asked)) {
                let limit = format!("among {}", known().collect::<Vec<_>>().join(", "));
                return Err(CompareError::Flag { flag: "peers", value: format!("{asked:?}"), limit });
            }
        }
        let entrants =
            ENTRANTS.into_iter().filter(|entrant| entrant.name == OURS || picked(entrant.name)).collect();
        Ok(Self {
            shape: Shape { entries: args.entries, topic_members: TOPIC_MEMBERS },
            rounds,
            operations: args.entries.min(if quick { 50_000 } else { 200_000 }),
            // With few entries somebody tries whether it runs.
            tail: Duration::from_millis(match quick {
                true if args.entries < SMALL => 100,
                true => 500,
                false => 2_000,
            }),
            entrants,
            orswot: picked(ORSWOT.name),
            args,
        })
    }

    /// Whether `--only` leaves this operation in.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.args.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    pub(crate) fn wants_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    /// The order of a round: everybody comes first in turn, and finds the allocator settled.
    pub(crate) fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
        (0..count).map(move |turn| {
            settle();
            (turn + round) % count.max(1)
        })
    }
}

fn within(flag: &'static str, value: usize, min: usize, max: usize) -> Result<(), CompareError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(CompareError::Flag { flag, value: value.to_string(), limit: format!("within {min}..={max}") })
}

/// Has `malloc` sort what was freed. glibc leaves that to the next large allocation, ten thousand pieces at a time: a
/// contestant would pay for those that another one freed before.
fn settle() {
    for _ in 0..SETTLE {
        drop(black_box(Vec::<u8>::with_capacity(64 << 10)));
    }
}

/// Tells a person who waits what is going on.
pub(crate) fn progress(what: &str) {
    // Nobody may be there to read it, which is no reason to stop.
    let _unread = writeln!(io::stderr(), "compare: {what}");
}
