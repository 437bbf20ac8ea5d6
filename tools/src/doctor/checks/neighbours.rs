//! Processes of one cluster on this machine that ought to know each other.

use super::super::finding::Finding;
use super::super::patient::Patient;
use super::super::words::list;
use std::time::Duration;

/// A process that is younger has perhaps not been met.
const MET_AFTER: Duration = Duration::from_secs(3);
const CHECK: &str = "neighbours";

/// Whether members of the same cluster on this machine know each other; a finding for each cluster with several.
pub(crate) fn neighbours(patients: &[Patient]) -> Vec<Finding> {
    let members = patients.iter().filter(|patient| patient.is_alive() && patient.member().is_some());
    let mut members: Vec<_> = members.filter(|patient| patient.age >= MET_AFTER).collect();
    members.sort_by_key(|patient| (&patient.cluster, &patient.name, patient.pid));
    members.chunk_by(|a, b| a.cluster == b.cluster).filter(|of| of.len() > 1).map(of_cluster).collect()
}

fn of_cluster(members: &[&Patient]) -> Finding {
    let cluster = &members[0].cluster;
    if let Some([one, other, ..]) = members.chunk_by(|a, b| a.name == b.name).find(|same| same.len() > 1) {
        let what = format!(
            "cluster {cluster}: processes {} and {} both call themselves {}",
            one.pid, other.pid, one.name
        );
        return Finding::problem(CHECK, what)
            .remedy("give each node a name of its own (--name): only one of them can be a member under it");
    }
    let knows = |one: &Patient, other: &Patient| one.now.peers.iter().any(|peer| peer.name == other.name);
    let mut strangers = Vec::new();
    for (at, one) in members.iter().enumerate() {
        for other in &members[at + 1..] {
            if !knows(one, other) || !knows(other, one) {
                strangers.push((*one, *other));
            }
        }
    }
    let Some(&(one, other)) = strangers.first() else {
        let names = list(members.iter().map(|patient| &patient.name));
        return Finding::ok(CHECK, format!("cluster {cluster}: {names} know each other"));
    };
    let pairs = strangers.iter().map(|(one, other)| format!("{} and {}", one.name, other.name));
    let what = format!("cluster {cluster}: on this machine, and do not know each other: {}", list(pairs));
    Finding::problem(CHECK, what).remedy(difference(one, other))
}

/// Why two may not know each other, and what to do.
fn difference(one: &Patient, other: &Patient) -> String {
    let keys = |patient: &Patient| match patient.member() {
        Some(node) if node.key_epoch != 0 => format!("seals with the key of epoch {}", node.key_epoch),
        _ => "has no key".to_owned(),
    };
    if one.now.network != other.now.network {
        format!(
            "{} is on {}, {} on {}: give both the same group and interface (--group, --interface), or the same peers",
            one.name, one.now.network, other.name, other.now.network
        )
    } else if keys(one) != keys(other) {
        format!("{} {}, {} {}: give both the same keys", one.name, keys(one), other.name, keys(other))
    } else if one.now.network == "unicast" {
        format!("name one to the other: --peer {} for {}", one.now.address, other.name)
    } else {
        "their group and key epochs are the same: compare the keys themselves, and look for a firewall".into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::super::made;
    use super::*;

    fn pair() -> [Patient; 2] {
        let one = made::healthy();
        let mut other = Patient { name: "web-2".into(), pid: 4243, ..made::healthy() };
        other.now.peers[0].name = "web-1".into();
        [one, other]
    }

    #[test]
    fn members_that_know_each_other_are_well() {
        let found = neighbours(&pair());
        assert_eq!(found, [Finding::ok(CHECK, "cluster chat: web-1, web-2 know each other")]);
        assert_eq!(neighbours(&pair()[..1]), []);
        let mut pair = pair();
        pair[1].cluster = "another".into();
        assert_eq!(neighbours(&pair), []);
    }

    #[test]
    fn what_keeps_members_apart_is_named() {
        let mut pair = pair();
        pair[0].now.peers.remove(0);
        let remedy = |pair: &[Patient]| {
            let [finding] = &neighbours(pair)[..] else { panic!("one cluster") };
            assert_eq!(finding.status, Status::Problem);
            assert_eq!(
                finding.what,
                "cluster chat: on this machine, and do not know each other: web-1 and web-2"
            );
            finding.remedy.clone().unwrap()
        };
        assert!(remedy(&pair).contains("compare the keys themselves"));
        pair[1].set_node(|node| node.key_epoch = 2);
        let expected = "web-1 seals with the key of epoch 1, web-2 seals with the key of epoch 2: give both the same keys";
        assert_eq!(remedy(&pair), expected);
        pair[1].now.network = "multicast 239.255.70.71:7070 on lo".into();
        assert!(
            remedy(&pair)
                .starts_with("web-1 is on multicast 239.255.70.70:7070 on 10.0.0.1, web-2 on multicast ")
        );
        pair[1].age = Duration::from_secs(1);
        assert_eq!(neighbours(&pair), [], "it has just begun");
    }

    #[test]
    fn two_of_one_name_are_a_problem() {
        let pair = [made::healthy(), Patient { pid: 4243, ..made::healthy() }];
        let expected = "cluster chat: processes 4242 and 4243 both call themselves web-1";
        assert_eq!(neighbours(&pair)[0].what, expected);
        assert_eq!(neighbours(&pair)[0].status, Status::Problem);
    }
}
