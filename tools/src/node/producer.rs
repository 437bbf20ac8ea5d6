//! Replies of many lines, produced a piece at a time as the client takes them.
//!
//! Nothing here holds a lock or a copy of the whole answer longer than it must, so that a list of a million entries to a
//! slow reader costs the node one page.

use super::host::Host;
use headcount::{Entry, PageToken, Topic};
use headcount_tools::line::push_token;
use std::io::Write;
use std::vec;

/// Entries or topics written at once. Their greatest size must fit what a connection may exceed its bound by.
pub(crate) const PIECE: usize = 64;

/// The most bytes that one entry's line can be: every byte of topic, key and meta escaped, and the fixed parts.
pub(crate) const ENTRY_LINE_MAX: usize = 4 * (256 + 256 + 512) + 512;

/// A reply in progress.
#[derive(Debug)]
pub(crate) enum Producer {
    /// Pages of a topic, from the live view.
    List { topic: Vec<u8>, after: Option<PageToken>, count: u64 },
    /// Entries that were copied out already.
    Entries { heading: Heading, entries: vec::IntoIter<Entry>, count: u64 },
    /// Topics with their counts.
    Topics { topics: vec::IntoIter<Topic>, count: u64 },
}

/// What the lines of copied entries start with, and how they end.
#[derive(Debug)]
pub(crate) enum Heading {
    /// `ENTRY`, `END n`.
    Entry,
    /// `SNAPSHOT topic`, `END n`.
    Snapshot(Vec<u8>),
    /// `SNAPSHOT topic`, `EVENT RESYNCED topic n`.
    Resync(Vec<u8>),
}

impl Producer {
    pub(crate) fn list(topic: Vec<u8>) -> Self {
        Self::List { topic, after: None, count: 0 }
    }

    pub(crate) fn entries(heading: Heading, entries: Vec<Entry>) -> Self {
        Self::Entries { heading, entries: entries.into_iter(), count: 0 }
    }

    pub(crate) fn topics(topics: Vec<Topic>) -> Self {
        Self::Topics { topics: topics.into_iter(), count: 0 }
    }

    /// Writes the next piece. Returns true when that was the last.
    pub(crate) fn produce(&mut self, host: &mut Host, out: &mut Vec<u8>) -> bool {
        match self {
            Self::List { topic, after, count } => {
                let page = host.tracker.list_page(&*topic, after.take(), PIECE);
                for entry in &page.entries {
                    out.extend_from_slice(b"ENTRY ");
                    push_entry(out, host, entry);
                    *count += 1;
                }
                *after = page.next;
                after.is_none() && end(out, *count)
            }
            Self::Entries { heading, entries, count } => {
                for entry in entries.by_ref().take(PIECE) {
                    heading.push(out);
                    push_entry(out, host, &entry);
                    *count += 1;
                }
                entries.as_slice().is_empty() && heading.end(out, *count)
            }
            Self::Topics { topics, count } => {
                for topic in topics.by_ref().take(PIECE) {
                    let members = host.tracker.count(&topic);
                    // It was emptied since the topics were listed.
                    if members > 0 {
                        out.extend_from_slice(b"TOPIC ");
                        push_token(out, &topic);
                        push_fmt(out, format_args!(" {members}\n"));
                        *count += 1;
                    }
                }
                topics.as_slice().is_empty() && end(out, *count)
            }
        }
    }
}

impl Heading {
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry => out.extend_from_slice(b"ENTRY "),
            Self::Snapshot(topic) | Self::Resync(topic) => {
                out.extend_from_slice(b"SNAPSHOT ");
                push_token(out, topic);
                out.push(b' ');
            }
        }
    }

    fn end(&self, out: &mut Vec<u8>, count: u64) -> bool {
        if let Self::Resync(topic) = self {
            out.extend_from_slice(b"EVENT RESYNCED ");
            push_token(out, topic);
            push_fmt(out, format_args!(" {count}\n"));
            return true;
        }
        end(out, count)
    }
}

/// `key node ref meta` and the end of the line.
pub(crate) fn push_entry(out: &mut Vec<u8>, host: &mut Host, entry: &Entry) {
    push_token(out, entry.key());
    out.push(b' ');
    push_token(out, host.node_name(entry.origin()).as_bytes());
    push_fmt(out, format_args!(" {} ", entry.entry_ref()));
    push_token(out, entry.meta());
    out.push(b'\n');
}

/// Writes the line that ends a reply of several. Always true: the reply is over.
pub(crate) fn end(out: &mut Vec<u8>, count: u64) -> bool {
    push_fmt(out, format_args!("END {count}\n"));
    true
}

/// Formats into a buffer; a `Vec` takes everything.
pub(crate) fn push_fmt(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
