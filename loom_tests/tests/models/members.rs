//! Lists of members: who is there throughout is met once, in order, whatever happens around.

use super::shard::{Entry, Reader, Shard};
use crate::kernel::members::Walked;
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;

pub(crate) const MODELS: &[Model] = &[
    model!(
        members_are_met_while_others_join,
        members::LINK_BEFORE_FILL => Says(SPINS),
    ),
    model!(
        members_are_met_while_others_leave,
        members::SWAP_REMOVE => Says(SPINS),
    ),
    model!(
        members_are_met_while_a_chunk_is_taken_out,
        members::FREE_BEFORE_UNLINK => Says(SPINS),
        members::LINK_UNCHECKED => Says(MISSED),
    ),
    model!(
        members_are_met_while_one_is_updated,
        members::MEMBER_UNCHECKED => Says(MISSED),
    ),
    model!(
        members_are_met_while_chunks_become_one,
        members::LINK_UNCHECKED => Says(MISSED),
    ),
    model!(
        a_walk_ends_with_its_topic,
        members::LINK_UNCHECKED => Says(STRANGER),
    ),
];

const MISSED: &str = "a member that was there throughout was not met";
const STRANGER: &str = "somebody was met who was never a member";
const SPINS: &str = "maximum number of branches";

/// Walks; meets `members`, and perhaps others, once and in order.
fn must_meet<const FAULT: u8>(reader: &Reader<FAULT>, members: &[u8]) -> Vec<u8> {
    let (met, walked) = reader.walk();
    assert_eq!(walked, Walked::Whole, "{MISSED}");
    let ascending = met.windows(2).all(|pair| pair[0].position < pair[1].position);
    assert!(ascending, "out of order, or twice: {met:?}");
    assert!(met.iter().all(|entry| entry.key == entry.position), "{STRANGER}: {met:?}");
    let met: Vec<u8> = met.into_iter().map(|entry| entry.key).collect();
    assert!(members.iter().all(|member| met.contains(member)), "{MISSED}: {met:?}");
    met
}

/// Lists `len` members, whose keys are their positions, of whom some have `left`, changes the list in one thread, and walks in another.
fn met_throughout<const FAULT: u8>(
    effort: Effort,
    len: u8,
    left: &'static [usize],
    change: impl Fn(&mut Shard<FAULT>, &[u32]) + Clone + Send + Sync + 'static,
    throughout: &'static [u8],
    after: &'static [u8],
) {
    effort.explore_bounded(2, move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slots: Vec<u32> = (1..=len).map(|key| shard.append(Entry::new(key))).collect();
        left.iter().for_each(|&index| shard.unlist(slots[index]));
        let change = change.clone();
        let writer = thread::spawn(move || change(&mut shard, &slots));
        must_meet(&reader, throughout);
        writer.join().unwrap();
        assert_eq!(must_meet(&reader, after), after);
    });
}

fn members_are_met_while_others_join<const FAULT: u8>(effort: Effort) {
    // In the chunk that there is, which has two cells, and in another one.
    for len in [1, 2] {
        met_throughout::<FAULT>(
            effort,
            len,
            &[],
            move |shard, _| _ = shard.append(Entry::new(len + 1)),
            if len == 1 { &[1] } else { &[1, 2] },
            if len == 1 { &[1, 2] } else { &[1, 2, 3] },
        );
    }
}

fn members_are_met_while_others_leave<const FAULT: u8>(effort: Effort) {
    met_throughout::<FAULT>(
        effort,
        3,
        &[],
        |shard, slots| {
            shard.unlist(slots[0]);
            shard.publish(Entry::new(9));
        },
        &[2, 3],
        &[2, 3],
    );
}

fn members_are_met_while_a_chunk_is_taken_out<const FAULT: u8>(effort: Effort) {
    met_throughout::<FAULT>(
        effort,
        3,
        &[0],
        |shard, slots| {
            // The first chunk; its place becomes another list's.
            shard.unlist(slots[1]);
            shard.take_chunk();
        },
        &[3],
        &[3],
    );
    met_throughout::<FAULT>(
        effort,
        5,
        &[0, 2],
        |shard, slots| {
            // One in the middle.
            shard.unlist(slots[3]);
            shard.take_chunk();
        },
        &[2, 5],
        &[2, 5],
    );
}

fn members_are_met_while_one_is_updated<const FAULT: u8>(effort: Effort) {
    met_throughout::<FAULT>(
        effort,
        3,
        &[],
        |shard, slots| {
            shard.relist(slots[0], 1);
            shard.publish(Entry::new(9));
        },
        &[1, 2, 3],
        &[1, 2, 3],
    );
}

fn members_are_met_while_chunks_become_one<const FAULT: u8>(effort: Effort) {
    met_throughout::<FAULT>(
        effort,
        5,
        &[0],
        |shard, slots| {
            shard.unlist(slots[2]);
            shard.take_chunk();
        },
        &[2, 4, 5],
        &[2, 4, 5],
    );
}

fn a_walk_ends_with_its_topic<const FAULT: u8>(effort: Effort) {
    effort.explore_bounded(2, || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slot = shard.append(Entry::new(1));
        let writer = thread::spawn(move || {
            shard.unlist(slot);
            shard.end();
            shard.take_chunk();
        });
        let (met, _) = reader.walk();
        assert!(met.is_empty() || met == [Entry { position: 1, ..Entry::new(1) }], "{STRANGER}: {met:?}");
        writer.join().unwrap();
        assert_eq!(reader.walk(), (Vec::new(), Walked::Ended));
    });
}
