//! A whole run: a cluster and its troubles made from a seed, the calm after them, and what is said of it.

use super::network::Weather;
use super::process::Build;
use super::sealing::Sealing;
use super::versions::Version;
use super::world::{Event, World};
use super::{Breach, Faults, Report, Violation};
use crate::core::{Limits, Mode, Rng};
use crate::stats::NetStats;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// After the faults all nodes agree within so long.
const QUIET_MAX: Duration = Duration::from_secs(30);
const QUIET_STEP: Duration = Duration::from_millis(50);
/// And then nothing is repaired any more, for so long.
const STILL: Duration = Duration::from_secs(4);

/// Runs the cluster, the workload and the troubles that a seed stands for.
///
/// # Errors
/// [`Violation`]: an invariant did not hold, or a core panicked.
pub fn run(seed: u64) -> Result<Report, Box<Violation>> {
    run_in(seed, &mut random_world(seed))
}

/// As [`run`], with everything that happened, a line each.
pub fn trace(seed: u64) -> (Result<Report, Box<Violation>>, String) {
    let mut world = random_world(seed);
    world.trace.keep_all();
    let outcome = run_in(seed, &mut world);
    (outcome, world.trace.tail())
}

fn run_in(seed: u64, world: &mut World) -> Result<Report, Box<Violation>> {
    watch(seed, world, |world| {
        world.start_all()?;
        let (busy, trouble) = (MS(4_000 + world.rng.below(12_000)), MS(world.rng.below(1_500)));
        (world.busy, world.restless) = (true, true);
        for host in 0..world.hosts.len() {
            world.plan(MS(1), Event::Work(host));
        }
        world.plan(trouble, Event::Trouble);
        world.plan(trouble, Event::Rotate);
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

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[usize::try_from(rng.below(of.len() as u64)).unwrap_or(0)]
}

fn random_world(seed: u64) -> World {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let nodes = if rng.below(12) == 0 { 6 + rng.below(3) } else { 2 + rng.below(4) };
    let nodes = usize::try_from(nodes).unwrap_or(2);
    let small = rng.below(4) != 0;
    // Transfers that take long, beside changes that never stop and repairs that come late.
    let slow = rng.below(5) == 0;
    let mut builds: Vec<Build> = (0..nodes)
        .map(|host| {
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
                    bulk_bytes_per_s: pick(&mut rng, &[200_000, 256_000_000]),
                    bulk_burst: pick(&mut rng, &[1, 20_000]),
                    send_bytes_per_s: pick(&mut rng, &[100_000, 2_000_000, 64_000_000]),
                };
            }
            build.timing.forget_after = MS(pick(&mut rng, &[3_000, 12_000, 1_200_000]));
            build.timing.down_limit = MS(pick(&mut rng, &[2_000, 3_000, 6_000]));
            build.timing.forget_after = build.timing.forget_after.max(build.timing.down_limit);
            build.sessions = pick(&mut rng, &[1, 3, 6]);
            build.keeps_epoch = rng.below(4) == 0;
            if rng.below(4) == 0 {
                build.lag_max = pick(&mut rng, &[MS(2), MS(15), MS(45)]);
            }
            if slow {
                build.shards = pick(&mut rng, &[1, 2]);
                build.limits.ring_datagrams = pick(&mut rng, &[2, 8]);
                build.limits.chunk_bytes = 1_300;
                build.limits.portion_bytes = 1_500;
            }
            build
        })
        .collect();
    let mut doors = vec![0];
    if rng.below(4) == 0 {
        // Another machine, on which somebody will start a process under a name that is taken.
        let of = usize::try_from(rng.below(nodes as u64)).unwrap_or(0);
        let twin = Build { name: builds[of].name.clone(), is_twin: true, ..builds[of].clone() };
        if of == 0 {
            doors.push(builds.len());
        }
        builds.push(twin);
    }
    // Without multicast: a full list, or one seed that all know, wherever it runs.
    if rng.below(4) == 0 {
        let seeds: Vec<usize> = if rng.below(2) == 0 { (0..builds.len()).collect() } else { doors };
        for build in &mut builds {
            (build.mode, build.seeds) = (Mode::Unicast, seeds.clone());
        }
    }
    let mut versions = Rng::new(seed ^ 0x7e25);
    if versions.below(3) == 0 {
        // An upgrade is under way, or is not to be finished.
        for build in &mut builds {
            build.version =
                pick(&mut versions, &[Version::This, Version::Later, Version::Later, Version::Older]);
        }
    }
    let mut world = World::new(seed, builds);
    if Rng::new(seed ^ 0x5ea1).below(2) == 0 {
        world.sealing = Sealing::sealed();
    }
    world.network.weather = Weather::random(&mut rng);
    world.streams.low_water = pick(&mut rng, &[500, 4_000, 128_000]);
    if slow {
        world.make_slow(pick(&mut rng, &[400, 1_200]), MS(pick(&mut rng, &[3, 12, 30])));
    }
    world
}

impl World {
    pub(super) fn start_all(&mut self) -> Result<(), Breach> {
        let hosts = (0..self.hosts.len()).filter(|&host| !self.hosts[host].build.is_twin);
        hosts.collect::<Vec<_>>().into_iter().try_for_each(|host| self.start(host))
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
        self.check_answers()?;
        self.disagreement().map_or(Ok(converged_after), |why| Err(Breach::new("7", why)))
    }

    /// Waits until all nodes agree; returns how long that took.
    pub(super) fn await_agreement(&mut self, at_most: Duration) -> Result<Duration, Breach> {
        let since = self.now;
        while let Some(why) = self.disagreement() {
            if self.now > since + at_most {
                return Err(Breach::new(Violation::NOT_CONVERGED, format!("after {at_most:?}: {why}")));
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
                later: self.hosts.iter().filter(|host| host.build.version == Version::Later).count() as u64,
                older: self.hosts.iter().filter(|host| host.build.version == Version::Older).count() as u64,
                laggards: self.hosts.iter().filter(|host| host.build.is_laggard()).count() as u64,
                lost: losses.lost,
                blocked: losses.blocked,
                lost_to_all: losses.lost_to_all,
                duplicated: losses.duplicated,
                late: losses.late,
                flipped: losses.flipped,
                truncated: losses.truncated,
                oversized: losses.oversized,
                streams_broken: self.streams.broken,
                streams_damaged: self.streams.damaged,
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
