//! How to join a cluster: names, addresses, times; all checked before anything is opened.

use crate::cluster::Cluster;
use crate::core::{Mode, SEND_BYTES_PER_S};
use crate::driver::{PeerNames, loopback_index};
use crate::error::{ConfigError, JoinError};
use crate::keys::Keys;
pub(crate) use crate::timing::Timing;
use crate::wire;
use headcount::{NodeId, Tracker};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What is asked of the system for received datagrams; it may grant less.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
const RECEIVE_BUFFER_MIN: usize = 2 * 1024;
const RECEIVE_BUFFER_MAX: usize = 1024 * 1024 * 1024;
/// Enough for what a node has to say with nothing to tell, many times over; and more than any network carries.
const SEND_BUDGET_MIN: usize = 64 * 1024;
const SEND_BUDGET_MAX: usize = 2 * 1024 * 1024 * 1024;
/// Longest cluster name, in bytes.
const CLUSTER_LEN_MAX: usize = 64;

/// Where a node's multicasts go.
///
/// With an IPv6 group the loopback needs a route for groups, which Linux does not make by itself:
/// `ip -6 route add local ff00::/8 dev lo table local`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Interface {
    /// The loopback interface, with a time to live of 0: nothing leaves this host.
    #[default]
    Loopback,
    /// The interface that has this address, for an IPv4 group.
    V4(Ipv4Addr),
    /// The interface of this number (`ip link`), for an IPv6 group.
    V6(u32),
}

