//! The options of `headcount demo`, and what they amount to.

use crate::error::Error;
use crate::node::name;
use crate::number::within;
use headcount_net::Keys;
use headcount_tools::process::NodeCommand;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECONDS: usize = 120;
/// Entries of one connection; a node refuses more than 2²⁰.
const ENTRIES_PER_CLIENT_MAX: usize = 1_000_000;

/// Run a cluster of real processes here, break it, mend it, and see what it does
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Nodes, each a process: 2 to 16
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = within::<2, 16>)]
    pub(crate) nodes: usize,

    /// Entries, spread over the nodes: up to 5,000,000
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = within::<0, 5_000_000>)]
    pub(crate) entries: usize,

    /// Client connections, spread over the nodes: up to 10,000
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = within::<2, 10_000>)]
    pub(crate) clients: usize,

    /// Measure as well what a node costs while nothing happens, and how soon joins are seen under N changes a second
    #[arg(long, value_name = "N", value_parser = within::<1, 1_000_000>)]
    pub(crate) load: Option<usize>,

    /// Seconds after which it gives up, 10 to 3600 [default: 120]
    #[arg(long, value_name = "N", value_parser = within::<10, 3600>)]
    pub(crate) seconds: Option<usize>,

    /// Let the cluster go on after the report, until Ctrl-C or the --seconds given
    #[arg(long)]
    pub(crate) keep: bool,

    /// Print the report as one JSON object and nothing else
    #[arg(long)]
    pub(crate) json: bool,

    /// The cluster's name; by default one that nobody else has
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) cluster: Option<String>,
}

const AFTER_HELP: &str = "\
It starts the nodes, fills them through real TCP connections, measures how soon a join on one node
is seen on the others, kills a node with SIGKILL, starts it again, and checks that all nodes list
the same, entry by entry. The nodes seal what they say with a key made for this run.
Nothing leaves this machine, nothing is left running, and no file is left behind. With --keep the
nodes can be looked into: headcount stat, top and doctor, and with their admin sockets topics,
list, watch and verify.
The exit status is 0 only if everything is as it should be.";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) entries: usize,
    pub(crate) clients: usize,
    /// Changes a second, if that is to be measured.
    pub(crate) load: Option<u64>,
    pub(crate) time: Duration,
    pub(crate) cluster: String,
    pub(crate) group: SocketAddr,
    pub(crate) commands: Vec<NodeCommand>,
    /// Keeps the group's port from other programs for as long as the demo runs.
    _port: UdpSocket,
}

/// Checks what the options mean together, and finds a group that nobody else uses.
pub(crate) fn plan(args: &Args) -> Result<Plan, Error> {
    let Args { nodes, entries, clients, .. } = *args;
    if clients < nodes {
        let problem = format!("every node needs a client; take at least {nodes}");
        return Err(Error::option("--clients", clients, problem));
    }
    if entries.div_ceil(clients) > ENTRIES_PER_CLIENT_MAX {
        let problem = format!(
            "too few for {entries} entries; take at least {}",
            entries.div_ceil(ENTRIES_PER_CLIENT_MAX)
        );
        return Err(Error::option("--clients", clients, problem));
    }
    let program =
        std::env::current_exe().map_err(Error::system("cannot find this program to start nodes with"))?;

    // A port that the system gives to nobody else while it is open, so that two demos at once do not meet; and a group and
    // a cluster of its own, so that they would not understand each other if they did.
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::system("cannot find a free port"))?;
    let number = port.local_addr().map_err(Error::system("cannot find a free port"))?.port();
    let unique = unique();
    let [_, _, high, low] = unique.to_be_bytes();
    let group = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, high, low)), number);
    let cluster = args.cluster.clone().unwrap_or_else(|| format!("demo-{unique:08x}"));

    // A key of its own too, so that what is measured is what a cluster on a network does.
    let key = Keys::generate(1).map_err(Error::system("cannot make a key"))?;

    let command = |node: usize| {
        let mut command = NodeCommand::new(program.clone(), &format!("node-{node}"), &cluster, group);
        command.options.push("--quiet".into());
        // For whoever looks into the nodes while they go on.
        if args.keep && cfg!(unix) {
            command.options.push("--admin".into());
        }
        command.key = Some(key.clone());
        command
    };
    Ok(Plan {
        entries,
        clients,
        load: args.load.map(|load| load as u64),
        time: Duration::from_secs(args.seconds.unwrap_or(SECONDS) as u64),
        commands: (1..=nodes).map(command).collect(),
        cluster,
        group,
        _port: port,
    })
}

/// A number that two demos hardly share: of the process and the moment. It decides nothing but names.
fn unique() -> u32 {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    std::process::id().wrapping_mul(0x9E37_79B1) ^ moment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(nodes: usize, entries: usize, clients: usize) -> Args {
        Args { nodes, entries, seconds: None, clients, load: None, json: false, keep: false, cluster: None }
    }

    #[test]
    fn numbers_that_do_not_fit_together_are_refused() {
        let refused = plan(&args(3, 10, 2)).unwrap_err().to_string();
        assert_eq!(refused, "--clients 2: every node needs a client; take at least 3");
        let refused = plan(&args(2, 5_000_000, 4)).unwrap_err().to_string();
        assert_eq!(refused, "--clients 4: too few for 5000000 entries; take at least 5");
    }

    #[test]
    fn two_plans_never_share_a_port() {
        let (one, other) = (plan(&args(2, 0, 2)).unwrap(), plan(&args(2, 0, 2)).unwrap());
        assert_ne!(one.group.port(), other.group.port());
        assert!(one.group.ip().is_multicast());
    }
}
