//! What the kernel says of this process.

use super::plan::CompareError;
use super::report::HugePages;
use std::fs;

const ROLLUP: &str = "/proc/self/smaps_rollup";

/// The variable in which glibc's `malloc` is asked for huge pages.
pub(crate) const TUNABLES: &str = "GLIBC_TUNABLES";
pub(crate) const ASK_FOR_HUGE: &str = "glibc.malloc.hugetlb=1";

/// Huge pages of this process.
pub(crate) fn huge_pages() -> HugePages {
    let (huge, rss) = (rollup_kib("AnonHugePages"), rollup_kib("Rss"));
    let malloc_asks = std::env::var(TUNABLES).is_ok_and(|tunables| tunables.contains(ASK_FOR_HUGE));
    let anon_huge_kib = huge.unwrap_or(0);
    HugePages {
        malloc_asks,
        in_effect: malloc_asks && anon_huge_kib > 0,
        anon_huge_kib,
        rss_kib: rss.unwrap_or(0),
    }
}

/// What this process has resident. Not from `statm`, whose sums the kernel keeps per core and lets be off by some pages
/// for each.
pub(crate) fn rss_kib() -> Result<u64, CompareError> {
    rollup_kib("Rss").ok_or(CompareError::Proc { path: ROLLUP, what: "how much is resident" })
}

fn rollup_kib(field: &str) -> Option<u64> {
    let rollup = fs::read_to_string(ROLLUP).ok()?;
    let value = rollup.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}
