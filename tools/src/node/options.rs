//! The options of `headcount node`, and what they configure.

use super::counters::Place;
use crate::error::Error;
use crate::number::within;
use headcount::counters::Counters;
use headcount::{Config, ConfigError, Tracker};
use headcount_net::{Cluster, ConfigError as NetConfigError, Interface, JoinError, Keys, StopReason};
use headcount_tools::process::KEY_VARIABLE;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

/// Limits of the wire format.
const NAME_LEN_MAX: usize = 64;

/// Run one node: it joins a cluster over UDP, by multicast or from peer to peer, and serves clients over TCP
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// This node's name, unlike every other node's
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: String,

    /// The cluster's name: nodes with this name and group find each other
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) cluster: String,

    /// Where clients connect; port 0 takes one that is free
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = listen_addr)]
    pub(crate) listen: SocketAddr,

    /// The multicast group of the cluster
    #[arg(long, value_name = "IP:PORT", default_value = "239.255.70.70:7070", value_parser = group_addr)]
    pub(crate) group: SocketAddr,

    /// Where another node may be found, for networks without multicast; may be given again. It need not name all
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub(crate) peers: Vec<String>,

    /// Where other nodes reach this one without multicast; those that others name as --peer need it
    #[arg(long, value_name = "IP:PORT", value_parser = bind_addr)]
    pub(crate) bind: Option<SocketAddr>,

    /// An IPv4 address of this machine, or lo: then nothing leaves it; for an IPv6 group, an interface's number
    #[arg(long, value_name = "lo|IP", default_value = "lo", value_parser = interface)]
    pub(crate) interface: Interface,

    /// A file with the cluster's keys, readable by its owner alone
    #[arg(long, value_name = "PATH")]
    pub(crate) key_file: Option<PathBuf>,

    /// A file that keeps the number of this node's lives, made if it is not there; each node needs its own
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,

    /// Allow an interface other than lo without a key
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Let this user and root look into the node, and remove entries, through a socket: at that path, in that folder, or in /dev/shm. Then other nodes
    /// may have this one's entries removed, too
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true)]
    pub(crate) admin: Option<Option<PathBuf>>,

    /// Shards, a power of two up to 256; by default four for each core, and 16 at the least
    #[arg(long, value_name = "N", value_parser = within::<1, 256>)]
    pub(crate) shards: Option<usize>,

    /// Clients served at once
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = within::<1, 1_000_000>)]
    pub(crate) max_connections: usize,

    /// Where the counters file is kept that `headcount stat` and `headcount top` read, or off; by default in the file system in
    /// memory
    #[arg(long, value_name = "DIR|off", value_parser = Place::parse)]
    pub(crate) counters: Option<Place>,

    /// Say as a JSON object that the node is ready
    #[arg(long)]
    pub(crate) json: bool,

    /// Do not log nodes that come and go
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Leave when standard input ends, so that the node does not outlive the program that started it
    #[arg(long, hide = true)]
    pub(crate) exit_with_stdin: bool,
}

const AFTER_HELP: &str = "\
Try it:
  headcount node --name web-1 --cluster chat --listen 127.0.0.1:7001
  headcount node --name web-2 --cluster chat --listen 127.0.0.1:7002   (in a second terminal)
  nc 127.0.0.1 7001      then type:  JOIN room:1 alice hello          (in a third)
  nc 127.0.0.1 7002      then type:  LIST room:1                      (in a fourth)
On a network the nodes need a key that all of them have, in a file or in the variable HEADCOUNT_KEY:
  (umask 077; echo 1:$(openssl rand -hex 32) > chat.key)
  headcount node --name web-1 --cluster chat --interface 192.0.2.1 --key-file chat.key
headcount stat and headcount top tell what a node does.
HELP in nc lists all commands. Ctrl-C here makes the node leave.";

/// Builds the tracker.
pub(crate) fn tracker(args: &Args, counters: Counters) -> Result<Tracker, Error> {
    let mut config = Config::default().counters(counters);
    if let Some(shards) = args.shards {
        config = config.shards(shards);
    }
    config.build().map_err(|error| match error {
        ConfigError::NotAPowerOfTwo { field: "shards", value } => {
            Error::option("--shards", value, "it must be a power of two: 16, 32, 64 ...")
        }
        other => Error::Cluster(other.to_string()),
    })
}

/// Joins the cluster.
pub(crate) fn join(
    args: &Args,
    tracker: &Tracker,
    change: impl FnOnce(headcount_net::Config) -> headcount_net::Config,
) -> Result<Cluster, Error> {
    if let Interface::V4(ip) = args.interface {
        check_interface(ip)?;
    }
    let mut config = headcount_net::Config::new(args.cluster.clone())
        .node(args.name.clone())
        .multicast(args.group, args.interface)
        .peers(args.peers.iter().cloned())
        .insecure(args.insecure);
    if let Some(bind) = args.bind {
        config = config.bind(bind);
    }
    if let Some(keys) = keys(args)? {
        config = config.keys(keys);
    }
    if let Some(path) = &args.state {
        config = config.epoch_file(path);
    }
    #[cfg(unix)]
    if let Some(path) = &args.admin {
        config = match path {
            Some(dir) if dir.is_dir() => config.admin_socket_in(dir),
            Some(path) => config.admin_socket(path),
            None => config.admin_socket_in(headcount_net::admin::default_dir()),
        };
        config = config.obey_evictions(true);
    }
    change(config).join(tracker).map_err(|error| refused(args, error))
}

