//! Words that are counted in: on the heap, or of a file that others map as well.

use crate::sync::{Arc, StatWord};
use memmap2::MmapRaw;
use std::fmt;
use std::fs::File;
use std::io;
use std::ptr::NonNull;

enum Memory {
    // Kept for its drop alone.
    Mapped(#[expect(dead_code, reason = "`base` points into it")] MmapRaw),
    Heap(#[expect(dead_code, reason = "`base` points into it")] Arc<[StatWord]>),
}

/// See the module's documentation. The words begin as zeros.
pub(super) struct Region {
    base: NonNull<StatWord>,
    len: usize,
    _memory: Memory,
}

// SAFETY: `base` points to `len` words that `_memory` keeps where they are, and only shared references to atomics are handed out.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("words", &self.len).finish_non_exhaustive()
    }
}

impl Region {
    /// Words of this process alone.
    pub(super) fn heap(words: usize) -> Self {
        let words: Arc<[StatWord]> = (0..words).map(|_| StatWord::new(0)).collect();
        Self { base: NonNull::from(&words[..]).cast(), len: words.len(), _memory: Memory::Heap(words) }
    }

    /// Maps a part of a file, of whole pages and within it, to count in.
    pub(super) fn writable(file: &File, at: usize, bytes: usize) -> io::Result<Self> {
        Self::mapped(memmap2::MmapOptions::new().offset(at as u64).len(bytes).map_raw(file)?)
    }

    /// Maps a part of a file, of whole pages and within it, to read. Its words may only be loaded, and only relaxed: this is what Rust
    /// promises for memory that cannot be written ("Atomic accesses to read-only memory", `std::sync::atomic`).
    pub(super) fn readable(file: &File, at: usize, bytes: usize) -> io::Result<Self> {
        Self::mapped(memmap2::MmapOptions::new().offset(at as u64).len(bytes).map_raw_read_only(file)?)
    }

    fn mapped(map: MmapRaw) -> io::Result<Self> {
        let base: NonNull<StatWord> =
            NonNull::new(map.as_mut_ptr().cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        if !base.is_aligned() {
            return Err(io::Error::other("not mapped at a page"));
        }
        Ok(Self { base, len: map.len() / size_of::<StatWord>(), _memory: Memory::Mapped(map) })
    }

    #[inline(always)]
    pub(super) fn words(&self) -> &[StatWord] {
        // SAFETY: `base` is aligned and is the first of `len` initialised words (the heap's are, and a file's bytes are any words), which
        // `_memory` keeps mapped and in place as long as `self`. They are accessed as atomics alone, by other processes too. The file is
        // never made shorter by this crate; whoever else does that to its owner's file makes both end by a signal, which is no
        // undefined behaviour of these references but the end of the process.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}
