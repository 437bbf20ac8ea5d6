//! Delta frames: a lane's operations over a range of clocks. [`super::delta_writer`] makes them.

use super::WireError;
use super::delta_writer::DeltaWriter;
use super::varint::Reader;
pub(crate) use headcount::replica::Op;

/// The most clocks that one frame may cover. Operations that skip clocks cost next to nothing on the wire, so
/// without a limit a few bytes could move a receiver's clock by any amount.
pub(crate) const SPAN_MAX: u64 = 65_536 * 16;

pub(super) const ADD: u64 = 0;
/// With [`ADD`]: the topic is spelled out instead of named by its index.
pub(super) const NEW_TOPIC: u64 = 1;
/// With [`ADD`]: an age follows.
pub(super) const AGED: u64 = 2;
pub(super) const UPDATE: u64 = 4;
pub(super) const REMOVE: u64 = 5;
pub(super) const SKIP: u64 = 6;
pub(super) const TAG_BITS: u32 = 3;

/// A decoded Delta: what happened in a lane at clocks (lo, hi].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeltaFrame<'a> {
    pub(crate) lane: u16,
    pub(crate) lo: u64,
    pub(crate) hi: u64,
    pub(crate) ops: Vec<Op<'a>>,
}

impl<'a> DeltaFrame<'a> {
    #[cfg(any(test, feature = "sim"))]
    /// Appends the frame, neighbouring Skips merged. For frames made by hand: the send path uses
    /// [`DeltaWriter`].
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut writer = DeltaWriter::new(usize::MAX);
        writer.start(self.lane, self.lo);
        for op in &self.ops {
            let written = writer.push(op);
            debug_assert!(written, "{op:?} does not belong into ({}, {}]", self.lo, self.hi);
        }
        let finished = writer.finish_frame();
        debug_assert_eq!(finished, Some((self.lane, self.lo, self.hi)));
        out.extend_from_slice(writer.body());
    }

    /// Appends what a frame has behind its length, for a message of a stream. For messages taken apart: the owner uses
    /// [`DeltaWriter::finish_message`](super::DeltaWriter::finish_message).
    pub(super) fn put_content(&self, out: &mut Vec<u8>) {
        let mut writer = DeltaWriter::new(usize::MAX);
        writer.start(self.lane, self.lo);
        for op in &self.ops {
            let written = writer.push(op);
            debug_assert!(written, "{op:?} does not belong into ({}, {}]", self.lo, self.hi);
        }
        out.extend_from_slice(writer.content());
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let lane = reader.lane()?;
        let lo = reader.varint()?;
        let mut clock = lo;
        let mut topics: Vec<&'a [u8]> = Vec::new();
        let mut ops = Vec::new();
        while !reader.is_empty() {
            let head = reader.varint()?;
            let (value, tag) = (head >> TAG_BITS, head & ((1 << TAG_BITS) - 1));
            let consumed = if tag == SKIP { value } else { 1 };
            clock = advance(lo, clock, consumed).ok_or(WireError::Range)?;
            ops.push(match tag {
                SKIP => Op::Skip { count: value },
                REMOVE => Op::Remove { birth: birth(clock, value)? },
                UPDATE => Op::Update { birth: birth(clock, value)?, meta: reader.bytes()? },
                tag if tag <= (ADD | NEW_TOPIC | AGED) => {
                    let topic = if tag & NEW_TOPIC != 0 {
                        let topic = reader.take(value)?;
                        topics.push(topic);
                        topic
                    } else {
                        let index = usize::try_from(value).ok();
                        index.and_then(|index| topics.get(index)).ok_or(WireError::Range)?
                    };
                    let birth = if tag & AGED != 0 { birth(clock, reader.varint()?)? } else { clock };
                    Op::Add { birth, topic, key: reader.bytes()?, meta: reader.bytes()? }
                }
                _ => return Err(WireError::Kind),
            });
        }
        if clock == lo {
            return Err(WireError::Range);
        }
        Ok(Self { lane, lo, hi: clock, ops })
    }
}

/// The clock after `consumed` more, if it exists and the frame may reach it.
pub(super) fn advance(lo: u64, clock: u64, consumed: u64) -> Option<u64> {
    if consumed == 0 {
        return None;
    }
    clock.checked_add(consumed).filter(|clock| clock - lo <= SPAN_MAX)
}

