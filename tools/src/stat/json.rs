//! Everything that there is, as JSON: tables and fields by their names, whatever version wrote them.

use super::{Look, Seen, status_of_life};
use crate::inspect::choose::status_of;
use crate::inspect::snapshot::{Row, Snapshot, Table, Value as Held, life_word};
use crate::inspect::span::Span;
use headcount::counters::{Distribution, Kind, Life};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// One line: an object with `processes`.
pub(super) fn text(seen: &[Seen]) -> String {
    let processes: Vec<Value> = seen.iter().map(process).collect();
    format!("{}\n", json!({ "processes": processes }))
}

fn process(seen: &Seen) -> Value {
    match &seen.what {
        Ok(look) => looked_at(look),
        Err(error) => json!({
            "pid": seen.pid,
            "file": seen.file,
            "problem": error.to_string(),
            "status": status_of(error),
        }),
    }
}

fn looked_at(look: &Look) -> Value {
    let now = &look.now;
    let silence = match now.life {
        Life::Silent(age) | Life::Dead(age) => Some(age.as_secs_f64()),
        _ => None,
    };
    let started = now.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let facts: Map<String, Value> =
        now.facts.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let tables = now.tables.iter().filter(|table| table.name != "fact");
    let tables: Map<String, Value> = tables.map(|table| (table.name.clone(), rows(table))).collect();
    json!({
        "pid": now.pid,
        "file": now.file,
        "name": now.name(),
        "life": life_word(now.life),
        "status": status_of_life(now.life),
        "silent_s": silence,
        "started_unix_s": started.as_secs_f64(),
        "uptime_s": now.uptime().as_secs_f64(),
        "facts": facts,
        "tables": tables,
        "rates": look.span().map(|span| rates(&span, now)),
    })
}

fn rows(table: &Table) -> Value {
    let object = |row: &Row| {
        let mut object = Map::from_iter([("row".to_owned(), row.number.into())]);
        for (field, value) in table.values(row) {
            object.insert(field.name.clone(), held(value));
        }
        Value::Object(object)
    };
    table.rows.iter().map(object).collect()
}

fn held(value: &Held) -> Value {
    match value {
        Held::Number(number) => (*number).into(),
        Held::Text(text) => text.as_str().into(),
        Held::Times(times) => distribution(times),
    }
}

fn distribution(times: &Distribution) -> Value {
    json!({
        "count": times.count(),
        "sum": times.sum(),
        "max": times.max(),
        "p50": times.quantile(0.5),
        "p90": times.quantile(0.9),
        "p99": times.quantile(0.99),
        "p999": times.quantile(0.999),
        // The greatest value of each, and how many came.
        "buckets": times.buckets().collect::<Vec<_>>(),
    })
}

/// What each counter grew by a second, all rows of its table together, and what the histograms took in.
fn rates(span: &Span<'_>, now: &Snapshot) -> Value {
    let mut rates = Map::from_iter([("seconds".to_owned(), span.seconds().into())]);
    for table in &now.tables {
        let mut of_table = Map::new();
        for field in &table.fields {
            let value = match field.kind {
                Kind::Counter => span.rate(&table.name, &field.name).map(Value::from),
                Kind::Histogram if table.room == 1 => {
                    span.times(&table.name, 0, &field.name).map(|times| distribution(&times))
                }
                _ => None,
            };
            if let Some(value) = value {
                of_table.insert(field.name.clone(), value);
            }
        }
        if !of_table.is_empty() {
            rates.insert(table.name.clone(), of_table.into());
        }
    }
    rates.into()
}
