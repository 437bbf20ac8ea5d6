//! The index: a key that is present throughout is always found, and one that is not never.

use super::shard::{Entry, Reader, Shard};
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;

pub(crate) const MODELS: &[Model] = &[
    model!(
        a_key_is_found_while_another_comes_and_goes,
        table::SHIFT_REMOVE => Says(MISSED),
    ),
    model!(
        a_key_is_found_while_it_is_updated_away_from_a_slot_and_back,
        table::LIFE_UNCHECKED => Says(MISSED),
    ),
    model!(
        a_key_is_found_while_it_is_updated_and_its_slot_becomes_anothers,
        table::OTHER_UNCHECKED => Says(MISSED),
        table::GONE_UNCHECKED => Says(MISSED),
        table::SWING_RELAXED => Says(SPINS),
    ),
    model!(
        a_key_is_found_while_its_segment_is_split,
        table::MISS_UNCHECKED => Says(MISSED),
        table::SPLIT_BEFORE_FILL => Says(MISSED),
        table::SPLIT_RELAXED => Says(MISSED),
    ),
    model!(
        a_key_is_found_while_two_segments_become_one,
        table::MISS_UNCHECKED => Says(MISSED),
    ),
    model!(
        a_key_beyond_a_full_bucket_is_found,
        table::OVERFLOW_UNCOUNTED => Says(MISSED),
    ),
    model!(
        a_key_that_leaves_a_segment_that_is_split_holds_no_reader_up,
        table::GONE_AGAIN => Says(SPINS),
    ),
    model!(
        a_key_that_is_not_there_is_not_found,
        slot::READ_ONE_LOOK => Says(INVENTED),
        slot::READ_NO_FENCE => Says(INVENTED),
    ),
    model!(
        a_glance_does_not_miss_a_key,
        table::MISS_UNCHECKED => Says(MISSED),
    ),
    model!(
        a_glance_invents_no_key,
        table::GLANCE_ONE_LOOK => Says(INVENTED),
        table::GLANCE_STAMP_FIRST => Says(INVENTED),
        slot::PEEK_MARKED => Says(INVENTED),
    ),
];

const MISSED: &str = "a key that was there throughout was not found";
const INVENTED: &str = "a key that was never there was found";
const SPINS: &str = "maximum number of branches";

/// Preemptions: enough for every fault with one to spare.
const BOUND: usize = 2;

const KEY: Entry = Entry::new(1);
const OTHER: Entry = Entry::new(2);
/// In the upper half of all hashes.
const HIGH: u32 = 1 << 31;

fn must_find<const FAULT: u8>(reader: &Reader<FAULT>, sought: Entry) -> Entry {
    let found = reader.find(sought);
    assert_eq!(found.len(), 1, "{MISSED}");
    assert_eq!(found[0].revised(0), sought, "another was found");
    found[0]
}

/// Sets a shard up, changes it in one thread, and looks for `sought`, which is there throughout, in another.
fn throughout<const FAULT: u8, S: 'static, L: 'static>(
    effort: Effort,
    sought: Entry,
    look: fn(&Reader<FAULT>, Entry) -> L,
    set_up: fn(&mut Shard<FAULT>) -> S,
    change: fn(&mut Shard<FAULT>, S),
) {
    effort.explore_bounded(BOUND, move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let set_up = set_up(&mut shard);
        let writer = thread::spawn(move || {
            change(&mut shard, set_up);
            shard
        });
        look(&reader, sought);
        writer.join().unwrap();
        look(&reader, sought);
    });
}

fn found_throughout<const FAULT: u8, S: 'static>(
    effort: Effort,
    sought: Entry,
    set_up: fn(&mut Shard<FAULT>) -> S,
    change: fn(&mut Shard<FAULT>, S),
) {
    throughout(effort, sought, must_find, set_up, change);
}

fn a_key_is_found_while_another_comes_and_goes<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        KEY,
        |shard| {
            let other = shard.insert(OTHER);
            shard.insert(KEY);
            other
        },
        |shard, other| {
            shard.remove(other);
            shard.insert(Entry::new(3));
        },
    );
    // A key that is being put in is found by whoever knows that it is.
    effort.explore_bounded(BOUND, || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        shard.insert(OTHER);
        let writer = thread::spawn(move || {
            let slot = shard.insert(KEY);
            shard.remove(slot);
        });
        let found = reader.find(KEY);
        assert!(found.is_empty() || found == [KEY], "another was found");
        writer.join().unwrap();
        assert!(reader.find(KEY).is_empty(), "a key that was taken out is found");
        must_find(&reader, OTHER);
    });
}

fn a_key_is_found_while_it_is_updated_and_its_slot_becomes_anothers<const FAULT: u8>(effort: Effort) {
    let revisions = effort.size(1, 2);
    effort.explore_bounded(BOUND, move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slot = shard.insert(KEY);
        let writer = thread::spawn(move || {
            let mut slot = slot;
            for revision in 1..=revisions {
                slot = shard.reindex(slot, revision as u8);
            }
            shard.insert(OTHER);
        });
        must_find(&reader, KEY);
        writer.join().unwrap();
        assert_eq!(must_find(&reader, KEY).version, revisions as u8);
        must_find(&reader, OTHER);
    });
}

