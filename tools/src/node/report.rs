//! NODES and STATS: what the node knows about the cluster and about itself.

use super::host::Host;
use super::producer::{end, push_fmt};
use headcount::{NodeState, Stats};
use headcount_tools::line::push_token;

/// `NODE` lines, this node's among them.
pub(crate) fn nodes(host: &Host, out: &mut Vec<u8>) {
    let members = host.cluster.members();
    let nodes = host.tracker.nodes();
    for node in &nodes {
        let member = members.iter().find(|member| member.node == node.id);
        let state = match node.state {
            NodeState::Local => "local",
            NodeState::Up => "up",
            NodeState::Suspect => "suspect",
            NodeState::Down => "down",
            _ => "unknown",
        };
        // This node has what it has.
        let synced = node.state == NodeState::Local || member.is_some_and(|member| member.synced);
        let name = match node.state {
            NodeState::Local => &host.name,
            _ => &node.name,
        };
        out.extend_from_slice(b"NODE ");
        push_token(out, name.as_bytes());
        push_fmt(out, format_args!(" {} {state} ", node.id));
        match node.heard_age {
            Some(age) => push_fmt(out, format_args!("{}", age.as_millis())),
            None => out.push(b'-'),
        }
        let synced = if synced { "yes" } else { "no" };
        let incarnation = node.incarnation;
        push_fmt(out, format_args!(" entries={} synced={synced} incarnation={incarnation}\n", node.entries));
    }
    end(out, nodes.len() as u64);
}

/// `STAT` lines: the clients' side, the tracker's, and the network's.
pub(crate) fn stats(host: &Host, out: &mut Vec<u8>) {
    let mut count = 0;
    let mut line = |area: &str, name: &str, value: u64| {
        push_fmt(out, format_args!("STAT {area}.{name} {value}\n"));
        count += 1;
    };
    for (name, value) in host.clients.all() {
        line("clients", name, value);
    }
    for (name, value) in tracker(&host.tracker.stats()) {
        line("tracker", name, value);
    }
    for (name, value) in host.cluster.stats().iter() {
        line("net", name, value);
    }
    let network = host.cluster.network();
    let fallback_ms =
        network.fallback.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    for (name, value) in [
        ("multicast", u64::from(network.multicast)),
        ("multicast_lost_ms", fallback_ms),
        ("copies", network.copies as u64),
        ("receive_buffer_asked", network.receive_buffer_asked),
    ] {
        line("network", name, value);
    }
    end(out, count);
}

fn tracker(stats: &Stats) -> [(&'static str, u64); 15] {
    let number = |count: usize| count as u64;
    [
        ("entries", number(stats.entries)),
        ("entries_local", number(stats.entries_local)),
        ("entries_remote", number(stats.entries_remote)),
        ("topics", number(stats.topics)),
        ("sessions", number(stats.sessions)),
        ("subscriptions", number(stats.subscriptions)),
        ("shards", number(stats.shards.len())),
        ("nodes_remote", number(stats.nodes_remote)),
        ("origins_purging", number(stats.origins_purging)),
        ("tracked_total", stats.tracked_total),
        ("updated_total", stats.updated_total),
        ("untracked_total", stats.untracked_total),
        ("remote_operations_total", stats.remote_operations_total),
        ("events_total", stats.events_total),
        ("events_missed_total", stats.events_missed_total),
    ]
}
