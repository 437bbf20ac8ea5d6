//! The other nodes: who is there, who hears whom, what is missing here, and whose keys differ.

use super::super::finding::Finding;
use super::super::hearing::{Fault, Matrix};
use super::super::patient::Patient;
use super::super::sample::{Peer, state};
use super::super::words::{count, list, span};

/// Whether the others are up.
pub(super) fn peers(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "peers";
    patient.member()?;
    let now = &patient.now;
    let of = |wanted: u64| now.peers.iter().filter(move |peer| peer.state == wanted);
    let told = |wanted: u64, what: &str| {
        let names: Vec<_> = of(wanted)
            .map(|peer| {
                format!("{} (for {})", peer.name, span(now.ago(peer.state_since).unwrap_or_default()))
            })
            .collect();
        (!names.is_empty()).then(|| format!("{what}: {}", list(names)))
    };
    let parts = [
        told(state::DOWN, "down"),
        told(state::SUSPECT, "suspect"),
        told(state::INDIRECT, "heard by others only"),
        told(state::LEAVING, "leaving"),
    ];
    let what = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if let Some(down) = of(state::DOWN).next() {
        return Some(Finding::problem(CHECK, what).remedy(format!(
            "see whether {} still runs, at {}: start it again, or look at the network in between. One that left without a word is listed for \
             20 minutes; Cluster::leave says goodbye",
            down.name, down.addr
        )));
    }
    if of(state::SUSPECT).next().is_some() {
        return Some(
            Finding::warning(CHECK, what).remedy("look again in a few seconds: it is back or down by then"),
        );
    }
    if let Some(indirect) = of(state::INDIRECT).next() {
        return Some(Finding::warning(CHECK, what).remedy(format!(
            "the way from {} to this machine is broken, others hear it: look at firewalls and routes between the two",
            indirect.addr
        )));
    }
    let up = of(state::UP).count() as u64;
    Some(if !what.is_empty() {
        Finding::note(CHECK, format!("{}; {what}", count(up, "other node")))
    } else if up == 0 {
        Finding::note(CHECK, "no other node is known").remedy(
            "if there ought to be some: cluster, group, interface and keys have to be the same on all, and a firewall has to let UDP in from them",
        )
    } else {
        Finding::ok(CHECK, format!("{}, all up", count(up, "other node")))
    })
}

/// Whether those who hear each other do so both ways. What is seen in both looks counts: one alone may be a pause.
pub(super) fn links(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "links";
    let node = patient.member()?;
    if patient.now.peers.is_empty() {
        return None;
    }
    let named = |sample| {
        let matrix = Matrix::of(&patient.name, node, sample);
        let name = |at: usize| matrix.names[at].clone();
        let faults = matrix.faults().into_iter().map(|fault| match fault {
            Fault::OneWay(hears, is_deaf) => (true, name(hears), name(is_deaf)),
            Fault::Cut(a, b) => (false, name(a), name(b)),
        });
        faults.collect::<Vec<_>>()
    };
    let earlier = named(&patient.before);
    let lasting: Vec<_> = named(&patient.now).into_iter().filter(|fault| earlier.contains(fault)).collect();
    let one_way = lasting
        .iter()
        .filter(|fault| fault.0)
        .map(|(_, hears, deaf)| format!("{hears} hears {deaf}, and not the other way"));
    let cut = lasting
        .iter()
        .filter(|fault| !fault.0)
        .map(|(_, a, b)| format!("{a} and {b} do not hear each other"));
    if let Some((_, hears, deaf)) = lasting.iter().find(|fault| fault.0) {
        return Some(Finding::problem(CHECK, format!("one-way: {}", list(one_way.chain(cut)))).remedy(format!(
            "what {hears} sends does not get to {deaf}: look on {deaf} for a firewall that drops UDP, for reverse-path filtering (`sysctl \
             net.ipv4.conf.all.rp_filter`), and for the group (`ip maddr`)"
        )));
    }
    if let Some((_, a, b)) = lasting.first() {
        return Some(
            Finding::warning(CHECK, list(cut))
                .remedy(format!("others pass on what the two say; look at the network between {a} and {b}")),
        );
    }
    Some(Finding::ok(CHECK, "no one-way link is known"))
}

