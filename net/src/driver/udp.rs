//! The sockets: one that hears the group, one that sends everything and hears what is meant for this node alone.

use super::faults::Disorder;
use super::lane::{UdpLane, UdpPort};
use super::system;
use crate::config::{Config, Interface};
use crate::error::JoinError;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// A node's sockets, open and not yet registered anywhere.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// None without multicast.
    pub(crate) group: Option<UdpLane>,
    pub(crate) unicast: UdpLane,
    pub(crate) listener: TcpListener,
    /// Where datagrams for all go, with the interface's number if it is IPv6.
    pub(crate) group_addr: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) tcp_port: u16,
    /// What the system granted for datagrams received, in bytes.
    pub(crate) receive_buffer: u64,
    /// What becomes of datagrams between here and the core, in tests.
    pub(super) disorder: Disorder,
}

/// Puts what was tried into an error.
fn during<T>(what: impl FnOnce() -> String, result: io::Result<T>) -> Result<T, JoinError> {
    result.map_err(|source| JoinError::Io { what: what(), source })
}

impl Sockets {
    pub(crate) fn open(config: &Config) -> Result<Self, JoinError> {
        let from = config.bind_addr();
        let (interface, hops) = (config.interface, config.multicast_hops());
        let on = || format!("multicast group {} on interface {interface}", config.group);
        let mut group_addr = config.group;
        let mut receive_buffer = u64::MAX;
        let mut group = None;
        let mut index = 0;
        if !config.is_unicast() {
            index = during(on, index_of(interface))?;
            if let SocketAddr::V6(v6) = config.group {
                group_addr = SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into();
            }
            let socket = during(|| "opening a UDP socket".into(), udp(group_addr))?;
            during(|| format!("listening on {}", on()), listen_to(&socket, interface, index, group_addr))?;
            receive_buffer = ask_for_receive_buffer(&socket, config.receive_buffer);
            let port = during(|| "preparing a UDP socket".into(), UdpPort::new(socket.into()))?;
            group = Some(UdpLane::new(port));
        }
        #[cfg(test)]
        if config.deaf_to_group {
            group = None;
        }

        let unicast = during(|| "opening a UDP socket".into(), udp(from))?;
        during(|| format!("binding UDP {from}"), unicast.bind(&from.into()))?;
        if !config.is_unicast() {
            during(|| format!("sending to {}", on()), send_by(&unicast, interface, index, group_addr, hops))?;
        }
        receive_buffer = receive_buffer.min(ask_for_receive_buffer(&unicast, config.receive_buffer));
        // What the system does not grant shows as send errors in the statistics.
        let _ = unicast.set_send_buffer_size(SEND_BUFFER);
        let port = during(|| "preparing a UDP socket".into(), UdpPort::new(unicast.into()))?;
        let local = during(|| "reading the UDP port".into(), port.socket.local_addr())?;

        // Where the port was chosen, a firewall has been opened for it, and TCP is to be had there as well.
        let tcp = SocketAddr::new(from.ip(), from.port());
        let listener = during(|| format!("listening on TCP {tcp}"), TcpListener::bind(tcp))?;
        let tcp_port = during(|| "reading the TCP port".into(), listener.local_addr())?.port();
        let unicast = UdpLane::new(port);
        let disorder = Disorder::of(config);
        Ok(Self { group, unicast, listener, group_addr, local, tcp_port, receive_buffer, disorder })
    }
}

/// The largest packet that goes to everybody, or to that peer, as it is. Nothing is sent to find out.
pub(crate) fn mtu(config: &Config, peer: Option<SocketAddr>) -> Option<u32> {
    let to = if config.is_unicast() { peer? } else { config.group };
    let socket = udp(to).ok()?;
    if !config.is_unicast() {
        let index = index_of(config.interface).ok()?;
        send_by(&socket, config.interface, index, to, config.multicast_hops()).ok()?;
    }
    socket.connect(&to.into()).ok()?;
    system::mtu(&socket, to.is_ipv6())
}

fn udp(family_of: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(family_of), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if family_of.is_ipv6() {
        // One family, so that addresses have one spelling.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The interface's number, for IPv6.
fn index_of(interface: Interface) -> io::Result<u32> {
    match interface {
        Interface::Loopback => system::loopback_index(),
        Interface::V4(_) => Ok(0),
        Interface::V6(index) => Ok(index),
    }
}

fn send_by(socket: &Socket, interface: Interface, index: u32, group: SocketAddr, hops: u8) -> io::Result<()> {
    match group {
        SocketAddr::V4(_) => {
            socket.set_multicast_if_v4(&interface.v4())?;
            socket.set_multicast_ttl_v4(hops.into())?;
            socket.set_multicast_loop_v4(true)
        }
        SocketAddr::V6(_) => {
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(hops.into())?;
            socket.set_multicast_loop_v6(true)?;
            // Without a route nothing would be sent, and every datagram a send error: better said now. (The loopback interface
            // of Linux has no route for groups of its own; see the documentation of `Interface`.)
            udp(group)?.connect(&group.into())
        }
    }
}

fn listen_to(socket: &Socket, interface: Interface, index: u32, group: SocketAddr) -> io::Result<()> {
    // Several nodes of one host hear the same group.
    socket.set_reuse_address(true)?;
    // Only what this socket has joined, not what any socket of this host has.
    #[cfg(target_os = "linux")]
    match group {
        SocketAddr::V4(_) => socket.set_multicast_all_v4(false)?,
        SocketAddr::V6(_) => socket.set_multicast_all_v6(false)?,
    }
    // Bound to the group's address: datagrams to other addresses of this port stay out.
    socket.bind(&SockAddr::from(group))?;
    match group.ip() {
        IpAddr::V4(ip) => socket.join_multicast_v4(&ip, &interface.v4()),
        IpAddr::V6(ip) => socket.join_multicast_v6(&ip, index),
    }
}

/// Returns what was granted.
fn ask_for_receive_buffer(socket: &Socket, bytes: usize) -> u64 {
    let _ = socket.set_recv_buffer_size(bytes);
    let reported = socket.recv_buffer_size().map_or(0, |bytes| bytes as u64);
    // Linux reports twice what it was asked for, to account for its own overhead.
    if cfg!(target_os = "linux") { reported / 2 } else { reported }
}
