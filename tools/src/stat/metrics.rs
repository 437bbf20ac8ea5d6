//! Text for Prometheus and everything that reads what it reads: in its text format, or as OpenMetrics.
//!
//! A table and a field make a metric, `headcount_TABLE_FIELD`, with base units (seconds, bytes) in its name where it has one. Labels tell
//! the process (`pid`, `process`, `node`, `cluster`) and the row: by the row's own name where it has one (`peer`, `topic`, `message`), by its
//! number otherwise (`shard`). What else a row says in words is in the labels of a metric that is always 1, `headcount_TABLE_info`. Processes
//! that do not run have `headcount_up 0` and nothing else: what they counted is over.
//!
//! The samples are the same in both formats, and so are their names; what is declared of them is not ([`Format`]).

use super::{Look, Seen};
use crate::inspect::choose::is_alive;
use crate::inspect::snapshot::{Row, Snapshot, Table, Value};
use headcount::counters::{Distribution, FieldInfo, Kind, Life};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::SystemTime;

/// Tables that are no metrics: facts are labels, and rings of what was last are for looking at.
const LEFT_OUT: [&str; 3] = ["fact", "event", "topic_sample"];
/// Upper bounds of the buckets of times, in seconds. What a bucket counts is right to a sixteenth of its bound, as what is counted is.
const BOUNDS: [f64; 22] = [
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Fields that tell rows apart and count nothing.
const IDENTITIES: [&str; 4] = ["id", "listener", "speaker", "row"];

type Labels = Vec<(String, String)>;

/// How families are declared. Neither format's strict readers take what the other's demand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Format {
    /// Prometheus's text format, version 0.0.4: what node_exporter's textfile collector and the Pushgateway read
    Text,
    /// OpenMetrics 1.0
    Openmetrics,
}

#[derive(Debug)]
struct Family {
    kind: &'static str,
    unit: &'static str,
    help: String,
    samples: Vec<Sample>,
    /// Labels that have a sample.
    taken: BTreeSet<String>,
}

/// What is said under the same labels: one value, or those of a histogram.
#[derive(Debug)]
struct Sample {
    labels: Labels,
    values: Vec<Valued>,
}

#[derive(Debug)]
struct Valued {
    suffix: &'static str,
    le: Option<String>,
    value: String,
}

#[derive(Debug, Default)]
struct Exposition(BTreeMap<String, Family>);

pub(super) fn text(seen: &[Seen], format: Format) -> String {
    let mut all = Exposition::default();
    let mut unreadable = 0_u64;
    for seen in seen {
        match &seen.what {
            Ok(look) => process(look, &mut all),
            Err(_) => unreadable += 1,
        }
    }
    all.family("headcount_unreadable_files", "gauge", "", "Counters files of other users or other versions.")
        .number("", &Labels::new(), unreadable.to_string());
    all.write(format)
}

impl Exposition {
    fn family(&mut self, name: &str, kind: &'static str, unit: &'static str, help: &str) -> &mut Family {
        // Another table of another version may give the same name to another thing: that one has a name of its own then.
        let taken = self.0.get(name).is_some_and(|family| family.kind != kind || family.unit != unit);
        let name = if taken { format!("{name}_{kind}") } else { name.to_owned() };
        let (help, samples, taken) = (help.to_owned(), Vec::new(), BTreeSet::new());
        self.0.entry(name).or_insert(Family { kind, unit, help, samples, taken })
    }

