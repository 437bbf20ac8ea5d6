//! Streams between processes: reliable, ordered, cut into pieces anywhere, slow, and broken when an end is gone or nothing has
//! passed for too long. What their ends are told, and when, is as `driver/stream.rs` tells it.

use super::oracle::ProcessId;
use super::world::{Event, World};
use super::{Breach, trace::Note};
use crate::core::{StreamAction, StreamId, StreamInput, Time};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// A stream on which nothing passes for so long is broken.
const BREAK_AFTER: Duration = Duration::from_secs(3);
const RETRY_EVERY: Duration = Duration::from_millis(60);
pub(super) const SEGMENT_MAX: u64 = 16 * 1024;
/// The last chunk of a portion may begin within it and end beyond; the ends of lanes follow.
const UNSENT_MORE: usize = 64 * 1024;

/// The streams that a process has open, as pipe and side.
#[derive(Debug, Default)]
pub(crate) struct StreamEnds {
    open: BTreeMap<u64, (u64, usize)>,
    accepted: u64,
}

/// What happens to a pipe next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PipeEvent {
    Connect,
    /// The next piece from this side goes over.
    Pump(usize),
    /// This side learns that the other is gone.
    Reset(usize),
}

/// What an end is told.
#[derive(Debug)]
pub(crate) enum Told {
    Accepted,
    Bytes(Vec<u8>),
    Writable,
    Closed,
}

impl Told {
    pub(crate) fn input(&self) -> StreamInput<'_> {
        match self {
            Self::Accepted => StreamInput::Accepted,
            Self::Bytes(bytes) => StreamInput::Bytes(bytes),
            Self::Writable => StreamInput::Writable,
            Self::Closed => StreamInput::Closed,
        }
    }

    pub(crate) fn note(&self, id: StreamId) -> Note {
        let (what, bytes) = match self {
            Self::Accepted => ("accepted", 0),
            Self::Bytes(bytes) => ("brings", bytes.len()),
            Self::Writable => ("is writable", 0),
            Self::Closed => ("is closed", 0),
        };
        Note::Stream { id: id.0, what, bytes }
    }
}

#[derive(Debug)]
struct Side {
    process: ProcessId,
    host: usize,
    id: StreamId,
    open: bool,
    finishing: bool,
    pumping: bool,
    outgoing: VecDeque<u8>,
}

#[derive(Debug)]
struct Pipe {
    to: SocketAddr,
    sides: Vec<Side>,
    blocked_since: Option<Time>,
}

/// All pipes.
#[derive(Debug)]
pub(crate) struct Streams {
    pipes: BTreeMap<u64, Pipe>,
    made: u64,
    /// Below this much waiting, an end is told that it can write.
    pub(crate) low_water: usize,
    /// A piece has at most so many bytes, and takes up to so much longer.
    pub(crate) segment_max: u64,
    pub(crate) delay_more: Duration,
    pub(crate) broken: u64,
    pub(crate) damaged: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            pipes: BTreeMap::new(),
            made: 0,
            low_water: 128 * 1024,
            segment_max: SEGMENT_MAX,
            delay_more: Duration::ZERO,
            broken: 0,
            damaged: 0,
        }
    }
}

#[cfg(test)]
impl Streams {
    /// How many there ever were.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }
}

impl World {
    pub(crate) fn act_on_stream(&mut self, from: ProcessId, id: StreamId, action: StreamAction) {
        if let StreamAction::Connect { to, first } = action {
            self.connect(from, id, to, first);
            return;
        }
        let Some((pipe, side)) =
            self.process(from).and_then(|process| process.streams.open.get(&id.0).copied())
        else {
            return;
        };
        match action {
            StreamAction::Send(bytes) | StreamAction::Greet(bytes) => {
                if let Some(pipe) = self.streams.pipes.get_mut(&pipe) {
                    pipe.sides[side].outgoing.extend(bytes);
                }
                self.plan_pump(pipe, side);
            }
            StreamAction::Finish => {
                if let Some(pipe) = self.streams.pipes.get_mut(&pipe) {
                    pipe.sides[side].finishing = true;
                }
                self.plan_pump(pipe, side);
            }
            StreamAction::Abort | StreamAction::Connect { .. } => self.close_side(pipe, side),
        }
    }

    fn connect(&mut self, from: ProcessId, id: StreamId, to: SocketAddr, first: Vec<u8>) {
        self.streams.made += 1;
        let number = self.streams.made;
        let Some(process) = self.process_mut(from) else {
            return;
        };
        process.streams.open.insert(id.0, (number, 0));
        let side = Side {
            process: from,
            host: process.host,
            id,
            open: true,
            finishing: false,
            pumping: false,
            outgoing: first.into(),
        };
        self.streams.pipes.insert(number, Pipe { to, sides: vec![side], blocked_since: None });
        let after = self.stream_delay();
        self.plan(after, Event::Pipe(number, PipeEvent::Connect));
    }

