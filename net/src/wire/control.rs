//! Control frames: everything about lanes and nodes but the operations themselves.

use super::WireError;
use super::frame::{HEARTBEAT, HELLO, INC_REJECT, LEAVE, NAK, SNAPSHOT_OFFER, put_frame};
use super::varint::{Reader, put_bytes, put_lane, put_lane_count, put_list, put_varint};
use crate::keys::EPOCHS_MAX;

/// The longest name of a node, in bytes.
pub(crate) const NAME_LEN_MAX: usize = 64;

/// Who the sender is, and what it knows of the node it asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello<'a> {
    /// [`Hello::REPLY_WANTED`], [`Hello::JOINING`] and [`Hello::COPIES_WANTED`]; other bits are a later version's and are kept.
    pub(crate) flags: u8,
    pub(crate) incarnation: u64,
    /// 0 = everybody.
    pub(crate) target_node: u32,
    /// The highest incarnation of `target_node` that the sender knows; 0 = none.
    pub(crate) target_known: u64,
    /// How many lanes the sender has.
    pub(crate) lanes: u16,
    pub(crate) tcp_port: u16,
    pub(crate) wire_min: u8,
    pub(crate) wire_max: u8,
    /// At most [`NAME_LEN_MAX`] bytes.
    pub(crate) name: &'a str,
}

/// Still here, and how far each lane is. Lanes come in any order; if one comes twice the reader decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    pub(crate) seq: u64,
    pub(crate) incarnation: u64,
    /// How many lanes the sender has; `clocks` may name fewer.
    pub(crate) lanes: u16,
    pub(crate) clocks: Vec<(u16, u64)>,
    pub(crate) digests: Vec<LaneDigest>,
    /// The epochs of the keys that the sender can open, at most [`EPOCHS_MAX`]; none in clear.
    pub(crate) epochs: Vec<u16>,
    /// Lanes that are not in `clocks` stand where they stood at the heartbeat of this sequence number.
    pub(crate) since: u64,
}

/// What a clean receiver at this clock of the lane must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneDigest {
    pub(crate) lane: u16,
    pub(crate) clock: u64,
    pub(crate) count: u64,
    pub(crate) digest: u64,
}

/// Asks an owner to send ranges of its lanes again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nak {
    pub(crate) target_node: u32,
    pub(crate) target_session: u64,
    /// `(lane, lo, hi)`: clocks in (lo, hi], never empty.
    pub(crate) ranges: Vec<(u16, u64, u64)>,
}

/// The owner's answer to a Nak it cannot serve: fetch these lanes over TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotOffer {
    pub(crate) target_node: u32,
    pub(crate) target_session: u64,
    pub(crate) lanes: Vec<u16>,
}

/// A graceful end, with the clocks the lanes ended at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leave {
    pub(crate) incarnation: u64,
    pub(crate) clocks: Vec<(u16, u64)>,
    /// For how long its entries are to stay listed, in milliseconds.
    pub(crate) handover_ms: u64,
}

/// Tells a node that its incarnation is below one that the group knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IncReject {
    pub(crate) target_node: u32,
    pub(crate) highest: u64,
}

fn put_clock(out: &mut Vec<u8>, &(lane, clock): &(u16, u64)) {
    put_lane(out, lane);
    put_varint(out, clock);
}

fn clocks(reader: &mut Reader<'_>) -> Result<Vec<(u16, u64)>, WireError> {
    reader.list(2, |reader| Ok((reader.lane()?, reader.varint()?)))
}

impl<'a> Hello<'a> {
    /// The receiver shall answer with a Hello of its own.
    pub(crate) const REPLY_WANTED: u8 = 1;
    /// The sender has no incarnation yet.
    pub(crate) const JOINING: u8 = 2;
    /// No multicast reaches the sender: it wants a copy of each for itself, for a while.
    pub(crate) const COPIES_WANTED: u8 = 4;

    /// A name over the limit is cut at a character: a Hello with half a name introduces the node, one that
    /// every receiver refuses does not.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        debug_assert!(self.wire_min <= self.wire_max, "empty range of wire versions");
        let mut name_len = self.name.len().min(NAME_LEN_MAX);
        while !self.name.is_char_boundary(name_len) {
            name_len -= 1;
        }
        let name = &self.name[..name_len];
        put_frame(out, HELLO, |out| {
            out.push(self.flags);
            out.extend_from_slice(&self.incarnation.to_le_bytes());
            out.extend_from_slice(&self.target_node.to_le_bytes());
            out.extend_from_slice(&self.target_known.to_le_bytes());
            put_lane_count(out, self.lanes);
            out.extend_from_slice(&self.tcp_port.to_le_bytes());
            out.push(self.wire_min);
            out.push(self.wire_max);
            put_bytes(out, name.as_bytes());
        });
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self {
            flags: reader.u8()?,
            incarnation: reader.u64()?,
            target_node: reader.u32()?,
            target_known: reader.u64()?,
            lanes: reader.lane_count()?,
            tcp_port: reader.u16()?,
            wire_min: reader.u8()?,
            wire_max: reader.u8()?,
            name: match reader.bytes()? {
                name if name.len() > NAME_LEN_MAX => return Err(WireError::Name),
                name => str::from_utf8(name).map_err(|_| WireError::Name)?,
            },
        };
        reader.finish()?;
        if frame.wire_min > frame.wire_max {
            return Err(WireError::Range);
        }
        Ok(frame)
    }
}

