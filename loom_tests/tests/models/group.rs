//! Groups: whoever has a key throughout is found, while others come and go.

use super::shard::{Entry, Reader, Shard};
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;

pub(crate) const MODELS: &[Model] = &[
    model!(
        two_are_found_while_a_third_joins,
        revise::FREE_BEFORE_GROUP => Says(SPINS),
    ),
    model!(
        two_are_found_while_their_group_moves_away_and_back,
        table::LIFE_UNCHECKED => Says(MISSED),
    ),
    model!(
        two_are_found_while_a_third_leaves,
        group::SWAP_REMOVE => Says(MISSED),
    ),
    model!(
        two_are_found_while_one_is_updated,
        group::MEMBER_UNCHECKED => Says(MISSED),
        group::LIFE_UNCHECKED => Says(MISSED),
    ),
    model!(
        one_is_found_while_it_becomes_a_group_and_is_alone_again,
        revise::FREE_BEFORE_GROUP => Says(SPINS),
    ),
    model!(
        a_member_that_leaves_a_group_that_is_given_up_holds_no_reader_up,
        table::GONE_AGAIN => Says(SPINS),
    ),
];

const MISSED: &str = "one that had the key throughout was not found";
const SPINS: &str = "maximum number of branches";
const KEY: Entry = Entry::new(1);

/// Finds `owners`, and perhaps others.
fn must_find<const FAULT: u8>(reader: &Reader<FAULT>, owners: &[u8]) -> Vec<u8> {
    let found = reader.find(KEY);
    let mut found: Vec<u8> = found.into_iter().map(|entry| entry.owner).collect();
    found.sort_unstable();
    let len = found.len();
    found.dedup();
    assert_eq!(found.len(), len, "one was found twice");
    assert!(owners.iter().all(|owner| found.contains(owner)), "{MISSED}: {found:?}");
    found
}

/// Sets a shard up, changes it in one thread, and looks for `owners`, who are there throughout, in another.
fn found_throughout<const FAULT: u8, S: 'static>(
    effort: Effort,
    owners: &'static [u8],
    set_up: fn(&mut Shard<FAULT>) -> S,
    change: fn(&mut Shard<FAULT>, S),
    after: &'static [u8],
) {
    effort.explore_bounded(2, move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let set_up = set_up(&mut shard);
        let writer = thread::spawn(move || change(&mut shard, set_up));
        must_find(&reader, owners);
        writer.join().unwrap();
        assert_eq!(must_find(&reader, after), after);
    });
}

fn two_are_found_while_a_third_joins<const FAULT: u8>(effort: Effort) {
    // In place.
    found_throughout::<FAULT, _>(
        effort,
        &[1, 2],
        |shard| {
            shard.join_index(KEY.owned(1));
            shard.join_index(KEY.owned(2));
        },
        |shard, ()| _ = shard.join_index(KEY.owned(3)),
        &[1, 2, 3],
    );
    // The group is full: another one takes its place, and its own becomes another key's.
    found_throughout::<FAULT, _>(
        effort,
        &[1, 2],
        |shard| _ = shard.full_group([KEY.owned(1), KEY.owned(2)]),
        |shard, ()| {
            shard.join_index(KEY.owned(3));
            shard.take_group();
        },
        &[1, 2, 3],
    );
}

/// The index names the same place in the end, so it does not tell that the group was another one in between.
fn two_are_found_while_their_group_moves_away_and_back<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        &[1, 2],
        |shard| {
            let slots = [1, 2].map(|owner| shard.join_index(KEY.owned(owner)));
            (slots, shard.publish(KEY.owned(3)))
        },
        |shard, ([one, two], three)| {
            shard.regroup(&[one, two, three]);
            shard.regroup(&[one, two]);
        },
        &[1, 2],
    );
}

fn two_are_found_while_a_third_leaves<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        &[2, 3],
        |shard| [1, 2, 3].map(|owner| shard.join_index(KEY.owned(owner)))[0],
        |shard, slot| {
            shard.leave_index(slot);
            shard.publish(Entry::new(0));
        },
        &[2, 3],
    );
}

fn two_are_found_while_one_is_updated<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        &[1, 2],
        |shard| shard.full_group([KEY.owned(1), KEY.owned(2)])[0],
        |shard, slot| {
            shard.swing_in_group(slot, 1);
            shard.publish(Entry::new(0));
        },
        &[1, 2],
    );
    // Its slot becomes another's, and its own again.
    found_throughout::<FAULT, _>(
        effort,
        &[1, 2],
        |shard| shard.full_group([KEY.owned(1), KEY.owned(2)])[0],
        |shard, slot| {
            let elsewhere = shard.swing_in_group(slot, 1);
            let other = shard.publish(Entry::new(3));
            shard.free(other);
            assert_eq!(shard.swing_in_group(elsewhere, 2), slot, "the slot is used again at once");
        },
        &[1, 2],
    );
}

fn one_is_found_while_it_becomes_a_group_and_is_alone_again<const FAULT: u8>(effort: Effort) {
    found_throughout::<FAULT, _>(
        effort,
        &[1],
        |shard| _ = shard.join_index(KEY.owned(1)),
        |shard, ()| _ = shard.join_index(KEY.owned(2)),
        &[1, 2],
    );
    found_throughout::<FAULT, _>(
        effort,
        &[1],
        |shard| shard.full_group([KEY.owned(1), KEY.owned(2)])[1],
        |shard, slot| {
            shard.leave_index(slot);
            // The slot's place and the group's.
            shard.publish(Entry::new(0));
            shard.take_group();
        },
        &[1],
    );
}

/// What is left of a segment that was split still names a group that was given up after that.
fn a_member_that_leaves_a_group_that_is_given_up_holds_no_reader_up<const FAULT: u8>(effort: Effort) {
    const HIGH: u32 = 1 << 31;
    found_throughout::<FAULT, _>(
        effort,
        &[1],
        |shard| {
            let slots = shard.full_group([KEY.owned(1), KEY.owned(2)]);
            shard.insert(Entry::new(3).hashed(HIGH));
            shard.insert(Entry::new(4).hashed(HIGH));
            slots[1]
        },
        |shard, slot| {
            shard.reserve(Entry::new(5).hashed(HIGH));
            shard.leave_index(slot);
        },
        &[1],
    );
}
