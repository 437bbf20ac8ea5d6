//! What is said of a run.

use crate::stats::NetStats;
use std::fmt;
use std::time::Duration;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what went wrong in a run.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Faults {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Faults {
            /// Every kind with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

faults! {
    /// Processes killed.
    crashes,
    /// Of these, ones that started again where nobody could tell them of their past: their epoch went back.
    regressed,
    /// Processes that left gracefully.
    leaves,
    /// Of these, ones whose entries were to stay listed for a while.
    handovers,
    /// Processes stopped for a while.
    pauses,
    /// Processes started under the name of another that lived.
    twins,
    /// Processes that stopped because another spoke under their name.
    twins_stopped,
    /// Nodes whose turns come late all the time.
    laggards,
    /// Splits in two halves, isolations included.
    splits,
    /// Links that passed one way only.
    one_way,
    /// Links that passed nothing, while the others passed everything.
    parted,
    /// Times that a receive buffer was full.
    bursts,
    /// Times that a send buffer was full.
    chokes,
    /// Datagrams not sent because of that.
    unsent,
    /// Times that multicasts did not reach a host.
    pruned,
    /// Datagram copies lost, in the network or in a full receive buffer.
    lost,
    /// Datagram copies that a split or a one-way link kept back.
    blocked,
    /// Multicasts lost to everybody.
    lost_to_all,
    /// Datagrams that came twice.
    duplicated,
    /// Datagrams held up for 50 ms and more.
    late,
    /// Datagrams with a bit turned.
    flipped,
    /// Datagrams cut short.
    truncated,
    /// Datagrams with something behind their end, most of them larger than any may be.
    oversized,
    /// Datagrams of random bytes.
    garbage,
    /// Captures played again, out of lives that may be over.
    replayed,
    /// Nodes of a later version.
    later,
    /// Nodes of an older version.
    older,
    /// Frames in datagrams that the receiver's version does not know and skips.
    unknown_frames,
    /// Datagrams with a frame that is not known and must not be skipped.
    critical_frames,
    /// Frames that an older node does not say, or skips.
    frames_not_known,
    /// Times that a node spoke another wire version for a while.
    estranged,
    /// Datagrams of another wire version.
    foreign_versions,
    /// Streams broken, by a split or without a reason.
    streams_broken,
    /// Pieces of streams with a bit turned.
    streams_damaged,
    /// Times that all nodes went over to the next key while they worked.
    rotations,
}

/// What a run that kept every invariant was like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Times that a core was given something to handle.
    pub steps: u64,
    /// Operations of the applications.
    pub operations: u64,
    /// What went wrong.
    pub faults: Faults,
    /// How long after the faults all nodes agreed.
    pub converged_after: Duration,
    /// Virtual time in all.
    pub time: Duration,
    /// Barriers that were reached.
    pub barriers_reached: u64,
    /// Answers that barriers waited for in vain.
    pub barriers_missed: u64,
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// The nodes' numbers at the end, summed over the processes that lived then.
    pub stats: NetStats,
}

/// A broken invariant.
#[derive(Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The seed that shows it again.
    pub seed: u64,
    /// Which, by its number in section 9 of the protocol, or in a word. See also [`Violation::NOT_CONVERGED`].
    pub invariant: &'static str,
    /// Virtual time.
    pub at: Duration,
    /// How many steps came before.
    pub step: u64,
    /// What is wrong.
    pub what: String,
    /// What happened just before, a line each.
    pub tail: String,
}

impl Violation {
    /// The faults had stopped, and the nodes did not agree in time: the part of invariant 7 that is told apart.
    pub const NOT_CONVERGED: &str = "not converged";

    /// Whether nothing wrong was seen, but agreement did not come.
    #[must_use]
    pub fn is_not_converged(&self) -> bool {
        self.invariant == Self::NOT_CONVERGED
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, invariant, at, step, what, tail } = self;
        if self.is_not_converged() {
            write!(f, "seed {seed}: not converged at {at:?}, step {step}: {what}\n{tail}")
        } else {
            write!(f, "seed {seed}: invariant {invariant} broken at {at:?}, step {step}: {what}\n{tail}")
        }
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}
