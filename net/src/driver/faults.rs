//! Trouble on the way, made between the sockets and the core: what was received is held up, overtaken, doubled and dropped, as a
//! seeded generator draws. For tests, on machines whose kernel cannot do it: with the feature `faults` alone.

use crate::config::Config;
use crate::core::Rng;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Datagrams held up at once; what comes beside them is lost.
const HELD_MAX: usize = 65_536;

/// What one node's sockets do to the datagrams that reach it, and what they have done so far. Clones are the same node's.
///
/// Each node draws for itself, so each receiver of a multicast loses its own share of it. A seed gives the same draws in the
/// same order; which datagram meets which of them is up to the machine.
///
/// ```
/// use headcount_net::{Config, SocketFaults};
/// use std::time::Duration;
///
/// let faults = SocketFaults::new(7)
///     .delay(Duration::from_millis(10), Duration::from_millis(30))
///     .overtake(250)
///     .duplicate(50);
/// let config = Config::new("test").node("a").faults(faults.clone());
/// assert_eq!(faults.counts().delayed, 0);
/// ```
#[derive(Clone, Debug)]
pub struct SocketFaults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    delay: (Duration, Duration),
    overtake: u32,
    duplicate: u32,
    lose: u32,
    cut: BTreeSet<SocketAddr>,
    counts: FaultCounts,
}

/// What a node's sockets have done to datagrams on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FaultCounts {
    /// Datagrams held up.
    pub delayed: u64,
    /// Datagrams that came at once while others were held up.
    pub overtaking: u64,
    /// Datagrams that came twice.
    pub duplicated: u64,
    /// Datagrams lost.
    pub lost: u64,
    /// Datagrams dropped because of a cut.
    pub cut: u64,
}

impl SocketFaults {
    /// No trouble yet, drawn from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            delay: (Duration::ZERO, Duration::ZERO),
            overtake: 0,
            duplicate: 0,
            lose: 0,
            cut: BTreeSet::new(),
            counts: FaultCounts::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Holds up each datagram, uniformly between two times: so they change their order, too.
    #[must_use]
    pub fn delay(self, least: Duration, most: Duration) -> Self {
        self.state.lock().delay = (least, most.max(least));
        self
    }

    /// Of a thousand datagrams, so many are not held up and overtake the others.
    #[must_use]
    pub fn overtake(self, of_thousand: u32) -> Self {
        self.state.lock().overtake = of_thousand;
        self
    }

    /// Of a thousand datagrams, so many come twice, each copy in its own time.
    #[must_use]
    pub fn duplicate(self, of_thousand: u32) -> Self {
        self.state.lock().duplicate = of_thousand;
        self
    }

    /// Of a thousand datagrams, so many are lost.
    #[must_use]
    pub fn lose(self, of_thousand: u32) -> Self {
        self.state.lock().lose = of_thousand;
        self
    }

    /// From now on nothing arrives from there, and no connection to there is made.
    pub fn cut(&self, from: SocketAddr) {
        self.state.lock().cut.insert(from);
    }

    /// Ends all cuts.
    pub fn mend(&self) {
        self.state.lock().cut.clear();
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.state.lock().counts
    }
}

impl State {
    fn happens(&mut self, of_thousand: u32) -> bool {
        of_thousand > 0 && self.rng.below(1000) < u64::from(of_thousand)
    }

    /// How long a copy is held up; none: not at all.
    fn hold(&mut self) -> Option<Duration> {
        let (least, most) = self.delay;
        if most.is_zero() {
            return None;
        }
        if self.happens(self.overtake) {
            self.counts.overtaking += 1;
            return None;
        }
        self.counts.delayed += 1;
        Some(least + self.rng.time_below(most - least))
    }
}

/// A datagram that was held up.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
    pub(super) by_group: bool,
}

/// The trouble of one node, with what it holds up.
#[derive(Debug)]
pub(super) struct Disorder {
    faults: Option<SocketFaults>,
    /// By the time at which they are due, and then in the order in which they came.
    held: BTreeMap<(Instant, u64), Late>,
    number: u64,
}