impl Heartbeat {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, HEARTBEAT, |out| {
            put_varint(out, self.seq);
            out.extend_from_slice(&self.incarnation.to_le_bytes());
            put_lane_count(out, self.lanes);
            put_list(out, &self.clocks, put_clock);
            put_list(out, &self.digests, |out, item| {
                put_clock(out, &(item.lane, item.clock));
                put_varint(out, item.count);
                out.extend_from_slice(&item.digest.to_le_bytes());
            });
            put_list(out, &self.epochs, |out, &epoch| put_varint(out, epoch.into()));
            put_varint(out, self.since);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self {
            seq: reader.varint()?,
            incarnation: reader.u64()?,
            lanes: reader.lane_count()?,
            clocks: clocks(&mut reader)?,
            digests: reader.list(11, |reader| {
                Ok(LaneDigest {
                    lane: reader.lane()?,
                    clock: reader.varint()?,
                    count: reader.varint()?,
                    digest: reader.u64()?,
                })
            })?,
            epochs: reader.list(1, |reader| reader.varint()?.try_into().map_err(|_| WireError::Range))?,
            since: reader.varint()?,
        };
        reader.finish()?;
        if frame.epochs.len() > EPOCHS_MAX {
            return Err(WireError::Range);
        }
        Ok(frame)
    }
}

impl Nak {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, NAK, |out| {
            out.extend_from_slice(&self.target_node.to_le_bytes());
            out.extend_from_slice(&self.target_session.to_le_bytes());
            put_list(out, &self.ranges, |out, &(lane, lo, hi)| {
                debug_assert!(lo < hi, "empty range ({lo}, {hi}]");
                put_clock(out, &(lane, lo));
                put_varint(out, hi.wrapping_sub(lo));
            });
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self {
            target_node: reader.u32()?,
            target_session: reader.u64()?,
            ranges: reader.list(3, |reader| {
                let (lane, lo) = (reader.lane()?, reader.varint()?);
                let hi = lo.checked_add(reader.positive()?).ok_or(WireError::Range)?;
                Ok((lane, lo, hi))
            })?,
        };
        reader.finish()?;
        Ok(frame)
    }
}

impl SnapshotOffer {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, SNAPSHOT_OFFER, |out| {
            out.extend_from_slice(&self.target_node.to_le_bytes());
            out.extend_from_slice(&self.target_session.to_le_bytes());
            put_list(out, &self.lanes, |out, lane| put_lane(out, *lane));
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self {
            target_node: reader.u32()?,
            target_session: reader.u64()?,
            lanes: reader.list(1, Reader::lane)?,
        };
        reader.finish()?;
        Ok(frame)
    }
}

impl Leave {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, LEAVE, |out| {
            out.extend_from_slice(&self.incarnation.to_le_bytes());
            put_list(out, &self.clocks, put_clock);
            put_varint(out, self.handover_ms);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (incarnation, clocks) = (reader.u64()?, clocks(&mut reader)?);
        let frame = Self { incarnation, clocks, handover_ms: reader.varint()? };
        reader.finish()?;
        Ok(frame)
    }
}

impl IncReject {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, INC_REJECT, |out| {
            out.extend_from_slice(&self.target_node.to_le_bytes());
            out.extend_from_slice(&self.highest.to_le_bytes());
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self { target_node: reader.u32()?, highest: reader.u64()? };
        reader.finish()?;
        Ok(frame)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::frame::tests::{decoded, put_all};
    use crate::wire::proof::{Challenge, Proof};

    fn clocks_strategy() -> impl Strategy<Value = Vec<(u16, u64)>> {
        vec((0_u16..256, any::<u64>()), 0..20)
    }

