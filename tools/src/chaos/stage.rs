//! A cluster in a lab while a scenario plays on it: its nodes, the clients that change things, and what is measured.

use super::fleet::{Fleet, Row, name};
use super::lab::Lab;
use super::links::Traffic;
use super::report::{Findings, HostFindings};
use super::scenario::Scenario;
use crate::churn::{Churner, Churning};
use crate::failure::{Failure, Seen, until};
use crate::process_cost::percent;
use crate::ui;
use crate::visible::{self, Post, Visits};
use headcount_tools::Limit;
use std::time::{Duration, Instant};

/// How long the nodes may take to agree when nothing is in their way any more.
pub(crate) const AGREE_WITHIN: Duration = Duration::from_secs(60);
const GOODBYE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(5);
/// Entries of one node: few enough to be compared often, many enough for a change to hit another one each time.
const KEYS_MIN: u64 = 2_000;
const KEYS_MAX: u64 = 50_000;
/// Visitors while changes go on, at most.
const VISITORS: usize = 2_000;
const TOPIC: &str = "visitors";
/// Between two lines of progress in a long run.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Counters that a report tells, of all nodes together.
const COUNTERS: [&str; 12] = [
    "net.gaps",
    "net.duplicates",
    "net.naks_sent",
    "net.repairs_sent",
    "net.repair_bytes_sent",
    "net.repairs_beyond_ring",
    "net.snapshot_lanes_taken",
    "net.snapshot_bytes_received",
    "net.snapshots_failed",
    "net.reorder_overflows",
    "net.send_errors",
    "net.pauses",
];
/// Counters that are a fault of the nodes, whatever the links do.
const NEVER: [&str; 4] =
    ["net.digest_mismatches", "net.malformed", "net.refused_operations", "net.refused_nodes"];

/// See the module's documentation. Dropping it kills the nodes and removes the lab, in this order.
#[derive(Debug)]
pub(crate) struct Stage {
    work: Vec<Work>,
    pub(crate) fleet: Fleet,
    pub(crate) lab: Lab,
    pub(crate) limit: Limit,
    /// How long a fault or a load lasts.
    pub(crate) time: Duration,
    rate: u64,
    /// How many downs are meant, by node that declares them.
    expected_downs: Vec<u64>,
    pub(crate) findings: Findings,
    mark: Mark,
    /// Changes of churners that are gone.
    changes_gone: u64,
    worked: Duration,
    working_since: Option<Instant>,
    /// When every node counted as many entries as there are, the last time.
    counted_at: Option<Instant>,
    began: Instant,
}

/// The changing client of one node.
#[derive(Debug)]
enum Work {
    None,
    Resting(Churner),
    Working(Churning),
}

/// Where the measurement began.
#[derive(Debug)]
struct Mark {
    at: Instant,
    traffic: Vec<Traffic>,
    cpu: Vec<Duration>,
}