impl Disorder {
    pub(super) fn of(config: &Config) -> Self {
        Self { faults: config.faults.clone(), held: BTreeMap::new(), number: 0 }
    }

    /// Whether a datagram that has come is kept from the core, for now or for ever.
    pub(super) fn keeps(&mut self, from: SocketAddr, bytes: &[u8], by_group: bool) -> bool {
        let Some(faults) = &self.faults else {
            return false;
        };
        let mut state = faults.state.lock();
        if state.cut.contains(&from) {
            state.counts.cut += 1;
            return true;
        }
        let lose = state.lose;
        if state.happens(lose) {
            state.counts.lost += 1;
            return true;
        }
        let first = state.hold();
        let duplicate = state.duplicate;
        let second = state.happens(duplicate).then(|| {
            state.counts.duplicated += 1;
            state.hold().unwrap_or_default()
        });
        let now = Instant::now();
        for wait in [first, second].into_iter().flatten() {
            if self.held.len() >= HELD_MAX {
                state.counts.lost += 1;
                continue;
            }
            self.number += 1;
            self.held.insert((now + wait, self.number), Late { from, bytes: bytes.to_vec(), by_group });
        }
        first.is_some()
    }

    /// The next datagram whose time has come.
    pub(super) fn due(&mut self) -> Option<Late> {
        let next = self.held.first_entry()?;
        (next.key().0 <= Instant::now()).then(|| next.remove())
    }

    /// How long until the next one is due.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let (&(at, _), _) = self.held.first_key_value()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Whether no connection is to be made to there.
    pub(super) fn refuses(&self, to: SocketAddr) -> bool {
        self.faults.as_ref().is_some_and(|faults| faults.state.lock().cut.contains(&to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn disorder(faults: &SocketFaults) -> Disorder {
        Disorder::of(&Config::new("test").faults(faults.clone()))
    }

    /// What comes of so many datagrams, in the order in which the core gets it, if all that is held up is waited for.
    fn passed(disorder: &mut Disorder, count: u8) -> Vec<u8> {
        let mut passed: Vec<u8> =
            (0..count).filter(|&number| !disorder.keeps(FROM, &[number], false)).collect();
        while let Some(wait) = disorder.due_in() {
            std::thread::park_timeout(wait);
            passed.extend(std::iter::from_fn(|| disorder.due()).map(|late| late.bytes[0]));
        }
        passed
    }

    #[test]
    fn without_faults_everything_passes_at_once() {
        let mut disorder = Disorder::of(&Config::new("test"));
        assert_eq!(passed(&mut disorder, 100), (0..100).collect::<Vec<u8>>());
        assert!(!disorder.refuses(FROM));
    }

    #[test]
    fn what_is_held_up_comes_late_in_another_order_and_some_of_it_twice() {
        let faults = SocketFaults::new(1)
            .delay(Duration::from_millis(1), Duration::from_millis(30))
            .overtake(250)
            .duplicate(100)
            .lose(100);
        let mut all = passed(&mut disorder(&faults), 200);
        let counts = faults.counts();
        assert!(!all.is_sorted());
        assert_eq!(all.len() as u64, 200 - counts.lost + counts.duplicated);
        assert_eq!(counts.delayed + counts.overtaking, all.len() as u64);
        assert!([counts.lost, counts.duplicated].iter().all(|count| (5..40).contains(count)), "{counts:?}");
        assert!((25..80).contains(&counts.overtaking), "{counts:?}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, 200 - counts.lost);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let faults = SocketFaults::new(seed).lose(500);
            passed(&mut disorder(&faults), 100)
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_cut_keeps_everything_back_until_it_is_mended() {
        let faults = SocketFaults::new(1);
        let mut disorder = disorder(&faults);
        faults.cut(FROM);
        assert!(passed(&mut disorder, 10).is_empty() && disorder.refuses(FROM));
        faults.mend();
        assert_eq!(passed(&mut disorder, 10).len(), 10);
        assert_eq!(faults.counts(), FaultCounts { cut: 10, ..FaultCounts::default() });
    }
}
