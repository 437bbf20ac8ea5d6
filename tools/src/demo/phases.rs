//! The demo, phase by phase. Each leaves its figures in the report, so that a run that ends early still tells what it saw.

use super::busy::{self, Bustle, Meter};
use super::crowd::Crowd;
use super::nodes::{Life, Nodes};
use super::options::Plan;
use super::population::{LOBBY, Population};
use super::progress::Progress;
use super::report::Report;
use super::verify;
use crate::failure::Failure;
use crate::number::grouped;
use crate::visible::{self, Post, Visible, Visits};
use headcount_tools::Limit;
use headcount_tools::line::Client;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Visitors that join one at a time while everybody watches.
const VISITORS: usize = 500;
/// The same while much else happens: more, so that the slowest of a hundred are many.
const BUSY_VISITORS: usize = 1_000;
/// From the start of the changes to the first visitor then.
const SETTLE_IN: Duration = Duration::from_secs(1);

/// A run of the demo. Dropping it kills the nodes.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    plan: &'a Plan,
    limit: Limit,
    progress: Progress,
    population: Population,
    crowd: Crowd,
    /// None before they are started.
    pub(crate) nodes: Option<Nodes>,
    pub(crate) report: Report,
    phase: &'static str,
}

impl<'a> Run<'a> {
    pub(crate) fn new(plan: &'a Plan, limit: Limit) -> Self {
        let nodes = plan.commands.len();
        let population = Population::new(nodes, plan.clients, plan.entries);
        let report = Report {
            nodes,
            entries: plan.entries,
            clients: plan.clients,
            topics: population.topic_count(),
            ..Report::default()
        };
        let crowd = Crowd::new(plan.clients);
        Self { plan, limit, progress: Progress::new(), population, crowd, nodes: None, report, phase: "" }
    }

