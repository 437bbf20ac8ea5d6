//! How many datagrams of 1200 B a second one core sends to a multicast group on the loopback and receives again: one call for
//! each, and the ways that the driver has. `cargo run --release -p headcount-net --example multicast_rate`

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

const LEN: usize = 1200;
/// As many as a flush sends at most; they fit a receive buffer.
const BURST: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(400);
const BATCH: usize = 16;
const RECEIVED_MAX: usize = 64 * 1024;

struct Pair {
    group: SocketAddr,
    sender: UdpSocket,
    receiver: UdpSocket,
}

fn pair() -> io::Result<Pair> {
    let udp = || Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP));
    let ip = Ipv4Addr::new(239, 255, 77, 78);
    let receiver = udp()?;
    receiver.set_recv_buffer_size(4 << 20)?;
    receiver.bind(&SocketAddrV4::new(ip, 0).into())?;
    receiver.join_multicast_v4(&ip, &Ipv4Addr::LOCALHOST)?;
    let receiver: UdpSocket = receiver.into();
    let group = SocketAddr::from((ip, receiver.local_addr()?.port()));
    let sender = udp()?;
    sender.set_send_buffer_size(4 << 20)?;
    sender.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into())?;
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
    sender.set_multicast_ttl_v4(0)?;
    Ok(Pair { group, sender: sender.into(), receiver })
}

/// Sends bursts and receives each whole; returns the best rate of some rounds.
fn rate(
    mut send: impl FnMut() -> io::Result<()>,
    mut receive: impl FnMut() -> io::Result<usize>,
) -> io::Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            send()?;
            let mut left = BURST;
            while left > 0 {
                left = left.saturating_sub(receive()?);
            }
            count += BURST as u32;
        }
        best = best.max(f64::from(count) / start.elapsed().as_secs_f64());
    }
    Ok(best)
}

struct Batches {
    state: UdpSocketState,
    bytes: Vec<u8>,
}

impl Batches {
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut rest = self.bytes.chunks_exact_mut(RECEIVED_MAX);
        let mut buffers: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(rest.next().unwrap_or_default()));
        let count = match self.state.recv(UdpSockRef::from(socket), &mut buffers, &mut meta) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        Ok(meta[..count].iter().map(|meta| meta.len / LEN).sum())
    }
}

fn main() -> io::Result<()> {
    let burst = vec![7_u8; LEN * BURST];
    let one_by_one =
        |pair: &Pair| burst.chunks(LEN).try_for_each(|one| pair.sender.send_to(one, pair.group).map(drop));
    let mut out = io::stdout().lock();
    let mut say =
        |what: &str, rate: f64| writeln!(out, "{what:45} {rate:9.0} datagrams/s, {:4.2} us each", 1e6 / rate);

    let plain = pair()?;
    let mut buffer = vec![0; RECEIVED_MAX];
    say("a call for each", rate(|| one_by_one(&plain), || plain.receiver.recv(&mut buffer).map(|_| 1))?)?;

    let batched = pair()?;
    let state = UdpSocketState::new(UdpSockRef::from(&batched.receiver))?;
    let mut batches = Batches { state, bytes: vec![0; BATCH * RECEIVED_MAX] };
    say("received in batches", rate(|| one_by_one(&batched), || batches.receive(&batched.receiver))?)?;

    let state = UdpSocketState::new(UdpSockRef::from(&batched.sender))?;
    for run in [2, 4, 8, 16, 54] {
        let send = || {
            burst.chunks(run * LEN).try_for_each(|contents| {
                let segment_size = (contents.len() > LEN).then_some(LEN);
                let transmit =
                    Transmit { destination: batched.group, ecn: None, contents, segment_size, src_ip: None };
                state.try_send(UdpSockRef::from(&batched.sender), &transmit)
            })
        };
        say(
            &format!("and sent in runs of {run} of one length"),
            rate(send, || batches.receive(&batched.receiver))?,
        )?;
    }
    Ok(())
}
