//! What a node makes of silence: its own hearing, what others hear, and how far it trusts itself.
//!
//! A member that this node does not hear may be dead, or the way from it may be. Every node says with its heartbeats whom it hears and
//! how long ago ([`wire::Heard`]), so the two are told apart: a member is down when nobody has heard it for so long. Reports rotate, a
//! bounded number with each heartbeat; what others may be waiting for goes first: members that this node does not hear, those
//! that somebody else does not hear, and those that want to know how far they were heard.
//!
//! Three things say that the silence is this node's own: it stood still ([`Core::note_pause`]), it runs late or drops datagrams
//! ([`Strain`]), or most of the others fell silent at one moment ([`Isolation`]).

use super::Core;
use super::io::{Measure, Notice, Output, Phase, Time};
use super::member::{Lane, Member, MemberState};
use super::receive::Sender;
use crate::config::Timing;
use crate::wire::{self, Heard, Report};
use headcount::NodeId;
use std::time::Duration;

/// Bytes of reports in one heartbeat, if there is room.
const HEARD_BYTES: usize = 320;
/// Members of whom there is nothing new, in one heartbeat.
const CALM_REPORTS: usize = 16;
/// An answer that is wanted comes within this, and so much more for each member.
const ANSWER_WITHIN: Duration = Duration::from_millis(1);
const ANSWER_WITHIN_PER_MEMBER: Duration = Duration::from_micros(20);
/// Members that fall silent within this of each other fell silent at once.
const AT_ONCE: Duration = Duration::from_millis(300);
/// A node whose strain is this bears twice the silence.
const STRAIN_MAX: u32 = 1_000;
/// What strain falls by in a second.
const STRAIN_EASE: u64 = 250;
/// What a turn that is late by a whole heartbeat adds.
const STRAIN_OF_LATE: u64 = 250;
/// What a report of dropped datagrams adds.
const STRAIN_OF_DROPS: u32 = 250;

/// What is known of a member beside what it says itself.
#[derive(Debug)]
pub(super) struct Liveness {
    /// When it was heard last, pauses or not: what others are told.
    pub(super) heard: Time,
    /// The two others that have heard it last, and when that was at the latest.
    witnesses: [Option<(NodeId, Time)>; 2],
    /// The last of its heartbeats whose clocks are known to be reached here.
    covered: u64,
    /// A later one, and the clocks to be reached for it.
    pending: Option<(u64, Vec<u64>)>,
    /// The last of this node's heartbeats that it has covered.
    pub(super) acked: u64,
    /// The next heartbeat has to report on it.
    pub(super) urgent: bool,
    /// It wants to know when what it said so far is covered.
    pub(super) owed: bool,
    /// The number of its latest heartbeat.
    latest: u64,
}

impl Liveness {
    pub(super) fn new(now: Time) -> Self {
        Self {
            heard: now,
            witnesses: [None; 2],
            covered: 0,
            pending: None,
            acked: 0,
            urgent: false,
            owed: false,
            latest: 0,
        }
    }

    /// Somebody else has heard the member.
    fn testify(&mut self, witness: NodeId, heard: Time) {
        let known = self.witnesses.iter().position(|known| known.is_some_and(|(node, _)| node == witness));
        let at = known.unwrap_or(match self.witnesses {
            [None, _] => 0,
            [Some((_, first)), Some((_, second))] => usize::from(second < first),
            _ => 1,
        });
        let slot = &mut self.witnesses[at];
        if slot.is_none_or(|(_, before)| before < heard) {
            *slot = Some((witness, heard));
        }
    }

    /// How many others have heard it since.
    fn witnesses_since(&self, since: Time) -> usize {
        self.witnesses(since).count()
    }

    /// Others that have heard it since.
    pub(super) fn witnesses(&self, since: Time) -> impl Iterator<Item = NodeId> + '_ {
        self.witnesses.iter().flatten().filter(move |&&(_, heard)| heard > since).map(|&(node, _)| node)
    }

    /// Deadlines move by what was lost.
    pub(super) fn shift(&mut self, lost: Duration, now: Time) {
        for (_, heard) in self.witnesses.iter_mut().flatten() {
            *heard = (*heard + lost).min(now);
        }
    }

    /// When each of the witnesses' words is older than `age`.
    pub(super) fn stale_at(&self, age: Duration) -> impl Iterator<Item = Time> + '_ {
        self.witnesses.iter().flatten().map(move |&(_, heard)| heard + age)
    }
}

