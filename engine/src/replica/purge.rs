//! What can wait: taking out, in slices, the entries of lives that are over.

use super::Replica;
use super::apply::Cursor;
use crate::shard::Wakes;
use crate::sync::{Arc, Ordering};

impl Replica {
    /// Purges at most about `entries_max` entries of lives that are over. They are not to be seen any more; this gives
    /// their memory back. Returns whether more is left.
    pub fn maintain(&self, entries_max: usize) -> bool {
        self.inner().waking(|wakes| self.purge(entries_max, wakes))
    }

    fn purge(&self, entries_max: usize, wakes: &mut Wakes) -> bool {
        let _turn = self.inner().origins.turn();
        self.purge_in_turn(entries_max, wakes)
    }

    /// Purges every life that is over. The caller has the turn.
    pub(super) fn purge_all(&self, wakes: &mut Wakes) {
        self.purge_in_turn(usize::MAX, wakes);
    }

    fn purge_in_turn(&self, entries_max: usize, wakes: &mut Wakes) -> bool {
        let inner = self.inner();
        let mut left = entries_max;
        loop {
            let Some(origin) = inner.origins.table().retired.front().cloned() else {
                return false;
            };
            for lane in &origin.lanes {
                let mut lane = lane.lock();
                let mut cursor = Cursor::new(inner, wakes);
                while left > 0
                    && let Some((dot, slot)) = lane.last()
                {
                    let (held, _) = cursor.remove(slot);
                    lane.remove(dot, held.birth());
                    // Relaxed: a count for show and for a limit that is checked under the lane's lock.
                    origin.entries.fetch_sub(1, Ordering::Relaxed);
                    left -= 1;
                }
                if lane.len() > 0 {
                    return true;
                }
            }
            // Slots that are kept for somebody who reads them still say whose they are.
            if inner.shards.iter().any(|shard| shard.lock().store.keeps_any()) {
                return true;
            }
            for shard in &inner.shards {
                shard.lock().forget_silent(origin.index);
            }
            inner.commons.hide(origin.index, false);
            let mut table = inner.origins.table();
            table.retired.retain(|other| !Arc::ptr_eq(other, &origin));
            table.free.push(origin.index);
        }
    }
}
