//! The storage kernels against plain collections, one thread at a time. What threads do to each other is loom's to find.

use super::group::Group;
use super::members::{Head, List, Walk, Walked};
use super::slot::{SLOT_WORDS, Slot};
use super::table::{Allocate, Table, Verdict, Writer};
use crate::memory::{Arena, Memory, Run, Slab, Words};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const GRANULE_WORDS: usize = 4;

/// An arena with a root word and a record in it.
struct Bench {
    arena: Arena,
    slab: Slab,
    root: usize,
    stamp: u64,
}

impl Bench {
    fn new() -> Self {
        let arena = Arena::new(1 << 24);
        let root = arena.take(1).unwrap() as usize * 512;
        Self { arena, slab: Slab::default(), root, stamp: 1 }
    }

    fn memory(&mut self) -> Memory<'_> {
        Memory { arena: &self.arena, slab: &mut self.slab }
    }

    fn stamp(&mut self) -> u64 {
        self.stamp += 2;
        self.stamp
    }

    /// A published slot whose hash is that.
    fn slot(&mut self, hash: u32) -> u32 {
        let at = self.memory().take(SLOT_WORDS).unwrap();
        let mut payload = [0; SLOT_WORDS];
        payload[0] = self.stamp();
        payload[1] = u64::from(hash) << 32;
        Slot::<0>::publish(self.arena.words(), at, &payload);
        (at / GRANULE_WORDS) as u32
    }

    fn free(&mut self, id: u32) {
        let at = id as usize * GRANULE_WORDS;
        Slot::<0>::free(self.arena.words(), at);
        self.memory().give(at, SLOT_WORDS);
    }
}

fn hash_of(words: &Words, id: u32) -> u32 {
    (words.word(id as usize * GRANULE_WORDS + 1).load(crate::sync::Ordering::Relaxed) >> 32) as u32
}

fn found(table: Table<0>, words: &Words, id: u32) -> bool {
    let judge = |named, _| {
        let stamp = words.word(named as usize * GRANULE_WORDS).load(crate::sync::Ordering::Relaxed);
        if named == id { Verdict::Hit((), stamp) } else { Verdict::Other(stamp) }
    };
    table.find(words, hash_of(words, id), judge).is_some()
}

/// Spreads small numbers over all bits, and makes some of them share a home bucket and a tag.
fn hash(number: u32, crowded: bool) -> u32 {
    let spread = number.wrapping_mul(0x9e37_79b9);
    if crowded { spread & 0xffff_0000 | 0x1234 } else { spread }
}

#[test]
fn a_table_grows_and_shrinks_with_what_is_in_it() {
    for crowded in [false, true] {
        let mut bench = Bench::new();
        let table = Table::<0>::new(bench.root);
        let mut writer = Writer::new(table);
        let empty = bench.arena.stats().used_bytes;
        let mut held = Vec::new();
        for number in 0..20_000 {
            let id = bench.slot(hash(number, crowded));
            let Bench { arena, slab, .. } = &mut bench;
            let (words, mut memory) = (arena.words(), Memory { arena, slab });
            let hash = hash_of(words, id);
            writer.reserve(words, &mut memory, hash, |id| hash_of(words, id)).unwrap();
            writer.insert(words, hash, id);
            held.push(id);
        }
        let words = bench.arena.words();
        assert!(held.iter().all(|&id| found(table, words, id)));
        let mut scanned = BTreeSet::new();
        table.scan(words, |_, ids| ids.iter().for_each(|&id| assert!(scanned.insert(id), "twice")));
        assert_eq!(scanned, held.iter().copied().collect());

        // Every third one stays until the end.
        for third in [1, 2, 0] {
            for id in held.iter().copied().skip(third).step_by(3) {
                let Bench { arena, slab, .. } = &mut bench;
                let (words, mut memory) = (arena.words(), Memory { arena, slab });
                let hash = hash_of(words, id);
                assert!(writer.remove(words, &mut memory, hash, id, |id| hash_of(words, id)));
                assert!(!writer.remove(words, &mut memory, hash, id, |id| hash_of(words, id)));
                assert!(!found(table, words, id));
            }
            let words = bench.arena.words();
            assert!(third == 0 || held.iter().step_by(3).all(|&id| found(table, words, id)));
        }
        held.iter().for_each(|&id| bench.free(id));
        let left = bench.arena.stats().used_bytes - empty;
        assert!(
            left <= 64 * 1024,
            "{left} bytes are left of an empty table, of a directory and of open pages"
        );
    }
}

