//! What the lab does to a cluster, by name.

use super::fleet::name;
use super::stage::{AGREE_WITHIN, Stage, millis};
use crate::failure::{Failure, Seen, until};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Work before a fault, so that it hits a cluster that is busy.
const WARM_UP: Duration = Duration::from_secs(1);
/// Silence that makes a node down, with something to spare: a fault that lasts so long is noticed by everybody.
const SURELY_DOWN: Duration = Duration::from_secs(3);
/// Silence that makes no node down, with something to spare.
const SURELY_UP: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(5);

/// A scenario, and how it is played if nothing else is said.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// How long its fault or its load lasts.
    pub(crate) seconds: u64,
    /// Changes a second meanwhile, on all nodes together.
    pub(crate) rate: u64,
    play: fn(&mut Stage) -> Result<Played, Failure>,
}

/// How a scenario ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Played {
    ToTheEnd,
    /// This machine cannot do what it needs.
    LeftOut(String),
}

/// All of them, in the order in which they are played.
pub(crate) const SCENARIOS: [Scenario; 13] = [
    Scenario {
        name: "idle",
        about: "nothing happens: what a node costs, and how soon a join is seen",
        seconds: 10,
        rate: 0,
        play: idle,
    },
    Scenario {
        name: "split-heal",
        about: "half of the nodes is cut off from the other half, both change, the cut is mended",
        seconds: 6,
        rate: 2_000,
        play: split_heal,
    },
    Scenario {
        name: "one-way",
        about: "one node does not hear one other, which everybody else hears and passes on",
        // Less than the limit, after which it is down whatever others say.
        seconds: 5,
        rate: 2_000,
        play: one_way,
    },
    Scenario {
        name: "sigstop-1s",
        about: "a process stands still for a second: nobody is to take anybody for dead",
        seconds: 1,
        rate: 2_000,
        play: sigstop,
    },
    Scenario {
        name: "sigstop-10s",
        about: "a process stands still for ten seconds: it is down, and takes nobody else for dead",
        seconds: 10,
        rate: 2_000,
        play: sigstop,
    },
    Scenario {
        name: "sigkill-restart",
        about: "a process is killed and started again under its name, at once and after it was noticed",
        seconds: 1,
        rate: 2_000,
        play: sigkill_restart,
    },
    Scenario {
        name: "rolling",
        about: "every node leaves and is started again, one after the other, while the others work on",
        seconds: 1,
        rate: 2_000,
        play: rolling,
    },
    Scenario {
        name: "small-rcvbuf",
        about: "one node's receive buffers are as small as the system lets them be",
        seconds: 5,
        rate: 10_000,
        play: small_rcvbuf,
    },
    Scenario {
        name: "load-50k",
        about: "50,000 changes a second",
        seconds: 10,
        rate: 50_000,
        play: |stage| lossy(stage, 0),
    },
    Scenario {
        name: "loss-1",
        about: "1 % of what arrives is lost, at every node",
        seconds: 10,
        rate: 5_000,
        play: |stage| lossy(stage, 1),
    },
    Scenario {
        name: "loss-5",
        about: "5 % is lost",
        seconds: 10,
        rate: 5_000,
        play: |stage| lossy(stage, 5),
    },
    Scenario {
        name: "loss-20",
        about: "20 % is lost",
        seconds: 10,
        rate: 5_000,
        play: |stage| lossy(stage, 20),
    },
    Scenario {
        name: "disorder",
        about: "delay of 10 to 30 ms, reordering and duplicates",
        seconds: 10,
        rate: 5_000,
        play: disorder,
    },
];

/// For clap; what it says completes "invalid value 'x' for '--scenario':".
pub(crate) fn by_name(text: &str) -> Result<&'static Scenario, String> {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == text);
    found.ok_or_else(|| {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        format!("no such scenario; take one of {}", names.join(", "))
    })
}

impl Scenario {
    pub(crate) fn play(&self, stage: &mut Stage) -> Result<Played, Failure> {
        (self.play)(stage)
    }
}

fn idle(stage: &mut Stage) -> Result<Played, Failure> {
    stage.pass(WARM_UP)?;
    stage.say("nothing happens");
    stage.mark()?;
    stage.pass(stage.time)?;
    stage.tally()?;
    stage.watch(stage.time)?;
    stage.converge(Instant::now())?;
    Ok(Played::ToTheEnd)
}

