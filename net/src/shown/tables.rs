//! The tables.

use crate::stats::NetStats;
use headcount::counters::{Field, Schema};

/// Other nodes that are shown.
pub(crate) const PEERS_SHOWN: usize = 256;
/// Pairs of nodes of which it is shown how long ago one heard the other.
pub(crate) const PAIRS_SHOWN: usize = 4096;

pub(crate) const NODE: Schema = Schema {
    name: "node",
    help: "This node of its cluster.",
    fields: &[
        Field::gauge("id", "", "The node's id."),
        Field::gauge("epoch", "", "The epoch of its present life."),
        Field::gauge("status", "", "1 listening, 2 running, 3 left, 4 stopped by itself."),
        Field::gauge("members", "nodes", "Other nodes known that are not down."),
        Field::gauge("multicast", "", "1 if datagrams for all go to a group."),
        Field::gauge("copies", "nodes", "Nodes that get a copy of their own of each datagram for all."),
        Field::gauge("fallback_since", "unix ns", "Since when the group does not work; 0 if it does."),
        Field::gauge(
            "stale_since",
            "unix ns",
            "Since when most others are out of hearing; 0 if they are not.",
        ),
        Field::gauge("patience", "thousandths", "How much longer than configured silence is borne."),
        Field::gauge("receive_buffer_asked", "bytes", "Receive buffer asked for."),
        Field::gauge("receive_buffer", "bytes", "Receive buffer granted."),
        Field::gauge("datagram_max", "bytes", "Bytes of a datagram at the most, without IP and UDP headers."),
        Field::gauge("interface_mtu", "bytes", "The interface's largest packet; 0 if it is not known."),
        Field::gauge("key_epoch", "", "The epoch of the key that it seals with; 0 without keys."),
        Field::text("key_epochs", 64, "The epochs of the keys that it has."),
        Field::gauge("heartbeat", "ns", "Configured time between two heartbeats."),
        Field::gauge("suspect_after", "ns", "Configured silence after which a node is suspect."),
        Field::gauge("down_after", "ns", "Configured silence after which a node is down."),
    ],
};

pub(crate) const NET: Schema =
    Schema { name: "net", help: "This node's traffic since it joined.", fields: NetStats::FIELDS };

pub(crate) const TIMES: Schema = Schema {
    name: "times",
    help: "How long things take on this node.",
    fields: &[
        Field::histogram(
            "visible",
            "ns",
            "From a change here to the last member's word that it shows it; probed, those not in probes_lost_total.",
        ),
        Field::histogram("apply", "ns", "To handle a datagram that came."),
        Field::histogram("repair", "ns", "From a gap noticed to the gap closed."),
        Field::histogram(
            "flush",
            "ns",
            "From when the network thread sees changes wait to their datagram: not from when they were made.",
        ),
        Field::histogram("loop_lag", "ns", "How late the network thread did what was due, once a turn."),
        Field::histogram("snapshot", "ns", "To take the lanes of a member by stream."),
        Field::counter(
            "probes_lost_total",
            "probes",
            "Probes that some member did not answer within 2 s: changes were not shown everywhere by then.",
        ),
    ],
};

pub(crate) const PEER: Schema = Schema {
    name: "peer",
    help: "Another node of the cluster, as this one hears it.",
    fields: &[
        Field::text("name", 64, "Its name."),
        Field::text("addr", 56, "Where its datagrams come from."),
        Field::gauge("id", "", "Its id."),
        Field::gauge("epoch", "", "The epoch of its present life."),
        Field::gauge("state", "", "1 up, 2 heard by others only, 3 suspect, 4 leaving, 5 down."),
        Field::gauge("state_since", "unix ns", "Since when it is in that state."),
        Field::gauge("heard_at", "unix ns", "When it was heard last."),
        Field::gauge("group_heard_at", "unix ns", "When it was last heard by the group; 0 if never."),
        Field::gauge("synced", "", "1 if everything that it is known to have said is here."),
        Field::gauge("entries", "entries", "Its entries here, hidden ones included."),
        Field::gauge("lanes", "lanes", "Its lanes."),
        Field::gauge("lanes_behind", "lanes", "Its lanes of which something is missing here."),
        Field::gauge(
            "operations_behind",
            "operations",
            "Operations of it that are known of and missing here.",
        ),
        Field::gauge("lanes_streaming", "lanes", "Its lanes that wait for a stream, or come by one."),
        Field::gauge(
            "receive_drops_total",
            "datagrams",
            "Datagrams that it lost for want of room, as it says.",
        ),
        Field::gauge("copied", "", "1 if it gets copies of what is sent to the group."),
        Field::text("key_epochs", 64, "The epochs of the keys that it has, as it says."),
    ],
};

pub(crate) const PAIR: Schema = Schema {
    name: "hearing",
    help: "How long ago one node heard another, as it says itself.",
    fields: &[
        Field::gauge("listener", "", "The id of the node that hears."),
        Field::gauge("speaker", "", "The id of the node that is heard."),
        Field::gauge(
            "silence",
            "ns",
            "How long it had not heard it when it said so; 2^64 - 1: for longer than can be said.",
        ),
        Field::gauge("said_at", "unix ns", "When this node was told."),
    ],
};
