//! Barriers: knowing that what this node has done is seen by everybody it hears.
//!
//! A barrier takes the clocks of all own lanes. Once they are told, a heartbeat that names every lane goes out, and asks for an answer;
//! its number is what members have to have covered ([`wire::Heard`](crate::wire::Heard)). It is said again every
//! [`SAY_EVERY`], each time with every lane, so a lost one costs that much and no more.

use super::Core;
use super::io::{BarrierOutcome, Output, Phase, Time};
use super::member::{Member, MemberState};
use headcount::NodeId;
use std::time::Duration;

const SAY_EVERY: Duration = Duration::from_millis(20);
/// While clocks are still to be told.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Barriers under way at once.
const BARRIERS_MAX: usize = 256;

#[derive(Debug)]
struct Barrier {
    id: u64,
    until: Time,
    /// The clocks that have to be reached, by lane.
    clocks: Vec<u64>,
    /// The heartbeat that has named them.
    seq: Option<u64>,
}

/// The barriers under way.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    waiting: Vec<Barrier>,
    /// When to speak of them next, and when that was done last.
    say_at: Time,
    said_at: Option<Time>,
}

impl Barriers {
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The heartbeat that a barrier under way waits for.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn seq_of(&self, id: u64) -> Option<u64> {
        self.waiting.iter().find(|barrier| barrier.id == id)?.seq
    }

    pub(super) fn due_at(&self) -> Time {
        let first = self.waiting.iter().map(|barrier| barrier.until).min();
        first.map_or(Time::MAX, |until| until.min(self.say_at))
    }
}

impl Core {
    pub(super) fn begin_barrier(&mut self, now: Time, id: u64, until: Time, out: &mut Output) {
        if self.phase != Phase::Live {
            out.barriers.push((id, BarrierOutcome::NotAMember));
            return;
        }
        if self.barriers.waiting.len() >= BARRIERS_MAX {
            out.barriers.push((id, BarrierOutcome::TooMany));
            return;
        }
        let clocks = (0..self.replica.lanes()).map(|lane| self.replica.lane_clock(lane)).collect();
        self.barriers.waiting.push(Barrier { id, until, clocks, seq: None });
        // Many that are begun at once are told at once.
        let again = self.barriers.said_at.map_or(now, |at| at + LOOK_EVERY);
        let waited = if self.barriers.waiting.len() > 1 { self.barriers.say_at } else { Time::MAX };
        self.barriers.say_at = now.max(again).min(waited);
        self.look_at_own_lanes(now);
        self.own.hasten(now);
    }

    /// Ends what is reached or over, and says again what is not.
    pub(super) fn drive_barriers(&mut self, now: Time, out: &mut Output) {
        if self.phase != Phase::Live {
            self.fail_barriers(out);
        }
        if !self.barriers.is_waiting() {
            return;
        }
        if now >= self.barriers.say_at {
            let own = &self.own;
            let told = |barrier: &Barrier| own.has_told(&barrier.clocks);
            let any_told = self.barriers.waiting.iter().any(told);
            self.barriers.say_at = now + if any_told { SAY_EVERY } else { LOOK_EVERY };
            if any_told {
                self.barriers.said_at = Some(now);
                self.own.all_moved();
                let seq = self.send_heartbeat(now, true, out);
                for barrier in &mut self.barriers.waiting {
                    if barrier.seq.is_none() && self.own.has_told(&barrier.clocks) {
                        barrier.seq = Some(seq);
                    }
                }
            }
        }
        let members = &self.members;
        self.barriers.waiting.retain(|barrier| {
            let has_not = |member: &&Member| {
                let acked = barrier.seq.is_some_and(|seq| member.liveness.acked >= seq);
                member.state != MemberState::Down && !acked
            };
            let mut missing = members.values().filter(has_not).peekable();
            let told = barrier.seq.is_some();
            if told && missing.peek().is_none() {
                out.barriers.push((barrier.id, BarrierOutcome::Reached));
                return false;
            }
            if now >= barrier.until {
                let missing: Vec<NodeId> = missing.map(|member| member.node).collect();
                out.barriers.push((barrier.id, BarrierOutcome::TimedOut { missing }));
                return false;
            }
            true
        });
    }

    /// This node speaks in a new session: what was acknowledged was said in the old one.
    pub(super) fn restart_barriers(&mut self, now: Time) {
        for member in self.members.values_mut() {
            member.liveness.acked = 0;
        }
        for barrier in &mut self.barriers.waiting {
            barrier.seq = None;
        }
        self.barriers.say_at = now;
    }

    /// This node is a member no more.
    pub(super) fn fail_barriers(&mut self, out: &mut Output) {
        for barrier in self.barriers.waiting.drain(..) {
            out.barriers.push((barrier.id, BarrierOutcome::NotAMember));
        }
    }
}
