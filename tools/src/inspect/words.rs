//! Numbers and times as people read them.

use crate::number::grouped;
use std::time::Duration;

/// How long something lasts or is ago.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// As [`age`], in one unit.
pub(crate) fn brief(long: Duration) -> String {
    let seconds = long.as_secs();
    match seconds {
        0..60 => age(long),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Nanoseconds, with three digits that matter.
pub(crate) fn nanos(nanos: u64) -> String {
    let of = |value: f64, unit: &str| {
        if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
    };
    match nanos {
        0..1000 => format!("{nanos} ns"),
        1000..1_000_000 => of(nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => of(nanos as f64 / 1e6, "ms"),
        _ => of(nanos as f64 / 1e9, "s"),
    }
}

/// A rate per second: small ones with a digit behind the point.
pub(crate) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 { format!("{rate:.1}") } else { grouped(rate.round() as u64) }
}

/// Bytes.
pub(crate) fn bytes(bytes: u64) -> String {
    let of = |unit: u64, name: &str| {
        let value = bytes as f64 / unit as f64;
        if value < 9.95 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
    };
    match bytes {
        0..10_240 => format!("{} B", grouped(bytes)),
        10_240..1_048_576 => of(1 << 10, "KiB"),
        1_048_576..1_073_741_824 => of(1 << 20, "MiB"),
        _ => of(1 << 30, "GiB"),
    }
}

/// A value in its unit, as a table of counters names it.
pub(crate) fn in_unit(value: u64, unit: &str) -> String {
    match unit {
        "ns" => nanos(value),
        "bytes" => bytes(value),
        "bytes/s" => format!("{}/s", bytes(value)),
        "thousandths" => format!("{:.2}", value as f64 / 1000.0),
        _ => grouped(value),
    }
}

/// A text on one line without control characters, which a terminal would obey; so long at the most.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut plain: String = text.chars().take(max).map(clean).collect();
    if text.chars().nth(max).is_some() {
        plain.pop();
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_the_unit_that_suits_them() {
        let ages = [0.25, 59.0, 61.0, 7322.0, 90_000.0].map(|seconds| age(Duration::from_secs_f64(seconds)));
        assert_eq!(ages, ["0.2 s", "59 s", "1 min 1 s", "2 h 2 min", "1 d 1 h"]);
        let briefs = [59, 61, 7322, 90_000].map(|seconds| brief(Duration::from_secs(seconds)));
        assert_eq!(briefs, ["59 s", "1 min", "2 h", "1 d"]);
        assert_eq!(
            [850, 1_250, 284_000, 2_010_000, 12_000_000_000].map(nanos),
            ["850 ns", "1.2 µs", "284 µs", "2.0 ms", "12 s"]
        );
        assert_eq!([0.0, 0.24, 1204.4].map(rate), ["0", "0.2", "1,204"]);
        assert_eq!([10, 3 << 20, 40 << 30].map(bytes), ["10 B", "3.0 MiB", "40 GiB"]);
        assert_eq!(in_unit(1500, "thousandths"), "1.50");
    }

    #[test]
    fn a_text_cannot_do_anything_to_the_terminal() {
        assert_eq!(plain("a\x1b[2J\nb", 10), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!((plain("abcdef", 4), plain("abcd", 4)), ("abc…".into(), "abcd".into()));
        assert_eq!(plain("ab", 0), "…");
    }
}