fn split_heal(stage: &mut Stage) -> Result<Played, Failure> {
    let nodes = stage.fleet.len();
    let side = |node: usize| node < nodes / 2;
    stage.work();
    stage.pass(WARM_UP)?;
    stage.say(&format!("{} of {nodes} nodes are cut off", nodes / 2));
    let cut_at = Instant::now();
    for node in 0..nodes {
        for other in (0..nodes).filter(|&other| side(other) != side(node)) {
            stage.lab.hosts()[node].link.cut(stage.lab.hosts()[other].ip)?;
        }
    }
    stage.pass(stage.time)?;
    stage.rest()?;
    if stage.time >= SURELY_UP {
        for node in 0..nodes {
            stage.expect_downs(node, (0..nodes).filter(|&other| side(other) != side(node)).count());
        }
    }
    if stage.time >= SURELY_DOWN {
        // Everybody lists their own side, and nothing of the other.
        let limit = stage.limit.within(AGREE_WITHIN);
        for node in 0..nodes {
            let own = (0..nodes).filter(|&other| side(other) == side(node));
            let expected: u64 = own.map(|other| stage.present(other)).sum();
            until(&limit, PAUSE, || {
                let count = stage.fleet.count(node, &limit)?;
                if count == expected {
                    return Ok(Seen::Done(()));
                }
                Ok(Seen::Missing(format!("{} to list its side, {expected} and not {count}", name(node))))
            })?;
        }
    }
    stage.note(format!("cut for {} ms", millis(cut_at.elapsed())));
    stage.say("the cut is mended");
    let mended = Instant::now();
    for host in stage.lab.hosts() {
        host.link.mend()?;
    }
    stage.converge(mended)?;
    Ok(Played::ToTheEnd)
}

fn one_way(stage: &mut Stage) -> Result<Played, Failure> {
    const SPEAKER: usize = 0;
    const DEAF: usize = 1;
    stage.work();
    stage.pass(WARM_UP)?;
    stage.say(&format!("{} does not hear {} any more", name(DEAF), name(SPEAKER)));
    stage.lab.hosts()[DEAF].link.cut(stage.lab.hosts()[SPEAKER].ip)?;
    stage.pass(stage.time)?;
    stage.rest()?;
    let limit = stage.limit.clone();
    let figures = stage.fleet.figures(DEAF, &limit)?;
    match figures.get("net.relayed_lanes_taken").copied().unwrap_or(0) {
        0 => stage.problem(format!("nobody passed on to {} what {} did", name(DEAF), name(SPEAKER))),
        lanes => stage.note(format!("{} got {lanes} lanes of {} from others", name(DEAF), name(SPEAKER))),
    }
    stage.say("the link is mended");
    let mended = Instant::now();
    stage.lab.hosts()[DEAF].link.mend()?;
    stage.converge(mended)?;
    Ok(Played::ToTheEnd)
}

fn sigstop(stage: &mut Stage) -> Result<Played, Failure> {
    let victim = stage.fleet.len() - 1;
    stage.work();
    stage.pass(WARM_UP)?;
    stage.say(&format!("{} stands still", name(victim)));
    stage.fleet.signal(victim, Signal::STOP)?;
    let stopped = stage.pass(stage.time);
    // The others first: the client of the one that stands still waits for its reply.
    let rested = (0..victim).try_for_each(|node| stage.rest_on(node));
    stage.say(&format!("{} goes on", name(victim)));
    let awake = Instant::now();
    stage.fleet.signal(victim, Signal::CONT)?;
    stopped.and(rested)?;
    if stage.time >= SURELY_UP {
        (0..victim).for_each(|node| stage.expect_downs(node, 1));
    }
    stage.rest()?;
    stage.converge(awake)?;
    let limit = stage.limit.clone();
    if stage.fleet.figures(victim, &limit)?.get("net.pauses").copied().unwrap_or(0) == 0 {
        stage.problem(format!("{} has not noticed that it stood still", name(victim)));
    }
    Ok(Played::ToTheEnd)
}

fn sigkill_restart(stage: &mut Stage) -> Result<Played, Failure> {
    let victim = stage.fleet.len() - 1;
    stage.work();
    stage.pass(stage.time)?;
    stage.say(&format!("{} is killed and started again at once", name(victim)));
    let killed_at = Instant::now();
    kill(stage, victim)?;
    start_again(stage, victim)?;
    stage.note(format!(
        "restarted at once, it was whole again {} ms after its death",
        millis(killed_at.elapsed())
    ));
    let rested = stage.rest()?;
    stage.converge(rested)?;

    stage.say(&format!("{} is killed", name(victim)));
    let limit = stage.limit.within(AGREE_WITHIN);
    let left: u64 = (0..victim).map(|node| stage.present(node)).sum();
    let killed_at = Instant::now();
    kill(stage, victim)?;
    (0..victim).for_each(|node| stage.expect_downs(node, 1));
    stage.fleet.wait_for_count(left, &limit)?;
    stage.findings.noticed_ms = Some(millis(killed_at.elapsed()));
    stage.say("the others have noticed; it is started again");
    start_again(stage, victim)?;
    let rested = stage.rest()?;
    stage.converge(rested)?;
    Ok(Played::ToTheEnd)
}

