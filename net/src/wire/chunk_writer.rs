//! The writer of chunks: packs a lane's live entries into messages of a bounded size.

use super::chunk::{Item, KIND_BITS, KNOWN_TOPIC, NEW_TOPIC, Payload};
use super::dictionary::Dictionary;
use super::stream::{CHUNK, LENGTH_LEN, MESSAGE_MAX};
use super::varint::{put_bytes, put_lane, put_varint, varint_len};

/// How long a chunk's message gets by default: enough to be cheap per entry, small enough that other lanes'
/// live operations are not kept waiting behind it.
pub(crate) const CHUNK_BUDGET: usize = 32 * 1024;

/// Packs items into one chunk's message, which never outgrows its budget.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    lane: u16,
    hi: u64,
    /// For the items; the rest of the message has its room set aside.
    budget: usize,
    previous: u64,
    items: Vec<u8>,
    topics: Dictionary,
}

impl ChunkWriter {
    /// A chunk whose dots are at or below `hi`. The budget is for the whole message, its length field
    /// included, and is cut to what a message may have; it should leave room for any one item.
    pub(crate) fn new(lane: u16, hi: u64, budget: usize) -> Self {
        debug_assert!(hi < u64::MAX, "the first item is counted from hi + 1");
        // lo is known at the end only. Neither it nor hi - lo is above hi.
        let around = LENGTH_LEN + 1 + varint_len(u64::from(lane)) + 2 * varint_len(hi);
        Self {
            lane,
            hi,
            budget: budget.min(MESSAGE_MAX + LENGTH_LEN).saturating_sub(around),
            previous: hi.saturating_add(1),
            items: Vec::new(),
            topics: Dictionary::default(),
        }
    }

    /// Adds one item, its dot below all so far. False: it does not fit, and nothing changed. The next chunk's
    /// hi is then this item's dot, and this chunk's lo too. An item that an empty chunk refuses fits none.
    pub(crate) fn push(&mut self, item: &Item<'_>) -> bool {
        let step = self.previous.checked_sub(item.dot).filter(|step| *step > 0);
        let age = item.dot.checked_sub(item.birth).filter(|age| *age <= u64::MAX >> KIND_BITS);
        let (Some(step), Some(age), 1.., Some(payload)) = (step, age, item.birth, item.payload) else {
            debug_assert!(false, "{item:?} cannot follow dot {}", self.previous);
            return false;
        };
        let start = self.items.len();
        let new_topic = self.put(step, age, payload);
        if self.items.len() > self.budget {
            self.items.truncate(start);
            return false;
        }
        if let Some(at) = new_topic {
            self.topics.add(at, payload.topic);
        }
        self.previous = item.dot;
        true
    }

    /// Appends an item, and returns where its topic stands if it is spelled out.
    fn put(&mut self, step: u64, age: u64, Payload { topic, key, meta }: Payload<'_>) -> Option<usize> {
        let out = &mut self.items;
        let known = self.topics.find(out, topic);
        put_varint(out, step);
        let new_topic = if let Some(index) = known {
            put_varint(out, age << KIND_BITS | KNOWN_TOPIC);
            put_varint(out, index);
            None
        } else {
            put_varint(out, age << KIND_BITS | NEW_TOPIC);
            put_bytes(out, topic);
            Some(out.len() - topic.len())
        };
        put_bytes(out, key);
        put_bytes(out, meta);
        new_topic
    }

    #[cfg(test)]
    /// Whether no item was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The message: of dots in (`lo`, hi], these are alive.
    pub(crate) fn finish(self, lo: u64) -> Vec<u8> {
        debug_assert!(lo < self.hi && lo < self.previous, "lo {lo} is not below every dot");
        let mut out = Vec::with_capacity(LENGTH_LEN + 24 + self.items.len());
        out.extend_from_slice(&[0; LENGTH_LEN]);
        out.push(CHUNK);
        put_lane(&mut out, self.lane);
        put_varint(&mut out, lo);
        put_varint(&mut out, self.hi.wrapping_sub(lo));
        out.extend_from_slice(&self.items);
        // At most MESSAGE_MAX, see new().
        let len = (out.len() - LENGTH_LEN) as u32;
        out[..LENGTH_LEN].copy_from_slice(&len.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::chunk::Chunk;
    use crate::wire::chunk::tests::{any_chunk, body};

    #[test]
    fn refused_item_changes_nothing() {
        let mut writer = ChunkWriter::new(1, 9, 40);
        assert!(writer.is_empty());
        let long = Payload { topic: b"other", key: &[0; 40], meta: b"" };
        assert!(!writer.push(&Item { dot: 9, birth: 9, payload: Some(long) }));
        assert!(writer.is_empty());
        let short = Payload { topic: b"other", key: b"k", meta: b"" };
        let item = Item { dot: 9, birth: 9, payload: Some(short) };
        assert!(writer.push(&item));
        let message = writer.finish(0);
        assert_eq!(Chunk::decode(body(&message)).unwrap().items, [item]);
    }

    proptest! {
        #[test]
        fn items_come_out_of_one_or_more_chunks_as_they_went_in(
            whole in any_chunk(200),
            budget in 320_usize..2000,
        ) {
            let mut messages = Vec::new();
            let mut writer = ChunkWriter::new(whole.lane, whole.hi, budget);
            for item in &whole.items {
                if !writer.push(item) {
                    messages.push(writer.finish(item.dot));
                    writer = ChunkWriter::new(whole.lane, item.dot, budget);
                    prop_assert!(writer.push(item));
                }
            }
            messages.push(writer.finish(whole.lo));

            let mut hi = whole.hi;
            let mut items = Vec::new();
            for message in &messages {
                prop_assert!(message.len() <= budget);
                let chunk = Chunk::decode(body(message)).unwrap();
                prop_assert_eq!((chunk.lane, chunk.hi), (whole.lane, hi));
                hi = chunk.lo;
                items.extend(chunk.items);
            }
            prop_assert_eq!((hi, items), (whole.lo, whole.items));
        }
    }
}
