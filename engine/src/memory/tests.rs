//! The arena against a naive model, and against the system's own account of what is resident.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

fn refuse_keeper(_: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Waits until the arena is as it should be.
fn await_state(arena: &Arena, reached: impl Fn(&State) -> bool) {
    let deadline = Instant::now() + LONG;
    let mut state = arena.shared.state.lock();
    while !reached(&state) {
        let late = crate::sync::wait_until(&arena.shared.settled, &mut state, deadline);
        assert!(!late, "the arena settles");
    }
}

/// Writes to every page of a run.
fn touch(arena: &Arena, page: u32, pages: usize) {
    for page in page as usize..page as usize + pages {
        arena.words().word(page * PAGE_WORDS + 7).store(1, Ordering::Relaxed);
    }
}

/// How many pages of a unit are resident.
#[cfg(target_os = "linux")]
fn resident(arena: &Arena, unit: usize) -> usize {
    use std::os::unix::fs::FileExt;
    let first: *const _ = arena.words().word(unit * UNIT_PAGES * PAGE_WORDS);
    let mut entries = [0; UNIT_PAGES * 8];
    let map = std::fs::File::open("/proc/self/pagemap").expect("Linux shows a process its own pages");
    map.read_exact_at(&mut entries, first as u64 / 4096 * 8).expect("the unit is mapped");
    let (entries, _) = entries.as_chunks::<8>();
    entries.iter().filter(|&&entry| u64::from_ne_bytes(entry) >> 63 == 1).count()
}

#[cfg(target_os = "linux")]
fn resident_bytes_of_process() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says what is resident");
    let pages: usize =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field");
    pages * 4096
}

/// What an arena should do, page by page.
struct Naive {
    taken: Vec<bool>,
    runs: Vec<(u32, usize)>,
}

impl Naive {
    fn new(units: usize) -> Self {
        let mut taken = vec![false; units * UNIT_PAGES];
        taken[0] = true;
        Self { taken, runs: Vec::new() }
    }

    fn has_room(&self, pages: usize) -> bool {
        let mut units = self.taken.chunks(UNIT_PAGES);
        units.any(|unit| unit.split(|&taken| taken).any(|free| free.len() >= pages))
    }

    fn take(&mut self, page: u32, pages: usize) {
        let first = page as usize;
        assert_eq!(first / UNIT_PAGES, (first + pages - 1) / UNIT_PAGES, "a run lies within a unit");
        assert!(self.taken[first..first + pages].iter().all(|&taken| !taken), "no page is taken twice");
        self.taken[first..first + pages].fill(true);
        self.runs.push((page, pages));
    }

