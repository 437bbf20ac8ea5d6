//! When multicast fails: a switch that snoops IGMP and has no querier stops passing the group on, some minutes after it all
//! began well, while everything else works.
//!
//! A node that hears none of its members by the group any more asks each of them alone, and asks for copies of what they
//! send to all. They send them for as long as it asks. The application is told: it works, and it costs each sender a
//! datagram for each such node.

use super::Core;
use super::io::{Notice, Output, Target, Time};
use super::member::MemberState;
use std::time::Duration;

/// How often copies are asked for while they come.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long they are sent after they were asked for last.
pub(super) const COPIES_FOR: Duration = Duration::from_secs(3);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Fallback {
    /// No member is heard by the group, for a moment at least.
    pub(super) is_deaf: bool,
    /// That has lasted, and members answer otherwise.
    since: Option<Time>,
    ask_at: Time,
    /// When the first of those that get copies has not asked again.
    pub(super) copies_end: Time,
}

impl Default for Fallback {
    fn default() -> Self {
        Self { is_deaf: false, since: None, ask_at: Time::ZERO, copies_end: Time::MAX }
    }
}

impl Core {
    /// Since when members are heard by unicast only, although there is a group.
    pub(crate) fn fallback_since(&self) -> Option<Time> {
        self.fallback.since
    }

    /// A datagram of a member came by the group.
    pub(super) fn note_heard_by_group(&mut self, now: Time, node: headcount::NodeId, out: &mut Output) {
        if let Some(member) = self.members.get_mut(&node) {
            member.group_heard = now;
            if self.fallback.is_deaf {
                self.end_fallback(out);
            }
        }
    }

    fn end_fallback(&mut self, out: &mut Output) {
        self.fallback.is_deaf = false;
        if self.fallback.since.take().is_some() {
            self.version += 1;
            out.notices.push(Notice::MulticastBack);
        }
    }

    /// Looks whether the group still brings anything, and asks for copies if it does not.
    pub(super) fn drive_fallback(&mut self, now: Time, out: &mut Output) {
        if !self.multicasts() {
            return;
        }
        let timing = self.settings.timing;
        let Some(last) = self.members.values().map(|member| member.group_heard).max() else {
            self.end_fallback(out);
            return;
        };
        let silence = now.saturating_sub(last);
        if silence < timing.suspect_after {
            return;
        }
        self.fallback.is_deaf = true;
        let heard = self.members.values().any(|member| member.state == MemberState::Up);
        if heard && silence >= timing.down_after && self.fallback.since.is_none() {
            self.fallback.since = Some(now);
            self.stats.fallbacks += 1;
            self.version += 1;
            out.notices.push(Notice::MulticastLost);
        }
        if now < self.fallback.ask_at {
            return;
        }
        self.fallback.ask_at = now + if heard { ASK_EVERY } else { timing.suspect_after };
        // One that is down is asked now and then by the detector, in the same words.
        let there = self.members.values().filter(|member| member.state != MemberState::Down);
        let there: Vec<_> = there.map(|member| (member.node, member.addr)).collect();
        for (node, addr) in there {
            self.send_hello(Target::Node(addr), node, true, out);
        }
    }
}