    fn write(&self, format: Format) -> String {
        let mut out = String::new();
        for (name, family) in &self.0 {
            match format {
                Format::Text => family.declare_as_text(name, &mut out),
                Format::Openmetrics => family.declare(name, &mut out),
            }
            family.write(name, &mut out);
        }
        if format == Format::Openmetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

impl Family {
    fn declare(&self, name: &str, out: &mut String) {
        let _ = writeln!(out, "# TYPE {name} {}", self.kind);
        // It may be left out, and strict parsers mind it at histograms.
        let says_unit = self.kind != "histogram" && !self.unit.is_empty();
        if says_unit && name.ends_with(self.unit) {
            let _ = writeln!(out, "# UNIT {name} {}", self.unit);
        }
        let _ = writeln!(out, "# HELP {name} {}", escaped(&self.help));
    }

    /// What is declared there is the name that the samples have, without a unit; the format has no kind info, and a whole text with one
    /// is refused.
    fn declare_as_text(&self, name: &str, out: &mut String) {
        let (suffix, kind) = match self.kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            kind => ("", kind),
        };
        // A quotation mark is no escape there.
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
    }

    /// The labels, unlike those of every other sample of the family.
    fn unlike(&mut self, labels: &Labels) -> Labels {
        let mut unlike = labels.clone();
        let mut number = 2;
        while !self.taken.insert(written(&unlike, None)) {
            unlike.truncate(labels.len());
            unlike.push(("duplicate".into(), number.to_string()));
            number += 1;
        }
        unlike
    }

    fn number(&mut self, suffix: &'static str, labels: &Labels, value: String) {
        let labels = self.unlike(labels);
        self.samples.push(Sample { labels, values: vec![Valued { suffix, le: None, value }] });
    }

    fn histogram(&mut self, labels: &Labels, times: &Distribution, in_ns: bool) {
        let labels = self.unlike(labels);
        let divisor = if in_ns { 1e9 } else { 1.0 };
        let mut buckets = times.buckets().peekable();
        let mut count = 0_u64;
        let mut values = Vec::new();
        let bucket =
            |le: String, count: u64| Valued { suffix: "_bucket", le: Some(le), value: count.to_string() };
        for bound in BOUNDS {
            // What is no time has bounds from 1 up.
            let bound = if in_ns { bound } else { (bound * 1e6).round() };
            while let Some((_, more)) = buckets.next_if(|(upper, _)| *upper as f64 / divisor <= bound) {
                count += more;
            }
            values.push(bucket(number(bound), count));
        }
        count += buckets.map(|(_, more)| more).sum::<u64>();
        values.push(bucket("+Inf".into(), count));
        values.push(Valued { suffix: "_count", le: None, value: count.to_string() });
        values.push(Valued { suffix: "_sum", le: None, value: number(times.sum() as f64 / divisor) });
        self.samples.push(Sample { labels, values });
    }

    /// Every sample has every label that one of them has, as strict readers want it; an empty one means that there is none.
    fn write(&self, name: &str, out: &mut String) {
        let mut names: Vec<&str> = Vec::new();
        for (label, _) in self.samples.iter().flat_map(|sample| &sample.labels) {
            if !names.contains(&label.as_str()) {
                names.push(label);
            }
        }
        for sample in &self.samples {
            let of = |name: &str| {
                sample.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.clone())
            };
            let labels: Labels =
                names.iter().map(|name| ((*name).to_owned(), of(name).unwrap_or_default())).collect();
            for Valued { suffix, le, value } in &sample.values {
                let _ = writeln!(out, "{name}{suffix}{} {value}", written(&labels, le.as_deref()));
            }
        }
    }
}

fn process(look: &Look, all: &mut Exposition) {
    let now = &look.now;
    let mut labels: Labels = vec![("pid".into(), now.pid.to_string())];
    for (label, fact) in [("process", "program"), ("node", "node"), ("cluster", "cluster")] {
        labels.extend(now.fact(fact).map(|value| (label.to_owned(), value.to_owned())));
    }
    let up = u64::from(now.life == Life::Running).to_string();
    all.family("headcount_up", "gauge", "", "1 if the process runs, 0 if it is silent or was killed.")
        .number("", &labels, up);
    if !is_alive(now.life) {
        return;
    }
    let started = now.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    all.family("headcount_start_timestamp_seconds", "gauge", "seconds", "When the process began to count.")
        .number("", &labels, number(started));
    let mut facts = labels.clone();
    let known = ["program", "node", "cluster"];
    facts.extend(
        now.facts
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(name, value)| (label_name(name), value.clone())),
    );
    all.family("headcount_process", "info", "", "What the process says of itself.").number(
        "_info",
        &facts,
        "1".into(),
    );
    for table in now.tables.iter().filter(|table| !LEFT_OUT.contains(&table.name.as_str())) {
        for row in &table.rows {
            let mut of_row = labels.clone();
            of_row.extend(row_labels(now, table, row));
            for (field, value) in table.values(row) {
                sample(all, table, field, value, &of_row);
            }
            info(all, table, row, of_row);
        }
    }
}

/// Which row it is.
fn row_labels(now: &Snapshot, table: &Table, row: &Row) -> Labels {
    let table_name = label_name(&table.name);
    match table.name.as_str() {
        "shard" => vec![("shard".into(), row.number.to_string())],
        "topic_large" => {
            let shards = now.table("shard").map_or(1, |shards| shards.room.max(1));
            let shard = row.number / (table.room / shards).max(1);
            vec![
                ("shard".into(), shard.to_string()),
                ("topic".into(), table.text(row, "topic").unwrap_or_default().into()),
            ]
        }
        "hearing" => {
            let node = |field| node_name(now, table.number(row, field).unwrap_or(0));
            vec![("listener".into(), node("listener")), ("speaker".into(), node("speaker"))]
        }
        _ if table.room == 1 => Vec::new(),
        _ => match identity(table) {
            Some(field) => {
                let name = if field.name == "name" { table_name } else { label_name(&field.name) };
                vec![(name, table.text(row, &field.name).unwrap_or_default().into())]
            }
            None => vec![(table_name, row.number.to_string())],
        },
    }
}

