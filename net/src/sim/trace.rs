//! What happened lately, kept cheaply and spelled out only when something is wrong; and a hash of everything that happened, by
//! which two runs are told apart.

use super::sealing;
use super::versions::Worth;
use crate::core::Time;
use crate::wire;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const LINES_MAX: usize = 60;
/// A frame is shown as far as this.
const FRAME_SHOWN: usize = 220;

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A datagram came.
    Datagram {
        bytes: Arc<[u8]>,
        worth: Worth,
    },
    Turn,
    Stream {
        id: u64,
        what: &'static str,
        bytes: usize,
    },
    /// Anything else, in words.
    Say(String),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trace {
    lines: VecDeque<(Time, usize, Note)>,
    lines_max: usize,
    hash: u64,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { lines: VecDeque::new(), lines_max: LINES_MAX, hash: 0 }
    }

    /// Forgets nothing from now on.
    pub(crate) fn keep_all(&mut self) {
        self.lines_max = usize::MAX;
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn note(&mut self, at: Time, host: usize, note: Note) {
        match &note {
            Note::Datagram { bytes, worth } => {
                self.mix(bytes);
                self.mix(&[*worth as u8]);
            }
            Note::Turn => self.mix(b"turn"),
            Note::Stream { id, what, bytes } => {
                self.mix(&id.to_le_bytes());
                self.mix(what.as_bytes());
                self.mix(&bytes.to_le_bytes());
            }
            Note::Say(words) => self.mix(words.as_bytes()),
        }
        self.mix(&at.as_nanos().to_le_bytes());
        self.mix(&host.to_le_bytes());
        if self.lines.len() >= self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back((at, host, note));
    }

    /// Adds to the hash alone.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        self.hash = xxh3_64_with_seed(bytes, self.hash);
    }

    /// The last lines, in words.
    pub(crate) fn tail(&self) -> String {
        let mut text = String::new();
        for (at, host, note) in &self.lines {
            let _ = write!(text, "{:>12.6} n{host} ", at.as_secs_f64());
            match note {
                Note::Datagram { bytes, worth: Worth::Good } => self.spell(bytes, &mut text),
                Note::Datagram { bytes, worth } => {
                    let _ = write!(text, "a datagram of {} B: {worth:?}", bytes.len());
                }
                Note::Turn => text.push_str("turn"),
                Note::Stream { id, what, bytes } => {
                    let _ = write!(text, "stream {id} {what} {bytes} B");
                }
                Note::Say(words) => text.push_str(words),
            }
            text.push('\n');
        }
        text
    }

    fn spell(&self, bytes: &[u8], text: &mut String) {
        let Some((header, body)) = sealing::open(bytes) else {
            text.push_str("a datagram that does not open");
            return;
        };
        let _ = write!(text, "from {:08x}/{:04x}", header.node, header.session & 0xffff);
        for frame in wire::frames(&body).flatten() {
            let mut shown = format!("{frame:?}");
            if let wire::Frame::Delta(delta) = &frame {
                shown = format!("Delta lane {} ({}, {}]", delta.lane, delta.lo, delta.hi);
            }
            if shown.len() > FRAME_SHOWN {
                let cut = shown.char_indices().map(|(at, _)| at).take_while(|&at| at <= FRAME_SHOWN).last();
                shown.truncate(cut.unwrap_or(0));
                shown.push('…');
            }
            let _ = write!(text, " {shown}");
        }
    }
}
