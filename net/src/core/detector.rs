//! Who is there: from silence to suspect, down and forgotten, and back.

use super::Core;
use super::io::{Output, StreamAction, Target, Time};
use super::member::{Member, MemberState};
use headcount::NodeId;
use std::time::Duration;

/// A member that was down is shown after so long at the latest, even if it has not caught up.
const SHOW_AFTER: Duration = Duration::from_secs(1);

impl Core {
    /// A node that stood still (stopped, swapped out, its machine paused) has heard nobody meanwhile, which says nothing about
    /// them: every deadline moves by the time it lost.
    pub(super) fn note_pause(&mut self, now: Time) {
        let heartbeat = self.settings.timing.heartbeat;
        // Something is due at least once a heartbeat, so a longer break than one and a half was not by choice.
        let lost = now.saturating_sub(self.last_handled + heartbeat + heartbeat / 10);
        self.last_handled = now;
        if lost > heartbeat / 2 && !planted!(PauseIgnored) {
            self.stats.pauses += 1;
            for member in self.members.values_mut() {
                member.heard = (member.heard + lost).min(now);
            }
        }
    }

    /// Something came from a member in the session known. One that was down is up again, but its entries stay hidden until it is
    /// known what became of them: what went meanwhile has left once and is not to come back for a moment.
    pub(super) fn note_heard(&mut self, now: Time, node: NodeId, out: &mut Output) {
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        member.heard = now;
        self.replica.origin_heard(node);
        if member.state == MemberState::Up {
            return;
        }
        let was_down = member.state == MemberState::Down;
        member.state = MemberState::Up;
        self.version += 1;
        if !was_down {
            self.replica.origin_state(node, member.shown());
            return;
        }
        member.show_by = now + SHOW_AFTER;
        for lane in &mut member.lanes {
            lane.confirmed = false;
        }
        // Its answer comes with a heartbeat that names every lane.
        let addr = member.addr;
        self.send_hello(Target::Node(addr), node, true, out);
    }

    /// Shows members that were down and have caught up, or have had their time.
    fn show_returned(&mut self, now: Time) {
        for (&node, member) in &mut self.members {
            let is_heard = member.state != MemberState::Down;
            if member.hidden && is_heard && (now >= member.show_by || member.has_caught_up()) {
                member.hidden = false;
                self.version += 1;
                self.replica.origin_state(node, member.shown());
            }
        }
    }

    pub(super) fn judge_members(&mut self, now: Time, out: &mut Output) {
        let timing = self.settings.timing;
        let mut forgotten = Vec::new();
        let mut probes = Vec::new();
        let mut aborts = Vec::new();
        for (&node, member) in &mut self.members {
            let silence = now.saturating_sub(member.heard);
            let state = match silence {
                silence if silence >= timing.down_after => MemberState::Down,
                silence if silence >= timing.suspect_after => MemberState::Suspect,
                _ => MemberState::Up,
            };
            if silence >= timing.forget_after {
                forgotten.push(node);
            } else if state != member.state {
                member.state = state;
                self.version += 1;
                if state == MemberState::Down {
                    self.stats.downs += 1;
                    member.hidden = true;
                    member.probe_at = now + timing.probe_every;
                    aborts.extend(member.transfer);
                }
                self.replica.origin_state(node, member.shown());
            } else if state == MemberState::Down && now >= member.probe_at {
                member.probe_at = now + timing.probe_every;
                probes.push((node, member.addr));
            }
        }
        self.show_returned(now);
        for stream in aborts {
            self.fail_fetch(now, stream, out);
        }
        for (node, addr) in probes {
            self.send_hello(Target::Node(addr), node, true, out);
        }
        for node in forgotten {
            self.drop_member(node, out);
        }
    }

    /// Forgets a member and everything of it.
    pub(super) fn drop_member(&mut self, node: NodeId, out: &mut Output) {
        if self.take_member(node, out) {
            self.replica.forget(node);
            self.purging = true;
            self.version += 1;
        }
    }

    /// Removes a member and ends the stream from it. False if there is no such member.
    pub(super) fn take_member(&mut self, node: NodeId, out: &mut Output) -> bool {
        let Some(member) = self.members.remove(&node) else {
            return false;
        };
        if let Some(stream) = member.transfer {
            self.fetches.remove(&stream);
            out.streams.push((stream, StreamAction::Abort));
        }
        true
    }

    /// When the next of a member's deadlines is.
    pub(super) fn member_due_at(&self, member: &Member) -> Time {
        let timing = &self.settings.timing;
        let judged = match member.state {
            MemberState::Up => member.heard + timing.suspect_after,
            MemberState::Suspect => member.heard + timing.down_after,
            MemberState::Down => (member.heard + timing.forget_after).min(member.probe_at),
        };
        let idle = member.transfer.is_none() && member.state != MemberState::Down;
        let transfer = member.transfer_at.filter(|_| idle).unwrap_or(Duration::MAX);
        let naks = member.lanes.iter().filter_map(|lane| lane.nak_at);
        let nak = if member.state == MemberState::Down { None } else { naks.min() };
        let show =
            if member.hidden && member.state != MemberState::Down { member.show_by } else { Duration::MAX };
        judged.min(show).min(transfer).min(nak.unwrap_or(Duration::MAX))
    }
}