    /// Bytes that wait to go over, and how many may: what is left when more is asked for, one portion, and what ends a stream.
    pub(crate) fn unsent_bytes(&self, of: ProcessId, portion: usize) -> Option<String> {
        let process = self.process(of)?;
        let max = self.streams.low_water + portion + UNSENT_MORE;
        process.streams.open.values().find_map(|&(pipe, side)| {
            let waiting = self.streams.pipes.get(&pipe)?.sides.get(side)?.outgoing.len();
            (waiting > max).then(|| format!("{waiting} B wait in a stream, at most {max} may"))
        })
    }

    /// Every stream of a process is cut.
    pub(crate) fn cut_streams(&mut self, of: ProcessId) {
        let ends: Vec<_> = self
            .process(of)
            .map(|process| process.streams.open.values().copied().collect())
            .unwrap_or_default();
        for (pipe, side) in ends {
            self.close_side(pipe, side);
        }
    }

    /// Whether a process still has a stream.
    pub(crate) fn has_stream(&self, of: ProcessId, id: StreamId) -> bool {
        self.process(of).is_some_and(|process| process.streams.open.contains_key(&id.0))
    }

    pub(crate) fn forget_stream(&mut self, of: ProcessId, id: StreamId) {
        if let Some(process) = self.process_mut(of) {
            process.streams.open.remove(&id.0);
        }
    }

    pub(crate) fn on_pipe(&mut self, number: u64, event: PipeEvent) -> Result<(), Breach> {
        match event {
            PipeEvent::Connect => self.try_to_connect(number),
            PipeEvent::Pump(side) => self.pump(number, side),
            PipeEvent::Reset(side) => self.reset(number, side),
        }
    }

    fn try_to_connect(&mut self, number: u64) -> Result<(), Breach> {
        let Some(to) = self.streams.pipes.get(&number).map(|pipe| pipe.to) else {
            return Ok(());
        };
        let Some((process, host)) = self.listener(to) else {
            return self.tell(number, 0, Told::Closed);
        };
        if !self.passes_now(number, host, PipeEvent::Connect)? {
            return Ok(());
        }
        let Some(end) = self.process_mut(process) else {
            return Ok(());
        };
        let id = StreamId(2 * end.streams.accepted + 1);
        end.streams.accepted += 1;
        end.streams.open.insert(id.0, (number, 1));
        let outgoing = VecDeque::new();
        let side = Side { process, host, id, open: true, finishing: false, pumping: false, outgoing };
        if let Some(pipe) = self.streams.pipes.get_mut(&number) {
            pipe.sides.push(side);
        }
        self.tell(number, 1, Told::Accepted)?;
        self.plan_pump(number, 0);
        Ok(())
    }

    fn pump(&mut self, number: u64, from: usize) -> Result<(), Breach> {
        let Some(pipe) = self.streams.pipes.get_mut(&number) else {
            return Ok(());
        };
        pipe.sides[from].pumping = false;
        let Some(to_host) = pipe.sides.get(1 - from).map(|side| side.host) else {
            return Ok(());
        };
        if !pipe.sides[from].open {
            return Ok(());
        }
        if !self.passes_now(number, to_host, PipeEvent::Pump(from))? {
            return Ok(());
        }
        if self.network.breaks(&mut self.rng) {
            return self.break_pipe(number);
        }
        let most = if self.rng.below(8) == 0 { 64 } else { self.streams.segment_max };
        let most = 1 + self.rng.below(most);
        let Some(side) = self.streams.pipes.get_mut(&number).map(|pipe| &mut pipe.sides[from]) else {
            return Ok(());
        };
        let len = side.outgoing.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let mut piece: Vec<u8> = side.outgoing.drain(..len).collect();
        let finishing = side.finishing;
        let left = side.outgoing.len();
        // In clear, requests only: nothing tells a damaged answer from a true one before its end, so such a lane would show what never was.
        let may_be = from == 0 || self.sealing.is_sealed();
        if may_be && !piece.is_empty() && self.network.damages(&mut self.rng) {
            let at = usize::try_from(self.rng.below(piece.len() as u64)).unwrap_or_default();
            piece[at] ^= 1 << self.rng.below(8);
            self.streams.damaged += 1;
        }
        if !piece.is_empty() {
            self.tell(number, 1 - from, Told::Bytes(piece))?;
        }
        if left == 0 && finishing {
            let end =
                self.streams.pipes.get(&number).map(|pipe| (pipe.sides[from].process, pipe.sides[from].id));
            if let Some((process, id)) = end {
                self.forget_stream(process, id);
            }
            self.tell(number, 1 - from, Told::Closed)?;
            self.streams.pipes.remove(&number);
            return Ok(());
        }
        if left < self.streams.low_water && !finishing {
            self.tell(number, from, Told::Writable)?;
        }
        if left > 0 {
            self.plan_pump(number, from);
        }
        Ok(())
    }

