//! The network between hosts: what becomes of each copy of a datagram, and who cannot hear whom.

use crate::core::{Rng, Time};
use std::time::Duration;

/// What happens to datagrams, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// A copy is lost.
    pub(crate) loss: u64,
    /// A multicast is lost to everybody.
    pub(crate) loss_to_all: u64,
    /// A copy comes twice.
    pub(crate) duplication: u64,
    /// A copy is held up for 50 to 250 ms.
    pub(crate) late: u64,
    /// One bit of a copy is turned.
    pub(crate) flip: u64,
    /// A stream breaks before its next piece.
    pub(crate) stream_break: u64,
    /// Copies take up to so long, each for itself.
    pub(crate) delay_max: Duration,
}

impl Weather {
    /// Nothing is lost; copies take up to a fifth of a millisecond.
    pub(crate) const CALM: Self = Self {
        loss: 0,
        loss_to_all: 0,
        duplication: 0,
        late: 0,
        flip: 0,
        stream_break: 0,
        delay_max: Duration::from_micros(200),
    };

    /// Some of everything.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let or_none = |rng: &mut Rng, max| if rng.below(3) == 0 { 0 } else { rng.below(max) };
        let loss_max = [20, 60, 150, 300][usize::try_from(rng.below(4)).unwrap_or(0)];
        Self {
            loss: rng.below(loss_max),
            loss_to_all: or_none(rng, 40),
            duplication: or_none(rng, 100),
            late: or_none(rng, 30),
            flip: or_none(rng, 20),
            stream_break: or_none(rng, 120),
            delay_max: Duration::from_micros(
                [200, 2_000, 8_000, 20_000][usize::try_from(rng.below(4)).unwrap_or(0)],
            ),
        }
    }
}

/// A copy that arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    pub(crate) after: Duration,
    /// The bit to turn, modulo the length.
    pub(crate) flip: Option<u64>,
}

/// What was done to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) late: u64,
    pub(crate) flipped: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    pub(crate) losses: Losses,
    /// `[from][to]`: nothing passes before that time.
    blocked: Vec<Vec<Time>>,
    /// Nothing that arrives at a host before that time is kept.
    deaf: Vec<Time>,
    /// No multicast reaches a host before that time.
    groupless: Vec<Time>,
}

impl Network {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            weather: Weather::CALM,
            losses: Losses::default(),
            blocked: vec![vec![Time::ZERO; hosts]; hosts],
            deaf: vec![Time::ZERO; hosts],
            groupless: vec![Time::ZERO; hosts],
        }
    }

    pub(crate) fn block(&mut self, from: usize, to: usize, until: Time) {
        if from != to {
            let blocked = &mut self.blocked[from][to];
            *blocked = until.max(*blocked);
        }
    }

    pub(crate) fn deafen(&mut self, host: usize, until: Time) {
        self.deaf[host] = until.max(self.deaf[host]);
    }

    /// A switch stops passing the group on to a host.
    pub(crate) fn prune(&mut self, host: usize, until: Time) {
        self.groupless[host] = until.max(self.groupless[host]);
    }

    pub(crate) fn misses_group(&self, now: Time, host: usize) -> bool {
        now < self.groupless[host]
    }

    pub(crate) fn heal(&mut self) {
        let hosts = self.deaf.iter_mut().chain(&mut self.groupless);
        self.blocked.iter_mut().flatten().chain(hosts).for_each(|until| *until = Time::ZERO);
    }

    pub(crate) fn passes(&self, now: Time, from: usize, to: usize) -> bool {
        now >= self.blocked[from][to]
    }

    /// Whether two hosts can hold a conversation.
    pub(crate) fn connects(&self, now: Time, a: usize, b: usize) -> bool {
        self.passes(now, a, b) && self.passes(now, b, a)
    }

    pub(crate) fn is_deaf(&self, now: Time, host: usize) -> bool {
        now < self.deaf[host]
    }

    /// Whether a multicast is lost before anybody has it.
    pub(crate) fn loses_to_all(&mut self, rng: &mut Rng) -> bool {
        self.happens(rng, self.weather.loss_to_all)
    }

    /// The copies of a datagram that arrive.
    pub(crate) fn copies(&mut self, rng: &mut Rng, now: Time, from: usize, to: usize) -> Vec<Copy> {
        if !self.passes(now, from, to) || self.happens(rng, self.weather.loss) {
            self.losses.lost += 1;
            return Vec::new();
        }
        let mut copies = vec![self.copy(rng)];
        if self.happens(rng, self.weather.duplication) {
            self.losses.duplicated += 1;
            copies.push(self.copy(rng));
        }
        copies
    }

    fn copy(&mut self, rng: &mut Rng) -> Copy {
        let mut after = Duration::from_micros(20) + rng.time_below(self.weather.delay_max);
        if self.happens(rng, self.weather.late) {
            self.losses.late += 1;
            after += Duration::from_millis(50 + rng.below(200));
        }
        let flip = self.happens(rng, self.weather.flip).then(|| rng.next());
        self.losses.flipped += u64::from(flip.is_some());
        Copy { after, flip }
    }

    /// Whether a stream breaks now.
    pub(crate) fn breaks(&self, rng: &mut Rng) -> bool {
        self.happens(rng, self.weather.stream_break)
    }

    fn happens(&self, rng: &mut Rng, permille: u64) -> bool {
        // No draw for what cannot be, so that a calm network costs nothing.
        permille > 0 && rng.below(1000) < permille
    }
}
