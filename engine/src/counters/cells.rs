//! What is counted with: tables, rows, and the fields in them.

use super::histogram;
use super::region::Region;
use super::schema::{Kind, Schema};
use crate::kernel::label;
use crate::sync::{Arc, Ordering, StatWord};

/// A table of counters. Clones are the same table.
#[derive(Clone, Debug)]
pub struct Table {
    schema: Schema,
    region: Arc<Region>,
    /// The first word of the rows.
    rows_at: usize,
    rows: usize,
}

impl Table {
    pub(super) fn new(schema: Schema, region: Arc<Region>, rows_at: usize, rows: usize) -> Self {
        Self { schema, region, rows_at, rows }
    }

    /// A table of this process alone.
    pub(super) fn heap(schema: &Schema, rows: usize) -> Self {
        let region = Region::heap(rows * schema.row_words());
        Self { schema: *schema, region: Arc::new(region), rows_at: 0, rows }
    }

    /// How many rows it has room for.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its fields.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// A row, to count in. It means nothing to readers until it is [shown](Row::show).
    ///
    /// # Panics
    /// If there is no such row: [`rows`](Self::rows) were asked for.
    #[must_use]
    pub fn row(&self, row: usize) -> Row {
        assert!(row < self.rows, "table {} has {} rows, row {row} is none", self.schema.name, self.rows);
        let at = self.rows_at + row * self.schema.row_words();
        Row { schema: self.schema, region: Arc::clone(&self.region), at }
    }
}

/// A row of a table.
#[derive(Clone, Debug)]
pub struct Row {
    schema: Schema,
    region: Arc<Region>,
    at: usize,
}

impl Row {
    fn find(&self, name: &str, kinds: &[Kind]) -> (usize, usize) {
        let found = self.schema.placed().find(|(field, _)| field.name == name && kinds.contains(&field.kind));
        let (field, first) = found.unwrap_or_else(|| {
            panic!("table {} has no field {name} of the kind {kinds:?}", self.schema.name)
        });
        (self.at + first, field.words())
    }

    /// The counter or gauge of that name.
    ///
    /// # Panics
    /// If the table's own schema has no such field.
    #[must_use]
    pub fn number(&self, name: &str) -> Number {
        let (at, _) = self.find(name, &[Kind::Counter, Kind::Gauge]);
        Number { region: Arc::clone(&self.region), at }
    }

    /// The histogram of that name.
    ///
    /// # Panics
    /// As [`number`](Self::number).
    #[must_use]
    pub fn histogram(&self, name: &str) -> Histogram {
        let (at, _) = self.find(name, &[Kind::Histogram]);
        Histogram { region: Arc::clone(&self.region), at }
    }

    /// The text of that name.
    ///
    /// # Panics
    /// As [`number`](Self::number).
    #[must_use]
    pub fn text(&self, name: &str) -> Text {
        let (at, words) = self.find(name, &[Kind::Text]);
        Text { region: Arc::clone(&self.region), at, words }
    }

    /// Lets readers see the row: what was counted in it before is seen with it.
    pub fn show(&self) {
        // Release: pairs with the fence of whoever reads the word.
        self.shown().store(1, Ordering::Release);
    }

    /// Takes the row out of readers' sight; its words begin again as zeros.
    pub fn hide(&self) {
        self.shown().store(0, Ordering::Release);
        for (field, first) in self.schema.placed() {
            let words = &self.region.words()[self.at + first..][..field.words()];
            if field.kind == Kind::Text {
                label::write::<0>(words, b"");
            } else {
                words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
        }
    }

    fn shown(&self) -> &StatWord {
        &self.region.words()[self.at]
    }
}

/// A number that others can read while it changes: whole, and at once. It orders nothing: who reads two of them may see the second without
/// the first. A relaxed load and store, no locked instruction: of two threads that change one at a time, one change may be lost.
#[derive(Clone, Debug)]
pub struct Number {
    region: Arc<Region>,
    at: usize,
}

impl Number {
    #[inline(always)]
    fn word(&self) -> &StatWord {
        &self.region.words()[self.at]
    }

    /// Adds.
    #[inline(always)]
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Sets.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.word().store(value, Ordering::Relaxed);
    }

    /// What it is.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }
}

/// How often which values came. One thread at a time records; readers may see a value in the sum before they see it in its bucket.
#[derive(Clone, Debug)]
pub struct Histogram {
    region: Arc<Region>,
    at: usize,
}

impl Histogram {
    /// Counts a value. Three words change.
    pub fn record(&self, value: u64) {
        let words = &self.region.words()[self.at..][..histogram::WORDS];
        let add = |word: &StatWord, more| {
            word.store(word.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        add(&words[0], value);
        if value > words[1].load(Ordering::Relaxed) {
            words[1].store(value, Ordering::Relaxed);
        }
        add(&words[histogram::HEAD + histogram::bucket(value)], 1);
    }

    /// Counts a duration, in nanoseconds.
    pub fn record_time(&self, time: std::time::Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// A text that others read whole or not at all. One thread at a time writes.
#[derive(Clone, Debug)]
pub struct Text {
    region: Arc<Region>,
    at: usize,
    words: usize,
}

impl Text {
    /// Sets the text, cut to its room.
    pub fn set(&self, text: &str) {
        let words = &self.region.words()[self.at..][..self.words];
        label::write::<0>(words, text.as_bytes());
    }

    /// As [`set`](Self::set), of bytes that need not be UTF-8; readers see what is not as U+FFFD.
    pub fn set_bytes(&self, text: &[u8]) {
        let words = &self.region.words()[self.at..][..self.words];
        label::write::<0>(words, text);
    }
}
