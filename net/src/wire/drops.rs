//! What a node says of its own receiving: datagrams that found its buffer full.

use super::WireError;
use super::frame::{DROPS, put_frame};
use super::varint::{Reader, put_varint};

/// How many datagrams the sender's system has dropped for want of room since it started. Goes with heartbeats, if there were any: whoever
/// sends it much sends less then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drops {
    pub(crate) total: u64,
}

impl Drops {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        put_frame(out, DROPS, |out| put_varint(out, self.total));
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self { total: reader.varint()? };
        reader.finish()?;
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::frame::tests::{decoded, put_all};

    #[test]
    fn drops_bytes_are_as_the_table_says() {
        let frame = Frame::Drops(Drops { total: 300 });
        let body = put_all(std::slice::from_ref(&frame));
        assert_eq!(body, [12, 2, 0xAC, 0x02]);
        assert_eq!(decoded(&body), Ok(vec![frame]));
        assert_eq!(decoded(&[12, 2, 5, 0]), Err(WireError::Trailing));
        assert_eq!(decoded(&[12, 0]), Err(WireError::Truncated));
    }
}