/// The birth of an entry of this age. Clocks start at 1, and an entry without an age has other tags.
fn birth(clock: u64, age: u64) -> Result<u64, WireError> {
    if age == 0 || age >= clock { Err(WireError::Range) } else { Ok(clock - age) }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::{DELTA, Frame, frames};
    use crate::wire::seal::BODY_MAX;
    use crate::wire::varint::put_varint;

    pub(in super::super) static POOL: [u8; 1024] = {
        let mut pool = [0; 1024];
        let mut i = 0;
        while i < pool.len() {
            pool[i] = (i * 167 + i / 256) as u8;
            i += 1;
        }
        pool
    };

    /// What `seeds` describe as operations that may follow `lo`, no two Skips in a row.
    fn make_ops(lo: u64, seeds: &[(u8, u8, usize, usize, u64)]) -> (u64, Vec<Op<'static>>) {
        let mut clock = lo;
        let mut ops = Vec::new();
        for &(kind, topic, key_len, meta_len, number) in seeds {
            let start = usize::from(topic);
            let (topic, key, meta) =
                (&POOL[start..start * 2], &POOL[start..start + key_len], &POOL[..meta_len]);
            let skipped = matches!(ops.last(), Some(Op::Skip { .. }));
            let op = match kind {
                0 if !skipped => Op::Skip { count: number % 5000 + 1 },
                1..=3 if clock > 0 => {
                    let birth = clock - (number % clock).min(u64::MAX >> 4);
                    match kind {
                        1 => Op::Update { birth, meta },
                        2 => Op::Remove { birth },
                        _ => Op::Add { birth, topic, key, meta },
                    }
                }
                _ => Op::Add { birth: clock + 1, topic, key, meta },
            };
            clock += if let Op::Skip { count } = op { count } else { 1 };
            ops.push(op);
        }
        (clock, ops)
    }

    prop_compose! {
        pub(in super::super) fn any_ops(len: std::ops::Range<usize>)(
            lo: u64,
            shift in 0_u32..64,
            seeds in vec((0_u8..6, 0_u8..12, 0_usize..40, 0_usize..80, any::<u64>()), len),
        ) -> (u64, u64, Vec<Op<'static>>) {
            let lo = (lo >> shift).min(u64::MAX - SPAN_MAX);
            let (hi, ops) = make_ops(lo, &seeds);
            (lo, hi, ops)
        }
    }

    prop_compose! {
        pub(in super::super) fn any_delta()(
            lane in 0_u16..256,
            (lo, hi, ops) in any_ops(1..20),
        ) -> DeltaFrame<'static> {
            DeltaFrame { lane, lo, hi, ops }
        }
    }

    pub(in super::super) fn deltas(body: &[u8]) -> Vec<DeltaFrame<'_>> {
        let only_delta = |frame| match frame {
            Ok(Frame::Delta(delta)) => delta,
            other => panic!("not a delta: {other:?}"),
        };
        frames(body).map(only_delta).collect()
    }

    /// Decodes the content of one frame that begins at lane 1, clock `lo`.
    fn decoded(lo: u64, ops: &[u8]) -> Result<Vec<Op<'_>>, WireError> {
        let mut body = vec![1];
        put_varint(&mut body, lo);
        body.extend_from_slice(ops);
        let body = body.leak();
        DeltaFrame::decode(body).map(|delta| delta.ops)
    }

    pub(in super::super) const ADD_A: Op<'_> = Op::Add { birth: 8, topic: b"t", key: b"k", meta: b"mm" };

    #[test]
    fn operations_are_coded_as_the_table_says() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        writer.start(5, 7);
        let ops = [
            ADD_A,
            Op::Add { birth: 9, topic: b"t", key: b"l", meta: b"" },
            Op::Add { birth: 3, topic: b"t", key: b"", meta: b"" },
            Op::Add { birth: 1, topic: b"", key: b"", meta: b"" },
            Op::Update { birth: 8, meta: b"n" },
            Op::Remove { birth: 3 },
            Op::Skip { count: 4 },
        ];
        assert!(ops.iter().all(|op| writer.push(op)));
        assert_eq!(writer.finish_frame(), Some((5, 7, 17)));
        let expected = [
            &[DELTA, 26, 5, 7][..],
            &[1 << 3 | 1, b't', 1, b'k', 2, b'm', b'm'],
            &[0, 1, b'l', 0],
            &[2, 7, 0, 0],
            &[3, 10, 0, 0],
            &[4 << 3 | 4, 1, b'n'],
            &[10 << 3 | 5],
            &[4 << 3 | 6],
        ];
        assert_eq!(writer.body(), expected.concat());
    }

    #[test]
    fn impossible_operations_are_refused() {
        let cases: [(&str, u64, &[u8], WireError); 13] = [
            ("no operation", 7, &[], WireError::Range),
            ("unknown tag", 7, &[7], WireError::Kind),
            ("index without a dictionary", 7, &[0, 0, 0], WireError::Range),
            ("index beyond the dictionary", 7, &[1, 0, 0, 1 << 3, 0, 0], WireError::Range),
            ("age 0 where an age is said", 7, &[3, 0, 0, 0], WireError::Range),
            ("update of itself", 7, &[4, 0], WireError::Range),
            ("remove of itself", 7, &[5], WireError::Range),
            ("birth at clock 0", 7, &[8 << 3 | 5], WireError::Range),
            ("birth before clock 0", 7, &[9 << 3 | 5], WireError::Range),
            ("skip nothing", 7, &[6], WireError::Range),
            ("clock beyond 2^64 - 1", u64::MAX - 1, &[1 << 3 | 5, 1 << 3 | 5], WireError::Range),
            ("topic beyond the frame", 7, &[2 << 3 | 1, b't'], WireError::Truncated),
            ("meta beyond the frame", 7, &[1 << 3 | 4, 1], WireError::Truncated),
        ];
        for (name, lo, ops, error) in cases {
            assert_eq!(decoded(lo, ops), Err(error), "{name}");
        }
        assert_eq!(decoded(7, &[7 << 3 | 5]), Ok(vec![Op::Remove { birth: 1 }]));
    }

    #[test]
    fn span_of_a_frame_is_limited() {
        let skip = |count| {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, count << 3 | SKIP);
            bytes
        };
        assert_eq!(decoded(7, &skip(SPAN_MAX)), Ok(vec![Op::Skip { count: SPAN_MAX }]));
        assert_eq!(decoded(7, &skip(SPAN_MAX + 1)), Err(WireError::Range));
        let twice = [skip(SPAN_MAX), skip(1)].concat();
        assert_eq!(decoded(7, &twice), Err(WireError::Range));
    }
}
