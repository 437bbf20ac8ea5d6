//! What goes wrong, when: splits, one-way links, stopped and killed processes, full buffers, bad weather.

use super::Breach;
use super::network::Weather;
use super::streams::SEGMENT_MAX;
use super::world::{Event, World};
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// When the faults have stopped, what is dead starts again after this.
const START_AFTER: Duration = Duration::from_millis(200);

impl World {
    fn some_host(&mut self) -> usize {
        usize::try_from(self.rng.below(self.hosts.len() as u64)).unwrap_or(0)
    }

    /// How long something lasts: mostly short, sometimes long enough for everybody to notice.
    fn spell(&mut self) -> Duration {
        match self.rng.below(3) {
            0 => MS(50 + self.rng.below(400)),
            1 => MS(300 + self.rng.below(2_000)),
            _ => MS(1_500 + self.rng.below(6_500)),
        }
    }

    /// Something goes wrong, and when the next thing does.
    pub(crate) fn trouble(&mut self) -> Result<(), Breach> {
        if !self.restless {
            return Ok(());
        }
        let next = MS(50 + self.rng.below(1_400));
        self.plan(next, Event::Trouble);
        let idle_twin = (0..self.hosts.len())
            .find(|&at| self.hosts[at].build.is_twin && self.hosts[at].process.is_none());
        if let Some(twin) = idle_twin
            && self.rng.below(5) == 0
        {
            self.plan(MS(1), Event::Start(twin));
        }
        let host = self.some_host();
        match self.rng.below(100) {
            0..11 => {
                let (to, spell) = (self.some_host(), self.spell());
                self.block_one_way(host, to, spell);
            }
            11..15 => {
                let (other, spell) = (self.some_host(), self.spell());
                self.part(host, other, spell);
            }
            15..25 => {
                let (split, spell) = (1 + self.rng.below((1 << self.hosts.len()) - 1), self.spell());
                let side: Vec<usize> = (0..self.hosts.len()).filter(|at| split >> at & 1 == 1).collect();
                self.split(&side, spell);
            }
            25..33 => {
                let spell = self.spell();
                self.split(&[host], spell);
            }
            33..44 => {
                let time = if self.rng.below(3) == 0 {
                    MS(2_000 + self.rng.below(8_000))
                } else {
                    MS(200 + self.rng.below(1_200))
                };
                self.faults.pauses += 1;
                self.pause(host, time);
            }
            44..47 => {
                let time = MS(1 + self.rng.below(60));
                self.faults.chokes += 1;
                self.say(host, format!("can hardly send for {time:?}"));
                let until = self.now + time;
                self.network.choke(host, until);
            }
            47..56 => {
                self.faults.crashes += 1;
                self.crash(host);
                self.plan_start(host);
            }
            56..60 => {
                // It is back where nobody hears it, so it takes an epoch that it has had.
                self.faults.crashes += 1;
                self.faults.regressed += 1;
                self.crash(host);
                let spell = MS(400 + self.rng.below(2_500));
                self.split(&[host], spell);
                let after = MS(1 + self.rng.below(50));
                self.plan(after, Event::Start(host));
            }
            60..68 => {
                self.faults.leaves += 1;
                let mut handover = Duration::ZERO;
                if self.rng.below(2) == 0 {
                    self.faults.handovers += 1;
                    handover = MS(100 + self.rng.below(5_000));
                }
                self.leave(host, handover)?;
                let after = MS(100 + self.rng.below(4_000));
                self.plan(after, Event::Start(host));
            }
            68..80 => {
                let time = MS(2 + self.rng.below(300));
                self.faults.bursts += 1;
                self.say(host, format!("is deaf for {time:?}"));
                let until = self.now + time;
                self.network.deafen(host, until);
            }
            80..83 => {
                let spell = self.spell();
                self.prune(host, spell);
            }
            83..84 => {
                let spell = self.spell();
                self.estrange(host, spell);
            }
            84..90 => {
                let count = 50 + self.rng.below(700);
                self.operate(host, count)?;
            }
            90..93 => {
                self.faults.crashes += self.hosts.len() as u64;
                for host in 0..self.hosts.len() {
                    self.crash(host);
                    self.plan_start(host);
                }
            }
            _ => {
                self.network.weather = Weather::random(&mut self.rng);
                self.season();
                let weather = self.network.weather;
                self.say(host, format!("{weather:?}"));
            }
        }
        Ok(())
    }

    fn plan_start(&mut self, host: usize) {
        if !std::mem::replace(&mut self.hosts[host].starting, true) {
            let after = if self.rng.below(2) == 0 {
                MS(1 + self.rng.below(300))
            } else {
                MS(300 + self.rng.below(5_000))
            };
            self.plan(after, Event::Start(host));
        }
    }

    pub(crate) fn block_one_way(&mut self, from: usize, to: usize, spell: Duration) {
        self.faults.one_way += 1;
        self.say(from, format!("is not heard by n{to} for {spell:?}"));
        let until = self.now + spell;
        self.network.block(from, to, until);
    }

    /// Two hosts do not hear each other; the others hear both.
    pub(crate) fn part(&mut self, a: usize, b: usize, spell: Duration) {
        self.faults.parted += 1;
        self.say(a, format!("and n{b} do not hear each other for {spell:?}"));
        let until = self.now + spell;
        self.network.block(a, b, until);
        self.network.block(b, a, until);
    }

    /// Multicasts do not reach a host for a while.
    pub(crate) fn prune(&mut self, host: usize, spell: Duration) {
        self.faults.pruned += 1;
        self.say(host, format!("gets no multicast for {spell:?}"));
        let until = self.now + spell;
        self.network.prune(host, until);
    }

    /// These and the others do not hear each other.
    pub(crate) fn split(&mut self, side: &[usize], spell: Duration) {
        self.faults.splits += 1;
        self.say(0, format!("split: {side:?} and the others for {spell:?}"));
        let until = self.now + spell;
        for &inside in side {
            for outside in (0..self.hosts.len()).filter(|host| !side.contains(host)) {
                self.network.block(inside, outside, until);
                self.network.block(outside, inside, until);
            }
        }
    }

    /// The faults stop: links heal, what is stopped goes on, what is dead starts again, applications rest.
    pub(crate) fn calm_down(&mut self) {
        self.say(0, "the faults stop".into());
        (self.busy, self.restless) = (false, false);
        self.starts_until = self.now + START_AFTER;
        self.network.weather = Weather::CALM;
        self.network.heal();
        self.make_slow(SEGMENT_MAX, Duration::ZERO);
        let now = self.now;
        for host in 0..self.hosts.len() {
            let at = &mut self.hosts[host];
            if let Some(until) = &mut at.paused_until {
                *until = now;
                let resume = at.process.as_ref().map(|process| Event::Resume(process.id));
                resume.into_iter().for_each(|event| self.plan(Duration::ZERO, event));
            }
            // One that is leaving goes first. A twin that runs, runs on.
            if !self.hosts[host].build.is_twin {
                self.plan(START_AFTER, Event::Start(host));
            }
        }
    }
}
