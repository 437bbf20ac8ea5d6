//! How an entry and a topic lie in their slots of twelve words.
//!
//! ```text
//! entry   0 stamp          topic   0 stamp
//!         1 topic, hash            1 length of the name, shard; hash
//!         2 clock, form            2 first chunk of members; number of the writer's record
//!         3 birth, owner           3 members
//!         4 previous, owner        4 counts of other origins: place, length
//!         5 position, owner        5 name's bytes if they do not fit: place; changes of the counts
//!         6..12 key, meta          6..12 name
//! ```
//!
//! Clocks and positions have 48 bits, and the owner the 16 bits that are left in each of three words: the session, or the lane and the number of
//! the origin. Key and meta lie one after the other if they fit 48 bytes together. If not, word 6 has the place of their
//! bytes and both lengths, and a key of up to 40 bytes stays in the slot, since every search compares it.

use super::bytes;
use crate::entry::{Facts, LOCAL, OriginIx};
use crate::kernel::origin::Known;
use crate::kernel::slot::{Copied, SLOT_WORDS, Slot};
use crate::memory::Words;
use crate::sync::Ordering;
use crate::{Incarnation, NodeId};

/// Words per unit in which places are told in 32 bits.
pub(crate) const GRANULE_WORDS: usize = 4;
/// The greatest clock, position and session number.
pub(crate) const NUMBER_MAX: u64 = (1 << 48) - 1;
/// Key and meta of so many bytes together lie in the slot.
const INLINE_MAX: usize = 48;
/// A key of so many bytes lies in the slot even if the meta does not.
const KEY_INLINE_MAX: usize = 40;
const BYTES: usize = 6;

const IS_LOCAL: u64 = 1 << 12;
const IS_LONG: u64 = 1 << 13;

/// The first word of a place.
#[inline(always)]
pub(crate) fn at(id: u32) -> usize {
    id as usize * GRANULE_WORDS
}

/// The number of a place.
#[inline(always)]
pub(crate) fn id(at: usize) -> u32 {
    (at / GRANULE_WORDS) as u32
}

/// Who owns an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// A session of this node.
    Session(u64),
    /// A lane of another node.
    Lane(OriginIx, u16),
}

/// What an entry's slot is filled with, but for its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) topic: u32,
    pub(crate) hash: u32,
    pub(crate) clock: u64,
    pub(crate) birth: u64,
    pub(crate) prev: u64,
    pub(crate) position: u64,
    pub(crate) owner: Owner,
}

/// A copy of an entry's slot.
#[derive(Clone, Copy)]
pub(crate) struct EntrySlot(pub(crate) Copied);

/// Where bytes lie that do not fit the slot: the place, in words, and how many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Blob {
    pub(crate) at: usize,
    pub(crate) len: usize,
}

impl Blob {
    /// Words for so many bytes.
    pub(crate) fn words(len: usize) -> usize {
        len.div_ceil(8).max(1)
    }

    /// Appends the bytes to `out`. If the place has been given up meanwhile they are not what they should be: look at the
    /// slot's stamp again.
    pub(crate) fn read(self, words: &Words, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        for index in 0..Self::words(self.len) {
            // Relaxed: the slot's stamp and the reader's fence say whether it was whole, as for the slot's own words.
            let word = words.cell(self.at + index).word(0).load(Ordering::Relaxed);
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.truncate(end);
    }

    fn write(self, words: &Words, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            words.cell(self.at + index).word(0).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
    }
}

/// How many bytes of an entry do not fit its slot.
pub(crate) fn blob_len(key: &[u8], meta: &[u8]) -> usize {
    if key.len() + meta.len() <= INLINE_MAX {
        0
    } else if key.len() <= KEY_INLINE_MAX {
        meta.len()
    } else {
        key.len() + meta.len()
    }
}

impl EntrySlot {
    /// The words of a slot as they are, for who knows that nobody changes them, or checks what it finds.
    #[inline]
    pub(crate) fn peek(words: &Words, slot: u32) -> Self {
        let cell = words.cell(at(slot));
        Self(std::array::from_fn(|index| cell.word(index).load(Ordering::Relaxed)))
    }

    /// As [`peek`](Self::peek), of a slot that is live and not being changed; `None` if it is not one. What it was like is certain only if its stamp
    /// is the same afterwards.
    #[inline(always)]
    pub(crate) fn peek_live(words: &Words, slot: u32) -> Option<Self> {
        Slot::<0>::peek(words, at(slot)).map(Self)
    }

