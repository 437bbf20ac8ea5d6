//! The engine against a naive oracle: several replicas, random operations, and everything that a network does to what they say.
//!
//! The oracle of a node is a plain map of what its sessions track (`owner.rs`) and, for each of its lanes, the list of all
//! its operations (`history.rs`). After every step, at the node that it touched (`check.rs`):
//!
//! * **Own view.** What is listed of this node's sessions is the model, and each lane's clock, count and digest are those of
//!   its history.
//! * **Remote lanes.** Write `H(c)` for the owner's live entries after its operation `c`. A lane that is held clean at clock
//!   `c` is exactly `H(c)`, if deltas are always told up to the owner's clock of the moment. If they are cut anywhere
//!   ([`Faults::cuts`]), they say nothing of versions that were gone when they were told, so at a clock in between:
//!   an entry held is one of `H(c)`, at that version or at an earlier one that a later one has replaced; and an entry whose
//!   version in `H(c)` still lives at its owner is held at that version. At the owner's clock this means equality.
//! * **No resurrection.** No entry is held, clean or not, whose removal is at or below the clock held.
//! * **No flicker.** A remote entry leaves only if its owner removed it, or its node is down, gone or replaced; and no version
//!   is ever replaced by an older one.
//! * **Events.** Replaying a subscription gives the view; joins and leaves alternate for each entry, `First` and `Empty` come
//!   with a topic's first and last entry.
//! * **Reads.** Lists, pages, counts, gets and topics agree.
//! * **Results.** What each call of the replica's face returns is what the clocks say it must. (With cuts, a delta that was told
//!   before another and arrives after it may find an entry missing that the other left out; then it says so, and a snapshot
//!   mends the lane.)
//!
//! In the end the faults stop, everybody hears everybody, and all views and digests are equal.

#[path = "../common/mod.rs"]
mod common;

mod action;
mod check;
mod cluster;
mod history;
mod owner;
mod relay;
mod transfer;
mod wire;

use action::{Action, actions, mostly_snapshots, nodes};
use cluster::Cluster;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// What the network does beyond losing, repeating and reordering.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Deltas end anywhere, not only at the owner's clock of the moment.
    pub(crate) cuts: bool,
    /// A snapshot may be opened that is older than one that was opened before.
    pub(crate) stale: bool,
}

fn config(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |_| Config::default().cases);
    Config { cases, failure_persistence: None, max_shrink_iters: 50_000, ..Config::default() }
}

fn run(shards: &[usize], actions: &[Action], faults: Faults) {
    let mut cluster = Cluster::new(shards, faults);
    for action in actions {
        cluster.step(action);
    }
    cluster.heal();
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn replicas_follow_the_oracle(shards in nodes(), actions in actions()) {
        run(&shards, &actions, Faults { cuts: false, stale: false });
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn replicas_follow_the_oracle_when_deltas_are_cut_anywhere(shards in nodes(), actions in actions()) {
        run(&shards, &actions, Faults { cuts: true, stale: false });
    }

    #[test]
    fn st18_replicas_follow_the_oracle_when_snapshots_are_stale(shards in nodes(), actions in mostly_snapshots()) {
        run(&shards, &actions, Faults { cuts: false, stale: true });
    }
}
