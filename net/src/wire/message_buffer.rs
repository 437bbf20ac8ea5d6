//! The buffer that cuts a byte stream into messages.

use super::WireError;
use super::stream::{LENGTH_LEN, MESSAGE_MAX};

/// What was read from a stream and is not a whole message yet.
///
/// Take every message after each read, and no more than one message and one read is ever held;
/// [`MessageBuffer::push`] insists on it.
#[derive(Debug, Default)]
pub(crate) struct MessageBuffer {
    bytes: Vec<u8>,
    /// Everything before was yielded.
    start: usize,
}

impl MessageBuffer {
    /// Appends what was read. False: nothing was taken, because a whole message, or a length above the limit,
    /// is waiting in [`MessageBuffer::next`] already.
    #[must_use]
    pub(crate) fn push(&mut self, read: &[u8]) -> bool {
        if self.len() >= LENGTH_LEN + MESSAGE_MAX {
            return false;
        }
        // What is left is the beginning of a message, from the last read: each byte is moved once at most.
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(read);
        true
    }

    /// The next whole message's type and body. None: read more. After an error the stream has lost its
    /// bounds: it stays in error, and the connection is of no use.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &[u8])>, WireError> {
        let pending = self.bytes.get(self.start..).unwrap_or_default();
        let Some((len, rest)) = pending.split_first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        // Checked before the message is there: a length that will be refused is not waited for.
        let len = match usize::try_from(u32::from_le_bytes(*len)) {
            Ok(0) => return Err(WireError::Truncated),
            Ok(len @ ..=MESSAGE_MAX) => len,
            _ => return Err(WireError::TooLong),
        };
        let Some(message) = rest.get(..len) else {
            return Ok(None);
        };
        self.start += LENGTH_LEN + len;
        Ok(message.split_first().map(|(kind, body)| (*kind, body)))
    }

    /// Bytes held and not yielded.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[cfg(test)]
    /// Whether the stream may end here: no message has begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::stream::tests::{any_message, encoded};
    use crate::wire::stream::{DONE, Message};

    #[test]
    fn buffer_refuses_a_bad_length_at_once_and_for_good() {
        for (len, error) in [
            (0, WireError::Truncated),
            (MESSAGE_MAX as u32 + 1, WireError::TooLong),
            (u32::MAX, WireError::TooLong),
        ] {
            let mut buffer = MessageBuffer::default();
            assert!(buffer.push(&encoded(&Message::Done)));
            assert!(buffer.push(&len.to_le_bytes()));
            assert_eq!(buffer.next(), Ok(Some((DONE, &[][..]))));
            assert_eq!(buffer.next(), Err(error));
            assert!(buffer.push(&encoded(&Message::Done)));
            assert_eq!(buffer.next(), Err(error));
        }
    }

    #[test]
    fn buffer_takes_the_longest_message_and_no_more_until_it_is_taken() {
        let mut message = (MESSAGE_MAX as u32).to_le_bytes().to_vec();
        message.resize(LENGTH_LEN + MESSAGE_MAX, 9);
        let mut buffer = MessageBuffer::default();
        for read in message.chunks(1000) {
            assert_eq!(buffer.next(), Ok(None));
            assert!(buffer.push(read));
        }
        assert!(!buffer.push(&[1]));
        assert_eq!(buffer.len(), message.len());
        assert_eq!(buffer.next(), Ok(Some((9, &message[5..]))));
        assert!(buffer.is_empty());
        assert!(buffer.push(&[1]));
        assert_eq!(buffer.bytes.len(), 1, "yielded bytes are let go");
    }

    proptest! {
        #[test]
        fn stream_cut_anywhere_yields_the_same_messages(
            messages in vec(any_message(), 0..12),
            cuts in vec(1_usize..700, 1..20),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(encoded).collect();
            let mut buffer = MessageBuffer::default();
            let mut got = 0;
            let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (read, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = after;
                prop_assert!(buffer.push(read));
                while let Some((kind, body)) = buffer.next().unwrap() {
                    prop_assert_eq!(Message::decode(kind, body), Ok(messages[got].clone()));
                    got += 1;
                }
                prop_assert!(buffer.len() < LENGTH_LEN + MESSAGE_MAX);
            }
            prop_assert_eq!(got, messages.len());
            prop_assert!(buffer.is_empty());
        }
    }
}