/// How much this node itself is at fault: its turns come late, its buffers overflow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strain {
    level: u32,
    at: Time,
    drops: u64,
}

impl Strain {
    /// In thousandths, at most [`STRAIN_MAX`]. It eases with time.
    pub(super) fn level(&self, now: Time) -> u32 {
        if self.level == 0 {
            return 0;
        }
        let eased = now.saturating_sub(self.at).as_millis() * u128::from(STRAIN_EASE) / 1_000;
        self.level.saturating_sub(u32::try_from(eased).unwrap_or(u32::MAX))
    }

    fn add(&mut self, now: Time, more: u32) {
        self.level = self.level(now).saturating_add(more).min(STRAIN_MAX);
        self.at = now;
    }

    /// A turn came late. What is less than a quarter of a heartbeat is the grain of any machine.
    pub(super) fn late(&mut self, now: Time, lag: Duration, heartbeat: Duration) {
        if lag > heartbeat / 4 {
            let share =
                lag.min(heartbeat).as_micros() * u128::from(STRAIN_OF_LATE) / heartbeat.as_micros().max(1);
            self.add(now, u32::try_from(share).unwrap_or(STRAIN_MAX));
        }
    }

    /// How many datagrams the system has dropped for this node since it began.
    pub(super) fn drops(&self) -> u64 {
        self.drops
    }

    /// The system has dropped so many datagrams for this node since it began.
    pub(super) fn dropped(&mut self, now: Time, total: u64) {
        if total > self.drops {
            self.drops = total;
            self.add(now, STRAIN_OF_DROPS);
        }
    }
}

/// Most of the others fell silent at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Isolation {
    /// What is held of them is of that time.
    pub(super) since: Time,
    /// They are heard again: over then, if it lasts, so that the last of them is waited for too.
    pub(super) over_at: Option<Time>,
}

/// The core's part of all this.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    pub(super) strain: Strain,
    pub(super) isolation: Option<Isolation>,
    /// Whom the last calm report was about.
    cursor: Option<NodeId>,
}

impl Core {
    /// A threshold as it is for a node under so much strain: up to twice as long.
    pub(super) fn widened(&self, now: Time, threshold: Duration) -> Duration {
        let more = threshold.saturating_mul(self.hearing.strain.level(now)) / STRAIN_MAX;
        threshold.saturating_add(more)
    }

    /// The times as they are for this node now.
    pub(super) fn patience(&self, now: Time) -> Timing {
        let timing = self.settings.timing;
        Timing {
            suspect_after: self.widened(now, timing.suspect_after),
            down_after: self.widened(now, timing.down_after).min(timing.down_limit),
            ..timing
        }
    }

    /// What a member's silence means. `others`: members that are not down, itself not counted.
    pub(super) fn judge(&self, now: Time, timing: &Timing, member: &Member, others: usize) -> MemberState {
        let silence = now.saturating_sub(member.heard);
        if member.state == MemberState::Down {
            // Until it is heard again by this node itself.
            return MemberState::Down;
        }
        if silence < timing.suspect_after {
            return MemberState::Up;
        }
        if silence >= timing.down_limit {
            return MemberState::Down;
        }
        // Times before the beginning count as the beginning: nothing is heard at 0 but by this node itself.
        let since = |age| now.saturating_sub(age);
        if member.liveness.witnesses_since(since(timing.suspect_after)) >= others.clamp(1, 2) {
            return MemberState::UpIndirect;
        }
        let heard_of = member.liveness.witnesses_since(since(timing.down_after)) > 0;
        if silence < timing.down_after || heard_of || self.hearing.isolation.is_some() {
            return MemberState::Suspect;
        }
        MemberState::Down
    }

