//! A text that one thread writes and any other, or another process, reads without a lock: a sequence lock.
//!
//! Words: a sequence number, the length in bytes, then the bytes, eight to a word. The number is odd while the text changes. A reader that
//! finds it even, and the same after it has read, has read one text whole (Boehm, "Can seqlocks get along with programming language memory
//! models?", 2012; Linux's `seqcount`).
//!
//! Orderings: every word is relaxed. The writer's Release fence orders its odd number before the words that it writes then, so who sees
//! one of these and fences (Acquire) after it sees the odd number, or a later one; its last store is Release, so that who sees the even
//! number sees the words. The reader's first load is followed by an Acquire fence for that, and not an Acquire load, for it may read memory
//! that is mapped for reading only, where Rust promises no more than relaxed loads.
//!
//! A writer that dies in the middle leaves the number odd: readers give up after [`LOOKS`] looks.

use crate::sync::{Ordering, StatWord, fence, spin};

/// Words in front of the bytes.
pub(crate) const HEAD: usize = 2;
/// A reader that finds the text changing so often gives up.
const LOOKS: usize = 256;

/// Bugs that the models plant.
#[allow(dead_code)] // The engine plants none; `loom_tests` names them all.
pub(crate) mod fault {
    /// The writer does not say that the text is changing.
    pub(crate) const NEVER_ODD: u8 = 1;
    /// The words may be seen before the odd number.
    pub(crate) const NO_RELEASE_FENCE: u8 = 2;
    /// The even number may be seen before the words.
    pub(crate) const LAST_RELAXED: u8 = 3;
    /// The reader does not look again.
    pub(crate) const NO_SECOND_LOOK: u8 = 4;
    /// The reader's second look may come before its reads.
    pub(crate) const NO_ACQUIRE_FENCE: u8 = 5;
    /// The reader's reads may come before its first look.
    pub(crate) const FIRST_LOOK_RELAXED: u8 = 6;
}

/// How many words a text of up to so many bytes takes.
pub(crate) const fn words(bytes: usize) -> usize {
    HEAD + bytes.div_ceil(8)
}

/// Writes a text, cut to what fits. One writer at a time.
pub(crate) fn write<const FAULT: u8>(words: &[StatWord], text: &[u8]) {
    let [number, len, bytes @ ..] = words else { return };
    let text = &text[..text.len().min(bytes.len() * 8)];
    let before = number.load(Ordering::Relaxed);
    if FAULT != fault::NEVER_ODD {
        number.store(before | 1, Ordering::Relaxed);
    }
    if FAULT != fault::NO_RELEASE_FENCE {
        fence(Ordering::Release);
    }
    len.store(text.len() as u64, Ordering::Relaxed);
    for (word, chunk) in bytes.iter().zip(text.chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
    }
    let last = if FAULT == fault::LAST_RELAXED { Ordering::Relaxed } else { Ordering::Release };
    number.store((before | 1).wrapping_add(1), last);
}

/// Reads the text; `None` if it was never found at rest.
pub(crate) fn read<const FAULT: u8>(words: &[StatWord]) -> Option<Vec<u8>> {
    let [number, len, bytes @ ..] = words else { return None };
    for _ in 0..LOOKS {
        let before = number.load(Ordering::Relaxed);
        if before & 1 == 1 {
            spin();
            continue;
        }
        if FAULT != fault::FIRST_LOOK_RELAXED {
            fence(Ordering::Acquire);
        }
        let len = usize::try_from(len.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let mut text = Vec::with_capacity(bytes.len() * 8);
        for word in bytes.iter().take(len.div_ceil(8)) {
            text.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        text.truncate(len);
        if FAULT != fault::NO_ACQUIRE_FENCE {
            fence(Ordering::Acquire);
        }
        if FAULT == fault::NO_SECOND_LOOK || number.load(Ordering::Relaxed) == before {
            return Some(text);
        }
    }
    None
}
