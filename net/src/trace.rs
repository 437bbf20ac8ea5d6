//! Tells what happens at the edges of a node to whoever traces it (feature `tracing`); the documentation of the crate lists it. Without the
//! feature nothing of this is there: [`note!`] is empty.

/// Does something for the tracing, in a build that has it.
#[cfg(feature = "tracing")]
macro_rules! note {
    ($call:expr) => {
        $call
    };
}
#[cfg(not(feature = "tracing"))]
macro_rules! note {
    ($call:expr) => {};
}

#[cfg(feature = "tracing")]
pub(crate) use tell::{Caller, Teller};

#[cfg(feature = "tracing")]
mod tell {
    use crate::core::{
        Core, Ended, KeyStep, MemberState, Note, Notice, Phase, StreamId, Time, Transfer, Turn,
    };
    use crate::error::StopReason;
    use crate::stats::NetStats;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use tracing::dispatcher::{self, Dispatch};
    use tracing::field::{Empty, display};
    use tracing::subscriber::NoSubscriber;
    use tracing::{Span, debug, debug_span, error, error_span, info, trace, warn};

    #[cfg(test)]
    mod tests;

    const MEMBERSHIP: &str = "headcount_net::membership";
    const SNAPSHOT: &str = "headcount_net::snapshot";
    const REPAIR: &str = "headcount_net::repair";
    const HEALTH: &str = "headcount_net::health";
    const KEYS: &str = "headcount_net::keys";
    /// How often trouble with datagrams is told.
    const TROUBLE_EVERY: Duration = Duration::from_secs(1);

    /// The subscriber of who calls, for the network thread: one that holds for a scope holds for the nodes that are joined in it.
    #[derive(Debug)]
    pub(crate) struct Caller(Option<Dispatch>);

    impl Caller {
        pub(crate) fn new() -> Self {
            // Who has none at present may set one for the whole process later; that is to hold then.
            Self(dispatcher::get_default(|now| (!now.is::<NoSubscriber>()).then(|| now.clone())))
        }

        /// Runs with that subscriber.
        pub(crate) fn scope(self, run: impl FnOnce()) {
            match self.0 {
                Some(subscriber) => dispatcher::with_default(&subscriber, run),
                None => run(),
            }
        }
    }

    /// Tells what a node's core has noted, and what the driver does, in a span of the node's own.
    #[derive(Debug)]
    pub(crate) struct Teller {
        node: Span,
        streams: BTreeMap<StreamId, Span>,
        stats: NetStats,
        looked_at: Time,
    }

    impl Teller {
        pub(crate) fn new(core: &Core) -> Self {
            let (name, cluster) = core.names();
            let node = error_span!("headcount", node = name, cluster, id = %core.node());
            Self { node, streams: BTreeMap::new(), stats: NetStats::default(), looked_at: Time::ZERO }
        }

        /// After each turn.
        pub(crate) fn tell(&mut self, core: &mut Core, now: Time, notices: &[Notice]) {
            let notes = core.take_notes(now);
            let looks = now >= self.looked_at + TROUBLE_EVERY;
            if notes.is_empty() && notices.is_empty() && !looks {
                return;
            }
            let node = self.node.clone();
            let _inside = node.enter();
            for note in notes {
                self.tell_note(note);
            }
            for notice in notices {
                tell_notice(*notice);
            }
            if looks {
                self.looked_at = now;
                let stats = core.stats();
                tell_trouble(&self.stats, &stats);
                self.stats = stats;
            }
        }

        /// What is known before the first turn.
        pub(crate) fn tell_notice(&self, notice: Notice) {
            let _inside = self.node.enter();
            tell_notice(notice);
        }

        /// A change of keys that was made or refused.
        pub(crate) fn tell_key(&self, step: &KeyStep, is_done: bool) {
            let _inside = self.node.enter();
            match step {
                _ if !is_done => {}
                KeyStep::Install(keys) => {
                    info!(target: KEYS, epochs = ?keys.epochs(), "keys installed");
                }
                KeyStep::Use(epoch) => info!(target: KEYS, epoch, "key in use"),
                KeyStep::Remove(epoch) => info!(target: KEYS, epoch, "key removed"),
            }
        }

        /// The node is a member no longer.
        pub(crate) fn tell_end(&self, phase: &Phase) {
            let _inside = self.node.enter();
            match phase {
                Phase::Stopped(reason) => tell_stop(reason),
                _ => info!(target: MEMBERSHIP, "left"),
            }
        }

        /// The driver cannot go on.
        pub(crate) fn tell_stop(&self, reason: &StopReason) {
            let _inside = self.node.enter();
            tell_stop(reason);
        }

