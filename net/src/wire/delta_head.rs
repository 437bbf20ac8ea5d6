//! The first byte of each operation in a Delta, and the ages of removes, which share theirs with it.
//!
//! Half of the values are for adds, nearly all others for removes: what happens most must fit one byte, or share it.

use super::WireError;
use super::varint::{Reader, put_varint};

/// Adds are below this.
pub(super) const ADD_END: u8 = 0x80;
/// In the head of an add: it was born before, and its age follows.
pub(super) const AGED: u8 = 0x40;
/// In the head of an add: the length of its key follows. Else it is that of the key before it.
pub(super) const KEY_LEN: u8 = 0x20;
/// In the head of an add: the length of its meta follows. Else it is that of the meta before it.
pub(super) const META_LEN: u8 = 0x10;
/// In the head of an add: how its topic is told.
pub(super) const TOPIC_MASK: u8 = 0x0F;
/// The topic is spelled, but for what it shares with the one that was new before.
pub(super) const TOPIC_SPELLED: u8 = 0;
/// The topic is the one that was new before, with another number at its end.
pub(super) const TOPIC_NUMBERED: u8 = 1;
/// From here on: the topic's index in the dictionary.
pub(super) const TOPIC_KNOWN: u8 = 2;
/// The index follows, less [`INDEX_SHORT_END`].
pub(super) const TOPIC_FAR: u8 = 15;
/// Indices below this fit the head.
pub(super) const INDEX_SHORT_END: u64 = (TOPIC_FAR - TOPIC_KNOWN) as u64;

const AGE_3: u8 = 0x80;
const AGE_2: u8 = 0xC0;
const AGE_4: u8 = 0xE0;
const NEAR_1: u8 = 0xE8;
const NEAR_2: u8 = 0xF0;
const AGE_ANY: u8 = 0xF4;
/// More clocks are skipped than fit a head: their number less [`SKIP_SHORT_MAX`] and one follows.
pub(super) const SKIP: u8 = 0xF5;
/// Update, and the length of its meta follows.
pub(super) const UPDATE: u8 = 0xF6;
/// Update, with a meta as long as the one before.
pub(super) const UPDATE_SAME: u8 = 0xF7;
/// One clock is skipped; the values after it: two to six.
pub(super) const SKIP_SHORT: u8 = 0xFA;
/// The most clocks that a head alone skips.
pub(super) const SKIP_SHORT_MAX: u64 = (0xFF - SKIP_SHORT) as u64 + 1;

/// Ages from 1 that fit two bytes, three, four.
const AGES_2: u64 = 1 << (5 + 8);
const AGES_3: u64 = 1 << (6 + 16);
const AGES_4: u64 = 1 << (3 + 24);
/// Distances from the birth before that fit one byte, two.
const NEARS_1: u64 = 1 << 3;
const NEARS_2: u64 = 1 << (2 + 8);

/// How a remove says which entry it is about: by its age, in as few bytes as that takes, or by how far its birth is from that of the
/// remove before, where that is shorter. Each has one way only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Removed {
    /// The head without what it says of the number.
    head: u8,
    /// Bytes behind the head, which has the highest bits.
    more: u32,
    number: u64,
}

impl Removed {
    /// Of the entry of this birth, at the clock, after a remove of one born at `before`.
    fn new(clock: u64, birth: u64, before: u64) -> Self {
        let age = clock - birth;
        let near = near(birth, before);
        let (head, more, number) = match age - 1 {
            _ if near < NEARS_1 => (NEAR_1, 0, near),
            number if number < AGES_2 => (AGE_2, 1, number),
            _ if near < NEARS_1 + NEARS_2 => (NEAR_2, 1, near - NEARS_1),
            number if number < AGES_2 + AGES_3 => (AGE_3, 2, number - AGES_2),
            number if number < AGES_2 + AGES_3 + AGES_4 => (AGE_4, 3, number - AGES_2 - AGES_3),
            number => (AGE_ANY, 0, number - AGES_2 - AGES_3 - AGES_4),
        };
        Self { head, more, number }
    }
}

/// How far a birth is from another: 0 is the next one, 1 the one before, 2 the next but one, and so on. The other itself is as far as can
/// be.
fn near(birth: u64, before: u64) -> u64 {
    let distance = birth.abs_diff(before);
    match distance.checked_sub(1) {
        Some(steps) => steps.saturating_mul(2).saturating_add(u64::from(birth < before)),
        None => u64::MAX,
    }
}

/// The birth that is so far from another.
fn birth_near(number: u64, before: u64) -> Option<u64> {
    let distance = number / 2 + 1;
    if number.is_multiple_of(2) { before.checked_add(distance) } else { before.checked_sub(distance) }
}

/// Appends the remove, at `clock`, of the entry born at `birth` below it; `before` is the birth that the remove before it was about.
pub(super) fn put_remove(out: &mut Vec<u8>, clock: u64, birth: u64, before: u64) {
    let Removed { head, more, number } = Removed::new(clock, birth, before);
    if head == AGE_ANY {
        out.push(head);
        put_varint(out, number);
        return;
    }
    let bytes = number.to_le_bytes();
    // The highest bits are in the head; what a head has room for, the sizes of the ranges say.
    out.push(head | bytes.get(more as usize).copied().unwrap_or(0));
    out.extend_from_slice(bytes.get(..more as usize).unwrap_or_default());
}