#[test]
fn without_memory_a_table_fills_up_and_says_so() {
    let mut bench = Bench::new();
    let mut writer = Writer::new(Table::<0>::new(bench.root));
    // All the arena but for the slots.
    let ids: Vec<u32> = (0..2_000).map(|number| bench.slot(hash(number, false))).collect();
    let Bench { arena, slab, .. } = &mut bench;
    let words = arena.words();
    let mut memory = Memory { arena, slab };
    writer.reserve(words, &mut memory, hash_of(words, ids[0]), |id| hash_of(words, id)).unwrap();
    while arena.take(1).is_some() {}
    let mut inserted = Vec::new();
    for &id in &ids {
        let hash = hash_of(words, id);
        if writer.reserve(words, &mut memory, hash, |id| hash_of(words, id)).is_err() {
            break;
        }
        writer.insert(words, hash, id);
        inserted.push(id);
    }
    assert_eq!(inserted.len(), 64 * 12, "one segment, to the last cell");
    assert!(inserted.iter().all(|&id| found(writer.table(), words, id)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    Leave(u16),
    Update(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Join),
        3 => any::<u16>().prop_map(Step::Leave),
        1 => any::<u16>().prop_map(Step::Update),
    ];
    // Many joins first, so that there are long lists to thin out.
    (0..3_000_usize, prop::collection::vec(step, 0..4_000))
        .prop_map(|(joins, steps)| std::iter::repeat_n(Step::Join, joins).chain(steps).collect())
}

fn walked(words: &Words, head: Head, after: u64, most: usize) -> (Walked, Vec<(u32, u64)>) {
    let mut seen: Vec<(u32, u64)> = Vec::new();
    let mut read = 0;
    let end = Walk::<0>::each(
        words,
        head,
        after,
        &mut read,
        |id, _, read| {
            *read = id;
            true
        },
        |read, position| {
            seen.push((*read, position));
            seen.len() < most
        },
    );
    (end, seen)
}

#[test]
fn a_run_has_cells_that_follow_each_other_and_gives_back_what_it_has_left() {
    let mut bench = Bench::new();
    // One page stays open.
    let first = bench.slot(7);
    let before = bench.arena.stats().used_bytes;
    let mut memory = bench.memory();
    let (mut one, mut two) = (Run::default(), Run::default());
    let mut taken = Vec::new();
    for _ in 0..100 {
        for run in [&mut one, &mut two] {
            taken.push(memory.take_next(run, SLOT_WORDS, 10).unwrap());
            assert!(run.left() < 10);
        }
    }
    // Every second one is of one run. A page has room for four of ten and one of two.
    let followed = taken.iter().zip(&taken[2..]).filter(|&(&at, &next)| at + SLOT_WORDS == next).count();
    assert!(followed >= 198 - 30, "{followed} of 198 follow");
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 200, "no cell is taken twice");
    assert!(!taken.contains(&(first as usize * GRANULE_WORDS)));
    // A run that has been begun is used up, and one cell alone is no run.
    for _ in 0..=one.left() {
        taken.push(memory.take_next(&mut one, SLOT_WORDS, 1).unwrap());
    }
    assert_eq!(one.left(), 0);
    memory.end_run(&mut two, SLOT_WORDS);
    assert_eq!(two.left(), 0);
    taken.into_iter().for_each(|at| memory.give(at, SLOT_WORDS));
    assert_eq!(bench.arena.stats().used_bytes, before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_list_has_its_members_in_the_order_in_which_they_came(steps in steps()) {
        let mut bench = Bench::new();
        let record = bench.memory().take(SLOT_WORDS).unwrap();
        let stamp = bench.stamp();
        let mut payload = [0; SLOT_WORDS];
        payload[0] = stamp;
        Slot::<0>::publish(bench.arena.words(), record, &payload);
        let before = bench.arena.stats().used_bytes;
        let head = Head { record, word: 2, stamp };
        let mut list = List::<0>::default();
        let mut members: BTreeMap<u64, u32> = BTreeMap::new();
        let mut next_id = 1;
        for step in steps {
            let pick = |at: u16| members.iter().nth(usize::from(at) % members.len().max(1)).map(|(&p, &id)| (p, id));
            let stamp = bench.stamp();
            let Bench { arena, slab, .. } = &mut bench;
            let (words, mut memory) = (arena.words(), Memory { arena, slab });
            next_id += 1;
            match step {
                Step::Join => {
                    list.reserve(words, &mut memory, head, stamp).unwrap();
                    let position = list.append(words, next_id);
                    members.insert(position, next_id);
                }
                Step::Leave(at) => if let Some((position, _)) = pick(at) {
                    list.remove(words, &mut memory, head, position, || stamp);
                    members.remove(&position);
                },
                Step::Update(at) => if let Some((position, _)) = pick(at) {
                    list.swing(words, position, next_id);
                    members.insert(position, next_id);
                },
            }
        }
        let words = bench.arena.words();
        let expected: Vec<(u32, u64)> = members.iter().map(|(&position, &id)| (id, position)).collect();
        prop_assert_eq!(list.len(), members.len());
        prop_assert_eq!(list.after(words, 0).collect::<Vec<_>>(), expected.clone());
        prop_assert_eq!(walked(words, head, 0, usize::MAX), (Walked::Whole, expected.clone()));
        // In pages of seven.
        let (mut paged, mut after) = (Vec::new(), 0);
        loop {
            let (_, page) = walked(words, head, after, 7);
            let Some(&(_, last)) = page.last() else { break };
            after = last;
            paged.extend(page);
        }
        prop_assert_eq!(paged, expected);
        list.free(bench.arena.words(), &mut Memory { arena: &bench.arena, slab: &mut bench.slab });
        // One page of each size stays open.
        prop_assert!(bench.arena.stats().used_bytes <= before + 8 * 4096);
    }

    #[test]
    fn a_group_has_what_was_put_in_and_not_taken_out(picks in prop::collection::vec(any::<(bool, u8)>(), 0..400)) {
        let mut bench = Bench::new();
        let [first, second] = [(); 2].map(|()| bench.slot(7));
        let slots: Vec<u32> = picks.iter().map(|_| bench.slot(7)).collect();
        let stamp = bench.stamp();
        let Bench { arena, slab, .. } = &mut bench;
        let (words, mut memory) = (arena.words(), Memory { arena, slab });
        let mut held = BTreeSet::from([first, second]);
        let mut group = Group::<0>::make(words, &mut memory, 7, &[first, second], stamp).unwrap();
        for (number, (join, pick)) in slots.into_iter().zip(picks) {
            if join {
                held.insert(number);
                if !group.push(words, number) {
                    let all: Vec<u32> = group.numbers(words).chain([number]).collect();
                    let larger = Group::make(words, &mut memory, 7, &all, stamp + 2 * u64::from(number)).unwrap();
                    group.free(words, &mut memory);
                    group = larger;
                }
            } else if let Some(&left) = held.iter().nth(usize::from(pick) % held.len().max(1)) {
                group.remove(words, left);
                held.remove(&left);
            }
        }
        let mut seen = BTreeSet::new();
        let life = |id: u32| words.word(id as usize * GRANULE_WORDS).load(crate::sync::Ordering::Relaxed);
        let whole = group.each(words, || true, |id| Verdict::Hit(id, life(id)), |id| {
            seen.insert(id);
        });
        prop_assert!(whole.is_some());
        prop_assert_eq!(&seen, &held);
        prop_assert_eq!(group.numbers(words).collect::<BTreeSet<_>>(), held);
    }
}
