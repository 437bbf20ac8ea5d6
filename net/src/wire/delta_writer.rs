//! The writer of delta frames: packs operations of several lanes into one datagram's body.

#[cfg(test)]
use super::delta::SPAN_MAX;
use super::delta::{ADD, AGED, NEW_TOPIC, Op, REMOVE, SKIP, TAG_BITS, UPDATE, advance};
use super::dictionary::Dictionary;
use super::frame::{DELTA, frame_len};
use super::varint::{put_bytes, put_lane, put_varint, varint_len};

/// The age of the entry that an operation is about: None if it cannot be at this clock. An Add may be the
/// birth itself; the ages of the others share their varint with the tag.
fn age(clock: u64, op: &Op<'_>) -> Option<u64> {
    let (birth, ages) = match *op {
        Op::Add { birth, .. } => (birth, 0..=u64::MAX),
        Op::Update { birth, .. } | Op::Remove { birth } => (birth, 1..=u64::MAX >> TAG_BITS),
        Op::Skip { .. } => return None,
    };
    clock.checked_sub(birth).filter(|age| birth > 0 && ages.contains(age))
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
    topics: Dictionary,
    open: Option<OpenFrame>,
}

#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    lane: u16,
    lo: u64,
    clock: u64,
    /// Where in the scratch the last operation is, and its count, if it is a Skip.
    skip: Option<(usize, u64)>,
}

impl DeltaWriter {
    pub(crate) fn new(budget: usize) -> Self {
        Self { budget, body: Vec::new(), scratch: Vec::new(), topics: Dictionary::default(), open: None }
    }

    /// Begins a frame: the next operation has clock `lo + 1`. A frame still open is finished first.
    pub(crate) fn start(&mut self, lane: u16, lo: u64) {
        self.finish_frame();
        self.scratch.clear();
        self.topics.clear();
        put_lane(&mut self.scratch, lane);
        put_varint(&mut self.scratch, lo);
        self.open = Some(OpenFrame { lane, lo, clock: lo, skip: None });
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
            self.push_entry(clock, op)
        };
        if taken {
            self.open = Some(open);
        }
        taken
    }

    fn push_skip(&mut self, open: &mut OpenFrame, count: u64) -> bool {
        let (at, held) = open.skip.unwrap_or((self.scratch.len(), 0));
        // Below SPAN_MAX together, so the shift loses nothing.
        let head = (held + count) << TAG_BITS | SKIP;
        if !self.fits(at + varint_len(head)) {
            return false;
        }
        self.scratch.truncate(at);
        put_varint(&mut self.scratch, head);
        open.skip = Some((at, held + count));
        true
    }

    /// Writes first and takes it back if it is too much: that happens once a datagram, and needs no second
    /// account of what everything costs.
    fn push_entry(&mut self, clock: u64, op: &Op<'_>) -> bool {
        let Some(age) = age(clock, op) else {
            debug_assert!(false, "{op:?} cannot be at clock {clock}");
            return false;
        };
        let start = self.scratch.len();
        let new_topic = self.put_entry(age, op);
        if !self.fits(self.scratch.len()) {
            self.scratch.truncate(start);
            return false;
        }
        if let (Some(at), Op::Add { topic, .. }) = (new_topic, op) {
            self.topics.add(at, topic);
        }
        true
    }

    /// Appends `op`, and returns where its topic stands if it is spelled out.
    fn put_entry(&mut self, age: u64, op: &Op<'_>) -> Option<usize> {
        let out = &mut self.scratch;
        let mut new_topic = None;
        match *op {
            Op::Add { topic, key, meta, .. } => {
                let tag = if age > 0 { ADD | AGED } else { ADD };
                if let Some(index) = self.topics.find(out, topic) {
                    put_varint(out, index << TAG_BITS | tag);
                } else {
                    put_varint(out, (topic.len() as u64) << TAG_BITS | NEW_TOPIC | tag);
                    new_topic = Some(out.len());
                    out.extend_from_slice(topic);
                }
                if age > 0 {
                    put_varint(out, age);
                }
                put_bytes(out, key);
                put_bytes(out, meta);
            }
            Op::Update { meta, .. } => {
                put_varint(out, age << TAG_BITS | UPDATE);
                put_bytes(out, meta);
            }
            Op::Remove { .. } => put_varint(out, age << TAG_BITS | REMOVE),
            Op::Skip { .. } => {}
        }
        new_topic
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

    #[cfg(any(test, feature = "sim"))]
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
        assert_eq!(deltas(writer.body()), [DeltaFrame { lane: 1, lo: 0, hi: 100_019, ops }]);
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
        assert_eq!(deltas(writer.body()), [DeltaFrame { lane: 1, lo: 7, hi: 11, ops }]);
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
        DeltaFrame { lane: 1, lo: 7, hi: 8, ops: vec![ADD_A] }.put(&mut out);
        out
    }

    #[test]
    fn dictionary_is_local_to_a_frame() {
        let mut writer = DeltaWriter::new(BODY_MAX);
        for lane in 1..3 {
            writer.start(lane, 7);
            assert!(writer.push(&ADD_A));
        }
        writer.finish_frame();
        let half = writer.body().len() / 2;
        assert_eq!(writer.body()[..half][3..], writer.body()[half..][3..]);
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

            let mut clock = lo;
            let mut got = Vec::new();
            for body in &bodies {
                prop_assert!(body.len() <= budget);
                for delta in deltas(body) {
                    prop_assert_eq!((delta.lane, delta.lo), (lane, clock));
                    clock = delta.hi;
                    got.extend(delta.ops);
                }
            }
            prop_assert_eq!((clock, got), (hi, ops));
        }

        #[test]
        fn frames_of_several_lanes_share_a_budget(
            lanes in vec((0_u16..256, any_ops(1..30)), 1..12),
            budget in 0_usize..600,
        ) {
            let mut writer = DeltaWriter::new(budget);
            let mut expected = Vec::new();
            for (lane, (lo, _, ops)) in &lanes {
                writer.start(*lane, *lo);
                let taken: Vec<_> = ops.iter().take_while(|op| writer.push(op)).copied().collect();
                if let Some((lane, lo, hi)) = writer.finish_frame() {
                    expected.push(DeltaFrame { lane, lo, hi, ops: taken });
                }
                prop_assert!(writer.body().len() <= budget);
            }
            prop_assert_eq!(writer.is_empty(), expected.is_empty());
            prop_assert_eq!(deltas(writer.body()), expected);
        }
    }
}
