//! Entries per origin, so that hiding an origin keeps counts exact.

use crate::entry::OriginIx;

/// How many entries each origin has. Few origins: a search beats a map.
#[derive(Debug, Default)]
pub(super) struct OriginCounts(Vec<(OriginIx, usize)>);

impl OriginCounts {
    pub(super) fn of(&self, origin: OriginIx) -> usize {
        self.0.iter().find(|(of, _)| *of == origin).map_or(0, |(_, count)| *count)
    }

    pub(super) fn add(&mut self, origin: OriginIx) {
        match self.0.iter_mut().find(|(of, _)| *of == origin) {
            Some((_, count)) => *count += 1,
            None => self.0.push((origin, 1)),
        }
    }

    pub(super) fn remove(&mut self, origin: OriginIx) {
        if let Some(at) = self.0.iter().position(|(of, _)| *of == origin) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }
}
