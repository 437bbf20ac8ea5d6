//! What a process costs its machine.

use std::fs;
use std::time::Duration;

/// Linux counts in hundredths of a second wherever this runs.
const TICKS_PER_S: u64 = 100;

/// The processor time that a process has used; `None` if the system does not tell.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat)
}

/// A share of one processor, in percent with one decimal.
#[expect(clippy::cast_precision_loss, reason = "a figure for people, with one decimal")]
pub(crate) fn percent(used: Duration, of: Duration) -> f64 {
    (used.as_micros() as f64 * 1000.0 / of.as_micros().max(1) as f64).round() / 10.0
}

fn parse(stat: &str) -> Option<Duration> {
    // The name in parentheses may hold anything; the times are the 12th and 13th fields behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "17 (a) b ( 1 2) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 1 0 5 6 7";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse("17 (x) S 1"), None);
    }

    #[test]
    fn a_share_is_of_one_processor() {
        assert!((percent(Duration::from_millis(15), Duration::from_secs(2)) - 0.8).abs() < 1e-9);
    }
}
