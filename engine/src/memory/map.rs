//! The memory under an arena: one reservation of address space.

use super::{PAGE_BYTES, UNIT_BYTES};
use crate::sync::{Arc, AtomicU64};
use memmap2::{MmapOptions, MmapRaw};
use std::io;
use std::ptr::NonNull;

/// Least bytes of an arena.
pub(super) const BYTES_MIN: usize = 2 * UNIT_BYTES;
/// Most bytes of an arena: its pages have 32-bit numbers.
const BYTES_MAX: u64 = 1 << 44;

/// Asks the system for zeroed memory. A parameter, so that tests can refuse.
pub(super) type Reserve = fn(usize) -> io::Result<MmapRaw>;

/// Reserves address space: memory is used only for what is touched.
pub(super) fn reserve(bytes: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(bytes).no_reserve_swap().map_anon().map(MmapRaw::from)
}

enum Memory {
    Mapped { map: MmapRaw, offset: usize },
    // An `Arc`, not a `Box`: moving a box would end the validity of the pointers into it.
    Heap(Arc<[AtomicU64]>),
}

/// A power of two of bytes, zeroed, in units of which the first begins at a 2 MiB boundary if the system granted the map.
pub(super) struct Map {
    memory: Memory,
    bytes: usize,
    huge_advised: bool,
}

impl Map {
    /// Reserves `bytes_max`, rounded up to a power of two, or half as much as often as the system refuses.
    pub(super) fn new(bytes_max: usize, reserve: Reserve) -> Self {
        let most = usize::try_from(BYTES_MAX).unwrap_or(1 << 30);
        let mut bytes = bytes_max.clamp(BYTES_MIN, most).next_power_of_two();
        while bytes >= BYTES_MIN {
            if let Ok(map) = reserve(bytes + UNIT_BYTES) {
                return Self::mapped(map, bytes);
            }
            bytes /= 2;
        }
        let words =
            (0..(BYTES_MIN + PAGE_BYTES) / size_of::<AtomicU64>()).map(|_| AtomicU64::new(0)).collect();
        Self { memory: Memory::Heap(words), bytes: BYTES_MIN, huge_advised: false }
    }

    fn mapped(map: MmapRaw, bytes: usize) -> Self {
        let offset = map.as_mut_ptr().align_offset(UNIT_BYTES);
        assert!(
            offset.saturating_add(bytes).saturating_add(PAGE_BYTES) <= map.len(),
            "a unit more than `bytes` was reserved, and the map begins at a page"
        );
        let huge_advised = advise(&map, offset, bytes);
        Self { memory: Memory::Mapped { map, offset }, bytes, huge_advised }
    }

    /// The first word. The words, and a page more, are initialised, and they stay where they are while the map lives.
    pub(super) fn base(&self) -> NonNull<AtomicU64> {
        match &self.memory {
            Memory::Mapped { map, offset } => {
                let first = map.as_mut_ptr().wrapping_add(*offset).cast();
                NonNull::new(first).expect("a map is not at address 0")
            }
            Memory::Heap(words) => NonNull::from(&words[..]).cast(),
        }
    }

    /// How many words there are.
    pub(super) fn capacity(&self) -> usize {
        self.bytes / size_of::<AtomicU64>()
    }

    /// Whether the system was asked for huge pages and agreed.
    pub(super) fn huge_advised(&self) -> bool {
        self.huge_advised
    }

    /// Gives the memory of a unit back to the system; its words read as 0 from some moment on. No page of it may be taken
    /// while this runs, or what is written there would be lost. (It is memory-safe all the same: to anybody who holds a reference to
    /// one of the words, they turn into zeros as if by an atomic store.)
    pub(super) fn release(&self, unit: usize) {
        assert!((unit + 1) * UNIT_BYTES <= self.bytes, "the unit is one of the map's");
        match &self.memory {
            #[cfg(unix)]
            Memory::Mapped { map, offset } => {
                use memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: the range is within the map. The map is private, anonymous and accessed through atomics alone, so that
                // words become 0 is a change that every reader must expect, and any bits are a valid word.
                let advised =
                    unsafe { map.unchecked_advise_range(DontNeed, offset + unit * UNIT_BYTES, UNIT_BYTES) };
                // A refusal (the range is locked in memory, say) only leaves the memory where it is.
                drop(advised);
            }
            #[cfg(not(unix))]
            Memory::Mapped { .. } => {}
            Memory::Heap(_) => {}
        }
    }
}

/// Plain pages for unit 0, huge ones for the others. Once for all of them and not unit by unit as they come into use: it
/// changes nothing for memory that nobody touches, and changing the advice later takes a lock that page faults hold.
#[cfg(target_os = "linux")]
fn advise(map: &MmapRaw, offset: usize, bytes: usize) -> bool {
    use memmap2::Advice::{HugePage, NoHugePage};
    // A kernel that was built without huge pages refuses both. Then all pages are plain.
    drop(map.advise_range(NoHugePage, offset, UNIT_BYTES));
    map.advise_range(HugePage, offset + UNIT_BYTES, bytes - UNIT_BYTES).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn advise(_map: &MmapRaw, _offset: usize, _bytes: usize) -> bool {
    false
}
