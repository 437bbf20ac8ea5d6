//! Slots: a copy is whole or there is none, and of a slot that is revised there always is one.

use super::shard::{Entry, Reader, Shard};
use crate::kernel::members::Walked;
use crate::memory::Words;
use crate::sync::{Mutex, Ordering};
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;
use std::ops::Range;
use std::sync::Arc;

pub(crate) const MODELS: &[Model] = &[
    model!(
        a_copy_is_whole_or_there_is_none,
        slot::PUBLISH_RELAXED => Says(MIXTURE),
        slot::READ_NO_FENCE => Says(MIXTURE),
        slot::READ_ONE_LOOK => Says(MIXTURE),
        slot::FREE_NO_FENCE => Says(MIXTURE),
        slot::STAMP_REUSED => Says(MIXTURE),
    ),
    model!(
        a_slot_that_another_writer_fills_is_copied_whole,
        memory::TAKE_NO_FENCE => Says(MIXTURE),
        slot::READ_NO_FENCE => Says(MIXTURE),
        slot::STAMP_REUSED => Says(MIXTURE),
    ),
    model!(
        a_reference_leads_to_a_live_slot_or_has_changed,
        slot::FREE_RELAXED => Says(STALE),
        slot::READ_ONE_LOOK => Says(MIXTURE),
    ),
    model!(
        a_slot_that_is_revised_is_copied_whole_and_never_holds_a_reader_up,
        slot::REVISE_NO_FENCE => Says(MIXTURE),
        slot::REVISE_UNMARKED => Says(MIXTURE),
        slot::MARK_BEFORE_DRAFT => Says(HELD_UP),
        slot::MARKED_IS_FREE => Says(HELD_UP),
        slot::PUBLISH_RELAXED => Says(MIXTURE),
        slot::READ_NO_FENCE => Says(MIXTURE),
    ),
    model!(
        a_draft_is_of_one_slot,
        slot::DRAFT_UNCHECKED => Says(ANOTHERS),
        slot::READ_ONE_LOOK => Says(MIXTURE),
        slot::READ_NO_FENCE => Says(ANOTHERS),
    ),
    model!(
        a_slot_that_was_revised_begins_another_life,
        slot::REVISE_NO_FENCE => Says(MIXTURE),
        slot::FREE_NO_FENCE => Says(MIXTURE),
        slot::STAMP_REUSED => Says(MIXTURE),
    ),
    model!(
        a_key_is_found_while_it_and_its_neighbour_are_revised,
        slot::MARK_BEFORE_DRAFT => Says(SPINS),
        slot::MARKED_IS_FREE => Says(SPINS),
        table::GONE_UNCHECKED => Says(MISSED),
    ),
    model!(
        an_entry_of_a_group_is_found_while_it_is_revised,
        slot::MARK_BEFORE_DRAFT => Says(SPINS),
        slot::MARKED_IS_FREE => Says(SPINS),
        group::MEMBER_UNCHECKED => Says(MISSED),
    ),
    model!(
        members_are_met_once_while_they_are_revised,
        slot::MARK_BEFORE_DRAFT => Says(SPINS),
        slot::MARKED_IS_FREE => Says(SPINS),
        members::MEMBER_UNCHECKED => Says(MISSED),
    ),
];

const MIXTURE: &str = "a copy is of two lives";
const STALE: &str = "a reference leads to a slot that is not live";
const HELD_UP: &str = "a reader was held up by a slot that is live";
const ANOTHERS: &str = "a copy is of another slot";
const MISSED: &str = "an entry that was there throughout was not found";
const OLDER: &str = "an older version came back";
const SPINS: &str = "maximum number of branches";
const ONE: Entry = Entry::new(1).hashed(1);
const TWO: Entry = Entry::new(2).hashed(2);

fn look<const FAULT: u8>(reader: &Reader<FAULT>, slot: u32) -> Option<Entry> {
    let found = reader.slot(slot);
    assert!(found.is_none_or(|found| found == ONE || found == TWO), "{MIXTURE}: {found:?}");
    found
}

