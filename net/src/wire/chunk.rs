//! Chunks: a lane's live dots over a range, the payload of a snapshot. [`super::chunk_writer`] makes them.
//!
//! A chunk says of dots in (lo, hi], all above the snapshot's base, that exactly these are alive, so a missing item is a removed entry. That
//! is why nothing here ever leaves one out to make a chunk fit.

use super::WireError;
use super::chunk_writer::ChunkWriter;
use super::stream::{LENGTH_LEN, MESSAGE_MAX};
use super::varint::Reader;
pub(crate) use headcount::replica::{Payload, SnapshotItem as Item};

pub(super) const NEW_TOPIC: u64 = 1;
pub(super) const KNOWN_TOPIC: u64 = 2;
pub(super) const KIND_BITS: u32 = 2;

/// A lane's live dots in (lo, hi].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) lane: u16,
    pub(crate) lo: u64,
    pub(crate) hi: u64,
    /// In strictly descending order of their dots.
    pub(crate) items: Vec<Item<'a>>,
}

impl<'a> Chunk<'a> {
    /// The whole message. [`WireError::TooLong`] if the items do not fit one.
    pub(super) fn encode(&self) -> Result<Vec<u8>, WireError> {
        let mut writer = ChunkWriter::new(self.lane, self.hi, MESSAGE_MAX + LENGTH_LEN);
        if self.items.iter().all(|item| writer.push(item)) {
            Ok(writer.finish(self.lo))
        } else {
            Err(WireError::TooLong)
        }
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let lane = reader.lane()?;
        let lo = reader.varint()?;
        let hi = lo.checked_add(reader.positive()?).ok_or(WireError::Range)?;
        let mut previous = hi.checked_add(1).ok_or(WireError::Range)?;
        let mut topics: Vec<&'a [u8]> = Vec::new();
        let mut items = Vec::new();
        while !reader.is_empty() {
            let dot = previous.checked_sub(reader.positive()?).filter(|dot| *dot > lo);
            let dot = dot.ok_or(WireError::Range)?;
            previous = dot;
            let head = reader.varint()?;
            let birth = dot.checked_sub(head >> KIND_BITS).filter(|birth| *birth > 0);
            let topic = match head & ((1 << KIND_BITS) - 1) {
                NEW_TOPIC => {
                    let topic = reader.bytes()?;
                    topics.push(topic);
                    topic
                }
                KNOWN_TOPIC => {
                    let index = usize::try_from(reader.varint()?).ok();
                    index.and_then(|index| topics.get(index)).ok_or(WireError::Range)?
                }
                _ => return Err(WireError::Kind),
            };
            let payload = Some(Payload { topic, key: reader.bytes()?, meta: reader.bytes()? });
            items.push(Item { dot, birth: birth.ok_or(WireError::Range)?, payload });
        }
        Ok(Self { lane, lo, hi, items })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::stream::CHUNK;
    use crate::wire::varint::put_varint;

    static POOL: [u8; 256] = {
        let mut pool = [0; 256];
        let mut i = 0;
        while i < pool.len() {
            pool[i] = (i * 167) as u8;
            i += 1;
        }
        pool
    };

    prop_compose! {
        /// A chunk of up to `max` items, its hi and steps of any magnitude.
        pub(in super::super) fn any_chunk(max: usize)(
            lane in 0_u16..256,
            hi: u64,
            shift in 0_u32..63,
            seeds in vec((any::<(u64, u64)>(), 0_u32..64, 0..100_usize, 0..12_usize, 0..40_usize), 0..=max),
        ) -> Chunk<'static> {
            let hi = (hi >> shift).clamp(1, u64::MAX - 1);
            let mut items: Vec<Item<'_>> = Vec::new();
            let mut previous = hi + 1;
            for ((step, age), shift, kind, topic, len) in seeds {
                if previous == 1 {
                    break;
                }
                let dot = previous - (step >> shift) % (previous - 1).min(1 << 50) - 1;
                let birth = dot - ((age >> shift) % dot).min(u64::MAX >> KIND_BITS);
                let dot = dot.max(1);
                let (topic, key) = (&POOL[topic..topic * 2], &POOL[kind..kind + len]);
                let payload = Some(Payload { topic, key, meta: &POOL[..kind] });
                items.push(Item { dot, birth, payload });
                previous = dot;
            }
            let lo = items.last().map_or(hi, |item| item.dot).min(hi) - 1;
            Chunk { lane, lo, hi, items }
        }
    }

