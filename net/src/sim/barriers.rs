//! What a core tells its application, held against what is: barriers that are reached, and that it is cut off.

use super::Breach;
use super::invariants::breach;
use super::oracle::ProcessId;
use super::process::Process;
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
            let Some(clocks) = process.barriers.remove(barrier) else {
                return breach("11", format!("n{} ended barrier {barrier} twice", process.host));
            };
            match outcome {
                BarrierOutcome::Reached => {
                    process.barriers_reached += 1;
                    self.check_reached(id, &clocks)?;
                }
                BarrierOutcome::TimedOut { missing } => process.barriers_missed.extend(missing),
                BarrierOutcome::TooMany | BarrierOutcome::NotAMember => {}
            }
        }
        let now = self.now;
        let Some(process) = self.process_mut(id) else {
            return Ok(());
        };
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
    fn check_reached(&self, id: ProcessId, clocks: &[u64]) -> Result<(), Breach> {
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
            // Since it answered it may have forgotten the writer, having held it for down before, or met a later life of its name.
            let excused = match reader.core.peer(writer.node) {
                None => reader.core.stats().downs > 0,
                Some(back) => back.incarnation > writer.life,
            };
            if excused {
                continue;
            }
            let of = format!("n{} was told that n{} has its writes", writer.host, reader.host);
            let Some(back) = reader.core.peer(writer.node).filter(|back| back.incarnation == writer.life)
            else {
                return breach("11", format!("{of}, which does not know it"));
            };
            for (lane, &clock) in (0..).zip(clocks) {
                let held = reader.replica.remote_lane(writer.node, lane).map(|held| held.summary.clock);
                if held.is_none_or(|held| held < clock) {
                    return breach("11", format!("{of}, which has {held:?} of {clock} of lane {lane}"));
                }
            }
            // It may have turned its back since it answered, but only by holding the writer for down.
            if back.hidden && reader.core.stats().downs == 0 {
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