    fn reset(&mut self, number: u64, side: usize) -> Result<(), Breach> {
        let Some(pipe) = self.streams.pipes.get(&number) else {
            return Ok(());
        };
        let other = pipe.sides.get(1 - side).map(|other| other.host);
        if let Some(other) = other
            && !self.passes_now(number, other, PipeEvent::Reset(side))?
        {
            return Ok(());
        }
        self.tell(number, side, Told::Closed)?;
        self.streams.pipes.remove(&number);
        Ok(())
    }

    /// Whether the two hosts of a pipe can talk; if not, tries again later, or breaks it.
    fn passes_now(&mut self, number: u64, to_host: usize, again: PipeEvent) -> Result<bool, Breach> {
        let now = self.now;
        let Some(pipe) = self.streams.pipes.get_mut(&number) else {
            return Ok(false);
        };
        let from_host = match again {
            PipeEvent::Connect => pipe.sides[0].host,
            PipeEvent::Pump(side) | PipeEvent::Reset(side) => pipe.sides[side].host,
        };
        if self.network.connects(now, from_host, to_host) {
            pipe.blocked_since = None;
            return Ok(true);
        }
        let since = *pipe.blocked_since.get_or_insert(now);
        if now < since + BREAK_AFTER {
            if let PipeEvent::Pump(side) = again {
                pipe.sides[side].pumping = true;
            }
            self.plan(RETRY_EVERY, Event::Pipe(number, again));
            return Ok(false);
        }
        self.break_pipe(number)?;
        Ok(false)
    }

    /// Both ends learn that it is gone.
    fn break_pipe(&mut self, number: u64) -> Result<(), Breach> {
        self.streams.broken += 1;
        for side in 0..2 {
            self.tell(number, side, Told::Closed)?;
        }
        self.streams.pipes.remove(&number);
        Ok(())
    }

    fn plan_pump(&mut self, number: u64, side: usize) {
        let after = self.stream_delay();
        if let Some(pipe) = self.streams.pipes.get_mut(&number)
            && pipe.sides.len() == 2
            && !std::mem::replace(&mut pipe.sides[side].pumping, true)
        {
            self.plan(after, Event::Pipe(number, PipeEvent::Pump(side)));
        }
    }

    /// This side is closed by its own process; the other will learn of it.
    fn close_side(&mut self, number: u64, side: usize) {
        let after = self.stream_delay();
        let Some(pipe) = self.streams.pipes.get_mut(&number) else {
            return;
        };
        let end = &mut pipe.sides[side];
        end.open = false;
        let (process, id) = (end.process, end.id);
        let alone = pipe.sides.len() == 1;
        self.forget_stream(process, id);
        if alone {
            self.streams.pipes.remove(&number);
        } else {
            self.plan(after, Event::Pipe(number, PipeEvent::Reset(1 - side)));
        }
    }

    /// Tells an end something, if it is open; a stopped process finds it when it goes on.
    fn tell(&mut self, number: u64, side: usize, told: Told) -> Result<(), Breach> {
        let Some(pipe) = self.streams.pipes.get_mut(&number) else {
            return Ok(());
        };
        let Some(end) = pipe.sides.get_mut(side).filter(|end| end.open) else {
            return Ok(());
        };
        let (process, id) = (end.process, end.id);
        if matches!(told, Told::Closed) {
            end.open = false;
            if pipe.sides.len() == 1 {
                self.streams.pipes.remove(&number);
            }
        }
        self.deliver(process, Event::Stream(process, id, told))
    }

    /// Streams become slow, and datagrams that are sent again come late, until the faults stop.
    pub(crate) fn make_slow(&mut self, segment_max: u64, delay_more: Duration) {
        (self.streams.segment_max, self.streams.delay_more) = (segment_max, delay_more);
        self.season();
    }

    /// What is to be had of the weather at the least.
    pub(crate) fn season(&mut self) {
        if !self.streams.delay_more.is_zero() {
            let weather = &mut self.network.weather;
            weather.loss = weather.loss.max(60);
            weather.late = weather.late.max(300);
        }
    }

    fn stream_delay(&mut self) -> Duration {
        let max = self.network.weather.delay_max + self.streams.delay_more;
        Duration::from_micros(30) + self.rng.time_below(max)
    }
}
