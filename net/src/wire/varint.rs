//! Primitive fields: canonical LEB128 varints, fixed little-endian integers, counted bytes, lanes.

use super::WireError;

/// Lanes are below this, so a lane fits two varint bytes and a table by lane stays small whatever a peer
/// says.
pub(crate) const LANES_MAX: u16 = 256;

/// The longest varint: nine times seven bits, and one more.
pub(super) const VARINT_LEN_MAX: usize = 10;

/// Reads fields off the front of a slice. After an error the position is unspecified: give up on the whole
/// input.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that was not read yet.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading: whoever sent more than the fields means something else than we understood.
    pub(super) const fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// One varint. Canonical only: one value has one spelling, so equal state is equal bytes.
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (i, &byte) in self.rest.iter().enumerate() {
            // Only bit 63 is left for the tenth byte; this also ends the loop, since a continuation bit is
            // above it.
            if i == VARINT_LEN_MAX - 1 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                if byte == 0 && i > 0 {
                    return Err(WireError::Varint);
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(WireError::Truncated)
    }

    /// A varint that must be at least 1: a distance or a count that would mean nothing at 0.
    pub(super) fn positive(&mut self) -> Result<u64, WireError> {
        match self.varint()? {
            0 => Err(WireError::Range),
            value => Ok(value),
        }
    }

    pub(super) fn lane(&mut self) -> Result<u16, WireError> {
        self.lane_count().and_then(|lane| if lane < LANES_MAX { Ok(lane) } else { Err(WireError::Lane) })
    }

    /// How many lanes a node has.
    pub(super) fn lane_count(&mut self) -> Result<u16, WireError> {
        let lanes = self.varint()?;
        u16::try_from(lanes).ok().filter(|lanes| *lanes <= LANES_MAX).ok_or(WireError::Lane)
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.varint()?;
        self.take(len)
    }

    /// A counted list whose items take at least `item_len_min` bytes each. A count that the bytes left cannot
    /// hold is refused before anything is allocated for it.
    pub(super) fn list<T>(
        &mut self,
        item_len_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.varint()?;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len() / item_len_min)
            .ok_or(WireError::Truncated)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_varint`] writes for `value`.
pub(crate) const fn varint_len(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

pub(super) fn put_lane(out: &mut Vec<u8>, lane: u16) {
    debug_assert!(lane < LANES_MAX, "lane {lane} is out of range");
    put_varint(out, u64::from(lane));
}

pub(super) fn put_lane_count(out: &mut Vec<u8>, lanes: u16) {
    debug_assert!(lanes <= LANES_MAX, "{lanes} lanes are out of range");
    put_varint(out, u64::from(lanes));
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that [`put_bytes`] writes for a slice of `len`.
pub(super) const fn bytes_len(len: usize) -> usize {
    varint_len(len as u64).saturating_add(len)
}

pub(super) fn put_list<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    put_varint(out, items.len() as u64);
    for each in items {
        item(out, each);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out
    }

    fn decoded(bytes: &[u8]) -> Result<u64, WireError> {
        let mut reader = Reader::new(bytes);
        let value = reader.varint()?;
        reader.finish()?;
        Ok(value)
    }

    #[test]
    fn varint_at_every_length_edge_round_trips() {
        for bits in 0..64 {
            for value in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1, u64::MAX >> bits] {
                let bytes = encoded(value);
                assert_eq!(bytes.len(), varint_len(value), "{value}");
                assert!(bytes.len() <= VARINT_LEN_MAX);
                assert_eq!(decoded(&bytes), Ok(value));
            }
        }
        assert_eq!(encoded(300), [0xAC, 0x02]);
        assert_eq!(varint_len(u64::MAX), VARINT_LEN_MAX);
    }

    #[test]
    fn overlong_varint_is_refused() {
        assert_eq!(decoded(&[0x80, 0x00]), Err(WireError::Varint), "zero in two bytes");
        assert_eq!(decoded(&[0xFF, 0x80, 0x00]), Err(WireError::Varint), "127 in three bytes");
        let mut ten = [0xFF; 10];
        ten[9] = 0x01;
        assert_eq!(decoded(&ten), Ok(u64::MAX));
        ten[9] = 0x02;
        assert_eq!(decoded(&ten), Err(WireError::Varint), "bit 64");
        ten[9] = 0x00;
        assert_eq!(decoded(&ten), Err(WireError::Varint), "zero last byte");
        assert_eq!(decoded(&[0x80; 11]), Err(WireError::Varint), "eleven bytes");
    }

    #[test]
    fn unfinished_field_is_truncated() {
        assert_eq!(decoded(&[]), Err(WireError::Truncated));
        assert_eq!(decoded(&[0x80]), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[1, 2, 3]).u32(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&[4, 1, 2, 3]).bytes(), Err(WireError::Truncated));
        assert_eq!(Reader::new(&encoded(u64::MAX)).bytes(), Err(WireError::Truncated));
    }

    #[test]
    fn claimed_count_beyond_the_bytes_is_refused_before_allocating() {
        for count in [3, 1 << 32, u64::MAX] {
            let mut bytes = encoded(count);
            bytes.extend_from_slice(&[0; 5]);
            let items = Reader::new(&bytes).list(2, |_| -> Result<(), _> { panic!("read an item") });
            assert_eq!(items, Err(WireError::Truncated));
        }
    }

    #[test]
    fn lane_limits_hold() {
        assert_eq!(Reader::new(&encoded(255)).lane(), Ok(255));
        assert_eq!(Reader::new(&encoded(256)).lane(), Err(WireError::Lane));
        assert_eq!(Reader::new(&encoded(256)).lane_count(), Ok(256));
        assert_eq!(Reader::new(&encoded(257)).lane_count(), Err(WireError::Lane));
        assert_eq!(Reader::new(&encoded(65_536)).lane(), Err(WireError::Lane));
    }

    proptest! {
        #[test]
        fn any_varint_round_trips(value: u64, shift in 0_u32..64) {
            let value = value >> shift;
            let bytes = encoded(value);
            prop_assert_eq!(bytes.len(), varint_len(value));
            prop_assert_eq!(decoded(&bytes), Ok(value));
        }

        #[test]
        fn what_decodes_is_what_would_be_encoded(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(value) = decoded(&bytes) {
                prop_assert_eq!(encoded(value), bytes);
            }
        }

        #[test]
        fn bytes_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put_bytes(&mut out, &bytes);
            prop_assert_eq!(out.len(), bytes_len(bytes.len()));
            prop_assert_eq!(Reader::new(&out).bytes(), Ok(&bytes[..]));
        }
    }
}