/// Reads what [`put_remove`] wrote, its head off already; returns the birth. [`WireError::Kind`] if it is no remove's head.
pub(super) fn remove(reader: &mut Reader<'_>, head: u8, clock: u64, before: u64) -> Result<u64, WireError> {
    let (form, more) = match head {
        AGE_3..AGE_2 => (AGE_3, 2),
        AGE_2..AGE_4 => (AGE_2, 1),
        AGE_4..NEAR_1 => (AGE_4, 3),
        NEAR_1..NEAR_2 => (NEAR_1, 0),
        NEAR_2..AGE_ANY => (NEAR_2, 1),
        AGE_ANY => (AGE_ANY, 0),
        _ => return Err(WireError::Kind),
    };
    let high = u64::from(head - form);
    let number = match more {
        0 => high,
        1 => high << 8 | u64::from(reader.u8()?),
        2 => high << 16 | u64::from(reader.u16()?),
        _ => high << 24 | u64::from(reader.u16()?) | u64::from(reader.u8()?) << 16,
    };
    let birth = match form {
        NEAR_1 => birth_near(number, before),
        NEAR_2 => birth_near(number + NEARS_1, before),
        _ => {
            let below = match form {
                AGE_2 => 0,
                AGE_3 => AGES_2,
                AGE_4 => AGES_2 + AGES_3,
                _ => AGES_2 + AGES_3 + AGES_4,
            };
            let number = if form == AGE_ANY { reader.varint()? } else { number };
            number.checked_add(below + 1).and_then(|age| clock.checked_sub(age))
        }
    };
    let birth = birth.filter(|&birth| birth > 0 && birth < clock).ok_or(WireError::Range)?;
    // Whoever spells it longer than it takes means something else than we understand.
    if Removed::new(clock, birth, before).head == form { Ok(birth) } else { Err(WireError::Range) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(clock: u64, birth: u64, before: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_remove(&mut out, clock, birth, before);
        out
    }

    fn decoded(bytes: &[u8], clock: u64, before: u64) -> Result<u64, WireError> {
        let mut reader = Reader::new(bytes);
        let head = reader.u8()?;
        let birth = remove(&mut reader, head, clock, before)?;
        reader.finish()?;
        Ok(birth)
    }

    #[test]
    fn removes_are_coded_as_the_table_says() {
        let clock = 1 << 40;
        for (age, bytes) in [
            (1, &[0xC0, 0][..]),
            (8_192, &[0xDF, 0xFF]),
            (8_193, &[0x80, 0, 0]),
            (8_193 + 0x12_3456, &[0x92, 0x56, 0x34]),
            (4_202_496, &[0xBF, 0xFF, 0xFF]),
            (4_202_497, &[0xE0, 0, 0, 0]),
            (4_202_497 + 0x212_3456, &[0xE2, 0x56, 0x34, 0x12]),
            (138_420_224, &[0xE7, 0xFF, 0xFF, 0xFF]),
            (138_420_225, &[0xF4, 0]),
            (138_420_225 + 300, &[0xF4, 0xAC, 0x02]),
        ] {
            assert_eq!(encoded(clock, clock - age, 7), bytes, "age {age}");
            assert_eq!(decoded(bytes, clock, 7), Ok(clock - age), "age {age}");
        }
        let before = 1 << 20;
        for (birth, bytes) in [
            (before + 1, &[0xE8][..]),
            (before - 1, &[0xE9]),
            (before + 4, &[0xEE]),
            (before - 4, &[0xEF]),
            (before + 5, &[0xF0, 0]),
            (before - 516, &[0xF3, 0xFF]),
        ] {
            assert_eq!(encoded(clock, birth, before), bytes, "birth {birth}");
            assert_eq!(decoded(bytes, clock, before), Ok(birth), "birth {birth}");
        }
        assert_eq!(encoded(before + 9, before + 5, before), [0xC0, 3], "an age of two bytes is no longer");
    }

    #[test]
    fn impossible_and_roundabout_removes_are_refused() {
        let range = Err(WireError::Range);
        assert_eq!(decoded(&[0xC0, 8], 9, 900), range, "birth at clock 0");
        assert_eq!(decoded(&[0xC0, 9], 9, 900), range, "birth before clock 0");
        assert_eq!(decoded(&[0xE8], 9, 8), range, "a remove of itself");
        assert_eq!(decoded(&[0xE9], 9, 1), range, "birth before 0, by the one before");
        assert_eq!(decoded(&[0xE8], 9, u64::MAX), range, "birth beyond the last clock");
        assert_eq!(decoded(&[0xC0, 3], 9, 6), range, "one byte would do");
        assert_eq!(decoded(&[0x80, 0, 0], 10_000, 1_810), range, "two bytes would do");
        assert_eq!(decoded(&[0xF0, 0], 100, 10), range, "its age is as short");
        let any = [&[0xF4][..], &[0xFF; 9], &[1]].concat();
        assert_eq!(decoded(&any, u64::MAX, 7), range, "an age beyond the last clock");
        assert_eq!(decoded(&[0xF8], 9, 1), Err(WireError::Kind));
        assert_eq!(decoded(&[0x80, 0], 10_000, 1), Err(WireError::Truncated));
    }

    proptest! {
        #[test]
        fn any_remove_round_trips_and_no_other_bytes_say_it(
            clock in 2_u64.., shift in 0_u32..64, age: u64, age_shift in 0_u32..64, before: u64, near: bool,
            bytes in prop::collection::vec(any::<u8>(), 1..6),
        ) {
            let clock = (clock >> shift).max(2);
            let birth = clock - (age >> age_shift) % (clock - 1) - 1;
            let birth = birth.max(1);
            let before = if near { birth.wrapping_add(before % 2_000).wrapping_sub(1_000) } else { before };
            prop_assert_eq!(decoded(&encoded(clock, birth, before), clock, before), Ok(birth));
            if let Ok(birth) = decoded(&bytes, clock, before) {
                prop_assert_eq!(encoded(clock, birth, before), bytes);
            }
        }
    }
}
