//! Frames, the contents of a datagram: their envelope, and which there are.

use std::iter;

use super::WireError;
use super::control::{Heartbeat, Hello, IncReject, Leave, Nak, SnapshotOffer};
use super::delta::{Context, DeltaFrame};
use super::drops::Drops;
use super::evict::{Evict, Evicted};
use super::heard::Heard;
use super::peers::Peers;
use super::proof::{Challenge, Proof};
use super::varint::{Reader, put_varint, varint_len};

pub(crate) const CRITICAL: u8 = 0x80;

pub(super) const HELLO: u8 = 1;
pub(super) const HEARTBEAT: u8 = 2;
pub(super) const DELTA: u8 = 3;
pub(super) const NAK: u8 = 4;
pub(super) const SNAPSHOT_OFFER: u8 = 5;
pub(super) const LEAVE: u8 = 6;
pub(super) const INC_REJECT: u8 = 7;
pub(super) const CHALLENGE: u8 = 8;
pub(super) const PROOF: u8 = 9;
pub(super) const HEARD: u8 = 10;
pub(super) const PEERS: u8 = 11;
pub(super) const DROPS: u8 = 12;
pub(super) const EVICT: u8 = 13;
pub(super) const EVICTED: u8 = 14;

/// One frame, of a type that this version knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello(Hello<'a>),
    Heartbeat(Heartbeat),
    Delta(DeltaFrame<'a>),
    Nak(Nak),
    SnapshotOffer(SnapshotOffer),
    Leave(Leave),
    IncReject(IncReject),
    Challenge(Challenge),
    Proof(Proof),
    Heard(Heard),
    Peers(Peers),
    Drops(Drops),
    Evict(Evict),
    Evicted(Evicted),
}

/// The frames of an opened datagram's body. Ends after the first error.
///
/// The envelopes are walked before anything is yielded, so a critical frame of an unknown type, or a length
/// that does not fit, drops the datagram as a whole. A known frame with a bad body is met in its turn:
/// collect first if the frames before it must not count.
pub(crate) fn frames(body: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, WireError>> {
    let mut fault = walk(body).err();
    let mut reader = Reader::new(if fault.is_none() { body } else { &[] });
    let mut context = Context::default();
    iter::from_fn(move || {
        if let Some(error) = fault.take() {
            return Some(Err(error));
        }
        let frame = next_known(&mut reader, &mut context).transpose()?;
        if frame.is_err() {
            reader = Reader::new(&[]);
        }
        Some(frame)
    })
}

pub(crate) fn is_known(kind: u8) -> bool {
    (HELLO..=EVICTED).contains(&kind)
}

fn walk(body: &[u8]) -> Result<(), WireError> {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let kind = reader.u8()?;
        reader.bytes()?;
        if kind & CRITICAL != 0 && !is_known(kind & !CRITICAL) && !planted!(CriticalSkipped) {
            return Err(WireError::CriticalFrame);
        }
    }
    Ok(())
}

/// The bytes of each frame of a body, known or not. Ends at the first that is not whole.
#[cfg(any(test, feature = "sim"))]
pub(crate) fn whole_frames(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    iter::from_fn(move || {
        let mut reader = Reader::new(rest);
        reader.u8().and_then(|_| reader.bytes()).ok()?;
        let (frame, behind) = rest.split_at_checked(rest.len() - reader.rest().len())?;
        rest = behind;
        Some(frame)
    })
}

fn next_known<'a>(reader: &mut Reader<'a>, context: &mut Context) -> Result<Option<Frame<'a>>, WireError> {
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let body = reader.bytes()?;
        return Ok(Some(match kind & !CRITICAL {
            HELLO => Frame::Hello(Hello::decode(body)?),
            HEARTBEAT => Frame::Heartbeat(Heartbeat::decode(body)?),
            DELTA => Frame::Delta(DeltaFrame::decode(body, context)?),
            NAK => Frame::Nak(Nak::decode(body)?),
            SNAPSHOT_OFFER => Frame::SnapshotOffer(SnapshotOffer::decode(body)?),
            LEAVE => Frame::Leave(Leave::decode(body)?),
            INC_REJECT => Frame::IncReject(IncReject::decode(body)?),
            CHALLENGE => Frame::Challenge(Challenge::decode(body)?),
            PROOF => Frame::Proof(Proof::decode(body)?),
            HEARD => Frame::Heard(Heard::decode(body)?),
            PEERS => Frame::Peers(Peers::decode(body)?),
            DROPS => Frame::Drops(Drops::decode(body)?),
            EVICT => Frame::Evict(Evict::decode(body)?),
            EVICTED => Frame::Evicted(Evicted::decode(body)?),
            _ if planted!(UnknownEnds) => return Ok(None),
            _ => continue,
        }));
    }
    Ok(None)
}

/// Bytes of a frame whose body is `body_len` long.
pub(super) const fn frame_len(body_len: usize) -> usize {
    body_len.saturating_add(1 + varint_len(body_len as u64))
}

/// Appends one frame whose body `write` appends.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let start = out.len();
    write(out);
    // The length goes in front, and takes as many bytes as it needs: a padded varint would not be canonical.
    let end = out.len();
    put_varint(out, (end - start) as u64);
    let len_len = out.len() - end;
    out[start..].rotate_right(len_len);
}

