//! One process, in detail.

use super::Seen;
use super::listing::{members, or_dash};
use crate::inspect::diary::{largest, latest, peer_state};
use crate::inspect::grid::{Grid, Side};
use crate::inspect::snapshot::{Snapshot, life_words};
use crate::inspect::span::{ALL_CHANGES, Span};
use crate::inspect::words::{self, plain};
use crate::number::{counted, grouped};
use headcount::counters::{Kind, Life};
use std::fmt::Write;

/// Topics and events that are shown.
const SHOWN: usize = 8;
/// Tables that have their place here; others are named.
const KNOWN: [&str; 13] = [
    "fact",
    "error",
    "event",
    "shard",
    "topic_sample",
    "topic_large",
    "engine",
    "clients",
    "node",
    "times",
    "peer",
    "hearing",
    "net",
];

pub(super) fn text(seen: &Seen) -> String {
    let look = match &seen.what {
        Ok(look) => look,
        Err(error) => return format!("{error}\n"),
    };
    let (now, span) = (&look.now, look.span());
    let mut out = head(now);
    state(now, &mut out);
    traffic(now, span, &mut out);
    times(now, &mut out);
    peers(now, &mut out);
    shards(now, span, &mut out);
    topics(now, &mut out);
    errors(now, &mut out);
    events(now, &mut out);
    let others = now.tables.iter().filter(|table| !KNOWN.contains(&table.name.as_str()));
    for table in others {
        let _ = writeln!(
            out,
            "\n{} ({}): {} See --json.",
            plain(&table.name, 32),
            counted(table.rows.len() as u64, "row", "rows"),
            plain(&table.help, 128)
        );
    }
    out
}

fn head(now: &Snapshot) -> String {
    let cluster =
        now.fact("cluster").map_or(String::new(), |cluster| format!(" of cluster {}", plain(cluster, 64)));
    let life = match now.life {
        Life::Running => format!("running for {}", words::age(now.uptime())),
        life => life_words(life),
    };
    let mut out = format!("{}{cluster}, pid {}: {life}\n", now.name(), now.pid);
    let facts = now.facts.iter().filter(|(name, _)| name != "node" && name != "cluster");
    let facts: Vec<String> =
        facts.map(|(name, value)| format!("{} {}", plain(name, 32), plain(value, 60))).collect();
    let _ = writeln!(out, "  {}", facts.join(", "));
    out
}

fn state(now: &Snapshot, out: &mut String) {
    let number = |field| or_dash(now.number("engine", field));
    let things = |field, one: &str, more: &str| {
        now.number("engine", field).map_or_else(|| format!("- {more}"), |count| counted(count, one, more))
    };
    let bytes = |field| now.number("engine", field).map_or_else(|| "-".into(), words::bytes);
    if now.table("engine").is_some_and(|engine| !engine.rows.is_empty()) {
        let _ = writeln!(
            out,
            "  {}, {} of them of this node's {}; {}; {}, {} of them behind",
            things("entries", "entry", "entries"),
            number("entries_local"),
            things("sessions", "session", "sessions"),
            things("topics", "topic", "topics"),
            things("subscriptions", "subscription", "subscriptions"),
            number("subscriptions_lagging"),
        );
        let huge = match now.number("engine", "memory_huge_advised") {
            Some(1) => "huge pages agreed",
            _ => "no huge pages",
        };
        let _ = writeln!(
            out,
            "  {} of memory in use, {} held; {huge}",
            bytes("memory_used_bytes"),
            bytes("memory_held_bytes")
        );
    }
    if let Some(clients) = now.number("clients", "connections") {
        let _ = writeln!(out, "  {} connected", counted(clients, "client", "clients"));
    }
    if let Some(others) = members(now) {
        let _ = writeln!(out, "  {}", counted(others, "other node", "other nodes"));
    }
}

/// Counters of interest: totals, and how fast they grow.
fn traffic(now: &Snapshot, span: Option<Span<'_>>, out: &mut String) {
    let mut grid = Grid::new([
        ("counter", Side::Left),
        ("per second", Side::Right),
        ("average", Side::Right),
        ("total", Side::Right),
    ]);
    let uptime = now.uptime().as_secs_f64().max(0.001);
    for table in now.tables.iter().filter(|table| ["shard", "clients", "net"].contains(&table.name.as_str()))
    {
        for field in table.fields.iter().filter(|field| field.kind == Kind::Counter) {
            let total = now.sum(&table.name, &field.name).unwrap_or(0);
            // The network counts much that seldom happens.
            if total == 0 && table.name != "shard" {
                continue;
            }
            let name = field.name.trim_end_matches("_total").replace('_', " ");
            let area = if table.name == "shard" { "" } else { &format!("{}: ", table.name) };
            let rate = span.and_then(|span| span.rate(&table.name, &field.name));
            grid.row([
                format!("{area}{}", plain(&name, 40)),
                rate.map_or_else(|| "-".into(), words::rate),
                words::rate(total as f64 / uptime),
                grouped(total),
            ]);
        }
    }
    if !grid.is_empty() {
        let over = span.map_or_else(String::new, |span| {
            format!(" (per second: of the last {:.1} s; average: since the start)", span.seconds())
        });
        let _ = writeln!(out, "\nCounters{over}");
        grid.write(2, out);
    }
}

