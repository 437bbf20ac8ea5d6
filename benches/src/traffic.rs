//! Operations as a node tells them in a few kinds of traffic, and what a datagram's bytes are spent on in each.

use crate::mix;
use headcount::replica::Op;
use headcount_net::codec::{PLAIN_OVERHEAD, Packer, SEALED_OVERHEAD};

/// The clock that every lane has got to: after ten million operations.
const LO: u64 = 10_000_000;
const KEY_LEN: usize = 16;
const META_LEN: usize = 32;
const TOPICS: u64 = 1_000;
/// What a join and a leave may take beside key and meta, everything that is around them included.
const JOIN_BOUND: usize = 6;
const LEAVE_BOUND: usize = 4;

/// Which topics are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topics {
    /// One, for ever.
    One,
    /// `room:0` to `room:999` in turn.
    Round,
    /// The same, drawn so that the n-th is joined 1/n as often as the first.
    Zipf,
    /// Drawn evenly from a million numbers.
    Million,
    /// Drawn evenly from a thousand that no number tells apart: `room:` and 6 letters.
    Words,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Joins into these topics.
    Joins(Topics),
    /// Leaves of entries born up to so many clocks ago.
    Leaves(u64),
    /// Sessions leave that joined a hundred topics of the lane at once, so many clocks ago.
    Sessions(u64),
    /// Updates of entries born up to so many clocks ago.
    Updates(u64),
    /// Joins and leaves by turns.
    Mixed(Topics, u64),
}

/// A kind of traffic. It is the same in every run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// What it is called.
    pub name: &'static str,
    /// What happens.
    pub kind: Kind,
    /// How many lanes of the node share it, by their topics.
    pub lanes: u16,
    /// How many operations are told at once, lane by lane.
    pub at_once: usize,
}

/// The kinds of traffic that are weighed.
pub const TRAFFIC: [Traffic; 16] = {
    use Kind::{Joins, Leaves, Mixed, Sessions, Updates};
    const fn one_lane(name: &'static str, kind: Kind) -> Traffic {
        Traffic { name, kind, lanes: 1, at_once: 10_000 }
    }
    const fn lanes(name: &'static str, kind: Kind, at_once: usize) -> Traffic {
        Traffic { name, kind, lanes: 16, at_once }
    }
    [
        one_lane("joins, one topic", Joins(Topics::One)),
        one_lane("joins, 1,000 topics in turn", Joins(Topics::Round)),
        one_lane("joins, 1,000 topics by Zipf", Joins(Topics::Zipf)),
        one_lane("joins, a million topics", Joins(Topics::Million)),
        one_lane("joins, 1,000 topics without numbers", Joins(Topics::Words)),
        lanes("joins, 1,000 topics in turn, 16 lanes, 10,000 at once", Joins(Topics::Round), 10_000),
        lanes("joins, 1,000 topics in turn, 16 lanes, 22 at once", Joins(Topics::Round), 22),
        one_lane("leaves, up to 1,000 clocks old", Leaves(1_000)),
        one_lane("leaves, up to 100,000 clocks old", Leaves(100_000)),
        one_lane("leaves, up to 4,000,000 clocks old", Leaves(4_000_000)),
        one_lane("leaves of whole sessions, 4,000,000 clocks old", Sessions(4_000_000)),
        one_lane("updates, up to 1,000 clocks old", Updates(1_000)),
        one_lane("updates, up to 100,000 clocks old", Updates(100_000)),
        one_lane("joins and leaves by turns, one topic, 100,000 old", Mixed(Topics::One, 100_000)),
        one_lane(
            "joins and leaves by turns, 1,000 topics in turn, 100,000 old",
            Mixed(Topics::Round, 100_000),
        ),
        one_lane(
            "joins and leaves by turns, 1,000 topics by Zipf, 100,000 old",
            Mixed(Topics::Zipf, 100_000),
        ),
    ]
};

/// What full datagrams of one kind of traffic are made of.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Weight {
    /// How many datagrams were filled.
    pub datagrams: usize,
    /// Operations in them.
    pub operations: usize,
    /// Bytes of their bodies: all but header and seal.
    pub body: usize,
    /// Bytes of the keys and metas in them.
    pub payload: usize,
    /// What all of them may take beside key and meta: 6 B a join, 4 B a leave. Updates have no bound.
    pub allowed: usize,
}

impl Weight {
    /// What an operation takes beside its key and meta in sealed datagrams, all that is around it included.
    #[must_use]
    pub fn sealed(&self) -> f64 {
        self.over(SEALED_OVERHEAD)
    }

    /// The same in clear.
    #[must_use]
    pub fn plain(&self) -> f64 {
        self.over(PLAIN_OVERHEAD)
    }

    /// The same without header and seal.
    #[must_use]
    pub fn bare(&self) -> f64 {
        self.over(0)
    }

    /// What it may take.
    #[must_use]
    pub fn bound(&self) -> f64 {
        per(self.allowed, self.operations)
    }

    /// Operations of a datagram.
    #[must_use]
    pub fn operations_each(&self) -> f64 {
        per(self.operations, self.datagrams)
    }

