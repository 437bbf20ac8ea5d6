//! A UDP socket that takes and gives many datagrams in one call.
//!
//! Datagrams of one length for one address go to the kernel as one long one that it (or the network card) cuts up; received ones
//! come several in a call, and those of one sender that came together as one. What the kernel, the card or its driver cannot do shows
//! only when it is tried: a lane that was refused cutting up sends one by one from then on. No error ends anything, because each
//! belongs to one datagram or one peer; they are counted.

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

/// Datagrams that are one to the system, received at a time.
const BATCH: usize = 16;
/// The longest that the system gives as one.
const RECEIVED_MAX: usize = 64 * 1024;
/// The longest that it takes as one: a UDP payload.
const RUN_BYTES_MAX: usize = 65_000;
/// Errors in a row after which a lane has its next turn later.
const ERRORS_IN_A_ROW: usize = 16;

/// What a lane needs of a socket.
pub(crate) trait Port {
    /// Sends `bytes`, cut into pieces of `segment` if that is said.
    fn send(&self, to: SocketAddr, bytes: &[u8], segment: Option<usize>) -> io::Result<()>;
    fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize>;
    /// How many pieces it takes at once.
    fn segments_max(&self) -> usize;
}

/// A socket of the system.
#[derive(Debug)]
pub(crate) struct UdpPort {
    pub(super) socket: mio::net::UdpSocket,
    state: UdpSocketState,
}

impl UdpPort {
    /// Also lets the system never fragment what it sends.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket: mio::net::UdpSocket::from_std(socket), state })
    }
}

impl Port for UdpPort {
    fn send(&self, to: SocketAddr, bytes: &[u8], segment: Option<usize>) -> io::Result<()> {
        let transmit =
            Transmit { destination: to, ecn: None, contents: bytes, segment_size: segment, src_ip: None };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.state.recv(UdpSockRef::from(&self.socket), buffers, meta)
    }

    fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// Where received datagrams are put.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    meta: [RecvMeta; BATCH],
    count: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BATCH * RECEIVED_MAX], meta: [RecvMeta::default(); BATCH], count: 0 }
    }

    /// Room for nothing, while the other is in use.
    pub(super) fn empty() -> Self {
        Self { bytes: Vec::new(), meta: [RecvMeta::default(); BATCH], count: 0 }
    }

    /// The datagrams received last, each with its sender.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.meta[..self.count].iter().zip(self.bytes.chunks_exact(RECEIVED_MAX)).flat_map(|(meta, bytes)| {
            let bytes = &bytes[..meta.len.min(RECEIVED_MAX)];
            // One without a byte is one, too.
            let empty = bytes.is_empty().then_some(bytes);
            bytes.chunks(meta.stride.max(1)).chain(empty).map(|datagram| (meta.addr, datagram))
        })
    }
}

/// What a lane had to give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// Datagrams.
    Some,
    /// Nothing more for now.
    Nothing,
    /// Errors only; it may have more behind them.
    Errors,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct UdpLane<P = UdpPort> {
    pub(super) port: P,
    /// The system said that there is something, and it was not all read.
    pub(super) readable: bool,
    /// The last turn brought errors only.
    stuck: bool,
    cuts: bool,
    /// Runs are put together here.
    run: Vec<u8>,
    /// Errors while receiving, not yet told.
    errors: u64,
}

impl<P: Port> UdpLane<P> {
    pub(super) fn new(port: P) -> Self {
        Self { port, readable: true, stuck: false, cuts: true, run: Vec::new(), errors: 0 }
    }

