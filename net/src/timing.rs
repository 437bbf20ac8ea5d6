//! The protocol's times.

use std::time::Duration;

/// The protocol's times. The defaults notice a crash after two seconds and cost ten small packets a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timing {
    pub(crate) heartbeat: Duration,
    pub(crate) suspect_after: Duration,
    pub(crate) down_after: Duration,
    /// Silence after which a node is down whatever others say of it.
    pub(crate) down_limit: Duration,
    pub(crate) forget_after: Duration,
    pub(crate) flush_after: Duration,
    /// How long a starting node listens for what is known of it.
    pub(crate) listen: Duration,
    /// How often a node that is down is asked whether it is there.
    pub(crate) probe_every: Duration,
    /// For how long what a node leaves behind is listed at the most, if it asks for that.
    pub(crate) handover_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            suspect_after: Duration::from_millis(500),
            down_after: Duration::from_secs(2),
            down_limit: Duration::from_secs(6),
            forget_after: Duration::from_secs(20 * 60),
            flush_after: Duration::from_millis(2),
            listen: Duration::from_millis(300),
            probe_every: Duration::from_secs(5),
            handover_max: Duration::from_secs(60),
        }
    }
}
