//! Who is there: from silence to suspect, down and forgotten, and back.

use super::Core;
use super::io::{Output, StreamAction, Target, Time};
use super::liveness::Isolation;
use super::member::{Member, MemberState};
#[cfg(feature = "tracing")]
use super::notes::Turn;
use crate::config::Timing;
use crate::wire::Report;
use headcount::replica::Joined;
use headcount::{Incarnation, NodeId};
use std::time::Duration;

/// A member that was down is shown after so long at the latest, even if it has not caught up.
const SHOW_AFTER: Duration = Duration::from_secs(1);
/// A life that follows another that was listed, likewise: the other is listed so long.
const SUCCEED_WITHIN: Duration = Duration::from_secs(2);

impl Core {
    /// A node that stood still (stopped, swapped out, its machine paused) has heard nobody meanwhile, which says nothing about
    /// them: every deadline moves by the time it lost. What waits in its sockets it reads before it judges.
    pub(super) fn note_pause(&mut self, now: Time) {
        let heartbeat = self.settings.timing.heartbeat;
        let lost = now.saturating_sub(self.planned.max(self.last_handled));
        self.last_handled = now;
        self.hearing.strain.late(now, lost, heartbeat);
        if lost <= heartbeat / 2 || planted!(PauseIgnored) {
            return;
        }
        self.stats.pauses += 1;
        note!(self.note_paused(lost));
        let later = |at: &mut Time| *at = at.saturating_add(lost);
        for member in self.members.values_mut() {
            member.heard = (member.heard + lost).min(now);
            member.group_heard = (member.group_heard + lost).min(now);
            member.liveness.shift(lost, now);
            later(&mut member.show_by);
            later(&mut member.probe_at);
            later(&mut member.nak_due);
            later(&mut member.relay_at);
            member.transfer_at.iter_mut().for_each(later);
            member.lanes.iter_mut().filter_map(|lane| lane.nak_at.as_mut()).for_each(later);
        }
        self.fetches.values_mut().map(|fetch| &mut fetch.deadline).for_each(later);
        self.serves.values_mut().map(|serve| &mut serve.deadline).for_each(later);
        if let Some(Isolation { over_at: Some(over_at), .. }) = &mut self.hearing.isolation {
            later(over_at);
        }
    }

    /// Something came from a member in the session known. One that was down is up again, but its entries stay hidden until it is
    /// known what became of them: what went meanwhile has left once and is not to come back for a moment.
    pub(super) fn note_heard(&mut self, now: Time, node: NodeId, out: &mut Output) {
        let Some(member) = self.members.get_mut(&node).filter(|member| member.leaves_at.is_none()) else {
            return;
        };
        member.heard = now;
        member.liveness.heard = now;
        self.replica.origin_heard(node);
        if member.state == MemberState::Up {
            return;
        }
        let was_down = member.state == MemberState::Down;
        member.state = MemberState::Up;
        member.liveness.urgent = true;
        self.version += 1;
        if !was_down {
            if !member.hidden {
                self.replica.origin_state(node, member.shown());
            }
            note!(self.note_turn(node, Turn::To(MemberState::Up)));
            self.end_relay(now, node, out);
            return;
        }
        member.show_by = now + SHOW_AFTER;
        for lane in &mut member.lanes {
            lane.confirmed = false;
        }
        // Its answer comes with a heartbeat that names every lane.
        let addr = member.addr;
        note!(self.note_turn(node, Turn::To(MemberState::Up)));
        self.send_hello(Target::Node(addr), node, true, out);
    }

    /// Which life of a node is listed while the entries of a new one come, and for how long at the most: so that what both have does not go
    /// and come back, and a fast restart is not a storm. A life in between that was never shown makes no difference.
    pub(super) fn succession(&self, now: Time, node: NodeId, joined: Joined) -> (Option<Incarnation>, Time) {
        match self.members.get(&node).filter(|_| joined == Joined::Succeeded) {
            Some(Member { before: Some(before), show_by, .. }) => (Some(*before), *show_by),
            Some(member) => (Some(member.incarnation), now + SUCCEED_WITHIN),
            None => (None, now),
        }
    }

    /// Shows members that were down and have caught up, or have had their time.
    fn show_returned(&mut self, now: Time) {
        for (&node, member) in &mut self.members {
            let is_heard = member.state != MemberState::Down;
            if member.hidden && is_heard && (now >= member.show_by || member.has_caught_up()) {
                member.hidden = false;
                member.before = None;
                member.liveness.urgent = true;
                self.version += 1;
                self.replica.origin_state(node, member.shown());
            }
        }
    }

