//! What gets lost on the way, and what that costs.

use super::super::finding::Finding;
use super::super::patient::Patient;
use super::super::words::{bytes, count, list, percent};

/// Gaps below this many in a second, or this part of the datagrams, are everyday life.
const GAPS_MIN: u64 = 20;
const GAPS_PERCENT: u64 = 5;

/// Datagrams that found a receive buffer full, here and with others.
pub(super) fn drops(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "drops";
    patient.member()?;
    let total = patient.now.net("receive_drops");
    let here = patient.per_second(patient.net_more("receive_drops"));
    let remedy = "more arrives than is taken: see to the receive buffer and to lag above; spread the load over time (Config::flush_after), or \
                  lower Config::send_budget on the nodes that send the most";
    if here > 0 {
        let what = format!(
            "{here} datagrams a second find the receive buffer full ({} so far)",
            count(total, "drop")
        );
        return Some(Finding::problem(CHECK, what).remedy(remedy));
    }
    let more = |peer: &super::super::sample::Peer| {
        let before = patient.before.peers.iter().find(|before| before.id == peer.id)?;
        let more = peer.receive_drops.saturating_sub(before.receive_drops);
        (more > 0).then(|| format!("{} ({} a second)", peer.name, patient.per_second(more)))
    };
    let elsewhere: Vec<_> = patient.now.peers.iter().filter_map(more).collect();
    if !elsewhere.is_empty() {
        let what = format!("others drop what they are sent: {}", list(elsewhere));
        return Some(Finding::warning(CHECK, what).remedy("run `headcount doctor` there"));
    }
    let others: Vec<_> = patient.now.peers.iter().filter(|peer| peer.receive_drops > 0).collect();
    Some(match (total, others.is_empty()) {
        (0, true) => Finding::ok(CHECK, "none"),
        (0, false) => {
            let told = others.iter().map(|peer| format!("{} {}", peer.name, peer.receive_drops));
            Finding::note(CHECK, format!("none here and none now; others had some: {}", list(told)))
        }
        (total, _) => Finding::note(CHECK, format!("none now; {} since it joined", count(total, "drop"))),
    })
}

/// Gaps between the clocks of deltas, which repairs close; and lanes that differed.
pub(super) fn gaps(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "gaps";
    patient.member()?;
    let differing = patient.net_more("digest_mismatches");
    if differing > 0 {
        let what = format!(
            "{} differed from what their owners have just now, and were taken anew",
            count(differing, "lane")
        );
        return Some(Finding::warning(CHECK, what).remedy(
            "run the same version on every node; if it happens again, report it: views must not differ at equal clocks",
        ));
    }
    let gaps = patient.net_more("gaps");
    let share = percent(gaps, patient.net_more("datagrams_received"));
    let told = format!("{} a second ({share} % of what comes)", count(patient.per_second(gaps), "gap"));
    Some(if patient.per_second(gaps) >= GAPS_MIN && share >= GAPS_PERCENT {
        Finding::warning(CHECK, format!("{told}: datagrams get lost or overtake each other on the way")).remedy(
            "look for drops here and on those that send (`ip -s link`, `ethtool -S`), and for a link that is full; repairs mend it, later",
        )
    } else if gaps > 0 {
        Finding::note(CHECK, told)
    } else {
        Finding::ok(CHECK, "none between the clocks of what comes")
    })
}

/// Whether the node may send as much as it is to.
pub(super) fn budget(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "send-budget";
    patient.member()?;
    let budget = bytes(patient.now.net("send_budget"));
    let cuts = patient.now.net("send_budget_cuts");
    let deferred = patient.per_second(patient.net_more("flushes_deferred"));
    Some(if patient.net_more("send_budget_cuts") > 0 {
        Finding::warning(
            CHECK,
            format!(
                "is being cut, to {budget} a second now: members drop or miss much of what they are sent"
            ),
        )
        .remedy("see which of them drop, and mend that there (`headcount doctor` on their machines)")
    } else if deferred > 0 {
        Finding::warning(
            CHECK,
            format!("{budget} a second are too few: changes waited {deferred} times a second"),
        )
        .remedy("raise Config::send_budget if the network bears it, or change less at once")
    } else if cuts > 0 {
        Finding::note(
            CHECK,
            format!("{budget} a second; was cut {} since the node joined", count(cuts, "time")),
        )
    } else {
        Finding::ok(CHECK, format!("{budget} a second, never cut"))
    })
}

