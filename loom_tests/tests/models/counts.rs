//! Counts: those of some moment, while members come and go and origins are hidden and shown.

use crate::kernel::counts::{Hides, OriginCounts, set_members, visible};
use crate::kernel::origin::OriginTable;
use crate::memory::{Places, Words};
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;

pub(crate) const MODELS: &[Model] = &[
    model!(
        a_member_that_moves_between_origins_is_counted_once_or_is_between_them,
        counts::CHANGES_UNCHECKED => Says(NEVER),
        counts::CHANGE_NO_FENCE => Says(NEVER),
    ),
    model!(
        members_are_counted_while_an_origin_is_hidden,
        counts::HIDES_UNCHECKED => Says(NEVER),
    ),
    model!(
        members_are_counted_while_one_origin_is_shown_and_another_hidden,
        counts::HIDES_UNCHECKED => Says(NEVER),
    ),
];

const NEVER: &str = "a count that was never right";
const RECORD: usize = 0;
const HIDES: usize = 8;
const ORIGINS: usize = 12;
const ORIGINS_MAX: u32 = 3;
const FIRST_PLACE: usize = 24;
/// Origins other than this node.
const A: u32 = 1;
const B: u32 = 2;

/// A topic, as its writer knows it.
struct Topic<const FAULT: u8> {
    words: Words,
    places: Places<FAULT>,
    counts: OriginCounts<FAULT>,
    members: usize,
}

fn origins<const FAULT: u8>() -> OriginTable<FAULT> {
    OriginTable::new(ORIGINS)
}

impl<const FAULT: u8> Topic<FAULT> {
    fn new() -> Self {
        let words = Words::new();
        let (places, counts) = (Places::new(&words, FIRST_PLACE), OriginCounts::default());
        Self { words, places, counts, members: 0 }
    }

    fn join(&mut self, origin: u32) {
        self.counts.reserve(&self.words, &mut self.places, RECORD).expect("there is room");
        self.members += 1;
        self.counts.change(&self.words, RECORD, origin, true, self.members);
    }

    fn leave(&mut self, origin: u32) {
        self.members -= 1;
        self.counts.change(&self.words, RECORD, origin, false, self.members);
    }

    /// Somebody of this node.
    fn join_here(&mut self) {
        self.members += 1;
        set_members(&self.words, RECORD, self.members);
    }

    fn hide(&self, origin: u32, hidden: bool) {
        Hides::<FAULT>::new(HIDES).hide(&self.words, origins(), origin, hidden);
    }
}

/// Counts while another thread changes a topic, whose counts are `right` in turn.
fn counted<const FAULT: u8>(
    effort: Effort,
    set_up: fn(&mut Topic<FAULT>),
    change: fn(&mut Topic<FAULT>),
    right: &'static [u64],
) {
    let look = |words: &Words| visible::<FAULT>(words, RECORD, Hides::new(HIDES), origins(), ORIGINS_MAX);
    effort.explore_bounded(3, move || {
        let mut topic = Topic::<FAULT>::new();
        let reader = topic.words.reader();
        set_up(&mut topic);
        assert_eq!(look(&topic.words), Some(right[0]));
        let writer = thread::spawn(move || change(&mut topic));
        if let Some(count) = look(&reader) {
            assert!(right.contains(&count), "{NEVER}: {count}");
        }
        writer.join().unwrap();
        assert_eq!(look(&reader), right.last().copied(), "{NEVER}");
    });
}

fn a_member_that_moves_between_origins_is_counted_once_or_is_between_them<const FAULT: u8>(effort: Effort) {
    // From one that is hidden to one that is not: two are seen, and then three.
    counted::<FAULT>(
        effort,
        |topic| {
            topic.join(A);
            topic.join(B);
            topic.join_here();
            topic.hide(A, true);
        },
        |topic| {
            topic.leave(A);
            topic.join(B);
        },
        &[2, 3],
    );
    // And back.
    counted::<FAULT>(
        effort,
        |topic| {
            topic.join(B);
            topic.join_here();
            topic.hide(A, true);
        },
        |topic| {
            topic.leave(B);
            topic.join(A);
        },
        &[2, 1],
    );
}

fn members_are_counted_while_an_origin_is_hidden<const FAULT: u8>(effort: Effort) {
    let set_up = |topic: &mut Topic<FAULT>| {
        topic.join(A);
        topic.join(A);
    };
    counted::<FAULT>(
        effort,
        set_up,
        |topic| {
            topic.hide(A, true);
            topic.join_here();
        },
        &[2, 0, 1],
    );
    counted::<FAULT>(
        effort,
        |topic| {
            topic.join(A);
            topic.join(A);
            topic.join(A);
            topic.hide(A, true);
        },
        |topic| {
            topic.leave(A);
            topic.hide(A, false);
        },
        &[0, 2],
    );
}

fn members_are_counted_while_one_origin_is_shown_and_another_hidden<const FAULT: u8>(effort: Effort) {
    counted::<FAULT>(
        effort,
        |topic| {
            topic.join(A);
            topic.join(B);
            topic.hide(A, true);
        },
        |topic| {
            topic.hide(A, false);
            topic.hide(B, true);
        },
        &[1, 2, 1],
    );
}