    fn hello() -> impl Strategy<Value = Hello<'static>> {
        let names = prop_oneof![
            Just(""),
            Just("n1"),
            Just("knoten-\u{fc}ber-\u{1F980}"),
            Just("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        ];
        let ids = any::<(u8, u64, u32, u64, u16, u8, u8)>();
        (ids, 0_u16..=256, names).prop_map(|(ids, lanes, name)| {
            let (flags, incarnation, target_node, target_known, tcp_port, a, b) = ids;
            let (wire_min, wire_max) = (a.min(b), a.max(b));
            Hello { flags, incarnation, target_node, target_known, lanes, tcp_port, wire_min, wire_max, name }
        })
    }

    fn heartbeat() -> impl Strategy<Value = Heartbeat> {
        let digest = (0_u16..256, any::<(u64, u64, u64)>())
            .prop_map(|(lane, (clock, count, digest))| LaneDigest { lane, clock, count, digest });
        let epochs = vec(any::<u16>(), 0..=EPOCHS_MAX);
        (any::<(u64, u64, u64)>(), 0_u16..=256, clocks_strategy(), vec(digest, 0..5), epochs).prop_map(
            |((seq, incarnation, since), lanes, clocks, digests, epochs)| Heartbeat {
                seq,
                incarnation,
                lanes,
                clocks,
                digests,
                epochs,
                since,
            },
        )
    }

    fn nak() -> impl Strategy<Value = Nak> {
        let range = (0_u16..256, any::<(u64, u64)>())
            .prop_filter("empty range", |(_, (a, b))| a != b)
            .prop_map(|(lane, (a, b))| (lane, a.min(b), a.max(b)));
        (any::<(u32, u64)>(), vec(range, 0..20)).prop_map(|((target_node, target_session), ranges)| Nak {
            target_node,
            target_session,
            ranges,
        })
    }

    pub(in super::super) fn any_control() -> impl Strategy<Value = Frame<'static>> {
        prop_oneof![
            hello().prop_map(Frame::Hello),
            heartbeat().prop_map(Frame::Heartbeat),
            nak().prop_map(Frame::Nak),
            (any::<(u32, u64)>(), vec(0_u16..256, 0..20)).prop_map(
                |((target_node, target_session), lanes)| {
                    Frame::SnapshotOffer(SnapshotOffer { target_node, target_session, lanes })
                }
            ),
            (any::<(u64, u64)>(), clocks_strategy()).prop_map(|((incarnation, handover_ms), clocks)| {
                Frame::Leave(Leave { incarnation, clocks, handover_ms })
            }),
            any::<(u32, u64)>()
                .prop_map(|(target_node, highest)| Frame::IncReject(IncReject { target_node, highest })),
            any::<(u64, [u8; 16])>().prop_map(|(target_session, cookie)| {
                Frame::Challenge(Challenge { target_session, cookie })
            }),
            any::<[u8; 16]>().prop_map(|cookie| Frame::Proof(Proof { cookie })),
            crate::wire::heard::tests::any_heard().prop_map(Frame::Heard),
        ]
    }

    pub(in super::super) const HELLO_TO_ALL: Hello<'_> = Hello {
        flags: Hello::JOINING,
        incarnation: 0,
        target_node: 0,
        target_known: 0,
        lanes: 64,
        tcp_port: 7071,
        wire_min: 1,
        wire_max: 1,
        name: "n1",
    };

    #[test]
    fn hello_bytes_are_as_the_table_says() {
        let mut out = Vec::new();
        HELLO_TO_ALL.put(&mut out);
        let mut expected = vec![1, 29, 2];
        expected.extend_from_slice(&[0; 20]);
        expected.extend_from_slice(&[64, 0x9F, 0x1B, 1, 1, 2, b'n', b'1']);
        assert_eq!(out, expected);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let one = |kind, content: &[u8]| {
            let mut out = Vec::new();
            put_frame(&mut out, kind, |out| out.extend_from_slice(content));
            decoded(&out).map(|_| ())
        };
        let target = [0; 12];
        let empty_range = [&target[..], &[1, 5, 9, 0]].concat();
        assert_eq!(one(NAK, &empty_range), Err(WireError::Range), "lo = hi");
        let mut beyond = [&target[..], &[1, 5]].concat();
        put_varint(&mut beyond, u64::MAX);
        beyond.push(1);
        assert_eq!(one(NAK, &beyond), Err(WireError::Range), "hi above 2^64 - 1");
        let lane = [&target[..], &[1, 0x80, 0x02]].concat();
        assert_eq!(one(SNAPSHOT_OFFER, &lane), Err(WireError::Lane), "lane 256");
        let clock = [&[0; 8][..], &[1, 0x80, 0x02, 5]].concat();
        assert_eq!(one(LEAVE, &clock), Err(WireError::Lane), "lane 256");
    }

    #[test]
    fn hello_with_a_bad_name_or_range_is_refused() {
        let body = put_all(&[Frame::Hello(HELLO_TO_ALL)]);
        let at = body.len();
        let mut bytes = body.clone();
        bytes[at - 1] = 0xFF;
        assert_eq!(decoded(&bytes), Err(WireError::Name), "not UTF-8");
        let mut bytes = body.clone();
        bytes[at - 5] = 2;
        assert_eq!(decoded(&bytes), Err(WireError::Range), "wire min 2, max 1");
        let mut bytes = body;
        bytes[1] += 63;
        bytes[at - 3] += 63;
        bytes.extend_from_slice(&[b'x'; 63]);
        assert_eq!(decoded(&bytes), Err(WireError::Name), "65 bytes");
    }

    #[test]
    fn name_over_the_limit_is_cut_at_a_character() {
        let name = "\u{20AC}".repeat(30);
        let body = put_all(&[Frame::Hello(Hello { name: &name, ..HELLO_TO_ALL })]);
        let expected = Frame::Hello(Hello { name: &name[..63], ..HELLO_TO_ALL });
        assert_eq!(decoded(&body), Ok(vec![expected]));
    }
}
