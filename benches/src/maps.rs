//! Every flat map with the same rows, each filled when a benchmark first needs it.

use crate::Shape;
use crate::peers::{DashFlat, FlatMap, LockedFlat, MutexFlat, PapayaFlat, SccFlat};
use std::cell::LazyCell;
use std::fmt;

/// Filled by the first benchmark that runs, so that a filter does not pay for what it leaves out.
pub type Lazy<T> = LazyCell<T, Box<dyn FnOnce() -> T>>;

/// Every [`FlatMap`].
pub struct FlatMaps {
    /// Locks in shards.
    pub locked: Lazy<LockedFlat>,
    /// `DashMap`.
    pub dash: Lazy<DashFlat>,
    /// `papaya`.
    pub papaya: Lazy<PapayaFlat>,
    /// `scc`.
    pub scc: Lazy<SccFlat>,
    /// One lock.
    pub mutex: Lazy<MutexFlat>,
}

impl FlatMaps {
    /// Maps of the rows of a shape.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        fn of<M: FlatMap>(shape: Shape) -> Lazy<M> {
            LazyCell::new(Box::new(move || M::of(&shape.resident())))
        }
        Self { locked: of(shape), dash: of(shape), papaya: of(shape), scc: of(shape), mutex: of(shape) }
    }
}

impl fmt::Debug for FlatMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatMaps").finish_non_exhaustive()
    }
}

/// Runs an expression for each of the [`FlatMaps`], whose types differ: `for_each_map!(maps, map => measure(map))`.
#[macro_export]
macro_rules! for_each_map {
    ($maps:expr, $map:ident => $body:expr) => {{
        let maps: &$crate::FlatMaps = $maps;
        $crate::for_each_map!(@each maps, $map => $body, locked dash papaya scc mutex);
    }};
    (@each $maps:ident, $map:ident => $body:expr, $($field:ident)+) => {
        $({
            let $map = &$maps.$field;
            $body;
        })+
    };
}