    /// The phase that was begun last.
    pub(crate) fn phase_name(&self) -> &'static str {
        self.phase
    }

    pub(crate) fn all_phases(&mut self) -> Result<(), Failure> {
        let mut nodes = self.start()?;
        let outcome = self.with_nodes(&mut nodes);
        // A node that ended by itself explains whatever failed.
        if let (Err(_), Some(fallen)) = (&outcome, nodes.fallen()) {
            self.report.errors.push(fallen);
        }
        self.nodes = Some(nodes);
        outcome
    }

    fn with_nodes(&mut self, nodes: &mut Nodes) -> Result<(), Failure> {
        if self.plan.load.is_some() {
            self.quiet(nodes)?;
        }
        self.fill(nodes)?;
        self.visible(nodes)?;
        if let Some(rate) = self.plan.load {
            self.busy(nodes, rate)?;
        }
        let over = self.crash(nodes)?;
        self.rejoin(nodes)?;
        self.compare(nodes, over)?;
        self.report.repairs_sent = Some(nodes.stat_sum("net.repairs_sent", &self.limit)?);
        self.report.snapshot_lanes_taken = Some(nodes.stat_sum("net.snapshot_lanes_taken", &self.limit)?);
        Ok(())
    }

    fn start(&mut self) -> Result<Nodes, Failure> {
        self.phase = "start";
        let count = self.plan.commands.len();
        let _phase = self.progress.phase(&format!("starting {count} nodes"), 0);
        let began = Instant::now();
        let mut nodes = Nodes::start(self.plan.commands.clone(), &self.limit)?;
        nodes.wait_for_members(&self.limit)?;
        self.report.start_ms = Some(millis_since(began));
        Ok(nodes)
    }

    fn fill(&mut self, nodes: &mut Nodes) -> Result<(), Failure> {
        self.phase = "fill";
        let all = nodes.alive();
        let what = format!("connecting {} clients", grouped(self.plan.clients as u64));
        let phase = self.progress.phase(&what, self.plan.clients);
        self.crowd.connect(&self.population, nodes, &all, &self.limit)?;
        self.crowd
            .enter_lobby(&mut self.population, &all, &self.limit, &phase)
            .map_err(|failure| phase.explain(failure))?;
        nodes.wait_for_count(self.population.present(), &self.limit, |_| ())?;
        drop(phase);

        let what = format!("{} joins", grouped(self.plan.entries as u64));
        let phase = self.progress.phase(&what, self.plan.entries);
        nodes.wait_for_told(self.plan.clients as u64, &self.limit)?;
        let before = self.sent(nodes)?;
        let began = Instant::now();
        self.crowd
            .enter_rooms(&mut self.population, &all, &self.limit, &phase)
            .map_err(|failure| phase.explain(failure))?;
        let filled = began.elapsed();
        drop(phase);

        let present = self.population.present();
        let phase = self.progress.phase("until every node lists them", present);
        nodes.wait_for_count(present, &self.limit, |least| phase.set(least))?;
        self.report.settle_ms = Some(millis(began.elapsed().saturating_sub(filled)));
        self.report.fill_ms = Some(millis(filled));
        if self.plan.entries > 0 {
            let (payload, entries) = self.population.payload();
            nodes.wait_for_told(self.plan.clients as u64 + entries, &self.limit)?;
            let after = self.sent(nodes)?;
            self.report.wire_bytes_per_join = Some(per(after.deltas - before.deltas, entries));
            self.report.wire_total_bytes_per_join = Some(per(after.all - before.all, entries));
            self.report.payload_bytes_per_join = Some(per(payload, entries));
            let rate = u128::from(entries) * 1_000_000 / filled.as_micros().max(1);
            self.report.joins_per_s = u64::try_from(rate).ok();
        }
        Ok(())
    }

    /// A cluster that has nothing to do.
    fn quiet(&mut self, nodes: &mut Nodes) -> Result<(), Failure> {
        self.phase = "quiet";
        let _phase = self.progress.phase(&format!("nothing, for {} s", busy::QUIET.as_secs()), 0);
        let meter = Meter::begin(nodes, &self.limit)?;
        self.limit.sleep(busy::QUIET)?;
        self.report.quiet_cost = Some(meter.end(nodes, &self.limit)?);
        Ok(())
    }

    /// Visitors again, while much else happens.
    fn busy(&mut self, nodes: &mut Nodes, rate: u64) -> Result<(), Failure> {
        self.phase = "busy";
        let what = format!("joins watched under {} changes a second", grouped(rate));
        let phase = self.progress.phase(&what, BUSY_VISITORS);
        let bustle = Bustle::start(nodes, rate, &self.limit)?;
        // Not the moment in which it begins.
        self.limit.sleep(SETTLE_IN)?;
        let meter = Meter::begin(nodes, &self.limit)?;
        let visible = self
            .visits(nodes, BUSY_VISITORS, || phase.advance(1))
            .map_err(|failure| phase.explain(failure))?;
        self.report.busy_visible_us = Some(visible);
        self.report.busy_cost = Some(meter.end(nodes, &self.limit)?);
        self.report.busy_changes_per_s = Some(bustle.stop()?);
        nodes.wait_for_count(self.population.present(), &self.limit, |_| ())
    }

    fn sent(&self, nodes: &mut Nodes) -> Result<Sent, Failure> {
        let deltas = nodes.stat_sum("net.delta_bytes_sent", &self.limit)?;
        let datagrams = nodes.stat_sum("net.bytes_sent", &self.limit)?;
        let snapshots = nodes.stat_sum("net.snapshot_bytes_sent", &self.limit)?;
        Ok(Sent { deltas, all: datagrams + snapshots })
    }

    fn visible(&mut self, nodes: &mut Nodes) -> Result<(), Failure> {
        self.phase = "visible";
        let what = format!("{VISITORS} joins, one by one, watched everywhere");
        let phase = self.progress.phase(&what, VISITORS);
        let visible =
            self.visits(nodes, VISITORS, || phase.advance(1)).map_err(|failure| phase.explain(failure))?;
        nodes.wait_for_count(self.population.present(), &self.limit, |_| ())?;
        self.report.visible_us = Some(visible);
        Ok(())
    }

    /// Joins that are watched everywhere. The visitors are about to leave when it returns.
    fn visits(&self, nodes: &Nodes, joins: usize, seen: impl FnMut()) -> Result<Visible, Failure> {
        let mut posts = Vec::new();
        for node in 0..nodes.len() {
            let [speaker, watcher] = [(); 2].map(|()| Client::connect(nodes.addr(node), &self.limit));
            posts.push(Post { node: nodes.name(node).into(), speaker: speaker?, watcher: watcher? });
        }
        let time = self.limit.left();
        let visits =
            Visits { topic: LOBBY, joins, pace: visible::PACE, time, lost_after: visible::LOST_AFTER };
        visible::measure(posts, visits, &self.limit, seen)
    }

    /// Kills the last node. Returns the life that ended.
    fn crash(&mut self, nodes: &mut Nodes) -> Result<Life, Failure> {
        self.phase = "crash";
        let victim = nodes.len() - 1;
        let over = nodes.life(victim, &self.limit)?;
        let phase = self.progress.phase(&format!("kill -9 {}", nodes.name(victim)), 0);
        let began = Instant::now();
        nodes.kill(victim)?;
        let gone = self.population.end_life(victim);
        self.crowd.disconnect(&self.population, victim);
        nodes.wait_for_count(self.population.present(), &self.limit, |_| ())?;
        self.report.crash_noticed_ms = Some(millis_since(began));
        self.report.crash_entries = Some(gone);
        drop(phase);

        // The counts say so; the lists have to say the same.
        let phase = self.progress.phase("listing everything on the survivors", self.listings(nodes));
        let found = verify::compare(nodes, &self.population, over, &self.limit, &phase)
            .map_err(|failure| phase.explain(failure))?;
        self.report
            .errors
            .extend(found.differences.into_iter().map(|text| format!("after the crash: {text}")));
        Ok(over)
    }

    fn rejoin(&mut self, nodes: &mut Nodes) -> Result<(), Failure> {
        self.phase = "rejoin";
        let victim = nodes.len() - 1;
        let present = self.population.present();
        let phase = self.progress.phase(&format!("starting {} again", nodes.name(victim)), 0);
        let began = Instant::now();
        nodes.start_again(victim, &self.limit)?;
        nodes.wait_for_members(&self.limit)?;
        nodes.wait_for_count(present, &self.limit, |_| ())?;
        self.report.rejoin_ms = Some(millis_since(began));
        drop(phase);

        self.phase = "refill";
        let missing = self.plan.clients + self.plan.entries - present;
        let phase = self.progress.phase("its clients come back", missing);
        let began = Instant::now();
        self.crowd.connect(&self.population, nodes, &[victim], &self.limit)?;
        self.crowd.enter_lobby(&mut self.population, &[victim], &self.limit, &phase)?;
        self.crowd
            .enter_rooms(&mut self.population, &[victim], &self.limit, &phase)
            .map_err(|failure| phase.explain(failure))?;
        nodes.wait_for_count(self.population.present(), &self.limit, |_| ())?;
        self.report.refill_ms = Some(millis_since(began));
        Ok(())
    }

    fn compare(&mut self, nodes: &mut Nodes, over: Life) -> Result<(), Failure> {
        self.phase = "compare";
        let phase = self.progress.phase("comparing all views, entry by entry", self.listings(nodes));
        let found = verify::compare(nodes, &self.population, over, &self.limit, &phase)
            .map_err(|failure| phase.explain(failure))?;
        self.report.compared = Some(found.compared);
        self.report.old_life_entries = Some(found.old_life);
        self.report.views_equal = found.differences.is_empty();
        self.report.errors.extend(found.differences);
        if found.old_life > 0 {
            let text = format!("{} entries of the killed process are listed", found.old_life);
            self.report.errors.push(text);
        }
        Ok(())
    }

    fn listings(&self, nodes: &Nodes) -> usize {
        self.population.topic_count() * nodes.alive().len()
    }

    /// How to join the cluster that goes on.
    pub(crate) fn invitation(&self, program: &str, time: Option<Duration>) -> String {
        let Some(nodes) = &self.nodes else { return String::new() };
        let mut text = String::from("\n  The cluster goes on. Join it from another terminal:\n\n");
        for node in nodes.alive() {
            let addr = nodes.addr(node);
            let _ = writeln!(text, "    nc {} {}        # {}", addr.ip(), addr.port(), nodes.name(node));
        }
        let topic = if self.plan.entries > 0 { "room:1" } else { "lobby" };
        let _ = writeln!(
            text,
            "\n  and then type: LIST {topic}, JOIN {topic} me hello, WATCH {topic}, NODES, HELP."
        );
        let _ = writeln!(text, "  Or add a node of your own:\n");
        let (cluster, group) = (&self.plan.cluster, self.plan.group);
        let _ = writeln!(text, "    {program} node --name mine --cluster {cluster} --group {group}\n");
        if cfg!(unix) {
            let _ = writeln!(text, "  Or look into it:\n");
            let first = nodes.alive().first().map_or_else(String::new, |&node| nodes.name(node).to_owned());
            for command in [
                "stat".to_owned(),
                "top".to_owned(),
                format!("topics --process {first}"),
                format!("watch {topic} --process {first}"),
                "verify".to_owned(),
            ] {
                let _ = writeln!(text, "    {program} {command}");
            }
            text.push('\n');
        }
        match time {
            Some(time) => {
                let _ = write!(text, "  It ends in {} s, or with Ctrl-C here.", time.as_secs());
            }
            None => text.push_str("  Press Ctrl-C here to stop it."),
        }
        text
    }

    /// Ends the nodes, giving them until the limit to say goodbye.
    pub(crate) fn leave(self, limit: &Limit) {
        if let Some(nodes) = self.nodes {
            nodes.leave(limit);
        }
    }
}

/// Bytes that all nodes have sent to each other.
#[derive(Clone, Copy, Debug)]
struct Sent {
    deltas: u64,
    /// Heartbeats, repairs and snapshots too.
    all: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people, with one decimal")]
fn per(sum: u64, count: u64) -> f64 {
    (sum as f64 / count as f64 * 10.0).round() / 10.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis_since(began: Instant) -> u64 {
    millis(began.elapsed())
}
