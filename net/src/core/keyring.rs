//! The keys that a running node has, and how they are changed while it works.

use super::Core;
use super::member::MemberState;
use super::ring::Ring;
use crate::crypto::{EpochKey, SenderId, SenderKey};
use crate::keys::{EPOCHS_MAX, KeyError, Keys};
use std::collections::BTreeMap;

/// A step of a change of keys: install everywhere, use everywhere, remove everywhere.
#[derive(Debug)]
pub(crate) enum KeyStep {
    /// Accept these too.
    Install(Keys),
    /// Seal with that one from now on.
    Use(u16),
    /// Accept that one no longer.
    Remove(u16),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct KeyRing {
    cluster: String,
    epochs: BTreeMap<u16, EpochKey>,
    current: u16,
    me: SenderId,
    /// What this node's datagrams are sealed with: of the current epoch and session.
    own: SenderKey,
}

impl KeyRing {
    pub(super) fn new(cluster: String, keys: &Keys, me: SenderId) -> Self {
        let epochs: BTreeMap<_, _> =
            keys.iter().map(|(epoch, key)| (epoch, EpochKey::new(&cluster, key))).collect();
        let current = keys.first_epoch();
        let own = epochs[&current].datagrams(me);
        Self { cluster, epochs, current, me, own }
    }

    pub(super) fn get(&self, epoch: u16) -> Option<&EpochKey> {
        self.epochs.get(&epoch)
    }

    pub(super) fn current(&self) -> u16 {
        self.current
    }

    pub(super) fn own(&self) -> &SenderKey {
        &self.own
    }

    pub(super) fn epochs(&self) -> Vec<u16> {
        self.epochs.keys().copied().collect()
    }

    /// Seals in a new session from now on.
    pub(super) fn restart(&mut self, me: SenderId) {
        self.me = me;
        self.own = self.epochs[&self.current].datagrams(me);
    }

    fn install(&mut self, keys: &Keys) -> Result<(), KeyError> {
        let mut new = BTreeMap::new();
        for (epoch, key) in keys.iter() {
            match self.epochs.get(&epoch) {
                Some(held) if held.is_of(&self.cluster, key) => {}
                Some(_) => return Err(KeyError::EpochTaken { epoch }),
                None => {
                    new.insert(epoch, EpochKey::new(&self.cluster, key));
                }
            }
        }
        let count = self.epochs.len() + new.len();
        if count > EPOCHS_MAX {
            return Err(KeyError::Count { count });
        }
        self.epochs.append(&mut new);
        Ok(())
    }
}

impl Core {
    /// Changes the keys. After an error they are as they were.
    pub(crate) fn change_keys(&mut self, step: &KeyStep) -> Result<(), KeyError> {
        let keys = self.gate.keys.as_mut().ok_or(KeyError::NoKeys)?;
        match *step {
            KeyStep::Install(ref new) => keys.install(new)?,
            KeyStep::Use(epoch) => {
                let present = self.members.values().filter(|member| member.state != MemberState::Down);
                let members: Vec<_> = present
                    .filter(|member| !member.epochs.contains(&epoch))
                    .map(|member| member.name.clone())
                    .collect();
                let key = keys.epochs.get(&epoch).ok_or(KeyError::Unknown { epoch })?;
                if !members.is_empty() {
                    return Err(KeyError::NotEverywhere { epoch, members });
                }
                keys.own = key.datagrams(keys.me);
                keys.current = epoch;
            }
            KeyStep::Remove(epoch) => {
                if !keys.epochs.contains_key(&epoch) {
                    return Err(KeyError::Unknown { epoch });
                }
                let me = (keys.current == epoch).then(|| self.settings.name.clone());
                let gate = &self.gate;
                let users = self.members.values().filter(|member| {
                    member.state != MemberState::Down
                        && gate.epoch_of(member.node, member.session) == Some(epoch)
                });
                let members: Vec<_> = me.into_iter().chain(users.map(|member| member.name.clone())).collect();
                if !members.is_empty() {
                    return Err(KeyError::InUse { epoch, members });
                }
                if let Some(keys) = &mut self.gate.keys {
                    keys.epochs.remove(&epoch);
                }
                // What was sealed with it can be opened by nobody who has removed it too: snapshots instead of repairs.
                self.ring = Ring::new(self.replica.lanes(), &self.settings.limits);
            }
        }
        Ok(())
    }

    /// The epochs of the keys that this node has, for its heartbeats.
    pub(super) fn known_epochs(&self) -> Vec<u16> {
        self.gate.keys.as_ref().map(KeyRing::epochs).unwrap_or_default()
    }
}
