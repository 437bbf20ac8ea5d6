//! The outside of a sealed stream: a preamble in clear from each side, then records.

use super::WireError;
use super::seal::{SUITE_SEALED, WIRE_VERSION};
use super::varint::Reader;
use crate::crypto::{SALT_LEN, SenderKey, TAG_LEN};

const MAGIC: [u8; 4] = *b"HCSK";
const LENGTH_LEN: usize = 4;
/// The longest record, its tag included, its length not.
const RECORD_MAX: usize = 64 * 1024;
/// What a record adds to what is in it.
const RECORD_OVERHEAD: usize = LENGTH_LEN + TAG_LEN;

/// What each side of a sealed stream says first: who it is, which key it uses, and a salt that makes the stream's keys its own. An old
/// stream that is played again meets another salt and opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) cluster: u32,
    pub(crate) key_epoch: u16,
    pub(crate) node: u32,
    pub(crate) session: u64,
    pub(crate) salt: [u8; SALT_LEN],
}

impl Preamble {
    pub(crate) const LEN: usize = MAGIC.len() + 2 + 4 + 2 + 4 + 8 + SALT_LEN;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[WIRE_VERSION, SUITE_SEALED]);
        out.extend_from_slice(&self.cluster.to_le_bytes());
        out.extend_from_slice(&self.key_epoch.to_le_bytes());
        out.extend_from_slice(&self.node.to_le_bytes());
        out.extend_from_slice(&self.session.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(WireError::Magic);
        }
        if reader.u8()? != WIRE_VERSION {
            return Err(WireError::Version);
        }
        if reader.u8()? != SUITE_SEALED {
            return Err(WireError::Suite);
        }
        Ok(Self {
            cluster: reader.u32()?,
            key_epoch: reader.u16()?,
            node: reader.u32()?,
            session: reader.u64()?,
            salt: reader.array()?,
        })
    }
}

/// Appends `content` as records, sealed; `number` counts those of this direction, from 0.
pub(crate) fn put_records(out: &mut Vec<u8>, key: &SenderKey, number: &mut u64, content: &[u8]) {
    let records = content.chunks(RECORD_MAX - TAG_LEN);
    out.reserve(content.len() + records.len() * RECORD_OVERHEAD);
    for part in records {
        let length = (part.len() + TAG_LEN) as u32;
        let length = length.to_le_bytes();
        out.extend_from_slice(&length);
        let start = out.len();
        out.extend_from_slice(part);
        let tag = key.seal(*number, &length, &mut out[start..]);
        out.extend_from_slice(&tag);
        *number += 1;
    }
}

/// What was read of a sealed stream and is not a whole record yet. Take every record after each read.
#[derive(Debug, Default)]
pub(crate) struct RecordBuffer {
    bytes: Vec<u8>,
    /// Everything before was yielded.
    start: usize,
    /// Records opened so far.
    number: u64,
}

impl RecordBuffer {
    pub(crate) fn push(&mut self, read: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(read);
    }

    /// Takes the other side's preamble off the front, once it is there.
    pub(crate) fn preamble(&mut self) -> Option<Result<Preamble, WireError>> {
        let preamble = Preamble::decode(self.bytes.get(self.start..)?.first_chunk()?);
        self.start += Preamble::LEN;
        Some(preamble)
    }

