//! A world for one test to direct. Every step is checked like those of a random run.

use crate::core::{Limits, Rng};
use crate::sim::Breach;
use crate::sim::network::Weather;
use crate::sim::oracle::ProcessId;
use crate::sim::process::{Build, Process};
use crate::sim::scenario::watch;
use crate::sim::world::World;
use crate::stats::NetStats;
use headcount::{Entry, EntryRef, Session};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) struct Stage {
    pub(super) world: World,
    seed: u64,
    /// The test's own session on each process, apart from those of random operations.
    sessions: BTreeMap<ProcessId, Session>,
}

/// A cluster of nodes with so many shards, up and in agreement, in calm weather.
pub(super) fn stage(seed: u64, shards: &[usize]) -> Stage {
    stage_with(seed, shards, |_| {})
}

pub(super) fn stage_with(seed: u64, shards: &[usize], change: impl Fn(&mut Build)) -> Stage {
    let build = |(host, &shards)| {
        let mut build = Build::new(host, shards);
        change(&mut build);
        build
    };
    let builds = shards.iter().enumerate().map(build).collect();
    let mut stage = Stage { world: World::new(seed, builds), seed, sessions: BTreeMap::new() };
    stage.go(World::start_all);
    stage.run(MS(600));
    stage.agree(MS(1_000));
    stage
}

/// Limits so small that a few entries reach them.
pub(super) fn small(build: &mut Build) {
    build.limits = Limits { chunk_bytes: 1_300, portion_bytes: 1_500, ..Limits::default() };
}

impl Stage {
    pub(super) fn go<T>(&mut self, act: impl FnOnce(&mut World) -> Result<T, Breach>) -> T {
        watch(self.seed, &mut self.world, act).unwrap_or_else(|violation| panic!("{violation}"))
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.go(|world| world.run_for(time));
    }

    /// Waits until all nodes agree, at most so long; returns how long it was.
    pub(super) fn agree(&mut self, at_most: Duration) -> Duration {
        self.go(|world| {
            let after = world.await_agreement(at_most)?;
            let ids: Vec<_> = world.processes().map(|process| process.id).collect();
            ids.into_iter().try_for_each(|id| world.compare(id))?;
            Ok(after)
        })
    }

    /// Stops the faults, and demands agreement and then stillness.
    pub(super) fn settle(&mut self) -> Duration {
        self.go(World::settle)
    }

    pub(super) fn start(&mut self, host: usize) {
        self.go(|world| world.start(host));
    }

    pub(super) fn weather(&mut self, weather: Weather) {
        self.world.network.weather = weather;
    }

    pub(super) fn runs(&self, host: usize) -> bool {
        self.world.hosts[host].process.is_some()
    }

    pub(super) fn at(&self, host: usize) -> &Process {
        self.world.hosts[host].process.as_ref().expect("the node runs")
    }

    pub(super) fn session(&mut self, host: usize) -> &Session {
        let process = self.world.hosts[host].process.as_ref().expect("the node runs");
        self.sessions.entry(process.id).or_insert_with(|| process.tracker.session())
    }

    pub(super) fn stats(&self, host: usize) -> NetStats {
        self.at(host).core.stats()
    }

    pub(super) fn track(&mut self, host: usize, topic: &str, key: &str, meta: &str) -> EntryRef {
        let at = self.session(host).track(topic, key, meta).expect("not there yet");
        self.done(host, &[at]);
        at
    }

    /// Tracks `count` keys of 60 B with 200 B of meta each, in one go.
    pub(super) fn fill(&mut self, host: usize, topic: &str, count: usize) {
        let entries = (0..count).map(|at| (topic, format!("{at:060}"), [7; 200]));
        let refs = self.session(host).track_many(entries).expect("not there yet");
        self.done(host, &refs);
    }

    pub(super) fn update(&mut self, host: usize, topic: &str, key: &str, meta: &str) -> EntryRef {
        let at = self.session(host).update(topic, key, meta).expect("it is there");
        self.done(host, &[at]);
        at
    }

    pub(super) fn untrack(&mut self, host: usize, topic: &str, key: &str) {
        assert_eq!(self.session(host).untrack(topic, key), Ok(true));
        self.done(host, &[]);
    }

    /// Writes down what a host's application did and lets its node know.
    pub(super) fn done(&mut self, host: usize, refs: &[EntryRef]) {
        let id = self.at(host).id;
        let refs = refs.to_vec();
        self.go(move |world| {
            world.absorb(id, &refs)?;
            world.plan_turn(id);
            Ok(())
        });
    }

    /// So many operations at random on a host.
    pub(super) fn operate(&mut self, host: usize, count: u64) {
        self.go(|world| world.operate(host, count));
    }

    pub(super) fn list(&self, host: usize, topic: &str) -> Vec<Entry> {
        self.at(host).tracker.list(topic)
    }

    pub(super) fn refs(&self, host: usize, topic: &str) -> Vec<EntryRef> {
        let mut refs: Vec<_> = self.list(host, topic).iter().map(Entry::entry_ref).collect();
        refs.sort_by_key(|of| (of.node, of.incarnation, of.lane, of.clock));
        refs
    }

    pub(super) fn keys(&self, host: usize, topic: &str) -> Vec<String> {
        let mut keys: Vec<_> =
            self.list(host, topic).iter().map(|entry| entry.key_str().into_owned()).collect();
        keys.sort();
        keys
    }

    pub(super) fn rng(&mut self) -> &mut Rng {
        &mut self.world.rng
    }
}
