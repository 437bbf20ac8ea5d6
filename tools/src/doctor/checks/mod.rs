//! The checks. Each looks at one patient, or at all of them, and says what it found; none looks anywhere else.

mod cluster;
mod life;
#[cfg(test)]
pub(crate) mod made;
mod neighbours;
mod network;
mod tracker;
mod traffic;

use super::finding::Finding;
use super::patient::Patient;

pub(crate) use neighbours::neighbours;

/// A check of one process; none if there is nothing that it could be about.
type Check = fn(&Patient) -> Option<Finding>;

/// In the order in which they are told, each with the fields that it is made of: one that a process of another version does not show would
/// read as zero, which may be good or bad news, and is neither.
const CHECKS: [(Check, &[&str]); 19] = [
    (life::member, &["node.status", "node.key_epoch"]),
    (life::isolation, &["node.stale_since"]),
    (cluster::peers, &["peer.state"]),
    (
        cluster::links,
        &[
            "node.id",
            "node.heartbeat",
            "node.suspect_after",
            "node.down_after",
            "node.patience",
            "peer.id",
            "peer.heard_at",
            "hearing.listener",
            "hearing.speaker",
            "hearing.silence",
            "hearing.said_at",
        ],
    ),
    (
        cluster::lanes,
        &["peer.id", "peer.state", "peer.synced", "peer.lanes_behind", "peer.operations_behind"],
    ),
    (cluster::keys, &["node.key_epoch", "node.key_epochs", "peer.state", "peer.key_epochs"]),
    (
        network::multicast,
        &[
            "node.multicast",
            "node.fallback_since",
            "node.suspect_after",
            "node.down_after",
            "net.echoes",
            "net.datagrams_sent",
            "peer.state",
            "peer.heard_at",
            "peer.group_heard_at",
            "peer.copied",
        ],
    ),
    (network::mtu, &["node.datagram_max", "node.interface_mtu"]),
    (network::receive_buffer, &["node.receive_buffer_asked", "node.receive_buffer"]),
    (traffic::drops, &["net.receive_drops", "peer.receive_drops_total"]),
    (traffic::gaps, &["net.gaps", "net.digest_mismatches", "net.datagrams_received"]),
    (traffic::budget, &["net.send_budget", "net.send_budget_cuts", "net.flushes_deferred"]),
    (traffic::quarantine, &["net.quarantines", "net.quarantined"]),
    (life::lag, &["node.heartbeat", "node.patience", "times.loop_lag"]),
    (tracker::huge_pages, &["engine.memory_held_bytes", "engine.memory_huge_advised"]),
    (tracker::memory, &["engine.memory_used_bytes", "engine.memory_max_bytes|engine.memory_reserved_bytes"]),
    (tracker::shard_room, &["engine.shard_entries_max", "shard.entries"]),
    (
        tracker::hot_shard,
        &[
            "shard.tracked_total",
            "shard.updated_total",
            "shard.untracked_total",
            "shard.remote_operations_total",
        ],
    ),
    (
        tracker::subscriptions,
        &[
            "engine.subscriptions",
            "engine.subscriptions_lagging",
            "engine.queue_longest",
            "engine.queue_max",
            "engine.events_missed",
        ],
    ),
];
/// The same of the errors.
const ERRORS: &[&str] = &["error.message", "error.count_total", "error.last_at"];

/// Every field that a check is made of: `table.field`, or the one or the other (`|`).
pub(crate) fn needed() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().flat_map(|(_, needs)| *needs).chain(ERRORS).copied()
}

/// Everything there is to say of a process. Of one that does not run, why that may be: what it shows is of the past.
pub(crate) fn examine(patient: &Patient, others: &[Patient]) -> Vec<Finding> {
    let untold =
        |needs: &[&'static str]| needs.iter().find(|need| patient.now.lacking.contains(*need)).copied();
    let mut findings = vec![life::life(patient, others)];
    if matches!(patient.life, headcount::counters::Life::Running) {
        findings.extend(CHECKS.iter().filter_map(|(check, needs)| {
            let found = check(patient)?;
            Some(untold(needs).map_or_else(|| found.clone(), |need| not_shown(found.check, need)))
        }));
    }
    match untold(ERRORS) {
        Some(need) => findings.push(not_shown(life::ERRORS, need)),
        None => findings.extend(life::errors(patient)),
    }
    findings
}

fn not_shown(check: &'static str, need: &str) -> Finding {
    let (field, _) = need.split_once('|').unwrap_or((need, ""));
    Finding::unknown(check, format!("cannot be told: what runs there does not show {field}"))
        .remedy("use the headcount command of the version that runs there")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn a_healthy_process_passes_every_check() {
        let patient = made::healthy();
        let findings = examine(&patient, std::slice::from_ref(&patient));
        assert_eq!(findings.len(), CHECKS.len() + 2, "{findings:#?}");
        for finding in &findings {
            assert_eq!((finding.status, &finding.remedy), (Status::Ok, &None), "{finding:?}");
        }
    }

    #[test]
    fn a_check_of_something_that_is_not_shown_is_neither_good_nor_bad() {
        let mut patient = made::healthy();
        patient.now.lacking = ["net.receive_drops", "error.last_at"].into();
        let findings = examine(&patient, &[]);
        let unknown: Vec<_> = findings.iter().filter(|finding| finding.status == Status::Unknown).collect();
        assert_eq!(unknown.iter().map(|finding| finding.check).collect::<Vec<_>>(), ["drops", "errors"]);
        assert_eq!(unknown[0].what, "cannot be told: what runs there does not show net.receive_drops");
        assert_eq!(findings.len(), CHECKS.len() + 2, "and the others are made all the same");
    }

    #[test]
    fn what_has_no_cluster_is_examined_without() {
        let mut patient = made::healthy();
        patient.now.node = None;
        let checks: Vec<_> = examine(&patient, &[]).iter().map(|finding| finding.check).collect();
        let expected =
            ["life", "member", "huge-pages", "memory", "shard-room", "hot-shard", "subscriptions", "errors"];
        assert_eq!(checks, expected);
    }
}
