//! The writer of delta frames: packs operations of several lanes into one datagram's body.

#[cfg(test)]
use super::delta::SPAN_MAX;
use super::delta::{Lens, Op, advance};
use super::delta_head::{
    AGED, INDEX_SHORT_END, KEY_LEN, META_LEN, SKIP, SKIP_SHORT, SKIP_SHORT_MAX, TOPIC_FAR, TOPIC_KNOWN,
    TOPIC_NUMBERED, TOPIC_SPELLED, UPDATE, UPDATE_SAME, put_remove,
};
use super::dictionary::Dictionary;
use super::frame::{DELTA, frame_len};
use super::stream::{LENGTH_LEN, OPS};
use super::topic::Spelling;
use super::varint::{put_bytes, put_lane, put_varint, varint_len};

/// The age of the entry that an operation is about: None if it cannot be at this clock. Only an Add may be the birth itself.
fn age(clock: u64, op: &Op<'_>) -> Option<u64> {
    let (birth, least) = match *op {
        Op::Add { birth, .. } => (birth, 0),
        Op::Update { birth, .. } | Op::Remove { birth } => (birth, 1),
        Op::Skip { .. } => return None,
    };
    clock.checked_sub(birth).filter(|&age| birth > 0 && age >= least)
}

/// Packs operations of one lane after another into the body of one datagram, which never outgrows the budget.
///
/// A frame is built aside and joins the body when it is finished, because the length in front of it has to be
/// a canonical varint. The budget counts it all along as if it were finished.
#[derive(Debug)]
pub(crate) struct DeltaWriter {
    budget: usize,
    /// Finished frames.
    body: Vec<u8>,
    /// The body of the open frame.
    scratch: Vec<u8>,
    /// The topics told in this body, one behind the other.
    texts: Vec<u8>,
    /// Those told in the open frame.
    topics: Dictionary,
    told: Told,
    open: Option<OpenFrame>,
}

/// What the operations told so far in the body leave to those that follow.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Where in the texts the topic is that was new last.
    topic: Option<(usize, usize)>,
    lens: Lens,
}

#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    lane: u16,
    lo: u64,
    clock: u64,
    /// The birth that the last Remove was about; lo before the first.
    removed: u64,
    /// Where in the scratch the last operation is, and its count, if it is a Skip.
    skip: Option<(usize, u64)>,
}

