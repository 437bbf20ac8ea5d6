//! Numbers about a node's traffic.

use headcount::counters::Field;

macro_rules! field {
    ($name:ident, $help:expr) => {
        Field::counter(stringify!($name), "", $help)
    };
    ($name:ident, $help:expr, $unit:literal) => {
        Field::gauge(stringify!($name), $unit, $help)
    };
}

/// A name with a unit behind it is a gauge.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident $([$unit:literal])?),* $(,)?) => {
        /// Numbers about a node's traffic, since it joined. Counters, but for `receive_buffer_bytes` and `send_budget`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct NetStats {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl NetStats {
            /// Every number with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

            /// As a counters file describes them.
            pub(crate) const FIELDS: &'static [Field] = &[$(field!($name, concat!($($doc),*) $(, $unit)?)),*];

            #[cfg(any(test, feature = "sim"))]
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Datagrams sent.
    datagrams_sent,
    /// Their bytes, headers of this protocol included.
    bytes_sent,
    /// Datagrams with deltas sent, repairs not counted.
    delta_datagrams_sent,
    /// Their bytes.
    delta_bytes_sent,
    /// Operations told in them, skipped clocks not counted.
    delta_ops_sent,
    /// Datagrams that could not be sent; they are repaired like lost ones.
    send_errors,
    /// Datagrams received, this node's own not counted.
    datagrams_received,
    /// Their bytes.
    bytes_received,
    /// This node's own datagrams that came back to it, as the group sends them to everybody.
    echoes,
    /// Datagrams dropped because they are not well-formed: wrong magic, checksum, or contents.
    malformed,
    /// Datagrams dropped because they are another cluster's, version's or suite's.
    foreign,
    /// Datagrams and streams refused because they are in clear where a key is needed, or sealed with a key that is not installed.
    no_key,
    /// Datagrams and streams refused because their tag is not right: another key, forged, or damaged.
    auth_failed,
    /// Datagrams refused because they are old: of a session that is superseded, or from behind the replay window.
    replayed,
    /// Datagrams not looked at because their source had spent its budget.
    over_budget,
    /// Datagrams of sessions that had not proven themselves; nothing was done with them but a challenge, now and then.
    unproven,
    /// Cookies given to such sessions.
    challenges_sent,
    /// Cookies given back that were not the right ones.
    proofs_refused,
    /// Claims about this node's own lives that were not believed in full.
    implausible,
    /// Times that frames of a node made this one stumble; that life of the node is in quarantine since.
    quarantines,
    /// Datagrams dropped because of a quarantine.
    quarantined,
    /// Datagrams and streams dropped because this node stumbled over them, where nobody is proven to have sent them.
    stumbles,
    /// Frames dropped because they are of a life or session of their node that is not the known one.
    stale,
    /// Datagrams that had come before (repairs that others asked for, copies), and deltas that brought nothing new.
    duplicates,
    /// Deltas that arrived before the ones in front of them.
    gaps,
    /// Waiting deltas dropped because their buffer was full.
    reorder_overflows,
    /// Requests for repair sent.
    naks_sent,
    /// Requests for repair received.
    naks_received,
    /// Datagrams sent again.
    repairs_sent,
    /// Their bytes.
    repair_bytes_sent,
    /// Requests for repair that reached beyond the ring of sent datagrams.
    repairs_beyond_ring,
    /// Snapshots of lanes sent whole.
    snapshot_lanes_sent,
    /// Bytes of snapshots and catch-ups sent.
    snapshot_bytes_sent,
    /// Snapshots of lanes taken whole.
    snapshot_lanes_taken,
    /// Bytes of snapshots and catch-ups received.
    snapshot_bytes_received,
    /// Snapshot transfers that failed and were or will be tried again.
    snapshots_failed,
    /// Snapshot transfers put off because too many were under way.
    snapshots_put_off,
    /// Lanes found to differ from their owner's by digest at an equal clock.
    digest_mismatches,
    /// Deltas and streams of other nodes that were refused, from some operation on, by this node's limits.
    refused_operations,
    /// Nodes refused because as many are known as the configuration allows.
    refused_nodes,
    /// Times this node had to take a higher incarnation because a peer knew a higher one.
    incarnation_jumps,
    /// Nodes declared down.
    downs,
    /// Times this node's own clock stood still for so long that deadlines were put off.
    pauses,
    /// Times a node that this node did not hear was held to be up because others heard it.
    indirect_ups,
    /// Times most other nodes fell silent at once, so that this node held itself for cut off.
    isolations,
    /// Times that no member was heard by multicast any more while members answered by unicast.
    fallbacks,
    /// Datagrams that arrived and found the receive buffer full: lost, and repaired.
    receive_drops,
    /// Errors of the system while receiving; each ends nothing.
    receive_errors,
    /// Lookups of peers' names that failed.
    lookups_failed,
    /// Snapshots of lanes encoded: less than were sent if several nodes asked for the same.
    snapshot_lanes_encoded,
    /// Lanes sent as the operations that a peer had missed, from the log.
    catch_ups_sent,
    /// Lanes taken as the operations that this node had missed.
    catch_ups_taken,
    /// Times that a snapshot stream with room for more had to wait for the budget for bulk.
    bulk_waits,
    /// Times that another node was asked for lanes of one that this node could not ask.
    relays_asked,
    /// Lanes of other nodes handed on to somebody who could not ask their owner.
    relayed_lanes_sent,
    /// Lanes taken through another node than their owner.
    relayed_lanes_taken,
    /// Lanes that another node handed on and that were not taken: older than what was held by then, or not what their owner had.
    relayed_lanes_refused,
    /// Nodes that left and had their entries stay listed for a while.
    handovers,
    /// Receive buffer that the system granted, in bytes.
    receive_buffer_bytes ["bytes"],
    /// Of the datagrams sent again, those that went once to the whole group, because several nodes had asked.
    repairs_to_group,
    /// Times that a node asked for a datagram that another had asked for a moment before: both had it at once.
    repairs_united,
    /// Times that a node asked for a datagram that it had just been sent again: that was on its way.
    repairs_lingering,
    /// Datagrams sent again later than they were due for want of budget, or not until they were asked for once more.
    repairs_deferred,
    /// Requests for repair that were not sent after all, because what was missing came in time: it was late, or others had asked.
    naks_spared,
    /// Times that changes were ready to be told and had to wait for the send budget.
    flushes_deferred,
    /// Times that the send budget was cut, because members dropped or lacked much of what they were sent.
    send_budget_cuts,
    /// Own entries removed because another node asked for it.
    evictions_obeyed,
    /// Questions of other nodes to remove an entry that were refused, because this node does not allow that.
    evictions_refused,
    /// The send budget as it is, in bytes a second.
    send_budget ["bytes/s"],
}
