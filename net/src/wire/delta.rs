//! Delta frames: a lane's operations over a range of clocks. [`super::delta_writer`] makes them.

use super::WireError;
use super::delta_head::{
    ADD_END, AGED, INDEX_SHORT_END, KEY_LEN, META_LEN, SKIP, SKIP_SHORT, SKIP_SHORT_MAX, TOPIC_FAR,
    TOPIC_KNOWN, TOPIC_MASK, TOPIC_NUMBERED, TOPIC_SPELLED, UPDATE, UPDATE_SAME, remove,
};
use super::delta_writer::DeltaWriter;
use super::topic::{read_numbered, read_spelled};
use super::varint::Reader;
pub(crate) use headcount::replica::Op;

/// The most clocks that one frame may cover. Operations that skip clocks cost next to nothing on the wire, so
/// without a limit a few bytes could move a receiver's clock by any amount.
pub(crate) const SPAN_MAX: u64 = 65_536 * 16;

/// A decoded Delta: what happened in a lane at clocks (lo, hi].
#[derive(Clone, Debug)]
pub(crate) struct DeltaFrame<'a> {
    pub(crate) lane: u16,
    pub(crate) lo: u64,
    pub(crate) hi: u64,
    items: Vec<Item<'a>>,
    /// The topics, one behind the other: most are not spelled out in the frame.
    topics: Vec<u8>,
}

/// An operation, its topic apart.
#[derive(Clone, Copy, Debug)]
enum Item<'a> {
    Add { birth: u64, topic: Span, key: &'a [u8], meta: &'a [u8] },
    Update { birth: u64, meta: &'a [u8] },
    Remove { birth: u64 },
    Skip { count: u64 },
}

/// Where a topic begins and ends.
type Span = (usize, usize);

/// What the Deltas of one datagram have in common: later ones may lean upon it. A message of a stream has one for itself.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// The topic that was new last.
    topic: Option<Vec<u8>>,
    lens: Lens,
}

/// How long the last key and the last meta were; what was not told yet cannot be the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lens {
    pub(super) key: Option<u64>,
    pub(super) meta: Option<u64>,
}

impl<'a> DeltaFrame<'a> {
    /// The operations.
    pub(crate) fn ops(&self) -> Vec<Op<'_>> {
        let op = |item: &Item<'a>| match *item {
            Item::Add { birth, topic: (start, end), key, meta } => {
                Op::Add { birth, topic: self.topics.get(start..end).unwrap_or_default(), key, meta }
            }
            Item::Update { birth, meta } => Op::Update { birth, meta },
            Item::Remove { birth } => Op::Remove { birth },
            Item::Skip { count } => Op::Skip { count },
        };
        self.items.iter().map(op).collect()
    }

    #[cfg(any(test, feature = "sim"))]
    /// Appends the frame, neighbouring Skips merged. For frames made by hand: the send path uses
    /// [`DeltaWriter`]. It leans upon nothing, so it may stand behind any other.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut writer = DeltaWriter::new(usize::MAX);
        writer.start(self.lane, self.lo);
        for op in &self.ops() {
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
        for op in &self.ops() {
            let written = writer.push(op);
            debug_assert!(written, "{op:?} does not belong into ({}, {}]", self.lo, self.hi);
        }
        out.extend_from_slice(writer.content());
    }

    pub(super) fn decode(body: &'a [u8], context: &mut Context) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (lane, lo) = (reader.lane()?, reader.varint()?);
        let mut clock = lo;
        let mut removed = lo;
        let mut topics = Topics::new(context);
        let mut lens = context.lens;
        // As many as there mostly are in so many bytes.
        let mut items = Vec::with_capacity(body.len() / 48);
        while !reader.is_empty() {
            let head = reader.u8()?;
            let skipped = match head {
                SKIP => reader.varint()?.checked_add(SKIP_SHORT_MAX + 1).ok_or(WireError::Range)?,
                SKIP_SHORT.. => u64::from(head - SKIP_SHORT) + 1,
                _ => 0,
            };
            clock = advance(lo, clock, skipped.max(1)).ok_or(WireError::Range)?;
            if skipped > 0 {
                // One would do.
                if let Some(Item::Skip { .. }) = items.last() {
                    return Err(WireError::Range);
                }
                items.push(Item::Skip { count: skipped });
                continue;
            }
            items.push(match head {
                ..ADD_END => {
                    let topic = topics.read(&mut reader, head & TOPIC_MASK)?;
                    let birth = if head & AGED == 0 { clock } else { birth(clock, reader.varint()?)? };
                    let key_len = len(&mut reader, head & KEY_LEN != 0, &mut lens.key)?;
                    let meta_len = len(&mut reader, head & META_LEN != 0, &mut lens.meta)?;
                    Item::Add { birth, topic, key: reader.take(key_len)?, meta: reader.take(meta_len)? }
                }
                UPDATE | UPDATE_SAME => {
                    let birth = birth(clock, reader.varint()?)?;
                    let meta_len = len(&mut reader, head == UPDATE, &mut lens.meta)?;
                    Item::Update { birth, meta: reader.take(meta_len)? }
                }
                _ => {
                    removed = remove(&mut reader, head, clock, removed)?;
                    Item::Remove { birth: removed }
                }
            });
        }
        if clock == lo {
            return Err(WireError::Range);
        }
        topics.keep(context);
        context.lens = lens;
        Ok(Self { lane, lo, hi: clock, items, topics: topics.bytes })
    }
}