/// The cluster's keys: from the file, or from the environment if that has any.
fn keys(args: &Args) -> Result<Option<Keys>, Error> {
    if let Some(path) = &args.key_file {
        let keys = Keys::from_file(path);
        return keys
            .map(Some)
            .map_err(|error| Error::option("--key-file", path.display(), error.to_string()));
    }
    if std::env::var_os(KEY_VARIABLE).is_none_or(|value| value.is_empty()) {
        return Ok(None);
    }
    // Not its value: it may be a key.
    Keys::from_env(KEY_VARIABLE).map(Some).map_err(|error| Error::Cluster(format!("{KEY_VARIABLE}: {error}")))
}

/// That this machine has the address: what the system says of a multicast socket without it names nothing.
fn check_interface(ip: Ipv4Addr) -> Result<(), Error> {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let problem =
                "no interface of this machine has this address; `ip -4 addr` lists them, and lo always works";
            Err(Error::option("--interface", ip, problem))
        }
        Err(error) => Err(Error::option("--interface", ip, error.to_string())),
    }
}

/// What the cluster refused, by the option that it is about.
fn refused(args: &Args, error: JoinError) -> Error {
    match error {
        JoinError::Config(NetConfigError::Insecure { interface }) => Error::option(
            if args.bind.is_some() { "--bind" } else { "--interface" },
            interface,
            "without a key everybody on that network could read and forge; give the cluster one with --key-file, add --insecure \
             to do without, or use lo",
        ),
        JoinError::Config(NetConfigError::Name { field: "cluster", .. }) => {
            Error::option("--cluster", &args.cluster, error.to_string())
        }
        JoinError::Config(NetConfigError::Name { .. }) => {
            Error::option("--name", &args.name, error.to_string())
        }
        JoinError::Config(NetConfigError::Group { group, why }) => Error::option("--group", group, why),
        JoinError::Config(NetConfigError::Peer { peer, why }) => Error::option("--peer", peer, why),
        JoinError::Config(NetConfigError::Bind { addr, why }) => Error::option("--bind", addr, why),
        #[cfg(unix)]
        JoinError::Admin(error) => {
            let path = args.admin.clone().flatten().unwrap_or_else(headcount_net::admin::default_dir);
            Error::option("--admin", path.display(), error.to_string())
        }
        JoinError::EpochFile { path, why } => Error::option("--state", path.display(), why),
        JoinError::Stopped(StopReason::EpochNotKept { path, why }) => {
            Error::option("--state", path.display(), format!("the epoch could not be written: {why}"))
        }
        JoinError::Stopped(StopReason::DuplicateNode { .. }) => {
            Error::option("--name", &args.name, error.to_string())
        }
        other => {
            let through = match args.bind {
                Some(bind) => bind.to_string(),
                None if args.peers.is_empty() => args.group.to_string(),
                None => args.peers.join(", "),
            };
            Error::Cluster(format!("cannot join cluster {} through {through}: {other}", args.cluster))
        }
    }
}

/// A name that fits the wire and a line of a log.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it must not be empty".into());
    }
    if text.len() > NAME_LEN_MAX {
        return Err(format!("it has {} bytes, the limit is {NAME_LEN_MAX}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("it must not have control characters".into());
    }
    Ok(text.into())
}

fn listen_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address; write IP:PORT, such as 127.0.0.1:7001 or 127.0.0.1:0".into())
}

fn group_addr(text: &str) -> Result<SocketAddr, String> {
    let group: SocketAddr =
        text.parse().map_err(|_| "not an address; write IP:PORT, such as 239.255.70.70:7070".to_owned())?;
    if !group.ip().is_multicast() {
        return Err(
            "not a multicast address; use one within 239.255.0.0/16, such as 239.255.70.70:7070".into()
        );
    }
    if group.port() == 0 {
        return Err("a group needs a port that all nodes know, such as 239.255.70.70:7070".into());
    }
    Ok(group)
}

fn bind_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address; write IP:PORT, such as 10.0.0.1:7071".into())
}

fn interface(text: &str) -> Result<Interface, String> {
    if matches!(text, "lo" | "loopback") {
        return Ok(Interface::Loopback);
    }
    if let Ok(index) = text.parse() {
        return Ok(Interface::V6(index));
    }
    let ip: Ipv4Addr = text
        .parse()
        .map_err(|_| "not lo and not an IPv4 address; `ip -4 addr` lists those of this machine".to_owned())?;
    Ok(if ip.is_loopback() { Interface::Loopback } else { Interface::V4(ip) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_must_be_multicast_with_a_port() {
        assert!(group_addr("239.255.70.70:7070").is_ok() && group_addr("[ff15::1]:7070").is_ok());
        for (bad, part) in [
            ("239.255.70.70", "not an address"),
            ("[2001:db8::1]:7070", "not a multicast"),
            ("192.0.2.1:7070", "not a multicast"),
            ("239.255.70.70:0", "needs a port"),
        ] {
            assert!(group_addr(bad).unwrap_err().contains(part), "{bad}");
        }
    }

    #[test]
    fn an_interface_is_lo_or_an_ipv4_address_or_a_number() {
        assert!(matches!(interface("2"), Ok(Interface::V6(2))));
        assert!(matches!(interface("lo"), Ok(Interface::Loopback)));
        assert!(matches!(interface("127.0.0.1"), Ok(Interface::Loopback)));
        assert!(matches!(interface("192.0.2.7"), Ok(Interface::V4(_))));
        assert!(interface("eth0").unwrap_err().contains("ip -4 addr"));
    }

    #[test]
    fn a_name_fits_the_wire_and_a_line() {
        assert!(name("web-1").is_ok() && name(&"x".repeat(64)).is_ok());
        assert!(name("").is_err() && name("a\nb").is_err());
        assert!(name(&"x".repeat(65)).unwrap_err().contains("65 bytes, the limit is 64"));
    }
}
