//! How a session shows that it is alive and where it says: it is given a cookie, and gives it back.

use super::WireError;
use super::frame::{CHALLENGE, PROOF, put_frame};
use super::varint::Reader;
use crate::crypto::SALT_LEN;

/// Asks a session that the sender does not know to give the cookie back. Not longer than the shortest Hello, and a Proof is
/// shorter: nobody can be made to send more than was sent in his name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) target_session: u64,
    pub(crate) cookie: [u8; SALT_LEN],
}

/// Gives a cookie back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) cookie: [u8; SALT_LEN],
}

impl Challenge {
    /// Bytes of the frame.
    pub(crate) const LEN: usize = 2 + 8 + SALT_LEN;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, CHALLENGE, |out| {
            out.extend_from_slice(&self.target_session.to_le_bytes());
            out.extend_from_slice(&self.cookie);
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self { target_session: reader.u64()?, cookie: reader.array()? };
        reader.finish()?;
        Ok(frame)
    }
}

impl Proof {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, PROOF, |out| out.extend_from_slice(&self.cookie));
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let frame = Self { cookie: reader.array()? };
        reader.finish()?;
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frame;
    use crate::wire::frame::tests::decoded;

    #[test]
    fn bytes_are_as_the_table_says_and_a_proof_is_shorter_than_its_challenge() {
        let mut out = Vec::new();
        let cookie = *b"0123456789abcdef";
        let challenge = Challenge { target_session: 0x0102, cookie };
        challenge.put(&mut out);
        assert_eq!(out.len(), Challenge::LEN);
        assert_eq!(out, [&[8, 24, 2, 1, 0, 0, 0, 0, 0, 0][..], &cookie].concat());
        Proof { cookie }.put(&mut out);
        assert_eq!(out[Challenge::LEN..], [&[9, 16][..], &cookie].concat());
        assert!(out.len() - Challenge::LEN < Challenge::LEN);
        assert_eq!(decoded(&out), Ok(vec![Frame::Challenge(challenge), Frame::Proof(Proof { cookie })]));
        out[Challenge::LEN + 1] = 15;
        out.pop();
        assert_eq!(decoded(&out), Err(WireError::Truncated));
    }
}