    /// Packs an entry. `blob` is the place for [`blob_len`] bytes, if there are any, which are written there.
    pub(crate) fn pack(
        words: &Words,
        stamp: u64,
        draft: &Draft,
        key: &[u8],
        meta: &[u8],
        blob: Option<usize>,
    ) -> Self {
        let (local, owner) = match draft.owner {
            Owner::Session(session) => (IS_LOCAL, session),
            Owner::Lane(origin, lane) => (0, u64::from(origin) << 16 | u64::from(lane)),
        };
        let mut slot = [0; SLOT_WORDS];
        slot[0] = stamp;
        slot[1] = Self::topic_and_hash(draft.topic, draft.hash);
        slot[3] = draft.birth | (owner & 0xffff) << 48;
        slot[4] = draft.prev | (owner >> 16 & 0xffff) << 48;
        slot[5] = draft.position | (owner >> 32 & 0xffff) << 48;
        let form = match blob {
            None => {
                bytes::put(&mut slot[BYTES..], 0, key);
                bytes::put(&mut slot[BYTES..], key.len(), meta);
                key.len() as u64 | (meta.len() as u64) << 6
            }
            Some(place) => {
                let inline_key = if key.len() <= KEY_INLINE_MAX { key } else { &[] };
                let blob = Blob { at: place, len: blob_len(key, meta) };
                if inline_key.len() == key.len() {
                    blob.write(words, meta);
                } else {
                    blob.write(words, &[key, meta].concat());
                }
                slot[BYTES] = u64::from(id(place)) | (key.len() as u64) << 32 | (meta.len() as u64) << 48;
                bytes::put(&mut slot[BYTES..], 8, inline_key);
                IS_LONG
            }
        };
        slot[2] = draft.clock | (form | local) << 48;
        Self(slot)
    }

    /// Whether key and meta would fit with another meta, as they do now.
    #[inline(always)]
    pub(crate) fn has_room(&self, meta: &[u8]) -> bool {
        !self.is_long() && self.lens().0 + meta.len() <= INLINE_MAX
    }

    /// The slot with another version of its entry, of that clock and after that one, for which it [`has room`](Self::has_room).
    #[inline(always)]
    pub(crate) fn revised(&self, stamp: u64, (clock, prev): (u64, u64), meta: &[u8]) -> Self {
        let (key, _) = self.lens();
        let mut slot = *self;
        slot.0[0] = stamp;
        let form = self.form() & !(63 << 6) | (meta.len() as u64) << 6;
        slot.0[2] = clock | form << 48;
        slot.0[4] = self.0[4] & !NUMBER_MAX | prev;
        bytes::clear_from(&mut slot.0[BYTES..], key);
        bytes::put(&mut slot.0[BYTES..], key, meta);
        slot
    }

    /// The second word of an entry's slot.
    #[inline(always)]
    pub(crate) fn topic_and_hash(topic: u32, hash: u32) -> u64 {
        u64::from(topic) | u64::from(hash) << 32
    }

    #[inline(always)]
    pub(crate) fn topic(&self) -> u32 {
        self.0[1] as u32
    }

    #[inline(always)]
    pub(crate) fn hash(&self) -> u32 {
        (self.0[1] >> 32) as u32
    }

    #[inline(always)]
    pub(crate) fn clock(&self) -> u64 {
        self.0[2] & NUMBER_MAX
    }

    pub(crate) fn birth(&self) -> u64 {
        self.0[3] & NUMBER_MAX
    }

    pub(crate) fn prev(&self) -> u64 {
        self.0[4] & NUMBER_MAX
    }

    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.0[5] & NUMBER_MAX
    }

    #[inline(always)]
    fn form(&self) -> u64 {
        self.0[2] >> 48
    }

    fn owner_bits(&self) -> u64 {
        self.0[3] >> 48 | self.0[4] >> 48 << 16 | self.0[5] >> 48 << 32
    }

    #[inline(always)]
    pub(crate) fn owner(&self) -> Owner {
        let bits = self.owner_bits();
        if self.form() & IS_LOCAL == 0 {
            Owner::Lane((bits >> 16) as OriginIx, bits as u16)
        } else {
            Owner::Session(bits)
        }
    }

    pub(crate) fn origin(&self) -> OriginIx {
        match self.owner() {
            Owner::Session(_) => LOCAL,
            Owner::Lane(origin, _) => origin,
        }
    }

    /// What is known of the entry beside its bytes. `known` is its origin; `shard`, where it is stored, is the lane of a local one.
    pub(crate) fn facts(&self, known: Known, shard: u16) -> Facts {
        let (origin, lane, session) = match self.owner() {
            Owner::Session(session) => (LOCAL, shard, session),
            Owner::Lane(origin, lane) => (origin, lane, 0),
        };
        Facts {
            node: NodeId(known.node),
            incarnation: Incarnation::from_u64(known.incarnation),
            origin,
            lane,
            clock: self.clock(),
            birth: self.birth(),
            prev: self.prev(),
            session,
        }
    }

