//! Why a cluster cannot be joined, or was left.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why a [`Config`](crate::Config) was refused. Nothing was opened and the tracker is as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A time is outside its bounds, some of which depend on other times.
    #[error("{field} is {value:?}, it must be within {min:?}..={max:?}")]
    Time {
        /// The name of the field.
        field: &'static str,
        /// The value given.
        value: Duration,
        /// The least value allowed.
        min: Duration,
        /// The greatest value allowed.
        max: Duration,
    },
    /// A name is empty or too long.
    #[error("{field} is {len} bytes long, it must be within 1..={max}")]
    Name {
        /// `"cluster"` or `"node"`.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The group's address is not a multicast address, or its port is 0.
    #[error("multicast group {group} is not usable: {why}")]
    Group {
        /// The address given.
        group: SocketAddr,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Traffic would leave this host in clear, which has to be asked for.
    #[error(
        "interface {interface} is not the loopback and there are no keys: set `keys`, or `insecure` to do without"
    )]
    Insecure {
        /// The interface, or the address to bind.
        interface: String,
    },
    /// A number is outside its bounds.
    #[error("{field} is {value}, it must be within {min}..={max}")]
    Number {
        /// The name of the field.
        field: &'static str,
        /// The value given.
        value: usize,
        /// The least value allowed.
        min: usize,
        /// The greatest value allowed.
        max: usize,
    },
    /// A peer is not `host:port`.
    #[error("peer {peer:?} is not usable: {why}")]
    Peer {
        /// What was given.
        peer: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The address to be reached at cannot be one.
    #[error("address {addr} to bind is not usable: {why}")]
    Bind {
        /// What was given.
        addr: SocketAddr,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry at the tracker's limits does not fit one datagram.
    #[error(
        "the tracker allows topic_len_max {topic} + key_len_max {key} + meta_len_max {meta} bytes: such an entry takes \
         {len} bytes of a datagram that has room for {max}"
    )]
    EntryTooLong {
        /// The tracker's longest topic.
        topic: usize,
        /// The tracker's longest key.
        key: usize,
        /// The tracker's longest meta.
        meta: usize,
        /// What such an entry takes.
        len: usize,
        /// What there is.
        max: usize,
    },
}

/// Why a cluster was not joined. The tracker is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with its addresses.
        what: String,
        /// Its answer.
        source: std::io::Error,
    },
    /// The tracker is a member of a cluster already. A tracker has one at a time.
    #[error("the tracker is a member of a cluster already")]
    AlreadyJoined,
    /// The node could not go on; see the reason.
    #[error(transparent)]
    Stopped(StopReason),
    /// The admin socket cannot be had.
    #[cfg(all(unix, feature = "admin"))]
    #[error(transparent)]
    Admin(#[from] crate::admin::AdminError),
    /// The file that keeps this node's epoch cannot be used. It is as it was.
    #[error("epoch_file {}: {why}", .path.display())]
    EpochFile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a barrier was not reached. What was written stays written, and reaches the others when it can.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// These nodes, by name, did not say in time that they have everything.
    #[error("not every node has said in time that it has everything: {}", .missing.join(", "))]
    TimedOut {
        /// Their names, by id.
        missing: Vec<String>,
    },
    /// This node is not a member: it has left, is leaving or has stopped.
    #[error("this node is not a member of the cluster")]
    NotAMember,
    /// As many barriers as can be are under way.
    #[error("too many barriers are under way")]
    TooMany,
}

/// Why a node stopped by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// Another live process speaks as this node. One of the two stops; this one did.
    DuplicateNode {
        /// The node's name.
        name: String,
        /// Where the other one sends from.
        other: SocketAddr,
    },
    /// The network thread failed: the operating system's answer.
    Driver(String),
    /// The epoch of a life that was to begin could not be written down, so it did not begin.
    EpochNotKept {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        why: String,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateNode { name, other } => {
                write!(
                    f,
                    "another process runs as node {name:?}, from {other}: give each node a name of its own"
                )
            }
            Self::EpochNotKept { path, why } => {
                write!(f, "epoch_file {}: the epoch could not be written: {why}", path.display())
            }
            Self::Driver(what) => write!(f, "the network thread failed: {what}"),
        }
    }
}

impl std::error::Error for StopReason {}
