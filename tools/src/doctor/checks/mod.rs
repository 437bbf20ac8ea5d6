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

/// In the order in which they are told.
const CHECKS: [Check; 19] = [
    life::member,
    life::isolation,
    cluster::peers,
    cluster::links,
    cluster::lanes,
    cluster::keys,
    network::multicast,
    network::mtu,
    network::receive_buffer,
    traffic::drops,
    traffic::gaps,
    traffic::budget,
    traffic::quarantine,
    life::lag,
    tracker::huge_pages,
    tracker::memory,
    tracker::shard_room,
    tracker::hot_shard,
    tracker::subscriptions,
];

/// Everything there is to say of a process. Of one that does not run, why that may be: what it shows is of the past.
pub(crate) fn examine(patient: &Patient, others: &[Patient]) -> Vec<Finding> {
    let mut findings = vec![life::life(patient, others)];
    if matches!(patient.life, headcount::counters::Life::Running) {
        findings.extend(CHECKS.iter().filter_map(|check| check(patient)));
    }
    findings.extend(life::errors(patient));
    findings
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
    fn what_has_no_cluster_is_examined_without() {
        let mut patient = made::healthy();
        patient.now.node = None;
        let checks: Vec<_> = examine(&patient, &[]).iter().map(|finding| finding.check).collect();
        let expected =
            ["life", "member", "huge-pages", "memory", "shard-room", "hot-shard", "subscriptions", "errors"];
        assert_eq!(checks, expected);
    }
}