    pub(in super::super) fn body(message: &[u8]) -> &[u8] {
        let (len, rest) = message.split_first_chunk::<LENGTH_LEN>().unwrap();
        assert_eq!(u32::from_le_bytes(*len) as usize, rest.len());
        assert_eq!(rest[0], CHUNK);
        &rest[1..]
    }

    const ENTRY: Payload<'_> = Payload { topic: b"t", key: b"k", meta: b"mm" };

    #[test]
    fn items_are_coded_as_the_table_says() {
        let items = vec![
            Item { dot: 20, birth: 20, payload: Some(ENTRY) },
            Item { dot: 18, birth: 15, payload: Some(Payload { key: b"l", ..ENTRY }) },
            Item { dot: 17, birth: 16, payload: Some(Payload { meta: b"", ..ENTRY }) },
        ];
        let chunk = Chunk { lane: 3, lo: 11, hi: 20, items };
        let message = chunk.encode().unwrap();
        let expected = [
            &[27, 0, 0, 0, CHUNK, 3, 11, 9][..],
            &[1, 1, 1, b't', 1, b'k', 2, b'm', b'm'],
            &[2, 3 << 2 | 2, 0, 1, b'l', 2, b'm', b'm'],
            &[1, 1 << 2 | 2, 0, 1, b'k', 0],
        ];
        assert_eq!(message, expected.concat());
        assert_eq!(Chunk::decode(body(&message)), Ok(chunk));
    }

    #[test]
    fn chunk_without_items_says_that_all_are_gone() {
        let chunk = Chunk { lane: 0, lo: 0, hi: 9, items: Vec::new() };
        let message = chunk.encode().unwrap();
        assert_eq!(Chunk::decode(body(&message)), Ok(chunk));
    }

    #[test]
    fn impossible_chunks_are_refused() {
        let cases: [(&str, &[u8], WireError); 13] = [
            ("nothing", &[], WireError::Truncated),
            ("lane 256", &[0x80, 0x02, 0, 9], WireError::Lane),
            ("lo = hi", &[1, 5, 0], WireError::Range),
            ("same dot twice", &[1, 5, 4, 1, 1, 0, 0, 0, 0], WireError::Range),
            ("dot = lo", &[1, 5, 4, 5, 0], WireError::Range),
            ("dot below 0", &[1, 0, 4, 9, 0], WireError::Range),
            ("birth at 0", &[1, 5, 4, 1, 9 << 2 | 1, 0, 0, 0], WireError::Range),
            ("birth below 0", &[1, 5, 4, 1, 10 << 2 | 1, 0, 0, 0], WireError::Range),
            ("unknown kind", &[1, 5, 4, 1, 3], WireError::Kind),
            ("no content", &[1, 5, 4, 1, 0], WireError::Kind),
            ("index without a dictionary", &[1, 5, 4, 1, 2, 0, 0, 0], WireError::Range),
            ("item ends early", &[1, 5, 4, 1], WireError::Truncated),
            ("meta ends early", &[1, 5, 4, 1, 1, 0, 0, 1], WireError::Truncated),
        ];
        for (name, bytes, error) in cases {
            assert_eq!(Chunk::decode(bytes), Err(error), "{name}");
        }
        let mut highest = vec![1, 5];
        put_varint(&mut highest, u64::MAX - 5);
        assert_eq!(Chunk::decode(&highest), Err(WireError::Range), "hi + 1 overflows");
    }

    proptest! {
        #[test]
        fn any_chunk_round_trips(chunk in any_chunk(40)) {
            let message = chunk.encode().unwrap();
            prop_assert_eq!(Chunk::decode(body(&message)), Ok(chunk));
        }

        #[test]
        fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(chunk) = Chunk::decode(&bytes) {
                let message = chunk.encode().unwrap();
                prop_assert_eq!(Chunk::decode(body(&message)), Ok(chunk));
            }
        }
    }
}
