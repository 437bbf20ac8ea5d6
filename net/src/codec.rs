//! The bytes of deltas, for benchmarks and tools that want to weigh them. Nodes do this for themselves.

use crate::wire::{self, Frame};
use headcount::replica::{Delta, Op};

/// What a datagram's body has in it that [`decode_delta`] does not understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the body of a delta datagram: {0}")]
pub struct CodecError(wire::WireError);

/// What a sealed datagram has around its body: header and tag.
pub const SEALED_OVERHEAD: usize = wire::DATAGRAM_MAX - wire::BODY_MAX;
/// What a datagram in clear has around its body: header and checksum.
pub const PLAIN_OVERHEAD: usize = wire::HEADER_LEN + wire::TRAILER_LEN;

/// The bodies of the datagrams that tell `delta`, without header and seal ([`SEALED_OVERHEAD`]): at most 1154 B each.
///
/// ```
/// use headcount_net::codec;
/// let tracker = headcount::Tracker::new();
/// let session = tracker.session();
/// let joined = session.track("room:42", "alice", "typing").unwrap();
/// let delta = tracker.replica().delta(joined.lane, 0, usize::MAX).unwrap();
/// let bodies = codec::encode_delta(&delta);
/// assert_eq!(codec::decode_delta(&bodies[0]), Ok(1));
/// ```
#[must_use]
pub fn encode_delta(delta: &Delta) -> Vec<Vec<u8>> {
    let mut packer = Packer::default();
    packer.lane(delta.lane(), delta.lo());
    for op in delta.ops() {
        let _fits = packer.push(&op);
    }
    packer.finish()
}

/// Packs the operations of several lanes into the bodies of datagrams, as a node does that has them all to tell at once.
#[derive(Debug)]
pub struct Packer {
    bodies: Vec<Vec<u8>>,
    writer: wire::DeltaWriter,
    lane: u16,
    clock: u64,
}

impl Default for Packer {
    fn default() -> Self {
        let writer = wire::DeltaWriter::new(wire::BODY_MAX);
        Self { bodies: Vec::new(), writer, lane: 0, clock: 0 }
    }
}

impl Packer {
    /// The operations that come next are those of this lane (below 256) after clock `lo`.
    pub fn lane(&mut self, lane: u16, lo: u64) {
        (self.lane, self.clock) = (lane, lo);
        self.writer.start(lane, lo);
    }

    /// Adds an operation. False: it is longer than a datagram, and left out.
    pub fn push(&mut self, op: &Op<'_>) -> bool {
        let mut fits = self.writer.push(op);
        if !fits {
            self.ship();
            self.writer.start(self.lane, self.clock);
            fits = self.writer.push(op);
        }
        if fits {
            self.clock += op.clocks();
        }
        fits
    }

    /// How many bodies are full.
    #[must_use]
    pub fn full(&self) -> usize {
        self.bodies.len()
    }

    /// All the bodies, the last one included, which may have room left.
    #[must_use]
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.ship();
        self.bodies
    }

    fn ship(&mut self) {
        self.writer.finish_frame();
        if !self.writer.is_empty() {
            self.bodies.push(self.writer.take());
        }
    }
}

/// Decodes the body of a datagram; returns how many operations it tells, skips included.
///
/// # Errors
/// [`CodecError`]: the bytes are not such a body.
pub fn decode_delta(body: &[u8]) -> Result<usize, CodecError> {
    let mut operations = 0;
    for frame in wire::frames(body) {
        if let Frame::Delta(delta) = frame.map_err(CodecError)? {
            operations += delta.ops().len();
        }
    }
    Ok(operations)
}
