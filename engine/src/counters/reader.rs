//! Counters of another process.

use super::ReadError;
use super::file::{is_orphan, monotonic};
use super::format::{
    FIELD_WORDS, FieldRecord, HEADER_BYTES, MAGIC, PAGE_BYTES, TABLE_WORDS, TABLES_MAX, TableRecord,
    VERSION_MAJOR, rows_at, take, unpadded, word,
};
use super::histogram::{self, Distribution};
use super::open::{self, names};
use super::region::Region;
use super::schema::Kind;
use crate::kernel::label;
use crate::sync::{Ordering, StatWord, fence};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Beats that may be missing before a process is held for silent, at the least.
const SILENT_BEATS: u64 = 6;
/// No table has more fields.
const FIELDS_MAX: u64 = 4096;

/// Whether a process lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Life {
    /// It beats.
    Running,
    /// It is there, and has not beaten for so long: it is stopped (SIGSTOP, a debugger, a frozen container), or its machine is far too busy.
    Silent(Duration),
    /// It has ended, and said so.
    Ended,
    /// It was killed, or crashed; its last beat is so long ago.
    Dead(Duration),
}

/// Reads the counters of a process. The memory is shared with it: what is read is what it is at that moment, and costs the process nothing.
///
/// Whoever may write a file can cut it short, and that ends a process that reads it (SIGBUS). So a file is read of the reader's own
/// (effective) user and of root, and nobody else's is opened. Root reads everybody's, since it is root's to look at them all, and bears
/// that risk: who does not trust the users of a machine looks as the user of the process (`sudo -u`).
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Region,
    tables: Vec<TableReader>,
}

/// A counters file in a directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// The process that its name tells.
    pub pid: u32,
    /// What reads it, or why that is not possible.
    pub reader: Result<Reader, ReadError>,
}

/// The counters files of a directory, by process id; those of other users and versions too, with the error that opening them gives.
///
/// # Errors
/// What the system says if the directory cannot be read.
pub fn find(dir: impl AsRef<Path>) -> io::Result<Vec<Found>> {
    let names = names(dir.as_ref())?;
    let whole = names.into_iter().filter(|named| !named.is_new);
    let found =
        whole.map(|named| Found { reader: Reader::open(&named.path), path: named.path, pid: named.pid });
    // Gone since the directory was read.
    Ok(found.filter(|found| !matches!(found.reader, Err(ReadError::NotFound { .. }))).collect())
}

impl Reader {
    /// Opens a counters file.
    ///
    /// # Errors
    /// [`ReadError`], which says what is wrong and, where something can be done, what.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let path = path.as_ref();
        let io = |source| ReadError::io(path, source);
        let file = open::open(path)?;
        let no_counters = || ReadError::NotCounters { path: path.to_owned() };
        if file.metadata().map_err(io)?.len() < HEADER_BYTES as u64 {
            return Err(no_counters());
        }
        let header = Region::readable(&file, 0, HEADER_BYTES).map_err(io)?;
        let mut reader = Self { path: path.to_owned(), file, header, tables: Vec::new() };
        if reader.word(word::MAGIC) != MAGIC {
            return Err(no_counters());
        }
        let found = (reader.word(word::VERSION) >> 32) as u32;
        if found != VERSION_MAJOR {
            return Err(ReadError::Version { path: path.to_owned(), found });
        }
        reader.look_for_tables()?;
        Ok(reader)
    }

    fn word(&self, at: usize) -> u64 {
        self.header.words()[at].load(Ordering::Relaxed)
    }

    /// Looks for tables that were added since the last time.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if a table cannot be where it is said to be; [`ReadError::Io`].
    pub fn look_for_tables(&mut self) -> Result<(), ReadError> {
        let count = self.word(word::TABLES);
        // Pairs with the Release of the number's store. A load of read-only memory may be no more than relaxed.
        fence(Ordering::Acquire);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(TABLES_MAX);
        for index in self.tables.len()..count {
            let table = self.read_table(index)?;
            self.tables.push(table);
        }
        Ok(())
    }

    fn read_table(&self, index: usize) -> Result<TableReader, ReadError> {
        let damaged = |what: String| ReadError::Damaged { path: self.path.clone(), what };
        let cannot_be = || damaged(format!("table {index} cannot be where it is said to be"));
        let record: TableRecord =
            take(&self.header, word::DIRECTORY + index * TABLE_WORDS).ok_or_else(cannot_be)?;
        let len = self.file.metadata().map_err(|source| ReadError::io(&self.path, source))?.len();
        let end = record.at.checked_add(record.bytes).filter(|&end| end <= len).ok_or_else(cannot_be)?;
        let words = rows_at(record.fields.min(FIELDS_MAX) as usize) as u64;
        let needed = record.rows.checked_mul(record.row_words).and_then(|rows| rows.checked_add(words));
        let fits = needed.and_then(|words| words.checked_mul(8)).is_some_and(|bytes| bytes <= record.bytes);
        // Rows of no words would fit any number of times.
        if !fits
            || record.bytes == 0
            || record.row_words == 0
            || record.fields > FIELDS_MAX
            || !record.at.is_multiple_of(PAGE_BYTES as u64)
        {
            return Err(cannot_be());
        }
        let at = usize::try_from(record.at).map_err(|_| cannot_be())?;
        let bytes = usize::try_from(end - record.at).map_err(|_| cannot_be())?;
        let region =
            Region::readable(&self.file, at, bytes).map_err(|source| ReadError::io(&self.path, source))?;
        let mut fields = Vec::new();
        for number in 0..record.fields as usize {
            let field: FieldRecord = take(&region, number * FIELD_WORDS).ok_or_else(cannot_be)?;
            let name = unpadded(&field.name);
            if field.first.checked_add(field.words).is_none_or(|end| end > record.row_words) {
                return Err(damaged(format!("field {name} is not within its row")));
            }
            // Of a kind that this version does not know: left out.
            let Some(kind) = Kind::of_code(field.kind) else { continue };
            fields.push(FieldInfo {
                name,
                kind,
                unit: unpadded(&field.unit),
                help: unpadded(&field.help),
                first: field.first as usize,
                words: field.words as usize,
                parameter: field.parameter,
            });
        }
        Ok(TableReader {
            name: unpadded(&record.name),
            help: unpadded(&record.help),
            fields,
            rows_at: rows_at(record.fields as usize),
            rows: record.rows as usize,
            row_words: record.row_words as usize,
            region,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The process, by its number where it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.word(word::PID)).unwrap_or(0)
    }

    /// When the file was made, by the system's clock.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.word(word::CREATED))
    }

    /// Whether the process lives.
    #[must_use]
    pub fn life(&self) -> Life {
        let beat = self.word(word::BEAT);
        let age = monotonic().saturating_sub(beat);
        if self.word(word::ENDED) != 0 {
            return Life::Ended;
        }
        if is_orphan(&self.file) {
            return Life::Dead(Duration::from_nanos(age));
        }
        if age > self.word(word::BEAT_EVERY).saturating_mul(SILENT_BEATS) {
            return Life::Silent(Duration::from_nanos(age));
        }
        Life::Running
    }

    /// Its tables, in the order in which they were added.
    #[must_use]
    pub fn tables(&self) -> &[TableReader] {
        &self.tables
    }

    /// The table of that name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableReader> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// What the process says of itself, such as `"node"`.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<String> {
        let facts = self.table("fact")?;
        let row = facts.live_rows().find(|&row| facts.text(row, "name").as_deref() == Some(name))?;
        facts.text(row, "value")
    }
}