impl DeltaWriter {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            body: Vec::new(),
            scratch: Vec::new(),
            texts: Vec::new(),
            topics: Dictionary::default(),
            told: Told::default(),
            open: None,
        }
    }

    /// Begins a frame: the next operation has clock `lo + 1`. A frame still open is finished first.
    pub(crate) fn start(&mut self, lane: u16, lo: u64) {
        self.finish_frame();
        if self.body.is_empty() {
            self.texts.clear();
            self.told = Told::default();
        }
        self.scratch.clear();
        self.topics.clear();
        put_lane(&mut self.scratch, lane);
        put_varint(&mut self.scratch, lo);
        self.open = Some(OpenFrame { lane, lo, clock: lo, removed: lo, skip: None });
    }

    /// Adds one operation to the open frame. False: it does not fit, and nothing changed. Either bytes are
    /// short, and [`super::fits_alone`] tells whether an empty body helps; or the frame spans [`SPAN_MAX`]
    /// clocks, and another frame of the lane helps (a longer Skip is the caller's to divide). An operation
    /// that cannot be at its clock, such as a Remove of what comes later, is a bug of the caller's: a debug
    /// build stops there, a release build refuses it.
    pub(crate) fn push(&mut self, op: &Op<'_>) -> bool {
        debug_assert!(self.open.is_some(), "push outside a frame");
        let Some(mut open) = self.open else {
            return false;
        };
        if let Op::Skip { count: 0 } = op {
            return true;
        }
        let consumed = if let Op::Skip { count } = *op { count } else { 1 };
        let Some(clock) = advance(open.lo, open.clock, consumed) else {
            return false;
        };
        open.clock = clock;
        let taken = if let Op::Skip { count } = *op {
            self.push_skip(&mut open, count)
        } else {
            open.skip = None;
            self.push_entry(&mut open, op)
        };
        if taken {
            self.open = Some(open);
        }
        taken
    }

    fn push_skip(&mut self, open: &mut OpenFrame, count: u64) -> bool {
        let (at, held) = open.skip.unwrap_or((self.scratch.len(), 0));
        // Below SPAN_MAX together.
        let count = held + count;
        let more = count.checked_sub(SKIP_SHORT_MAX + 1);
        if !self.fits(at + 1 + more.map_or(0, varint_len)) {
            return false;
        }
        self.scratch.truncate(at);
        if let Some(more) = more {
            self.scratch.push(SKIP);
            put_varint(&mut self.scratch, more);
        } else {
            self.scratch.push(SKIP_SHORT + (count - 1) as u8);
        }
        open.skip = Some((at, count));
        true
    }

    /// Writes first and takes it back if it is too much: that happens once a datagram, and needs no second
    /// account of what everything costs.
    fn push_entry(&mut self, open: &mut OpenFrame, op: &Op<'_>) -> bool {
        let Some(age) = age(open.clock, op) else {
            debug_assert!(false, "{op:?} cannot be at clock {}", open.clock);
            return false;
        };
        let start = self.scratch.len();
        let mut lens = self.told.lens;
        let mut new_topic = None;
        match *op {
            Op::Add { topic, key, meta, .. } => {
                if self.put_add(age, topic, key, meta, &mut lens) {
                    new_topic = Some(topic);
                }
            }
            Op::Update { meta, .. } => {
                let is_said = is_other(&mut lens.meta, meta);
                self.scratch.push(if is_said { UPDATE } else { UPDATE_SAME });
                put_varint(&mut self.scratch, age);
                if is_said {
                    put_varint(&mut self.scratch, meta.len() as u64);
                }
                self.scratch.extend_from_slice(meta);
            }
            Op::Remove { birth } => put_remove(&mut self.scratch, open.clock, birth, open.removed),
            Op::Skip { .. } => {}
        }
        if !self.fits(self.scratch.len()) {
            self.scratch.truncate(start);
            return false;
        }
        self.told.lens = lens;
        if let Op::Remove { birth } = *op {
            open.removed = birth;
        }
        if let Some(topic) = new_topic {
            let start = self.texts.len();
            self.texts.extend_from_slice(topic);
            self.topics.add(start, topic);
            self.told.topic = Some((start, self.texts.len()));
        }
        true
    }

    /// Appends an Add; whether its topic was not told in this frame before.
    fn put_add(&mut self, age: u64, topic: &[u8], key: &[u8], meta: &[u8], lens: &mut Lens) -> bool {
        let out = &mut self.scratch;
        let key_len_said = is_other(&mut lens.key, key);
        let meta_len_said = is_other(&mut lens.meta, meta);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(age > 0, AGED) | flag(key_len_said, KEY_LEN) | flag(meta_len_said, META_LEN);
        let known = self.topics.find(&self.texts, topic);
        match known {
            Some(index @ ..INDEX_SHORT_END) => out.push(flags | (TOPIC_KNOWN + index as u8)),
            Some(index) => {
                out.push(flags | TOPIC_FAR);
                put_varint(out, index - INDEX_SHORT_END);
            }
            None => {
                let before = self.told.topic.and_then(|(start, end)| self.texts.get(start..end));
                let spelling = Spelling::new(topic, before);
                let is_numbered = matches!(spelling, Spelling::Numbered(_));
                out.push(flags | if is_numbered { TOPIC_NUMBERED } else { TOPIC_SPELLED });
                spelling.put(out);
            }
        }
        if age > 0 {
            put_varint(out, age);
        }
        if key_len_said {
            put_varint(out, key.len() as u64);
        }
        if meta_len_said {
            put_varint(out, meta.len() as u64);
        }
        out.extend_from_slice(key);
        out.extend_from_slice(meta);
        known.is_none()
    }

    fn fits(&self, scratch_len: usize) -> bool {
        self.body.len().saturating_add(frame_len(scratch_len)) <= self.budget
    }

    /// Ends the open frame and returns its lane, lo and hi. None if no frame is open or it has no operations;
    /// it leaves no bytes then. Trailing Skips stay: they carry clocks.
    pub(crate) fn finish_frame(&mut self) -> Option<(u16, u64, u64)> {
        let open = self.open.take()?;
        if open.clock == open.lo {
            return None;
        }
        self.body.push(DELTA);
        put_bytes(&mut self.body, &self.scratch);
        debug_assert!(self.body.len() <= self.budget);
        Some((open.lane, open.lo, open.clock))
    }

    /// Ends the open frame as a message of a stream, its length first, and returns it with its hi. None if it has no operations.
    pub(crate) fn finish_message(&mut self) -> Option<(Vec<u8>, u64)> {
        let open = self.open.take().filter(|open| open.clock > open.lo)?;
        let mut out = Vec::with_capacity(LENGTH_LEN + 1 + self.scratch.len());
        // Within the budget, which is the caller's to keep below what a message may have.
        out.extend_from_slice(&(self.scratch.len() as u32 + 1).to_le_bytes());
        out.push(OPS);
        out.extend_from_slice(&self.scratch);
        Some((out, open.clock))
    }

    /// What the open frame has behind its length.
    pub(super) fn content(&self) -> &[u8] {
        &self.scratch
    }

    /// The finished frames.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes the finished frames away and clears the writer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.open = None;
        std::mem::take(&mut self.body)
    }

    /// Whether there is nothing to send: no finished frame, and no operation in the open one.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty() && self.open.is_none_or(|open| open.clock == open.lo)
    }

    #[cfg(test)]
    /// Drops everything, the open frame included, and keeps the buffers.
    pub(crate) fn clear(&mut self) {
        self.body.clear();
        self.open = None;
    }
}

