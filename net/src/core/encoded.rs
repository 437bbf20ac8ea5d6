//! Lanes made into messages, once for all who ask for the same.
//!
//! An encoding is one own lane as of one clock for one base: a sequence of messages that is made as far as the fastest asker reads, from a
//! [`LaneReader`], which needs no copy of the lane. Askers have their own places in it. Two kinds:
//!
//! * The log still reaches back to the base: the operations since. Exact, and as large as the change.
//! * Else: the entries above the base, newest first, then which dots below it are alive.
//!
//! What it may hold: messages that some asker has yet to read (at most one encoded lane for each stream given, so it is bounded by what
//! lives), and beside those, for askers still to come, [`Limits::shared_bytes`](super::Limits). The reader keeps entries that leave meanwhile;
//! so that slow askers do not make history pile up there, an encoding that is not through after [`READ_FOR`] is made to its end, bit by bit,
//! without waiting for them.

use super::io::{StreamId, Time};
use crate::wire::{ChunkWriter, DeltaWriter, DotsWriter, Message, Wanted};
use headcount::replica::{LaneReader, LaneSummary, Replica};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Who asks for a whole lane within so long gets it as of then; what has happened since is in the log.
const SHARE_FOR: Duration = Duration::from_secs(1);
/// An encoding that nobody reads is kept for so long.
const LINGER: Duration = Duration::from_millis(500);
/// A lane is kept readable for so long.
const READ_FOR: Duration = Duration::from_millis(500);
/// What is not through by then is encoded so often, a portion at a time.
const PUSH_EVERY: Duration = Duration::from_millis(1);
/// Operations told from the log at once. They are taken in one go, so this bounds the memory for it.
const OPS_MAX: u64 = 64 * 1024;

/// See the module's documentation.
#[derive(Debug)]
struct Encoding {
    lane: u16,
    base: u64,
    summary: LaneSummary,
    is_ops: bool,
    /// The lane is another node's.
    is_relayed: bool,
    begun: Time,
    /// When somebody last stopped to read it.
    left: Time,
    /// Who reads it, and the number of the part that comes next.
    askers: BTreeMap<StreamId, u64>,
    /// Those that were made and are not dropped.
    parts: VecDeque<Arc<[u8]>>,
    /// The number of the first of them.
    first: u64,
    /// What is still to be made.
    rest: Option<Rest>,
}

/// The rest of a snapshot.
#[derive(Debug)]
struct Rest {
    reader: LaneReader,
    /// The upper end of the next chunk.
    hi: u64,
    /// How many ranges of live dots were told.
    told: usize,
}

impl Encoding {
    fn ops(replica: &Replica, wanted: &Wanted, now: Time, part_bytes: usize) -> Option<Self> {
        let Wanted { lane, base, .. } = *wanted;
        if wanted.diverged || base == 0 || replica.lane_clock(lane).saturating_sub(base) > OPS_MAX {
            return None;
        }
        let clocks_max = usize::try_from(OPS_MAX).unwrap_or(usize::MAX);
        // The base may be where a datagram ended, in the middle of what was told at once.
        let delta = replica.whole_delta(lane, base, clocks_max).ok()?;
        let summary = delta.summary();
        if delta.hi() != summary.clock {
            return None;
        }
        let mut encoding = Self { is_ops: true, ..Self::new(lane, base, summary, now) };
        encoding.put(&Message::OpsBegin { lane, lo: base, as_of: summary.clock });
        let mut writer = DeltaWriter::new(part_bytes);
        let mut clock = base;
        writer.start(lane, clock);
        for op in delta.ops() {
            if !writer.push(&op) {
                clock = encoding.end_ops(&mut writer).unwrap_or(clock);
                writer.start(lane, clock);
                // What a configuration that was checked lets in fits an empty message.
                let _fits = writer.push(&op);
            }
        }
        encoding.end_ops(&mut writer);
        encoding.put_end();
        Some(encoding)
    }

    fn end_ops(&mut self, writer: &mut DeltaWriter) -> Option<u64> {
        let (message, clock) = writer.finish_message()?;
        self.parts.push_back(message.into());
        Some(clock)
    }

    fn snapshot(reader: LaneReader, now: Time) -> Self {
        let (lane, base, summary) = (reader.lane(), reader.base(), reader.summary());
        let mut encoding = Self::new(lane, base, summary, now);
        let LaneSummary { clock, count, .. } = summary;
        encoding.put(&Message::LaneBegin { lane, base, as_of: clock, count });
        if clock == 0 {
            encoding.put_end();
        } else {
            encoding.rest = Some(Rest { reader, hi: clock, told: 0 });
        }
        encoding
    }

    fn new(lane: u16, base: u64, summary: LaneSummary, now: Time) -> Self {
        Self {
            lane,
            base,
            summary,
            is_ops: false,
            is_relayed: false,
            begun: now,
            left: now,
            askers: BTreeMap::new(),
            parts: VecDeque::new(),
            first: 0,
            rest: None,
        }
    }

    fn put(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        // Of fixed fields: far below the limit of a message.
        let _fits = message.put(&mut bytes);
        self.parts.push_back(bytes.into());
    }

