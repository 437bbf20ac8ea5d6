//! The sockets: one that hears the group, one that sends everything and hears what is meant for this node alone.

use crate::config::Config;
use crate::error::JoinError;
use mio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// What is asked of the system for received datagrams; it may grant less.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// A node's sockets, open and not yet registered anywhere.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) group: UdpSocket,
    pub(crate) unicast: UdpSocket,
    pub(crate) listener: TcpListener,
    pub(crate) local: SocketAddr,
    pub(crate) tcp_port: u16,
    /// What the system granted for the group's socket, in bytes.
    pub(crate) receive_buffer: u64,
}

/// Puts what was tried into an error.
fn during<T>(what: impl FnOnce() -> String, result: io::Result<T>) -> Result<T, JoinError> {
    result.map_err(|source| JoinError::Io { what: what(), source })
}

impl Sockets {
    pub(crate) fn open(config: &Config) -> Result<Self, JoinError> {
        let interface = config.interface.address();
        let group_ip = match config.group.ip() {
            std::net::IpAddr::V4(ip) => ip,
            // The configuration was checked.
            std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let ttl = u32::from(!config.interface.is_loopback());

        let group = during(|| "opening a UDP socket".into(), udp())?;
        during(
            || format!("listening on multicast group {} on interface {interface}", config.group),
            listen_to(&group, config.group, group_ip, interface),
        )?;
        let receive_buffer = ask_for_receive_buffer(&group);

        let unicast = during(|| "opening a UDP socket".into(), udp())?;
        let from = SocketAddr::from((interface, 0));
        during(|| format!("binding UDP {from}"), unicast.bind(&from.into()))?;
        during(
            || format!("sending by interface {interface} with a time to live of {ttl}"),
            unicast
                .set_multicast_if_v4(&interface)
                .and_then(|()| unicast.set_multicast_ttl_v4(ttl))
                .and_then(|()| unicast.set_multicast_loop_v4(true)),
        )?;
        ask_for_receive_buffer(&unicast);
        // What the system does not grant shows as send errors in the statistics.
        let _ = unicast.set_send_buffer_size(SEND_BUFFER);

        let listener = during(|| format!("listening on TCP {from}"), TcpListener::bind(from))?;
        let tcp_port = during(|| "reading the TCP port".into(), listener.local_addr())?.port();
        let unicast = UdpSocket::from_std(unicast.into());
        let local = during(|| "reading the UDP port".into(), unicast.local_addr())?;
        Ok(Self {
            group: UdpSocket::from_std(group.into()),
            unicast,
            listener,
            local,
            tcp_port,
            receive_buffer,
        })
    }
}

fn udp() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen_to(socket: &Socket, group: SocketAddr, ip: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
    // Several nodes of one host hear the same group.
    socket.set_reuse_address(true)?;
    // Only what this socket has joined, not what any socket of this host has.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    // Bound to the group's address: datagrams to other addresses of this port stay out.
    socket.bind(&SockAddr::from(SocketAddrV4::new(ip, group.port())))?;
    socket.join_multicast_v4(&ip, &interface)
}

/// Returns what was granted. (Linux reports twice what it counts as usable, to account for its own overhead.)
fn ask_for_receive_buffer(socket: &Socket) -> u64 {
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.recv_buffer_size().map_or(0, |bytes| bytes as u64)
}
