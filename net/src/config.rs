//! How to join a cluster: names, addresses, times; all checked before anything is opened.

use crate::cluster::Cluster;
use crate::error::{ConfigError, JoinError};
use crate::keys::Keys;
use crate::wire;
use headcount::{NodeId, Tracker};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Longest cluster name, in bytes.
const CLUSTER_LEN_MAX: usize = 64;

/// Where a node's traffic goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Interface {
    /// The loopback interface, with a time to live of 0: nothing leaves this host.
    #[default]
    Loopback,
    /// The interface that has this address, with a time to live of 1: nothing leaves its network.
    V4(Ipv4Addr),
}

impl Interface {
    pub(crate) fn address(self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::V4(address) => address,
        }
    }

    pub(crate) fn is_loopback(self) -> bool {
        self.address().is_loopback()
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address())
    }
}

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
        }
    }
}

/// How to join a cluster. Every field but the cluster's name has a default; [`join`](Self::join) checks them all.
///
/// ```no_run
/// use headcount::Tracker;
/// use headcount_net::{Config, Interface};
///
/// let tracker = Tracker::new();
/// let cluster = Config::new("chat")
///     .node("web-1")
///     .multicast("239.255.70.70:7070".parse()?, Interface::Loopback)
///     .join(&tracker)?;
/// println!("{:?}", cluster.members());
/// cluster.leave();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) group: SocketAddr,
    pub(crate) interface: Interface,
    pub(crate) insecure: bool,
    pub(crate) timing: Timing,
    pub(crate) keys: Option<Keys>,
}

