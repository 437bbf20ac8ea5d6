//! The tracker and the peers as [`Store`]s.

use super::data::Item;
use super::stats::OURS;
use super::store::{Store, look_at};
use crate::peers::{FlatMap, Meta, OrswotSet};
use headcount::{EntryRef, Session, Tracker};
use parking_lot::Mutex;

/// The tracker, with the sessions of its residents.
pub(crate) struct Ours {
    tracker: Tracker,
    sessions: Vec<Session>,
}

const ROOM: &str = "the limits are far, and the entry is fresh";

impl Ours {
    fn session_of(&self, item: &Item) -> &Session {
        &self.sessions[item.session as usize]
    }
}

impl Store for Ours {
    const NAME: &'static str = OURS;
    type Owner = Session;
    type Ref = EntryRef;

    fn empty(sessions: usize) -> Self {
        let tracker = Tracker::new();
        let sessions = (0..sessions).map(|_| tracker.session()).collect();
        Self { tracker, sessions }
    }

    fn owner(&self) -> Session {
        self.tracker.session()
    }

    fn join_resident(&self, item: &Item) {
        self.join(self.session_of(item), item);
    }

    fn update(&self, item: &Item, meta: &Meta) -> bool {
        self.session_of(item).update(item.topic(), item.name(), meta).is_ok()
    }

    fn ref_of(&self, item: &Item) -> EntryRef {
        let mut of = None;
        self.tracker.read(item.topic(), item.name(), |view| of = Some(view.entry_ref()));
        of.expect("it is resident")
    }

    fn update_ref(&self, item: &Item, of: &EntryRef, meta: &Meta) -> bool {
        self.session_of(item).update_ref(*of, meta).is_ok()
    }

    fn read(&self, item: &Item) -> Option<u64> {
        let mut seen = None;
        self.tracker.read(item.topic(), item.name(), |view| seen = Some(look_at(view.meta())));
        seen
    }

    fn read_many(&self, items: &[Item]) -> usize {
        let keys = items.iter().map(|item| (item.topic(), item.name()));
        self.tracker.read_many(keys, |_, view| {
            look_at(view.meta());
        })
    }

    fn read_owned(&self, item: &Item) -> Option<u64> {
        let entries = self.tracker.get(item.topic(), item.name());
        entries.first().map(|entry| look_at(entry.meta()))
    }

    fn join(&self, owner: &Session, item: &Item) {
        owner.track(item.topic(), item.name(), item.meta).expect(ROOM);
    }

    fn join_many(&self, owner: &Session, items: &[Item]) {
        owner.track_many(items.iter().map(|item| (item.topic(), item.name(), item.meta))).expect(ROOM);
    }

    fn leave(&self, owner: &Session, item: &Item) -> bool {
        owner.untrack(item.topic(), item.name()) == Ok(true)
    }

    fn end(&self, owner: Session, _items: &[Item]) {
        drop(owner);
    }

    fn end_residents(&mut self, _items: impl Iterator<Item = Item>) {
        self.sessions = Vec::new();
    }

    fn tracker(&self) -> Option<&Tracker> {
        Some(&self.tracker)
    }
}

/// A flat map. Nobody owns what is in it: the application would have to remember who to remove.
pub(crate) struct Peer<M>(M);

impl<M: FlatMap + 'static> Store for Peer<M> {
    const NAME: &'static str = M::NAME;
    type Owner = ();
    type Ref = ();

    fn empty(_sessions: usize) -> Self {
        Self(M::default())
    }

    fn owner(&self) {}

    fn join_resident(&self, item: &Item) {
        self.0.insert(&item.key, &item.meta);
    }

    fn update(&self, item: &Item, meta: &Meta) -> bool {
        self.0.update(&item.key, meta)
    }

    fn ref_of(&self, _item: &Item) {}

    fn update_ref(&self, item: &Item, (): &(), meta: &Meta) -> bool {
        self.update(item, meta)
    }

    fn read(&self, item: &Item) -> Option<u64> {
        let mut seen = None;
        self.0.with(&item.key, |meta| seen = Some(look_at(meta)));
        seen
    }

    fn read_owned(&self, item: &Item) -> Option<u64> {
        self.0.get(&item.key).map(|meta| look_at(&meta))
    }

    fn join(&self, (): &(), item: &Item) {
        self.0.insert(&item.key, &item.meta);
    }

    fn join_many(&self, (): &(), items: &[Item]) {
        self.0.insert_many(items.iter().map(|item| (&item.key, &item.meta)));
    }

    fn leave(&self, (): &(), item: &Item) -> bool {
        self.0.remove(&item.key)
    }

    fn end(&self, (): (), items: &[Item]) {
        for item in items {
            self.0.remove(&item.key);
        }
    }

    fn end_residents(&mut self, items: impl Iterator<Item = Item>) {
        for item in items {
            self.0.remove(&item.key);
        }
    }
}

/// The ORSWOT. The lock, which nobody contends for, only makes it a [`Store`].
pub(crate) struct Orswot(Mutex<OrswotSet>);

impl Store for Orswot {
    const NAME: &'static str = OrswotSet::NAME;
    type Owner = ();
    type Ref = ();

    fn empty(_sessions: usize) -> Self {
        Self(Mutex::new(OrswotSet::new(1)))
    }

    fn owner(&self) {}

    fn join_resident(&self, item: &Item) {
        self.0.lock().add(&item.key);
    }

    /// It has no metas: there is nothing to change.
    fn update(&self, item: &Item, _meta: &Meta) -> bool {
        self.0.lock().contains(&item.key)
    }

    fn ref_of(&self, _item: &Item) {}

    fn update_ref(&self, item: &Item, (): &(), meta: &Meta) -> bool {
        self.update(item, meta)
    }

    fn read(&self, item: &Item) -> Option<u64> {
        self.0.lock().contains(&item.key).then_some(1)
    }

    fn read_owned(&self, item: &Item) -> Option<u64> {
        self.read(item)
    }

    fn join(&self, (): &(), item: &Item) {
        self.0.lock().add(&item.key);
    }

    fn join_many(&self, (): &(), items: &[Item]) {
        let mut set = self.0.lock();
        items.iter().for_each(|item| set.add(&item.key));
    }

    fn leave(&self, (): &(), item: &Item) -> bool {
        self.0.lock().remove(&item.key)
    }

    fn end(&self, (): (), items: &[Item]) {
        for item in items {
            self.0.lock().remove(&item.key);
        }
    }

    fn end_residents(&mut self, items: impl Iterator<Item = Item>) {
        for item in items {
            self.0.lock().remove(&item.key);
        }
    }
}