/// Whether all that others are known to have said is here.
pub(super) fn lanes(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "lanes";
    patient.member()?;
    let before = |peer: &Peer| patient.before.peers.iter().find(|other| other.id == peer.id && !other.synced);
    // A moment behind is everyday life under load.
    let behind = patient.now.peers.iter().filter(|peer| !peer.synced && peer.state != state::DOWN);
    let lasting: Vec<_> = behind.filter_map(|peer| before(peer).map(|before| (before, peer))).collect();
    if lasting.is_empty() {
        return Some(Finding::ok(CHECK, "everything that others are known to have said is here"));
    }
    let told = lasting.iter().map(|(_, peer)| {
        let lanes = count(peer.lanes_behind, "lane");
        let stream = match peer.lanes_streaming {
            0 => String::new(),
            streaming => format!(", {streaming} by stream"),
        };
        format!("{} by {} in {lanes}{stream}", peer.name, count(peer.operations_behind, "operation"))
    });
    let what = format!("behind {}", list(told));
    let is_stuck = |(before, peer): &&(&Peer, &Peer)| {
        peer.operations_behind >= before.operations_behind && peer.lanes_behind >= before.lanes_behind
    };
    Some(match lasting.iter().find(is_stuck) {
        None => Finding::note(CHECK, format!("{what}; catching up")),
        Some((_, peer)) => Finding::warning(CHECK, format!("{what}; not less than {} before", span(patient.between)))
            .remedy(format!(
                "if it stays so: streams come by TCP from {}, which a firewall may drop while UDP passes; drops and the send budget hold repairs \
                 up as well",
                peer.addr
            )),
    })
}