    fn put_end(&mut self) {
        let LaneSummary { clock, count, digest } = self.summary;
        self.put(&Message::LaneEnd { lane: self.lane, as_of: clock, count, digest });
    }

    /// Makes the next part, if there is one; returns its length.
    fn make(&mut self, part_bytes: usize) -> usize {
        let Some(rest) = &mut self.rest else {
            return 0;
        };
        let message =
            if rest.hi > self.base { rest.chunk(self.base, part_bytes) } else { rest.dots(part_bytes) };
        let mut made = message.len();
        let is_through = rest.hi == 0;
        self.parts.push_back(message.into());
        if is_through {
            self.rest = None;
            self.put_end();
            made += self.parts.back().map_or(0, |end| end.len());
        }
        made
    }

    /// Makes all of it, and puts the ranges between its beginning and its end into ascending order.
    fn turn_round(&mut self, part_bytes: usize) {
        while self.make(part_bytes) > 0 {}
        let end = self.parts.len().saturating_sub(1);
        if let Some(ranges) = self.parts.make_contiguous().get_mut(1..end) {
            ranges.reverse();
        }
    }

    /// Whether somebody who comes now finds its beginning.
    fn is_open(&self) -> bool {
        self.first == 0
    }

    fn serves(&self, replica: &Replica, wanted: &Wanted, now: Time) -> bool {
        let Wanted { lane, base, reached, .. } = *wanted;
        let as_of = self.summary.clock;
        if self.is_relayed || !self.is_open() || (self.lane, self.base) != (lane, base) || as_of < reached {
            return false;
        }
        // Above 0, what was told to the asker meanwhile may build on what this is too old to have.
        as_of == replica.lane_clock(lane)
            || (base == 0 && now < self.begun + SHARE_FOR && as_of >= replica.log_floor(lane))
    }

    /// Drops the first part, if every asker has it; returns its length.
    fn drop_first(&mut self) -> Option<usize> {
        let least = self.askers.values().copied().min().unwrap_or(u64::MAX);
        if self.first >= least {
            return None;
        }
        let part = self.parts.pop_front()?;
        self.first += 1;
        Some(part.len())
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl Rest {
    /// As many entries as fit, and the range down to the last of them.
    fn chunk(&mut self, base: u64, part_bytes: usize) -> Vec<u8> {
        let mut writer = ChunkWriter::new(self.reader.lane(), self.hi, part_bytes);
        let mut last = self.hi;
        let mut lo = base;
        self.reader.read(|item| {
            let fits = writer.push(item);
            if fits {
                last = item.dot;
            } else {
                lo = last - 1;
            }
            fits
        });
        self.hi = lo;
        writer.finish(lo)
    }

    fn dots(&mut self, part_bytes: usize) -> Vec<u8> {
        let mut writer = DotsWriter::new(self.reader.lane(), self.hi, part_bytes);
        let mut lo = 0;
        for &range in self.reader.live().get(self.told..).unwrap_or_default() {
            if !writer.push(range) {
                lo = range.1;
                break;
            }
            self.told += 1;
        }
        self.hi = lo;
        writer.finish(lo)
    }
}

/// What an asker gets next.
pub(super) enum Part {
    Bytes(Arc<[u8]>),
    /// The lane is through.
    End,
}

/// All encodings.
#[derive(Debug)]
pub(super) struct Encodings {
    all: BTreeMap<u64, Encoding>,
    made: u64,
    bytes: usize,
    /// See [`Limits`](super::Limits).
    shared_bytes: usize,
    /// When the next portion of those that take too long is due.
    push_at: Time,
}

/// How an asker got its encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    pub(super) number: u64,
    /// It was made for it.
    pub(super) is_new: bool,
    /// It is of operations from the log, not a snapshot.
    pub(super) is_ops: bool,
}

impl Encodings {
    pub(super) fn new(shared_bytes: usize) -> Self {
        Self { all: BTreeMap::new(), made: 0, bytes: 0, shared_bytes, push_at: Time::ZERO }
    }

    /// Gives an asker its place in the encoding of a lane, which is made if there is none that serves. `None`: there is no such lane.
    pub(super) fn attach(
        &mut self,
        now: Time,
        asker: StreamId,
        replica: &Replica,
        wanted: &Wanted,
        part_bytes: usize,
    ) -> Option<Attached> {
        let there = self.all.iter_mut().find(|(_, encoding)| encoding.serves(replica, wanted, now));
        if let Some((&number, encoding)) = there {
            encoding.askers.insert(asker, 0);
            return Some(Attached { number, is_new: false, is_ops: encoding.is_ops });
        }
        let encoding = Encoding::ops(replica, wanted, now, part_bytes);
        let Wanted { lane, base, .. } = *wanted;
        let whole = || replica.read_lane(lane, base).map(|reader| Encoding::snapshot(reader, now));
        let mut encoding = encoding.or_else(whole)?;
        if planted!(AscendingSnapshot) && !encoding.is_ops {
            encoding.turn_round(part_bytes);
        }
        Some(self.add(encoding, asker))
    }