fn a_copy_is_whole_or_there_is_none<const FAULT: u8>(effort: Effort) {
    let lives = effort.size(1, 2);
    effort.explore(move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slot = shard.publish(ONE);
        let writer = thread::spawn(move || {
            for life in 0..lives {
                shard.end_life(slot);
                shard.live_again(slot, if life == 0 { TWO } else { ONE });
            }
        });
        look(&reader, slot);
        writer.join().unwrap();
        assert!(look(&reader, slot).is_some(), "what was published before is live");
    });
}

fn a_slot_that_another_writer_fills_is_copied_whole<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slot = shard.publish(ONE);
        let shard = Arc::new(Mutex::new(shard));
        let freer = thread::spawn({
            let shard = Arc::clone(&shard);
            move || shard.lock().free(slot)
        });
        let filler = thread::spawn(move || {
            let mut shard = shard.lock();
            // The place that was freed, or another one if nothing was.
            shard.publish(TWO);
        });
        look(&reader, slot);
        freer.join().unwrap();
        filler.join().unwrap();
    });
}

/// One word that names a slot, as the index and the lists have them.
fn a_reference_leads_to_a_live_slot_or_has_changed<const FAULT: u8>(effort: Effort) {
    const REFERENCE: usize = 8;
    fn refer(words: &Words, slot: u32) {
        words.word(REFERENCE).store(slot.into(), Ordering::Release);
    }
    effort.explore(|| {
        let mut shard = Shard::<FAULT>::new();
        let (reader, words) = (shard.reader(), shard.words.reader());
        let first = shard.publish(ONE);
        refer(&shard.words, first);
        let writer = thread::spawn(move || {
            let second = shard.publish(TWO);
            refer(&shard.words, second);
            shard.free(first);
            shard.publish(ONE);
        });
        let slot = words.word(REFERENCE).load(Ordering::Acquire);
        if look(&reader, slot as u32).is_none() {
            assert_ne!(words.word(REFERENCE).load(Ordering::Relaxed), slot, "{STALE}");
        }
        writer.join().unwrap();
    });
}

/// A version of a slot's entry: every word of the payload says which.
fn version(key: u8, version: u8) -> Entry {
    Entry::new(key).hashed(version.into()).revised(version)
}

/// A reader of slots that are revised and do not end.
struct Looks<const FAULT: u8> {
    reader: Reader<FAULT>,
    /// In how many more looks it may find nothing.
    failures: u8,
}

impl<const FAULT: u8> Looks<FAULT> {
    /// A revision changes a slot's stamp twice, and a look fails only if there was another stamp at its end than at its beginning. The last
    /// draft of all stays, so that no look at it fails.
    fn new(reader: Reader<FAULT>, revisions: u8) -> Self {
        Self { reader, failures: 2 * revisions - 1 }
    }

    /// Looks until there is a copy; returns its version.
    fn version(&mut self, slot: u32, key: u8) -> u8 {
        loop {
            if let Some(found) = self.reader.slot(slot) {
                assert_eq!(found.key, key, "{ANOTHERS}");
                assert_eq!(found, version(key, found.version), "{MIXTURE}");
                return found.version;
            }
            self.failures = self.failures.checked_sub(1).expect(HELD_UP);
        }
    }
}

fn a_slot_that_is_revised_is_copied_whole_and_never_holds_a_reader_up<const FAULT: u8>(effort: Effort) {
    let model = |revisions, looks| {
        move || {
            let mut shard = Shard::<FAULT>::new();
            let mut reader = Looks::new(shard.reader(), revisions);
            let slot = shard.publish(version(1, 0));
            let writer = thread::spawn(move || {
                for revision in 1..=revisions {
                    shard.revise(slot, version(1, revision));
                }
            });
            let mut seen = 0;
            for _ in 0..looks {
                let now = reader.version(slot, 1);
                assert!((seen..=revisions).contains(&now), "{OLDER}");
                seen = now;
            }
            writer.join().unwrap();
            assert_eq!(reader.version(slot, 1), revisions, "{OLDER}");
        }
    };
    effort.explore(model(1, 2));
    // The draft is filled again while it may be read.
    effort.explore_up_to(2, 2, model(2, 1));
}

