//! The table of origins: an identity is one of those that were, and what is hidden is seen to be.

use crate::kernel::origin::{Known, OriginTable};
use crate::memory::Words;
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;

pub(crate) const MODELS: &[Model] = &[
    model!(
        an_identity_is_one_of_those_that_were,
        origin::ONE_LOOK => Says(TORN),
        origin::NO_FENCE => Says(TORN),
        origin::SET_RELAXED => Says(TORN),
    ),
    model!(
        what_came_before_it_was_hidden_is_seen_by_who_sees_that_it_is,
        origin::HIDE_RELAXED => Says(EARLY),
    ),
];

const TORN: &str = "an identity is of two lives";
const EARLY: &str = "what came before was not seen";

fn known(life: u32) -> Known {
    Known { node: life, incarnation: u64::from(life) * 10, hidden: false }
}

fn an_identity_is_one_of_those_that_were<const FAULT: u8>(effort: Effort) {
    let lives = effort.size(2, 3);
    effort.explore(move || {
        let words = Words::new();
        let readers = words.reader();
        let table = OriginTable::<FAULT>::new(0);
        let set = move |words: &Words, life: u32| table.set(words, 1, life, known(life).incarnation);
        set(&words, 1);
        let writer = thread::spawn(move || {
            for life in 2..=lives {
                set(&words, life);
            }
            table.hide(&words, 1, true);
        });
        let read = table.read(&readers, 1);
        assert!(
            (1..=lives).any(|life| Known { hidden: read.hidden, ..known(life) } == read),
            "{TORN}: {read:?}"
        );
        assert!(!read.hidden || read.node == lives, "{TORN}: {read:?}");
        writer.join().unwrap();
        assert_eq!(table.read(&readers, 1), Known { hidden: true, ..known(lives) });
        assert!(table.is_hidden(&readers, 1));
    });
}

fn what_came_before_it_was_hidden_is_seen_by_who_sees_that_it_is<const FAULT: u8>(effort: Effort) {
    use crate::sync::Ordering;
    const ELSEWHERE: usize = 20;
    effort.explore(|| {
        let words = Words::new();
        let readers = words.reader();
        let table = OriginTable::<FAULT>::new(0);
        table.set(&words, 1, 1, 1);
        let writer = thread::spawn(move || {
            words.word(ELSEWHERE).store(1, Ordering::Relaxed);
            table.hide(&words, 1, true);
        });
        if table.is_hidden(&readers, 1) {
            assert_eq!(readers.word(ELSEWHERE).load(Ordering::Relaxed), 1, "{EARLY}");
        }
        writer.join().unwrap();
        assert!(table.is_hidden(&readers, 1));
    });
}
