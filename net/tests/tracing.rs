//! What a subscriber is told of real nodes over the loopback (feature `tracing`).
use headcount::Tracker;
use headcount_net::{Config, Interface, Keys, MemberState};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

mod common;

use common::{PATIENCE, eventually, group, join};

/// An event: its level, its target's last word, its message, and its fields beside those of the spans around it.
#[derive(Clone, Debug)]
struct Told {
    level: Level,
    target: String,
    message: String,
    fields: BTreeMap<String, String>,
}

impl Told {
    fn is(&self, level: Level, target: &str, message: &str) -> bool {
        (self.level, self.target.as_str(), self.message.as_str()) == (level, target, message)
    }

    fn number(&self, field: &str) -> f64 {
        self.fields
            .get(field)
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("{field} of {self:?}"))
    }
}

#[derive(Clone, Default)]
struct Fields(BTreeMap<String, String>);

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

/// Collects everything.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &tracing::Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let target = event.metadata().target().rsplit("::").next().unwrap_or_default().to_owned();
        let told = Told { level: *event.metadata().level(), target, message, fields: fields.0 };
        self.0.lock().expect("nobody panics with it").push(told);
    }
}

impl Collector {
    /// Does something whose nodes tell this collector.
    fn around<T>(&self, join: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(self.clone()), join)
    }

    fn all(&self) -> Vec<Told> {
        self.0.lock().expect("nobody panics with it").clone()
    }

    /// The first event of that kind, which comes in time.
    #[track_caller]
    fn waits_for(&self, level: Level, target: &str, message: &str) -> Told {
        let mut found = None;
        eventually(message, || {
            found = self.all().into_iter().find(|told| told.is(level, target, message));
            found.is_some()
        });
        found.expect("it is there")
    }
}

#[test]
fn a_join_and_a_leave_are_told_with_the_node_that_saw_them() {
    let group = group();
    let told = Collector::default();
    let (_a, cluster_a) = told.around(|| join(group, "a"));
    let joined = told.waits_for(Level::INFO, "membership", "joined");
    assert_eq!((joined.fields["node"].as_str(), joined.fields["cluster"].as_str()), ("a", "test"));
    assert_eq!(joined.fields["incarnation"], cluster_a.incarnation().to_string());

    // Who joins outside of its scope is not told of here, but by those who see it.
    let (_b, cluster_b) = join(group, "b");
    let met = told.waits_for(Level::INFO, "membership", "member met");
    assert_eq!((met.fields["node"].as_str(), met.fields["peer"].as_str()), ("a", "b"));
    assert_eq!(met.fields["id"], cluster_b.node_id().to_string());
    assert_eq!(met.fields["incarnation"], cluster_b.incarnation().to_string());

    cluster_b.leave();
    let left = told.waits_for(Level::INFO, "membership", "member left");
    assert_eq!(left.fields["peer"], "b");
    cluster_a.leave();
    let end = told.waits_for(Level::INFO, "membership", "left");
    assert_eq!(end.fields["node"], "a");
    assert!(told.all().iter().all(|told| told.fields["node"] == "a"), "{:?}", told.all());
}

#[test]
fn a_handover_and_the_next_life_are_told() {
    let group = group();
    let told = Collector::default();
    let (_a, _cluster_a) = told.around(|| join(group, "a"));
    let (_b, cluster_b) = join(group, "b");
    told.waits_for(Level::INFO, "membership", "member met");
    cluster_b.leave_with_handover(Duration::from_secs(20));
    told.waits_for(Level::INFO, "membership", "member leaving, its entries stay for a while");
    let (_b, again) = join(group, "b");
    let replaced = told.waits_for(Level::INFO, "membership", "member replaced by its next life");
    assert_eq!(replaced.fields["incarnation"], cluster_b.incarnation().to_string());
    assert_eq!(replaced.fields["by"], again.incarnation().to_string());
}

/// Where the node of the other process is to join.
const KILLED_IN: &str = "HEADCOUNT_TEST_KILLED_IN";