/// A field of a table of another process.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FieldInfo {
    /// Its name.
    pub name: String,
    /// What its value is.
    pub kind: Kind,
    /// What it is counted in, in the plural; empty for what has none.
    pub unit: String,
    /// What it is, in a sentence.
    pub help: String,
    first: usize,
    words: usize,
    parameter: u64,
}

/// A table of another process. Each number is read whole; two of them may be from different moments.
#[derive(Debug)]
pub struct TableReader {
    name: String,
    help: String,
    fields: Vec<FieldInfo>,
    rows_at: usize,
    rows: usize,
    row_words: usize,
    region: Region,
}

impl TableReader {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a row is, in a sentence.
    #[must_use]
    pub fn help(&self) -> &str {
        &self.help
    }

    /// Its fields, those of kinds that this version does not know left out.
    #[must_use]
    pub fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    /// How many rows it has room for.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows that mean something at present.
    pub fn live_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.rows).filter(|&row| self.is_live(row))
    }

    /// Whether a row means something at present.
    #[must_use]
    pub fn is_live(&self, row: usize) -> bool {
        let shown = self.row(row).and_then(|row| row.first()).map_or(0, |word| word.load(Ordering::Relaxed));
        // Pairs with the Release of the owner, as for the number of tables.
        fence(Ordering::Acquire);
        shown == 1
    }

    fn row(&self, row: usize) -> Option<&[StatWord]> {
        // It fits if there is such a row.
        let at = (row < self.rows).then(|| self.rows_at + row * self.row_words)?;
        self.region.words().get(at..at + self.row_words)
    }

    fn words(&self, row: usize, name: &str, kinds: &[Kind]) -> Option<(&FieldInfo, &[StatWord])> {
        let field = self.fields.iter().find(|field| field.name == name && kinds.contains(&field.kind))?;
        Some((field, self.row(row)?.get(field.first..field.first + field.words)?))
    }

    /// A counter or gauge of a row; `None` if there is none of that name.
    #[must_use]
    pub fn number(&self, row: usize, name: &str) -> Option<u64> {
        let (_, words) = self.words(row, name, &[Kind::Counter, Kind::Gauge])?;
        Some(words.first()?.load(Ordering::Relaxed))
    }

    /// A histogram of a row.
    #[must_use]
    pub fn distribution(&self, row: usize, name: &str) -> Option<Distribution> {
        let (field, words) = self.words(row, name, &[Kind::Histogram])?;
        let (head, buckets) = words.split_at_checked(histogram::HEAD)?;
        let of = |word: &StatWord| word.load(Ordering::Relaxed);
        let bits = u32::try_from(field.parameter).ok().filter(|&bits| bits < 32)?;
        let counts = buckets.iter().map(of).collect();
        Some(Distribution { bits, sum: of(&head[0]), max: of(&head[1]), counts })
    }

    /// A text of a row; `None` too if it changed whenever it was looked at.
    #[must_use]
    pub fn text(&self, row: usize, name: &str) -> Option<String> {
        let (_, words) = self.words(row, name, &[Kind::Text])?;
        label::read::<0>(words).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}
