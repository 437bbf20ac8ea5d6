//! What a node knows about its way to the others.

use std::time::Duration;

/// A node's way to the others, as of its last activity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Network {
    /// Datagrams for all go to a multicast group; if not, to each node by itself.
    pub multicast: bool,
    /// How long no member has been heard by multicast while members answer by unicast: a switch does not pass the group on. `None`
    /// if the group works.
    pub fallback: Option<Duration>,
    /// How many nodes get a copy of their own of each datagram for all.
    pub copies: usize,
    /// Bytes of receive buffer asked for.
    pub receive_buffer_asked: u64,
    /// Bytes of receive buffer that the system granted: if they are fewer, bursts may be lost and repaired.
    pub receive_buffer: u64,
    /// Datagrams that found it full.
    pub receive_drops: u64,
}
