//! The counters of a process as they were at one moment, as plain values: what everything that shows them is made from.

use super::words;
use headcount::counters::{Distribution, FieldInfo, Kind, Life, Reader, TableReader};
use std::time::{Duration, Instant, SystemTime};

/// A value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(u64),
    Text(String),
    Times(Distribution),
}

/// A row that meant something.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) number: usize,
    /// One for each field of the table; `None` for a text that changed whenever it was looked at.
    values: Vec<Option<Value>>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) help: String,
    /// Rows that it has room for.
    pub(crate) room: usize,
    pub(crate) fields: Vec<FieldInfo>,
    pub(crate) rows: Vec<Row>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) at: Instant,
    pub(crate) clock: SystemTime,
    pub(crate) pid: u32,
    pub(crate) file: String,
    pub(crate) created: SystemTime,
    pub(crate) life: Life,
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) tables: Vec<Table>,
}

/// One word for whether a process lives, or two.
pub(crate) fn life_word(life: Life) -> &'static str {
    match life {
        Life::Running => "running",
        Life::Silent(_) => "silent",
        Life::Ended => "ended",
        Life::Dead(_) => "dead",
        _ => "unknown",
    }
}

/// Whether a process lives, in words that say what that means.
pub(crate) fn life_words(life: Life) -> String {
    match life {
        Life::Running => "running".into(),
        Life::Silent(age) => format!(
            "silent for {}: stopped (SIGSTOP, a debugger, a frozen container), or its machine is far too busy",
            words::age(age)
        ),
        Life::Ended => "ended".into(),
        Life::Dead(age) => format!("dead: killed or crashed {} ago", words::age(age)),
        _ => "in a state that this program does not know".into(),
    }
}

impl Snapshot {
    /// Reads everything; tables that were added since the last time too.
    pub(crate) fn take(reader: &mut Reader) -> Self {
        // What cannot be added is damaged; what is known already is shown all the same.
        let _ = reader.look_for_tables();
        let tables: Vec<Table> = reader.tables().iter().map(Table::take).collect();
        let facts = tables.iter().find(|table| table.name == "fact").map_or(Vec::new(), |facts| {
            let text = |row, name| facts.text(row, name).unwrap_or_default().to_owned();
            facts.rows.iter().map(|row| (text(row, "name"), text(row, "value"))).collect()
        });
        Self {
            at: Instant::now(),
            clock: SystemTime::now(),
            pid: reader.pid(),
            file: reader.path().display().to_string(),
            created: reader.created(),
            life: reader.life(),
            facts,
            tables,
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    pub(crate) fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What the process is called.
    pub(crate) fn name(&self) -> String {
        let name = self.fact("node").or_else(|| self.fact("program")).unwrap_or("a process");
        words::plain(name, 64)
    }

    /// A number of a table with one row.
    pub(crate) fn number(&self, table: &str, field: &str) -> Option<u64> {
        let table = self.table(table)?;
        table.number(table.rows.first()?, field)
    }

    /// The sum of a field over a table's rows; `None` if there is no such table.
    pub(crate) fn sum(&self, table: &str, field: &str) -> Option<u64> {
        let table = self.table(table)?;
        let numbers = table.rows.iter().filter_map(|row| table.number(row, field));
        table.has(field).then(|| numbers.fold(0, u64::wrapping_add))
    }

    /// How long the process runs, or ran.
    pub(crate) fn uptime(&self) -> Duration {
        let until_now = self.clock.duration_since(self.created).unwrap_or_default();
        match self.life {
            Life::Dead(age) | Life::Silent(age) => until_now.saturating_sub(age),
            _ => until_now,
        }
    }

    /// How long ago a moment of the system's clock was.
    pub(crate) fn ago(&self, unix_ns: u64) -> Duration {
        let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns);
        self.clock.duration_since(then).unwrap_or_default()
    }

    /// All changes that its shards counted, its own and those of others.
    pub(crate) fn errors(&self) -> u64 {
        self.sum("error", "count_total").unwrap_or(0)
    }
}

impl Table {
    fn take(reader: &TableReader) -> Self {
        let fields = reader.fields().to_vec();
        let value = |row: usize, field: &FieldInfo| match field.kind {
            Kind::Counter | Kind::Gauge => reader.number(row, &field.name).map(Value::Number),
            Kind::Text => reader.text(row, &field.name).map(Value::Text),
            Kind::Histogram => reader.distribution(row, &field.name).map(Value::Times),
            _ => None,
        };
        let rows = reader.live_rows().map(|number| {
            let values = fields.iter().map(|field| value(number, field)).collect();
            Row { number, values }
        });
        let rows = rows.collect();
        let (name, help) = (reader.name().to_owned(), reader.help().to_owned());
        Self { name, help, room: reader.rows(), fields, rows }
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|known| known.name == field)
    }

    /// The values of a row with their fields.
    pub(crate) fn values<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = (&'a FieldInfo, &'a Value)> {
        self.fields.iter().zip(&row.values).filter_map(|(field, value)| Some((field, value.as_ref()?)))
    }

    fn value<'a>(&'a self, row: &'a Row, field: &str) -> Option<&'a Value> {
        self.values(row).find(|(known, _)| known.name == field).map(|(_, value)| value)
    }

    pub(crate) fn number(&self, row: &Row, field: &str) -> Option<u64> {
        match self.value(row, field)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn text<'a>(&'a self, row: &'a Row, field: &str) -> Option<&'a str> {
        match self.value(row, field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn times<'a>(&'a self, row: &'a Row, field: &str) -> Option<&'a Distribution> {
        match self.value(row, field)? {
            Value::Times(times) => Some(times),
            _ => None,
        }
    }

    pub(crate) fn row(&self, number: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.number == number)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use headcount::counters::{Counters, Field, Schema};
    use std::path::PathBuf;

    /// A directory of the test's own, gone with it.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("headcount-inspect-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn counters(&self) -> Counters {
            Counters::create(&self.0).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn taken(counters: &Counters) -> Snapshot {
        Snapshot::take(&mut Reader::open(counters.path().unwrap()).unwrap())
    }

    const PETS: Schema = Schema {
        name: "pet",
        help: "A pet.",
        fields: &[
            Field::counter("meals_total", "meals", "Meals."),
            Field::text("name", 16, "Its name."),
            Field::histogram("nap", "ns", "Its naps."),
        ],
    };

    #[test]
    fn a_snapshot_has_what_there_is_and_stays_as_it_was() {
        let folder = Folder::new("snapshot");
        let counters = folder.counters();
        counters.set_fact("node", "web-1");
        counters.count_error("oh", 3);
        let table = counters.table(&PETS, 4);
        let row = table.row(2);
        row.number("meals_total").add(5);
        row.text("name").set("Rex");
        row.histogram("nap").record(7);
        row.show();
        let before = taken(&counters);
        row.number("meals_total").add(1);
        let pets = before.table("pet").unwrap();
        let rex = pets.row(2).unwrap();
        assert_eq!((pets.room, pets.rows.len()), (4, 1));
        assert_eq!((pets.number(rex, "meals_total"), pets.text(rex, "name")), (Some(5), Some("Rex")));
        assert_eq!(pets.times(rex, "nap").unwrap().count(), 1);
        assert_eq!(
            (pets.number(rex, "name"), before.sum("pet", "name"), before.sum("cat", "x")),
            (None, Some(0), None)
        );
        assert_eq!((before.name().as_str(), before.errors(), before.life), ("web-1", 3, Life::Running));
    }
}
