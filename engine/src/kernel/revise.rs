//! The order in which what leads to a slot is changed: the index (or the group that it names) and the list of members.
//!
//! Readers come to a slot through either, at any time. So a slot is published before anything leads to it, an update swings both from
//! the old slot to the new one, a removal takes both away, and only then is the old slot freed. A reader that finds a slot which is
//! not live, or another's, looks at what led it there once more, and may rely on finding that changed.

use super::group::{GROUP, Group};
use super::members::{Head, List};
use super::table::{Allocate, NoRoom, Table, Verdict, Writer, stamp_of};
use crate::memory::Words;

/// Bugs that the models plant.
#[allow(dead_code, reason = "the engine plants none; `loom_tests` names them all")]
pub(crate) mod fault {
    /// An update frees the old slot before anything else.
    pub(crate) const FREE_FIRST: u8 = 101;
    /// An update frees the old slot before the index is swung.
    pub(crate) const FREE_BEFORE_INDEX: u8 = 102;
    /// An update frees the old slot before the list of members is swung.
    pub(crate) const FREE_BEFORE_LIST: u8 = 103;
    /// A removal frees the slot before the list of members lets go of it.
    pub(crate) const FREE_BEFORE_UNLIST: u8 = 104;
    /// A group is freed before the index is swung to what takes its place.
    pub(crate) const FREE_BEFORE_GROUP: u8 = 105;
}

/// What leads readers to the slots of one topic. Its owner holds the lock that all of it belongs to.
pub(crate) struct Leads<'a, const FAULT: u8> {
    pub(crate) words: &'a Words,
    pub(crate) index: &'a mut Writer<FAULT>,
    pub(crate) list: &'a mut List<FAULT>,
}

/// Where a slot is led to from: its hash in the index, and its position in the list.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    pub(crate) hash: u32,
    pub(crate) position: u64,
}

/// The group that has a slot, if one does.
#[cold]
pub(crate) fn group_of<const FAULT: u8>(
    words: &Words,
    table: Table<FAULT>,
    hash: u32,
    slot: u32,
) -> Option<Group<FAULT>> {
    table.find(words, hash, |named, _| {
        let group = Group::<FAULT>::named(named);
        let stamp = stamp_of(words, named);
        if named & GROUP != 0 && group.numbers(words).any(|member| member == slot) {
            Verdict::Hit(group, stamp)
        } else {
            Verdict::Other(stamp)
        }
    })
}

