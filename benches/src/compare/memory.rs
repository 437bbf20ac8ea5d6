//! What an entry takes, each contestant in a process of its own: what one has given back to `malloc` is then not the
//! next one's, and huge pages are nobody else's.

use super::child;
use super::data::Item;
use super::machine::rss_kib;
use super::plan::{CompareError, ORSWOT, Plan, progress};
use super::report::{Memory, MemoryFigure};
use super::stats::{OURS, best_peer, ratio};
use super::store::Store;
use crate::{SESSION_ENTRIES, Shape};

/// Measures all who take part.
pub(crate) fn measure(plan: &Plan) -> Result<Memory, CompareError> {
    let mut memory = Memory::default();
    let orswot = plan.orswot.then_some(ORSWOT);
    for entrant in plan.entrants.iter().copied().chain(orswot) {
        progress(&format!("memory of {}", entrant.name));
        let figure = child::run(plan, &format!("memory:{}", entrant.name))?;
        memory.contestants.insert(entrant.name.to_owned(), figure);
    }
    let bytes = memory.contestants.iter().map(|(name, figure)| (name.as_str(), figure.bytes_per_entry));
    if let Some((best, bytes)) = best_peer(bytes) {
        let ours = memory.contestants.get(OURS).map(|figure| figure.bytes_per_entry);
        memory.ratio_to_best_peer = ours.and_then(|ours| ratio(ours, bytes));
        memory.best_peer = Some(best.to_owned());
    }
    Ok(memory)
}

/// Measures one, in this process. The rows are made one by one, so that they take nothing.
pub(crate) fn of<S: Store>(shape: Shape) -> Result<MemoryFigure, CompareError> {
    let items = || (0..shape.entries).map(|index| Item::new(&shape.row(index), index));
    // Whatever the first entry brings, a thread-local or a page of `malloc`, is not the entries'.
    let warm = S::empty(1);
    items().take(1).for_each(|item| warm.join_resident(&item));
    drop(warm);
    let before = rss_kib()?;
    let mut store = S::empty(shape.entries.div_ceil(SESSION_ENTRIES));
    items().for_each(|item| store.join_resident(&item));
    let full = rss_kib()?;
    store.end_residents(items());
    let after = rss_kib()?;
    let per_entry = |rss: u64| rss.saturating_sub(before) as f64 * 1024.0 / shape.entries as f64;
    let (bytes_per_entry, memory_after_leave) = (per_entry(full), per_entry(after));
    Ok(MemoryFigure {
        bytes_per_entry,
        rss_before_kib: before,
        rss_full_kib: full,
        rss_after_leave_kib: after,
        memory_after_leave,
        given_back: (1.0 - ratio(memory_after_leave, bytes_per_entry).unwrap_or(0.0)).max(0.0),
    })
}
