//! What this node may send in datagrams: so many bytes a second, shared between what is live and what is sent again.
//!
//! Deltas come first: they take what there is. Repairs have a quarter of it to themselves, so that neither keeps the other from its
//! share, and what they take is missing from the rest. Streams come last: they have a budget of their own, and give way for a
//! moment when datagrams have to wait. Heartbeats, requests and the like are few and are not counted.
//!
//! How much that is follows from what the others make of it (additive increase, multiplicative decrease): with each heartbeat it
//! grows by a little, up to what is configured; if meanwhile a member has said that more datagrams found its buffer full, or
//! members have asked for a good part of what they were sent, it is halved, down to a floor. A node that sends less than the floor
//! is not the cause, and giving it less would change nothing: its budget stays.

use super::bucket::Bucket;
use super::io::Time;
use std::time::Duration;

/// The floor is this part of what is configured.
const FLOOR_PART: u64 = 16;
/// With each heartbeat the budget grows by this part of what is configured.
const GROWTH_PART: u64 = 64;
/// Repairs take this part of it.
const REPAIR_PART: u64 = 4;
/// What may be sent at once: this part of a second's worth, and so much in any case.
const BURST_PART: u64 = 64;
const BURST_MIN: u64 = 16 * 1024;
/// Askings are too many if they come to this part of what every member was sent.
const ASKED_PART: u64 = 4;
/// A cut shows in what is heard of it after so long; until then there is no other.
const CUT_EVERY: Duration = Duration::from_millis(200);
/// A portion for a stream waits this long at most behind datagrams that wait.
const BULK_PATIENCE: Duration = Duration::from_millis(10);

/// What happened between two heartbeats.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    /// Bytes of deltas, a copy for each receiver counted as one.
    told: u64,
    /// Bytes sent, copies and repairs included.
    sent: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct SendBudget {
    max: u64,
    rate: u64,
    all: Bucket,
    repairs: Bucket,
    this: Period,
    last: Period,
    since: Time,
    /// Bytes asked for since the last heartbeat, for each asker.
    asked: u64,
    dropped: bool,
    cut_at: Option<Time>,
    /// Until when deltas have to wait that are ready, as it was last counted.
    waits_until: Time,
    /// When repairs that were due last had to wait.
    repairs_held: Time,
    /// When a portion for a stream began to wait.
    bulk_waits_since: Option<Time>,
}

impl SendBudget {
    pub(super) fn new(bytes_per_s: u64) -> Self {
        let mut budget = Self {
            max: bytes_per_s.max(FLOOR_PART),
            rate: 0,
            all: Bucket::new(1, 1),
            repairs: Bucket::new(1, 1),
            this: Period::default(),
            last: Period::default(),
            since: Time::ZERO,
            asked: 0,
            dropped: false,
            cut_at: None,
            waits_until: Time::ZERO,
            repairs_held: Time::ZERO,
            bulk_waits_since: None,
        };
        budget.set(bytes_per_s);
        budget
    }

    fn floor(&self) -> u64 {
        self.max / FLOOR_PART
    }

    fn set(&mut self, rate: u64) {
        self.rate = rate.clamp(self.floor(), self.max);
        self.all.set(self.rate, (self.rate / BURST_PART).max(BURST_MIN));
        self.repairs.set(self.rate / REPAIR_PART, (self.rate / REPAIR_PART / BURST_PART).max(BURST_MIN));
    }

    /// Bytes a second, now.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// When deltas may be sent.
    pub(super) fn ready_at(&self) -> Time {
        self.all.ready_at()
    }

    /// Bytes of deltas that may be sent now.
    pub(super) fn room(&self, now: Time) -> u64 {
        self.all.room(now)
    }

    /// When repairs may be sent.
    pub(super) fn repairs_ready_at(&self) -> Time {
        self.repairs.ready_at()
    }

    /// Repairs that are due have to wait.
    pub(super) fn hold_repairs(&mut self, now: Time) {
        self.repairs_held = now;
    }

    /// Whether repairs had to wait since then.
    pub(super) fn has_held(&self, since: Time) -> bool {
        self.repairs_held >= since
    }

    /// Deltas that are ready wait until the budget allows them. Whether that was not said before.
    pub(super) fn waits(&mut self) -> bool {
        let until = self.ready_at();
        std::mem::replace(&mut self.waits_until, until) != until
    }

    /// So many copies of a datagram with deltas go out.
    pub(super) fn take(&mut self, now: Time, len: usize, copies: u64) {
        let sent = (len as u64).saturating_mul(copies);
        self.all.take(now, sent);
        self.this.told += len as u64;
        self.this.sent = self.this.sent.saturating_add(sent);
    }

    /// So many copies of a datagram go out again.
    pub(super) fn take_repair(&mut self, now: Time, len: usize, copies: u64) {
        let sent = (len as u64).saturating_mul(copies);
        self.all.take(now, sent);
        self.repairs.take(now, sent);
        self.this.sent = self.this.sent.saturating_add(sent);
    }

    /// When a portion for a stream may go, if its own budget allows it at `ready`.
    pub(super) fn bulk_ready_at(&self, ready: Time) -> Time {
        let patience = self.bulk_waits_since.map_or(Time::MAX, |since| since + BULK_PATIENCE);
        ready.max(self.ready_at().min(patience))
    }

    /// A portion waits for its turn since now, or since before; or none waits any more.
    pub(super) fn note_bulk(&mut self, now: Time, waits: bool) {
        self.bulk_waits_since = waits.then(|| self.bulk_waits_since.unwrap_or(now));
    }

    /// Somebody lacks a datagram of that length.
    pub(super) fn note_asked(&mut self, len: usize) {
        self.asked += len as u64;
    }

