//! `headcount node`: one real node. A tracker, its place in a cluster, and a TCP port for clients that speak the line
//! protocol (see [`headcount_tools::line`]).

mod bell;
mod buffer;
mod clients;
mod command;
mod connection;
mod counters;
mod dialogue;
mod host;
mod membership;
mod options;
mod producer;
mod report;
mod server;
mod watch;

pub(crate) use options::{Args, name};

use crate::error::Error;
use crate::ui;
use bell::Bell;
use headcount_net::{Cluster, Config};
use headcount_tools::process::Ready;
use host::Host;
use mio::net::TcpListener;
use mio::{Poll, Waker};
use server::{Parts, Server};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Clients that wait to be accepted; the system may grant fewer.
const BACKLOG: i32 = 4096;

/// Runs a node until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Error> {
    run_with(args, |config| config)
}

/// As [`run`], with something that the options do not tell.
pub(crate) fn run_with(args: &Args, change: impl FnOnce(Config) -> Config) -> Result<ExitCode, Error> {
    let counters = counters::keep(args)?;
    let tracker = options::tracker(args, counters)?;
    let poll = Poll::new().map_err(Error::system("cannot make a poll"))?;
    let waker = Waker::new(poll.registry(), server::WAKER).map_err(Error::system("cannot make a waker"))?;
    let waker = Arc::new(waker);
    let stop = stop_flag(args, &waker)?;

    // The port first: it fails at once if it fails, and joining takes a moment.
    let (listener, clients) = listen(args.listen)?;
    let cluster = options::join(args, &tracker, change)?;

    let (bell, bells) = Bell::new(waker);
    counters::tell(clients, tracker.counters());
    let ready = ready(args, clients, &cluster);
    let host = Host::new(tracker, cluster, args.name.clone(), bell);
    let server = Server::new(Parts {
        poll,
        listener,
        host,
        bells,
        stop,
        connections_max: args.max_connections,
        quiet: args.quiet,
    })?;
    announce(args, &ready);
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

fn listen(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |error: io::Error| {
        let problem = match error.kind() {
            ErrorKind::AddrInUse => {
                "another program has this port; choose another, or 0 for any that is free".to_owned()
            }
            ErrorKind::AddrNotAvailable => {
                "this machine does not have this address; 127.0.0.1 is always there".to_owned()
            }
            ErrorKind::PermissionDenied => "not allowed; choose a port above 1023".to_owned(),
            _ => error.to_string(),
        };
        Error::Listen { addr, problem }
    };
    let listener = open(addr).map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((TcpListener::from_std(listener), bound))
}

/// As the standard library does it, but for the backlog: all clients of a node come back at once when it starts again, and
/// one that finds the queue full tries again only after a second.
fn open(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // The address is free at once when the node before was killed. (Elsewhere the option means something else.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A flag that ends the node, set by Ctrl-C and its like, and by the end of standard input if that was asked for.
fn stop_flag(args: &Args, waker: &Arc<Waker>) -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = {
        let (stop, waker) = (Arc::clone(&stop), Arc::clone(waker));
        move || {
            // Relaxed: the flag carries nothing but itself, and the wake-up follows it.
            stop.store(true, Ordering::Relaxed);
            let _ = waker.wake();
        }
    };
    if args.exit_with_stdin {
        let set = set.clone();
        thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut ignored = [0; 512];
            loop {
                match stdin.read(&mut ignored) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            set();
        });
    }
    ctrlc::set_handler(set).map_err(|error| Error::Cluster(format!("cannot handle Ctrl-C: {error}")))?;
    Ok(stop)
}

fn ready(args: &Args, clients: SocketAddr, cluster: &Cluster) -> Ready {
    Ready {
        name: args.name.clone(),
        clients,
        cluster: args.cluster.clone(),
        group: args.group,
        node_id: cluster.node_id().to_string(),
        incarnation: cluster.incarnation().to_string(),
        pid: std::process::id(),
    }
}

fn announce(args: &Args, ready: &Ready) {
    let line = if args.json {
        serde_json::to_string(ready).unwrap_or_default() + "\n"
    } else {
        format!(
            "headcount node {} ready: clients {}, cluster {}, node id {}\n",
            ready.name, ready.clients, ready.cluster, ready.node_id
        )
    };
    // A node serves its clients whether somebody reads its standard output or not.
    let _ = ui::print(&line);
}