    /// Looks whether most of the others fell silent at once: then the fault is likely here.
    pub(super) fn judge_isolation(&mut self, now: Time, timing: &Timing, out: &mut Output) {
        // Who has reached the limit goes down now, whatever is found here.
        let counts = |member: &&Member| {
            member.state != MemberState::Down && now.saturating_sub(member.heard) < timing.down_limit
        };
        let peers = self.members.values().filter(counts);
        let (mut all, mut silent) = (0, Vec::new());
        for member in peers {
            all += 1;
            if now.saturating_sub(member.heard) >= timing.suspect_after {
                silent.push(member.heard);
            }
        }
        silent.sort_unstable();
        let most = all / 2 + 1;
        let at_once = silent.windows(most).find(|window| window[most - 1] - window[0] <= AT_ONCE);
        let since = at_once.filter(|_| all >= 2).map(|window| window[0]);
        match (&mut self.hearing.isolation, since) {
            (None, Some(since)) => {
                self.hearing.isolation = Some(Isolation { since, over_at: None });
                self.stats.isolations += 1;
                self.version += 1;
                out.notices.push(Notice::Isolated);
            }
            (Some(isolation), Some(_)) => isolation.over_at = None,
            (Some(isolation), None) => {
                let over_at = *isolation.over_at.get_or_insert(now + timing.suspect_after);
                if now >= over_at {
                    self.end_isolation(out);
                }
            }
            (None, None) => {}
        }
    }

    pub(super) fn end_isolation(&mut self, out: &mut Output) {
        if self.hearing.isolation.take().is_some() {
            self.version += 1;
            out.notices.push(Notice::Rejoined);
        }
    }

    /// What this node hears of others, for a heartbeat with so much room left.
    pub(super) fn heard(&mut self, now: Time, room: usize) -> Heard {
        let mut room = room.min(HEARD_BYTES);
        let mut reports = Vec::new();
        let mut calm = CALM_REPORTS;
        let cursor = self.hearing.cursor;
        // Those after the last one reported come first, in both rounds.
        let mut order: Vec<NodeId> = self.members.keys().copied().collect();
        let turn = order.partition_point(|&node| Some(node) <= cursor);
        order.rotate_left(turn);
        for urgent in [true, false] {
            for node in &order {
                let Some(member) = self.members.get_mut(node) else {
                    continue;
                };
                let pressing = member.liveness.urgent
                    || matches!(member.state, MemberState::Suspect | MemberState::UpIndirect);
                if member.state == MemberState::Down || pressing != urgent {
                    continue;
                }
                let report = member.report(now);
                if report.len() > room || (!urgent && calm == 0) {
                    break;
                }
                room -= report.len();
                calm -= usize::from(!urgent);
                reports.push((*node, report));
                if !urgent {
                    self.hearing.cursor = Some(*node);
                }
            }
        }
        for (node, _) in &reports {
            if let Some(member) = self.members.get_mut(node) {
                member.liveness.urgent = false;
            }
        }
        let flags = if self.barriers.is_waiting() { Heard::ANSWER_WANTED } else { 0 };
        Heard { flags, reports: reports.into_iter().map(|(_, report)| report).collect() }
    }

    /// Whether a member of the known session has said nothing later than the heartbeat with that number.
    pub(super) fn is_latest(&mut self, sender: Sender, seq: u64) -> bool {
        let known = self.members.get_mut(&sender.node).filter(|member| member.session == sender.session);
        let Some(member) = known else {
            return false;
        };
        member.liveness.latest = member.liveness.latest.max(seq);
        member.liveness.latest == seq
    }

    /// Takes what a member of the known session says that it hears. Ages count from now, so what comes late (held up, repaired, or
    /// played again by somebody where the first copy was lost) testifies to nothing: it would make the dead look alive.
    pub(super) fn on_heard(&mut self, now: Time, sender: NodeId, heard: &Heard, is_latest: bool) {
        let me = Report::name_of(self.session);
        let fresh = self.settings.timing.suspect_after;
        for report in &heard.reports {
            if report.session == me {
                if let Some(member) = self.members.get_mut(&sender) {
                    member.liveness.acked = member.liveness.acked.max(report.covered);
                }
                if self.settings.watched && is_latest {
                    let (speaker, silence) = (self.node, report.silence());
                    self.measures.push(Measure::Heard { listener: sender, speaker, silence });
                }
                continue;
            }
            let about = self.sessions.get(&report.session).filter(|&&node| node != sender);
            let Some(member) = about.and_then(|node| self.members.get_mut(node)) else {
                continue;
            };
            if self.settings.watched && is_latest {
                let (listener, speaker, silence) = (sender, member.node, report.silence());
                self.measures.push(Measure::Heard { listener, speaker, silence });
            }
            let Some(silence) = report.silence() else {
                continue;
            };
            if let Some(at) = now.checked_sub(silence).filter(|_| is_latest) {
                member.liveness.testify(sender, at);
            }
            if silence >= fresh && now.saturating_sub(member.heard) < fresh {
                // It does not hear whom this node hears, and ought to know.
                member.liveness.urgent = true;
            }
        }
        if heard.flags & Heard::ANSWER_WANTED != 0
            && let Some(member) = self.members.get_mut(&sender)
        {
            member.liveness.owed = true;
        }
    }

