//! What is said in words.

use crate::core::{KeyStep, MemberState, Notice};
use crate::stats::NetStats;

/// What counts as an error, with what it means.
type Told = (fn(&NetStats) -> u64, &'static str);

const ERRORS: [Told; 19] = [
    (|stats| stats.send_errors, "datagrams could not be sent"),
    (|stats| stats.receive_errors, "the system gave errors while receiving"),
    (|stats| stats.receive_drops, "datagrams found the receive buffer full"),
    (|stats| stats.malformed, "datagrams were not well-formed"),
    (|stats| stats.foreign, "datagrams were of another cluster, version or suite"),
    (|stats| stats.no_key, "datagrams or streams came in clear, or with a key that is not installed"),
    (|stats| stats.auth_failed, "datagrams or streams had a wrong tag: another key, forged, or damaged"),
    (|stats| stats.replayed, "datagrams were old ones played again"),
    (|stats| stats.over_budget, "datagrams were over their source's budget"),
    (|stats| stats.proofs_refused, "proofs of strangers were wrong"),
    (|stats| stats.implausible, "claims about this node's lives were not believed"),
    (|stats| stats.quarantines, "nodes were put in quarantine: their frames made this one stumble"),
    (|stats| stats.stumbles, "datagrams or streams of nobody known made this node stumble, and were dropped"),
    (|stats| stats.reorder_overflows, "deltas that waited found no room"),
    (|stats| stats.snapshots_failed, "streams of lanes failed"),
    (|stats| stats.digest_mismatches, "lanes differed from their owner's by digest"),
    (|stats| stats.refused_operations, "operations of other nodes were refused by this node's limits"),
    (|stats| stats.refused_nodes, "nodes were refused: as many are known as are allowed"),
    (|stats| stats.lookups_failed, "names of peers could not be looked up"),
];

/// The errors that came between two readings.
pub(super) fn errors<'a>(
    before: &'a NetStats,
    now: &'a NetStats,
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    let more = |&(of, message): &Told| (message, of(now).saturating_sub(of(before)));
    ERRORS.iter().map(more).filter(|&(_, count)| count > 0)
}

pub(super) fn of_notice(notice: &Notice) -> String {
    match notice {
        Notice::Isolated => "cut off: most other nodes fell silent at once".into(),
        Notice::Rejoined => "no longer cut off".into(),
        Notice::MulticastLost => {
            "the multicast group does not work any more; members answer by unicast".into()
        }
        Notice::MulticastBack => "the multicast group works again".into(),
        Notice::SmallReceiveBuffer { asked, granted } => {
            format!("receive buffer of {granted} bytes granted, {asked} asked for")
        }
    }
}

/// By epoch; the keys themselves are nobody's to see.
pub(super) fn of_key_step(step: &KeyStep) -> String {
    match step {
        KeyStep::Install(keys) => {
            let epochs: Vec<_> = keys.epochs().into_iter().collect();
            let what = if epochs.len() == 1 { "the key of epoch" } else { "the keys of epochs" };
            format!("has {what} {} now", of_epochs(&epochs))
        }
        KeyStep::Use(epoch) => format!("seals with the key of epoch {epoch} now"),
        KeyStep::Remove(epoch) => format!("has the key of epoch {epoch} no more"),
    }
}

pub(super) fn of_evictions(count: u64) -> String {
    let entries = if count == 1 { "an own entry".to_owned() } else { format!("{count} own entries") };
    format!("removed {entries}, as another node asked")
}

pub(super) fn of_state(state: MemberState) -> &'static str {
    match state {
        MemberState::Up => "up",
        MemberState::UpIndirect => "heard by others only",
        MemberState::Suspect => "suspect",
        MemberState::Leaving => "leaving",
        MemberState::Down => "down",
    }
}

/// `1 2 7`.
pub(super) fn of_epochs(epochs: &[u16]) -> String {
    epochs.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
}
