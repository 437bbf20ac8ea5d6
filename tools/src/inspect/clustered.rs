//! For tests: counters as a node of a cluster has them, without the cluster.

use headcount::counters::{Counters, Field, Schema};
use std::time::{Duration, SystemTime};

const NODE: Schema = Schema {
    name: "node",
    help: "This node of its cluster.",
    fields: &[
        Field::gauge("id", "", "The node's id."),
        Field::gauge("status", "", "1 listening, 2 running, 3 left, 4 stopped by itself."),
        Field::gauge("members", "nodes", "Other nodes known that are not down."),
        Field::gauge(
            "stale_since",
            "unix ns",
            "Since when most others are out of hearing; 0 if they are not.",
        ),
        Field::text("key_epochs", 64, "The epochs of the keys that it has."),
    ],
};
const TIMES: Schema = Schema {
    name: "times",
    help: "How long things take on this node.",
    fields: &[
        Field::histogram("visible", "ns", "From a change to the word of a member that it shows it."),
        Field::histogram("loop_lag", "ns", "How late a turn of the network thread began."),
    ],
};
const PEER: Schema = Schema {
    name: "peer",
    help: "Another node of the cluster, as this one hears it.",
    fields: &[
        Field::text("name", 64, "Its name."),
        Field::text("addr", 56, "Where its datagrams come from."),
        Field::gauge("id", "", "Its id."),
        Field::gauge("state", "", "1 up, 2 heard by others only, 3 suspect, 4 leaving, 5 down."),
        Field::gauge("state_since", "unix ns", "Since when it is in that state."),
        Field::gauge("heard_at", "unix ns", "When it was heard last."),
        Field::gauge("entries", "entries", "Its entries here."),
        Field::gauge("operations_behind", "operations", "Operations of it that are missing here."),
    ],
};
const PAIR: Schema = Schema {
    name: "hearing",
    help: "How long ago one node heard another, as it says itself.",
    fields: &[
        Field::gauge("listener", "", "The id of the node that hears."),
        Field::gauge("speaker", "", "The id of the node that is heard."),
        Field::gauge("silence", "ns", "How long it had not heard it; 2^64 - 1: for longer than can be said."),
    ],
};
const NET: Schema = Schema {
    name: "net",
    help: "The node's traffic.",
    fields: &[
        Field::counter("datagrams_sent", "", "Datagrams sent."),
        Field::counter("bytes_sent", "", "Their bytes."),
        Field::counter("gaps", "", "Gaps."),
    ],
};
/// A table that no program knows yet.
const LATER: Schema = Schema {
    name: "weather",
    help: "What a later version counts.",
    fields: &[Field::counter("storms_total", "storms", "Storms."), Field::gauge("wind", "", "Wind.")],
};

/// A node with two peers, one of them down for five minutes; both were heard two minutes ago.
pub(crate) fn clustered(counters: &Counters) {
    let now = SystemTime::now();
    let ago = |seconds| {
        let then = (now - Duration::from_secs(seconds)).duration_since(SystemTime::UNIX_EPOCH);
        then.map_or(0, |then| then.as_nanos() as u64)
    };
    counters.set_fact("node", "web-1");
    counters.set_fact("cluster", "chat");
    let node = counters.table(&NODE, 1).row(0);
    for (name, value) in [("id", 1), ("status", 2), ("members", 1)] {
        node.number(name).set(value);
    }
    node.text("key_epochs").set("1 2");
    node.show();
    let peers = counters.table(&PEER, 256);
    for (at, name, state, seconds) in [(0, "web-2", 1, 620), (1, "web-3", 5, 320)] {
        let row = peers.row(at);
        row.text("name").set(name);
        row.text("addr").set(&format!("127.0.0.1:700{at}"));
        row.number("id").set(at as u64 + 2);
        row.number("state").set(state);
        row.number("state_since").set(ago(seconds));
        row.number("heard_at").set(ago(130));
        row.number("entries").set(16_766);
        row.number("operations_behind").set(at as u64 * 7);
        row.show();
    }
    let pairs = counters.table(&PAIR, 16);
    for (at, listener, speaker, silence) in [(0, 1, 2, 1_500_000), (1, 2, 9, u64::MAX)] {
        let row = pairs.row(at);
        for (name, value) in [("listener", listener), ("speaker", speaker), ("silence", silence)] {
            row.number(name).set(value);
        }
        row.show();
    }
    let times = counters.table(&TIMES, 1).row(0);
    (0..100).for_each(|_| times.histogram("visible").record(284_000));
    times.show();
    let net = counters.table(&NET, 1).row(0);
    net.number("datagrams_sent").add(1204);
    net.number("bytes_sent").add(99);
    net.show();
    let later = counters.table(&LATER, 1).row(0);
    later.number("storms_total").add(3);
    later.show();
}
