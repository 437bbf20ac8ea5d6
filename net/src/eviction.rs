//! Asking the owner of an entry to remove it.

use crate::cluster::{Cluster, Shared};
use crate::config::Config;
use crate::core::{EvictOutcome, Time};
use crate::membership::Status;
use crate::wire::Answer;
use headcount::EntryRef;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Longer waits end after this.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// What the network thread may take to say that there was no answer.
const GRACE: Duration = Duration::from_millis(500);

/// What has come of [`Cluster::evict`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Eviction {
    /// The entry was there in exactly that version, and its owner has removed it. It leaves everywhere as if its session had untracked
    /// it, here too, within milliseconds of this.
    Removed,
    /// The owner has no entry of that version any more: it was updated, re-tracked or removed meanwhile. Or this node has heard a later
    /// life of that node, with which everything of an earlier one is gone. Nothing has changed.
    Gone,
}

/// Why an entry was not evicted. [`NoAnswer`](Self::NoAnswer) says nothing about the entry, all others that nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvictError {
    /// The owner did not answer in time: it is not heard, or not by way of this node, or runs a version that cannot be asked. It may have
    /// removed the entry all the same, if only its answer was lost.
    #[error("node {node} has not answered within {waited:?}")]
    NoAnswer {
        /// The owner.
        node: headcount::NodeId,
        /// For how long it was asked.
        waited: Duration,
    },
    /// The owner obeys nobody: it was not configured to ([`Config::obey_evictions`]).
    #[error("node {node} does not allow others to evict its entries: set `obey_evictions` there")]
    NotAllowed {
        /// The owner.
        node: headcount::NodeId,
    },
    /// As many evictions as can be are under way.
    #[error("too many evictions are under way")]
    TooMany,
    /// This node is not a member: it has left, is leaving or has stopped.
    #[error("this node is not a member of the cluster")]
    NotAMember,
}

/// What is asked of the network thread, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Evictions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    begun: Vec<(u64, EntryRef, Time)>,
    waiting: BTreeMap<u64, SyncSender<EvictOutcome>>,
}

impl Evictions {
    fn ask(&self, of: EntryRef, until: Time) -> (u64, Receiver<EvictOutcome>) {
        let (sender, outcome) = sync_channel(1);
        let mut state = self.0.lock();
        state.last += 1;
        let id = state.last;
        state.begun.push((id, of, until));
        state.waiting.insert(id, sender);
        (id, outcome)
    }

    fn give_up(&self, id: u64) {
        self.0.lock().waiting.remove(&id);
    }

    /// Evictions to begin.
    pub(crate) fn take(&self) -> Vec<(u64, EntryRef, Time)> {
        std::mem::take(&mut self.0.lock().begun)
    }

    /// Passes on what has come of one.
    pub(crate) fn tell(&self, id: u64, outcome: EvictOutcome) {
        if let Some(sender) = self.0.lock().waiting.remove(&id) {
            // There is room for it; who asked may have given up.
            let _ = sender.try_send(outcome);
        }
    }
}

impl Config {
    /// Whether this node removes entries of its own sessions when another node asks for it ([`Cluster::evict`]). Whoever is a member
    /// can ask, for any entry. Default: false.
    #[must_use]
    pub fn obey_evictions(mut self, obey: bool) -> Self {
        self.obey_evictions = obey;
        self
    }
}

impl Cluster {
    /// Removes one version of an entry, wherever its owner is: an own entry at once ([`Tracker::evict`](headcount::Tracker::evict)), that of
    /// another node by asking that node, which has to be [configured](Config::obey_evictions) to obey. The question is repeated until it is
    /// answered or `timeout` (60 s at most) is over.
    ///
    /// An observed remove: a version that came after the one named, by an update or by another join of the key, stays. The session
    /// that had the entry finds it untracked. From any thread; waits without a lock.
    ///
    /// # Errors
    /// [`EvictError`]: the owner did not answer in time, or does not allow it.
    pub fn evict(&self, of: EntryRef, timeout: Duration) -> Result<Eviction, EvictError> {
        self.shared().evict(of, timeout)
    }
}

impl Shared {
    /// See [`Cluster::evict`].
    pub(crate) fn evict(&self, of: EntryRef, timeout: Duration) -> Result<Eviction, EvictError> {
        if self.status() != Status::Running {
            return Err(EvictError::NotAMember);
        }
        if of.node == self.replica.identity().node {
            let removed = self.replica.tracker().evict(of);
            return Ok(if removed { Eviction::Removed } else { Eviction::Gone });
        }
        let timeout = timeout.min(TIMEOUT_MAX);
        let (id, outcome) = self.evictions.ask(of, self.elapsed() + timeout);
        self.wake();
        let outcome = outcome.recv_timeout(timeout + GRACE).unwrap_or(EvictOutcome::NoAnswer);
        self.evictions.give_up(id);
        match outcome {
            EvictOutcome::Answered(Answer::Removed) => Ok(Eviction::Removed),
            EvictOutcome::Answered(Answer::Gone) => Ok(Eviction::Gone),
            EvictOutcome::Answered(Answer::NotAllowed) => Err(EvictError::NotAllowed { node: of.node }),
            EvictOutcome::NoAnswer => Err(EvictError::NoAnswer { node: of.node, waited: timeout }),
            EvictOutcome::TooMany => Err(EvictError::TooMany),
            EvictOutcome::NotAMember => Err(EvictError::NotAMember),
        }
    }
}
