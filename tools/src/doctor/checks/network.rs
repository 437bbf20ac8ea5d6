//! What the network gives the node: its group, room for packets, a receive buffer.

use super::super::finding::Finding;
use super::super::patient::Patient;
use super::super::sample::{Peer, state};
use super::super::words::{bytes, list, span};
use crate::number::grouped;
use std::net::SocketAddr;

/// Datagrams for all that should have come back between two looks before their absence means anything.
const ECHOES_MIN: u64 = 5;
/// Headers of IP and UDP.
const HEADERS: [(bool, u64); 2] = [(false, 28), (true, 48)];

/// The group of `multicast GROUP on INTERFACE`.
fn group(network: &str) -> Option<SocketAddr> {
    network.strip_prefix("multicast ")?.split_whitespace().next()?.parse().ok()
}

/// What to do when a group is not passed on.
fn querier_remedy(patient: &Patient) -> String {
    let suspects = patient.system.bridges.iter().filter(|bridge| bridge.snoops && !bridge.queries);
    let here: Vec<_> = suspects
        .map(|bridge| {
            format!(
                "bridge {0} of this machine does: `ip link set dev {0} type bridge mcast_querier 1`; ",
                bridge.name
            )
        })
        .collect();
    format!(
        "likely a switch or bridge snoops IGMP and nobody queries: it forgets who has joined after some minutes. {}turn a querier on in the \
         switch, or snooping off for that network; or do without the group (--bind, --peer)",
        here.concat()
    )
}

/// Whether the group brings what is sent to it.
pub(super) fn multicast(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "multicast";
    let node = patient.member()?;
    let now = &patient.now;
    if !node.multicast {
        return Some(Finding::ok(CHECK, "not used: each node gets its own copy"));
    }
    let group = group(&now.network);
    let named = group.map_or_else(|| "its group".to_owned(), |group| format!("group {}", group.ip()));
    if let (Some(group), Some(joined)) = (group, &patient.system.groups)
        && !joined.contains(&group.ip())
    {
        return Some(Finding::problem(CHECK, format!("{named} is not joined on any interface of the process's network"))
            .remedy("the interface went away or was made anew after the process had joined: start the process again"));
    }
    if let Some(age) = now.ago(node.fallback_since) {
        let what =
            format!("{named} has brought nothing from others for {}; they answer by unicast", span(age));
        return Some(Finding::problem(CHECK, what).remedy(querier_remedy(patient)));
    }
    if patient.net_more("echoes") == 0 && patient.net_more("datagrams_sent") >= ECHOES_MIN {
        let ever = if now.net("echoes") == 0 { "never came back" } else { "do not come back any more" };
        return Some(Finding::problem(CHECK, format!("this node's own datagrams to {named} {ever}")).remedy(format!(
            "look for a firewall that drops them (`nft list ruleset`, `iptables -L`), and whether the interface has multicast (`ip link`) and a \
             route for the group (`ip route get {}`)",
            group.map_or_else(|| "GROUP".to_owned(), |group| group.ip().to_string())
        )));
    }
    let is_heard = |peer: &&Peer| {
        peer.state == state::UP
            && now.ago(peer.heard_at).is_some_and(|age| age.as_nanos() <= node.suspect_after.into())
    };
    let long_ago = |at: u64| now.now.saturating_sub(at) > node.down_after;
    let is_missed = |peer: &&Peer| long_ago(peer.group_heard_at) && long_ago(peer.state_since);
    let missed: Vec<_> = now.peers.iter().filter(is_heard).filter(is_missed).map(|peer| &peer.name).collect();
    if !missed.is_empty() {
        let what = format!("not heard by {named}, but by unicast: {}", list(missed));
        return Some(Finding::warning(CHECK, what).remedy(querier_remedy(patient)));
    }
    let copied: Vec<_> = now.peers.iter().filter(|peer| peer.copied).map(|peer| &peer.name).collect();
    if !copied.is_empty() {
        let what = format!("{named} does not get to all: copies go to {}", list(copied));
        return Some(Finding::warning(CHECK, what).remedy(querier_remedy(patient)));
    }
    let others = if now.peers.is_empty() { "" } else { ", and others are" };
    Some(Finding::ok(CHECK, format!("{named}: its own datagrams are heard{others}")))
}

