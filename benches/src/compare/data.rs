//! The rows that all contestants get, in the same order.

use crate::peers::{FlatKey, Meta};
use crate::{Row, SESSION_ENTRIES, Shape, mix, shuffle_seeded};

/// A row ready for everybody: nobody joins or splits its key in the timed part. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Item {
    pub(crate) key: FlatKey,
    pub(crate) meta: Meta,
    /// The number of the session that tracks it.
    pub(crate) session: u32,
}

const _: () = assert!(size_of::<Item>() == 64);

impl Item {
    pub(crate) fn new(row: &Row, index: usize) -> Self {
        let session = u32::try_from(index / SESSION_ENTRIES).unwrap_or(u32::MAX);
        Self { key: row.flat_key(), meta: row.meta, session }
    }

    pub(crate) fn topic(&self) -> &[u8] {
        &self.key[..12]
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.key[12..]
    }

    pub(crate) fn row(&self) -> Row {
        let mut row = Row { topic: [0; 12], key: [0; 16], meta: self.meta };
        row.topic.copy_from_slice(self.topic());
        row.key.copy_from_slice(self.name());
        row
    }
}

/// Residents, and others that come and go.
#[derive(Debug)]
pub(crate) struct Data {
    /// The residents in the order in which they join: session by session.
    pub(crate) load: Vec<Item>,
    /// The residents in another order.
    pub(crate) random: Vec<Item>,
    /// Rows that are not resident, session by session, the first session being 0 again.
    pub(crate) fresh: Vec<Item>,
    /// The same in another order.
    pub(crate) fresh_random: Vec<Item>,
    seed: u64,
}

impl Data {
    pub(crate) fn new(shape: Shape, fresh: usize, seed: u64) -> Self {
        let load = items((0..shape.entries).map(|index| shape.row(index)).collect(), seed);
        let fresh =
            items((shape.entries..shape.entries + fresh).map(|index| shape.row(index)).collect(), seed);
        let shuffled = |items: &[Item]| {
            let mut items = items.to_vec();
            shuffle_seeded(&mut items, !seed);
            items
        };
        Self { random: shuffled(&load), fresh_random: shuffled(&fresh), load, fresh, seed }
    }

    /// So many residents (or all), others for each `turn`, the same for everybody.
    pub(crate) fn residents(&self, turn: u64, count: usize) -> &[Item] {
        let count = count.min(self.random.len());
        let starts = (self.random.len() - count + 1) as u64;
        let start = usize::try_from(mix(self.seed ^ mix(turn)) % starts).unwrap_or(0);
        &self.random[start..start + count]
    }

    /// The residents of each of so many threads: no session is on two of them.
    pub(crate) fn by_thread(&self, threads: usize) -> Vec<Vec<Item>> {
        let mine = |thread: usize| {
            let items = self.random.iter().filter(|item| item.session as usize % threads == thread);
            items.copied().collect::<Vec<_>>()
        };
        // With few entries there may be fewer sessions than threads.
        (0..threads).map(mine).filter(|items| !items.is_empty()).collect()
    }
}

fn items(mut rows: Vec<Row>, seed: u64) -> Vec<Item> {
    shuffle_seeded(&mut rows, seed);
    rows.iter().enumerate().map(|(index, row)| Item::new(row, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SHAPE: Shape = Shape { entries: 5_000, topic_members: 1_000 };

    #[test]
    fn the_same_seed_gives_the_same_keys_in_the_same_order_and_another_seed_another_order() {
        let keys = |seed| Data::new(SHAPE, 500, seed).random.iter().map(|item| item.key).collect::<Vec<_>>();
        assert_eq!(keys(1), keys(1));
        let (mut a, mut b) = (keys(1), keys(2));
        assert_ne!(a, b);
        a.sort_unstable();
        b.sort_unstable();
        assert_eq!(a, b);
    }

    #[test]
    fn fresh_rows_are_not_resident_and_sessions_are_full() {
        let data = Data::new(SHAPE, 500, 1);
        let resident: HashSet<_> = data.random.iter().map(|item| item.key).collect();
        assert_eq!(resident.len(), 5_000);
        assert!(data.fresh.iter().all(|item| !resident.contains(&item.key)));
        let last = data.load.iter().filter(|item| item.session == 49).count();
        assert_eq!((last, data.load[4_999].session), (SESSION_ENTRIES, 49));
    }

    #[test]
    fn threads_share_no_session_and_leave_none_out() {
        let data = Data::new(SHAPE, 0, 1);
        let threads = data.by_thread(3);
        assert_eq!(threads.iter().map(Vec::len).sum::<usize>(), 5_000);
        let sessions = |items: &[Item]| items.iter().map(|item| item.session).collect::<HashSet<_>>();
        assert!(sessions(&threads[0]).is_disjoint(&sessions(&threads[1])));
        assert_eq!(Data::new(Shape { entries: 10, ..SHAPE }, 0, 1).by_thread(6).len(), 1);
    }

    #[test]
    fn a_turn_takes_the_same_residents_each_time() {
        let data = Data::new(SHAPE, 0, 1);
        let keys = |turn| data.residents(turn, 100).iter().map(|item| item.key).collect::<Vec<_>>();
        assert_eq!(keys(3), keys(3));
        assert_ne!(keys(3), keys(4));
        assert_eq!(data.residents(1, 1 << 20).len(), 5_000);
    }
}
