//! Hiding and showing an origin, as subscribers hear of it.
//!
//! Readers stop seeing a hidden origin's entries at once, by one store. Its leave events are told after that, in slices, topic by
//! topic and within a topic in the order in which the entries came; the shard's lock is held for one slice. While that goes on, the
//! origin's entries do not change (its lanes are locked, or retired), so what subscribers were told of is known by how far the
//! telling has come. A subscription that begins meanwhile gets the entries of which it will still be told that they left.

use super::{State, Wakes};
use crate::entry::OriginIx;
use crate::event::EventKind;

/// An origin of whose entries subscribers were told to a part, or not at all.
#[derive(Debug)]
pub(super) struct Silent {
    origin: OriginIx,
    /// The first place of which they were not told: a topic's record and a position in it.
    from: (u32, u64),
    /// Whether they are told that entries left; otherwise that they are back.
    leaving: bool,
}

impl State {
    /// Whether subscribers were told of an entry of that origin at that place.
    pub(super) fn is_place_told(&self, origin: OriginIx, record: u32, position: u64) -> bool {
        self.silent
            .iter()
            .find(|silent| silent.origin == origin)
            .is_none_or(|silent| ((record, position) < silent.from) != silent.leaving)
    }

    /// Begins to tell that the entries of an origin left. [`tell`](Self::tell) goes on with it.
    pub(crate) fn begin_leaving(&mut self, origin: OriginIx) {
        if !self.silent.iter().any(|silent| silent.origin == origin) {
            self.silent.push(Silent { origin, from: (0, 0), leaving: true });
        }
    }

    /// Begins to tell that the entries of an origin are back.
    pub(crate) fn begin_joining(&mut self, origin: OriginIx) {
        if let Some(silent) = self.silent.iter_mut().find(|silent| silent.origin == origin) {
            *silent = Silent { origin, from: (0, 0), leaving: false };
        }
    }

    /// Nothing is left of an origin, and its number will be another's.
    pub(crate) fn forget_silent(&mut self, origin: OriginIx) {
        self.silent.retain(|silent| silent.origin != origin);
    }

    /// Tells of some of the entries of an origin, after looking at `looks_max` entries and topics at the most; whether there is
    /// more to tell.
    pub(crate) fn tell(&mut self, origin: OriginIx, looks_max: usize, wakes: &mut Wakes) -> bool {
        let Some(index) = self.silent.iter().position(|silent| silent.origin == origin) else {
            return false;
        };
        let leaving = self.silent[index].leaving;
        self.version += 1;
        let mut looks = looks_max;
        while looks > 0 {
            let (record, position) = self.silent[index].from;
            if record >= self.store.topics.end() {
                if leaving {
                    self.silent[index].from = (u32::MAX, u64::MAX);
                } else {
                    self.silent.swap_remove(index);
                }
                return false;
            }
            looks -= 1;
            if !self.store.topics.is_live(record) {
                self.silent[index].from = (record + 1, 0);
                continue;
            }
            let topic = self.store.topics.get(record);
            let members = topic.others.of(self.store.words(), origin);
            let heard = !topic.listeners.is_empty() || !self.everywhere.is_empty();
            if members == 0 || (position == 0 && !heard) {
                let told = &mut self.store.topics.get_mut(record).told;
                *told = if leaving { *told - members } else { *told + members };
                self.silent[index].from = (record + 1, 0);
                continue;
            }
            let slice: Vec<_> =
                topic.list.after(self.store.words(), position.saturating_sub(1)).take(looks).collect();
            self.silent[index].from = (record + 1, 0);
            if slice.len() == looks {
                self.silent[index].from = (record, slice.last().map_or(0, |&(_, position)| position + 1));
            }
            looks -= slice.len();
            for (slot, _) in slice {
                if self.store.slot(slot).origin() == origin {
                    self.tell_one(record, slot, leaving, wakes);
                }
            }
        }
        true
    }

    fn tell_one(&mut self, record: u32, slot: u32, leaving: bool, wakes: &mut Wakes) {
        if leaving {
            self.emit(record, wakes, |state| EventKind::Leave(state.entry(slot)));
            self.told_less(record, wakes);
        } else {
            self.told_more(record, wakes);
            self.emit(record, wakes, |state| EventKind::Join(state.entry(slot)));
        }
    }

    /// One more entry of a topic is told of: the first one is announced.
    pub(super) fn told_more(&mut self, record: u32, wakes: &mut Wakes) {
        let told = &mut self.store.topics.get_mut(record).told;
        *told += 1;
        if *told == 1 {
            self.emit(record, wakes, |state| EventKind::First(state.store.topics.get(record).name.clone()));
        }
    }

    /// One entry less: that it was the last one is told after it.
    pub(super) fn told_less(&mut self, record: u32, wakes: &mut Wakes) {
        let told = &mut self.store.topics.get_mut(record).told;
        *told -= 1;
        if *told == 0 {
            self.emit(record, wakes, |state| EventKind::Empty(state.store.topics.get(record).name.clone()));
        }
    }
}