/// Run by the next test in a process of its own.
#[test]
fn the_node_that_is_killed() {
    let Some(group) = std::env::var(KILLED_IN).ok().and_then(|group| group.parse().ok()) else {
        return;
    };
    let _node = join(group, "b");
    std::thread::sleep(6 * PATIENCE);
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_crash_is_told_as_suspect_and_down() {
    let group = group();
    let told = Collector::default();
    let (_a, cluster_a) = told.around(|| join(group, "a"));
    let mut other = Command::new(std::env::current_exe().expect("this program"));
    other.args(["--exact", "the_node_that_is_killed"]).env(KILLED_IN, group.to_string());
    let other = Killed(other.stdout(Stdio::null()).spawn().expect("it starts"));
    told.waits_for(Level::INFO, "membership", "member met");
    drop(other);
    let suspect = told.waits_for(Level::INFO, "membership", "member suspect");
    let down = told.waits_for(Level::WARN, "membership", "member down");
    assert_eq!((suspect.fields["peer"].as_str(), down.fields["peer"].as_str()), ("b", "b"));
    assert_eq!(cluster_a.members()[0].state, MemberState::Down);
}

#[test]
fn a_snapshot_is_told_from_its_request_to_its_end_by_both_sides() {
    let group = group();
    let (giver, taker) = (Collector::default(), Collector::default());
    let (a, _cluster_a) = giver.around(|| join(group, "a"));
    let session = a.session();
    session
        .track_many((0..20_000).map(|i| (format!("room:{}", i % 100), format!("user-{i}"), "meta")))
        .unwrap();
    let (b, cluster_b) = taker.around(|| join(group, "b"));
    eventually("b has all", || b.len() == 20_000);
    assert!(cluster_b.wait_synced(PATIENCE));

    let is_over = |told: &&Told| told.is(Level::DEBUG, "snapshot", "snapshot over");
    eventually("all is over", || {
        taker.all().iter().filter(is_over).any(|told| told.fields["outcome"] == "complete")
    });
    let taken = taker.all().into_iter().find(|told| is_over(&told) && told.fields["outcome"] == "complete");
    let taken = taken.expect("it is there");
    for (field, value) in [("node", "b"), ("peer", "a"), ("owner", "a"), ("direction", "taken")] {
        assert_eq!(taken.fields[field], value, "{taken:?}");
    }
    assert!(taken.number("bytes") > 100_000.0 && taken.number("lanes") > 0.0, "{taken:?}");
    let lanes =
        taker.all().iter().filter(|told| told.is(Level::TRACE, "snapshot", "lane taken")).count() as u64;
    let stats = cluster_b.stats();
    assert_eq!(lanes, stats.snapshot_lanes_taken + stats.catch_ups_taken);

    let given = giver.waits_for(Level::DEBUG, "snapshot", "snapshot over");
    for (field, value) in [("node", "a"), ("owner", "a"), ("direction", "given")] {
        assert_eq!(given.fields[field], value, "{given:?}");
    }
    // Its request may come before its announcement is heard; then only its id is known.
    let peer = &given.fields["peer"];
    assert!(*peer == "b" || *peer == cluster_b.node_id().to_string(), "{given:?}");
}

#[test]
fn no_operation_is_told() {
    let group = group();
    let told = Collector::default();
    let nodes = told.around(|| [join(group, "a"), join(group, "b")]);
    let [(a, _cluster_a), (b, cluster_b)] = &nodes;
    eventually("they met", || told.all().iter().filter(|told| told.message == "member met").count() == 2);
    assert!(cluster_b.wait_synced(PATIENCE));
    let before = told.all().len();
    let session = a.session();
    for i in 0..10_000 {
        session.track(format!("room:{}", i % 100), format!("user-{i}"), "meta").unwrap();
    }
    eventually("b has all", || b.len() == 10_000);
    drop(session);
    eventually("b has none", || b.is_empty());
    let after = told.all();
    // A busy machine loses datagrams and stands still, which is told: a few times a second for each node.
    assert!(after.len() - before < 100, "{:?}", &after[before..]);
}

#[test]
fn changes_of_keys_are_told_by_epoch_and_never_the_key() {
    let secret = Keys::generate(7).expect("there is randomness");
    let keys = |text: &str| Keys::parse(text).expect("a key");
    let told = Collector::default();
    let tracker = Tracker::new();
    let first = Keys::generate(1).expect("there is randomness");
    let config =
        Config::new("test").node("a").multicast(group(), Interface::Loopback).keys(keys(first.expose()));
    let cluster = told.around(|| config.join(&tracker)).expect("joins");
    cluster.install_keys(keys(secret.expose())).unwrap();
    cluster.use_key(7).unwrap();
    cluster.remove_key(1).unwrap();
    assert!(cluster.remove_key(7).is_err(), "it is in use");
    assert_eq!(told.waits_for(Level::INFO, "keys", "keys installed").fields["epochs"], "[7]");
    assert_eq!(told.waits_for(Level::INFO, "keys", "key in use").fields["epoch"], "7");
    let removed: Vec<Told> = told.all().into_iter().filter(|told| told.message == "key removed").collect();
    assert_eq!((removed.len(), removed[0].fields["epoch"].as_str()), (1, "1"));
    let hex = secret.expose().trim().split(':').nth(1).expect("epoch:key").to_owned();
    assert!(!format!("{:?}", told.all()).contains(&hex));
}