impl PartialEq for DeltaFrame<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.lane, self.lo, self.hi, self.ops()) == (other.lane, other.lo, other.hi, other.ops())
    }
}

impl Eq for DeltaFrame<'_> {}

/// The reader's side of a frame's dictionary.
struct Topics {
    bytes: Vec<u8>,
    /// Where the topics are that this frame told.
    told: Vec<Span>,
    /// The one that was new last, of this frame or one before.
    newest: Option<Span>,
}

impl Topics {
    fn new(context: &Context) -> Self {
        let bytes = context.topic.clone().unwrap_or_default();
        let newest = context.topic.as_ref().map(|topic| (0, topic.len()));
        Self { bytes, told: Vec::new(), newest }
    }

    fn read(&mut self, reader: &mut Reader<'_>, how: u8) -> Result<Span, WireError> {
        let start = self.bytes.len();
        let index = match how {
            TOPIC_SPELLED => {
                read_spelled(reader, &mut self.bytes, self.newest)?;
                None
            }
            TOPIC_NUMBERED => {
                read_numbered(reader, &mut self.bytes, self.newest.ok_or(WireError::Range)?)?;
                None
            }
            TOPIC_FAR => Some(reader.varint()?.checked_add(INDEX_SHORT_END).ok_or(WireError::Range)?),
            near => Some(u64::from(near - TOPIC_KNOWN)),
        };
        if let Some(index) = index {
            let told = usize::try_from(index).ok().and_then(|index| self.told.get(index));
            return told.copied().ok_or(WireError::Range);
        }
        let span = (start, self.bytes.len());
        if self.told.is_empty() {
            // Room for what a datagram mostly has, so that it is found once.
            self.told.reserve(32);
            self.bytes.reserve(512);
        }
        self.told.push(span);
        self.newest = Some(span);
        Ok(span)
    }

    /// Leaves the topic that was new last to the frames that follow.
    fn keep(&self, context: &mut Context) {
        if let (Some(&(start, end)), Some(topic)) = (self.told.last(), self.newest) {
            debug_assert_eq!((start, end), topic);
            let kept = context.topic.get_or_insert_default();
            kept.clear();
            kept.extend_from_slice(self.bytes.get(start..end).unwrap_or_default());
        }
    }
}

/// A length that is said, or that of the last one.
fn len(reader: &mut Reader<'_>, is_said: bool, last: &mut Option<u64>) -> Result<u64, WireError> {
    if is_said {
        *last = Some(reader.varint()?);
    }
    last.ok_or(WireError::Range)
}

/// The clock after `consumed` more, if it exists and the frame may reach it.
pub(super) fn advance(lo: u64, clock: u64, consumed: u64) -> Option<u64> {
    if consumed == 0 {
        return None;
    }
    clock.checked_add(consumed).filter(|clock| clock - lo <= SPAN_MAX)
}