/// The text that says which row it is.
fn identity(table: &Table) -> Option<&FieldInfo> {
    let texts = || table.fields.iter().filter(|field| field.kind == Kind::Text);
    let named = texts().find(|field| ["name", "topic", "message"].contains(&field.name.as_str()));
    named.or_else(|| texts().next()).filter(|_| table.room > 1)
}

/// The name of a node that peers, or the process itself, say the name of; its id otherwise.
fn node_name(now: &Snapshot, id: u64) -> String {
    if now.number("node", "id") == Some(id) {
        return now.name();
    }
    let peers = now.table("peer");
    let name = peers.and_then(|peers| {
        let row = peers.rows.iter().find(|row| peers.number(row, "id") == Some(id))?;
        peers.text(row, "name").map(str::to_owned)
    });
    name.unwrap_or_else(|| format!("{id:08x}"))
}

fn sample(all: &mut Exposition, table: &Table, field: &FieldInfo, value: &Value, labels: &Labels) {
    if IDENTITIES.contains(&field.name.as_str()) {
        return;
    }
    let (name, unit) = metric_name(table, field);
    let help = field.help.as_str();
    match (value, field.kind) {
        (Value::Number(count), Kind::Counter) => {
            let value = in_base_unit(*count, &field.unit);
            all.family(&name, "counter", unit, help).number("_total", labels, value);
        }
        (Value::Number(level), _) => {
            let value = in_base_unit(*level, &field.unit);
            all.family(&name, "gauge", unit, help).number("", labels, value);
        }
        (Value::Times(times), _) => {
            all.family(&name, "histogram", unit, help).histogram(labels, times, field.unit == "ns");
        }
        (Value::Text(_), _) => {}
    }
}

/// What a row says in words beside which row it is.
fn info(all: &mut Exposition, table: &Table, row: &Row, mut labels: Labels) {
    let identity = identity(table).map(|field| field.name.clone());
    let before = labels.len();
    for (field, value) in table.values(row) {
        let value = match value {
            Value::Text(text) if Some(&field.name) != identity.as_ref() => text.clone(),
            Value::Number(id) if field.name == "id" => format!("{id:08x}"),
            _ => continue,
        };
        labels.push((label_name(&field.name), value));
    }
    if labels.len() > before {
        let name = format!("headcount_{}", metric_part(&table.name));
        all.family(&name, "info", "", &table.help).number("_info", &labels, "1".into());
    }
}

/// The name of a metric without what its kind adds, and its unit.
fn metric_name(table: &Table, field: &FieldInfo) -> (String, &'static str) {
    let field_name = metric_part(&field.name);
    let base = field_name.strip_suffix("_total").unwrap_or(&field_name);
    let table = metric_part(&table.name);
    match field.unit.as_str() {
        "ns" => (format!("headcount_{table}_{base}_seconds"), "seconds"),
        "unix ns" => {
            let base = base.strip_suffix("_at").unwrap_or(base);
            (format!("headcount_{table}_{base}_timestamp_seconds"), "seconds")
        }
        "thousandths" => (format!("headcount_{table}_{base}_ratio"), "ratio"),
        "bytes/s" => (format!("headcount_{table}_{base}_bytes_per_second"), ""),
        "bytes" if base.ends_with("bytes") => (format!("headcount_{table}_{base}"), "bytes"),
        "bytes" if base.split('_').any(|part| part == "bytes") => (format!("headcount_{table}_{base}"), ""),
        "bytes" => (format!("headcount_{table}_{base}_bytes"), "bytes"),
        _ => (format!("headcount_{table}_{base}"), ""),
    }
}

fn in_base_unit(value: u64, unit: &str) -> String {
    match unit {
        // Longer than can be said.
        "ns" if value == u64::MAX => "+Inf".into(),
        "ns" | "unix ns" => number(value as f64 / 1e9),
        "thousandths" => number(value as f64 / 1e3),
        _ => value.to_string(),
    }
}

/// A number as the format has it.
fn number(value: f64) -> String {
    let short = format!("{value}");
    if short.contains('.') { short } else { format!("{short}.0") }
}

