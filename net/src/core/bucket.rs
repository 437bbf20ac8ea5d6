//! A token bucket: so many bytes a second, and so many at once.

use super::io::Time;
use std::time::Duration;

/// See the module's documentation. What is taken may exceed what is there, once: the next taker waits until that is made up for.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_s: u64,
    burst: u64,
    /// As of when it is full, if nobody takes: before now, it is.
    full_at: Time,
}

impl Bucket {
    pub(super) fn new(bytes_per_s: u64, burst: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), burst, full_at: Time::ZERO }
    }

    /// From now on so many bytes a second, and so many at once. What was taken stays taken, for as long as it was.
    pub(super) fn set(&mut self, bytes_per_s: u64, burst: u64) {
        (self.bytes_per_s, self.burst) = (bytes_per_s.max(1), burst);
    }

    fn time_of(&self, bytes: u64) -> Duration {
        // Taken with every datagram: up to 18 GB this needs no wide division.
        Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.bytes_per_s)
    }

    /// When something can be taken; at once if that is not after now.
    pub(super) fn ready_at(&self) -> Time {
        self.full_at.saturating_sub(self.time_of(self.burst))
    }

    /// What can be taken now without going without afterwards.
    pub(super) fn room(&self, now: Time) -> u64 {
        let saved = now.saturating_sub(self.ready_at());
        let bytes = saved.as_nanos() * u128::from(self.bytes_per_s) / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX).min(self.burst)
    }

    pub(super) fn take(&mut self, now: Time, bytes: u64) {
        self.full_at = self.full_at.max(now) + self.time_of(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_burst_is_had_at_once_and_then_so_much_a_second() {
        let mut bucket = Bucket::new(1_000_000, 10_000);
        let mut now = MS(50);
        let mut taken = 0;
        while now < MS(1_050) {
            if bucket.ready_at() <= now {
                bucket.take(now, 3_000);
                taken += 3_000;
            } else {
                now = bucket.ready_at();
            }
        }
        assert!((1_010_000..=1_016_000).contains(&taken), "{taken}");
    }

    #[test]
    fn who_did_not_take_for_long_has_no_more_than_a_burst() {
        let mut bucket = Bucket::new(1_000, 500);
        assert_eq!(bucket.room(MS(1_000_000)), 500);
        bucket.take(MS(1_000_000), 100);
        assert_eq!((bucket.room(MS(1_000_000)), bucket.room(MS(1_000_050))), (400, 450));
        bucket.take(MS(1_000_000), 401);
        assert_eq!(bucket.room(MS(1_000_000)), 0);
        assert_eq!(bucket.ready_at(), MS(1_000_001));
    }
}