    fn used_bytes(&self) -> usize {
        self.runs.iter().map(|&(_, pages)| pages).sum::<usize>() * PAGE_BYTES
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Give(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pages = prop_oneof![4 => Just(1), 4 => 1..=16_usize, 2 => 1..=UNIT_PAGES, 1 => Just(UNIT_PAGES)];
    let step = prop_oneof![3 => pages.prop_map(Step::Take), 2 => any::<usize>().prop_map(Step::Give)];
    prop::collection::vec(step, 1..200)
}

fn follow(arena: &Arena, units: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut naive = Naive::new(units);
    for step in steps {
        match step {
            Step::Take(pages) => match arena.take(pages) {
                Some(page) => {
                    naive.take(page, pages);
                    touch(arena, page, pages);
                }
                None => prop_assert!(!naive.has_room(pages), "none only at the limit"),
            },
            Step::Give(at) if !naive.runs.is_empty() => {
                let (page, pages) = naive.runs.swap_remove(at % naive.runs.len());
                naive.taken[page as usize..page as usize + pages].fill(false);
                for page in page as usize..page as usize + pages {
                    let word = arena.words().word(page * PAGE_WORDS + 7);
                    prop_assert_eq!(word.load(Ordering::Relaxed), 1, "what is written stays");
                }
                arena.give(page, pages);
            }
            Step::Give(_) => {}
        }
        prop_assert_eq!(arena.stats().used_bytes, naive.used_bytes());
    }
    for (page, pages) in naive.runs {
        arena.give(page, pages);
    }
    prop_assert_eq!(arena.stats().used_bytes, 0);
    await_state(arena, |state| !state.pages.has_job() && state.pages.in_transit() == 0);
    prop_assert!(arena.stats().held_bytes <= UNIT_BYTES, "one free unit is kept");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn runs_do_not_overlap_and_none_means_that_nothing_fits(steps in steps()) {
        follow(&Arena::new(8 << 20), 4, steps)?;
    }

    #[test]
    fn so_it_is_without_a_keeper(steps in steps()) {
        follow(&Arena::with(8 << 20, map::reserve, refuse_keeper), 4, steps)?;
    }

    #[test]
    fn bitmaps_find_the_first_and_the_longest_run(pattern in prop::collection::vec(1..90_usize, 1..30), len in 1..=UNIT_PAGES) {
        let mut bitmap = runs::Bitmap::FREE;
        let mut naive = [false; UNIT_PAGES];
        let mut at = 0;
        for (index, run) in pattern.into_iter().enumerate() {
            let run = run.min(UNIT_PAGES - at);
            if index % 2 == 1 && run > 0 {
                bitmap.mark(at, run, true);
                naive[at..at + run].fill(true);
            }
            at += run;
        }
        let longest = naive.split(|&taken| taken).map(<[bool]>::len).max().unwrap_or(0);
        prop_assert_eq!(bitmap.longest(), longest);
        let first = (0..=UNIT_PAGES - len).find(|&at| naive[at..at + len].iter().all(|&taken| !taken));
        prop_assert_eq!(bitmap.find(len), first);
    }

    #[test]
    fn the_lowest_unit_with_room_is_found(units in 1..70_usize, sets in prop::collection::vec((any::<usize>(), 0..=512_usize), 0..100), len in 1..=512_usize) {
        let mut tree = runs::RunTree::new(units);
        let mut naive = vec![0; units];
        for (unit, longest) in sets {
            tree.set(unit % units, longest);
            naive[unit % units] = longest;
        }
        prop_assert_eq!(tree.longest(), naive.iter().copied().max().unwrap_or(0));
        prop_assert_eq!(tree.lowest_with(len), naive.iter().position(|&longest| longest >= len));
    }
}

#[test]
fn any_index_is_a_word_and_page_0_is_nobodys() {
    let arena = Arena::new(0);
    assert_eq!(arena.stats().reserved_bytes, 4 << 20, "the least");
    let capacity = arena.words().capacity();
    assert!(std::ptr::eq(arena.words().word(3), arena.words().word(capacity + 3)));
    arena.words().word(usize::MAX).store(5, Ordering::Relaxed);
    assert_eq!(arena.words().word(capacity - 1).load(Ordering::Relaxed), 5);
    arena.words().prefetch(usize::MAX);
    let taken: Vec<u32> = std::iter::from_fn(|| arena.take(1)).collect();
    assert_eq!(taken, Vec::from_iter(1..1024), "first fit, and all of it");
}

#[test]
fn what_is_reserved_is_a_power_of_two_and_what_is_used_stays_below_the_limit() {
    let arena = Arena::new(11 << 20);
    assert_eq!(arena.stats().reserved_bytes, 16 << 20);
    let taken = std::iter::from_fn(|| arena.take(UNIT_PAGES)).count();
    assert_eq!(taken, 4, "five units, of which the first lacks page 0");
}

#[test]
fn a_smaller_reservation_does_when_the_system_refuses() {
    let reserve: map::Reserve =
        |bytes| if bytes > 40 << 20 { Err(io::ErrorKind::OutOfMemory.into()) } else { map::reserve(bytes) };
    let arena = Arena::with(1 << 40, reserve, keeper::spawn);
    assert_eq!(arena.stats().reserved_bytes, 32 << 20);
    assert_eq!(std::iter::from_fn(|| arena.take(256)).count(), 31);
}

#[test]
fn the_heap_does_when_nothing_can_be_reserved() {
    let arena = Arena::with(1 << 30, |_| Err(io::ErrorKind::OutOfMemory.into()), keeper::spawn);
    assert_eq!(arena.stats(), MemoryStats { reserved_bytes: 4 << 20, ..MemoryStats::default() });
    for _ in 0..3 {
        let runs: Vec<u32> = std::iter::from_fn(|| arena.take(256)).collect();
        assert_eq!(runs.len(), 3);
        for page in runs {
            touch(&arena, page, 256);
            arena.give(page, 256);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_small_arena_costs_what_it_touches_and_has_no_keeper() {
    let arena = Arena::new(1 << 30);
    let page = arena.take(100).expect("room");
    touch(&arena, page, 100);
    assert_eq!(resident(&arena, 0), 100);
    assert_eq!(arena.shared.state.lock().keeper, Keeper::Unneeded);
}

#[cfg(target_os = "linux")]
#[test]
fn the_keeper_touches_the_next_unit_before_it_is_needed() {
    let arena = Arena::new(1 << 30);
    assert_eq!(resident(&arena, 1), 0);
    arena.take(400).expect("room");
    await_state(&arena, |state| state.done == 1);
    assert_eq!(resident(&arena, 1), UNIT_PAGES);
    assert_eq!(arena.stats().held_bytes, 2 * UNIT_BYTES);

    arena.take(200).expect("room");
    assert_eq!(arena.shared.state.lock().done, 1, "half a unit and more is ready");
    arena.take(150).expect("room");
    await_state(&arena, |state| state.done == 2);
    assert_eq!((resident(&arena, 2), resident(&arena, 3)), (UNIT_PAGES, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn free_units_are_given_back_but_one() {
    const UNITS: usize = 64;
    let arena = Arena::new(1 << 30);
    let before = resident_bytes_of_process();
    let mut runs = Vec::new();
    while runs.len() < 2 * UNITS {
        let page = arena.take(256).expect("room");
        touch(&arena, page, 256);
        runs.push(page);
    }
    let full = resident_bytes_of_process();
    assert!(full >= before + UNITS * UNIT_BYTES * 3 / 4, "{before} → {full}");
    for page in runs {
        arena.give(page, 256);
    }
    await_state(&arena, |state| !state.pages.has_job() && state.pages.in_transit() == 0);
    let stats = arena.stats();
    assert_eq!((stats.used_bytes, stats.held_bytes), (0, UNIT_BYTES));
    assert!(stats.returned_total as usize >= UNITS - 2);
    let left: usize = (1..=UNITS + 1).map(|unit| resident(&arena, unit)).sum();
    assert!(left <= UNIT_PAGES, "{left} pages are left");
    let after = resident_bytes_of_process();
    assert!(after <= full - UNITS * UNIT_BYTES / 2, "{full} → {after}");
}

#[cfg(target_os = "linux")]
#[test]
fn who_frees_a_unit_gives_it_back_where_there_is_no_keeper() {
    let arena = Arena::with(1 << 30, map::reserve, refuse_keeper);
    let runs: Vec<u32> = (0..5).map(|_| arena.take(UNIT_PAGES).expect("room")).collect();
    for &page in &runs {
        touch(&arena, page, UNIT_PAGES);
    }
    for &page in &runs {
        arena.give(page, UNIT_PAGES);
    }
    assert_eq!(arena.stats().returned_total, 4);
    assert_eq!((1..6).map(|unit| resident(&arena, unit)).sum::<usize>(), UNIT_PAGES);
}

#[test]
fn a_unit_that_comes_and_goes_is_kept() {
    let arena = Arena::new(1 << 30);
    let first = arena.take(511).expect("room");
    await_state(&arena, |state| state.done == 1);
    for _ in 0..1000 {
        let page = arena.take(200).expect("room");
        arena.give(page, 200);
    }
    arena.give(first, 511);
    assert_eq!(arena.shared.state.lock().done, 1, "nothing was touched or given back");
}

#[test]
fn the_keeper_ends_with_the_arena() {
    let arena = Arena::new(1 << 30);
    let shared = Arc::downgrade(&arena.shared);
    while arena.take(UNIT_PAGES).is_some() {}
    assert!(arena.thread.lock().is_some());
    drop(arena);
    assert!(shared.upgrade().is_none(), "it is gone, and what it held");
}

#[test]
fn threads_share_an_arena_that_is_nearly_full() {
    let arena = Arena::new(16 << 20);
    std::thread::scope(|scope| {
        for mark in 1..=4_u64 {
            let arena = &arena;
            scope.spawn(move || {
                for round in 0..200 {
                    let pages = [512, 384, 100][round % 3];
                    let runs: Vec<u32> = (0..2).filter_map(|_| arena.take(pages)).collect();
                    let words = |page: u32| (0..pages).map(move |at| (page as usize + at) * PAGE_WORDS);
                    for &page in &runs {
                        words(page).for_each(|at| arena.words().word(at).store(mark, Ordering::Relaxed));
                    }
                    for &page in &runs {
                        let mine = |at| arena.words().word(at).load(Ordering::Relaxed) == mark;
                        assert!(words(page).all(mine), "nobody else writes here, and nothing is lost");
                        arena.give(page, pages);
                    }
                }
            });
        }
    });
    assert_eq!(arena.stats().used_bytes, 0);
}