    /// Encodes a lane of another node, for this asker alone.
    pub(super) fn attach_relayed(&mut self, now: Time, asker: StreamId, reader: LaneReader) -> Attached {
        let encoding = Encoding { is_relayed: true, ..Encoding::snapshot(reader, now) };
        self.add(encoding, asker)
    }

    fn add(&mut self, mut encoding: Encoding, asker: StreamId) -> Attached {
        encoding.askers.insert(asker, 0);
        let is_ops = encoding.is_ops;
        self.made += 1;
        self.bytes += encoding.bytes();
        self.all.insert(self.made, encoding);
        self.trim();
        Attached { number: self.made, is_new: true, is_ops }
    }

    /// The next part for an asker.
    pub(super) fn next(&mut self, number: u64, asker: StreamId, part_bytes: usize) -> Part {
        let Some(encoding) = self.all.get_mut(&number) else {
            return Part::End;
        };
        let Some(&place) = encoding.askers.get(&asker) else {
            return Part::End;
        };
        let at = usize::try_from(place - encoding.first).unwrap_or(usize::MAX);
        if at >= encoding.parts.len() {
            self.bytes += encoding.make(part_bytes);
        }
        let Some(part) = encoding.parts.get(at).map(Arc::clone) else {
            return Part::End;
        };
        encoding.askers.insert(asker, place + 1);
        self.trim();
        Part::Bytes(part)
    }

    /// An asker is through with an encoding, or gone.
    pub(super) fn detach(&mut self, now: Time, number: u64, asker: StreamId) {
        let Some(encoding) = self.all.get_mut(&number) else {
            return;
        };
        encoding.askers.remove(&asker);
        encoding.left = now;
        // What nobody reads is not kept readable, and half of it is of no use to who comes later.
        let is_useless = encoding.is_relayed || encoding.rest.is_some() || !encoding.is_open();
        if encoding.askers.is_empty() && is_useless {
            self.remove(number);
        }
        self.trim();
    }

    fn remove(&mut self, number: u64) {
        if let Some(encoding) = self.all.remove(&number) {
            self.bytes -= encoding.bytes();
        }
    }

    /// Drops what only askers to come would read, the oldest first, as long as there is too much.
    fn trim(&mut self) {
        if self.bytes <= self.shared_bytes {
            return;
        }
        for encoding in self.all.values_mut() {
            while self.bytes > self.shared_bytes
                && let Some(len) = encoding.drop_first()
            {
                self.bytes -= len;
            }
        }
        let is_useless = |encoding: &Encoding| encoding.askers.is_empty() && !encoding.is_open();
        self.remove_all(is_useless);
    }

    fn remove_all(&mut self, which: impl Fn(&Encoding) -> bool) {
        let bytes = &mut self.bytes;
        self.all.retain(|_, encoding| {
            let goes = which(encoding);
            if goes {
                *bytes -= encoding.bytes();
            }
            !goes
        });
    }

    /// Gives up what nobody reads any more, and goes on with what takes too long.
    pub(super) fn tick(&mut self, now: Time, part_bytes: usize, portion_bytes: usize) {
        let idle = |encoding: &Encoding| encoding.askers.is_empty() && now >= encoding.left + LINGER;
        self.remove_all(idle);
        if now < self.push_at {
            return;
        }
        let late = |encoding: &&mut Encoding| encoding.rest.is_some() && now >= encoding.begun + READ_FOR;
        if let Some(encoding) = self.all.values_mut().find(late) {
            let mut made = 0;
            while encoding.rest.is_some() && made < portion_bytes {
                made += encoding.make(part_bytes);
            }
            self.bytes += made;
            self.trim();
            self.push_at = now + PUSH_EVERY;
        }
    }

    /// Whether any lane is kept readable.
    pub(super) fn reads_any(&self) -> bool {
        self.all.values().any(|encoding| encoding.rest.is_some())
    }

    pub(super) fn due_at(&self) -> Time {
        let due = |encoding: &Encoding| {
            let idle = if encoding.askers.is_empty() { encoding.left + LINGER } else { Time::MAX };
            let late = if encoding.rest.is_some() {
                (encoding.begun + READ_FOR).max(self.push_at)
            } else {
                Time::MAX
            };
            idle.min(late)
        };
        self.all.values().map(due).min().unwrap_or(Time::MAX)
    }

    /// What is wrong with its bounds, in words.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn broken_bound(&self, streams: usize) -> Option<String> {
        let held: usize = self.all.values().map(Encoding::bytes).sum();
        let askers: usize = self.all.values().map(|encoding| encoding.askers.len()).sum();
        let is_read = |encoding: &Encoding| {
            let least = encoding.askers.values().min();
            encoding.parts.is_empty() || least.is_some_and(|&least| least <= encoding.first)
        };
        if held != self.bytes || askers > streams {
            return Some(format!("{held} B of encoded lanes, counted as {}, {askers} askers", self.bytes));
        }
        (held > self.shared_bytes && !self.all.values().all(is_read))
            .then(|| format!("{held} B of encoded lanes are kept for askers to come"))
    }
}