/// Histograms of tables that have one row.
fn times(now: &Snapshot, out: &mut String) {
    let mut grid = Grid::new([
        ("time", Side::Left),
        ("p50", Side::Right),
        ("p90", Side::Right),
        ("p99", Side::Right),
        ("longest", Side::Right),
        ("count", Side::Right),
        ("", Side::Left),
    ]);
    for table in now.tables.iter().filter(|table| table.room == 1) {
        let Some(row) = table.rows.first() else { continue };
        for field in table.fields.iter().filter(|field| field.kind == Kind::Histogram) {
            let Some(times) = table.times(row, &field.name) else { continue };
            let of = |quantile| {
                times
                    .quantile(quantile)
                    .map_or_else(|| "-".into(), |value| words::in_unit(value, &field.unit))
            };
            let max = if times.count() == 0 { "-".into() } else { words::in_unit(times.max(), &field.unit) };
            grid.row([
                plain(&field.name.replace('_', " "), 40),
                of(0.5),
                of(0.9),
                of(0.99),
                max,
                grouped(times.count()),
                plain(&field.help, 80),
            ]);
        }
    }
    if !grid.is_empty() {
        out.push_str("\nTimes (since the start)\n");
        grid.write(2, out);
    }
}

fn peers(now: &Snapshot, out: &mut String) {
    let Some(peers) = now.table("peer").filter(|peers| !peers.rows.is_empty()) else { return };
    let mut grid = Grid::new([
        ("node", Side::Left),
        ("state", Side::Left),
        ("for", Side::Right),
        ("heard", Side::Right),
        ("entries", Side::Right),
        ("behind", Side::Right),
        ("address", Side::Left),
    ]);
    for row in &peers.rows {
        let number = |field| peers.number(row, field);
        let since = |field| number(field).filter(|&at| at > 0).map(|at| words::age(now.ago(at)));
        grid.row([
            plain(peers.text(row, "name").unwrap_or("?"), 64),
            peer_state(number("state")).into(),
            since("state_since").unwrap_or_else(|| "-".into()),
            since("heard_at").map_or_else(|| "never".into(), |age| format!("{age} ago")),
            or_dash(number("entries")),
            or_dash(number("operations_behind")),
            plain(peers.text(row, "addr").unwrap_or("?"), 56),
        ]);
    }
    out.push_str("\nOther nodes\n");
    grid.write(2, out);
}

fn shards(now: &Snapshot, span: Option<Span<'_>>, out: &mut String) {
    let Some(shards) = now.table("shard").filter(|shards| !shards.rows.is_empty()) else { return };
    let count = shards.rows.len();
    let share = |load: Vec<f64>| {
        let sum: f64 = load.iter().sum();
        let (at, most) =
            load.iter().copied().enumerate().fold((0, 0.0), |a, b| if b.1 > a.1 { b } else { a });
        (sum > 0.0).then(|| (shards.rows[at].number, 100.0 * most / sum))
    };
    let entries =
        share(shards.rows.iter().map(|row| shards.number(row, "entries").unwrap_or(0) as f64).collect());
    let changes = span.and_then(|span| {
        share(
            shards
                .rows
                .iter()
                .map(|row| {
                    ALL_CHANGES.iter().filter_map(|field| span.row_rate("shard", row.number, field)).sum()
                })
                .collect(),
        )
    });
    let _ = write!(out, "\nShards: {count}, an even share is {:.0} %", 100.0 / count as f64);
    if let Some((shard, share)) = entries {
        let _ = write!(out, "; shard {shard} has most entries, {share:.0} %");
    }
    if let Some((shard, share)) = changes {
        let _ = write!(out, "; shard {shard} has most changes now, {share:.0} %");
    }
    out.push('\n');
}

fn topics(now: &Snapshot, out: &mut String) {
    let topics = largest(now);
    if topics.is_empty() {
        return;
    }
    let mut grid = Grid::new([("members", Side::Right), ("topic", Side::Left)]);
    for (members, topic) in topics.into_iter().take(SHOWN) {
        grid.row([grouped(members), topic]);
    }
    out.push_str("\nLargest topics (of those whose changes were sampled)\n");
    grid.write(2, out);
}

