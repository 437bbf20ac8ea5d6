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
//!
//! # Tracing
//!
//! With the feature `tracing` a node tells a subscriber of the crate [`tracing`](https://docs.rs/tracing) what happens at its edges; nothing is told per operation
//! or per datagram, and without the feature there is no code for it. Everything is inside a span `headcount` (`node`, `cluster`, `id`) on the
//! network thread, which uses the subscriber that was the default where the node was joined: set it before.
//!
//! | target `headcount_net::…` | level | event | fields |
//! |---|---|---|---|
//! | `membership` | info | `joined` | `incarnation` |
//! | | info | `member met`, `member up`, `member up, heard by others only`, `member suspect`, `member leaving, its entries stay for a while`, `member left`, `member forgotten` | `peer` (its name), `id`, `incarnation` |
//! | | warn | `member down`; `member dropped, to be met anew` | the same |
//! | | info | `member replaced by its next life` | the same and `by`, the incarnation of that |
//! | | warn | `member quarantined: its frames made this node panic` | the same |
//! | | warn | `incarnation raised: a peer knew a higher one` | `known`, `incarnation` |
//! | | info | `left` | |
//! | | error | `stopped: duplicate node` (with `other`, its address), `stopped` | `reason` |
//! | `keys` | info | `keys installed`; `key in use`, `key removed` | `epochs`; `epoch` |
//! | `health` | warn, info | `isolated: …`, `isolation over`; `fallback to unicast: …`, `fallback over` | |
//! | | warn | `receive buffer smaller than asked for` | `asked`, `granted`, in bytes |
//! | | warn | `this node stood still` | `count`, `longest_ms` |
//! | | warn | `trouble` | those of `send_errors`, `receive_errors`, `receive_drops`, `refused_operations`, `refused_nodes`, `lookups_failed` that grew: by how much |
//! | | warn | `datagrams refused` | those of `malformed`, `foreign`, `no_key`, `auth_failed`, `replayed`, `over_budget` that grew: by how much |
//! | | warn | `events untold` | `count`: more happened within a turn than is kept |
//! | `snapshot` | debug | span `snapshot`, from the request to the end of a transfer | `peer`, `owner` (whose lanes they are), `lanes` (asked for), `direction` (`given` or `taken`); at the end `bytes`, `outcome` |
//! | | debug | `snapshot over`, in that span | `peer`, `lanes` (that came), `bytes`, `took_ms`, `outcome`: `complete`, `put off`, `failed`, `stalled`, `not needed`, `broken off` |
//! | | trace | `lane taken`, in that span | `lane`, `kind` |
//! | `repair` | debug | `gaps`: what was missing of a member, told when its gaps begin or end | `peer`, `id`, `noticed`, `closed`, `open`, `longest_ms` and `lane` of the longest that closed |
//! | | warn | `digest mismatch: a snapshot mends it` | `peer`, `id`, `count`, `lane` |
//!
//! Info is what a log of a quiet day should have, warn what somebody may have to look at, error the end of the node. What can come in a storm (`gaps`, `digest
//! mismatch`, `this node stood still`, `trouble`, `datagrams refused`) is summed up and told once a second at most, of each member. A
//! panic of the network thread is not told; it is the [`Status`].

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

#[macro_use]
mod trace;

#[cfg(all(unix, feature = "admin"))]
pub mod admin;
mod cluster;
pub mod codec;
mod config;
mod core;
mod crypto;
mod driver;
mod error;
mod eviction;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod hostile;
mod key_change;
mod keys;
mod membership;
mod network;
mod shown;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod stats;
mod timing;
mod wire;

pub use cluster::Cluster;
pub use config::{Config, DatagramSize, Interface};
pub use core::{MemberState, Notice};
#[cfg(feature = "faults")]
pub use driver::{FaultCounts, SocketFaults};
pub use error::{BarrierError, ConfigError, JoinError, StopReason};
pub use eviction::{EvictError, Eviction};
pub use keys::{KeyError, KeyText, Keys};
pub use membership::{Health, Member, Status};
pub use network::Network;
pub use stats::NetStats;

/// The README's embedding example, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