    /// Answers a member that wants to know, once there is something to tell.
    pub(super) fn answer(&mut self, now: Time, node: NodeId) {
        let Some(member) = self.members.get_mut(&node).filter(|member| member.liveness.owed) else {
            return;
        };
        member.cover();
        if self.phase == Phase::Live && member.liveness.pending.is_none() {
            member.liveness.owed = false;
            member.liveness.urgent = true;
            let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            let within = ANSWER_WITHIN + ANSWER_WITHIN_PER_MEMBER.saturating_mul(members);
            let wait = self.rng.time_below(within.min(self.settings.timing.heartbeat));
            self.heartbeat_at = self.heartbeat_at.min(now + wait);
        }
    }
}

impl Member {
    fn report(&mut self, now: Time) -> Report {
        self.cover();
        // What is hidden here is not seen by who looks for it, however much of it is held.
        let covered = if self.hidden { 0 } else { self.liveness.covered };
        let age = Report::age_of(now.saturating_sub(self.liveness.heard));
        Report { session: Report::name_of(self.session), age, covered }
    }

    /// A heartbeat of the member has named these lanes; the others stand where they stood at `since`.
    pub(super) fn note_clocks(&mut self, heartbeat: &wire::Heartbeat) {
        let seq = heartbeat.seq;
        for &(number, _) in &heartbeat.clocks {
            if let Some(lane) = self.lanes.get_mut(usize::from(number)) {
                lane.named = lane.named.max(seq);
            }
        }
        let mut known = seq;
        for lane in &mut self.lanes {
            if lane.named >= heartbeat.since {
                lane.named = lane.named.max(seq);
            }
            known = known.min(lane.named);
        }
        self.cover();
        if known > self.liveness.covered && self.liveness.pending.is_none() {
            let clocks = self.lanes.iter().map(|lane| lane.target).collect();
            self.liveness.pending = Some((known, clocks));
            self.cover();
        }
    }

    /// Looks whether the heartbeat that waits for it is covered by now.
    fn cover(&mut self) {
        let Some((seq, clocks)) = &self.liveness.pending else {
            return;
        };
        let reached =
            |(lane, &clock): (&Lane, &u64)| lane.clock >= clock && !lane.needs_snapshot && !lane.in_transfer;
        if self.lanes.iter().zip(clocks).all(reached) {
            self.liveness.covered = *seq;
            self.liveness.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_two_latest_witnesses_count_and_each_once() {
        let mut liveness = Liveness::new(MS(0));
        for (witness, at) in [(1, 100), (1, 200), (1, 150), (2, 50)] {
            liveness.testify(NodeId(witness), MS(at));
        }
        assert_eq!((liveness.witnesses_since(MS(40)), liveness.witnesses_since(MS(60))), (2, 1));
        liveness.testify(NodeId(3), MS(180));
        liveness.testify(NodeId(4), MS(10));
        assert_eq!((liveness.witnesses_since(MS(179)), liveness.witnesses_since(MS(180))), (2, 1));
        assert_eq!(liveness.witnesses_since(MS(200)), 0);
    }

    #[test]
    fn strain_grows_with_lag_and_drops_is_bounded_and_eases() {
        let mut strain = Strain::default();
        strain.late(MS(0), MS(20), MS(100));
        assert_eq!(strain.level(MS(0)), 0, "that is nothing");
        strain.late(MS(0), MS(60), MS(100));
        assert_eq!(strain.level(MS(0)), 150);
        strain.late(MS(0), MS(60_000), MS(100));
        assert_eq!(strain.level(MS(0)), 400, "one turn counts as one");
        strain.dropped(MS(0), 10);
        strain.dropped(MS(0), 10);
        assert_eq!((strain.level(MS(0)), strain.level(MS(1_000))), (650, 400));
        for total in 11..20 {
            strain.dropped(MS(1_000), total);
        }
        assert_eq!(
            (strain.level(MS(1_000)), strain.level(MS(4_999)), strain.level(MS(9_000))),
            (1_000, 1, 0)
        );
    }
}