    pub(super) fn judge_members(&mut self, now: Time, out: &mut Output) {
        let timing = self.patience(now);
        self.judge_isolation(now, &timing, out);
        let mut forgotten = Vec::new();
        let mut probes = Vec::new();
        let mut turned = Vec::new();
        let not_down = self.members.values().filter(|member| member.state != MemberState::Down).count();
        for (&node, member) in &self.members {
            let others = not_down.saturating_sub(1);
            let state = self.judge(now, &timing, member, others);
            let has_gone = member.leaves_at.is_some_and(|at| now >= at);
            if has_gone || now.saturating_sub(member.heard) >= timing.forget_after {
                forgotten.push(node);
            } else if state != member.state {
                turned.push((node, state));
            } else if state == MemberState::Down && now >= member.probe_at {
                probes.push((node, member.addr));
            }
        }
        for (node, state) in turned {
            self.turn_member(now, node, state, &timing, out);
        }
        self.show_returned(now);
        for (node, addr) in probes {
            if let Some(member) = self.members.get_mut(&node) {
                member.probe_at = now + timing.probe_every;
            }
            self.send_hello(Target::Node(addr), node, true, out);
        }
        for node in forgotten {
            note!(self.note_turn(node, Turn::Forgotten));
            self.drop_member(node, out);
        }
    }

    fn turn_member(
        &mut self,
        now: Time,
        node: NodeId,
        state: MemberState,
        timing: &Timing,
        out: &mut Output,
    ) {
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        member.state = state;
        self.version += 1;
        let mut abort = None;
        match state {
            MemberState::Down => {
                self.stats.downs += 1;
                member.hidden = true;
                member.before = None;
                member.probe_at = now + timing.probe_every;
                abort = member.transfer;
            }
            MemberState::UpIndirect => {
                self.stats.indirect_ups += 1;
                member.consider_relay(now);
            }
            MemberState::Up | MemberState::Suspect | MemberState::Leaving => {}
        }
        if state == MemberState::Down || !member.hidden {
            self.replica.origin_state(node, member.shown());
        }
        note!(self.note_turn(node, Turn::To(state)));
        if let Some(stream) = abort {
            self.fail_fetch(now, stream, out);
        }
    }

    /// A member has said goodbye. Its entries stay listed for so long; nothing else is expected of it.
    pub(super) fn let_go(&mut self, now: Time, node: NodeId, handover: Duration, out: &mut Output) {
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        if member.leaves_at.is_some() {
            // It says so three times.
            return;
        }
        if handover.is_zero() || member.hidden {
            note!(self.note_turn(node, Turn::Left));
            self.drop_member(node, out);
            return;
        }
        self.stats.handovers += 1;
        member.state = MemberState::Down;
        member.leaves_at = Some(now + handover);
        member.probe_at = Time::MAX;
        self.replica.origin_state(node, member.shown());
        self.version += 1;
        let transfer = member.transfer;
        note!(self.note_turn(node, Turn::To(MemberState::Leaving)));
        if let Some(stream) = transfer {
            self.fail_fetch(now, stream, out);
        }
        self.alarm = now;
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
        self.sessions.remove(&Report::name_of(member.session));
        if let Some(stream) = member.transfer {
            self.fetches.remove(&stream);
            out.streams.push((stream, StreamAction::Abort));
        }
        true
    }

    /// When the next of a member's deadlines is. Its lanes are not looked at: this is asked for with each datagram.
    fn member_due_at(&self, now: Time, timing: &Timing, member: &Member) -> Time {
        if member.state == MemberState::Down {
            let gone_at = member.leaves_at.unwrap_or(Time::MAX);
            return (member.heard + timing.forget_after).min(member.probe_at).min(gone_at);
        }
        let judged = match member.state {
            MemberState::Up => member.heard + timing.suspect_after,
            _ => [timing.down_after, timing.down_limit]
                .into_iter()
                .map(|age| member.heard + age)
                .chain(member.liveness.stale_at(timing.suspect_after))
                .chain(member.liveness.stale_at(timing.down_after))
                .filter(|&at| at > now)
                .min()
                .unwrap_or(Time::MAX),
        };
        let transfer = member.transfer_at.filter(|_| member.is_to_be_asked()).unwrap_or(Time::MAX);
        let show = if member.hidden { member.show_by } else { Time::MAX };
        judged.min(show).min(transfer).min(member.nak_due).min(member.relay_at)
    }

    /// Something of a member may have changed: the alarm goes off in time for it. One that is to be shown again is looked at
    /// at once.
    pub(super) fn note_deadline(&mut self, now: Time, node: NodeId) {
        if let Some(member) = self.members.get(&node) {
            let due = if member.hidden { now } else { self.member_due_at(now, &self.patience(now), member) };
            self.alarm = self.alarm.min(due);
        }
    }

    /// Sets the alarm to the first deadline of all.
    pub(super) fn set_alarm(&mut self, now: Time) {
        let timing = self.patience(now);
        let members = self.members.values().map(|member| self.member_due_at(now, &timing, member));
        let fetches = self.fetches.values().map(|fetch| fetch.deadline);
        let serves = self.serves.values().map(|serve| serve.deadline);
        let isolation = self.hearing.isolation.and_then(|isolation| isolation.over_at);
        // Strain eases, and with it the patience that the deadlines are of.
        let strained = self.hearing.strain.level(now) > 0;
        let again = strained.then(|| now + self.settings.timing.heartbeat);
        let all = members.chain(fetches).chain(serves).chain(isolation).chain(again);
        self.alarm = all.min().unwrap_or(Time::MAX);
    }
}