/// Whether datagrams fit into packets.
pub(super) fn mtu(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "mtu";
    let node = patient.member()?;
    let is_six = patient.now.address.starts_with('[');
    let headers = HEADERS.iter().find(|(six, _)| *six == is_six).map_or(0, |(_, bytes)| *bytes);
    let packet = node.datagram_max + headers;
    let what = format!("packets of {} bytes", grouped(packet));
    Some(match node.interface_mtu {
        0 => Finding::unknown(CHECK, format!("{what}; how many the interface takes is not known (`ip link`)")),
        mtu if packet > mtu => {
            Finding::warning(CHECK, format!("{what}, the interface takes {}: each is sent in pieces", grouped(mtu))).remedy(
                format!(
                    "raise it on every node and switch in between (`ip link set dev INTERFACE mtu {packet}`), or let datagrams be smaller \
                     (Config::datagram_size)"
                ),
            )
        }
        mtu => Finding::ok(CHECK, format!("{what}, the interface takes {}", grouped(mtu))),
    })
}

/// Whether the system granted the receive buffer.
pub(super) fn receive_buffer(patient: &Patient) -> Option<Finding> {
    const CHECK: &str = "receive-buffer";
    let node = patient.member()?;
    let (asked, granted) = (node.receive_buffer_asked, node.receive_buffer);
    if granted >= asked {
        return Some(Finding::ok(CHECK, format!("{} granted, as asked", bytes(granted))));
    }
    let what = format!("{} granted, {} asked for", bytes(granted), bytes(asked));
    let enough = patient.system.receive_buffer_max.is_some_and(|max| max >= asked);
    let remedy = if enough {
        "the system would grant it now: start the process again".to_owned()
    } else {
        format!(
            "`sysctl -w net.core.rmem_max={asked}`, and the line `net.core.rmem_max={asked}` in /etc/sysctl.d/90-headcount.conf to keep it; then \
             start the process again"
        )
    };
    let is_dropping = patient.net_more("receive_drops") > 0;
    let finding = if is_dropping { Finding::problem(CHECK, what) } else { Finding::warning(CHECK, what) };
    Some(finding.remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::super::super::system::Bridge;
    use super::super::made::{self, S};
    use super::*;

    fn found(finding: &Finding) -> (Status, &str) {
        (finding.status, &finding.what)
    }

    #[test]
    fn a_group_that_works_is_heard_from_itself_and_others() {
        let mut patient = made::healthy();
        let finding = multicast(&patient).unwrap();
        let expected = "group 239.255.70.70: its own datagrams are heard, and others are";
        assert_eq!(found(&finding), (Status::Ok, expected));
        patient.set_node(|node| node.multicast = false);
        let finding = multicast(&patient).unwrap();
        assert_eq!(found(&finding), (Status::Ok, "not used: each node gets its own copy"));
    }

    #[test]
    fn own_datagrams_that_do_not_come_back_are_a_problem() {
        let mut patient = made::healthy();
        patient.set_net("echoes", 0, 0);
        let finding = multicast(&patient).unwrap();
        let expected = "this node's own datagrams to group 239.255.70.70 never came back";
        assert_eq!(found(&finding), (Status::Problem, expected));
        assert!(finding.remedy.unwrap().contains("`ip route get 239.255.70.70`"));
        patient.set_net("echoes", 9, 9);
        let expected = "this node's own datagrams to group 239.255.70.70 do not come back any more";
        assert_eq!(found(&multicast(&patient).unwrap()), (Status::Problem, expected));
        // Nothing was sent that could have.
        patient.set_net("datagrams_sent", 9, 9);
        assert_eq!(multicast(&patient).unwrap().status, Status::Ok);
        patient.system.groups = Some(Vec::new());
        let expected = "group 239.255.70.70 is not joined on any interface of the process's network";
        assert_eq!(found(&multicast(&patient).unwrap()), (Status::Problem, expected));
    }

    #[test]
    fn a_group_that_others_are_not_heard_by_raises_the_suspicion_of_a_missing_querier() {
        let mut patient = made::healthy();
        let now = patient.now.now;
        patient.now.peers[1].group_heard_at = now - 4 * S;
        let bridge = |name: &str, snoops, queries| Bridge { name: name.into(), snoops, queries };
        patient.system.bridges = vec![bridge("br0", true, false), bridge("br1", true, true)];
        let finding = multicast(&patient).unwrap();
        let expected = "not heard by group 239.255.70.70, but by unicast: web-3";
        assert_eq!(found(&finding), (Status::Warning, expected));
        let remedy = finding.remedy.unwrap();
        assert!(remedy.contains("`ip link set dev br0 type bridge mcast_querier 1`"), "{remedy}");
        assert!(!remedy.contains("br1"), "{remedy}");
        // It was met a moment ago.
        patient.now.peers[1].state_since = now - S;
        assert_eq!(multicast(&patient).unwrap().status, Status::Ok);
        patient.now.peers[0].copied = true;
        let expected = "group 239.255.70.70 does not get to all: copies go to web-2";
        assert_eq!(found(&multicast(&patient).unwrap()), (Status::Warning, expected));
        patient.set_node(|node| node.fallback_since = now - 9 * S);
        let expected =
            "group 239.255.70.70 has brought nothing from others for 9.0 s; they answer by unicast";
        assert_eq!(found(&multicast(&patient).unwrap()), (Status::Problem, expected));
    }

    #[test]
    fn datagrams_are_weighed_with_their_headers() {
        let mut patient = made::healthy();
        let expected = "packets of 1,452 bytes, the interface takes 1,500";
        assert_eq!(found(&mtu(&patient).unwrap()), (Status::Ok, expected));
        patient.now.address = "[fd00::1]:40000".into();
        patient.set_node(|node| (node.datagram_max, node.interface_mtu) = (1452, 1500));
        assert_eq!(mtu(&patient).unwrap().status, Status::Ok, "just");
        patient.set_node(|node| node.datagram_max = 1453);
        let finding = mtu(&patient).unwrap();
        let expected = "packets of 1,501 bytes, the interface takes 1,500: each is sent in pieces";
        assert_eq!(found(&finding), (Status::Warning, expected));
        assert!(finding.remedy.unwrap().contains("mtu 1501"));
        patient.set_node(|node| node.interface_mtu = 0);
        assert_eq!(mtu(&patient).unwrap().status, Status::Unknown);
    }

    #[test]
    fn a_small_receive_buffer_has_its_sysctl_line_and_is_worse_while_it_drops() {
        let mut patient = made::healthy();
        assert_eq!(found(&receive_buffer(&patient).unwrap()), (Status::Ok, "8 MiB granted, as asked"));
        patient.set_node(|node| node.receive_buffer = 212_992);
        patient.system.receive_buffer_max = Some(212_992);
        let finding = receive_buffer(&patient).unwrap();
        assert_eq!(found(&finding), (Status::Warning, "212,992 bytes granted, 8 MiB asked for"));
        assert!(finding.remedy.unwrap().starts_with("`sysctl -w net.core.rmem_max=8388608`"));
        patient.system.receive_buffer_max = Some(16 << 20);
        let finding = receive_buffer(&patient).unwrap();
        assert_eq!(finding.remedy.unwrap(), "the system would grant it now: start the process again");
        patient.set_net("receive_drops", 3, 4);
        assert_eq!(receive_buffer(&patient).unwrap().status, Status::Problem);
    }
}
