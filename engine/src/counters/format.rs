//! The layout of the file; see the module's documentation.

use super::region::Region;
use crate::sync::{Ordering, StatWord};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Files of another major version have another layout.
pub const VERSION_MAJOR: u32 = 1;
/// Files of a later minor version have more in them.
pub const VERSION_MINOR: u32 = 0;

pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"hcounter");
pub(super) const PAGE_BYTES: usize = 4096;
pub(super) const TABLES_MAX: usize = 32;
/// Rows begin at a multiple of so many words: two cache lines, since they are fetched in pairs.
pub(super) const ROW_ALIGN: usize = 16;

/// Words of the header.
pub(super) mod word {
    pub(in crate::counters) const MAGIC: usize = 0;
    pub(in crate::counters) const VERSION: usize = 1;
    pub(in crate::counters) const PID: usize = 2;
    pub(in crate::counters) const CREATED: usize = 3;
    pub(in crate::counters) const BEAT_EVERY: usize = 4;
    pub(in crate::counters) const TABLES: usize = 5;
    pub(in crate::counters) const BEAT: usize = 6;
    pub(in crate::counters) const ENDED: usize = 7;
    pub(in crate::counters) const DIRECTORY: usize = 64;
}

/// Bytes of the header with the directory, in whole pages.
pub(super) const HEADER_BYTES: usize =
    (word::DIRECTORY * 8 + TABLES_MAX * size_of::<TableRecord>()).next_multiple_of(PAGE_BYTES);

/// A table in the directory.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct TableRecord {
    pub(super) name: [u8; 32],
    pub(super) help: [u8; 128],
    /// In bytes of the file.
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) fields: u64,
    pub(super) rows: u64,
    pub(super) row_words: u64,
    pub(super) spare: [u64; 7],
}

/// A field of a table.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct FieldRecord {
    pub(super) name: [u8; 40],
    pub(super) unit: [u8; 24],
    pub(super) help: [u8; 128],
    pub(super) kind: u64,
    /// The first of its words in a row.
    pub(super) first: u64,
    pub(super) words: u64,
    pub(super) parameter: u64,
    pub(super) spare: [u64; 4],
}

pub(super) const TABLE_WORDS: usize = size_of::<TableRecord>() / 8;
pub(super) const FIELD_WORDS: usize = size_of::<FieldRecord>() / 8;
const _: () = assert!(TABLE_WORDS == 32 && FIELD_WORDS == 32, "as the documentation says");

/// Where the rows of a table with so many fields begin, in words of the table.
pub(super) fn rows_at(fields: usize) -> usize {
    (fields * FIELD_WORDS).next_multiple_of(ROW_ALIGN)
}

/// A text without spaces around it that is cut to its room, at a character's end.
pub(super) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let text = text.trim();
    let mut bytes = [0; N];
    let end = (0..=text.len().min(N)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    bytes
}

/// What [`padded`] was given.
pub(super) fn unpadded(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Writes a record over words that nobody reads yet.
pub(super) fn put<R: IntoBytes + Immutable>(words: &[StatWord], record: &R) {
    for (word, eight) in words.iter().zip(record.as_bytes().as_chunks::<8>().0) {
        // Relaxed: the number of tables is stored after it, with Release.
        word.store(u64::from_ne_bytes(*eight), Ordering::Relaxed);
    }
}

/// Reads a record; `None` if the words end before it does.
pub(super) fn take<R: FromZeros + FromBytes + IntoBytes>(region: &Region, at: usize) -> Option<R> {
    let end = at.checked_add(size_of::<R>() / 8)?;
    let words = region.words().get(at..end)?;
    let mut record = R::new_zeroed();
    for (eight, word) in record.as_mut_bytes().as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *eight = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    Some(record)
}