/// The birth of an entry of this age. Clocks start at 1, and an entry without an age has other heads.
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
    use crate::wire::topic::{SHARED_MAX, Spelling};
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
            DeltaFrame::made_of(lane, lo, hi, &ops)
        }
    }

    impl<'a> DeltaFrame<'a> {
        pub(in super::super) fn made_of(lane: u16, lo: u64, hi: u64, ops: &[Op<'a>]) -> Self {
            let mut topics = Vec::new();
            let item = |op: &Op<'a>| match *op {
                Op::Add { birth, topic, key, meta } => {
                    let start = topics.len();
                    topics.extend_from_slice(topic);
                    Item::Add { birth, topic: (start, topics.len()), key, meta }
                }
                Op::Update { birth, meta } => Item::Update { birth, meta },
                Op::Remove { birth } => Item::Remove { birth },
                Op::Skip { count } => Item::Skip { count },
            };
            let items = ops.iter().map(item).collect();
            Self { lane, lo, hi, items, topics }
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
    fn decoded(lo: u64, ops: &[u8]) -> Result<Vec<Op<'static>>, WireError> {
        let mut body = vec![1];
        put_varint(&mut body, lo);
        body.extend_from_slice(ops);
        let delta: &DeltaFrame<'_> =
            Box::leak(Box::new(DeltaFrame::decode(body.leak(), &mut Context::default())?));
        Ok(delta.ops())
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
            Op::Add { birth: 11, topic: b"t9", key: b"", meta: b"" },
            Op::Add { birth: 1, topic: b"t12", key: b"", meta: b"" },
            Op::Update { birth: 8, meta: b"n" },
            Op::Update { birth: 9, meta: b"o" },
            Op::Remove { birth: 3 },
            Op::Remove { birth: 1 },
            Op::Skip { count: 4 },
            Op::Add { birth: 21, topic: b"t9", key: b"", meta: b"p" },
            Op::Skip { count: 300 },
        ];
        for op in &ops {
            assert!(writer.push(op), "{op:?}");
        }
        assert_eq!(writer.finish_frame(), Some((5, 7, 321)));
        let expected = [
            &[DELTA, 37, 5, 7][..],
            &[0x30, 0x01, b't', 1, 2, b'k', b'm', b'm'],
            &[0x12, 0, b'l'],
            &[0x62, 7, 0],
            &[0x00, 0x11, b'9'],
            &[0x41, 3 << 2 | 1, 11],
            &[0xF6, 5, 1, b'n'],
            &[0xF7, 5, b'o'],
            &[0xEF],
            &[0xEB],
            &[0xFD],
            &[0x03, b'p'],
            &[0xF5, 0xA5, 0x02],
        ];
        assert_eq!(writer.body(), expected.concat());
        assert_eq!(deltas(writer.body()), [DeltaFrame::made_of(5, 7, 321, &ops)]);
    }

    #[test]
    fn impossible_operations_are_refused() {
        let cases: [(&str, u64, &[u8], WireError); 22] = [
            ("no operation", 7, &[], WireError::Range),
            ("unknown head", 7, &[0xF8], WireError::Kind),
            ("another unknown head", 7, &[0xF9], WireError::Kind),
            ("index without a dictionary", 7, &[0x32, 0, 0], WireError::Range),
            ("index beyond the dictionary", 7, &[0x30, 0, 0, 0, 0x03], WireError::Range),
            ("far index beyond the dictionary", 7, &[0x30, 0, 0, 0, 0x0F, 0], WireError::Range),
            ("far index beyond everything", 7, &[&[0x0F][..], &[0xFF; 9], &[1]].concat(), WireError::Range),
            ("number without a topic before", 7, &[0x31, 4, 0, 0], WireError::Range),
            ("part of a topic that is not", 7, &[0x30, 0x10, 0, 0], WireError::Range),
            ("key as long as none before", 7, &[0x10, 0, 0], WireError::Range),
            ("meta as long as none before", 7, &[0x20, 0, 0], WireError::Range),
            ("meta of an update as long as none before", 7, &[0xF7, 1], WireError::Range),
            ("age 0 where an age is said", 7, &[0x70, 0, 0, 0, 0], WireError::Range),
            ("update of itself", 7, &[0xF6, 0, 0], WireError::Range),
            ("birth at clock 0", 7, &[0xF6, 8, 0], WireError::Range),
            ("remove of what is born at clock 0", 7, &[0xC0, 7], WireError::Range),
            ("skips in a row", 7, &[0xFA, 0xFA], WireError::Range),
            ("skip beyond everything", 7, &[&[0xF5][..], &[0xFF; 9], &[1]].concat(), WireError::Range),
            ("clock beyond 2^64 - 1", u64::MAX - 1, &[0xC0, 9, 0xC0, 29], WireError::Range),
            ("topic beyond the frame", 7, &[0x30, 0x02, b't'], WireError::Truncated),
            ("key beyond the frame", 7, &[0x30, 0x00, 1, 0], WireError::Truncated),
            ("meta beyond the frame", 7, &[0xF6, 1, 1], WireError::Truncated),
        ];
        for (name, lo, ops, error) in cases {
            assert_eq!(decoded(lo, ops), Err(error), "{name}");
        }
        assert_eq!(decoded(7, &[0xC0, 6]), Ok(vec![Op::Remove { birth: 1 }]));
    }

    #[test]
    fn span_of_a_frame_is_limited() {
        let skip = |count: u64| {
            let mut bytes = vec![SKIP];
            put_varint(&mut bytes, count - 7);
            bytes
        };
        assert_eq!(decoded(7, &skip(SPAN_MAX)), Ok(vec![Op::Skip { count: SPAN_MAX }]));
        assert_eq!(decoded(7, &skip(SPAN_MAX + 1)), Err(WireError::Range));
        let one_more = [skip(SPAN_MAX), vec![0xC0, 6]].concat();
        assert_eq!(decoded(7, &one_more), Err(WireError::Range));
    }

    #[test]
    fn a_few_bytes_make_no_long_topics() {
        // A message of a stream that is full of numbers behind the longest text there may be.
        let topic = [&[b'x'; SHARED_MAX][..], b"1"].concat();
        let mut body = vec![1, 0, 0x30];
        Spelling::new(&topic, None).put(&mut body);
        body.extend_from_slice(&[0, 0]);
        while body.len() < 64 * 1024 {
            body.extend_from_slice(&[0x01, 1 << 2]);
            body.extend_from_slice(&[0x01, 1 << 1]);
        }
        let delta = DeltaFrame::decode(&body, &mut Context::default()).unwrap();
        assert!(delta.topics.len() < 65 * body.len() / 2 + 100);
    }
}
