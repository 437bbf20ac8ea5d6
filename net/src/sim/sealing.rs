//! The keys of simulated clusters: how the simulator reads what is sealed, and the operator who replaces keys while the cluster works.

use super::Breach;
use super::oracle::ProcessId;
use super::world::{CLUSTER, Event, World};
use crate::core::KeyStep;
use crate::crypto::{EpochKey, SenderId, SenderKey};
use crate::keys::{KeyError, Keys};
use crate::wire::{self, Header};
use std::collections::BTreeSet;
use std::time::Duration;

/// The cluster's name, which keys are bound to.
pub(crate) const NAME: &str = "simulated";

/// Where a datagram says its wire version.
const WIRE_VERSION_AT: usize = 2;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The keys of these epochs; the first is to be used. Anybody can work them out: nothing here is secret.
fn keys(epochs: &[u16]) -> Option<Keys> {
    let key = |epoch: u16| -> String {
        (0..32).map(|at| format!("{:02x}", epoch.wrapping_mul(167).wrapping_add(at * 31) & 0xff)).collect()
    };
    let lines: Vec<String> = epochs.iter().map(|&epoch| format!("{epoch}:{}", key(epoch))).collect();
    Keys::parse(&lines.join("\n")).ok()
}

/// Header and frames of a datagram, sealed or not, if it is whole.
pub(crate) fn open(bytes: &[u8]) -> Option<(Header, Vec<u8>)> {
    let header = wire::peek(bytes, CLUSTER).ok()?;
    if header.suite == wire::SUITE_PLAIN {
        return wire::open(bytes, CLUSTER).ok().map(|(header, body)| (header, body.to_vec()));
    }
    let mut room = [0; wire::DATAGRAM_ACCEPTED_MAX];
    let body = wire::open_sealed(bytes, &header, &key_of(&header)?, &mut room).ok()?;
    Some((header, body.to_vec()))
}

/// A datagram with these frames, whole, of that wire version.
pub(crate) fn seal(header: &Header, wire_version: u8, frames: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    wire::begin(&mut bytes, header);
    bytes[WIRE_VERSION_AT] = wire_version;
    bytes.extend_from_slice(frames);
    if header.suite == wire::SUITE_PLAIN {
        wire::finish(&mut bytes);
        return Some(bytes);
    }
    wire::finish_sealed(&mut bytes, &key_of(header)?);
    Some(bytes)
}

fn key_of(header: &Header) -> Option<SenderKey> {
    let keys = keys(&[header.key_epoch])?;
    let (_, key) = keys.iter().next()?;
    Some(EpochKey::new(NAME, key).datagrams(SenderId { node: header.node, session: header.session }))
}

/// What the operator is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Rest,
    Install,
    Use,
    Remove,
}

/// The operator.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    /// The epochs in the key file that a process starts with, the one to use first; none in a cluster in clear.
    file: Vec<u16>,
    stage: Stage,
    /// Who has done what the stage asks for.
    done: BTreeSet<ProcessId>,
}

impl Sealing {
    /// Of a cluster with keys.
    pub(crate) fn sealed() -> Self {
        Self { file: vec![1], ..Self::default() }
    }

    pub(crate) fn is_sealed(&self) -> bool {
        !self.file.is_empty()
    }

    /// What a process starts with.
    pub(crate) fn keys(&self) -> Option<Keys> {
        keys(&self.file)
    }
}

impl World {
    /// The operator goes to some process that has not done yet what is to be done, and on to the next stage when there is none.
    pub(crate) fn rotate(&mut self) -> Result<(), Breach> {
        if !self.restless || !self.sealing.is_sealed() {
            return Ok(());
        }
        let next = MS(10 + self.rng.below(250));
        self.plan(next, Event::Rotate);
        let ids = self.processes().map(|process| process.id);
        let waiting: Vec<ProcessId> = ids.filter(|id| !self.sealing.done.contains(id)).collect();
        if waiting.is_empty() || self.sealing.stage == Stage::Rest {
            self.next_stage();
            return Ok(());
        }
        let id = waiting[usize::try_from(self.rng.below(waiting.len() as u64)).unwrap_or(0)];
        let (old, new) = (self.sealing.file[0], self.sealing.file.last().copied().unwrap_or_default());
        let step = match self.sealing.stage {
            Stage::Rest => return Ok(()),
            Stage::Install => keys(&[new]).map(KeyStep::Install),
            Stage::Use => Some(KeyStep::Use(new)),
            Stage::Remove => Some(KeyStep::Remove(old - 1)),
        };
        let stopped = self.homes.get(id).is_some_and(|&host| self.hosts[host].paused_until.is_some());
        let (Some(step), false) = (step, stopped) else {
            return Ok(());
        };
        let stage = self.sealing.stage;
        let Some(process) = self.process_mut(id) else {
            return Ok(());
        };
        let host = process.host;
        match process.core.change_keys(&step) {
            Ok(()) => {
                self.sealing.done.insert(id);
                self.say(host, format!("keys: {stage:?} {old} {new}"));
                Ok(())
            }
            // It started with the file as it is now.
            Err(KeyError::Unknown { .. }) if stage == Stage::Remove => {
                self.sealing.done.insert(id);
                Ok(())
            }
            Err(KeyError::NotEverywhere { .. } | KeyError::InUse { .. }) => Ok(()),
            Err(error) => Err(Breach::new("keys", format!("n{host} refuses {step:?}: {error}"))),
        }
    }

    fn next_stage(&mut self) {
        let sealing = &mut self.sealing;
        sealing.done.clear();
        sealing.stage = match sealing.stage {
            Stage::Rest => {
                let new = sealing.file[0] + 1;
                sealing.file.push(new);
                Stage::Install
            }
            Stage::Install => Stage::Use,
            Stage::Use => {
                sealing.file.remove(0);
                Stage::Remove
            }
            Stage::Remove => {
                self.faults.rotations += 1;
                Stage::Rest
            }
        };
    }
}
