//! A process's counters, as it counts in them.

use super::CreateError;
use super::beat::{BEAT_EVERY, Gauges, Heart};
use super::cells::Table;
use super::diary::{Diary, SCHEMAS};
use super::file::OwnFile;
use super::format::{FieldRecord, TABLE_WORDS, TABLES_MAX, TableRecord, padded, put, rows_at, word};
use super::prune::prune;
use super::schema::Schema;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use std::fmt;
use std::io;
use std::path::Path;

/// The counters of a process. Clones are the same counters; when the last is dropped, its file is removed.
#[derive(Clone, Default)]
pub struct Counters {
    kept: Option<Arc<Kept>>,
}

/// Counters that have a file.
struct Kept {
    file: OwnFile,
    tables: Mutex<Vec<Table>>,
    diary: Diary,
    heart: Arc<Heart>,
    /// A tracker counts in them.
    claimed: AtomicBool,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("path", &self.path()).finish()
    }
}

impl Counters {
    /// Counters of this process alone, which nobody else sees: what a tracker has that was given none.
    #[must_use]
    pub fn private() -> Self {
        Self::default()
    }

    /// Makes a counters file in a directory, usually [`default_dir`](super::default_dir): for a file system in memory, for what is counted
    /// is written back to the disk otherwise. Its owner alone may read it. Removes what long dead processes of the same owner left there.
    /// A thread beats four times a second.
    ///
    /// # Errors
    /// [`CreateError`]: the directory is not there, nothing may be written there, or it is full.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self, CreateError> {
        let dir = dir.as_ref();
        prune(dir);
        let file = OwnFile::create(dir, BEAT_EVERY)?;
        let refused = |source: io::Error| CreateError::Io { path: file.path().to_owned(), source };
        let mut tables = Vec::new();
        for (schema, rows) in &SCHEMAS {
            tables.push(add(&file, tables.len(), schema, *rows).map_err(refused)?);
        }
        let diary = Diary::new([tables[0].clone(), tables[1].clone(), tables[2].clone()]);
        let heart = Arc::new(Heart::default());
        heart.start(Arc::clone(file.header())).map_err(refused)?;
        let (tables, claimed) = (Mutex::new(tables), AtomicBool::new(false));
        let mut kept = Kept { file, tables, diary, heart, claimed };
        kept.file.publish()?;
        let counters = Self { kept: Some(Arc::new(kept)) };
        if let Some(program) = std::env::current_exe().ok().as_deref().and_then(Path::file_name) {
            counters.set_fact("program", &program.to_string_lossy());
        }
        counters.set_fact("version", env!("CARGO_PKG_VERSION"));
        Ok(counters)
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.kept.as_ref().map(|kept| kept.file.path())
    }

    /// Adds a table with so many rows. One of that name that is there already, with the same fields and as many rows, is given again. What
    /// finds no room in the file, or has a name that is taken, is counted where nobody else sees it, and said in the error log.
    #[must_use]
    pub fn table(&self, schema: &Schema, rows: usize) -> Table {
        let Some(kept) = &self.kept else {
            return Table::heap(schema, rows);
        };
        let mut tables = kept.tables.lock();
        if let Some(held) = tables.iter().find(|held| held.schema().name == schema.name) {
            if std::ptr::eq(held.schema().fields, schema.fields) && held.rows() == rows {
                return held.clone();
            }
            kept.diary.count_error(&format!("counters: there is another table {}", schema.name), 1);
            return Table::heap(schema, rows);
        }
        match add(&kept.file, tables.len(), schema, rows) {
            Ok(table) => {
                tables.push(table.clone());
                table
            }
            Err(error) => {
                kept.diary.count_error(&format!("counters: no room for table {}: {error}", schema.name), 1);
                Table::heap(schema, rows)
            }
        }
    }

    /// Sets a fact about the process, such as `"node"`: names of at most 32 bytes, values of at most 184.
    pub fn set_fact(&self, name: &str, value: &str) {
        if let Some(kept) = &self.kept {
            kept.diary.set_fact(name, value);
        }
    }

    /// Counts an error in the error log, which keeps one line for each message: leave out of it what differs each time.
    pub fn count_error(&self, message: &str, count: u64) {
        if let Some(kept) = &self.kept {
            kept.diary.count_error(message, count);
        }
    }

    /// Notes an event in the ring of the latest 128.
    pub fn note_event(&self, message: &str) {
        if let Some(kept) = &self.kept {
            kept.diary.note_event(message);
        }
    }

    /// Runs this once a second, until it returns false: for gauges that nobody sets on the way. Without a file nobody looks, and it is not
    /// run.
    pub fn every_second(&self, gauges: impl FnMut() -> bool + Send + 'static) {
        if let Some(kept) = &self.kept {
            let gauges: Gauges = Box::new(gauges);
            kept.heart.add(gauges);
        }
    }

    /// Whether there is a file that readers see.
    #[must_use]
    pub fn are_seen(&self) -> bool {
        self.kept.is_some()
    }

    /// These counters for the first tracker that asks; private ones for the others, or theirs would be mixed.
    pub(crate) fn claim(&self) -> Self {
        // Relaxed: whoever is first is first; nothing is published with it.
        let first = self.kept.as_ref().is_some_and(|kept| !kept.claimed.swap(true, Ordering::Relaxed));
        if first { self.clone() } else { Self::private() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.heart.end();
    }
}

/// Adds a table to the file, as the directory's `index`-th.
fn add(file: &OwnFile, index: usize, schema: &Schema, rows: usize) -> io::Result<Table> {
    if index >= TABLES_MAX {
        return Err(io::Error::other(format!("a file has {TABLES_MAX} tables at the most")));
    }
    let rows_at = rows_at(schema.fields.len());
    let row_words = schema.row_words();
    let bytes = (rows_at + rows * row_words) * 8;
    let (at, region) = file.grow(bytes)?;
    for (number, (field, first)) in schema.placed().enumerate() {
        let record = FieldRecord {
            name: padded(field.name),
            unit: padded(field.unit),
            help: padded(field.help),
            kind: field.kind.code(),
            first: first as u64,
            words: field.words() as u64,
            parameter: field.parameter(),
            spare: [0; 4],
        };
        put(&region.words()[number * size_of::<FieldRecord>() / 8..], &record);
    }
    let record = TableRecord {
        name: padded(schema.name),
        help: padded(schema.help),
        at: at as u64,
        bytes: (region.words().len() * 8) as u64,
        fields: schema.fields.len() as u64,
        rows: rows as u64,
        row_words: row_words as u64,
        spare: [0; 7],
    };
    let header = file.header().words();
    put(&header[word::DIRECTORY + index * TABLE_WORDS..], &record);
    // Release: who sees the number sees the table.
    header[word::TABLES].store(index as u64 + 1, Ordering::Release);
    Ok(Table::new(*schema, Arc::new(region), rows_at, rows))
}
