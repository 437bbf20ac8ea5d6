//! Processes that start, stop for a while, leave and die.

use super::Breach;
use super::oracle::ProcessId;
use super::process::{Process, static_addr};
use super::trace::Note;
use super::world::{CLUSTER, Event, World};
use crate::core::{Input, Phase};
use crate::error::StopReason;
use std::time::Duration;

impl World {
    /// A process begins on a host that has none.
    pub(crate) fn start(&mut self, host: usize) -> Result<(), Breach> {
        self.hosts[host].starting = false;
        if self.hosts[host].process.is_some() {
            return Ok(());
        }
        let id = self.oracle.begin(self.hosts[host].build.shards);
        let seed = self.rng.next();
        let (at, keys) = (&self.hosts[host], self.sealing.keys());
        let process = Process::start(&at.build, (host, at.epoch), id, (CLUSTER, keys), seed, self.now);
        self.homes.push(host);
        self.hosts[host].process = Some(process);
        if self.hosts[host].build.is_twin {
            self.faults.twins += 1;
        }
        self.say(host, format!("starts as process {id}"));
        let seeds: Vec<_> = self.hosts[host].build.seeds.iter().map(|&host| static_addr(host)).collect();
        if !seeds.is_empty() {
            return self.handle(id, Input::Peers(&seeds));
        }
        self.plan_turn(id);
        Ok(())
    }

    /// A host that keeps epochs is told of one. Each is above those before.
    pub(crate) fn keep_epoch(&mut self, host: usize, epoch: u32) -> Result<(), Breach> {
        let at = &mut self.hosts[host];
        if at.build.keeps_epoch {
            if epoch <= at.epoch {
                return Err(Breach::new("5", format!("n{host} lives in epoch {epoch} after {}", at.epoch)));
            }
            at.epoch = epoch;
        }
        Ok(())
    }

    /// The process of a host is gone, without a word.
    pub(crate) fn crash(&mut self, host: usize) {
        if let Some(id) = self.hosts[host].process.as_ref().map(|process| process.id) {
            self.say(host, "crashes".into());
            self.cut_streams(id);
            self.remove_process(host);
        }
    }

    fn remove_process(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.process = None;
        host.paused_until = None;
        host.backlog.clear();
    }

    /// The process of a host is stopped for a while (SIGSTOP): everything waits for it.
    pub(crate) fn pause(&mut self, host: usize, time: Duration) {
        let now = self.now;
        let at = &mut self.hosts[host];
        if let Some(process) = &at.process
            && at.paused_until.is_none()
        {
            let id = process.id;
            at.paused_until = Some(now + time);
            at.paused_since = now;
            self.say(host, format!("is stopped for {time:?}"));
            self.plan(time, Event::Resume(id));
        }
    }

    pub(crate) fn resume(&mut self, id: ProcessId) -> Result<(), Breach> {
        let now = self.now;
        let Some(at) = self.process(id).map(|process| process.host) else {
            return Ok(());
        };
        let host = &mut self.hosts[at];
        if host.paused_until.is_none_or(|until| now < until) {
            return Ok(());
        }
        host.paused_until = None;
        let lost = now - host.paused_since;
        let (datagrams, others): (Vec<_>, Vec<_>) =
            host.backlog.drain(..).partition(|event| matches!(event, Event::Datagram { .. }));
        if let Some(process) = &mut host.process {
            // It heard nobody meanwhile, which says nothing about them. (A core takes a heartbeat's pause for its own choice.)
            let lost = lost.saturating_sub(process.timing.heartbeat + process.timing.heartbeat / 2);
            process.heard.values_mut().for_each(|heard| heard.at += lost);
            process.turn_at = None;
            process.excused_until = now + 2 * process.timing.down_after + lost;
        }
        self.say(at, format!("goes on with {} datagrams", datagrams.len()));
        // As the driver does: datagrams, streams, then the time.
        for event in datagrams.into_iter().chain(others) {
            self.deliver(id, event)?;
        }
        self.trace.note(now, at, Note::Turn);
        self.handle(id, Input::Turn)
    }

    /// The process of a host is asked to leave.
    pub(crate) fn leave(&mut self, host: usize, handover: Duration) -> Result<(), Breach> {
        let at = &self.hosts[host];
        let Some(process) = at.process.as_ref().filter(|_| at.paused_until.is_none()) else {
            return Ok(());
        };
        let id = process.id;
        self.say(host, format!("leaves, and its entries are to stay for {handover:?}"));
        self.handle(id, Input::Leave { handover })
    }

    pub(crate) fn end_if_over(&mut self, id: ProcessId) -> Result<(), Breach> {
        let Some(process) = self.process(id) else {
            return Ok(());
        };
        let host = process.host;
        match process.core.phase() {
            Phase::Stopped(StopReason::DuplicateNode { .. }) => {
                // The one that gave way was only starting, or the lower of two.
                let own = process.is_live.then(|| (process.life, process.core.session()));
                if !self.ledger.has_rival(process.node, id, process.started, own) {
                    return Err(Breach::new(
                        "life",
                        format!("n{host} stopped, and no other is above {own:?}"),
                    ));
                }
                if process.view.entries().next().is_some() {
                    return Err(Breach::new("6", format!("n{host} has stopped and still shows entries")));
                }
                self.faults.twins_stopped += 1;
                self.say(host, "stops: another speaks under its name".into());
                self.cut_streams(id);
                self.remove_process(host);
                Ok(())
            }
            Phase::Stopped(reason) => Err(Breach::new("life", format!("n{host} stopped: {reason}"))),
            Phase::Left => {
                if process.view.entries().next().is_some() {
                    return Err(Breach::new(
                        "6",
                        format!("n{host} has left and still shows entries of others"),
                    ));
                }
                self.say(host, "has left".into());
                self.cut_streams(id);
                self.remove_process(host);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
