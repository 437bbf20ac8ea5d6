//! What a core tells its application, held against what is: barriers that are reached, and that it is cut off.

use super::Breach;
use super::invariants::breach;
use super::oracle::ProcessId;
use super::process::{Awaited, Process};
use super::world::World;
use crate::core::{BarrierOutcome, MemberState, Notice, Time};

impl World {
    /// After every step of a process: what it told its application.
    pub(super) fn check_told(
        &mut self,
        id: ProcessId,
        notices: &[Notice],
        barriers: &[(u64, BarrierOutcome)],
    ) -> Result<(), Breach> {
        for (barrier, outcome) in barriers {
            let Some(process) = self.process_mut(id) else {
                return Ok(());
            };
            let Some(awaited) = process.barriers.remove(barrier) else {
                return breach("11", format!("n{} ended barrier {barrier} twice", process.host));
            };
            match outcome {
                BarrierOutcome::Reached => {
                    process.barriers_reached += 1;
                    self.check_reached(id, &awaited)?;
                }
                BarrierOutcome::TimedOut { missing } => process.barriers_missed.extend(missing),
                BarrierOutcome::TooMany | BarrierOutcome::NotAMember => {}
            }
        }
        let now = self.now;
        let Some(process) = self.process_mut(id) else {
            return Ok(());
        };
        for (&barrier, awaited) in &mut process.barriers {
            awaited.seq = process.core.barrier_seq(barrier);
        }
        let own = |notice: &&Notice| matches!(notice, Notice::Isolated | Notice::Rejoined);
        for notice in notices.iter().filter(own) {
            if process.notices.last() == Some(notice)
                || (process.notices.is_empty() && *notice == Notice::Rejoined)
            {
                return breach("10", format!("n{} says {notice:?} twice", process.host));
            }
            process.notices.push(*notice);
        }
        if notices.contains(&Notice::Isolated) { process.check_isolated(now) } else { Ok(()) }
    }

    /// Every member that is not down has what a barrier was begun for.
    pub(super) fn check_reached(&self, id: ProcessId, awaited: &Awaited) -> Result<(), Breach> {
        let Some(writer) = self.process(id) else {
            return Ok(());
        };
        for reader in self.processes().filter(|reader| reader.id != id) {
            let known = writer.core.peer(reader.node);
            let is_member = known
                .is_some_and(|peer| peer.state != MemberState::Down && peer.session == reader.core.session());
            if !is_member {
                continue;
            }
            // It may have met a later life of the writer's name.
            if reader.core.peer(writer.node).is_some_and(|back| back.incarnation > writer.life) {
                continue;
            }
            // Or turned its back, and even forgotten the writer, but only by holding this life of it for down after it said that it
            // has what it was asked for.
            let answered = awaited.seq.and_then(|seq| {
                let by = (reader.node, reader.core.session());
                self.ledger.covered_at(by, writer.core.session(), seq)
            });
            let turned = reader.held_down.get(&writer.node).filter(|&&(life, _)| life == writer.life);
            let has_turned = answered.is_some_and(|at| turned.is_some_and(|&(_, down)| down >= at));
            let of = format!("n{} was told that n{} has its writes", writer.host, reader.host);
            let Some(back) = reader.core.peer(writer.node).filter(|back| back.incarnation == writer.life)
            else {
                if has_turned {
                    continue;
                }
                return breach("11", format!("{of}, which does not know it"));
            };
            for (lane, &clock) in (0..).zip(&awaited.clocks) {
                let held = reader.replica.remote_lane(writer.node, lane).map(|held| held.summary.clock);
                if held.is_none_or(|held| held < clock) {
                    return breach("11", format!("{of}, which has {held:?} of {clock} of lane {lane}"));
                }
            }
            if back.hidden && !has_turned {
                return breach("11", format!("{of}, which hides them"));
            }
        }
        Ok(())
    }
}

impl Process {
    /// More than half of those that are not down are silent, and there are two at least.
    fn check_isolated(&self, now: Time) -> Result<(), Breach> {
        let peers: Vec<_> = self.core.peers().filter(|peer| peer.state != MemberState::Down).collect();
        let silent = |node| {
            let heard = self.heard.get(&node);
            heard.is_none_or(|heard| now.saturating_sub(heard.at) >= self.timing.suspect_after)
        };
        let count = peers.iter().filter(|peer| silent(peer.node)).count();
        if peers.len() < 2 || count * 2 <= peers.len() {
            return breach("10", format!("n{} is cut off: {count} of {} are silent", self.host, peers.len()));
        }
        Ok(())
    }
}
