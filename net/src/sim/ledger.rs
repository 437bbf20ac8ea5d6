//! What every process has said, by session: the numbers of its packets, which of them it sent again and where, and which clocks of
//! its lanes it ever told.

use super::Breach;
use super::oracle::ProcessId;
use super::sealing;
use crate::core::{Target, Time};
use crate::wire::{self, Frame};
use headcount::{Incarnation, NodeId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// What was sent again is not sent there once more within so long.
const LINGER: Duration = Duration::from_millis(10);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sessions: BTreeMap<(NodeId, u64), Said>,
    /// Times that a node told another that it knows a later life of it.
    pub(crate) rejects: u64,
}

/// One session.
#[derive(Debug)]
struct Said {
    process: ProcessId,
    life: Incarnation,
    at: Time,
    /// Packet number → a hash of its bytes, and when it was sent first.
    packets: BTreeMap<u64, (u64, Time)>,
    /// Packet number → when it was sent again last, to all or to whom.
    repairs: BTreeMap<u64, Vec<(Time, Target)>>,
    lanes: BTreeMap<u16, Told>,
    /// Name of another session → how far it said to have covered its heartbeats, and when it said so first.
    covered: BTreeMap<u32, Vec<(u64, Time)>>,
}

impl Said {
    /// A packet is sent again. Whether it was sent there only just.
    fn repeats(&mut self, now: Time, packet: u64, target: Target) -> bool {
        let repairs = self.repairs.entry(packet).or_default();
        repairs.retain(|&(at, _)| now < at + LINGER);
        let repeats = repairs.iter().any(|&(_, to)| to == Target::Group || to == target);
        repairs.push((now, target));
        repeats
    }
}

#[derive(Debug, Default)]
struct Told {
    hi: u64,
    /// Clocks that no delta tells of, as `(lo, hi]`.
    holes: Vec<(u64, u64)>,
}

impl Ledger {
    /// A process in that life sends a datagram. A packet number stands for the same bytes for ever, and a session for one
    /// process: under a cipher, anything else would be a nonce used twice. Clocks are told once; after that, only the same
    /// packet is sent again.
    pub(crate) fn note_sent(
        &mut self,
        now: Time,
        process: ProcessId,
        life: Incarnation,
        (target, bytes): (Target, &[u8]),
    ) -> Result<(), Breach> {
        let Some((header, body)) = sealing::open(bytes) else {
            return Err(Breach::new("9", format!("process {process} sends what does not open")));
        };
        let said = self.sessions.entry((NodeId(header.node), header.session)).or_insert_with(|| Said {
            process,
            life,
            at: now,
            packets: BTreeMap::new(),
            repairs: BTreeMap::new(),
            lanes: BTreeMap::new(),
            covered: BTreeMap::new(),
        });
        if said.process != process {
            let what = format!("processes {} and {process} share session {:x}", said.process, header.session);
            return Err(Breach::new("9", what));
        }
        (said.life, said.at) = (life, now);
        let hash = xxh3_64(bytes);
        match said.packets.entry(header.packet) {
            Entry::Occupied(sent) if sent.get().0 == hash => {
                if said.repeats(now, header.packet, target) {
                    let what = format!("process {process} sends packet {} there again", header.packet);
                    return Err(Breach::new("7", what));
                }
                return Ok(());
            }
            Entry::Occupied(_) => {
                let what = format!("process {process} sends two packets {}", header.packet);
                return Err(Breach::new("9", what));
            }
            Entry::Vacant(unsent) => unsent.insert((hash, now)),
        };
        for frame in wire::frames(&body).flatten() {
            match frame {
                Frame::Delta(delta) => {
                    let told = said.lanes.entry(delta.lane).or_default();
                    if delta.lo < told.hi {
                        let what = format!("process {process} tells clock {} again", delta.lo + 1);
                        return Err(Breach::new("9", format!("{what} in packet {}", header.packet)));
                    }
                    if delta.lo > told.hi {
                        told.holes.push((told.hi, delta.lo));
                    }
                    told.hi = told.hi.max(delta.hi);
                }
                Frame::IncReject(_) => self.rejects += 1,
                Frame::Heard(heard) => {
                    for report in heard.reports {
                        let covered = said.covered.entry(report.session).or_default();
                        if covered.last().map_or(0, |&(highest, _)| highest) < report.covered {
                            covered.push((report.covered, now));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When that packet was sent first.
    pub(crate) fn sent_at(&self, header: &wire::Header) -> Option<Time> {
        let said = self.sessions.get(&(NodeId(header.node), header.session))?;
        said.packets.get(&header.packet).map(|&(_, at)| at)
    }

    /// When a session said first that it has covered that heartbeat of another session.
    pub(crate) fn covered_at(&self, by: (NodeId, u64), of: u64, seq: u64) -> Option<Time> {
        let covered = self.sessions.get(&by)?.covered.get(&wire::Report::name_of(of))?;
        let reaches = covered.partition_point(|&(highest, _)| highest < seq);
        covered.get(reaches).map(|&(_, at)| at)
    }

    /// Whether that packet was sent more than once.
    pub(crate) fn is_repair(&self, header: &wire::Header) -> bool {
        let said = self.sessions.get(&(NodeId(header.node), header.session));
        said.is_some_and(|said| said.repairs.contains_key(&header.packet))
    }

    /// Whether a request reaches clocks that were never told in that session, so that no ring can have them.
    pub(crate) fn is_beyond(&self, node: NodeId, session: u64, nak: &wire::Nak) -> bool {
        let Some(said) = self.sessions.get(&(node, session)) else {
            return false;
        };
        nak.ranges.iter().any(|&(lane, lo, hi)| {
            let holes = said.lanes.get(&lane).map_or(&[][..], |told| &told.holes);
            holes.iter().any(|&(from, to)| lo.max(from) < hi.min(to))
        })
    }

    /// Whether another process has spoken under a node's name since then, in a session above that one, if one is given.
    pub(crate) fn has_rival(
        &self,
        node: NodeId,
        process: ProcessId,
        since: Time,
        above: Option<(Incarnation, u64)>,
    ) -> bool {
        let sessions = self.sessions.range((node, 0)..=(node, u64::MAX));
        let mut others = sessions.filter(|(_, said)| said.process != process && said.at >= since);
        others.any(|(&(_, session), said)| above.is_none_or(|above| (said.life, session) > above))
    }
}
