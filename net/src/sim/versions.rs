//! Hosts of other versions: what they say that this version does not know, and what they do not know of what it says.
//!
//! Every core is of this version. What one of another version would do otherwise is done to its datagrams: on their way out, the same
//! each time for the same bytes, because a repair is the same datagram; and, for what it would not know, on their way in.

use super::Breach;
use super::oracle::ProcessId;
use super::sealing;
use super::world::World;
use crate::core::{Rng, Target};
use crate::wire::{self, Frame, Header};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// A datagram of a later version may be longer than one of this, but not than what anybody takes.
const LEN_MAX: usize = wire::DATAGRAM_ACCEPTED_MAX - 64;
/// One in so many of a later host's datagrams has a critical frame beside what this version knows.
const CRITICAL_EVERY: u64 = 150;
/// And beside one in so many goes another that this version is to drop, or to make nothing of.
const STRANGE_EVERY: u64 = 40;

/// Which version a host runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Version {
    #[default]
    This,
    /// It says more: frames that this one does not know, in front of, between and behind the others; flags that mean nothing here.
    Later,
    /// It says less and knows less: a host's drops, and where multicast makes them needless, the addresses of others.
    Older,
}

/// What a datagram is to who gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worth {
    Good,
    /// Not what was sent.
    Damaged,
    /// Whole, and of another wire version.
    Foreign,
    /// Whole, and with a critical frame that is not known here.
    Critical,
}

/// What was made of datagrams so that they are of other versions.
#[derive(Debug)]
pub(crate) struct Versions {
    /// One in so many of a later host's datagrams gets a critical frame.
    pub(super) critical_every: u64,
    /// The packets that have one.
    critical: BTreeSet<(u32, u64, u64)>,
}

impl Default for Versions {
    fn default() -> Self {
        Self { critical_every: CRITICAL_EVERY, critical: BTreeSet::new() }
    }
}

/// A type of a frame that this version does not know, not critical.
fn unknown(rng: &mut Rng) -> u8 {
    let mut kinds = (0..wire::CRITICAL).filter(|&kind| !wire::is_known(kind));
    let count = kinds.clone().count() as u64;
    kinds.nth(usize::try_from(rng.below(count)).unwrap_or_default()).unwrap_or_default()
}

/// Uniform within `0..bound`, which is 256 at most.
fn byte(rng: &mut Rng, bound: u64) -> u8 {
    u8::try_from(rng.below(bound)).unwrap_or_default()
}

fn put_unknown(rng: &mut Rng, kind: u8, out: &mut Vec<u8>) {
    let len = if rng.below(16) == 0 { rng.below(300) } else { rng.below(24) };
    wire::put_frame(out, kind, |out| (0..len).for_each(|_| out.push(byte(rng, 256))));
}

/// As a later version would have said it; and how many frames came to it.
fn later(rng: &mut Rng, body: &[u8], room: usize) -> (Vec<u8>, u64) {
    let (mut said, mut added) = (Vec::new(), 0);
    let mut add = |rng: &mut Rng, said: &mut Vec<u8>, rest: usize| {
        let before = said.len();
        let kind = unknown(rng);
        put_unknown(rng, kind, said);
        if said.len() + rest <= room {
            added += 1;
        } else {
            said.truncate(before);
        }
    };
    let mut rest = body.len();
    // It begins every datagram with a frame of its own.
    add(rng, &mut said, rest);
    for frame in wire::whole_frames(body) {
        rest -= frame.len();
        let at = said.len();
        match wire::frames(frame).next() {
            Some(Ok(Frame::Hello(mut hello))) => {
                hello.flags |= 0x08 << rng.below(5);
                hello.wire_max = hello.wire_max.saturating_add(1 + byte(rng, 9));
                hello.put(&mut said);
            }
            Some(Ok(Frame::Heard(mut heard))) => {
                heard.flags |= 0x02 << rng.below(7);
                heard.put(&mut said);
            }
            _ => said.extend_from_slice(frame),
        }
        // To who knows the frame, it makes no difference whether others may skip it.
        said[at] |= if rng.below(4) == 0 { wire::CRITICAL } else { 0 };
        if rng.below(2) == 0 {
            add(rng, &mut said, rest);
        }
    }
    (said, added)
}

