//! A whole run: a cluster and its troubles made from a seed, the calm after them, and what is said of it.

use super::Breach;
use super::network::Weather;
use super::process::Build;
use super::world::{Event, World};
use crate::core::{Limits, Mode, Rng};
use crate::stats::NetStats;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// After the faults all nodes agree within so long.
const QUIET_MAX: Duration = Duration::from_secs(30);
const QUIET_STEP: Duration = Duration::from_millis(50);
/// And then nothing is repaired any more, for so long.
const STILL: Duration = Duration::from_secs(4);

/// How often what went wrong in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Faults {
    /// Processes killed.
    pub crashes: u64,
    /// Processes that left gracefully.
    pub leaves: u64,
    /// Processes stopped for a while.
    pub pauses: u64,
    /// Splits in two halves, isolations included.
    pub splits: u64,
    /// Links that passed one way only.
    pub one_way: u64,
    /// Times that a receive buffer was full.
    pub bursts: u64,
    /// Times that multicasts did not reach a host.
    pub pruned: u64,
    /// Datagram copies lost.
    pub lost: u64,
    /// Datagrams that came twice.
    pub duplicated: u64,
    /// Datagrams held up for 50 ms and more.
    pub late: u64,
    /// Datagrams with a bit turned.
    pub flipped: u64,
    /// Streams broken, by a split or without a reason.
    pub streams_broken: u64,
}

/// What a run that kept every invariant was like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Times that a core was given something to handle.
    pub steps: u64,
    /// Operations of the applications.
    pub operations: u64,
    /// What went wrong.
    pub faults: Faults,
    /// How long after the faults all nodes agreed.
    pub converged_after: Duration,
    /// Virtual time in all.
    pub time: Duration,
    /// Barriers that were reached.
    pub barriers_reached: u64,
    /// Answers that barriers waited for in vain.
    pub barriers_missed: u64,
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// The nodes' numbers at the end, summed over the processes that lived then.
    pub stats: NetStats,
}

/// A broken invariant.
#[derive(Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The seed that shows it again.
    pub seed: u64,
    /// Which, by its number in section 9 of the protocol, or in a word.
    pub invariant: &'static str,
    /// Virtual time.
    pub at: Duration,
    /// How many steps came before.
    pub step: u64,
    /// What is wrong.
    pub what: String,
    /// What happened just before, a line each.
    pub tail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, invariant, at, step, what, tail } = self;
        write!(f, "seed {seed}: invariant {invariant} broken at {at:?}, step {step}: {what}\n{tail}")
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Violation {}

/// Runs the cluster, the workload and the troubles that a seed stands for.
///
/// # Errors
/// [`Violation`]: an invariant did not hold, or a core panicked.
pub fn run(seed: u64) -> Result<Report, Box<Violation>> {
    let mut world = random_world(seed);
    watch(seed, &mut world, |world| {
        world.start_all()?;
        let (busy, trouble) = (MS(4_000 + world.rng.below(12_000)), MS(world.rng.below(1_500)));
        (world.busy, world.restless) = (true, true);
        for host in 0..world.hosts.len() {
            world.plan(MS(1), Event::Work(host));
        }
        world.plan(trouble, Event::Trouble);
        world.run_for(busy)?;
        world.settle().map(|converged_after| world.report(seed, converged_after))
    })
}

/// Runs something in a world; a broken invariant and a panic become a violation with the trace.
pub(super) fn watch<T>(
    seed: u64,
    world: &mut World,
    go: impl FnOnce(&mut World) -> Result<T, Breach>,
) -> Result<T, Box<Violation>> {
    // After a panic only the trace and the clock of the world are looked at.
    let gone = catch_unwind(AssertUnwindSafe(|| go(world)));
    let breach = match gone {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(breach)) => breach,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Breach::new("panic", text.unwrap_or_default())
        }
    };
    let Breach { invariant, what } = breach;
    let (at, step, tail) = (world.now, world.steps, world.trace.tail());
    Err(Box::new(Violation { seed, invariant, at, step, what, tail }))
}