fn kill(stage: &mut Stage, victim: usize) -> Result<(), Failure> {
    let limit = stage.limit.clone();
    stage.fleet.kill(victim, &limit)?;
    stage.dismiss(victim)
}

/// The node has all that the others have when this returns, and its client is back at work.
fn start_again(stage: &mut Stage, victim: usize) -> Result<(), Failure> {
    let limit = stage.limit.within(AGREE_WITHIN);
    stage.fleet.start_again(&stage.lab, victim, &limit)?;
    stage.fleet.wait_for_members(&limit)?;
    stage.employ(victim)?;
    stage.work_on(victim);
    Ok(())
}

fn rolling(stage: &mut Stage) -> Result<Played, Failure> {
    stage.work();
    let mut slowest = Duration::ZERO;
    for node in 0..stage.fleet.len() {
        stage.pass(stage.time)?;
        stage.say(&format!("{} is replaced", name(node)));
        let limit = stage.limit.within(AGREE_WITHIN);
        let began = Instant::now();
        stage.fleet.leave(node, &limit)?;
        stage.dismiss(node)?;
        start_again(stage, node)?;
        slowest = slowest.max(began.elapsed());
    }
    stage.pass(stage.time)?;
    stage.note(format!("the slowest replacement took {} ms", millis(slowest)));
    let rested = stage.rest()?;
    stage.converge(rested)?;
    Ok(Played::ToTheEnd)
}

fn small_rcvbuf(stage: &mut Stage) -> Result<Played, Failure> {
    let victim = stage.fleet.len() - 1;
    let sockets = stage.fleet.shrink_buffers(victim)?;
    stage.say(&format!("{} sockets of {} have hardly a buffer", sockets, name(victim)));
    stage.work();
    stage.watch(stage.time)?;
    let rested = stage.rest()?;
    stage.converge(rested)?;
    if stage.lab.hosts()[victim].link.overflows()? == 0 {
        stage.problem("no buffer overflowed: nothing was tried");
    }
    Ok(Played::ToTheEnd)
}

fn lossy(stage: &mut Stage, percent: u32) -> Result<Played, Failure> {
    if percent > 0 {
        stage.say(&format!("{percent} % of what arrives is lost"));
    }
    for host in stage.lab.hosts() {
        host.link.lose(percent)?;
    }
    stage.work();
    stage.watch(stage.time)?;
    let rested = stage.rest()?;
    // The links are as bad as before.
    stage.converge(rested)?;
    for host in stage.lab.hosts() {
        if percent > 0 && host.link.dropped()?.lost == 0 {
            stage.findings.problems.push("nothing was lost: nothing was tried".into());
        }
    }
    Ok(Played::ToTheEnd)
}

fn disorder(stage: &mut Stage) -> Result<Played, Failure> {
    if let Some(failure) = stage.lab.hosts().iter().find_map(|host| host.link.disturb().err()) {
        if !cfg!(feature = "faults") {
            let reason =
                format!("this kernel has no netem ({failure}), and this program not the feature `faults`");
            return Ok(Played::LeftOut(reason));
        }
        stage.note("no netem in this kernel: each node disturbs what it receives, from its number as a seed");
        replace_by_disturbed(stage)?;
    }
    stage.work();
    stage.watch(stage.time)?;
    let rested = stage.rest()?;
    // The links, or the sockets, are as bad as before.
    stage.converge(rested)?;
    let limit = stage.limit.clone();
    for node in 0..stage.fleet.len() {
        let figures = stage.fleet.figures(node, &limit)?;
        for counter in ["net.gaps", "net.duplicates"] {
            if figures.get(counter).copied().unwrap_or(0) == 0 {
                stage.problem(format!("{} counts no {counter}: nothing was tried", name(node)));
            }
        }
    }
    Ok(Played::ToTheEnd)
}

/// In the place of each node comes one whose sockets disturb what they receive.
fn replace_by_disturbed(stage: &mut Stage) -> Result<(), Failure> {
    stage.fleet.disturb();
    for node in 0..stage.fleet.len() {
        let limit = stage.limit.within(AGREE_WITHIN);
        stage.fleet.leave(node, &limit)?;
        stage.dismiss(node)?;
        stage.fleet.start_again(&stage.lab, node, &limit)?;
        stage.fleet.wait_for_members(&limit)?;
        stage.employ(node)?;
    }
    stage.mark()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_scenario_is_found_by_its_name_and_a_wrong_name_is_told_the_right_ones() {
        for scenario in &SCENARIOS {
            assert_eq!(by_name(scenario.name).unwrap().name, scenario.name);
        }
        let names: BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        assert!(by_name("loss-7").unwrap_err().contains("loss-5, loss-20"));
    }
}