/// What may be in the name of a metric, of what is in the name of a table or field.
fn metric_part(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// As [`metric_part`], for labels, which may not begin with a digit.
fn label_name(name: &str) -> String {
    let part = metric_part(name);
    if part.starts_with(|c: char| c.is_ascii_digit()) || part.is_empty() { format!("_{part}") } else { part }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn written(labels: &Labels, le: Option<&str>) -> String {
    let mut parts: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    parts.extend(le.map(|le| format!("le=\"{le}\"")));
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::snapshot::tests::Folder;
    use headcount::counters::{Counters, Field, Reader, Schema};

    const TIMES: Schema = Schema {
        name: "times",
        help: "Times.",
        fields: &[
            Field::histogram("apply", "ns", "To apply."),
            Field::gauge("patience", "thousandths", "Patience."),
            Field::gauge("seen_at", "unix ns", "When."),
            Field::gauge("drops_total", "datagrams", "As another says."),
            Field::counter("sent_bytes_total", "bytes", "Sent."),
        ],
    };
    const PEER: Schema = Schema {
        name: "peer",
        help: "A peer.",
        fields: &[
            Field::text("name", 32, "Its name."),
            Field::text("addr", 32, "Its address."),
            Field::gauge("id", "", "Its id."),
            Field::gauge("entries", "entries", "Entries."),
        ],
    };

    fn exposition(counters: &Counters) -> String {
        let reader = Reader::open(counters.path().unwrap()).unwrap();
        let (file, pid) = (reader.path().display().to_string(), reader.pid());
        text(&[Seen { file, pid, what: Ok(Look::new(reader)) }], Format::Openmetrics)
    }

    fn lines<'a>(text: &'a str, of: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.contains(of)).collect()
    }

    #[test]
    fn times_are_cumulative_buckets_in_seconds() {
        let folder = Folder::new("metrics-times");
        let counters = folder.counters();
        let row = counters.table(&TIMES, 1).row(0);
        [900, 90_000, 95_000, 60_000_000_000_u64].iter().for_each(|&ns| row.histogram("apply").record(ns));
        row.number("patience").set(1500);
        row.number("seen_at").set(1_500_000_000);
        row.number("sent_bytes_total").set(7);
        row.show();
        let text = exposition(&counters);
        let bucket = |le: &str| {
            let found = lines(&text, &format!("le=\"{le}\""));
            assert_eq!(found.len(), 1, "{le} in {text}");
            found[0].rsplit(' ').next().unwrap().to_owned()
        };
        let counts = ["0.000001", "0.00005", "0.0001", "10.0", "+Inf"].map(bucket);
        assert_eq!(counts, ["1", "1", "3", "3", "4"], "{text}");
        assert!(lines(&text, "headcount_times_apply_seconds_sum")[0].ends_with(" 60.0001859"), "{text}");
        for (name, unit, value) in [
            ("headcount_times_patience_ratio", "ratio", " 1.5"),
            ("headcount_times_seen_timestamp_seconds", "seconds", " 1.5"),
            ("headcount_times_drops", "", " 0"),
            ("headcount_times_sent_bytes_total", "", " 7"),
        ] {
            assert!(lines(&text, &format!("{name}{{"))[0].ends_with(value), "{name} in {text}");
            let units = lines(&text, &format!("# UNIT {name} "));
            assert_eq!(units, if unit.is_empty() { vec![] } else { vec![format!("# UNIT {name} {unit}")] });
        }
        assert!(text.contains(
            "# TYPE headcount_times_sent_bytes counter\n# UNIT headcount_times_sent_bytes bytes\n"
        ));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn rows_are_labelled_with_their_names_whatever_those_are_and_never_twice_the_same() {
        let folder = Folder::new("metrics-labels");
        let counters = folder.counters();
        counters.set_fact("node", "a \"b\"\\\nc");
        let table = counters.table(&PEER, 4);
        for row in 0..3 {
            let row = table.row(row);
            row.text("name").set("web-2");
            row.text("addr").set("127.0.0.1:1");
            row.number("id").set(0xab);
            row.show();
        }
        let text = exposition(&counters);
        let entries = lines(&text, "headcount_peer_entries{");
        assert_eq!(entries.len(), 3, "{text}");
        assert!(entries[0].contains(r#"node="a \"b\"\\\nc""#), "{text}");
        assert!(entries[0].contains(r#"peer="web-2",duplicate=""} 0"#), "{text}");
        assert!(entries[2].contains(r#"peer="web-2",duplicate="3"}"#), "{text}");
        let info = lines(&text, "headcount_peer_info{");
        assert!(info[0].contains(r#"addr="127.0.0.1:1",id="000000ab""#), "{text}");
        assert!(lines(&text, "headcount_peer_id").is_empty(), "{text}");
    }
}