/// Notes the length, and returns whether it is another than the last.
fn is_other(last: &mut Option<u64>, bytes: &[u8]) -> bool {
    let len = Some(bytes.len() as u64);
    std::mem::replace(last, len) != len
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::delta::DeltaFrame;
    use crate::wire::delta::tests::{ADD_A, any_ops, deltas};
    use crate::wire::delta_size::fits_alone;
    use crate::wire::seal::BODY_MAX;

    #[test]
    fn operation_beyond_the_span_of_a_frame_is_refused() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        writer.start(1, 7);
        assert!(!writer.push(&Op::Skip { count: SPAN_MAX + 1 }));
        assert!(!writer.push(&Op::Skip { count: u64::MAX }));
        assert!(writer.is_empty());
        assert!(writer.push(&Op::Skip { count: SPAN_MAX }));
        assert!(!writer.push(&Op::Remove { birth: 1 }));
        assert_eq!(writer.finish_frame(), Some((1, 7, 7 + SPAN_MAX)));
        assert!(!fits_alone(&Op::Skip { count: SPAN_MAX + 1 }, BODY_MAX));
        assert!(fits_alone(&Op::Skip { count: SPAN_MAX }, BODY_MAX));
    }

    #[test]
    fn neighbouring_skips_are_merged_even_when_the_count_grows_a_byte() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        writer.start(1, 0);
        for count in [0, 1, 14, 1, 100_000, 0] {
            assert!(writer.push(&Op::Skip { count }));
        }
        assert!(writer.push(&Op::Remove { birth: 9 }));
        assert!(writer.push(&Op::Skip { count: 2 }));
        assert_eq!(writer.finish_frame(), Some((1, 0, 100_019)));
        let ops = vec![Op::Skip { count: 100_016 }, Op::Remove { birth: 9 }, Op::Skip { count: 2 }];
        assert_eq!(deltas(writer.body()), [DeltaFrame::made_of(1, 0, 100_019, &ops)]);
    }

    #[test]
    fn frame_without_operations_leaves_no_bytes() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        assert_eq!(writer.finish_frame(), None);
        writer.start(1, 7);
        assert!(writer.push(&Op::Skip { count: 0 }));
        assert!(writer.is_empty());
        assert_eq!(writer.finish_frame(), None);
        assert!(writer.body().is_empty() && writer.is_empty());
    }

    #[test]
    fn refused_operation_changes_nothing() {
        let mut writer = DeltaWriter::new(40);
        writer.start(1, 7);
        assert!(writer.push(&ADD_A));
        assert!(!writer.push(&Op::Add { birth: 9, topic: b"other", key: &[0; 30], meta: b"" }));
        assert!(writer.push(&Op::Add { birth: 9, topic: b"other", key: b"k", meta: b"" }));
        assert!(writer.push(&Op::Skip { count: 1 }));
        assert!(!writer.push(&Op::Update { birth: 8, meta: &[0; 40] }));
        assert!(writer.push(&Op::Skip { count: 1 }));
        assert_eq!(writer.finish_frame(), Some((1, 7, 11)));
        let ops =
            vec![ADD_A, Op::Add { birth: 9, topic: b"other", key: b"k", meta: b"" }, Op::Skip { count: 2 }];
        assert_eq!(deltas(writer.body()), [DeltaFrame::made_of(1, 7, 11, &ops)]);
    }

    #[test]
    fn writer_is_as_new_after_clear_and_take() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        let mut fill = |end: fn(&mut DeltaWriter)| {
            writer.start(1, 7);
            assert!(writer.push(&ADD_A));
            writer.finish_frame();
            let body = writer.body().to_vec();
            writer.start(2, 7);
            assert!(writer.push(&ADD_A));
            end(&mut writer);
            assert!(writer.is_empty());
            body
        };
        let first = fill(DeltaWriter::clear);
        let second = fill(|writer| assert_eq!(writer.take(), writer_body_of_add_a()));
        assert_eq!(first, second, "the dictionary starts anew");
    }

    fn writer_body_of_add_a() -> Vec<u8> {
        let mut out = Vec::new();
        DeltaFrame::made_of(1, 7, 8, &[ADD_A]).put(&mut out);
        out
    }

    #[test]
    fn a_frame_leans_upon_the_topic_and_the_lengths_of_those_before_it_in_its_datagram() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        let add = |topic| Op::Add { birth: 8, topic, key: b"k", meta: b"mm" };
        for (lane, op) in [(1, add(b"t4")), (2, Op::Remove { birth: 3 }), (3, add(b"t6")), (4, add(b"t6"))] {
            writer.start(lane, 7);
            assert!(writer.push(&op));
        }
        writer.finish_frame();
        let expected = [
            &[DELTA, 11, 1, 7, 0x30, 0x02, b't', b'4', 1, 2, b'k', b'm', b'm'][..],
            &[DELTA, 3, 2, 7, 0xEF],
            &[DELTA, 7, 3, 7, 0x01, 2 << 2, b'k', b'm', b'm'],
            // Indices are a frame's own.
            &[DELTA, 7, 4, 7, 0x01, 0, b'k', b'm', b'm'],
        ];
        assert_eq!(writer.body(), expected.concat());
        let deltas = deltas(writer.body());
        let ops: Vec<_> = deltas.iter().flat_map(DeltaFrame::ops).collect();
        assert_eq!(ops, [add(b"t4"), Op::Remove { birth: 3 }, add(b"t6"), add(b"t6")]);
    }

    #[test]
    fn a_message_leans_upon_nothing() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        let mut message = || {
            writer.start(1, 7);
            assert!(writer.push(&ADD_A));
            writer.finish_message()
        };
        assert_eq!(message(), message());
    }

    #[test]
    fn what_was_refused_is_leaned_upon_by_nobody() {
        let mut writer = DeltaWriter::new(80);
        writer.start(1, 7);
        assert!(writer.push(&ADD_A));
        assert!(!writer.push(&Op::Add { birth: 9, topic: b"t77", key: &[0; 90], meta: b"m" }));
        assert!(!writer.push(&Op::Update { birth: 8, meta: &[0; 90] }));
        let after = Op::Add { birth: 9, topic: b"t77", key: b"k", meta: b"mm" };
        writer.start(2, 8);
        assert!(writer.push(&after));
        writer.finish_frame();
        let expected = [DeltaFrame::made_of(1, 7, 8, &[ADD_A]), DeltaFrame::made_of(2, 8, 9, &[after])];
        assert_eq!(deltas(writer.body()), expected);
    }

    proptest! {
        #[test]
        fn any_operations_come_out_of_one_or_more_bodies_as_they_went_in(
            lane in 0_u16..256,
            (lo, hi, ops) in any_ops(1..120),
            budget in 200_usize..BODY_MAX,
        ) {
            let mut writer = DeltaWriter::new(budget);
            let mut bodies = Vec::new();
            let mut clock = lo;
            writer.start(lane, clock);
            for op in &ops {
                prop_assert!(fits_alone(op, budget));
                if !writer.push(op) {
                    clock = writer.finish_frame().map_or(clock, |(_, _, hi)| hi);
                    bodies.push(writer.take());
                    writer.start(lane, clock);
                    prop_assert!(writer.push(op), "fits_alone kept its word");
                }
            }
            writer.finish_frame();
            bodies.push(writer.take());

            prop_assert!(bodies.iter().all(|body| body.len() <= budget));
            let deltas: Vec<_> = bodies.iter().flat_map(|body| deltas(body)).collect();
            let mut clock = lo;
            for delta in &deltas {
                prop_assert_eq!((delta.lane, delta.lo), (lane, clock));
                clock = delta.hi;
            }
            let got: Vec<_> = deltas.iter().flat_map(DeltaFrame::ops).collect();
            prop_assert_eq!((clock, got), (hi, ops));
        }

        #[test]
        fn frames_of_several_lanes_share_a_budget(
            lanes in vec((0_u16..256, any_ops(1..30)), 1..12),
            budget in 0_usize..600,
            flip: prop::sample::Index,
        ) {
            let mut writer = DeltaWriter::new(budget);
            let mut expected = Vec::new();
            for (lane, (lo, _, ops)) in &lanes {
                writer.start(*lane, *lo);
                let taken: Vec<_> = ops.iter().take_while(|op| writer.push(op)).copied().collect();
                if let Some((lane, lo, hi)) = writer.finish_frame() {
                    expected.push(DeltaFrame::made_of(lane, lo, hi, &taken));
                }
                prop_assert!(writer.body().len() <= budget);
            }
            prop_assert_eq!(writer.is_empty(), expected.is_empty());
            prop_assert_eq!(deltas(writer.body()), expected);
            // Frames that lean upon each other may be damaged like any.
            let mut body = writer.body().to_vec();
            if !body.is_empty() {
                let bit = flip.index(8 * body.len());
                body[bit / 8] ^= 1 << (bit % 8);
                crate::hostile::datagram(&body);
            }
        }
    }
}