fn random_world(seed: u64) -> World {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let nodes = 2 + rng.below(4);
    let small = rng.below(4) != 0;
    let pick = |rng: &mut Rng, of: &[usize]| of[usize::try_from(rng.below(of.len() as u64)).unwrap_or(0)];
    let builds = (0..usize::try_from(nodes).unwrap_or(2)).map(|host| {
        let mut build = Build::new(host, pick(&mut rng, &[1, 2, 4, 16]));
        build.lane_log_max = pick(&mut rng, &[16, 64, 8192]);
        if small {
            build.limits = Limits {
                ring_datagrams: pick(&mut rng, &[4, 16, 64, 4096]),
                ring_bytes: pick(&mut rng, &[4_000, 40_000, 4_000_000]),
                waiting_bytes: pick(&mut rng, &[3_000, 20_000, 2_000_000]),
                clocks_per_delta: pick(&mut rng, &[5, 40, 1024]),
                datagrams_per_flush: pick(&mut rng, &[1, 3, 64]),
                chunk_bytes: pick(&mut rng, &[1_300, 4_000, 32_000]),
                portion_bytes: pick(&mut rng, &[1_500, 10_000, 256_000]),
                fetches: pick(&mut rng, &[1, 4]),
                serves: pick(&mut rng, &[1, 2, 4]),
                shared_bytes: pick(&mut rng, &[0, 4_000, 64_000_000]),
                bulk_bytes_per_s: pick(&mut rng, &[200_000, 256_000_000]) as u64,
                bulk_burst: pick(&mut rng, &[1, 20_000]) as u64,
            };
        }
        build.timing.forget_after = MS([3_000, 12_000, 1_200_000][pick(&mut rng, &[0, 1, 2])]);
        build.timing.down_limit = MS([2_000, 3_000, 6_000][pick(&mut rng, &[0, 1, 2])]);
        build.timing.forget_after = build.timing.forget_after.max(build.timing.down_limit);
        build.sessions = pick(&mut rng, &[1, 3, 6]);
        build
    });
    let mut builds: Vec<Build> = builds.collect();
    // Without multicast: a full list, or one seed that all know.
    if rng.below(4) == 0 {
        let seeds: Vec<usize> = if rng.below(2) == 0 { (0..builds.len()).collect() } else { vec![0] };
        for build in &mut builds {
            (build.mode, build.seeds) = (Mode::Unicast, seeds.clone());
        }
    }
    let mut world = World::new(seed, builds);
    world.network.weather = Weather::random(&mut rng);
    world.streams.low_water = pick(&mut rng, &[500, 4_000, 128_000]);
    world
}

impl World {
    pub(super) fn start_all(&mut self) -> Result<(), Breach> {
        (0..self.hosts.len()).try_for_each(|host| self.start(host))
    }

    /// Stops the faults; returns how long it took until all nodes agreed. They must within a bounded time, and then be still.
    pub(super) fn settle(&mut self) -> Result<Duration, Breach> {
        self.calm_down();
        let since = self.now;
        self.run_for(MS(300))?;
        self.await_agreement(QUIET_MAX)?;
        let converged_after = self.now - since;
        for id in self.processes().map(|process| process.id).collect::<Vec<_>>() {
            self.compare(id)?;
        }
        // What was asked for just before may still be on its way.
        self.run_for(MS(1_000))?;
        let before = self.repair_traffic();
        self.run_for(STILL)?;
        let repaired = self.repair_traffic();
        if repaired != before {
            return Err(Breach::new("7", format!("repairs go on: {before:?}, then {repaired:?}")));
        }
        self.disagreement().map_or(Ok(converged_after), |why| Err(Breach::new("7", why)))
    }

    /// Waits until all nodes agree; returns how long that took.
    pub(super) fn await_agreement(&mut self, at_most: Duration) -> Result<Duration, Breach> {
        let since = self.now;
        while let Some(why) = self.disagreement() {
            if self.now > since + at_most {
                return Err(Breach::new("7", format!("after {at_most:?}: {why}")));
            }
            self.run_for(QUIET_STEP)?;
        }
        Ok(self.now - since)
    }

    /// What must stand still when nothing happens, node by node.
    fn repair_traffic(&self) -> Vec<[u64; 6]> {
        let numbers = |stats: NetStats| {
            let snapshots = stats.snapshot_lanes_taken
                + stats.catch_ups_taken
                + stats.snapshots_failed
                + stats.snapshots_put_off;
            [stats.naks_sent, stats.repairs_sent, snapshots, stats.gaps, stats.stale, stats.incarnation_jumps]
        };
        self.processes().map(|process| numbers(process.core.stats())).collect()
    }

    pub(super) fn report(&self, seed: u64, converged_after: Duration) -> Report {
        let losses = self.network.losses;
        let mut stats = NetStats::default();
        let (mut barriers_reached, mut barriers_missed) = (0, 0);
        for process in self.processes() {
            stats.add(&process.core.stats());
            barriers_reached += process.barriers_reached;
            barriers_missed += process.barriers_missed.len() as u64;
        }
        Report {
            seed,
            nodes: self.hosts.len(),
            steps: self.steps,
            operations: self.operations,
            faults: Faults {
                lost: losses.lost,
                duplicated: losses.duplicated,
                late: losses.late,
                flipped: losses.flipped,
                streams_broken: self.streams.broken,
                ..self.faults
            },
            converged_after,
            time: self.now,
            barriers_reached,
            barriers_missed,
            trace: self.trace.hash(),
            stats,
        }
    }
}
