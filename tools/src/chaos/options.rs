//! The options of the `chaos` lab.

use super::lab::LabId;
use super::scenario::{self, Scenario};
use crate::error::Error;
use crate::node;
use crate::number::within;
use clap::{Parser, Subcommand};
#[cfg(feature = "faults")]
use headcount_net::SocketFaults;
use std::process::ExitCode;
#[cfg(feature = "faults")]
use std::time::Duration;

/// Real nodes, each a process in a network of its own making, while links lose, are cut and are mended
#[derive(Debug, Parser)]
#[command(name = "chaos", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) args: Args,
    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

/// What the lab starts itself for.
#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// A node, exactly as `headcount node` is one
    #[command(hide = true)]
    Node(Box<LabNode>),
    /// Waits for the end of its standard input, then removes what is left of a lab
    #[command(hide = true)]
    Keeper {
        /// The process that made the lab, and when it started
        lab: LabId,
    },
}

/// A node of the lab.
#[derive(Debug, clap::Args)]
pub(crate) struct LabNode {
    #[command(flatten)]
    node: node::Args,

    /// Hold up, reorder and double what arrives, as drawn from this seed
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "SEED")]
    disorder: Option<u64>,
}

impl LabNode {
    pub(crate) fn run(&self) -> Result<ExitCode, Error> {
        #[cfg(feature = "faults")]
        if let Some(seed) = self.disorder {
            return node::run_with(&self.node, |config| config.faults(disorder(seed)));
        }
        node::run(&self.node)
    }
}

/// What [`Link::disturb`](super::links::Link::disturb) asks of netem, at the other end of the link.
#[cfg(feature = "faults")]
fn disorder(seed: u64) -> SocketFaults {
    let [least, most] = [10, 30].map(Duration::from_millis);
    SocketFaults::new(seed).delay(least, most).overtake(250).duplicate(50)
}

/// What is to be done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run this scenario; may be given several times [default: all of them]
    #[arg(long, value_name = "NAME", value_parser = scenario::by_name)]
    pub(crate) scenario: Vec<&'static Scenario>,

    /// Tell what scenarios there are, and end
    #[arg(long)]
    pub(crate) list: bool,

    /// Nodes, each a process: 3 to 32
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = within::<3, 32>)]
    pub(crate) nodes: usize,

    /// How long a fault or a load lasts, 1 to 86400 seconds [default: as --list tells]
    #[arg(long, value_name = "S", value_parser = within::<1, 86_400>)]
    pub(crate) seconds: Option<usize>,

    /// Changes a second on all nodes together, up to 1,000,000 [default: as --list tells]
    #[arg(long, value_name = "N", value_parser = within::<0, 1_000_000>)]
    pub(crate) rate: Option<usize>,

    /// Print the report as one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
It needs root, `ip` (iproute2) and `nft` (nftables). Every node runs in a network namespace; a bridge
in one more joins them. No link leads out: nothing reaches this machine's own network, and everything
is removed at the end, however that comes. Loss and cuts are rules of nftables in the receiver's
namespace, drawn from the kernel's generator, which takes no seed; what was dropped is counted. Delay,
reordering and duplication are netem's; where the kernel has none, the nodes do it to what they
receive, each from a seed of its own.
The exit status is 0 only if everything is as it should be.";
