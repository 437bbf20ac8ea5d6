//! What a contestant can do, one operation at a time.

use super::data::Item;
use crate::peers::Meta;
use headcount::Tracker;
use std::hint::black_box;

/// A contestant. Everything that one pays before the timed part, all do.
pub(crate) trait Store: Send + Sync + Sized + 'static {
    /// What the reports call it.
    const NAME: &'static str;
    /// Whoever tracks entries that come and go.
    type Owner: Send;

    /// Without entries, and with owners for so many sessions of residents.
    fn empty(sessions: usize) -> Self;
    fn owner(&self) -> Self::Owner;

    fn join_resident(&self, item: &Item);
    fn update(&self, item: &Item, meta: &Meta) -> bool;
    /// What whoever made an entry may keep to come back to it.
    type Ref;
    /// The one of a resident.
    fn ref_of(&self, item: &Item) -> Self::Ref;
    /// As `update`, by the ref if there is such a way.
    fn update_ref(&self, item: &Item, of: &Self::Ref, meta: &Meta) -> bool;
    /// Looks at the meta in its place, see [`look_at`].
    fn read(&self, item: &Item) -> Option<u64>;
    /// Looks at the metas of these, as `read` does; returns how many there are. As many single reads, if there is no better way.
    fn read_many(&self, items: &[Item]) -> usize {
        items.iter().filter(|item| self.read(item).is_some()).count()
    }
    /// Copies the entry out and looks at the copy.
    fn read_owned(&self, item: &Item) -> Option<u64>;

    fn join(&self, owner: &Self::Owner, item: &Item);
    fn join_many(&self, owner: &Self::Owner, items: &[Item]);
    fn leave(&self, owner: &Self::Owner, item: &Item) -> bool;
    /// All of an owner's entries, which are these.
    fn end(&self, owner: Self::Owner, items: &[Item]);
    /// All residents, which are these.
    fn end_residents(&mut self, items: impl Iterator<Item = Item>);

    /// The tracker, if it is one.
    fn tracker(&self) -> Option<&Tracker> {
        None
    }
}

/// What every reader does with a meta: the sum of its first eight bytes, which must really be read.
pub(crate) fn look_at(meta: &[u8]) -> u64 {
    let first = meta.first_chunk::<8>().map_or(0, |bytes| bytes.iter().map(|&byte| u64::from(byte)).sum());
    black_box(first)
}
