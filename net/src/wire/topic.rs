//! How a topic that a datagram has not told yet is spelled: by what it has in common with the one that was new before it.
//!
//! Topics of one kind differ in a number at their end mostly (`room:41`, `room:57`), so two are the difference of their numbers, one
//! byte or two. Others share their beginning.

use super::WireError;
use super::varint::{Reader, put_varint};

/// The most bytes at its beginning that a topic takes from another. Bounds what a reader makes of a few bytes.
pub(super) const SHARED_MAX: usize = 64;
/// The digits that are taken for a number: with one more, 64 bits would not do for twice its double.
const DIGITS_MAX: usize = 18;
/// What a nibble says is said behind it, less this.
const NIBBLE_MAX: usize = 15;

/// A topic with digits at its end.
#[derive(Clone, Copy, Debug)]
struct Numbered<'a> {
    text: &'a [u8],
    width: usize,
    value: u64,
}

impl<'a> Numbered<'a> {
    fn new(topic: &'a [u8]) -> Option<Self> {
        let digits = topic.iter().rev().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit());
        let width = digits.count();
        let (text, digits) = topic.split_at_checked(topic.len() - width)?;
        let value = digits.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
        (width > 0 && text.len() <= SHARED_MAX).then_some(Self { text, width, value })
    }
}

/// How many digits a number has.
fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// How to say a topic after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spelling<'a> {
    /// The other with this much added to its number, zigzag, twice; and one if it has not as many digits as the other's.
    Numbered(u64),
    /// So many bytes of the other, and these.
    Spelled { shared: usize, rest: &'a [u8] },
}

impl<'a> Spelling<'a> {
    pub(super) fn new(topic: &'a [u8], before: Option<&[u8]>) -> Self {
        let Some(before) = before else {
            return Self::Spelled { shared: 0, rest: topic };
        };
        if let Some(code) = number_code(topic, before) {
            return Self::Numbered(code);
        }
        let pairs = topic.iter().zip(before).take(SHARED_MAX);
        let shared = pairs.take_while(|(one, other)| one == other).count();
        Self::Spelled { shared, rest: topic.get(shared..).unwrap_or_default() }
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Numbered(code) => put_varint(out, code),
            Self::Spelled { shared, rest } => {
                let nibbles = shared.min(NIBBLE_MAX) << 4 | rest.len().min(NIBBLE_MAX);
                out.push(nibbles as u8);
                for len in [shared, rest.len()] {
                    if let Some(more) = len.checked_sub(NIBBLE_MAX) {
                        put_varint(out, more as u64);
                    }
                }
                out.extend_from_slice(rest);
            }
        }
    }
}

fn number_code(topic: &[u8], before: &[u8]) -> Option<u64> {
    let (topic, before) = (Numbered::new(topic)?, Numbered::new(before)?);
    if topic.text != before.text {
        return None;
    }
    let has_other_width = topic.width != before.width;
    if has_other_width && topic.width != digits(topic.value) {
        // It has zeros in front.
        return None;
    }
    let difference = topic.value.cast_signed() - before.value.cast_signed();
    // Below 10^18 either way, so neither shift loses anything.
    let zigzag = (difference << 1 ^ difference >> 63).cast_unsigned();
    Some(zigzag << 1 | u64::from(has_other_width))
}

/// Reads a topic's number, and appends the topic to `topics`. `before`: where in there the one before is.
pub(super) fn read_numbered(
    reader: &mut Reader<'_>,
    topics: &mut Vec<u8>,
    before: (usize, usize),
) -> Result<(), WireError> {
    let (start, end) = before;
    let before = topics.get(start..end).and_then(Numbered::new).ok_or(WireError::Range)?;
    let (width, text_end) = (before.width, start + before.text.len());
    let code = reader.varint()?;
    let zigzag = code >> 1;
    let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
    let value = before.value.checked_add_signed(difference).ok_or(WireError::Range)?;
    let natural = digits(value);
    let is_other_width = code & 1 == 1;
    let width = if is_other_width { natural } else { width };
    if width > DIGITS_MAX || natural > width || (is_other_width && natural == before.width) {
        return Err(WireError::Range);
    }
    topics.extend_from_within(start..text_end);
    let at = topics.len();
    topics.resize(at + width, b'0');
    let mut value = value;
    for place in topics.iter_mut().rev().take(width) {
        *place += (value % 10) as u8;
        value /= 10;
    }
    Ok(())
}