impl<const FAULT: u8> Leads<'_, FAULT> {
    /// Leads readers to a slot, which is published. `named` is what the index has under its key already; if there is nothing, the
    /// index has room, and so has the list.
    ///
    /// # Errors
    /// There is no memory for a group. Nothing has changed.
    pub(crate) fn join(
        &mut self,
        memory: &mut impl Allocate,
        hash: u32,
        named: Option<u32>,
        slot: u32,
        stamp: impl FnOnce() -> u64,
    ) -> Result<(), NoRoom> {
        match named {
            None => self.index.insert(self.words, hash, slot),
            Some(named) => self.join_group(memory, hash, named, slot, stamp)?,
        }
        self.list.append(self.words, slot);
        Ok(())
    }

    /// Adds a slot to what the index has under its key: a slot becomes a group of two, and a full group a larger one.
    fn join_group(
        &mut self,
        memory: &mut impl Allocate,
        hash: u32,
        named: u32,
        slot: u32,
        stamp: impl FnOnce() -> u64,
    ) -> Result<(), NoRoom> {
        let words = self.words;
        if named & GROUP == 0 {
            let group = Group::<FAULT>::make(words, memory, hash, &[named, slot], stamp())?;
            self.index.swing(words, hash, named, group.id());
            return Ok(());
        }
        let group = Group::<FAULT>::named(named);
        if group.push(words, slot) {
            return Ok(());
        }
        let numbers: Vec<u32> = group.numbers(words).chain([slot]).collect();
        let larger = Group::<FAULT>::make(words, memory, hash, &numbers, stamp())?;
        self.supersede(memory, hash, group, larger.id());
        Ok(())
    }

    /// Puts a number into the index that takes the place of a group, and gives the group up.
    fn supersede(&mut self, memory: &mut impl Allocate, hash: u32, group: Group<FAULT>, by: u32) {
        if FAULT == fault::FREE_BEFORE_GROUP {
            group.free(self.words, memory);
            self.index.swing(self.words, hash, group.id(), by);
            return;
        }
        self.index.swing(self.words, hash, group.id(), by);
        group.free(self.words, memory);
    }

    /// Leads readers from one slot of a member to another, which is published; `free` ends the first one's life.
    pub(crate) fn swing<M>(
        &mut self,
        memory: &mut M,
        spot: Spot,
        old: u32,
        new: u32,
        free: impl FnOnce(&mut M),
    ) {
        match FAULT {
            fault::FREE_FIRST => {
                free(memory);
                self.swing_index(spot, old, new);
                self.list.swing(self.words, spot.position, new);
            }
            fault::FREE_BEFORE_INDEX => {
                self.list.swing(self.words, spot.position, new);
                free(memory);
                self.swing_index(spot, old, new);
            }
            fault::FREE_BEFORE_LIST => {
                self.swing_index(spot, old, new);
                free(memory);
                self.list.swing(self.words, spot.position, new);
            }
            _ => {
                self.swing_index(spot, old, new);
                self.list.swing(self.words, spot.position, new);
                free(memory);
            }
        }
    }

    fn swing_index(&mut self, spot: Spot, old: u32, new: u32) {
        if !self.index.swing(self.words, spot.hash, old, new)
            && let Some(group) = group_of(self.words, self.index.table(), spot.hash, old)
        {
            group.swing(self.words, old, new);
        }
    }

    /// Leads readers to a slot no more; `free` ends its life. `hash_of` as for [`Writer::reserve`]; `stamp` draws stamps that
    /// were never used before.
    #[expect(
        clippy::too_many_arguments,
        reason = "a removal touches all of it; no two of them belong together"
    )]
    pub(crate) fn leave<M: Allocate>(
        &mut self,
        memory: &mut M,
        head: Head,
        spot: Spot,
        slot: u32,
        hash_of: impl Fn(u32) -> u32,
        mut stamp: impl FnMut() -> u64,
        free: impl FnOnce(&mut M),
    ) {
        if !self.index.remove(self.words, memory, spot.hash, slot, hash_of)
            && let Some(group) = group_of(self.words, self.index.table(), spot.hash, slot)
        {
            self.leave_group(memory, spot.hash, group, slot, &mut stamp);
        }
        if FAULT == fault::FREE_BEFORE_UNLIST {
            free(memory);
            self.list.remove(self.words, memory, head, spot.position, stamp);
            return;
        }
        self.list.remove(self.words, memory, head, spot.position, stamp);
        free(memory);
    }

    /// Takes a slot out of a group. A group of one becomes that slot, one of many holes another group.
    fn leave_group(
        &mut self,
        memory: &mut impl Allocate,
        hash: u32,
        group: Group<FAULT>,
        slot: u32,
        mut stamp: impl FnMut() -> u64,
    ) {
        let words = self.words;
        group.remove(words, slot);
        let mut left = group.numbers(words);
        match (left.next(), left.next()) {
            (Some(last), None) => self.supersede(memory, hash, group, last),
            _ if group.is_sparse(words) => {
                let numbers: Vec<u32> = group.numbers(words).collect();
                // Without memory it stays as it is.
                if let Ok(dense) = Group::<FAULT>::make(words, memory, hash, &numbers, stamp()) {
                    self.supersede(memory, hash, group, dense.id());
                }
            }
            _ => {}
        }
    }
}
