//! How late what was due is done, once a turn, busy or not.

use crate::core::Time;
use std::time::Duration;

/// Knows what is due, and measures by the times at which the core is told of something anyway: the core does what is due with each of them.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    due: Option<Time>,
    /// When the core was last told of something.
    told: Time,
}

impl Lateness {
    /// A turn begins, and what comes next is due then. What the core wanted to do at once, or long ago, is late from when it could have been
    /// done: from when the core was told of something last.
    pub(super) fn expect(&mut self, due: Time) {
        self.due = Some(due.max(self.told));
    }

    /// The core is told of something now: how late it does what was due, if that is what it does. Once a turn.
    pub(super) fn of(&mut self, now: Time) -> Option<Duration> {
        self.told = now;
        let due = self.due.take_if(|due| *due <= now)?;
        Some(now.saturating_sub(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn what_is_due_is_late_once_a_turn_also_if_datagrams_come_all_the_time() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.of(MS(1)), None, "nothing is expected yet");
        lateness.expect(MS(10));
        // A turn of datagrams, in which a deadline passes: what comes behind it does the work.
        let late: Vec<_> = [8, 9, 13, 14, 20].into_iter().map(|at| lateness.of(MS(at))).collect();
        assert_eq!(late, [None, None, Some(MS(3)), None, None]);
        lateness.expect(MS(30));
        assert_eq!((lateness.of(MS(29)), lateness.of(MS(30))), (None, Some(MS(0))));
    }

    #[test]
    fn what_was_due_long_ago_is_late_since_it_could_have_been_done() {
        let mut lateness = Lateness::default();
        lateness.expect(MS(0));
        assert_eq!(lateness.of(MS(100)), Some(MS(100)));
        // It goes on from there, at once.
        lateness.expect(MS(100));
        assert_eq!(lateness.of(MS(102)), Some(MS(2)));
        lateness.expect(MS(50));
        assert_eq!(lateness.of(MS(103)), Some(MS(1)));
    }
}
