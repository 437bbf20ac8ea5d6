//! What the applications on the nodes do: several sessions each, few topics and keys, in bursts and quiet times.

use super::Breach;
use super::oracle::ProcessId;
use super::process::Awaited;
use super::world::{Event, World};
use crate::core::{Input, Rng};
use headcount::{EntryRef, Error, EventKind};
use std::time::Duration;

const TOPICS: u64 = 7;
const KEYS: u64 = 12;
const META_LONG: usize = 400;

fn topic(rng: &mut Rng) -> String {
    format!("t{}", rng.below(TOPICS))
}

fn key(rng: &mut Rng) -> String {
    format!("k{}", rng.below(KEYS))
}

fn meta(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.below(6) == 0 { META_LONG } else { usize::try_from(rng.below(24)).unwrap_or(0) };
    let mut meta = rng.next().to_le_bytes().to_vec();
    meta.resize(len, 7);
    meta
}

impl World {
    /// A burst of a host's application, and when the next one is.
    pub(crate) fn work(&mut self, host: usize) -> Result<(), Breach> {
        if !self.busy {
            return Ok(());
        }
        let next = match self.rng.below(10) {
            0..=5 => self.rng.time_below(Duration::from_millis(4)),
            6..=8 => self.rng.time_below(Duration::from_millis(120)),
            _ => self.rng.time_below(Duration::from_millis(1500)),
        };
        self.plan(next, Event::Work(host));
        let count = match self.rng.below(400) {
            0 => 100 + self.rng.below(400),
            1..=20 => self.rng.below(40),
            _ => 1 + self.rng.below(3),
        };
        self.operate(host, count)?;
        if self.rng.below(40) == 0 {
            let timeout = Duration::from_millis(20 + self.rng.below(3_000));
            self.begin_barrier(host, timeout)?;
        }
        if self.rng.below(50) == 0 {
            self.ask_to_evict(host)?;
        }
        Ok(())
    }

    /// The application of a host wants to know when everybody has what it did.
    pub(crate) fn begin_barrier(&mut self, host: usize, timeout: Duration) -> Result<(), Breach> {
        let now = self.now;
        let at = &mut self.hosts[host];
        let Some(process) = at.process.as_mut().filter(|_| at.paused_until.is_none()) else {
            return Ok(());
        };
        process.barriers_begun += 1;
        let id = process.barriers_begun;
        let clocks = (0..process.replica.lanes()).map(|lane| process.replica.lane_clock(lane)).collect();
        process.barriers.insert(id, Awaited { clocks, seq: None });
        let (process, until) = (process.id, now - process.started + timeout);
        self.handle(process, Input::Barrier { id, until })
    }

    /// So many operations at random on a host that can work, in one go.
    pub(crate) fn operate(&mut self, host: usize, count: u64) -> Result<(), Breach> {
        let at = &self.hosts[host];
        let Some(id) = at.process.as_ref().filter(|_| at.paused_until.is_none()).map(|process| process.id)
        else {
            return Ok(());
        };
        for _ in 0..count {
            self.operate_once(id)?;
        }
        self.plan_turn(id);
        Ok(())
    }

    fn operate_once(&mut self, id: ProcessId) -> Result<(), Breach> {
        self.operations += 1;
        let kind = self.rng.below(100);
        let rng = &mut self.rng;
        let host =
            self.hosts.iter_mut().find(|host| host.process.as_ref().is_some_and(|process| process.id == id));
        let Some(process) = host.and_then(|host| host.process.as_mut()) else {
            return Ok(());
        };
        let who = usize::try_from(rng.below(process.sessions.len() as u64)).unwrap_or(0);
        let session = &process.sessions[who];
        let mut refs = Vec::new();
        match kind {
            0..40 => match session.track(topic(rng), key(rng), meta(rng)) {
                Ok(at) => refs.push(at),
                Err(Error::AlreadyTracked { .. }) => {}
                Err(error) => return Err(Breach::new("local", format!("track: {error}"))),
            },
            40..65 => {
                let entries = session.entries();
                if let Some(entry) =
                    entries.get(usize::try_from(rng.below(entries.len() as u64)).unwrap_or(0))
                {
                    let updated = session.update(entry.topic(), entry.key(), meta(rng));
                    refs.push(updated.map_err(|error| Breach::new("local", format!("update: {error}")))?);
                }
            }
            65..85 => {
                let entries = session.entries();
                if let Some(entry) =
                    entries.get(usize::try_from(rng.below(entries.len() as u64)).unwrap_or(0))
                    && session.untrack(entry.topic(), entry.key()) != Ok(true)
                {
                    return Err(Breach::new("local", format!("{entry:?} could not be untracked")));
                }
            }
            85..90 => {
                // What another session, maybe on another node, has is not this one's to remove.
                let (topic, key) = (topic(rng), key(rng));
                let own = session
                    .entries()
                    .iter()
                    .any(|entry| **entry.topic() == *topic.as_bytes() && entry.key() == key.as_bytes());
                if session.untrack(&topic, &key) != Ok(own) {
                    return Err(Breach::new(
                        "17",
                        format!("{topic}/{key} was removed by who does not own it"),
                    ));
                }
            }
            90..96 => {
                let batch: Vec<_> =
                    (0..1 + rng.below(12)).map(|at| (topic(rng), format!("b{at}"), meta(rng))).collect();
                // All or nothing: with a key that is there already, or given twice, the batch is undone.
                refs.extend(session.track_many(batch).unwrap_or_default());
            }
            96 => {
                session.untrack_topic(topic(rng)).map_err(|error| Breach::new("local", error.to_string()))?;
            }
            97 => {
                session.clear().map_err(|error| Breach::new("local", error.to_string()))?;
            }
            _ => process.sessions[who] = process.tracker.session(),
        }
        self.absorb(id, &refs)
    }

    /// Writes down what a process has just done, and that the refs it was given are those.
    pub(crate) fn absorb(&mut self, id: ProcessId, refs: &[EntryRef]) -> Result<(), Breach> {
        let host =
            self.hosts.iter_mut().find(|host| host.process.as_ref().is_some_and(|process| process.id == id));
        let Some(process) = host.and_then(|host| host.process.as_mut()) else {
            return Ok(());
        };
        while let Ok(event) = process.subscription.try_recv() {
            process.view.note_edge(&event.kind)?;
            match &event.kind {
                EventKind::Join(entry) | EventKind::Leave(entry) | EventKind::Update { new: entry, .. } => {
                    if !entry.is_local() {
                        return Err(Breach::new("4", format!("{:?} at a local operation", event.kind)));
                    }
                    let at = entry.entry_ref();
                    self.trace.mix(&at.clock.to_le_bytes());
                    self.oracle.record(id, &event.kind)?;
                }
                _ => {}
            }
        }
        process.view.check_edges()?;
        for lane in 0..process.replica.lanes() {
            let (clock, known) = (process.replica.lane_clock(lane), self.oracle.book(id, lane).clock());
            if clock != known {
                return Err(Breach::new(
                    "local",
                    format!("lane {lane} is at {clock}, its events at {known}"),
                ));
            }
        }
        for at in refs {
            if self.oracle.book(id, at.lane).version(at.clock).is_none() {
                return Err(Breach::new("local", format!("{at} was returned and did not happen")));
            }
        }
        Ok(())
    }
}
