//! Messages of the TCP snapshot lane.

use super::WireError;
use super::chunk::Chunk;
use super::delta::{Context, DeltaFrame};
use super::dots::Dots;
use super::seal::WIRE_VERSION;
use super::varint::{Reader, put_lane, put_list, put_varint};

/// The longest message, type and body.
pub(crate) const MESSAGE_MAX: usize = 64 * 1024;

pub(super) const LENGTH_LEN: usize = 4;

/// Opens a Request, so that a stranger on the port is told apart from a damaged peer.
const MAGIC: [u8; 4] = *b"HCSN";

const REQUEST: u8 = 1;
const LANE_BEGIN: u8 = 2;
pub(super) const CHUNK: u8 = 3;
const LANE_END: u8 = 4;
pub(super) const DONE: u8 = 5;
const RETRY_AFTER: u8 = 6;
const REFUSED: u8 = 7;
const OPS_BEGIN: u8 = 8;
pub(super) const OPS: u8 = 9;
pub(super) const DOTS: u8 = 10;
pub(super) const RELAY_REQUEST: u8 = 12;
/// No message is of this type or one above it; for who makes up messages of any type, one that is not known included.
#[cfg(any(test, feature = "sim"))]
pub(crate) const KINDS_END: u8 = RELAY_REQUEST + 2;

/// What an asker holds of a lane that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) lane: u16,
    /// The clock up to which it has seen everything.
    pub(crate) base: u64,
    /// Nothing as of an earlier clock is of use; not below the base.
    pub(crate) reached: u64,
    /// What it holds is not to be relied upon.
    pub(crate) diverged: bool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// The asker's first and only message.
    Request {
        /// Always [`WIRE_VERSION`] when decoded: the layout of another version is not known here.
        version: u8,
        /// It goes to a third node: the lanes are wanted as that one holds them.
        relayed: bool,
        cluster: u32,
        node: u32,
        target_node: u32,
        target_incarnation: u64,
        lanes: Vec<Wanted>,
    },
    /// Chunks and then dots of this lane follow, which cover (0, as_of] from the top down: chunks what is above the base, dots the rest.
    LaneBegin { lane: u16, base: u64, as_of: u64, count: u64 },
    /// A range of the lane, above the base.
    Chunk(Chunk<'a>),
    /// A range of the lane, at or below the base.
    Dots(Dots<'a>),
    /// Operations of this lane follow, which cover (lo, as_of] from the bottom up.
    OpsBegin { lane: u16, lo: u64, as_of: u64 },
    /// What the lane did next, as in a Delta frame.
    Ops(DeltaFrame<'a>),
    /// The lane is complete; what the asker holds must now have this count and digest.
    LaneEnd { lane: u16, as_of: u64, count: u64, digest: u64 },
    /// All lanes were sent.
    Done,
    /// Too many askers.
    RetryAfter { ms: u32 },
    /// There is nothing to get here, and why.
    Refused { reason: u8, incarnation: u64 },
}

impl<'a> Message<'a> {
    /// Appends the message, its length first. [`WireError::TooLong`] if it is above [`MESSAGE_MAX`]; `out` is
    /// as it was then.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let start = out.len();
        if let Self::Chunk(chunk) = self {
            out.extend_from_slice(&chunk.encode()?);
            return Ok(());
        }
        out.extend_from_slice(&[0; LENGTH_LEN]);
        self.put_content(out);
        let len = out.len() - start - LENGTH_LEN;
        if len > MESSAGE_MAX {
            out.truncate(start);
            return Err(WireError::TooLong);
        }
        out[start..start + LENGTH_LEN].copy_from_slice(&(len as u32).to_le_bytes());
        Ok(())
    }

    fn put_content(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request { version, relayed, cluster, node, target_node, target_incarnation, lanes } => {
                out.push(if *relayed { RELAY_REQUEST } else { REQUEST });
                out.extend_from_slice(&MAGIC);
                out.push(*version);
                out.extend_from_slice(&cluster.to_le_bytes());
                out.extend_from_slice(&node.to_le_bytes());
                out.extend_from_slice(&target_node.to_le_bytes());
                out.extend_from_slice(&target_incarnation.to_le_bytes());
                put_list(out, lanes, |out, wanted| {
                    put_lane(out, wanted.lane);
                    put_varint(out, wanted.base);
                    // Clocks have 48 bits, so nothing is lost.
                    put_varint(out, (wanted.reached - wanted.base) << 1 | u64::from(wanted.diverged));
                });
            }
            Self::LaneBegin { lane, base, as_of, count } => {
                out.push(LANE_BEGIN);
                put_lane(out, *lane);
                put_varint(out, *base);
                put_varint(out, *as_of);
                put_varint(out, *count);
            }
            // Written by put(), which has its length already.
            Self::Chunk(_) => {}
            Self::Dots(dots) => {
                out.push(DOTS);
                dots.put(out);
            }
            Self::OpsBegin { lane, lo, as_of } => {
                out.push(OPS_BEGIN);
                put_lane(out, *lane);
                put_varint(out, *lo);
                put_varint(out, *as_of);
            }
            Self::Ops(delta) => {
                out.push(OPS);
                delta.put_content(out);
            }
            Self::LaneEnd { lane, as_of, count, digest } => {
                out.push(LANE_END);
                put_lane(out, *lane);
                put_varint(out, *as_of);
                put_varint(out, *count);
                out.extend_from_slice(&digest.to_le_bytes());
            }
            Self::Done => out.push(DONE),
            Self::RetryAfter { ms } => {
                out.push(RETRY_AFTER);
                out.extend_from_slice(&ms.to_le_bytes());
            }
            Self::Refused { reason, incarnation } => {
                out.push(REFUSED);
                out.push(*reason);
                out.extend_from_slice(&incarnation.to_le_bytes());
            }
        }
    }

    /// Decodes what [`super::MessageBuffer::next`] yields. Unlike a frame no message can be skipped: an
    /// unknown kind is an error.
    pub(crate) fn decode(kind: u8, body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let message = match kind {
            REQUEST | RELAY_REQUEST => {
                if reader.array()? != MAGIC {
                    return Err(WireError::Magic);
                }
                let version = reader.u8()?;
                if version != WIRE_VERSION {
                    return Err(WireError::Version);
                }
                Self::Request {
                    version,
                    relayed: kind == RELAY_REQUEST,
                    cluster: reader.u32()?,
                    node: reader.u32()?,
                    target_node: reader.u32()?,
                    target_incarnation: reader.u64()?,
                    lanes: reader.list(3, wanted)?,
                }
            }
            LANE_BEGIN => Self::LaneBegin {
                lane: reader.lane()?,
                base: reader.varint()?,
                as_of: reader.varint()?,
                count: reader.varint()?,
            },
            CHUNK => return Chunk::decode(body).map(Self::Chunk),
            DOTS => return Dots::decode(body).map(Self::Dots),
            OPS => return DeltaFrame::decode(body, &mut Context::default()).map(Self::Ops),
            OPS_BEGIN => {
                Self::OpsBegin { lane: reader.lane()?, lo: reader.varint()?, as_of: reader.varint()? }
            }
            LANE_END => Self::LaneEnd {
                lane: reader.lane()?,
                as_of: reader.varint()?,
                count: reader.varint()?,
                digest: reader.u64()?,
            },
            DONE => Self::Done,
            RETRY_AFTER => Self::RetryAfter { ms: reader.u32()? },
            REFUSED => Self::Refused { reason: reader.u8()?, incarnation: reader.u64()? },
            _ => return Err(WireError::Kind),
        };
        reader.finish()?;
        Ok(message)
    }
}