/// Whether frames of another node made this one stumble, so that it does not listen to it any more.
pub(super) fn quarantine(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "quarantine";
    patient.member()?;
    let lives = patient.now.net("quarantines");
    let refused = patient.per_second(patient.net_more("quarantined"));
    Some(if refused > 0 {
        let what = format!(
            "a node's frames made this one stumble; {} a second of it are dropped",
            count(refused, "datagram")
        );
        Finding::problem(CHECK, what).remedy(
            "run the same version everywhere and start that node again (the events of `headcount stat` and the peers that are missing \
             here say which); report it with both versions",
        )
    } else if lives > 0 {
        Finding::note(CHECK, format!("nobody who speaks now; {} so far", count(lives, "case")))
    } else {
        Finding::ok(CHECK, "nobody")
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::super::made::{self, found};
    use super::*;

    #[test]
    fn drops_count_most_while_they_happen() {
        let mut patient = made::healthy();
        assert_eq!(found(drops(&patient)), (Status::Ok, "none".into()));
        patient.now.peers[0].receive_drops = 7;
        let expected = "others drop what they are sent: web-2 (7 a second)";
        assert_eq!(found(drops(&patient)), (Status::Warning, expected.into()));
        patient.before.peers[0].receive_drops = 7;
        let expected = "none here and none now; others had some: web-2 7";
        assert_eq!(found(drops(&patient)), (Status::Note, expected.into()));
        patient.set_net("receive_drops", 1, 1);
        assert_eq!(found(drops(&patient)), (Status::Note, "none now; 1 drop since it joined".into()));
        patient.set_net("receive_drops", 1, 41);
        let expected = "40 datagrams a second find the receive buffer full (41 drops so far)";
        assert_eq!(found(drops(&patient)), (Status::Problem, expected.into()));
    }

    #[test]
    fn gaps_are_told_by_their_share() {
        let mut patient = made::healthy();
        assert_eq!(found(gaps(&patient)).0, Status::Ok);
        patient.set_net("gaps", 0, 19);
        assert_eq!(found(gaps(&patient)), (Status::Note, "19 gaps a second (9 % of what comes)".into()));
        patient.set_net("gaps", 0, 30);
        let expected =
            "30 gaps a second (15 % of what comes): datagrams get lost or overtake each other on the way";
        assert_eq!(found(gaps(&patient)), (Status::Warning, expected.into()));
        patient.set_net("datagrams_received", 0, 10_000);
        assert_eq!(found(gaps(&patient)).0, Status::Note, "few of many");
        patient.set_net("digest_mismatches", 0, 1);
        let expected = "1 lane differed from what their owners have just now, and were taken anew";
        assert_eq!(found(gaps(&patient)), (Status::Warning, expected.into()));
    }

    #[test]
    fn who_is_in_quarantine_and_goes_on_speaking_is_a_problem() {
        let mut patient = made::healthy();
        assert_eq!(found(quarantine(&patient)), (Status::Ok, "nobody".into()));
        patient.set_net("quarantines", 1, 1);
        assert_eq!(found(quarantine(&patient)).0, Status::Note);
        patient.set_net("quarantined", 5, 15);
        let expected = "a node's frames made this one stumble; 10 datagrams a second of it are dropped";
        assert_eq!(found(quarantine(&patient)), (Status::Problem, expected.into()));
    }

    #[test]
    fn a_budget_that_is_cut_or_too_small_is_told() {
        let mut patient = made::healthy();
        assert_eq!(found(budget(&patient)), (Status::Ok, "64 MiB a second, never cut".into()));
        patient.set_net("send_budget_cuts", 2, 2);
        let expected = "64 MiB a second; was cut 2 times since the node joined";
        assert_eq!(found(budget(&patient)), (Status::Note, expected.into()));
        patient.set_net("flushes_deferred", 0, 12);
        let expected = "64 MiB a second are too few: changes waited 12 times a second";
        assert_eq!(found(budget(&patient)), (Status::Warning, expected.into()));
        patient.set_net("send_budget_cuts", 2, 3);
        assert_eq!(found(budget(&patient)).0, Status::Warning);
    }
}