    fn over(&self, around: usize) -> f64 {
        per(self.body + self.datagrams * around - self.payload, self.operations)
    }
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn per(some: usize, of: usize) -> f64 {
    some as f64 / of.max(1) as f64
}

/// An operation that has its bytes. `u64`: how many clocks ago its entry was born.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Operation {
    Join { topic: String, key: String },
    Leave(u64),
    Update(u64),
}

/// Operations of one kind of traffic, with their lanes, in the order in which they are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    traffic: Traffic,
    operations: Vec<(u16, Operation)>,
}

impl Told {
    /// The bodies of the datagrams that tell them, and what the full ones of those are made of.
    ///
    /// # Panics
    /// If an operation is longer than a datagram.
    #[must_use]
    pub fn pack(&self) -> (Vec<Vec<u8>>, Weight) {
        let meta = [b'm'; META_LEN];
        let mut clocks = vec![LO; usize::from(self.traffic.lanes)];
        let (mut packer, mut weight, mut open) = (Packer::default(), Weight::default(), None);
        let mut waiting = Weight::default();
        for (at, (lane, operation)) in self.operations.iter().enumerate() {
            let clock = &mut clocks[usize::from(*lane)];
            if open != Some(*lane) || at % self.traffic.at_once == 0 {
                packer.lane(*lane, *clock);
                open = Some(*lane);
            }
            *clock += 1;
            let (op, payload, allowed) = match operation {
                Operation::Join { topic, key } => {
                    let (topic, key) = (topic.as_bytes(), key.as_bytes());
                    let op = Op::Add { birth: *clock, topic, key, meta: &meta };
                    (op, KEY_LEN + META_LEN, JOIN_BOUND)
                }
                Operation::Leave(age) => (Op::Remove { birth: *clock - age }, 0, LEAVE_BOUND),
                Operation::Update(age) => (Op::Update { birth: *clock - age, meta: &meta }, META_LEN, 0),
            };
            let full = packer.full();
            assert!(packer.push(&op), "an operation fits a datagram");
            if packer.full() > full {
                // What was packed so far is in bodies that are full; this operation is in the next one.
                weight = Weight { datagrams: packer.full(), ..waiting };
            }
            waiting.operations += 1;
            waiting.payload += payload;
            waiting.allowed += allowed;
        }
        let bodies = packer.finish();
        weight.body = bodies[..weight.datagrams].iter().map(Vec::len).sum();
        (bodies, weight)
    }
}

impl Traffic {
    /// The first so many operations.
    #[must_use]
    pub fn told(self, count: usize) -> Told {
        let mut operations: Vec<_> = (0..count as u64).map(|at| self.operation(at)).collect();
        for part in operations.chunks_mut(self.at_once) {
            part.sort_by_key(|&(lane, _)| lane);
        }
        Told { traffic: self, operations }
    }

    fn operation(self, at: u64) -> (u16, Operation) {
        let random = mix(at);
        let join = |topics, at| {
            let number = topics_number(topics, at);
            let topic = match topics {
                Topics::Words => format!("room:{}", word(number)),
                _ => format!("room:{number}"),
            };
            // By the topic, as shards are.
            let lane = mix(!number) % u64::from(self.lanes);
            (u16::try_from(lane).unwrap_or(0), Operation::Join { topic, key: format!("{random:016x}") })
        };
        match self.kind {
            Kind::Joins(topics) => join(topics, at),
            Kind::Leaves(age) => (0, Operation::Leave(1 + random % age)),
            Kind::Sessions(age) => {
                // The hundred of a session follow each other in births as in leaves; where they were born is random.
                let born = mix(!(at / 100)) % age;
                (0, Operation::Leave(age + born))
            }
            Kind::Updates(age) => (0, Operation::Update(1 + random % age)),
            Kind::Mixed(topics, _) if at.is_multiple_of(2) => join(topics, at / 2),
            Kind::Mixed(_, age) => (0, Operation::Leave(1 + random % age)),
        }
    }
}

/// The number of the topic that the `at`-th join is into.
fn topics_number(topics: Topics, at: u64) -> u64 {
    let random = mix(!at);
    match topics {
        Topics::One => 123,
        Topics::Round => at % TOPICS,
        Topics::Words => random % TOPICS,
        Topics::Million => random % 1_000_000,
        Topics::Zipf => {
            // Shares of 1/1, 1/2, .. in units of a 2^32nd: whole numbers, so that it is the same everywhere.
            let share = |n| (1_u64 << 32) / n;
            let mut left = random % (1..=TOPICS).map(share).sum::<u64>();
            for n in 1..TOPICS {
                match left.checked_sub(share(n)) {
                    Some(rest) => left = rest,
                    None => return mix(n) % TOPICS,
                }
            }
            mix(TOPICS) % TOPICS
        }
    }
}

/// Six letters that nobody could guess from the number.
fn word(number: u64) -> String {
    let mut random = mix(number);
    (0..6)
        .map(|_| {
            let letter = b'a' + u8::try_from(random % 26).unwrap_or(0);
            random /= 26;
            char::from(letter)
        })
        .collect()
}