impl World {
    /// What leaves a host where a core has said `bytes`, and what it is to others.
    pub(super) fn as_sent(&mut self, host: usize, bytes: &Arc<[u8]>) -> (Arc<[u8]>, Worth) {
        let version = self.hosts[host].build.version;
        let is_estranged = self.network.is_estranged(self.now, host);
        if version == Version::This && !is_estranged {
            return (Arc::clone(bytes), Worth::Good);
        }
        let Some((header, body)) = sealing::open(bytes) else {
            return (Arc::clone(bytes), Worth::Good);
        };
        // What is said again is said in the same words.
        let mut same = Rng::new(xxh3_64(bytes));
        let mut said = body;
        let mut worth = Worth::Good;
        match version {
            Version::This => {}
            Version::Older => said = self.without_unknown(host, &said),
            Version::Later => {
                let (more, added) = later(&mut same, &said, LEN_MAX - (bytes.len() - said.len()));
                said = more;
                self.faults.unknown_frames += added;
                if self.is_critical(&header) {
                    wire::put_frame(&mut said, wire::CRITICAL | unknown(&mut same), |_| {});
                    self.faults.critical_frames += 1;
                    worth = Worth::Critical;
                }
            }
        }
        let mut wire_version = wire::WIRE_VERSION;
        if is_estranged {
            self.faults.foreign_versions += 1;
            wire_version = other_version(&mut same);
            worth = Worth::Foreign;
        }
        (sealing::seal(&header, wire_version, &said).map_or_else(|| Arc::clone(bytes), Into::into), worth)
    }

    /// Whether a packet has a critical frame: that is drawn once, and not when the faults have stopped.
    fn is_critical(&mut self, header: &Header) -> bool {
        let packet = (header.node, header.session, header.packet);
        if self.restless
            && !self.ledger.is_repair(header)
            && self.rng.below(self.versions.critical_every) == 0
        {
            self.versions.critical.insert(packet);
        }
        self.versions.critical.contains(&packet)
    }

    /// What of a datagram gets to the core of a host.
    pub(super) fn as_heard(&mut self, host: usize, bytes: &Arc<[u8]>) -> Arc<[u8]> {
        if self.hosts[host].build.version != Version::Older {
            return Arc::clone(bytes);
        }
        let Some((header, body)) = sealing::open(bytes) else {
            return Arc::clone(bytes);
        };
        let known = self.without_unknown(host, &body);
        let sealed = sealing::seal(&header, wire::WIRE_VERSION, &known);
        sealed.map_or_else(|| Arc::clone(bytes), Into::into)
    }

    /// The frames that an older host knows.
    fn without_unknown(&mut self, host: usize, body: &[u8]) -> Vec<u8> {
        let multicasts = self.hosts[host].build.seeds.is_empty();
        let mut known = Vec::new();
        for frame in wire::whole_frames(body) {
            match wire::frames(frame).next() {
                Some(Ok(Frame::Drops(_))) => self.faults.frames_not_known += 1,
                Some(Ok(Frame::Peers(_))) if multicasts => self.faults.frames_not_known += 1,
                _ => known.extend_from_slice(frame),
            }
        }
        known
    }

    /// Beside a datagram of a later host there may go one that this version makes nothing of. What it says that is known here would
    /// be the end of its speaker if it were believed.
    pub(super) fn say_something_strange(&mut self, from: ProcessId, target: Target) -> Result<(), Breach> {
        let Some(host) = self.process(from).map(|process| process.host) else {
            return Ok(());
        };
        let is_later = self.hosts[host].build.version == Version::Later;
        if !is_later || self.rng.below(STRANGE_EVERY) != 0 {
            return Ok(());
        }
        let rng = &mut Rng::new(self.rng.next());
        let mut body = Vec::new();
        let mut worth = Worth::Good;
        let kind = unknown(rng);
        put_unknown(rng, kind, &mut body);
        if rng.below(3) != 0 {
            worth = if rng.below(2) == 0 { Worth::Foreign } else { Worth::Critical };
            let life = self.process(from).map(|process| process.core.incarnation());
            let incarnation = life.unwrap_or_default().to_u64();
            wire::Leave { incarnation, clocks: Vec::new(), handover_ms: 0 }.put(&mut body);
        }
        if worth == Worth::Critical {
            let kind = unknown(rng);
            put_unknown(rng, wire::CRITICAL | kind, &mut body);
            self.faults.critical_frames += 1;
        } else {
            self.faults.unknown_frames += 1;
        }
        let Some(process) = self.process_mut(from) else {
            return Ok(());
        };
        let mut bytes = process.core.seal(&body);
        self.note_sent(from, target, &bytes)?;
        if worth == Worth::Foreign {
            let foreign = sealing::open(&bytes)
                .and_then(|(header, body)| sealing::seal(&header, other_version(rng), &body));
            bytes = foreign.unwrap_or(bytes);
            self.faults.foreign_versions += 1;
        }
        self.spread(from, target, &bytes.into(), worth);
        Ok(())
    }

    /// A host speaks a version for a while that shares nothing with this one.
    pub(super) fn estrange(&mut self, host: usize, spell: Duration) {
        self.faults.estranged += 1;
        self.say(host, format!("speaks another version for {spell:?}"));
        let until = self.now + spell;
        self.network.estrange(host, until);
    }
}

fn other_version(rng: &mut Rng) -> u8 {
    // Any but this one.
    wire::WIRE_VERSION.wrapping_add(1 + byte(rng, 255))
}