impl Interface {
    /// Its address as far as IPv4 is concerned.
    pub(crate) fn v4(self) -> Ipv4Addr {
        match self {
            Self::Loopback => Ipv4Addr::LOCALHOST,
            Self::V4(address) => address,
            Self::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    pub(crate) fn is_loopback(self) -> bool {
        match self {
            Self::Loopback => true,
            Self::V4(address) => address.is_loopback(),
            Self::V6(index) => loopback_index().is_ok_and(|loopback| loopback == index),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("lo"),
            Self::V4(address) => address.fmt(f),
            Self::V6(index) => write!(f, "number {index}"),
        }
    }
}

/// How long datagrams may be. They are never fragmented: a longer one than a link on the way takes is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DatagramSize {
    /// 1200 bytes: with any tunnel around it, that still fits an Ethernet frame.
    #[default]
    Standard,
    /// 1400 bytes, for a plain local network: a sixth fewer datagrams under load.
    Lan,
}

impl DatagramSize {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Standard => wire::DATAGRAM_MAX,
            Self::Lan => 1400,
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
    pub(crate) any_group: bool,
    pub(crate) hops: u8,
    pub(crate) bind: Option<SocketAddr>,
    pub(crate) peers: Vec<String>,
    pub(crate) datagram_size: DatagramSize,
    pub(crate) receive_buffer: usize,
    pub(crate) epoch_file: Option<PathBuf>,
    pub(crate) send_budget: usize,
    #[cfg(feature = "faults")]
    pub(crate) faults: Option<crate::driver::SocketFaults>,
    pub(crate) obey_evictions: bool,
    #[cfg(all(unix, feature = "admin"))]
    pub(crate) admin: Option<crate::admin::Place>,
    /// As behind a switch that passes no multicast on.
    #[cfg(test)]
    pub(crate) deaf_to_group: bool,
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
            any_group: false,
            hops: 1,
            bind: None,
            peers: Vec::new(),
            datagram_size: DatagramSize::default(),
            receive_buffer: RECEIVE_BUFFER,
            epoch_file: None,
            send_budget: SEND_BYTES_PER_S,
            #[cfg(feature = "faults")]
            faults: None,
            obey_evictions: false,
            #[cfg(all(unix, feature = "admin"))]
            admin: None,
            #[cfg(test)]
            deaf_to_group: false,
        }
    }

    /// The node's name, 1 to 64 bytes: who it is, through restarts. Two live nodes must not share it. Default: `node-` and the
    /// process id.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = name.into();
        self
    }

    /// The multicast group and port, and the interface. Default: 239.255.70.70:7070 on the loopback. IPv4 groups are those of an
    /// organisation (239.192.0.0/14) or of a site (239.255.0.0/16), IPv6 groups transient ones of a link (ff12::/16) or of a site
    /// (ff15::/16), unless [`any_group`](Self::any_group) is set.
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

    /// Allows multicast groups that are kept for other purposes, or that routers may pass on to the world. Default: false.
    #[must_use]
    pub fn any_group(mut self, any: bool) -> Self {
        self.any_group = any;
        self
    }

    /// How many routers a multicast may pass, and one more: its time to live (IPv4) or hop limit (IPv6). Default 1, so that nothing
    /// leaves the network; 1 to 255. On the loopback it is 0, whatever is set here.
    #[must_use]
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Addresses to find other nodes at, `host:port` each, where `host` is an address or a name that is looked up now and then:
    /// for networks without multicast. The group is not used then; every datagram goes to each node by itself, which costs a
    /// sender as many datagrams as there are other nodes. The list need not be complete, nor the same everywhere: nodes tell each
    /// other of those that they know. It may name this node as well.
    ///
    /// ```no_run
    /// # use headcount_net::Config;
    /// let config = Config::new("chat")
    ///     .node("web-2")
    ///     .bind("10.0.0.2:7071".parse()?)
    ///     .peers(["10.0.0.1:7071", "seeds.chat.internal:7071"])
    ///     .insecure(true);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn peers<P: Into<String>>(mut self, peers: impl IntoIterator<Item = P>) -> Self {
        self.peers = peers.into_iter().map(Into::into).collect();
        self
    }

    /// The address and port at which other nodes reach this one without multicast, for UDP and TCP. The group is not used then.
    /// Default: with [`peers`](Self::peers), any free port of the loopback, or of the interface named; the nodes that others name
    /// as peers need a port of their own choice.
    #[must_use]
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.bind = Some(addr);
        self
    }

    /// How long datagrams may be. Default: [`DatagramSize::Standard`], 1200 bytes.
    #[must_use]
    pub fn datagram_size(mut self, size: DatagramSize) -> Self {
        self.datagram_size = size;
        self
    }

    /// The receive buffer to ask the system for, in bytes, for each of up to two sockets. Default 8 MiB; 2 KiB to 1 GiB. If less is
    /// granted (`net.core.rmem_max` on Linux), [`Cluster::wait_notice`] says so once.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// A file that keeps the number of this node's lives, made if it is not there: so that a node which starts where nobody hears it is
    /// above its earlier lives all the same. Each node needs one of its own. Default: none; a node asks the others then.
    #[must_use]
    pub fn epoch_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.epoch_file = Some(path.into());
        self
    }

    /// What this node sends in datagrams at most, in bytes a second, every copy counted: changes, and datagrams that others have
    /// missed, which take a quarter of it at most. Default 64 MiB; 64 KiB to 2 GiB. Changes that are over it wait; one that is undone
    /// meanwhile is not told at all. If members drop or lack much of what they are sent, less is sent for a while, down to a sixteenth of this:
    /// see `send_budget` and `send_budget_cuts` in [`NetStats`](crate::NetStats). Snapshots go over TCP and are not counted.
    #[must_use]
    pub fn send_budget(mut self, bytes_per_s: usize) -> Self {
        self.send_budget = bytes_per_s;
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

    /// For how long the entries of a node that leaves stay listed here at the most, if it asks for that
    /// ([`Cluster::leave_with_handover`]). Default 60 s; 0 to one hour.
    #[must_use]
    pub fn handover_max(mut self, time: Duration) -> Self {
        self.timing.handover_max = time;
        self
    }

    /// How long changes are gathered before they are sent, when the last were sent less than 1 ms ago; else they are sent at once.
    /// Default 2 ms; 100 µs to one heartbeat.
    #[must_use]
    pub fn flush_after(mut self, wait: Duration) -> Self {
        self.timing.flush_after = wait;
        self
    }

    /// Trouble for what this node receives. For tests only, with the feature `faults`.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn faults(mut self, faults: crate::driver::SocketFaults) -> Self {
        self.faults = Some(faults);
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
        self.check_addresses()?;
        self.check_times()?;
        let [topic, key, meta] = tracker.config().len_limits();
        let frames_max = self.datagram_size.bytes() - (wire::DATAGRAM_MAX - wire::BODY_MAX);
        let (len, max) = (wire::op_len_max(topic, key, meta), frames_max);
        if len > max {
            return Err(ConfigError::EntryTooLong { topic, key, meta, len, max });
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        for (field, value, min, max) in [
            ("receive_buffer", self.receive_buffer, RECEIVE_BUFFER_MIN, RECEIVE_BUFFER_MAX),
            ("hops", self.hops.into(), 1, 255),
            ("send_budget", self.send_budget, SEND_BUDGET_MIN, SEND_BUDGET_MAX),
        ] {
            if value < min || value > max {
                return Err(ConfigError::Number { field, value, min, max });
            }
        }
        for peer in &self.peers {
            let refused = |why| ConfigError::Peer { peer: peer.clone(), why };
            let (host, port) = peer.rsplit_once(':').ok_or(refused("write host:port"))?;
            if host.is_empty() || host.contains(':') && !host.starts_with('[') {
                return Err(refused("write host:port, and [address]:port for IPv6"));
            }
            if port.parse::<u16>().map_or(0, |port| port) == 0 {
                return Err(refused("its port is not a number from 1 to 65535"));
            }
        }
        if self.is_unicast() {
            let ip = self.bind_addr().ip();
            if ip.is_multicast() {
                return Err(ConfigError::Bind { addr: self.bind_addr(), why: "it is a multicast address" });
            }
            if !ip.is_loopback() && self.keys.is_none() && !self.insecure {
                return Err(ConfigError::Insecure { interface: ip.to_string() });
            }
            return Ok(());
        }
        let group = self.group;
        if let Some(why) = self.why_no_group() {
            return Err(ConfigError::Group { group, why });
        }
        if !self.interface.is_loopback() && self.keys.is_none() && !self.insecure {
            return Err(ConfigError::Insecure { interface: self.interface.to_string() });
        }
        Ok(())
    }

    fn why_no_group(&self) -> Option<&'static str> {
        let ip = self.group.ip();
        let is_private = match ip {
            IpAddr::V4(ip) => matches!(ip.octets(), [239, 192..=195 | 255, ..]),
            IpAddr::V6(ip) => matches!(ip.segments()[0], 0xff12 | 0xff15),
        };
        if !ip.is_multicast() {
            return Some("it is not within 224.0.0.0/4 or ff00::/8");
        }
        if !is_private && !self.any_group {
            return Some(
                "it is not within 239.192.0.0/14, 239.255.0.0/16, ff12::/16 or ff15::/16: set `any_group` to allow that",
            );
        }
        if self.group.port() == 0 {
            return Some("its port is 0");
        }
        match (ip, self.interface) {
            (IpAddr::V4(_), Interface::V6(_)) => Some("it is IPv4 and the interface is named for IPv6"),
            (IpAddr::V6(_), Interface::V4(_)) => Some("it is IPv6 and the interface is named for IPv4"),
            _ => None,
        }
    }

    /// Whether datagrams go to each node by itself.
    pub(crate) fn is_unicast(&self) -> bool {
        self.bind.is_some() || !self.peers.is_empty()
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.is_unicast() { Mode::Unicast } else { Mode::Multicast }
    }

    /// Where this node's own datagrams come from and its TCP port is.
    pub(crate) fn bind_addr(&self) -> SocketAddr {
        if let Some(bind) = self.bind {
            return bind;
        }
        let is_v6 = if self.is_unicast() {
            matches!(self.peers.first().map(|peer| peer.parse()), Some(Ok(SocketAddr::V6(_))))
        } else {
            self.group.is_ipv6()
        };
        let ip = match self.interface {
            Interface::V4(ip) => IpAddr::V4(ip),
            Interface::V6(_) if !self.interface.is_loopback() => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ if is_v6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        SocketAddr::new(ip, 0)
    }

    pub(crate) fn multicast_hops(&self) -> u8 {
        if self.interface.is_loopback() { 0 } else { self.hops }
    }

    pub(crate) fn peer_names(&self) -> PeerNames {
        let mut peers = PeerNames::default();
        for peer in &self.peers {
            match peer.parse() {
                Ok(addr) => peers.addrs.push(addr),
                Err(_) => peers.names.push(peer.clone()),
            }
        }
        peers
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        const S: fn(u64) -> Duration = Duration::from_secs;
        let Timing { heartbeat, suspect_after, down_after, down_limit, forget_after, flush_after, .. } =
            self.timing;
        let handover_max = self.timing.handover_max;
        for (field, value, min, max) in [
            ("heartbeat", heartbeat, MS(10), S(10)),
            ("suspect_after", suspect_after, heartbeat.saturating_mul(2), S(3600)),
            ("down_after", down_after, suspect_after, S(24 * 3600)),
            ("down_limit", down_limit, down_after, S(24 * 3600)),
            ("forget_after", forget_after, down_limit, S(30 * 24 * 3600)),
            ("flush_after", flush_after, Duration::from_micros(100), heartbeat),
            ("handover_max", handover_max, S(0), S(3600)),
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
        assert!(
            refusal(group("10.0.0.1:7070")).contains("10.0.0.1:7070 is not usable: it is not within 224")
        );
        for outside in
            ["224.0.0.1:7070", "239.1.1.1:7070", "239.196.0.1:7070", "[ff02::1]:7070", "[ff05::1]:7070"]
        {
            assert!(refusal(group(outside)).contains("set `any_group`"), "{outside}");
            assert_eq!(group(outside).any_group(true).check(&Tracker::new()), Ok(()), "{outside}");
        }
        for within in
            ["239.192.0.1:7070", "239.195.255.1:1", "239.255.9.9:7070", "[ff12::1]:7070", "[ff15::1]:7070"]
        {
            assert_eq!(group(within).check(&Tracker::new()), Ok(()), "{within}");
        }
        assert!(refusal(group("239.255.0.1:0")).contains("its port is 0"));
        let mixed = |text: &str, interface| Config::new("c").multicast(text.parse().unwrap(), interface);
        assert!(
            refusal(mixed("[ff15::1]:7070", Interface::V4(Ipv4Addr::LOCALHOST))).contains("named for IPv4")
        );
        assert!(refusal(mixed("239.255.0.1:7070", Interface::V6(1))).contains("named for IPv6"));
        assert!(refusal(Config::new("c").hops(0)).starts_with("hops is 0, it must be within 1..=255"));
        assert!(refusal(Config::new("c").receive_buffer(10)).starts_with("receive_buffer is 10, it must"));
        assert!(refusal(Config::new("c").send_budget(65_535)).starts_with("send_budget is 65535, it must"));
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
    fn peers_are_checked_and_sorted_into_addresses_and_names() {
        let peers = |peers: &[&str]| Config::new("c").peers(peers.iter().copied());
        for bad in ["a", "a:", "a:0", "a:65536", ":7", "::1:7071", "fe80::1"] {
            assert!(refusal(peers(&[bad])).starts_with(&format!("peer {bad:?} is not usable: ")), "{bad}");
        }
        let sorted = peers(&["10.0.0.1:7071", "a.b:7071", "[::1]:7071"]);
        let PeerNames { addrs, names } = sorted.peer_names();
        assert_eq!(addrs, ["10.0.0.1:7071".parse().unwrap(), "[::1]:7071".parse().unwrap()]);
        assert_eq!(names, ["a.b:7071"]);
        assert_eq!(sorted.check(&Tracker::new()), Ok(()));
    }

    #[test]
    fn without_multicast_a_node_binds_the_loopback_unless_told_and_allowed() {
        let peers = |peer: &str| Config::new("c").peers([peer]);
        assert_eq!(peers("a:1").bind_addr(), "127.0.0.1:0".parse().unwrap());
        assert_eq!(peers("[::1]:1").bind_addr(), "[::1]:0".parse().unwrap());
        let open = peers("a:1").bind("0.0.0.0:7071".parse().unwrap());
        assert!(refusal(open.clone()).contains("0.0.0.0 is not the loopback"));
        assert_eq!(open.insecure(true).check(&Tracker::new()), Ok(()));
        let group = Config::new("c").bind("239.255.1.1:7071".parse().unwrap());
        assert!(refusal(group).contains("it is a multicast address"));
        assert!(!Config::new("c").is_unicast());
    }

    #[test]
    fn nothing_leaves_the_loopback_whatever_the_hops() {
        assert_eq!(Config::new("c").hops(9).multicast_hops(), 0);
        let lan = Interface::V4(Ipv4Addr::new(192, 0, 2, 1));
        let open = Config::new("c").multicast(SocketAddr::from(([239, 255, 0, 1], 7070)), lan);
        assert_eq!((open.multicast_hops(), open.clone().hops(9).multicast_hops()), (1, 9));
    }

    #[test]
    fn the_defaults_are_valid_and_an_entry_at_the_limits_fits_a_datagram() {
        assert_eq!(Config::new("c").check(&Tracker::new()), Ok(()));
        let roomy = headcount::Config::default().meta_len_max(4096).build().unwrap();
        let refused = Config::new("c").check(&roomy).unwrap_err();
        assert!(matches!(refused, ConfigError::EntryTooLong { meta: 4096, max: wire::BODY_MAX, .. }));
    }
}
