//! A node asks another one to remove an entry that is the other's, and what comes of that.

use super::WireError;
use super::frame::{EVICT, EVICTED, put_frame};
use super::varint::{Reader, put_lane, put_varint};

/// Asks the target to remove that version of an entry of its own. Said again until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evict {
    pub(crate) target_node: u32,
    /// The life that has the entry.
    pub(crate) incarnation: u64,
    pub(crate) lane: u16,
    pub(crate) clock: u64,
    /// What the answer names; the asker's own choice, not used twice in a session.
    pub(crate) question: u64,
}

/// The answer to an [`Evict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evicted {
    /// The session that has asked.
    pub(crate) target_session: u64,
    pub(crate) question: u64,
    pub(crate) answer: Answer,
}

/// What the owner has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was there and is removed.
    Removed,
    /// There is no entry of that version any more.
    Gone,
    /// The owner obeys nobody.
    NotAllowed,
}

impl Answer {
    const ALL: [Self; 3] = [Self::Removed, Self::Gone, Self::NotAllowed];

    fn code(self) -> u8 {
        match self {
            Self::Removed => 0,
            Self::Gone => 1,
            Self::NotAllowed => 2,
        }
    }
}

impl Evict {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, EVICT, |out| {
            out.extend_from_slice(&self.target_node.to_le_bytes());
            out.extend_from_slice(&self.incarnation.to_le_bytes());
            put_lane(out, self.lane);
            put_varint(out, self.clock);
            put_varint(out, self.question);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self {
            target_node: reader.u32()?,
            incarnation: reader.u64()?,
            lane: reader.lane()?,
            clock: reader.varint()?,
            question: reader.varint()?,
        };
        reader.finish()?;
        Ok(frame)
    }
}

impl Evicted {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, EVICTED, |out| {
            out.extend_from_slice(&self.target_session.to_le_bytes());
            put_varint(out, self.question);
            out.push(self.answer.code());
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let (target_session, question, code) = (reader.u64()?, reader.varint()?, reader.u8()?);
        reader.finish()?;
        let answer = Answer::ALL.into_iter().find(|answer| answer.code() == code).ok_or(WireError::Range)?;
        Ok(Self { target_session, question, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::frame::tests::{decoded, put_all};

    #[test]
    fn bytes_are_as_the_table_says() {
        let evict = Frame::Evict(Evict {
            target_node: 0x0403_0201,
            incarnation: 5,
            lane: 200,
            clock: 300,
            question: 7,
        });
        let body = put_all(std::slice::from_ref(&evict));
        assert_eq!(body, [13, 17, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0xC8, 1, 0xAC, 2, 7]);
        assert_eq!(decoded(&body), Ok(vec![evict]));
        for answer in Answer::ALL {
            let evicted = Frame::Evicted(Evicted { target_session: 8, question: 7, answer });
            let body = put_all(std::slice::from_ref(&evicted));
            assert_eq!(body, [14, 10, 8, 0, 0, 0, 0, 0, 0, 0, 7, answer.code()]);
            assert_eq!(decoded(&body), Ok(vec![evicted]));
        }
        assert_eq!(decoded(&[14, 10, 8, 0, 0, 0, 0, 0, 0, 0, 7, 3]), Err(WireError::Range));
        let no_lane = [13, 17, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0x80, 2, 0xAC, 2, 7];
        assert_eq!(decoded(&no_lane), Err(WireError::Lane));
    }
}
