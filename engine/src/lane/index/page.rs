//! A page of a dot index: the slots of 1,024 consecutive clocks.

use crate::memory::prefetch;

/// Clocks of a page.
pub(super) const PAGE_CLOCKS: u64 = CLOCKS as u64;
const CLOCKS: usize = 1024;

/// A list that would become longer than this becomes an array. They are equally large at half of a page.
const LIST_MAX: usize = 384;
/// An array with fewer than this becomes a list; well below [`LIST_MAX`], so that a page which hovers about either stays what it is.
const ARRAY_MIN: usize = 256;
/// As many are kept in the page itself.
const FEW: usize = 2;

const _: () = assert!(size_of::<Page>() == 16);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dot {
    at: u16,
    slot: u32,
}

#[derive(Debug)]
pub(super) struct Array {
    len: usize,
    /// 0 where there is none.
    slots: [u32; CLOCKS],
}

#[derive(Debug)]
pub(super) enum Page {
    /// The first `len` of them, in any order.
    Few {
        len: u8,
        at: [u16; FEW],
        slot: [u32; FEW],
    },
    /// Ascending. Boxed, so that the many pages with few entries are small.
    #[expect(clippy::box_collection, reason = "a vector is three words, and a page has room for one")]
    List(Box<Vec<Dot>>),
    Array(Box<Array>),
}

impl Default for Page {
    fn default() -> Self {
        Self::Few { len: 0, at: [0; FEW], slot: [0; FEW] }
    }
}

impl Page {
    pub(super) fn is_empty(&self) -> bool {
        // A list or array becomes something smaller long before it is empty.
        matches!(self, Self::Few { len: 0, .. })
    }

    pub(super) fn get(&self, clock: usize) -> Option<u32> {
        match self {
            Self::Few { len, at, slot } => {
                let found = at[..usize::from(*len)].iter().position(|&at| usize::from(at) == clock)?;
                Some(slot[found])
            }
            Self::List(dots) => seek(dots, clock).ok().map(|found| dots[found].slot),
            Self::Array(array) => Some(array.slots[clock]).filter(|&slot| slot != 0),
        }
    }

    /// Asks for the line that a removal will change.
    #[inline]
    pub(super) fn prefetch(&self, clock: usize) {
        match self {
            Self::Few { .. } => {}
            // The middle, where a search begins.
            Self::List(dots) => {
                if let Some(dot) = dots.get(dots.len() / 2) {
                    prefetch(dot);
                }
            }
            Self::Array(array) => prefetch(&array.slots[clock]),
        }
    }

    pub(super) fn insert(&mut self, clock: usize, new: u32) -> Option<u32> {
        match self {
            Self::Few { len, at, slot } => {
                let count = usize::from(*len);
                if let Some(found) = at[..count].iter().position(|&at| usize::from(at) == clock) {
                    return Some(std::mem::replace(&mut slot[found], new));
                }
                if count < FEW {
                    (at[count], slot[count]) = (clock as u16, new);
                    *len += 1;
                    return None;
                }
                let mut dots: Vec<Dot> = Vec::with_capacity(2 * FEW);
                dots.extend(at.iter().zip(&*slot).map(|(&at, &slot)| Dot { at, slot }));
                dots.push(Dot { at: clock as u16, slot: new });
                dots.sort_unstable_by_key(|dot| dot.at);
                *self = Self::List(Box::new(dots));
                None
            }
            Self::List(dots) => {
                let place = match seek(dots, clock) {
                    Ok(found) => return Some(std::mem::replace(&mut dots[found].slot, new)),
                    Err(place) => place,
                };
                if dots.len() == LIST_MAX {
                    let mut array = Box::new(Array { len: dots.len() + 1, slots: [0; CLOCKS] });
                    dots.iter().for_each(|dot| array.slots[usize::from(dot.at)] = dot.slot);
                    array.slots[clock] = new;
                    *self = Self::Array(array);
                    return None;
                }
                if dots.len() == dots.capacity() {
                    dots.reserve_exact(dots.len() / 2);
                }
                dots.insert(place, Dot { at: clock as u16, slot: new });
                None
            }
            Self::Array(array) => {
                let old = std::mem::replace(&mut array.slots[clock], new);
                array.len += usize::from(old == 0);
                Some(old).filter(|&old| old != 0)
            }
        }
    }

    pub(super) fn remove(&mut self, clock: usize) -> Option<u32> {
        match self {
            Self::Few { len, at, slot } => {
                let found = at[..usize::from(*len)].iter().position(|&at| usize::from(at) == clock)?;
                let old = slot[found];
                let last = usize::from(*len) - 1;
                (at[found], slot[found]) = (at[last], slot[last]);
                *len -= 1;
                Some(old)
            }
            Self::List(dots) => {
                let old = dots.remove(seek(dots, clock).ok()?).slot;
                if let &[low, high] = &dots[..] {
                    // It may be a list again at once; a short list costs no more than the allocation.
                    *self = Self::Few { len: 2, at: [low.at, high.at], slot: [low.slot, high.slot] };
                } else if dots.len() < dots.capacity() / 2 {
                    dots.shrink_to(dots.len() * 5 / 4);
                }
                Some(old)
            }
            Self::Array(array) => {
                let old = std::mem::take(&mut array.slots[clock]);
                if old == 0 {
                    return None;
                }
                array.len -= 1;
                if array.len < ARRAY_MIN {
                    let mut dots = Vec::with_capacity(array.len);
                    dots.extend(array.range(0, CLOCKS - 1).map(|(at, slot)| Dot { at: at as u16, slot }));
                    *self = Self::List(Box::new(dots));
                }
                Some(old)
            }
        }
    }

    /// Places and slots from `from` to `to`, both included, ascending.
    pub(super) fn range(&self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = (usize, u32)> + '_ {
        let mut few = [None; FEW];
        let (mut dots, mut array): (&[Dot], _) = (&[], None);
        match self {
            Self::Few { len, at, slot } => {
                for found in 0..usize::from(*len) {
                    few[found] = Some((usize::from(at[found]), slot[found]));
                }
                few.sort_unstable();
            }
            Self::List(list) => {
                let begin = list.partition_point(|dot| usize::from(dot.at) < from);
                let end = list.partition_point(|dot| usize::from(dot.at) <= to);
                dots = &list[begin..end.max(begin)];
            }
            Self::Array(all) => array = Some(all.range(from, to)),
        }
        let few = few.into_iter().flatten().filter(move |(at, _)| (from..=to).contains(at));
        let dots = dots.iter().map(|dot| (usize::from(dot.at), dot.slot));
        few.chain(dots).chain(array.into_iter().flatten())
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Few { .. } => 0,
            Self::List(dots) => size_of::<Vec<Dot>>() + dots.capacity() * size_of::<Dot>(),
            Self::Array(_) => size_of::<Array>(),
        }
    }
}

impl Array {
    fn range(&self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = (usize, u32)> + '_ {
        let slots = self.slots[from..=to].iter().enumerate();
        slots.filter(|&(_, &slot)| slot != 0).map(move |(at, &slot)| (from + at, slot))
    }
}

/// Where that place is, or would be.
fn seek(dots: &[Dot], clock: usize) -> Result<usize, usize> {
    dots.binary_search_by_key(&clock, |dot| usize::from(dot.at))
}
