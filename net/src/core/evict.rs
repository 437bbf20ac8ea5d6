//! Entries of other nodes that somebody here wants removed: the owner is asked, and nobody else can do it.
//!
//! The question names one version of one entry, so whatever has happened to the key meanwhile (an update, a new join) survives it. It
//! is said again until it is answered or its time is over. The owner remembers its last answers: a question that comes twice, because
//! the answer was lost, gets the same one.

use super::Core;
use super::io::{EvictOutcome, Output, Phase, Target, Time};
use super::receive::Sender;
use crate::wire::{Answer, Evict, Evicted};
use headcount::{EntryRef, Incarnation, NodeId};
use std::collections::VecDeque;
use std::time::Duration;

/// A question is said again after this, then after twice as long, up to the most.
const SAY_AGAIN: Duration = Duration::from_millis(20);
const SAY_AGAIN_MAX: Duration = Duration::from_millis(320);
/// Questions under way at once.
const QUESTIONS_MAX: usize = 256;
/// Answers remembered, of all askers together.
const ANSWERS_MAX: usize = 1024;

#[derive(Debug)]
struct Question {
    id: u64,
    of: EntryRef,
    until: Time,
    say_at: Time,
    pause: Duration,
}

/// Questions under way, and answers given.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    waiting: Vec<Question>,
    /// Session and question, and what was answered. The oldest first.
    answered: VecDeque<((u64, u64), Answer)>,
}

impl Evictions {
    pub(super) fn due_at(&self) -> Time {
        self.waiting.iter().map(|question| question.until.min(question.say_at)).min().unwrap_or(Time::MAX)
    }

    fn remember(&mut self, asked: (u64, u64), answer: Answer) {
        if self.answered.len() == ANSWERS_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back((asked, answer));
    }
}

impl Core {
    pub(super) fn begin_evict(
        &mut self,
        now: Time,
        (id, of): (u64, EntryRef),
        until: Time,
        out: &mut Output,
    ) {
        if self.evictions.waiting.len() >= QUESTIONS_MAX {
            out.evictions.push((id, EvictOutcome::TooMany));
            return;
        }
        self.evictions.waiting.push(Question { id, of, until, say_at: now, pause: SAY_AGAIN });
    }

    /// Says what is due, and ends what nobody can answer any more.
    pub(super) fn drive_evictions(&mut self, now: Time, out: &mut Output) {
        if self.phase != Phase::Live {
            self.fail_evictions(out);
        }
        if now < self.evictions.due_at() {
            return;
        }
        for mut question in std::mem::take(&mut self.evictions.waiting) {
            let of = question.of;
            let (life, addr) = match self.members.get(&of.node) {
                Some(member) => (member.incarnation, Some(member.addr)),
                None => (self.replica.highest_incarnation(of.node).unwrap_or_default(), None),
            };
            if life > of.incarnation {
                // Its entries went with it.
                out.evictions.push((question.id, EvictOutcome::Answered(Answer::Gone)));
                continue;
            }
            if now >= question.until {
                out.evictions.push((question.id, EvictOutcome::NoAnswer));
                continue;
            }
            if now >= question.say_at {
                question.say_at = now + question.pause;
                question.pause = (question.pause * 2).min(SAY_AGAIN_MAX);
                if let Some(addr) = addr {
                    let mut body = Vec::new();
                    Evict {
                        target_node: of.node.0,
                        incarnation: of.incarnation.to_u64(),
                        lane: of.lane,
                        clock: of.clock,
                        question: question.id,
                    }
                    .put(&mut body);
                    self.send(Target::Node(addr), &body, out);
                }
            }
            self.evictions.waiting.push(question);
        }
    }

    /// Somebody wants an own entry removed.
    pub(super) fn on_evict(&mut self, now: Time, sender: Sender, evict: &Evict, out: &mut Output) {
        let for_me = evict.target_node == self.node.0 && self.phase == Phase::Live;
        if !for_me || !self.speaker(now, sender, out) {
            return;
        }
        let asked = (sender.session, evict.question);
        let known = self.evictions.answered.iter().find(|(of, _)| *of == asked).map(|&(_, answer)| answer);
        let answer = known.unwrap_or_else(|| {
            let answer = self.obey(evict);
            self.evictions.remember(asked, answer);
            answer
        });
        let mut body = Vec::new();
        Evicted { target_session: sender.session, question: evict.question, answer }.put(&mut body);
        self.send(Target::Node(sender.addr), &body, out);
        // What was removed is told like anything that a session does.
        self.look_at_own_lanes(now);
    }

    fn obey(&mut self, evict: &Evict) -> Answer {
        if !self.settings.obey_evictions {
            self.stats.evictions_refused += 1;
            return Answer::NotAllowed;
        }
        let of = EntryRef {
            node: NodeId(evict.target_node),
            incarnation: Incarnation::from_u64(evict.incarnation),
            lane: evict.lane,
            clock: evict.clock,
        };
        let removed = self.replica.tracker().evict(of);
        self.stats.evictions_obeyed += u64::from(removed);
        if removed { Answer::Removed } else { Answer::Gone }
    }

    pub(super) fn on_evicted(&mut self, sender: Sender, evicted: &Evicted, out: &mut Output) {
        if evicted.target_session != self.session {
            return;
        }
        // Only the owner knows.
        let is_it = |question: &Question| question.id == evicted.question && question.of.node == sender.node;
        let known = self.members.get(&sender.node).is_some_and(|member| member.session == sender.session);
        let found = self.evictions.waiting.iter().position(is_it).filter(|_| known);
        if let Some(at) = found {
            let question = self.evictions.waiting.swap_remove(at);
            out.evictions.push((question.id, EvictOutcome::Answered(evicted.answer)));
        }
    }

    /// This node is a member no more.
    pub(super) fn fail_evictions(&mut self, out: &mut Output) {
        for question in self.evictions.waiting.drain(..) {
            out.evictions.push((question.id, EvictOutcome::NotAMember));
        }
    }
}
