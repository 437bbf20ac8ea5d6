//! What the standard library and socket2 do not ask the system.

use std::io;

/// The number of the loopback interface.
pub(crate) fn loopback_index() -> io::Result<u32> {
    #[cfg(target_os = "linux")]
    const NAME: &std::ffi::CStr = c"lo";
    #[cfg(not(target_os = "linux"))]
    const NAME: &std::ffi::CStr = c"lo0";
    // SAFETY: the name is a string that ends with a zero byte and lives for ever.
    match unsafe { libc::if_nametoindex(NAME.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// How many datagrams have found the socket's receive buffer full since it was opened, modulo 2^32. Zero where the system does
/// not say.
#[cfg(target_os = "linux")]
pub(super) fn drops(socket: &impl std::os::fd::AsRawFd) -> u32 {
    // The last field that Linux 4.12 and later fill in; see `sk_get_meminfo`.
    const DROPS: usize = 8;
    let mut info = [0_u32; 16];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the descriptor is open, as the socket is borrowed; the system writes at most `len` bytes to `info`, which has them,
    // and any bytes are valid numbers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 { info[DROPS] } else { 0 }
}

/// Zero: this system does not say.
#[cfg(not(target_os = "linux"))]
pub(super) fn drops<S>(_: &S) -> u32 {
    0
}

/// The largest packet that goes to an address as it is, by the route that a socket takes that was connected to it; `None` where the system does
/// not say.
#[cfg(target_os = "linux")]
pub(crate) fn mtu(connected: &impl std::os::fd::AsRawFd, is_v6: bool) -> Option<u32> {
    let (level, name) =
        if is_v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
    let mut mtu: libc::c_int = 0;
    let mut len = size_of_val(&mtu) as libc::socklen_t;
    // SAFETY: the descriptor is open, as the socket is borrowed; the system writes at most `len` bytes to `mtu`, which has them.
    let result =
        unsafe { libc::getsockopt(connected.as_raw_fd(), level, name, (&raw mut mtu).cast(), &raw mut len) };
    if result == 0 { u32::try_from(mtu).ok() } else { None }
}

/// Nothing: this system does not say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn mtu<S>(_: &S, _is_v6: bool) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_datagram_that_finds_the_buffer_full_is_counted() {
        let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&receiver).set_recv_buffer_size(1).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(drops(&receiver), 0);
        // On the loopback a datagram is in the receiver's buffer, or dropped, when the call returns.
        for _ in 0..100 {
            sender.send_to(&[0; 1000], receiver.local_addr().unwrap()).unwrap();
        }
        let dropped = drops(&receiver);
        receiver.set_nonblocking(true).unwrap();
        let received = std::iter::from_fn(|| receiver.recv(&mut [0; 1000]).ok()).count();
        assert!(dropped > 0 && dropped as usize + received == 100, "{dropped} dropped, {received} received");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_loopback_interface_takes_large_packets() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(mtu(&socket, false), None, "it is not connected");
        socket.connect(socket.local_addr().unwrap()).unwrap();
        assert!(mtu(&socket, false).unwrap() >= 1500);
    }

    #[test]
    fn the_loopback_interface_has_a_number() {
        assert!(loopback_index().unwrap() > 0);
    }
}