impl Stage {
    /// A whole cluster with entries on every node, all views equal.
    pub(crate) fn open(
        scenario: &Scenario,
        nodes: usize,
        time: Duration,
        rate: u64,
        limit: Limit,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        let lab = Lab::new(nodes)?;
        let starting = Instant::now();
        let mut fleet = Fleet::start(&lab, &limit)?;
        fleet.wait_for_members(&limit)?;
        let started = starting.elapsed();
        let findings = Findings {
            scenario: scenario.name,
            nodes,
            seconds: time.as_secs(),
            start_ms: Some(millis(started)),
            ..Findings::default()
        };
        let mark = Mark::now(&fleet, &lab)?;
        let mut stage = Self {
            work: Vec::new(),
            fleet,
            lab,
            limit,
            time,
            rate,
            expected_downs: vec![0; nodes],
            findings,
            mark,
            changes_gone: 0,
            worked: Duration::ZERO,
            working_since: None,
            counted_at: None,
            began,
        };
        for node in 0..nodes {
            stage.work.push(Work::None);
            stage.employ(node)?;
        }
        stage.agree()?;
        stage.mark = Mark::now(&stage.fleet, &stage.lab)?;
        Ok(stage)
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.findings.notes.push(text.into());
    }

    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        self.findings.problems.push(text.into());
    }

    /// A line of progress.
    pub(crate) fn say(&self, text: &str) {
        let at = self.began.elapsed().as_secs_f64();
        ui::note(&format!("{at:8.2} s  {}: {text}", self.findings.scenario));
    }

    /// So many downs are meant to be declared by `node` from now on.
    pub(crate) fn expect_downs(&mut self, node: usize, downs: usize) {
        self.expected_downs[node] += downs as u64;
    }

    /// Gives a node a client that has half of its keys.
    pub(crate) fn employ(&mut self, node: usize) -> Result<(), Failure> {
        let client = self.fleet.connect(&self.lab, node, &self.limit)?;
        let keys = (self.rate / self.fleet.len() as u64).clamp(KEYS_MIN, KEYS_MAX);
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        let mut churner = Churner::new(client, &name(node), keys, node as u64 + 1);
        churner.fill(keys / 2, &self.limit)?;
        self.work[node] = Work::Resting(churner);
        Ok(())
    }

    /// Puts the clients that rest to work.
    pub(crate) fn work(&mut self) {
        self.say(&format!("{} changes a second", self.rate));
        for node in 0..self.work.len() {
            self.work_on(node);
        }
        self.working_since.get_or_insert_with(Instant::now);
    }

    /// Puts one client to work, if it rests.
    pub(crate) fn work_on(&mut self, node: usize) {
        let rate = self.rate / self.fleet.len() as u64;
        if rate == 0 {
            return;
        }
        let work = std::mem::replace(&mut self.work[node], Work::None);
        self.work[node] = match work {
            Work::Resting(churner) => Work::Working(churner.start(rate, &self.limit)),
            other => other,
        };
    }

    /// Lets all clients rest; every change that they made is answered then. Returns when that was.
    pub(crate) fn rest(&mut self) -> Result<Instant, Failure> {
        for node in 0..self.work.len() {
            self.rest_on(node)?;
        }
        if let Some(since) = self.working_since.take() {
            self.worked += since.elapsed();
        }
        Ok(Instant::now())
    }

    pub(crate) fn rest_on(&mut self, node: usize) -> Result<(), Failure> {
        let work = std::mem::replace(&mut self.work[node], Work::None);
        self.work[node] = match work {
            Work::Working(churning) => {
                let (churner, outcome) = churning.stop()?;
                outcome?;
                Work::Resting(churner)
            }
            other => other,
        };
        Ok(())
    }

    /// A node's process is gone, and its client's connection with it.
    pub(crate) fn dismiss(&mut self, node: usize) -> Result<(), Failure> {
        match std::mem::replace(&mut self.work[node], Work::None) {
            // It failed when the connection did; what it had is gone with the process.
            Work::Working(churning) => self.changes_gone += churning.stop()?.0.changes(),
            Work::Resting(churner) => self.changes_gone += churner.changes(),
            Work::None => {}
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        self.limit.sleep(time)?;
        match self.fleet.fallen() {
            None => Ok(()),
            Some(fallen) => Err(Failure::other(fallen)),
        }
    }

    /// Lets time pass while visitors join, one by one, and are watched for everywhere.
    pub(crate) fn watch(&mut self, time: Duration) -> Result<(), Failure> {
        self.say(&format!("visitors join one by one for {} s and are watched for", time.as_secs()));
        let mut posts = Vec::new();
        for node in self.fleet.alive() {
            let speaker = self.fleet.connect(&self.lab, node, &self.limit)?;
            let watcher = self.fleet.connect(&self.lab, node, &self.limit)?;
            posts.push(Post { node: name(node), speaker, watcher });
        }
        let pace = visible::PACE.max(time / u32::try_from(VISITORS).unwrap_or(u32::MAX));
        let visits = Visits { topic: TOPIC, joins: VISITORS, pace, time, lost_after: AGREE_WITHIN };
        let began = Instant::now();
        let (mut seen, mut told_at) = (0, began);
        let tell = || {
            seen += 1;
            if told_at.elapsed() >= TELL_EVERY {
                told_at = Instant::now();
                self.say(&format!("{seen} visitors were seen everywhere"));
            }
        };
        let visible = visible::measure(posts, visits, &self.limit, tell)?;
        self.findings.visible_us = Some(visible);
        self.pass(time.saturating_sub(began.elapsed()))
    }

    /// Entries that a node's own client has.
    pub(crate) fn present(&self, node: usize) -> u64 {
        match &self.work[node] {
            Work::Resting(churner) => churner.present() as u64,
            _ => 0,
        }
    }

    /// Measures from here.
    pub(crate) fn mark(&mut self) -> Result<(), Failure> {
        self.mark = Mark::now(&self.fleet, &self.lab)?;
        Ok(())
    }

    /// Measures to here, if that was not done before.
    pub(crate) fn tally(&mut self) -> Result<(), Failure> {
        if self.findings.measured_ms.is_some() {
            return Ok(());
        }
        let now = Mark::now(&self.fleet, &self.lab)?;
        let time = now.at - self.mark.at;
        let per_s = |sum: u64| sum * 1000 / millis(time).max(1);
        for node in 0..self.fleet.len() {
            let traffic = now.traffic[node] - self.mark.traffic[node];
            self.findings.hosts.push(HostFindings {
                node: name(node),
                traffic,
                sent_packets_per_s: per_s(traffic.sent_packets),
                sent_bits_per_s: per_s(traffic.sent_bytes * 8),
                cpu_percent: percent(now.cpu[node].saturating_sub(self.mark.cpu[node]), time),
            });
        }
        self.findings.measured_ms = Some(millis(time));
        Ok(())
    }

    /// Waits until every node lists exactly what there is, and tells how long that took since a moment: the end of a fault,
    /// or of the work.
    pub(crate) fn converge(&mut self, since: Instant) -> Result<(), Failure> {
        self.say("waiting until every node lists exactly what there is");
        let before = self.sent()?;
        self.agree()?;
        self.findings.counted_ms = self.counted_at.map(|at| millis(at.saturating_duration_since(since)));
        self.findings.converge_ms = Some(millis(since.elapsed()));
        self.findings.converge_bytes = Some(self.sent()?.saturating_sub(before));
        Ok(())
    }

    fn sent(&self) -> Result<u64, Failure> {
        let mut sum = 0;
        for host in self.lab.hosts() {
            sum += host.link.traffic()?.sent_bytes;
        }
        Ok(sum)
    }

    /// The clients have to rest.
    fn agree(&mut self) -> Result<(), Failure> {
        let limit = self.limit.within(AGREE_WITHIN);
        (self.findings.views_equal, self.findings.compared) = (false, None);
        let truth = self.truth();
        self.fleet.wait_for_members(&limit)?;
        self.fleet.wait_for_count(truth.len() as u64, &limit)?;
        self.counted_at = Some(Instant::now());
        let alive = self.fleet.alive();
        until(&limit, PAUSE, || {
            for &node in &alive {
                let rows = self.fleet.rows(node, &limit)?;
                if let Some(difference) = difference(&truth, &rows) {
                    return Ok(Seen::Missing(format!("{} {difference}", name(node))));
                }
            }
            Ok(Seen::Done(()))
        })?;
        self.findings.views_equal = true;
        self.findings.compared = Some(truth.len() * alive.len());
        Ok(())
    }

    /// Every entry that there is, in order.
    fn truth(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for work in &self.work {
            if let Work::Resting(churner) = work {
                rows.extend(churner.rows());
            }
        }
        rows.sort_unstable();
        rows
    }

    /// Ends the nodes and tells what was found.
    pub(crate) fn finish(mut self, outcome: Result<(), Failure>) -> Findings {
        let failed = outcome.is_err();
        if let Err(failure) = outcome {
            self.findings.problems.push(failure.to_string());
            self.findings.problems.extend(self.fleet.fallen());
        }
        if let Err(failure) = self.count() {
            // It explains nothing if something failed before.
            if !failed {
                self.findings.problems.push(failure.to_string());
            }
        }
        let Self { work, fleet, mut findings, began, .. } = self;
        drop(work);
        fleet.leave_all(&Limit::after(GOODBYE));
        findings.elapsed_ms = millis(began.elapsed());
        findings
    }

    /// What is told of every scenario.
    fn count(&mut self) -> Result<(), Failure> {
        self.tally()?;
        let mut changes = self.changes_gone;
        for work in &self.work {
            if let Work::Resting(churner) = work {
                changes += churner.changes();
            }
        }
        self.findings.changes = changes;
        if !self.worked.is_zero() {
            self.findings.changes_per_s = Some(changes * 1000 / millis(self.worked).max(1));
        }
        let (mut lost, mut cut, mut overflows) = (0, 0, 0);
        for host in self.lab.hosts() {
            let dropped = host.link.dropped()?;
            lost += dropped.lost;
            cut += dropped.cut;
            overflows += host.link.overflows()?;
        }
        let findings = &mut self.findings;
        (findings.packets_lost, findings.packets_cut) = (Some(lost), Some(cut));
        findings.buffer_overflows = Some(overflows);
        self.count_downs()
    }

    fn count_downs(&mut self) -> Result<(), Failure> {
        let limit = self.limit.within(AGREE_WITHIN);
        let (mut downs, mut false_downs) = (0, 0);
        for node in 0..self.fleet.len() {
            let figures = self.fleet.figures(node, &limit)?;
            let figure = |name: &str| figures.get(name).copied().unwrap_or(0);
            let (declared, expected) = (figure("net.downs"), self.expected_downs[node]);
            downs += declared;
            if declared > expected {
                false_downs += declared - expected;
                let log = self.fleet.log_of_downs(node).join("; ");
                let text = format!("{} declared {declared} downs, {expected} are meant: {log}", name(node));
                self.findings.problems.push(text);
            }
            for counter in COUNTERS {
                *self.findings.counters.entry(counter.into()).or_default() += figure(counter);
            }
            for counter in NEVER {
                if figure(counter) > 0 {
                    let text = format!("{} counts {counter} {}", name(node), figure(counter));
                    self.findings.problems.push(text);
                }
            }
        }
        self.findings.downs = Some(downs);
        self.findings.expected_downs = self.expected_downs.iter().sum();
        self.findings.false_downs = Some(false_downs);
        Ok(())
    }
}