fn a_draft_is_of_one_slot<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let mut shard = Shard::<FAULT>::new();
        let mut reader = Looks::new(shard.reader(), 2);
        let slots = [1, 2].map(|key| shard.publish(version(key, 0)));
        let writer = thread::spawn(move || {
            shard.revise(slots[0], version(1, 1));
            shard.revise(slots[1], version(2, 2));
        });
        reader.version(slots[0], 1);
        writer.join().unwrap();
        assert_eq!(reader.version(slots[0], 1), 1, "{OLDER}");
        assert_eq!(reader.version(slots[1], 2), 2, "{OLDER}");
    });
}

fn a_slot_that_was_revised_begins_another_life<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slot = shard.publish(version(1, 0));
        let writer = thread::spawn(move || {
            shard.revise(slot, version(1, 1));
            shard.end_life(slot);
            shard.live_again(slot, version(1, 2));
        });
        let mut seen = 0;
        for _ in 0..2 {
            if let Some(found) = reader.slot(slot) {
                assert_eq!(found, version(1, found.version), "{MIXTURE}");
                assert!(found.version >= seen, "{OLDER}");
                seen = found.version;
            }
        }
        writer.join().unwrap();
        assert_eq!(reader.slot(slot), Some(version(1, 2)));
    });
}

/// Tracks two entries, revises one of them or both in turn in one thread, and reads, in another, the version of the second.
fn while_revised<const FAULT: u8>(effort: Effort, entries: [Entry; 2], read: fn(&Reader<FAULT>) -> u8) {
    let model = move |revised: Range<usize>| {
        move || {
            let mut shard = Shard::<FAULT>::new();
            let reader = shard.reader();
            let slots = entries.map(|entry| shard.track(entry));
            let writer = thread::spawn({
                let revised = revised.clone();
                move || {
                    for at in revised {
                        let position = at as u8 + 1;
                        shard.revise(slots[at], Entry { position, ..entries[at] }.revised(1));
                    }
                }
            });
            let newest = u8::from(revised.end == 2);
            assert!(read(&reader) <= newest, "{OLDER}");
            writer.join().unwrap();
            assert_eq!(read(&reader), newest, "{OLDER}");
        }
    };
    effort.explore_bounded(2, model(0..1));
    effort.explore_bounded(2, model(1..2));
    effort.explore_up_to(1, 2, model(0..2));
}

/// Finds the entry of owner 1 by its key; returns its version.
fn must_find<const FAULT: u8>(reader: &Reader<FAULT>) -> u8 {
    let found = reader.find(Entry::new(1));
    assert!(found.iter().all(|entry| entry.key == 1), "{ANOTHERS}: {found:?}");
    let mut of_owner = found.iter().filter(|entry| entry.owner == 1);
    let version = of_owner.next().expect(MISSED).version;
    assert!(of_owner.next().is_none(), "an entry was found twice");
    version
}

fn a_key_is_found_while_it_and_its_neighbour_are_revised<const FAULT: u8>(effort: Effort) {
    // The neighbour is looked at first: they have one tag.
    while_revised::<FAULT>(effort, [Entry::new(2), Entry::new(1).owned(1)], must_find);
}

fn an_entry_of_a_group_is_found_while_it_is_revised<const FAULT: u8>(effort: Effort) {
    while_revised::<FAULT>(effort, [Entry::new(1).owned(2), Entry::new(1).owned(1)], must_find);
}

fn members_are_met_once_while_they_are_revised<const FAULT: u8>(effort: Effort) {
    while_revised::<FAULT>(effort, [Entry::new(1), Entry::new(2)], |reader| {
        let (met, walked) = reader.walk();
        assert_eq!(walked, Walked::Whole, "{MISSED}");
        assert!(met.iter().all(|entry| entry.key == entry.position), "{ANOTHERS}: {met:?}");
        let keys: Vec<u8> = met.iter().map(|entry| entry.key).collect();
        assert_eq!(keys, [1, 2], "{MISSED}");
        met[1].version
    });
}
