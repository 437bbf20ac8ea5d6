//! The bytes of deltas, for benchmarks and tools that want to weigh them. Nodes do this for themselves.

use crate::wire::{self, Frame};
use headcount::replica::Delta;

/// What a datagram's body has in it that [`decode_delta`] does not understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the body of a delta datagram: {0}")]
pub struct CodecError(wire::WireError);

/// The bodies of the datagrams that tell `delta`, without header and seal (46 B a sealed datagram): at most 1154 B each.
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
    let mut bodies = Vec::new();
    let mut writer = wire::DeltaWriter::new(wire::BODY_MAX);
    let mut clock = delta.lo();
    writer.start(delta.lane(), clock);
    for op in delta.ops() {
        if !writer.push(&op) {
            writer.finish_frame();
            bodies.push(writer.take());
            writer.start(delta.lane(), clock);
            let _fits = writer.push(&op);
        }
        clock += op.clocks();
    }
    writer.finish_frame();
    if !writer.is_empty() {
        bodies.push(writer.take());
    }
    bodies
}

/// Decodes the body of a datagram; returns how many operations it tells, skips included.
///
/// # Errors
/// [`CodecError`]: the bytes are not such a body.
pub fn decode_delta(body: &[u8]) -> Result<usize, CodecError> {
    let mut operations = 0;
    for frame in wire::frames(body) {
        if let Frame::Delta(delta) = frame.map_err(CodecError)? {
            operations += delta.ops.len();
        }
    }
    Ok(operations)
}
