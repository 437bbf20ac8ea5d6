//! Entries that somebody else's application wants removed: the one thing by which what others say changes a node's own entries. Each
//! removal must be one that was asked for, of a version that was there, and be told as what it is.

use super::Breach;
use super::invariants::breach;
use super::oracle::ProcessId;
use super::world::World;
use crate::core::{EvictOutcome, Input};
use crate::wire::Answer;
use headcount::{EntryRef, EventKind};
use std::time::Duration;

impl World {
    /// The application of a host wants something removed that another node has, as it sees it.
    pub(crate) fn ask_to_evict(&mut self, host: usize) -> Result<(), Breach> {
        let now = self.now;
        let at = &self.hosts[host];
        let Some(process) = at.process.as_ref().filter(|_| at.paused_until.is_none()) else {
            return Ok(());
        };
        let topics = process.tracker.topics();
        let others: Vec<EntryRef> = topics
            .iter()
            .flat_map(|topic| process.tracker.list(topic))
            .filter(|entry| !entry.is_local())
            .map(|entry| entry.entry_ref())
            .collect();
        let which = usize::try_from(self.rng.below(others.len().max(1) as u64)).unwrap_or(0);
        let patience = Duration::from_millis(20 + self.rng.below(1_000));
        let (Some(&of), Some(process)) = (others.get(which), self.hosts[host].process.as_mut()) else {
            return Ok(());
        };
        process.evictions_begun += 1;
        let (id, question) = (process.id, process.evictions_begun);
        process.evictions.insert(question, of);
        let until = now - process.started + patience;
        self.handle(id, Input::Evict { id: question, of, until })
    }

    /// After a step in which a process has obeyed so often: writes down what it removed. Its events stay for the check of the step.
    pub(super) fn record_evicted(&mut self, id: ProcessId, obeyed: u64) -> Result<(), Breach> {
        if obeyed == 0 {
            return Ok(());
        }
        let mut left = 0;
        let mut kinds = Vec::new();
        if let Some(process) = self.process_mut(id) {
            while let Ok(event) = process.subscription.try_recv() {
                if let EventKind::Leave(entry) = &event.kind
                    && entry.is_local()
                {
                    left += 1;
                    kinds.push(event.kind.clone());
                }
                process.untaken.push_back(event);
            }
            process.obeyed += obeyed;
        }
        if left != obeyed {
            return breach("4", format!("{left} own entries left, {obeyed} evictions were obeyed"));
        }
        kinds.iter().try_for_each(|kind| self.oracle.record(id, kind))
    }

    /// What a process was told of its questions: each ends once, and what is said to be gone is.
    pub(super) fn check_evicted(
        &mut self,
        id: ProcessId,
        outcomes: &[(u64, EvictOutcome)],
    ) -> Result<(), Breach> {
        for (question, outcome) in outcomes {
            let Some(process) = self.process_mut(id) else {
                return Ok(());
            };
            let Some(of) = process.evictions.remove(question) else {
                return breach("17", format!("n{} ended question {question} twice", process.host));
            };
            // A process that is stopped, or cut off, may still have what is gone for whoever has heard its successor.
            let life = process.replica.highest_incarnation(of.node);
            if *outcome == EvictOutcome::Answered(Answer::Gone) && life > Some(of.incarnation) {
                continue;
            }
            let EvictOutcome::Answered(answer @ (Answer::Removed | Answer::Gone)) = outcome else {
                continue;
            };
            let owner = self.processes().find(|owner| owner.node == of.node && owner.life == of.incarnation);
            let Some(owner) = owner else {
                continue;
            };
            let book = self.oracle.book(owner.id, of.lane);
            if book.live_dots().any(|dot| dot == of.clock) {
                return breach("17", format!("{of} is there, and its owner said {answer:?}"));
            }
        }
        Ok(())
    }
}