fn wanted(reader: &mut Reader<'_>) -> Result<Wanted, WireError> {
    let (lane, base, rest) = (reader.lane()?, reader.varint()?, reader.varint()?);
    let reached = base.checked_add(rest >> 1).ok_or(WireError::Range)?;
    Ok(Wanted { lane, base, reached, diverged: rest & 1 == 1 })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::MessageBuffer;
    use crate::wire::chunk::tests::any_chunk;
    use crate::wire::delta::tests::any_delta;
    use crate::wire::dots::tests::any_dots;

    pub(in super::super) fn any_message() -> impl Strategy<Value = Message<'static>> {
        let lane = || 0_u16..256;
        let wanted = (lane(), 0..1_u64 << 48, 0..1_u64 << 48, any::<bool>())
            .prop_map(|(lane, base, more, diverged)| Wanted { lane, base, reached: base + more, diverged });
        let request = (any::<(bool, u32, u32, u32, u64)>(), vec(wanted, 0..80)).prop_map(
            |((relayed, cluster, node, target_node, target_incarnation), lanes)| Message::Request {
                version: WIRE_VERSION,
                relayed,
                cluster,
                node,
                target_node,
                target_incarnation,
                lanes,
            },
        );
        prop_oneof![
            request,
            (lane(), any::<(u64, u64, u64)>())
                .prop_map(|(lane, (base, as_of, count))| { Message::LaneBegin { lane, base, as_of, count } }),
            any_chunk(20).prop_map(Message::Chunk),
            any_dots().prop_map(Message::Dots),
            any_delta().prop_map(Message::Ops),
            (lane(), any::<(u64, u64)>()).prop_map(|(lane, (lo, as_of))| Message::OpsBegin {
                lane,
                lo,
                as_of
            }),
            (lane(), any::<(u64, u64, u64)>()).prop_map(|(lane, (as_of, count, digest))| {
                Message::LaneEnd { lane, as_of, count, digest }
            }),
            Just(Message::Done),
            any::<u32>().prop_map(|ms| Message::RetryAfter { ms }),
            any::<(u8, u64)>().prop_map(|(reason, incarnation)| Message::Refused { reason, incarnation }),
        ]
    }

    pub(in super::super) fn encoded(message: &Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.put(&mut out).unwrap();
        out
    }

    fn decoded(bytes: &[u8]) -> Result<Message<'_>, WireError> {
        Message::decode(bytes[LENGTH_LEN], &bytes[LENGTH_LEN + 1..])
    }

    const REFUSAL: Message<'_> = Message::Refused { reason: 3, incarnation: 0x0102 };

    #[test]
    fn bytes_are_as_the_table_says() {
        assert_eq!(encoded(&Message::Done), [1, 0, 0, 0, DONE]);
        assert_eq!(encoded(&REFUSAL), [10, 0, 0, 0, REFUSED, 3, 2, 1, 0, 0, 0, 0, 0, 0]);
        let request = Message::Request {
            version: 1,
            relayed: false,
            cluster: 2,
            node: 3,
            target_node: 4,
            target_incarnation: 5,
            lanes: vec![Wanted { lane: 6, base: 300, reached: 301, diverged: true }],
        };
        let expected = [
            &[31, 0, 0, 0, REQUEST][..],
            b"HCSN",
            &[1, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 6, 0xAC, 0x02, 3],
        ];
        assert_eq!(encoded(&request), expected.concat());
        let Message::Request { version, cluster, node, target_node, target_incarnation, lanes, .. } = request
        else {
            panic!("it is a request");
        };
        let relayed = Message::Request {
            version,
            relayed: true,
            cluster,
            node,
            target_node,
            target_incarnation,
            lanes,
        };
        let mut expected = expected.concat();
        expected[4] = RELAY_REQUEST;
        assert_eq!(encoded(&relayed), expected);
    }

    #[test]
    fn foreign_and_malformed_messages_are_refused() {
        let lanes = vec![Wanted { lane: 255, base: 9, reached: 9, diverged: false }];
        let (cluster, node, target_node, target_incarnation) = (1, 2, 3, 4);
        let request = Message::Request {
            version: 1,
            relayed: false,
            cluster,
            node,
            target_node,
            target_incarnation,
            lanes,
        };
        let good = encoded(&request);
        let broken = |at: usize, byte| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decoded(&bytes).map(|_| ())
        };
        assert_eq!(broken(5, b'G'), Err(WireError::Magic));
        assert_eq!(broken(9, 2), Err(WireError::Version));
        assert_eq!(broken(30, 0), Err(WireError::Trailing), "count of lanes");
        assert_eq!(broken(30, 2), Err(WireError::Truncated), "count of lanes");
        assert_eq!(broken(32, 4), Err(WireError::Lane));
        assert_eq!(decoded(&[1, 0, 0, 0, 0]), Err(WireError::Kind));
        assert_eq!(decoded(&[1, 0, 0, 0, 11]), Err(WireError::Kind));
        assert_eq!(decoded(&[2, 0, 0, 0, DONE, 0]), Err(WireError::Trailing));
    }

    #[test]
    fn message_above_the_limit_is_refused_and_leaves_no_bytes() {
        let mut out = vec![7];
        let lanes = vec![Wanted { lane: 1, base: 1, reached: 1, diverged: false }; MESSAGE_MAX / 2];
        let (cluster, node, target_node, target_incarnation) = (1, 2, 3, 4);
        let message = Message::Request {
            version: 1,
            relayed: false,
            cluster,
            node,
            target_node,
            target_incarnation,
            lanes,
        };
        assert_eq!(message.put(&mut out), Err(WireError::TooLong));
        assert_eq!(out, [7]);
    }

    proptest! {
        #[test]
        fn any_message_round_trips(message in any_message()) {
            let bytes = encoded(&message);
            prop_assert!(bytes.len() <= LENGTH_LEN + MESSAGE_MAX);
            prop_assert_eq!(decoded(&bytes), Ok(message));
        }

        #[test]
        fn random_bytes_never_panic(kind in 0_u8..14, bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::decode(kind, &bytes) {
                let again = encoded(&message);
                prop_assert_eq!(decoded(&again), Ok(message));
            }
            let mut buffer = MessageBuffer::default();
            prop_assert!(buffer.push(&bytes));
            while let Ok(Some((kind, body))) = buffer.next() {
                let _ = Message::decode(kind, body);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_cut_and_every_bit_flip_decodes_without_panic(message in any_message()) {
            let mut bytes = encoded(&message);
            for len in LENGTH_LEN + 1..bytes.len() {
                prop_assert!(decoded(&bytes[..len]) != Ok(message.clone()), "cut to {}", len);
            }
            for bit in LENGTH_LEN * 8..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                if let Ok(flipped) = decoded(&bytes) {
                    let again = encoded(&flipped);
                    prop_assert_eq!(decoded(&again), Ok(flipped));
                }
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
