//! Changing the keys of a cluster, step by step, while it runs.

use crate::cluster::Cluster;
use crate::core::KeyStep;
use crate::keys::{KeyError, Keys};
use crate::membership::Status;
use parking_lot::Mutex;
use std::sync::mpsc;
use std::time::Duration;

/// The network thread answers within a turn.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A step, and where its outcome is waited for.
type KeyChange = (KeyStep, mpsc::SyncSender<Result<(), KeyError>>);

/// Steps that the network thread has not done.
#[derive(Debug, Default)]
pub(crate) struct KeyChanges(Mutex<Vec<KeyChange>>);

impl KeyChanges {
    /// Changes of keys that are asked for.
    pub(crate) fn take(&self) -> Vec<KeyChange> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Cluster {
    /// Lets this node open what is sealed with these keys too: the first step of a change of keys, to be done on every node. Keys
    /// that it has already are passed over. Nothing is sealed with them before [`use_key`](Self::use_key).
    ///
    /// # Errors
    /// [`KeyError`]: an epoch has another key already, there are too many, or the node joined without keys.
    pub fn install_keys(&self, keys: Keys) -> Result<(), KeyError> {
        self.change_keys(KeyStep::Install(keys))
    }

    /// Seals with the key of that epoch from now on: the second step of a change of keys, to be done on every node. Others hear of an
    /// installed key with the next heartbeat, so this is refused at first, and can be tried again.
    ///
    /// # Errors
    /// [`KeyError::NotEverywhere`] while a member that is not down does not have that key; [`KeyError::Unknown`] if this node does not.
    pub fn use_key(&self, epoch: u16) -> Result<(), KeyError> {
        self.change_keys(KeyStep::Use(epoch))
    }

    /// Opens nothing that is sealed with the key of that epoch from now on: the last step of a change of keys, to be done on every node.
    ///
    /// # Errors
    /// [`KeyError::InUse`] while this node or a member that is not down seals with it; [`KeyError::Unknown`] if there is no such key.
    pub fn remove_key(&self, epoch: u16) -> Result<(), KeyError> {
        self.change_keys(KeyStep::Remove(epoch))
    }

    fn change_keys(&self, step: KeyStep) -> Result<(), KeyError> {
        if self.status() != Status::Running {
            return Err(KeyError::Left);
        }
        let (reply, answer) = mpsc::sync_channel(1);
        self.shared().key_changes.0.lock().push((step, reply));
        self.shared().wake();
        answer.recv_timeout(ANSWER_MAX).unwrap_or(Err(KeyError::Left))
    }
}
