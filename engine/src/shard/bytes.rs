//! Byte strings in words. A word holds eight bytes in the order in which they lie in memory, and zeros after the last. Word by word
//! and without calls: most strings here are two or three words long.

use zerocopy::IntoBytes;

/// Up to seven bytes as a word.
#[inline(always)]
fn short(bytes: &[u8]) -> u64 {
    let byte = |index: usize| u64::from(bytes[index]);
    let half = |chunk: Option<&[u8; 4]>| chunk.map_or(0, |half| u64::from(u32::from_le_bytes(*half)));
    match bytes.len() {
        0 => 0,
        // The first, the middle and the last one, which may be the same.
        len @ 1..=3 => byte(0) | byte(len / 2) << (len / 2 * 8) | byte(len - 1) << ((len - 1) * 8),
        // The first four and the last four, which may overlap.
        len => half(bytes.first_chunk()) | half(bytes.last_chunk()) << ((len - 4) * 8),
    }
}

/// The bytes after the last whole eight, as a word of numerical value: the first one lowest.
#[inline(always)]
fn rest(bytes: &[u8]) -> u64 {
    let len = bytes.len() % 8;
    match bytes.last_chunk::<8>() {
        _ if len == 0 => 0,
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * len),
        None => short(bytes),
    }
}

/// Whether `is` holds of each word of a byte string, with its index.
#[inline(always)]
pub(super) fn all_words(bytes: &[u8], mut is: impl FnMut(usize, u64) -> bool) -> bool {
    let (whole, _) = bytes.as_chunks::<8>();
    for (index, chunk) in whole.iter().enumerate() {
        if !is(index, u64::from_ne_bytes(*chunk)) {
            return false;
        }
    }
    bytes.len().is_multiple_of(8) || is(whole.len(), rest(bytes).to_le())
}

/// Puts bytes into words from byte `at` on, where all are zeros.
#[inline(always)]
pub(super) fn put(words: &mut [u64], at: usize, bytes: &[u8]) {
    let (first, shift) = (at / 8, at % 8 * 8);
    let Some(words) = words.get_mut(first..) else {
        return;
    };
    all_words(bytes, |index, word| {
        let word = u64::from_le(word);
        if let Some(place) = words.get_mut(index) {
            *place |= (word << shift).to_le();
        }
        if shift > 0
            && let Some(place) = words.get_mut(index + 1)
        {
            *place |= (word >> (64 - shift)).to_le();
        }
        true
    });
}

/// Makes all bytes from byte `at` on zeros.
#[inline(always)]
pub(super) fn clear_from(words: &mut [u64], at: usize) {
    let (first, shift) = (at / 8, at % 8 * 8);
    if let Some((word, after)) = words.get_mut(first..).and_then(<[u64]>::split_first_mut) {
        *word &= ((1 << shift) - 1_u64).to_le();
        after.fill(0);
    }
}

/// Whether the bytes are the first ones of the words.
#[inline(always)]
pub(super) fn begin_with(words: &[u64], bytes: &[u8]) -> bool {
    let (whole, _) = bytes.as_chunks::<8>();
    if bytes.len() > words.len() * 8 {
        return false;
    }
    let equal = whole.iter().zip(words).all(|(chunk, word)| *word == u64::from_ne_bytes(*chunk));
    let len = bytes.len() % 8;
    equal && (len == 0 || (u64::from_le(words[whole.len()]) ^ rest(bytes)) << (64 - 8 * len) == 0)
}

/// Words as bytes.
#[inline(always)]
pub(super) fn as_bytes(words: &[u64]) -> &[u8] {
    words.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_into_words_is_there(
            before in prop::collection::vec(any::<u8>(), 0..48),
            bytes in prop::collection::vec(any::<u8>(), 0..48),
            other in prop::collection::vec(0..2_u8, 0..48),
        ) {
            prop_assume!(before.len() + bytes.len() <= 48);
            let mut words = [u64::MAX; 6];
            clear_from(&mut words, 0);
            put(&mut words, 0, &before);
            put(&mut words, before.len(), &bytes);
            let expected: Vec<u8> = before.iter().chain(&bytes).copied().collect();
            prop_assert_eq!(&as_bytes(&words)[..expected.len()], &expected[..]);
            prop_assert!(as_bytes(&words)[expected.len()..].iter().all(|&byte| byte == 0));
            prop_assert!(begin_with(&words, &expected));
            prop_assert!(begin_with(&words, &before));
            prop_assert!(all_words(&expected, |index, word| word == words[index]));
            prop_assert_eq!(begin_with(&words, &other), as_bytes(&words).starts_with(&other));
            clear_from(&mut words, before.len());
            prop_assert_eq!(&as_bytes(&words)[..before.len()], &before[..]);
            prop_assert!(as_bytes(&words)[before.len()..].iter().all(|&byte| byte == 0));
        }

        #[test]
        fn strings_of_few_values_are_told_apart(
            bytes in prop::collection::vec(0..2_u8, 0..20),
            other in prop::collection::vec(0..2_u8, 0..20),
        ) {
            let mut words = [0; 6];
            put(&mut words, 0, &bytes);
            prop_assert_eq!(begin_with(&words, &other), as_bytes(&words).starts_with(&other));
        }
    }
}
