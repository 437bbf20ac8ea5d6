//! What a table holds.

use super::format::ROW_ALIGN;
use super::histogram;
use crate::kernel::label;

/// What a field's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// How often which values came.
    Histogram,
    /// A text.
    Text,
}

impl Kind {
    pub(super) fn code(self) -> u64 {
        match self {
            Self::Counter => 1,
            Self::Gauge => 2,
            Self::Histogram => 3,
            Self::Text => 4,
        }
    }

    pub(super) fn of_code(code: u64) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Histogram, Self::Text].into_iter().find(|kind| kind.code() == code)
    }
}

/// A field of a table: a column.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: &'static str,
    pub(super) help: &'static str,
    /// The most bytes of a text.
    pub(super) bytes: usize,
}

impl Field {
    /// A number that only grows. Names in `snake_case`, those of totals with `_total` behind, at most 40 bytes; units in the plural, at
    /// most 24 bytes, `""` for what has none; help in one sentence of at most 128 bytes. What is longer is cut.
    #[must_use]
    pub const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit, help, bytes: 0 }
    }

    /// A number that goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, help, bytes: 0 }
    }

    /// How often which values came. Values above 2^40 are counted as that.
    #[must_use]
    pub const fn histogram(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, unit, help, bytes: 0 }
    }

    /// A text of at most so many bytes; what is longer is cut.
    #[must_use]
    pub const fn text(name: &'static str, bytes: usize, help: &'static str) -> Self {
        Self { name, kind: Kind::Text, unit: "", help, bytes }
    }

    pub(super) fn words(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram => histogram::WORDS,
            Kind::Text => label::words(self.bytes),
        }
    }

    pub(super) fn parameter(&self) -> u64 {
        match self.kind {
            Kind::Counter | Kind::Gauge => 0,
            Kind::Histogram => u64::from(histogram::BITS),
            Kind::Text => self.bytes as u64,
        }
    }
}

/// A table: its name, what it is about, and its fields in the order in which they are shown.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its name, at most 32 bytes.
    pub name: &'static str,
    /// What a row is, in a sentence of at most 128 bytes.
    pub help: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

impl Schema {
    /// The fields with the first word of each in a row, after the word that says whether the row means something.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&Field, usize)> {
        let mut next = 1;
        self.fields.iter().map(move |field| {
            let first = next;
            next += field.words();
            (field, first)
        })
    }

    pub(super) fn row_words(&self) -> usize {
        let words: usize = self.fields.iter().map(Field::words).sum();
        (1 + words).next_multiple_of(ROW_ALIGN)
    }
}
