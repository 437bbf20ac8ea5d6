//! Replicates a [`headcount::Tracker`] between nodes: one view of who is present, with no server in the middle.
//!
//! Every node says what its own sessions do, in sealed UDP datagrams to a multicast group, or to each other node where there is no
//! multicast ([`Config::peers`]); every other node hears it, asks again for
//! what was lost, and fetches whole lanes over TCP when it is new or far behind. A node that falls silent is suspect after half a
//! second and down after two, unless others still hear it: its entries leave everywhere, and come back with the same refs if it does.
//!
//! ```no_run
//! use headcount::Tracker;
//!
//! let tracker = Tracker::new();
//! let cluster = headcount_net::Config::new("chat").node("web-1").join(&tracker)?;
//!
//! let session = tracker.session();
//! session.track("room:42", "alice", "typing")?; // seen on every node, within milliseconds
//! for member in cluster.members() {
//!     println!("{} heard {:?} ago", member.name, member.heard_age);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without a named interface everything stays on the loopback interface (time to live 0). Anywhere else a cluster needs a key that all
//! of its nodes have ([`Keys`]): then every datagram and stream is encrypted and authenticated, and what is not the cluster's changes
//! nothing. [`Config::insecure`] is the way to do without.

/// Whether a bug is planted; in a build without the simulator, the literal `false`.
#[cfg(any(test, feature = "sim"))]
macro_rules! planted {
    ($mutant:ident) => {
        $crate::sim::is_planted($crate::sim::Mutant::$mutant)
    };
}
#[cfg(not(any(test, feature = "sim")))]
macro_rules! planted {
    ($mutant:ident) => {
        false
    };
}

mod cluster;
pub mod codec;
mod config;
mod core;
mod crypto;
mod driver;
mod error;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod hostile;
mod keys;
mod network;
mod shown;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stats;
mod timing;
mod wire;

pub use cluster::{Cluster, Health, Member, Status};
pub use config::{Config, DatagramSize, Interface};
pub use core::{MemberState, Notice};
#[cfg(feature = "faults")]
pub use driver::{FaultCounts, SocketFaults};
pub use error::{BarrierError, ConfigError, JoinError, StopReason};
pub use keys::{KeyError, KeyText, Keys};
pub use network::Network;
pub use stats::NetStats;

/// The README's embedding example, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