/// Reads what is spelled of a topic, and appends the topic to `topics`. `before`: where in there the one before is.
pub(super) fn read_spelled(
    reader: &mut Reader<'_>,
    topics: &mut Vec<u8>,
    before: Option<(usize, usize)>,
) -> Result<(), WireError> {
    let nibbles = reader.u8()?;
    let mut len = |nibble: u8| match u64::from(nibble) {
        said if said < NIBBLE_MAX as u64 => Ok(said),
        said => said.checked_add(reader.varint()?).ok_or(WireError::Truncated),
    };
    let (shared, rest) = (len(nibbles >> 4)?, len(nibbles & 0x0F)?);
    if shared > 0 {
        let (start, end) = before.ok_or(WireError::Range)?;
        let shared = usize::try_from(shared).ok().filter(|&shared| shared <= SHARED_MAX.min(end - start));
        topics.extend_from_within(start..start + shared.ok_or(WireError::Range)?);
    }
    topics.extend_from_slice(reader.take(rest)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(topic: &[u8], before: Option<&[u8]>) -> (bool, Vec<u8>) {
        let (spelling, mut out) = (Spelling::new(topic, before), Vec::new());
        spelling.put(&mut out);
        (matches!(spelling, Spelling::Numbered(_)), out)
    }

    fn decoded(is_numbered: bool, bytes: &[u8], before: Option<&[u8]>) -> Result<Vec<u8>, WireError> {
        // Something else stands in front.
        let mut topics = b"abc".to_vec();
        topics.extend_from_slice(before.unwrap_or_default());
        let end = topics.len();
        let mut reader = Reader::new(bytes);
        if is_numbered {
            read_numbered(&mut reader, &mut topics, (3, end))?;
        } else {
            read_spelled(&mut reader, &mut topics, before.map(|_| (3, end)))?;
        }
        reader.finish()?;
        Ok(topics.split_off(end))
    }

    #[test]
    fn topics_are_coded_as_the_table_says() {
        let sixteen = &[&[0xFF, 0, 1][..], b"0123456789abcdef"].concat();
        let long = &[&[0x5F, 5][..], b"-a-lobby-with-a-name"].concat();
        for (topic, before, is_numbered, bytes) in [
            (&b"room:41"[..], None, false, &b"\x07room:41"[..]),
            (b"room:57", Some(&b"room:41"[..]), true, &[16 << 2]),
            (b"room:40", Some(b"room:41"), true, &[1 << 1]),
            // 32 less.
            (b"room:9", Some(b"room:41"), true, &[63 << 1 | 1]),
            (b"room:09", Some(b"room:41"), true, &[63 << 1]),
            (b"room:041", Some(b"room:41"), false, b"\x53041"),
            (b"room:lobby", Some(b"room:41"), false, b"\x55lobby"),
            (b"room", Some(b"room:41"), false, b"\x40"),
            (b"", Some(b"room:41"), false, b"\x00"),
            (b"room:-a-lobby-with-a-name", Some(b"room:41"), false, long),
            (b"0123456789abcde0123456789abcdef", Some(b"0123456789abcdeX"), false, sixteen),
        ] {
            let name = String::from_utf8_lossy(topic);
            assert_eq!(encoded(topic, before), (is_numbered, bytes.to_vec()), "{name}");
            assert_eq!(decoded(is_numbered, bytes, before), Ok(topic.to_vec()), "{name}");
        }
    }

    #[test]
    fn impossible_topics_are_refused() {
        let range = Err(WireError::Range);
        let longest = [&b"room:"[..], &[b'9'; 18]].concat();
        let distant = [&[b'x'; SHARED_MAX + 1][..], b"7"].concat();
        assert_eq!(decoded(true, &[4], None), range, "a number without a topic before");
        assert_eq!(decoded(true, &[4], Some(b"lobby")), range, "a number after a topic without");
        assert_eq!(decoded(true, &[4], Some(&distant)), range, "a number behind too much text");
        assert_eq!(decoded(true, &[1 << 1], Some(b"room:0")), range, "a number below 0");
        assert_eq!(decoded(true, &[1 << 2], Some(b"room:9")), range, "a digit more than it says");
        assert_eq!(decoded(true, &[1 << 2 | 1], Some(b"room:7")), range, "another width that is not");
        assert_eq!(decoded(true, &[1 << 2 | 1], Some(&longest)), range, "nineteen digits");
        assert_eq!(decoded(false, &[0x10], None), range, "a part of no topic");
        assert_eq!(decoded(false, &[0x60], Some(b"lobby")), range, "more of a topic than it has");
        let much = [0xF0, (SHARED_MAX + 1 - NIBBLE_MAX) as u8];
        assert_eq!(decoded(false, &much, Some(&[b'x'; 80])), range, "more of a topic than is shared");
        assert_eq!(decoded(false, &[0x02, b'x'], None), Err(WireError::Truncated));
        let endless = [&[0x0F][..], &[0xFF; 9], &[1]].concat();
        assert_eq!(decoded(false, &endless, None), Err(WireError::Truncated), "a length beyond everything");
    }

    proptest! {
        #[test]
        fn any_topic_comes_out_as_it_went_in(
            before in prop::option::of("[ab]{0,70}[0-9]{0,20}"), topic in "[ab]{0,70}[0-9]{0,20}",
        ) {
            let (topic, before) = (topic.as_bytes(), before.as_ref().map(String::as_bytes));
            let (is_numbered, bytes) = encoded(topic, before);
            prop_assert_eq!(decoded(is_numbered, &bytes, before), Ok(topic.to_vec()));
        }

        #[test]
        fn topics_that_differ_in_their_number_come_out_as_they_went_in(
            one in 0_u64..2_000, other in 0_u64..2_000, shift in 0_u32..40, is_padded: bool,
        ) {
            let width = if is_padded { 16 } else { 0 };
            let [before, topic] = [one, other].map(|number| format!("room:{:0width$}", number << shift));
            let (before, topic) = (before.as_bytes(), topic.as_bytes());
            let (is_numbered, bytes) = encoded(topic, Some(before));
            prop_assert!(is_numbered);
            prop_assert_eq!(decoded(true, &bytes, Some(before)), Ok(topic.to_vec()));
        }

        #[test]
        fn random_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..12), is_numbered: bool, before in "[ab]{0,3}[0-9]{0,19}",
        ) {
            if let Ok(topic) = decoded(is_numbered, &bytes, Some(before.as_bytes())) {
                prop_assert!(topic.len() <= bytes.len() + SHARED_MAX + DIGITS_MAX);
            }
        }
    }
}