    /// Whether it is to be read before anything is waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.readable && !self.stuck
    }

    /// Errors since the last time.
    pub(super) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    /// Sends datagrams to one address, in order. Returns how many could not be sent, whatever the reason: they are as good as
    /// lost.
    pub(super) fn send<'a>(&mut self, to: SocketAddr, datagrams: impl Iterator<Item = &'a [u8]>) -> u64 {
        let mut datagrams = datagrams.peekable();
        let mut unsent = 0;
        while let Some(first) = datagrams.next() {
            let run_max = if self.cuts { self.port.segments_max() } else { 1 };
            let fits =
                |run: usize, next: &&[u8]| next.len() <= first.len() && run + next.len() <= RUN_BYTES_MAX;
            let mut count = 1;
            self.run.clear();
            // Pieces have one length, but the last may be shorter.
            let mut is_open = !first.is_empty();
            while is_open
                && count < run_max
                && let Some(next) =
                    datagrams.next_if(|next| fits(self.run.len().max(first.len()), next) && !next.is_empty())
            {
                if count == 1 {
                    self.run.extend_from_slice(first);
                }
                self.run.extend_from_slice(next);
                count += 1;
                is_open = next.len() == first.len();
            }
            if count == 1 {
                unsent += u64::from(self.port.send(to, first, None).is_err());
                continue;
            }
            let Err(error) = self.port.send(to, &self.run, Some(first.len())) else {
                continue;
            };
            if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL)) {
                // The card or its driver cannot, and never will.
                self.cuts = false;
            }
            for datagram in self.run.chunks(first.len()) {
                unsent += u64::from(self.port.send(to, datagram, None).is_err());
            }
        }
        unsent
    }

    /// Takes what is there, as much as one call brings.
    pub(super) fn receive(&mut self, batch: &mut Batch) -> Received {
        self.stuck = false;
        for _ in 0..ERRORS_IN_A_ROW {
            let mut rest = batch.bytes.chunks_exact_mut(RECEIVED_MAX);
            let mut buffers: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
            match self.port.receive(&mut buffers, &mut batch.meta) {
                Ok(count) => {
                    batch.count = count.min(BATCH);
                    return if count > 0 { Received::Some } else { self.nothing() };
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.nothing(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.errors += 1,
            }
        }
        self.stuck = true;
        Received::Errors
    }

    fn nothing(&mut self) -> Received {
        self.readable = false;
        Received::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// Lengths and strides that a call brings, or an error.
    type Call = Result<Vec<(usize, usize)>, i32>;

    /// A port that does what a script says, and then takes everything and has nothing.
    #[derive(Default)]
    struct Script {
        sends: RefCell<VecDeque<i32>>,
        receives: RefCell<VecDeque<Call>>,
        sent: RefCell<Vec<(usize, Option<usize>)>>,
    }

    impl Port for Script {
        fn send(&self, _: SocketAddr, bytes: &[u8], segment: Option<usize>) -> io::Result<()> {
            match self.sends.borrow_mut().pop_front() {
                Some(error) if error != 0 => Err(io::Error::from_raw_os_error(error)),
                _ => {
                    self.sent.borrow_mut().push((bytes.len(), segment));
                    Ok(())
                }
            }
        }

        fn receive(&self, buffers: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
            match self.receives.borrow_mut().pop_front() {
                Some(Ok(lens)) => {
                    for ((&(len, stride), buffer), meta) in lens.iter().zip(buffers).zip(meta) {
                        buffer[..len].fill(7);
                        (meta.len, meta.stride) = (len, stride);
                    }
                    Ok(lens.len())
                }
                Some(Err(error)) => Err(io::Error::from_raw_os_error(error)),
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        }

        fn segments_max(&self) -> usize {
            64
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_sent_is_never_fragmented() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let port = UdpPort::new(std::net::UdpSocket::bind(ip).unwrap()).unwrap();
            assert!(!port.state.may_fragment(), "{ip}");
        }
    }

    fn to() -> SocketAddr {
        SocketAddr::from(([239, 255, 1, 1], 7070))
    }

    fn send(lane: &mut UdpLane<Script>, lens: &[usize]) -> u64 {
        let bytes = [0; 70_000];
        lane.send(to(), lens.iter().map(|&len| &bytes[..len]))
    }

    fn sent(lane: &UdpLane<Script>) -> Vec<(usize, Option<usize>)> {
        lane.port.sent.take()
    }

    #[test]
    fn runs_of_one_length_and_a_shorter_end_go_as_one() {
        let mut lane = UdpLane::new(Script::default());
        assert_eq!(send(&mut lane, &[1200, 1200, 1100, 1200, 900, 1000, 1000, 0, 7]), 0);
        let expected = [(3500, Some(1200)), (2100, Some(1200)), (2000, Some(1000)), (0, None), (7, None)];
        assert_eq!(sent(&lane), expected);
        // 54 of 1200 B are all that a UDP payload holds.
        send(&mut lane, &[1200; 60]);
        assert_eq!(sent(&lane), [(54 * 1200, Some(1200)), (6 * 1200, Some(1200))]);
    }

    #[test]
    fn a_card_that_cannot_cut_is_not_asked_again_and_nothing_is_lost() {
        for error in [libc::EIO, libc::EINVAL] {
            let mut lane = UdpLane::new(Script::default());
            lane.port.sends.borrow_mut().push_back(error);
            assert_eq!(send(&mut lane, &[1200, 1200, 50]), 0);
            assert_eq!(send(&mut lane, &[1200, 1200]), 0);
            assert_eq!(sent(&lane), [(1200, None), (1200, None), (50, None), (1200, None), (1200, None)]);
        }
    }

    #[test]
    fn a_full_buffer_does_not_end_the_cutting() {
        let mut lane = UdpLane::new(Script::default());
        lane.port.sends.borrow_mut().extend([libc::ENOBUFS, 0, libc::EAGAIN]);
        assert_eq!(send(&mut lane, &[1200, 1200]), 1, "the second found it full again");
        assert_eq!(send(&mut lane, &[1200, 1200]), 0);
        assert_eq!(sent(&lane), [(1200, None), (2400, Some(1200))]);
    }

    #[test]
    fn an_error_while_sending_is_that_datagrams_alone() {
        let mut lane = UdpLane::new(Script::default());
        lane.port.sends.borrow_mut().extend([libc::ENETUNREACH, 0, libc::ECONNREFUSED]);
        assert_eq!(send(&mut lane, &[10, 20, 30, 40]), 2);
        assert_eq!(sent(&lane), [(20, None), (40, None)]);
    }

    #[test]
    fn errors_while_receiving_are_counted_and_passed_over() {
        let mut lane = UdpLane::new(Script::default());
        let errors = [libc::ECONNREFUSED, libc::ENETUNREACH, libc::ENOBUFS, libc::EINTR];
        lane.port.receives.borrow_mut().extend(errors.map(Err));
        lane.port.receives.borrow_mut().push_back(Ok(vec![(2500, 1200), (0, 0), (7, 7)]));
        let mut batch = Batch::new();
        assert_eq!(lane.receive(&mut batch), Received::Some);
        let lens: Vec<usize> = batch.datagrams().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lens, [1200, 1200, 100, 0, 7]);
        assert_eq!((lane.take_errors(), lane.take_errors()), (3, 0), "an interruption is none");
        assert_eq!(lane.receive(&mut batch), Received::Nothing);
        assert!(!lane.readable);
    }

    #[test]
    fn a_lane_with_nothing_but_errors_waits_for_its_next_turn_and_goes_on() {
        let mut lane = UdpLane::new(Script::default());
        lane.port.receives.borrow_mut().extend((0..ERRORS_IN_A_ROW).map(|_| Err(libc::ECONNREFUSED)));
        lane.port.receives.borrow_mut().push_back(Ok(vec![(1, 1)]));
        let mut batch = Batch::new();
        assert_eq!(lane.receive(&mut batch), Received::Errors);
        assert!(lane.readable && !lane.is_busy(), "it neither spins nor is forgotten");
        assert_eq!(lane.receive(&mut batch), Received::Some);
        assert!(lane.is_busy());
    }
}
