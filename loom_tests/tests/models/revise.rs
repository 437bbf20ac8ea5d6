//! Joins, updates and removals as the engine's store makes them, with a reader that comes by the index or by the list.

use super::shard::{Entry, Reader, Shard};
use crate::kernel::members::Walked;
use headcount_loom_tests::Symptom::Says;
use headcount_loom_tests::{Effort, Model};
use loom::thread;

pub(crate) const MODELS: &[Model] = &[
    model!(
        an_entry_is_found_while_it_is_updated,
        revise::FREE_FIRST => Says(SPINS),
        revise::FREE_BEFORE_INDEX => Says(SPINS),
        table::OTHER_UNCHECKED => Says(MISSED),
    ),
    model!(
        an_entry_of_a_group_is_found_while_it_is_updated,
        revise::FREE_FIRST => Says(SPINS),
        revise::FREE_BEFORE_INDEX => Says(SPINS),
        group::MEMBER_UNCHECKED => Says(MISSED),
    ),
    model!(
        an_entry_is_met_while_it_is_updated,
        revise::FREE_FIRST => Says(SPINS),
        revise::FREE_BEFORE_LIST => Says(SPINS),
        members::MEMBER_UNCHECKED => Says(MISSED),
    ),
    model!(
        an_entry_that_leaves_holds_no_reader_up,
        revise::FREE_BEFORE_UNLIST => Says(SPINS),
    ),
];

const MISSED: &str = "an entry that was there throughout was not found";
const SPINS: &str = "maximum number of branches";
const KEY: Entry = Entry::new(1);

fn must_find<const FAULT: u8>(reader: &Reader<FAULT>, owner: u8) -> u8 {
    let found = reader.find(KEY);
    let found = found.iter().find(|entry| entry.owner == owner);
    assert!(found.is_some_and(|entry| entry.key == KEY.key), "{MISSED}");
    found.map_or(0, |entry| entry.version)
}

fn must_meet<const FAULT: u8>(reader: &Reader<FAULT>, owner: u8) -> u8 {
    let (met, walked) = reader.walk();
    assert_eq!(walked, Walked::Whole, "{MISSED}");
    let mut of_owner = met.iter().filter(|entry| entry.owner == owner);
    let version = of_owner.next().expect(MISSED).version;
    assert!(of_owner.next().is_none(), "an entry was met twice");
    version
}

/// Updates the entry of owner 1 in one thread, after which its slot becomes another topic's, and reads in another.
fn while_updated<const FAULT: u8>(effort: Effort, owners: u8, read: fn(&Reader<FAULT>, u8) -> u8) {
    effort.explore_bounded(2, move || {
        let mut shard = Shard::<FAULT>::new();
        let reader = shard.reader();
        let slots: Vec<u32> = (1..=owners).map(|owner| shard.track(KEY.owned(owner))).collect();
        let writer = thread::spawn(move || {
            shard.update(slots[0], 1);
            shard.publish(Entry { topic: 2, position: 1, ..KEY });
        });
        let version = read(&reader, 1);
        assert!(version <= 1);
        // Whoever has seen the new version does not see the old one again.
        assert!(read(&reader, 1) >= version, "the old version came back");
        writer.join().unwrap();
        assert_eq!((must_find(&reader, 1), must_meet(&reader, 1)), (1, 1));
    });
}

fn an_entry_is_found_while_it_is_updated<const FAULT: u8>(effort: Effort) {
    while_updated::<FAULT>(effort, 1, must_find);
}

fn an_entry_of_a_group_is_found_while_it_is_updated<const FAULT: u8>(effort: Effort) {
    while_updated::<FAULT>(effort, 2, must_find);
}

fn an_entry_is_met_while_it_is_updated<const FAULT: u8>(effort: Effort) {
    while_updated::<FAULT>(effort, 1, must_meet);
}

fn an_entry_that_leaves_holds_no_reader_up<const FAULT: u8>(effort: Effort) {
    for reads_list in [false, true] {
        effort.explore_bounded(2, move || {
            let mut shard = Shard::<FAULT>::new();
            let reader = shard.reader();
            let slot = shard.track(KEY);
            let writer = thread::spawn(move || {
                shard.untrack(slot);
                shard.publish(Entry { topic: 2, position: 1, ..KEY });
            });
            let found = if reads_list { reader.walk().0 } else { reader.find(KEY) };
            assert!(
                found.is_empty() || found == [Entry { position: 1, ..KEY }],
                "another was found: {found:?}"
            );
            writer.join().unwrap();
            assert_eq!((reader.find(KEY), reader.walk()), (Vec::new(), (Vec::new(), Walked::Whole)));
        });
    }
}
