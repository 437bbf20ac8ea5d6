//! Rules of the protocol left out on purpose, one at a time, to see that the simulator notices.
//!
//! Each is a branch at the place of the rule, in this crate or in the engine, that exists in a build with the simulator only and
//! is taken on a thread only while that thread hunts for that mutant.

use super::{Violation, run};
use headcount::planted::{Bug, plant};
use std::cell::Cell;
use std::fmt;

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

macro_rules! mutants {
    ($($(#[$doc:meta])* $mutant:ident, $name:literal $(, $bug:ident)?;)*) => {
        /// A rule that is left out.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Mutant {
            $($(#[$doc])* $mutant,)*
        }

        impl Mutant {
            /// Every mutant; those that PROTOCOL.md names first.
            pub const ALL: &[Self] = &[$(Self::$mutant),*];

            /// The name, for people and reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$mutant => $name,)*
                }
            }

            /// The engine's part of it.
            fn bug(self) -> Option<Bug> {
                match self {
                    $($(Self::$mutant => Some(Bug::$bug),)?)*
                    _ => None,
                }
            }
        }
    };
}

mutants! {
    /// A delta is applied though the ones in front of it are missing.
    NoGapCheck, "no gap check", NoGapCheck;
    /// The clock of a lane moves with the first chunk of a snapshot.
    PartialAdvances, "context advanced on a partial transfer", PartialAdvances;
    /// A snapshot comes oldest entries first.
    AscendingSnapshot, "ascending snapshot", AscendingSnapshot;
    /// A node that starts again takes the epoch that it had.
    EpochReused, "epoch reuse";
    /// An update does not name the version that it replaces.
    ReplacedNotLogged, "replaced dot not logged", ReplacedNotLogged;
    /// Deltas do not wait for the end of a snapshot.
    DeltaDuringSnapshot, "deltas applied during a snapshot", DeltaDuringSnapshot;
    /// A snapshot is asked for, and taken, from a clock that is not held.
    NoBaseCheck, "no base check", NoBaseCheck;
    /// A lane is relayed, and taken, as of whatever clock.
    RelayWithoutAsOf, "relay without as-of compare", RelayWithoutAsOf;
    /// Digests are compared whatever the lane's clock and condition.
    DigestWhileUnclean, "digest compared while unclean";
    /// A snapshot that breaks off moves the clock as a whole one does.
    AbortAdvances, "context advanced on an aborted transfer", AbortAdvances;
    /// The highest life of a forgotten node is forgotten.
    FenceForgotten, "fences not kept", FenceForgotten;
    /// Readers still see the entries of a node that is down.
    HiddenShown, "hidden shown", HiddenShown;
    /// A cut delta's end is not told whole with the next.
    CutIgnored, "cut-as-of undone", CutIgnored;
    /// A node that stood still blames the others.
    PauseIgnored, "pause rule gone";
    /// Requests for repair are not answered.
    NakIgnored, "NAK ignored";
    /// The offer of a snapshot is not taken.
    OfferIgnored, "offer ignored";
    /// What the ring never held is looked for in it.
    RingCoversHoles, "ring covers holes";
    /// A node that is told of a higher life of itself stays what it is.
    JumpIgnored, "higher life ignored";
    /// A new life goes on with the old session and counts its packets anew.
    SessionKept, "session kept";
    /// Of two processes under one name, none stops.
    TwinsLive, "twins live";
    /// What waits for a missing delta has no bound.
    WaitingUnbounded, "waiting deltas without a bound";
    /// A packet that has come before is taken again.
    PacketsTwice, "packets taken twice";
    /// What was just sent again is sent once more to who asks once more.
    LingerIgnored, "linger ignored";
    /// What is behind a frame that is not known is not read.
    UnknownEnds, "an unknown frame ends the datagram";
    /// A frame that must not be skipped is.
    CriticalSkipped, "critical frames skipped";
    /// A datagram of another wire version is read as one of this.
    VersionIgnored, "wire version ignored";
    /// What is sent again is sealed anew, under another number.
    RepairResealed, "repair with other bytes";
}

/// How many of [`Mutant::ALL`], from its beginning, PROTOCOL.md names.
const NAMED: usize = 9;

impl Mutant {
    /// Whether PROTOCOL.md demands that this one is killed.
    #[must_use]
    pub fn is_named(self) -> bool {
        Self::ALL.iter().take(NAMED).any(|&named| named == self)
    }
}

impl Mutant {
    /// The invariants that are there to see it, as [`Violation::invariant`] names them. Empty: whichever does. A mutant that PROTOCOL.md
    /// names is not dead because something else has stumbled over it.
    #[must_use]
    pub fn seen_by(self) -> &'static [&'static str] {
        match self {
            // A lane is not its owner's history at its clock.
            Self::NoGapCheck | Self::NoBaseCheck | Self::DigestWhileUnclean => &["1"],
            // The same, or what was removed meanwhile is held on.
            Self::PartialAdvances | Self::DeltaDuringSnapshot => &["1", "2"],
            // And its clock may go back.
            Self::RelayWithoutAsOf => &["1", "2", "5"],
            // An entry's old version has left before the new one came.
            Self::AscendingSnapshot => &["3"],
            // A life that is not above the one before it.
            Self::EpochReused => &["5"],
            // Versions that their owner never made, and such as it has no more.
            Self::ReplacedNotLogged => &["1", "2", "4"],
            _ => &[],
        }
    }

    fn is_seen_by(self, invariant: &str) -> bool {
        let seen_by = self.seen_by();
        seen_by.is_empty() || seen_by.contains(&invariant)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(crate) fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// A mutant lives on this thread as long as this does.
struct Planted;

impl Planted {
    fn new(mutant: Mutant) -> Self {
        PLANTED.set(Some(mutant));
        plant(mutant.bug());
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
        plant(None);
    }
}

/// Does something in which a mutant lives.
pub(super) fn with<T>(mutant: Mutant, go: impl FnOnce() -> T) -> T {
    let _planted = Planted::new(mutant);
    go()
}

/// What became of a mutant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hunt {
    /// Which.
    pub mutant: Mutant,
    /// Seeds run, the one that killed it included.
    pub seeds: u64,
    /// Steps of all of them together.
    pub steps: u64,
    /// What killed it: the first breach of an invariant that is there to see it.
    pub killed_by: Option<Box<Violation>>,
    /// What other invariants saw of it before. That does not count: the check that is meant to see it may be blind.
    pub strays: Vec<Violation>,
}

/// Runs seeds with a mutant until an invariant of [`Mutant::seen_by`] kills it.
pub fn hunt(mutant: Mutant, seeds: impl IntoIterator<Item = u64>) -> Hunt {
    with(mutant, || {
        let mut hunt = Hunt { mutant, seeds: 0, steps: 0, killed_by: None, strays: Vec::new() };
        for seed in seeds {
            hunt.seeds += 1;
            match run(seed) {
                Ok(report) => hunt.steps += report.steps,
                Err(violation) => {
                    hunt.steps += violation.step;
                    if mutant.is_seen_by(violation.invariant) {
                        hunt.killed_by = Some(violation);
                        break;
                    }
                    hunt.strays.push(*violation);
                }
            }
        }
        hunt
    })
}