    /// A member says that more datagrams found its buffer full.
    pub(super) fn note_dropped(&mut self) {
        self.dropped = true;
    }

    /// A heartbeat is over, in which there were so many to hear what was sent. Whether the budget was cut.
    pub(super) fn adapt(&mut self, now: Time, receivers: u64) -> bool {
        let told = self.this.told + self.last.told;
        // What was asked for may have been sent before the last heartbeat.
        let too_much = self.asked.saturating_mul(ASKED_PART) > told.saturating_mul(receivers);
        let elapsed = now.saturating_sub(self.since).max(Duration::from_millis(1));
        let busiest = u128::from(self.this.sent.max(self.last.sent));
        let is_cause = busiest * 1_000_000_000 > u128::from(self.floor()) * elapsed.as_nanos();
        let is_over = (self.dropped || too_much) && is_cause;
        let may_cut = self.cut_at.is_none_or(|at| now >= at + CUT_EVERY);
        let cut = is_over && may_cut && self.rate > self.floor();
        if cut {
            self.cut_at = Some(now);
            self.set(self.rate / 2);
        } else if !is_over {
            self.set(self.rate.saturating_add(self.max / GROWTH_PART));
        }
        self.last = std::mem::take(&mut self.this);
        (self.asked, self.dropped, self.since) = (0, false, now);
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const MAX: u64 = 6_400_000;
    const LEN: usize = 1_000;

    /// Sends as much as it may for a second, deltas and repairs as wanted; bytes of each.
    fn busy_second(budget: &mut SendBudget, from: Time, live: bool, repairs: bool) -> (u64, u64) {
        let (mut told, mut repaired) = (0, 0);
        for step in 0..10_000 {
            let now = from + Duration::from_micros(100 * step);
            while live && budget.ready_at() <= now {
                budget.take(now, LEN, 1);
                told += LEN as u64;
            }
            while repairs && budget.repairs_ready_at() <= now {
                budget.take_repair(now, LEN, 1);
                repaired += LEN as u64;
            }
        }
        (told, repaired)
    }

    #[test]
    fn repairs_take_a_quarter_at_most_and_leave_the_rest_to_what_is_live() {
        let mut budget = SendBudget::new(MAX);
        let burst = MAX / BURST_PART + LEN as u64;
        let (told, repaired) = busy_second(&mut budget, MS(1_000), true, true);
        assert!((MAX / 4..=MAX / 4 + burst).contains(&repaired), "{repaired}");
        assert!((MAX * 3 / 4 - burst..=MAX * 3 / 4 + burst).contains(&told), "{told}");
        let (told, _) = busy_second(&mut budget, MS(3_000), true, false);
        assert!((MAX..=MAX + burst).contains(&told), "{told}");
        let (_, repaired) = busy_second(&mut budget, MS(5_000), false, true);
        assert!((MAX / 4..=MAX / 4 + burst).contains(&repaired), "with nothing else to send: {repaired}");
    }

    #[test]
    fn copies_count_each() {
        let mut budget = SendBudget::new(MAX);
        budget.take(MS(1_000), LEN, 6_400);
        // A second's worth, less what may go at once.
        assert_eq!(budget.ready_at(), MS(2_000) - Duration::from_nanos(1_000_000_000 / 64));
    }

    #[test]
    fn it_is_halved_when_members_drop_or_ask_for_much_and_grows_again_but_not_below_the_floor() {
        let mut budget = SendBudget::new(MAX);
        let mut now = MS(0);
        let mut beat = |budget: &mut SendBudget, dropped: bool, asked: u64, sent: u64| {
            now += MS(100);
            budget.take(now, usize::try_from(sent).unwrap(), 1);
            (0..asked).for_each(|_| budget.note_asked(LEN));
            if dropped {
                budget.note_dropped();
            }
            (budget.adapt(now, 2), budget.rate())
        };
        let much = MAX / 10;
        assert_eq!(beat(&mut budget, true, 0, much), (true, MAX / 2));
        assert_eq!(beat(&mut budget, true, 0, much), (false, MAX / 2), "the first cut has not shown yet");
        assert_eq!(beat(&mut budget, false, 0, much), (false, MAX / 2 + MAX / 64));
        // Two heartbeats' worth was told to two members each: a quarter of that is 640 datagrams.
        assert_eq!(beat(&mut budget, false, 640, much), (false, MAX / 2 + MAX / 32));
        assert_eq!(beat(&mut budget, false, 641, much), (true, MAX / 4 + MAX / 64));
        for _ in 0..40 {
            beat(&mut budget, true, 0, much);
        }
        assert_eq!(budget.rate(), MAX / 16);
        assert_eq!(beat(&mut budget, true, 0, much), (false, MAX / 16), "that is the floor");
        for _ in 0..80 {
            beat(&mut budget, false, 0, much);
        }
        assert_eq!(budget.rate(), MAX);
        // What it sends in a tenth of a second is less than the floor allows.
        beat(&mut budget, false, 0, 1);
        assert_eq!(beat(&mut budget, true, 1_000, 1), (false, MAX), "it is not the cause");
    }

    #[test]
    fn a_stream_waits_behind_datagrams_but_not_for_ever() {
        let mut budget = SendBudget::new(MAX);
        assert_eq!(budget.bulk_ready_at(MS(3)), MS(3));
        budget.take(MS(1_000), LEN, 6_400);
        budget.note_bulk(MS(1_000), true);
        budget.note_bulk(MS(1_004), true);
        assert_eq!(budget.bulk_ready_at(MS(3)), MS(1_010));
        budget.note_bulk(MS(1_010), false);
        budget.note_bulk(MS(1_011), true);
        assert_eq!(budget.bulk_ready_at(MS(3)), MS(1_021));
    }
}