        fn tell_note(&mut self, note: Note) {
            match note {
                Note::Live { incarnation } => info!(target: MEMBERSHIP, %incarnation, "joined"),
                Note::Jumped { known, incarnation } => {
                    warn!(target: MEMBERSHIP, %known, %incarnation, "incarnation raised: a peer knew a higher one");
                }
                Note::Member { peer, incarnation, turn } => {
                    tell_turn(&peer.name, &peer.node, &incarnation, turn);
                }
                Note::Quarantined { peer, incarnation } => {
                    let (peer, id) = (peer.name, peer.node);
                    warn!(target: MEMBERSHIP, peer, %id, %incarnation, "member quarantined: its frames made this node panic");
                }
                Note::TransferBegun(id, transfer) => self.begin(id, &transfer),
                Note::LaneTaken { stream, lane, is_snapshot } => {
                    if let Some(span) = self.streams.get(&stream) {
                        let kind = if is_snapshot { "snapshot" } else { "catch-up" };
                        span.in_scope(|| trace!(target: SNAPSHOT, lane, kind, "lane taken"));
                    }
                }
                Note::TransferEnded(id, ended) => self.end(id, &ended),
                Note::Repairs(peer, repairs) => {
                    let (peer, id, lane) = (peer.name, peer.node, repairs.lane);
                    let (noticed, closed, open) = (repairs.noticed, repairs.closed, repairs.open);
                    let lane = (closed > 0).then_some(lane);
                    let longest_ms = (closed > 0).then(|| ms(repairs.longest));
                    debug!(target: REPAIR, peer, %id, noticed, closed, open, longest_ms, lane, "gaps");
                }
                Note::Diverged { peer, count, lane } => {
                    let (peer, id) = (peer.name, peer.node);
                    warn!(target: REPAIR, peer, %id, count, lane, "digest mismatch: a snapshot mends it");
                }
                Note::Paused { count, longest } => {
                    warn!(target: HEALTH, count, longest_ms = ms(longest), "this node stood still");
                }
                Note::Untold { count } => warn!(target: HEALTH, count, "events untold"),
            }
        }

        fn begin(&mut self, id: StreamId, transfer: &Transfer) {
            let Transfer { peer, owner, lanes, is_given } = transfer;
            let (peer, owner) = (peer.name.as_str(), owner.name.as_str());
            let direction = if *is_given { "given" } else { "taken" };
            let span = debug_span!(
                target: SNAPSHOT, "snapshot", peer, owner, lanes, direction, bytes = Empty, outcome = Empty
            );
            self.streams.insert(id, span);
        }

        fn end(&mut self, id: StreamId, ended: &Ended) {
            let Some(span) = self.streams.remove(&id) else {
                return;
            };
            let Ended { lanes, bytes, took, outcome, .. } = *ended;
            span.record("bytes", bytes);
            span.record("outcome", display(outcome));
            span.in_scope(|| {
                let (peer, took_ms) = (ended.peer.name.as_str(), ms(took));
                debug!(target: SNAPSHOT, peer, lanes, bytes, took_ms, outcome, "snapshot over");
            });
        }
    }

    fn tell_turn(peer: &str, id: &dyn std::fmt::Display, incarnation: &dyn std::fmt::Display, turn: Turn) {
        macro_rules! tell {
            ($level:ident, $what:literal) => {
                $level!(target: MEMBERSHIP, peer, %id, %incarnation, $what)
            };
        }
        match turn {
            Turn::Met => tell!(info, "member met"),
            Turn::Replaced(by) => {
                info!(target: MEMBERSHIP, peer, %id, %incarnation, %by, "member replaced by its next life");
            }
            Turn::To(MemberState::Up) => tell!(info, "member up"),
            Turn::To(MemberState::UpIndirect) => tell!(info, "member up, heard by others only"),
            Turn::To(MemberState::Suspect) => tell!(info, "member suspect"),
            Turn::To(MemberState::Leaving) => tell!(info, "member leaving, its entries stay for a while"),
            Turn::To(MemberState::Down) => tell!(warn, "member down"),
            Turn::Left => tell!(info, "member left"),
            Turn::Forgotten => tell!(info, "member forgotten"),
            Turn::Dropped => tell!(warn, "member dropped, to be met anew"),
        }
    }

    fn tell_notice(notice: Notice) {
        match notice {
            Notice::Isolated => warn!(target: HEALTH, "isolated: most members fell silent at once"),
            Notice::Rejoined => info!(target: HEALTH, "isolation over"),
            Notice::MulticastLost => warn!(target: HEALTH, "fallback to unicast: the group brings nothing"),
            Notice::MulticastBack => info!(target: HEALTH, "fallback over"),
            Notice::SmallReceiveBuffer { asked, granted } => {
                warn!(target: HEALTH, asked, granted, "receive buffer smaller than asked for");
            }
        }
    }

    /// Trouble with datagrams since the last look, if there was any; what there was none of is left out.
    fn tell_trouble(before: &NetStats, now: &NetStats) {
        macro_rules! grown {
            ($($name:ident),*) => {
                $(let $name = Some(now.$name - before.$name).filter(|&count| count > 0);)*
            };
        }
        grown!(send_errors, receive_errors, receive_drops, refused_operations, refused_nodes, lookups_failed);
        let all =
            [send_errors, receive_errors, receive_drops, refused_operations, refused_nodes, lookups_failed];
        if all.iter().any(Option::is_some) {
            warn!(
                target: HEALTH,
                send_errors, receive_errors, receive_drops, refused_operations, refused_nodes, lookups_failed,
                "trouble"
            );
        }
        grown!(malformed, foreign, no_key, auth_failed, replayed, over_budget);
        if [malformed, foreign, no_key, auth_failed, replayed, over_budget].iter().any(Option::is_some) {
            warn!(
                target: HEALTH,
                malformed, foreign, no_key, auth_failed, replayed, over_budget,
                "datagrams refused"
            );
        }
    }

    fn tell_stop(reason: &StopReason) {
        match reason {
            StopReason::DuplicateNode { other, .. } => {
                error!(target: MEMBERSHIP, %other, %reason, "stopped: duplicate node");
            }
            _ => error!(target: MEMBERSHIP, %reason, "stopped"),
        }
    }

    fn ms(time: Duration) -> f64 {
        time.as_secs_f64() * 1_000.0
    }
}