fn errors(now: &Snapshot, out: &mut String) {
    let mut grid = Grid::new([("times", Side::Right), ("last", Side::Right), ("error", Side::Left)]);
    for (age, table, row) in latest(now, "error", "last_at", "last_at") {
        let row = &table.rows[row];
        let message = plain(table.text(row, "message").unwrap_or("?"), 184);
        grid.row([or_dash(table.number(row, "count_total")), format!("{} ago", words::age(age)), message]);
    }
    if !grid.is_empty() {
        out.push_str("\nErrors\n");
        grid.write(2, out);
    }
}

fn events(now: &Snapshot, out: &mut String) {
    let mut grid = Grid::new([("when", Side::Right), ("event", Side::Left)]);
    for (age, table, row) in latest(now, "event", "at", "number").into_iter().take(SHOWN) {
        let message = plain(table.text(&table.rows[row], "message").unwrap_or("?"), 184);
        grid.row([format!("{} ago", words::age(age)), message]);
    }
    if !grid.is_empty() {
        out.push_str("\nLatest events\n");
        grid.write(2, out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Look, Seen, json, metrics};
    use crate::inspect::clustered::clustered;
    use crate::inspect::snapshot::tests::Folder;
    use headcount::counters::Reader;

    #[test]
    fn a_node_of_a_cluster_is_told_with_its_peers_times_and_traffic_and_what_is_not_known_is_named() {
        let folder = Folder::new("detail");
        let counters = folder.counters();
        clustered(&counters);
        let reader = Reader::open(counters.path().unwrap()).unwrap();
        let (file, pid) = (reader.path().display().to_string(), reader.pid());
        let mut look = Look::new(reader);
        look.again();
        let seen = Seen { file, pid, what: Ok(look) };
        let text = super::text(&seen);
        let line = |of: &str| text.lines().find(|line| line.trim_start().starts_with(of)).unwrap_or_default();
        let words = |of: &str| line(of).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.starts_with(&format!("web-1 of cluster chat, pid {pid}: running for ")), "{text}");
        assert!(text.contains("\n  1 other node\n"), "{text}");
        for (name, start, end) in [
            ("web-2", "web-2 up 10 min ", " ago 16,766 0 127.0.0.1:7000"),
            ("web-3", "web-3 down 5 min ", " ago 16,766 7 127.0.0.1:7001"),
        ] {
            let words = words(name);
            assert!(
                words.starts_with(start) && words.contains(" s 2 min ") && words.ends_with(end),
                "{text}"
            );
        }
        assert!(words("visible").starts_with("visible 284 µs 284 µs 284 µs 284 µs 100 From "), "{text}");
        assert!(words("loop lag").starts_with("loop lag - - - - 0 "), "{text}");
        assert!(words("net: datagrams sent").ends_with(" 1,204"), "{text}");
        assert!(!text.contains("net: gaps"), "what never happened is left out: {text}");
        assert!(text.contains("weather (1 row): What a later version counts. See --json."), "{text}");

        let seen = [seen];
        let json = json::text(&seen);
        assert!(json.contains(r#""weather":[{"row":0,"storms_total":3,"wind":0}]"#), "{json}");
        let metrics = metrics::text(&seen, metrics::Format::Text);
        for part in [
            r#"headcount_peer_state{pid="P",process="R",node="web-1",cluster="chat",peer="web-3"} 5"#,
            r#"headcount_hearing_silence_seconds{pid="P",process="R",node="web-1",cluster="chat",listener="web-1",speaker="web-2"} 0.0015"#,
            r#"listener="web-2",speaker="00000009"} +Inf"#,
            r#"headcount_times_visible_seconds_bucket{pid="P",process="R",node="web-1",cluster="chat",le="0.00025"} 0"#,
            r#"headcount_times_visible_seconds_bucket{pid="P",process="R",node="web-1",cluster="chat",le="0.0005"} 100"#,
            r#"headcount_net_datagrams_sent_total{pid="P",process="R",node="web-1",cluster="chat"} 1204"#,
            r#"headcount_net_bytes_sent_total{"#,
            r#"headcount_weather_storms_total{"#,
            r#"headcount_node_info{pid="P",process="R",node="web-1",cluster="chat",id="00000001",key_epochs="1 2"} 1"#,
        ] {
            let program = std::env::current_exe().unwrap();
            let program = program.file_name().unwrap().to_str().unwrap();
            let part =
                part.replace("\"P\"", &format!("\"{pid}\"")).replace("\"R\"", &format!("\"{program}\""));
            assert!(metrics.contains(&part), "{part} is not in {metrics}");
        }
    }
}