/// Its slot becomes another's, and its own again: the cell that led to it is as it was.
fn a_key_is_found_while_it_is_updated_away_from_a_slot_and_back<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        KEY,
        |shard| shard.insert(KEY),
        |shard, slot| {
            let elsewhere = shard.reindex(slot, 1);
            let other = shard.publish(OTHER);
            shard.free(other);
            assert_eq!(shard.reindex(elsewhere, 2), slot, "the slot is used again at once");
        },
    );
}

/// If a glance tells anything, it is that the key is there.
fn must_not_miss<const FAULT: u8>(reader: &Reader<FAULT>, sought: Entry) {
    let found = reader.glance(sought).map(|found| found.expect(MISSED).revised(0));
    assert!(found.is_none_or(|found| found == sought), "another was found");
}

fn a_glance_does_not_miss_a_key<const FAULT: u8>(effort: Effort) {
    throughout::<FAULT, _, _>(
        effort,
        KEY,
        must_not_miss,
        |shard| {
            shard.insert(KEY);
            shard.insert(OTHER.hashed(HIGH));
            shard.insert(Entry::new(3));
        },
        |shard, ()| {
            shard.insert(Entry::new(4).hashed(HIGH / 2));
            shard.take_segment();
        },
    );
    throughout::<FAULT, _, _>(
        effort,
        KEY,
        must_not_miss,
        |shard| shard.insert(KEY),
        |shard, slot| {
            shard.reindex(slot, 1);
            shard.insert(OTHER);
        },
    );
}

fn a_glance_invents_no_key<const FAULT: u8>(effort: Effort) {
    // As in `a_key_that_is_not_there_is_not_found`.
    let one = Entry { topic: 1, ..Entry::new(1) };
    let two = Entry { topic: 2, ..Entry::new(2) };
    let none = Entry { topic: 1, ..Entry::new(2) };
    for in_place in [false, true] {
        effort.explore_bounded(BOUND, move || {
            let mut shard = Shard::<FAULT>::new();
            let reader = shard.reader();
            let slot = shard.insert(one);
            let writer = thread::spawn(move || {
                if in_place {
                    shard.revise(slot, two);
                } else {
                    shard.remove(slot);
                    shard.insert(two);
                }
            });
            assert!(!matches!(reader.glance(none), Some(Some(_))), "{INVENTED}");
            writer.join().unwrap();
            assert!(!matches!(reader.glance(one), Some(Some(_))), "a key that was taken out is found");
            assert_eq!(reader.glance(two), Some(Some(two)), "{MISSED}");
        });
    }
}

fn a_key_is_found_while_its_segment_is_split<const FAULT: u8>(effort: Effort) {
    for sought in [KEY, KEY.hashed(HIGH)] {
        found_throughout::<FAULT, _>(
            effort,
            sought,
            if sought == KEY {
                |shard| {
                    shard.insert(KEY);
                    shard.insert(OTHER.hashed(HIGH));
                    shard.insert(Entry::new(3));
                }
            } else {
                |shard| {
                    shard.insert(KEY.hashed(HIGH));
                    shard.insert(OTHER);
                    shard.insert(Entry::new(3).hashed(HIGH));
                }
            },
            |shard, ()| {
                // The directory's old place becomes the new slot.
                shard.insert(Entry::new(4).hashed(HIGH / 2));
                shard.take_segment();
            },
        );
    }
}

fn a_key_is_found_while_two_segments_become_one<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        KEY,
        |shard| {
            let slots = [2, 3].map(|key| shard.insert(Entry::new(key).hashed(HIGH)));
            shard.insert(KEY);
            // Splits.
            let more = shard.insert(Entry::new(4).hashed(HIGH));
            shard.remove(slots[0]);
            shard.remove(slots[1]);
            more
        },
        |shard, last| {
            shard.remove(last);
            shard.take_segment();
            shard.take_segment();
        },
    );
}

fn a_key_beyond_a_full_bucket_is_found<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        KEY,
        |shard| {
            let slot = shard.insert(OTHER);
            shard.insert(Entry::new(3));
            shard.insert(KEY);
            slot
        },
        |shard, slot| {
            shard.remove(slot);
            shard.insert(Entry::new(4));
        },
    );
}

/// What is left of a segment that was split still names slots that were freed after that.
fn a_key_that_leaves_a_segment_that_is_split_holds_no_reader_up<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(BOUND, || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        shard.insert(OTHER.hashed(HIGH));
        shard.insert(Entry::new(3).hashed(HIGH));
        let slot = shard.insert(KEY);
        let writer = thread::spawn(move || {
            shard.reserve(Entry::new(4).hashed(HIGH));
            shard.remove(slot);
        });
        let found = reader.find(KEY);
        assert!(found.is_empty() || found == [KEY], "another was found");
        writer.join().unwrap();
        assert!(reader.find(KEY).is_empty(), "a key that was taken out is found");
    });
}

fn a_key_that_is_not_there_is_not_found<const FAULT: u8>(effort: Effort) {
    // Its slot would be the first word of one and the second of the other.
    let one = Entry { topic: 1, ..Entry::new(1) };
    let two = Entry { topic: 2, ..Entry::new(2) };
    let none = Entry { topic: 1, ..Entry::new(2) };
    effort.explore_bounded(BOUND, move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slot = shard.insert(one);
        let writer = thread::spawn(move || {
            shard.remove(slot);
            shard.insert(two);
        });
        assert!(reader.find(none).is_empty(), "{INVENTED}");
        writer.join().unwrap();
        assert!(reader.find(one).is_empty(), "a key that was taken out is found");
        must_find(&reader, two);
    });
}
