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
    /// A copy is cut short, or has something behind its end.
    pub(crate) cut: u64,
    /// Random bytes come to somebody.
    pub(crate) garbage: u64,
    /// An earlier datagram is sent once more to somebody.
    pub(crate) replay: u64,
    /// A stream breaks before its next piece.
    pub(crate) stream_break: u64,
    /// A bit of a piece of a request is turned.
    pub(crate) stream_damage: u64,
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
        cut: 0,
        garbage: 0,
        replay: 0,
        stream_break: 0,
        stream_damage: 0,
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
            cut: or_none(rng, 20),
            garbage: or_none(rng, 20),
            replay: or_none(rng, 40),
            stream_break: or_none(rng, 120),
            stream_damage: or_none(rng, 100),
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
    pub(crate) damage: Option<Damage>,
}

/// What happens to the bytes of a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    /// This bit is turned, modulo their number.
    Flip(u64),
    /// So many bytes are left, modulo their number.
    Truncate(u64),
    /// So many bytes follow them.
    Extend(u64),
}

impl Damage {
    pub(crate) fn apply(self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        let below =
            |number: u64, bound: usize| usize::try_from(number % (bound as u64).max(1)).unwrap_or_default();
        match self {
            Self::Flip(bit) => {
                let bit = below(bit, bytes.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
            }
            Self::Truncate(len) => damaged.truncate(below(len, bytes.len())),
            Self::Extend(more) => damaged.resize(bytes.len() + usize::try_from(more).unwrap_or(1), 0xa5),
        }
        damaged
    }
}

/// What was done to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) lost: u64,
    pub(crate) blocked: u64,
    pub(crate) lost_to_all: u64,
    pub(crate) duplicated: u64,
    pub(crate) late: u64,
    pub(crate) flipped: u64,
    pub(crate) truncated: u64,
    pub(crate) oversized: u64,
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
    /// Hardly anything can be sent from a host before that time.
    choked: Vec<Time>,
    /// What a host says before that time is of another wire version.
    estranged: Vec<Time>,
}

impl Network {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            weather: Weather::CALM,
            losses: Losses::default(),
            blocked: vec![vec![Time::ZERO; hosts]; hosts],
            deaf: vec![Time::ZERO; hosts],
            groupless: vec![Time::ZERO; hosts],
            choked: vec![Time::ZERO; hosts],
            estranged: vec![Time::ZERO; hosts],
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

    pub(crate) fn choke(&mut self, host: usize, until: Time) {
        self.choked[host] = until.max(self.choked[host]);
    }

    pub(crate) fn estrange(&mut self, host: usize, until: Time) {
        self.estranged[host] = until.max(self.estranged[host]);
    }

    pub(crate) fn is_estranged(&self, now: Time, host: usize) -> bool {
        now < self.estranged[host]
    }

    /// Whether a host's send buffer has no room for a datagram now.
    pub(crate) fn refuses(&self, rng: &mut Rng, now: Time, host: usize) -> bool {
        now < self.choked[host] && rng.below(4) != 0
    }

    pub(crate) fn heal(&mut self) {
        let hosts = self.deaf.iter_mut().chain(&mut self.groupless).chain(&mut self.choked);
        let hosts = hosts.chain(&mut self.estranged);
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
        let lost = self.happens(rng, self.weather.loss_to_all);
        self.losses.lost_to_all += u64::from(lost);
        lost
    }

    /// Whether random bytes come to somebody now.
    pub(crate) fn makes_garbage(&self, rng: &mut Rng) -> bool {
        self.happens(rng, self.weather.garbage)
    }

    /// Whether an earlier datagram comes to somebody now.
    pub(crate) fn replays(&self, rng: &mut Rng) -> bool {
        self.happens(rng, self.weather.replay)
    }

    /// The copies of a datagram that arrive.
    pub(crate) fn copies(&mut self, rng: &mut Rng, now: Time, from: usize, to: usize) -> Vec<Copy> {
        if !self.passes(now, from, to) {
            self.losses.blocked += 1;
            return Vec::new();
        }
        if self.happens(rng, self.weather.loss) {
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
        let mut damage = None;
        if self.happens(rng, self.weather.flip) {
            self.losses.flipped += 1;
            damage = Some(Damage::Flip(rng.next()));
        } else if self.happens(rng, self.weather.cut) {
            if rng.below(2) == 0 {
                self.losses.truncated += 1;
                damage = Some(Damage::Truncate(rng.next()));
            } else {
                self.losses.oversized += 1;
                damage = Some(Damage::Extend(1 + rng.below(4_000)));
            }
        }
        Copy { after, damage }
    }

    /// Whether a stream breaks now.
    pub(crate) fn breaks(&self, rng: &mut Rng) -> bool {
        self.happens(rng, self.weather.stream_break)
    }

    /// Whether a piece of a request is damaged.
    pub(crate) fn damages(&self, rng: &mut Rng) -> bool {
        self.happens(rng, self.weather.stream_damage)
    }

    fn happens(&self, rng: &mut Rng, permille: u64) -> bool {
        // No draw for what cannot be, so that a calm network costs nothing.
        permille > 0 && rng.below(1000) < permille
    }
}