/// Whether all have the same keys.
pub(super) fn keys(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "keys";
    let node = patient.member()?;
    // One that was met just now has not said yet.
    let is_known = |peer: &&Peer| peer.state != state::DOWN && !peer.key_epochs.is_empty();
    let peers = || patient.now.peers.iter().filter(is_known);
    if node.key_epoch == 0 && peers().next().is_none() {
        return Some(Finding::ok(CHECK, "no node has keys"));
    }
    let words = |epochs: &[u16]| match epochs {
        [] => "none".to_owned(),
        epochs => epochs.iter().map(u16::to_string).collect::<Vec<_>>().join(" "),
    };
    let told = |peers: &[&Peer]| {
        list(peers.iter().map(|peer| format!("{} has {}", peer.name, words(&peer.key_epochs))))
    };
    let own = words(&node.key_epochs);
    let locked: Vec<_> = peers()
        .filter(|peer| {
            u16::try_from(node.key_epoch).is_ok_and(|epoch| epoch != 0 && !peer.key_epochs.contains(&epoch))
        })
        .collect();
    if !locked.is_empty() {
        let what =
            format!("seals with the key of epoch {}, which not all have: {}", node.key_epoch, told(&locked));
        return Some(Finding::problem(CHECK, what).remedy(format!(
            "install the key of epoch {} on {} (Cluster::install_keys), or seal with one that all have (use_key)",
            node.key_epoch,
            list(locked.iter().map(|peer| &peer.name))
        )));
    }
    let set = |epochs: &[u16]| epochs.iter().copied().collect::<std::collections::BTreeSet<_>>();
    let other: Vec<_> = peers().filter(|peer| set(&peer.key_epochs) != set(&node.key_epochs)).collect();
    Some(if other.is_empty() {
        Finding::ok(CHECK, format!("all have the keys of epochs {own}"))
    } else {
        Finding::warning(CHECK, format!("epochs differ: this node has {own}, {}", told(&other))).remedy(
            "a change of keys is under way, or was not finished: install_keys on every node, then use_key on every node, then remove_key of the old",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::super::super::sample::Pair;
    use super::super::made::{self, MS, S, found};
    use super::*;

    #[test]
    fn peers_that_are_down_suspect_or_not_heard_are_named() {
        let mut patient = made::healthy();
        assert_eq!(found(peers(&patient)), (Status::Ok, "2 other nodes, all up".into()));
        let mut of = |states: [u64; 2]| {
            for (peer, state) in patient.now.peers.iter_mut().zip(states) {
                (peer.state, peer.state_since) = (state, patient.now.now - 3 * S);
            }
            peers(&patient)
        };
        let finding = of([state::DOWN, state::SUSPECT]).unwrap();
        let expected = "down: web-2 (for 3.0 s); suspect: web-3 (for 3.0 s)";
        assert_eq!((finding.status, finding.what.as_str()), (Status::Problem, expected));
        assert!(finding.remedy.unwrap().contains("whether web-2 still runs, at 10.0.0.2:40000"));
        assert_eq!(
            found(of([state::UP, state::SUSPECT])),
            (Status::Warning, "suspect: web-3 (for 3.0 s)".into())
        );
        let expected = (Status::Warning, "heard by others only: web-2 (for 3.0 s)".into());
        assert_eq!(found(of([state::INDIRECT, state::UP])), expected);
        let expected = (Status::Note, "1 other node; leaving: web-2 (for 3.0 s)".into());
        assert_eq!(found(of([state::LEAVING, state::UP])), expected);
        patient.now.peers.clear();
        assert_eq!(found(peers(&patient)), (Status::Note, "no other node is known".into()));
    }

    #[test]
    fn a_link_is_one_way_if_it_is_in_both_looks() {
        let mut patient = made::healthy();
        let deaf = |sample: &mut super::super::super::sample::Sample, listener, speaker| {
            sample.pairs.retain(|pair| (pair.listener, pair.speaker) != (listener, speaker));
            let said_at = sample.now - 50 * MS;
            sample.pairs.push(Pair { listener, speaker, silence: u64::MAX, said_at });
        };
        deaf(&mut patient.now, 3, 2);
        assert_eq!(found(links(&patient)), (Status::Ok, "no one-way link is known".into()));
        deaf(&mut patient.before, 3, 2);
        let finding = links(&patient).unwrap();
        let expected = "one-way: web-2 hears web-3, and not the other way";
        assert_eq!((finding.status, finding.what.as_str()), (Status::Problem, expected));
        assert!(finding.remedy.unwrap().starts_with("what web-2 sends does not get to web-3"));
        deaf(&mut patient.now, 2, 3);
        deaf(&mut patient.before, 2, 3);
        assert_eq!(
            found(links(&patient)),
            (Status::Warning, "web-2 and web-3 do not hear each other".into())
        );
    }

    #[test]
    fn lanes_that_stay_behind_are_told_from_those_that_catch_up() {
        let mut patient = made::healthy();
        let mut of = |before: u64, now: u64| {
            for (sample, behind) in [(&mut patient.before, before), (&mut patient.now, now)] {
                let peer = &mut sample.peers[0];
                (peer.synced, peer.lanes_behind, peer.operations_behind) = (behind == 0, 2, behind);
            }
            lanes(&patient)
        };
        assert_eq!(found(of(0, 70)).0, Status::Ok, "just now");
        let expected = "behind web-2 by 70 operations in 2 lanes; catching up";
        assert_eq!(found(of(90, 70)), (Status::Note, expected.into()));
        let finding = of(70, 70).unwrap();
        let expected = "behind web-2 by 70 operations in 2 lanes; not less than 1.0 s before";
        assert_eq!((finding.status, finding.what.as_str()), (Status::Warning, expected));
        assert!(finding.remedy.unwrap().contains("TCP from 10.0.0.2:40000"));
    }

    #[test]
    fn keys_that_differ_are_told_and_worse_if_somebody_cannot_read() {
        let mut patient = made::healthy();
        assert_eq!(found(keys(&patient)), (Status::Ok, "all have the keys of epochs 1".into()));
        patient.now.peers[1].key_epochs = vec![2, 1];
        let expected = "epochs differ: this node has 1, web-3 has 2 1";
        assert_eq!(found(keys(&patient)), (Status::Warning, expected.into()));
        patient.now.peers[1].key_epochs = vec![2];
        let finding = keys(&patient).unwrap();
        let expected = "seals with the key of epoch 1, which not all have: web-3 has 2";
        assert_eq!((finding.status, finding.what.as_str()), (Status::Problem, expected));
        assert!(finding.remedy.unwrap().starts_with("install the key of epoch 1 on web-3 "));
        patient.set_node(|node| (node.key_epoch, node.key_epochs) = (0, Vec::new()));
        patient.now.peers.iter_mut().for_each(|peer| peer.key_epochs.clear());
        assert_eq!(found(keys(&patient)), (Status::Ok, "no node has keys".into()));
    }
}
