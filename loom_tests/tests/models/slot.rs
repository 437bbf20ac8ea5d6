//! Slots: a copy is whole or there is none.

use super::shard::{Entry, Reader, Shard};
use crate::memory::Words;
use crate::sync::{Mutex, Ordering};
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;
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
];

const MIXTURE: &str = "a copy is of two lives";
const STALE: &str = "a reference leads to a slot that is not live";
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