impl Config {
    /// A configuration for the cluster of that name (1 to 64 bytes). Nodes of clusters with different names do not hear each
    /// other, on the same group too.
    #[must_use]
    pub fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            node: format!("node-{}", std::process::id()),
            group: SocketAddr::from(([239, 255, 70, 70], 7070)),
            interface: Interface::Loopback,
            insecure: false,
            timing: Timing::default(),
            keys: None,
        }
    }

    /// The node's name, 1 to 64 bytes: who it is, through restarts. Two live nodes must not share it. Default: `node-` and the
    /// process id.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = name.into();
        self
    }

    /// The multicast group and port, and the interface. Default: 239.255.70.70:7070 on the loopback.
    #[must_use]
    pub fn multicast(mut self, group: SocketAddr, interface: Interface) -> Self {
        self.group = group;
        self.interface = interface;
        self
    }

    /// The cluster's keys: datagrams and snapshots are sealed with them, and nothing that is not is taken. Every node of the cluster
    /// needs them. Default: none, which is allowed on the loopback interface alone.
    #[must_use]
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Allows an interface other than the loopback without keys: everybody on that network can then read and forge presence.
    /// Default: false.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// How often a node says that it is there, give or take a tenth. Default 100 ms; 10 ms to 10 s.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.timing.heartbeat = every;
        self
    }

    /// Silence after which a node is suspect: still listed, its age visible. Default 500 ms; from two heartbeats to one hour.
    #[must_use]
    pub fn suspect_after(mut self, silence: Duration) -> Self {
        self.timing.suspect_after = silence;
        self
    }

    /// Silence after which a node is down, if nobody else has heard it meanwhile either: its entries leave, and are kept in case it
    /// returns. Default 2 s; from `suspect_after` to `down_limit`.
    #[must_use]
    pub fn down_after(mut self, silence: Duration) -> Self {
        self.timing.down_after = silence;
        self
    }

    /// Silence after which a node is down though others still hear it, or though most nodes fell silent at once, which looks like
    /// this node's own fault. Default 6 s; from `down_after` to one day.
    #[must_use]
    pub fn down_limit(mut self, silence: Duration) -> Self {
        self.timing.down_limit = silence;
        self
    }

    /// Silence after which a node is forgotten and its entries dropped. Default 20 min; from `down_limit` to 30 days.
    #[must_use]
    pub fn forget_after(mut self, silence: Duration) -> Self {
        self.timing.forget_after = silence;
        self
    }

    /// How long changes are gathered before they are sent, when the last were sent less than 1 ms ago; else they are sent at once.
    /// Default 2 ms; 100 µs to one heartbeat.
    #[must_use]
    pub fn flush_after(mut self, wait: Duration) -> Self {
        self.timing.flush_after = wait;
        self
    }

    /// Joins: opens the sockets, listens for 300 ms for what the cluster knows of this node's earlier lives, and goes live. The
    /// entries that the tracker has are announced, those of other nodes begin to arrive.
    ///
    /// # Errors
    /// [`JoinError`]; the tracker is as it was.
    pub fn join(self, tracker: &Tracker) -> Result<Cluster, JoinError> {
        self.check(tracker)?;
        Cluster::start(self, tracker)
    }

    pub(crate) fn check(&self, tracker: &Tracker) -> Result<(), ConfigError> {
        for (field, name, max) in
            [("cluster", &self.cluster, CLUSTER_LEN_MAX), ("node", &self.node, wire::NAME_LEN_MAX)]
        {
            if name.is_empty() || name.len() > max {
                return Err(ConfigError::Name { field, len: name.len(), max });
            }
        }
        let group = self.group;
        match group.ip() {
            IpAddr::V6(_) => {
                return Err(ConfigError::Group { group, why: "IPv6 groups are not supported yet" });
            }
            ip if !ip.is_multicast() => {
                return Err(ConfigError::Group { group, why: "it is not within 224.0.0.0/4" });
            }
            _ if group.port() == 0 => return Err(ConfigError::Group { group, why: "its port is 0" }),
            _ => {}
        }
        if !self.interface.is_loopback() && self.keys.is_none() && !self.insecure {
            return Err(ConfigError::Insecure { interface: self.interface.address().into() });
        }
        self.check_times()?;
        let [topic, key, meta] = tracker.config().len_limits();
        let (len, max) = (wire::op_len_max(topic, key, meta), wire::BODY_MAX);
        if len > max {
            return Err(ConfigError::EntryTooLong { topic, key, meta, len, max });
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        const S: fn(u64) -> Duration = Duration::from_secs;
        let Timing { heartbeat, suspect_after, down_after, down_limit, forget_after, flush_after, .. } =
            self.timing;
        for (field, value, min, max) in [
            ("heartbeat", heartbeat, MS(10), S(10)),
            ("suspect_after", suspect_after, heartbeat.saturating_mul(2), S(3600)),
            ("down_after", down_after, suspect_after, S(24 * 3600)),
            ("down_limit", down_limit, down_after, S(24 * 3600)),
            ("forget_after", forget_after, down_limit, S(30 * 24 * 3600)),
            ("flush_after", flush_after, Duration::from_micros(100), heartbeat),
        ] {
            if value < min || value > max {
                return Err(ConfigError::Time { field, value, min, max });
            }
        }
        Ok(())
    }

    pub(crate) fn cluster_id(&self) -> u32 {
        // The same hash as a node's name: any well-mixed 32 bits do.
        NodeId::from_name(&self.cluster).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: Config) -> String {
        config.check(&Tracker::new()).expect_err("must be refused").to_string()
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let group = |text: &str| Config::new("c").multicast(text.parse().unwrap(), Interface::Loopback);
        assert!(refusal(Config::new("")).starts_with("cluster is 0 bytes long"));
        assert!(refusal(Config::new("c").node("n".repeat(65))).starts_with("node is 65 bytes long"));
        assert!(refusal(group("10.0.0.1:7070")).contains("10.0.0.1:7070 is not usable: it is not within"));
        assert!(refusal(group("239.255.0.1:0")).contains("its port is 0"));
        assert!(refusal(group("[ff15::1]:7070")).contains("IPv6"));
        let lan = Interface::V4(Ipv4Addr::new(192, 0, 2, 1));
        let open = Config::new("c").multicast(SocketAddr::from(([239, 255, 0, 1], 7070)), lan);
        assert!(refusal(open.clone()).contains("192.0.2.1 is not the loopback"));
        let keys = Keys::parse(Keys::generate(1).unwrap().expose()).unwrap();
        assert_eq!(open.clone().keys(keys).check(&Tracker::new()), Ok(()));
        assert_eq!(open.insecure(true).check(&Tracker::new()), Ok(()));
        let times = Config::new("c").heartbeat(Duration::from_secs(1));
        assert!(refusal(times).starts_with("suspect_after is 500ms, it must be within 2s..="));
        let times = Config::new("c").down_after(Duration::from_millis(400));
        assert!(refusal(times).starts_with("down_after is 400ms, it must be within 500ms..="));
        let times = Config::new("c").down_after(Duration::from_secs(8));
        assert!(refusal(times).starts_with("down_limit is 6s, it must be within 8s..="));
        let times = Config::new("c").forget_after(Duration::from_secs(5));
        assert!(refusal(times).starts_with("forget_after is 5s, it must be within 6s..="));
    }

    #[test]
    fn the_defaults_are_valid_and_an_entry_at_the_limits_fits_a_datagram() {
        assert_eq!(Config::new("c").check(&Tracker::new()), Ok(()));
        let roomy = headcount::Config::default().meta_len_max(4096).build().unwrap();
        let refused = Config::new("c").check(&roomy).unwrap_err();
        assert!(matches!(refused, ConfigError::EntryTooLong { meta: 4096, max: wire::BODY_MAX, .. }));
    }
}
