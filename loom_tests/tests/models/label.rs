//! A text that is read while it changes: a reader gets one of the texts, whole.

use crate::kernel::label;
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::sync::atomic::AtomicU64;
use loom::thread;
use std::sync::Arc;

pub(crate) const MODELS: &[Model] = &[model!(
    a_text_is_read_whole_while_it_changes,
    label::NEVER_ODD => Says(TORN),
    label::NO_RELEASE_FENCE => Says(TORN),
    label::LAST_RELAXED => Says(TORN),
    label::NO_SECOND_LOOK => Says(TORN),
    label::NO_ACQUIRE_FENCE => Says(TORN),
    label::FIRST_LOOK_RELAXED => Says(TORN),
)];

const TORN: &str = "neither the text before nor the text after";
const BEFORE: &[u8] = b"before.before.!!";
const AFTER: &[u8] = b"after";

fn a_text_is_read_whole_while_it_changes<const FAULT: u8>(effort: Effort) {
    let readers = effort.size(1, 2);
    effort.explore_bounded(3, move || {
        let words: Arc<Vec<AtomicU64>> = Arc::new((0..label::words(16)).map(|_| AtomicU64::new(0)).collect());
        label::write::<0>(&words, BEFORE);
        let writer = {
            let words = Arc::clone(&words);
            thread::spawn(move || label::write::<FAULT>(&words, AFTER))
        };
        for _ in 0..readers {
            let text = label::read::<FAULT>(&words);
            assert!(text.as_deref().is_none_or(|text| text == BEFORE || text == AFTER), "{TORN}");
        }
        writer.join().unwrap();
        assert_eq!(label::read::<FAULT>(&words).as_deref(), Some(AFTER));
    });
}
