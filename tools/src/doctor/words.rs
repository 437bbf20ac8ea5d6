//! Times, sizes and lists as people read them.

use crate::inspect::words;
use crate::number::{counted, grouped};
use std::time::Duration;

/// Names that are told; of more than that it is told how many.
const NAMED: usize = 4;

/// How long something lasts or is ago.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.as_millis() == 0 => format!("{} µs", span.as_micros()),
        0 => format!("{} ms", span.as_millis()),
        1..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Nanoseconds.
pub(super) fn nanos(nanos: u64) -> String {
    span(Duration::from_nanos(nanos))
}

pub(super) fn bytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        MIB.. => format!("{} MiB", grouped(bytes / MIB)),
        _ => format!("{} bytes", grouped(bytes)),
    }
}

/// `1 peer`, `2 peers`.
pub(super) fn count(count: u64, one: &str) -> String {
    counted(count, one, &format!("{one}s"))
}

/// `web-2, web-3 and 5 more`.
pub(super) fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let all: Vec<S> = names.into_iter().collect();
    let named: Vec<String> = all.iter().take(NAMED).map(|name| plain(name.as_ref())).collect();
    match all.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", named.join(", ")),
        _ => named.join(", "),
    }
}

/// Without what a terminal would obey: names are others' texts.
pub(super) fn plain(text: &str) -> String {
    words::plain(text, usize::MAX)
}

/// A part of a whole, in percent.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_lists_are_short() {
        let spans = [5_000, 250_000_000, 4_200_000_000, 61_000_000_000, 240_000_000_000].map(nanos);
        assert_eq!(spans, ["5 µs", "250 ms", "4.2 s", "61 s", "4 min"]);
        assert_eq!([212_992, 8 << 20].map(bytes), ["212,992 bytes", "8 MiB"]);
        assert_eq!((count(1, "peer"), count(0, "peer")), ("1 peer".into(), "0 peers".into()));
        assert_eq!(list(["a", "b"]), "a, b");
        assert_eq!(list(["a", "b", "c", "d", "e\x1b", "f"]), "a, b, c, d and 2 more");
        assert_eq!(plain("e\x1b"), "e\u{fffd}");
        assert_eq!((percent(1, 3), percent(1, 0)), (33, 0));
    }
}
