//! What operations cost, known before they are written.

#[cfg(test)]
use super::delta::{Op, SPAN_MAX};
use super::frame::frame_len;
use super::varint::{LANES_MAX, VARINT_LEN_MAX, bytes_len, varint_len};

/// What says how long a topic is that shares nothing with another: as much as fits a nibble, and more behind it.
const fn spelled_len(topic: usize) -> usize {
    let more = if topic < 15 { 0 } else { varint_len(topic as u64 - 15) };
    topic.saturating_add(1 + more)
}

/// The most bytes of a datagram's body that one Add can take, alone in it, whatever its lane and clocks.
pub(crate) const fn op_len_max(topic: usize, key: usize, meta: usize) -> usize {
    let payload = spelled_len(topic).saturating_add(bytes_len(key)).saturating_add(bytes_len(meta));
    frame_len_max(payload.saturating_add(1 + VARINT_LEN_MAX))
}

/// Bytes of a frame with `ops_len` bytes of operations, its lane and lo as long as they get.
const fn frame_len_max(ops_len: usize) -> usize {
    frame_len(ops_len.saturating_add(varint_len(LANES_MAX as u64 - 1) + VARINT_LEN_MAX))
}

#[cfg(test)]
/// Whether `op` fits a body of `budget` bytes that holds nothing else, whatever its lane and clocks. If so, a
/// [`super::DeltaWriter`] that refuses it takes it once its body is sent; if not, it may never.
pub(crate) fn fits_alone(op: &Op<'_>, budget: usize) -> bool {
    let len = match *op {
        Op::Add { topic, key, meta, .. } => op_len_max(topic.len(), key.len(), meta.len()),
        Op::Update { meta, .. } => frame_len_max((1 + VARINT_LEN_MAX).saturating_add(bytes_len(meta.len()))),
        Op::Remove { .. } => frame_len_max(1 + VARINT_LEN_MAX),
        Op::Skip { count } if count > SPAN_MAX => return false,
        Op::Skip { count } => frame_len_max(1 + count.checked_sub(7).map_or(0, varint_len)),
    };
    len <= budget
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::delta::tests::{POOL, any_ops};
    use crate::wire::delta_writer::DeltaWriter;
    use crate::wire::seal::{BODY_MAX, HEADER_LEN, TRAILER_LEN};

    #[test]
    fn longest_operations_fit_alone_and_no_longer_ones() {
        let lo = u64::MAX - 1;
        for (topic, key, meta) in [(0, 0, 0), (15, 1, 1), (16, 127, 128), (256, 256, 512)] {
            let (topic, key, meta) = (&POOL[..topic], &POOL[..key], &POOL[..meta]);
            let op = Op::Add { birth: 1, topic, key, meta };
            let len = op_len_max(topic.len(), key.len(), meta.len());
            assert!(fits_alone(&op, len) && !fits_alone(&op, len - 1));
            for (budget, fits) in [(len, true), (len - 1, false)] {
                let mut writer = DeltaWriter::new(budget);
                writer.start(255, lo);
                assert_eq!(writer.push(&op), fits, "the longest encoding is exactly as long");
            }
        }
        assert!(op_len_max(256, 256, 512) <= BODY_MAX, "the default limits fit a datagram");
        assert_eq!(op_len_max(usize::MAX, 1, 1), usize::MAX);
    }

    /// Fills a datagram with what `op` gives for each clock; the bytes of the whole datagram, of the
    /// operations alone, and the number of operations.
    fn fill<'a>(lo: u64, mut op: impl FnMut(u64) -> Op<'a>) -> (usize, usize, usize) {
        let mut writer = DeltaWriter::new(BODY_MAX);
        writer.start(200, lo);
        let count = (1..).take_while(|i| writer.push(&op(lo + i))).count();
        writer.finish_frame();
        // Type, length, lane and lo stand before the operations.
        let ops = writer.body().len() - (1 + 2 + 2 + varint_len(lo));
        (HEADER_LEN + writer.body().len() + TRAILER_LEN, ops, count)
    }

    #[test]
    fn add_costs_key_and_meta_and_a_byte_if_topic_and_lengths_are_known() {
        let (datagram, ops, count) = fill(1 << 40, |clock| Op::Add {
            birth: clock,
            topic: b"room:lobby",
            key: &POOL[..16],
            meta: &POOL[..32],
        });
        assert!(datagram <= count * (16 + 32 + 6), "{datagram} B for {count}");
        // The topic and three lengths are told once.
        assert_eq!(ops, count * (16 + 32 + 1) + b"room:lobby".len() + 3);
    }

    #[test]
    fn remove_costs_at_most_4_bytes_in_a_full_datagram_up_to_an_age_of_four_million() {
        for (age, each) in [(1, 2), (8_192, 2), (8_193, 3), (4_202_496, 3), (4_202_497, 4), (138_420_224, 4)]
        {
            // Births that are not near each other.
            let (datagram, ops, count) = fill(1 << 40, |clock| Op::Remove {
                birth: clock - age + 1_000 * (clock % 2) * u64::from(age > 8_192),
            });
            assert!(datagram <= count * 4 || each == 4, "{datagram} B for {count}");
            // With header and trailer spread over them.
            assert!(datagram * 10 <= count * 42, "{datagram} B for {count}");
            assert!(ops <= count * each, "{ops} B for {count} of age {age}");
        }
    }

    #[test]
    fn removes_of_entries_born_one_after_the_other_cost_a_byte_however_old() {
        let (_, ops, count) = fill(1 << 40, |clock| Op::Remove { birth: clock - (1 << 39) });
        assert!(ops <= count + 8, "{ops} B for {count}");
    }

    proptest! {
        #[test]
        fn what_does_not_fit_an_empty_body_does_not_fit_alone(
            (lo, _, ops) in any_ops(1..2),
            budget in 0_usize..200,
        ) {
            let mut writer = DeltaWriter::new(budget);
            writer.start(255, lo);
            prop_assert!(writer.push(&ops[0]) || !fits_alone(&ops[0], budget));
        }
    }
}