    /// The content of the next whole record. After an error the stream is of no use.
    pub(crate) fn next(&mut self, key: &SenderKey) -> Result<Option<&[u8]>, WireError> {
        let Some((length, rest)) = self
            .bytes
            .get_mut(self.start..)
            .and_then(|pending| pending.split_first_chunk_mut::<LENGTH_LEN>())
        else {
            return Ok(None);
        };
        // Checked before the record is there: a length that will be refused is not waited for.
        let len = match usize::try_from(u32::from_le_bytes(*length)) {
            Ok(..=TAG_LEN) => return Err(WireError::Truncated),
            Ok(len @ ..=RECORD_MAX) => len,
            _ => return Err(WireError::TooLong),
        };
        let Some((content, tag)) =
            rest.get_mut(..len).and_then(|record| record.split_last_chunk_mut::<TAG_LEN>())
        else {
            return Ok(None);
        };
        if !key.open(self.number, length, content, tag) {
            return Err(WireError::Tag);
        }
        self.number += 1;
        let at = self.start + LENGTH_LEN;
        self.start = at + len;
        Ok(self.bytes.get(at..at + len - TAG_LEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Direction, EpochKey, SenderId};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn key(direction: Direction) -> SenderKey {
        let epoch = EpochKey::new("chat", &zeroize::Zeroizing::new([7; 32]));
        epoch.stream(direction, SenderId { node: 1, session: 2 }, &[3; 2 * SALT_LEN])
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let (mut out, mut number) = (Vec::new(), 0);
        put_records(&mut out, &key(Direction::Giving), &mut number, content);
        out
    }

    fn opened(bytes: &[u8], read: usize, key: &SenderKey) -> Result<Vec<u8>, WireError> {
        let (mut buffer, mut content) = (RecordBuffer::default(), Vec::new());
        for read in bytes.chunks(read) {
            buffer.push(read);
            while let Some(part) = buffer.next(key)? {
                content.extend_from_slice(part);
            }
        }
        Ok(content)
    }

    #[test]
    fn a_preamble_survives_the_trip_and_strangers_are_told_apart() {
        let preamble = Preamble { cluster: 1, key_epoch: 2, node: 3, session: 4, salt: [5; SALT_LEN] };
        let bytes: [u8; Preamble::LEN] = preamble.encode().try_into().unwrap();
        assert_eq!(Preamble::decode(&bytes), Ok(preamble));
        for (at, error) in [(0, WireError::Magic), (4, WireError::Version), (5, WireError::Suite)] {
            let mut bytes = bytes;
            bytes[at] ^= 1;
            assert_eq!(Preamble::decode(&bytes), Err(error));
        }
    }

    #[test]
    fn long_content_takes_several_records_and_each_counts() {
        let content: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        let bytes = sealed(&content);
        assert_eq!(bytes.len(), content.len() + 4 * RECORD_OVERHEAD);
        for read in [1000, 65_536, usize::MAX] {
            assert_eq!(opened(&bytes, read, &key(Direction::Giving)).as_ref(), Ok(&content));
        }
        assert_eq!(opened(&bytes, 4096, &key(Direction::Asking)), Err(WireError::Tag));
        // A record left out, or one twice, is noticed by its number.
        let record = LENGTH_LEN + RECORD_MAX;
        assert_eq!(opened(&bytes[record..], 4096, &key(Direction::Giving)), Err(WireError::Tag));
        let twice = [&bytes[..record], &bytes[..record]].concat();
        assert_eq!(opened(&twice, 4096, &key(Direction::Giving)), Err(WireError::Tag));
    }

    #[test]
    fn lengths_out_of_bounds_are_refused_at_once() {
        for (len, error) in [
            (0, WireError::Truncated),
            (TAG_LEN as u32, WireError::Truncated),
            (RECORD_MAX as u32 + 1, WireError::TooLong),
            (u32::MAX, WireError::TooLong),
        ] {
            assert_eq!(opened(&len.to_le_bytes(), 4, &key(Direction::Giving)), Err(error));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn cut_anywhere_it_is_the_same_and_no_bit_can_be_turned(
            parts in vec(vec(any::<u8>(), 1..300), 1..6), read in 1_usize..400, bit: prop::sample::Index,
        ) {
            let (mut bytes, mut number) = (Vec::new(), 0);
            for part in &parts {
                put_records(&mut bytes, &key(Direction::Giving), &mut number, part);
            }
            prop_assert_eq!(opened(&bytes, read, &key(Direction::Giving)), Ok(parts.concat()));
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let content = parts.concat();
            match opened(&bytes, read, &key(Direction::Giving)) {
                // A length that claims more than there is waits for the rest.
                Ok(some) => prop_assert!(some.len() < content.len() && content.starts_with(&some)),
                Err(error) => prop_assert!(matches!(error, WireError::Tag | WireError::TooLong | WireError::Truncated)),
            }
        }
    }
}
