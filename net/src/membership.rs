//! What a node knows of the others, and of itself among them.

use crate::core::MemberState;
use crate::error::StopReason;
use headcount::{Incarnation, NodeId};
use std::net::SocketAddr;
use std::time::Duration;

/// Another node of the cluster, as this one hears it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Whether it is heard.
    pub state: MemberState,
    /// Whether this node has everything that it is known to have said.
    pub synced: bool,
    /// Where its datagrams come from.
    pub addr: SocketAddr,
    /// How long ago it was heard last.
    pub heard_age: Duration,
    /// How many lanes (shards) it has.
    pub lanes: u16,
}

/// Where a node is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Status {
    /// A member.
    Running,
    /// It has left, as it was asked to.
    Left,
    /// It stopped by itself. Its view of other nodes is empty; its own entries are not seen by others.
    Stopped(StopReason),
}

/// How far a node's view can be trusted at present.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Health {
    /// How much longer than configured this node bears the silence of others before it holds them for suspect or down, because its own
    /// turns come late or its own buffers overflow: 1.0 if it is well, 2.0 at most.
    pub patience: f64,
    /// For how long most other nodes have been out of hearing, if they fell silent at once.
    pub stale_since: Option<Duration>,
}
