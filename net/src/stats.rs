//! Numbers about a node's traffic.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Numbers about a node's traffic, since it joined. Counters but for the last one.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct NetStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl NetStats {
            /// Every number with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }

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
    /// Datagrams dropped because they are not well-formed: wrong magic, checksum, or contents.
    malformed,
    /// Datagrams dropped because they are another cluster's, version's or suite's.
    foreign,
    /// Frames dropped because they are of a life or session of their node that is not the known one.
    stale,
    /// Deltas that brought nothing new.
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
    /// Operations of other nodes refused by this node's limits.
    refused_operations,
    /// Nodes refused because as many are known as the configuration allows.
    refused_nodes,
    /// Times this node had to take a higher incarnation because a peer knew a higher one.
    incarnation_jumps,
    /// Nodes declared down.
    downs,
    /// Times this node's own clock stood still for so long that deadlines were put off.
    pauses,
    /// Snapshots of lanes encoded: less than were sent if several nodes asked for the same.
    snapshot_lanes_encoded,
    /// Lanes sent as the operations that a peer had missed, from the log.
    catch_ups_sent,
    /// Lanes taken as the operations that this node had missed.
    catch_ups_taken,
    /// Times that a snapshot stream with room for more had to wait for the budget for bulk.
    bulk_waits,
    /// Receive buffer that the system granted, in bytes.
    receive_buffer_bytes,
}