impl Mark {
    fn now(fleet: &Fleet, lab: &Lab) -> Result<Self, Failure> {
        let traffic = lab.hosts().iter().map(|host| host.link.traffic()).collect::<Result<_, _>>()?;
        let cpu = (0..fleet.len()).map(|node| fleet.cpu_time(node)).collect();
        Ok(Self { at: Instant::now(), traffic, cpu })
    }
}

/// The first difference of two lists in order, in words that complete "node-1 ...".
fn difference(truth: &[Row], rows: &[Row]) -> Option<String> {
    let length = truth.len().max(rows.len());
    let at = (0..length).find(|&at| truth.get(at) != rows.get(at))?;
    let show = |row: Option<&Row>| match row {
        None => "nothing".to_owned(),
        Some((topic, listed)) => {
            let [topic, key] = [topic, &listed.key].map(|bytes| String::from_utf8_lossy(bytes));
            format!("{key} {} in {topic}", listed.entry_ref)
        }
    };
    Some(format!("to list {} where it lists {}", show(truth.get(at)), show(rows.get(at))))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headcount_tools::line::{Listed, parse_ref};

    fn row(topic: &str, key: &str, clock: u64, meta: &str) -> Row {
        let entry_ref = parse_ref(format!("0000001a-7.0000feed-3-{clock}").as_bytes()).unwrap();
        let listed = Listed { key: key.into(), node: b"node-1".to_vec(), entry_ref, meta: meta.into() };
        (topic.into(), listed)
    }

    #[test]
    fn views_differ_by_a_key_a_ref_a_meta_or_an_entry_too_many() {
        let truth = [row("a", "x", 1, "m"), row("b", "y", 2, "m")];
        assert_eq!(difference(&truth, &truth), None);
        for other in [
            vec![row("a", "x", 1, "m")],
            vec![row("a", "x", 1, "m"), row("b", "y", 3, "m")],
            vec![row("a", "x", 1, "n"), row("b", "y", 2, "m")],
            vec![row("a", "x", 1, "m"), row("b", "y", 2, "m"), row("c", "z", 3, "m")],
        ] {
            assert!(difference(&truth, &other).is_some(), "{other:?}");
        }
        assert!(difference(&truth, &truth[..1]).unwrap().contains("y "));
    }
}