    /// Whether this node owns the entry.
    #[inline(always)]
    pub(crate) fn is_local(&self) -> bool {
        self.form() & IS_LOCAL != 0
    }

    #[inline(always)]
    pub(crate) fn is_long(&self) -> bool {
        self.form() & IS_LONG != 0
    }

    /// Lengths of key and meta.
    #[inline(always)]
    pub(crate) fn lens(&self) -> (usize, usize) {
        if self.is_long() {
            let word = self.0[BYTES];
            ((word >> 32) as usize & 0xffff, (word >> 48) as usize)
        } else {
            let form = self.form() as usize;
            let key = (form & 63).min(INLINE_MAX);
            // As packed, they fit. What is no entry's slot any more must not lead out of it either.
            (key, (form >> 6 & 63).min(INLINE_MAX - key))
        }
    }

    /// Where the bytes lie that do not fit.
    #[inline(always)]
    pub(crate) fn blob(&self) -> Option<Blob> {
        self.is_long().then(|| {
            let (key, meta) = self.lens();
            let len = if key <= KEY_INLINE_MAX { meta } else { key + meta };
            Blob { at: at(self.0[BYTES] as u32), len }
        })
    }

    /// The bytes that lie in the slot.
    #[inline(always)]
    pub(crate) fn inline_bytes(&self) -> &[u8] {
        bytes::as_bytes(&self.0[BYTES..])
    }

    /// The key, if it lies in the slot.
    #[inline(always)]
    pub(crate) fn inline_key(&self) -> Option<&[u8]> {
        let (key, _) = self.lens();
        if !self.is_long() {
            Some(&self.inline_bytes()[..key])
        } else if key <= KEY_INLINE_MAX {
            Some(&self.inline_bytes()[8..8 + key])
        } else {
            None
        }
    }

    /// Whether all bytes of the entry lie in the slot, and it has that hash and that key.
    #[inline(always)]
    pub(crate) fn is_inline(&self, hash: u32, key: &[u8]) -> bool {
        !self.is_long() && self.is_inline_key(hash, key)
    }

    /// Whether the entry has that hash and that key, if all of its bytes lie in the slot.
    #[inline(always)]
    pub(crate) fn is_inline_key(&self, hash: u32, key: &[u8]) -> bool {
        self.hash() == hash && self.lens().0 == key.len() && bytes::begin_with(&self.0[BYTES..], key)
    }
}

/// Words of a topic's record that change during its life, beside those of [`counts`](crate::kernel::counts).
pub(crate) mod topic_word {
    /// First chunk of the member list; in the upper half the number of the writer's record.
    pub(crate) const HEAD: usize = 2;
}

/// A copy of a topic's record. Its words that change are not to be believed.
#[derive(Clone, Copy)]
pub(crate) struct TopicSlot(pub(crate) Copied);

impl TopicSlot {
    pub(crate) fn pack(
        words: &Words,
        stamp: u64,
        (hash, shard, record): (u32, u16, u32),
        name: &[u8],
        blob: Option<usize>,
    ) -> Self {
        let mut slot = [0; SLOT_WORDS];
        slot[0] = stamp;
        slot[1] = Self::form(hash, shard, name);
        slot[2] = u64::from(record) << 32;
        match blob {
            None => bytes::put(&mut slot[BYTES..], 0, name),
            Some(place) => {
                Blob { at: place, len: name.len() }.write(words, name);
                slot[5] = u64::from(id(place));
            }
        }
        Self(slot)
    }

    /// The first word of the name.
    pub(crate) const NAME: usize = BYTES;

    /// The second word of a record: all that can be told of a name in one word.
    #[inline(always)]
    pub(crate) fn form(hash: u32, shard: u16, name: &[u8]) -> u64 {
        name.len() as u64 & 0xffff | u64::from(shard) << 16 | u64::from(hash) << 32
    }

    /// The lower half of [`form`](Self::form).
    #[inline(always)]
    pub(crate) fn short_form(shard: u16, name: &[u8]) -> u32 {
        Self::form(0, shard, name) as u32
    }

    /// Bytes of a name that do not fit a record.
    pub(crate) fn blob_len(name: &[u8]) -> usize {
        if name.len() <= INLINE_MAX { 0 } else { name.len() }
    }

    pub(crate) fn name_len(&self) -> usize {
        self.0[1] as usize & 0xffff
    }

    pub(crate) fn shard(&self) -> u16 {
        (self.0[1] >> 16) as u16
    }

    pub(crate) fn blob(&self) -> Option<Blob> {
        let len = self.name_len();
        (len > INLINE_MAX).then(|| Blob { at: at(self.0[5] as u32), len })
    }

    pub(crate) fn inline_bytes(&self) -> &[u8] {
        bytes::as_bytes(&self.0[BYTES..])
    }
}