#[cfg(any(test, feature = "sim"))]
impl Frame<'_> {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(frame) => frame.put(out),
            Self::Heartbeat(frame) => frame.put(out),
            Self::Delta(frame) => frame.put(out),
            Self::Nak(frame) => frame.put(out),
            Self::SnapshotOffer(frame) => frame.put(out),
            Self::Leave(frame) => frame.put(out),
            Self::IncReject(frame) => frame.put(out),
            Self::Challenge(frame) => frame.put(out),
            Self::Proof(frame) => frame.put(out),
            Self::Heard(frame) => frame.put(out),
            Self::Peers(frame) => frame.put(out),
            Self::Drops(frame) => frame.put(out),
            Self::Evict(frame) => frame.put(out),
            Self::Evicted(frame) => frame.put(out),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Answer;
    use crate::wire::control::tests::{HELLO_TO_ALL, any_control};
    use crate::wire::delta::tests::any_delta;
    use crate::wire::peers::tests::any_peers;

    fn any_frame() -> impl Strategy<Value = Frame<'static>> {
        prop_oneof![
            3 => any_control(),
            1 => any_delta().prop_map(Frame::Delta),
            1 => any_peers().prop_map(Frame::Peers),
            1 => any::<u64>().prop_map(|total| Frame::Drops(Drops { total })),
            1 => (any::<u32>(), any::<u64>(), 0..256_u16, any::<u64>(), any::<u64>()).prop_map(
                |(target_node, incarnation, lane, clock, question)| {
                    Frame::Evict(Evict { target_node, incarnation, lane, clock, question })
                }
            ),
            1 => (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(target_session, question, gone)| {
                let answer = if gone { Answer::Gone } else { Answer::Removed };
                Frame::Evicted(Evicted { target_session, question, answer })
            }),
        ]
    }

    pub(in super::super) fn put_all(all: &[Frame<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in all {
            frame.put(&mut out);
        }
        out
    }

    pub(in super::super) fn decoded(body: &[u8]) -> Result<Vec<Frame<'_>>, WireError> {
        frames(body).collect()
    }

    /// Whatever is accepted can be said again, and then says the same.
    fn survives_another_trip(all: &[Frame<'_>]) -> Result<(), TestCaseError> {
        let again = put_all(all);
        prop_assert_eq!(decoded(&again), Ok(all.to_vec()));
        Ok(())
    }

    const REJECT: Frame<'_> = Frame::IncReject(IncReject { target_node: 7, highest: 9 });

    #[test]
    fn unknown_frame_is_skipped() {
        let mut body = vec![0x7F, 3, 1, 2, 3, 0x00, 0];
        REJECT.put(&mut body);
        body.extend_from_slice(&[0x20, 0]);
        assert_eq!(decoded(&body), Ok(vec![REJECT]));
    }

    #[test]
    fn unknown_critical_frame_drops_the_datagram_before_anything_is_yielded() {
        for kind in [0x80, 0x8F, 0xFF] {
            let mut body = put_all(&[REJECT]);
            body.extend_from_slice(&[kind, 1, 0]);
            let all: Vec<_> = frames(&body).collect();
            assert_eq!(all, [Err(WireError::CriticalFrame)]);
        }
    }

    #[test]
    fn critical_bit_does_not_change_a_known_frame() {
        let mut body = put_all(&[REJECT]);
        body[0] |= CRITICAL;
        assert_eq!(decoded(&body), Ok(vec![REJECT]));
    }

    #[test]
    fn frames_end_after_the_first_error() {
        let mut body = put_all(&[REJECT]);
        body.extend_from_slice(&[LEAVE, 1, 0]);
        REJECT.put(&mut body);
        let all: Vec<_> = frames(&body).collect();
        assert_eq!(all, [Ok(REJECT), Err(WireError::Truncated)]);
    }

    #[test]
    fn byte_too_many_inside_a_frame_is_refused() {
        for frame in [REJECT, Frame::Hello(HELLO_TO_ALL), Frame::Heartbeat(Heartbeat::default())] {
            let mut body = put_all(&[frame]);
            body[1] += 1;
            body.push(0);
            assert_eq!(decoded(&body), Err(WireError::Trailing));
        }
    }

    proptest! {
        #[test]
        fn any_frames_round_trip(all in vec(any_frame(), 0..8)) {
            let body = put_all(&all);
            prop_assert_eq!(decoded(&body), Ok(all));
        }

        #[test]
        fn random_bytes_never_panic(body in vec(any::<u8>(), 0..200), kind in 1_u8..=EVICTED) {
            let _ = frames(&body).count();
            let mut framed = Vec::new();
            put_frame(&mut framed, kind, |out| out.extend_from_slice(&body));
            if let Ok(all) = decoded(&framed) {
                survives_another_trip(&all)?;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_cut_and_every_bit_flip_decodes_without_panic(all in vec(any_frame(), 1..5)) {
            let mut body = put_all(&all);
            for len in 0..body.len() {
                let cut = decoded(&body[..len]);
                prop_assert!(cut.map_or(true, |cut| cut.len() < all.len()), "cut to {}", len);
            }
            for bit in 0..body.len() * 8 {
                body[bit / 8] ^= 1 << (bit % 8);
                if let Ok(flipped) = decoded(&body) {
                    survives_another_trip(&flipped)?;
                }
                body[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
