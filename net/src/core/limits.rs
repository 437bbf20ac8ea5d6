//! Bounds of what a core keeps and of what it does at a time. Not for users to set: a simulation makes them small, so that a short
//! run reaches them all.

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sent datagrams kept for repairs.
    pub(crate) ring_datagrams: usize,
    /// Their bytes.
    pub(crate) ring_bytes: usize,
    /// Datagram bytes that may wait for what is in front of them, for one member.
    pub(crate) waiting_bytes: usize,
    /// Clocks of one lane taken from the tracker at a time.
    pub(crate) clocks_per_delta: usize,
    /// Datagrams sent in one flush, so that what comes in has its turn.
    pub(crate) datagrams_per_flush: usize,
    /// A chunk of a snapshot. It must have room for any one entry.
    pub(crate) chunk_bytes: usize,
    /// Bytes of a snapshot handed to the driver at a time.
    pub(crate) portion_bytes: usize,
    /// Snapshot streams taken at once.
    pub(crate) fetches: usize,
    /// Snapshot streams given at once; more are asked to come back.
    pub(crate) serves: usize,
    /// Bytes of encoded lanes kept for askers to come, beside what those that are there have yet to read.
    pub(crate) shared_bytes: usize,
    /// Bytes given over streams in a second, all of them together, and in one go: so that they leave the rest its share.
    pub(crate) bulk_bytes_per_s: u64,
    pub(crate) bulk_burst: u64,
    /// Bytes sent in datagrams in a second, at most: see [`budget`](super::budget).
    pub(crate) send_bytes_per_s: u64,
}

/// What [`Limits::send_bytes_per_s`] is if nothing is configured.
pub(crate) const SEND_BYTES_PER_S: usize = 64 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_datagrams: 16 * 1024,
            ring_bytes: 8 * 1024 * 1024,
            waiting_bytes: 2 * 1024 * 1024,
            clocks_per_delta: 1024,
            datagrams_per_flush: 64,
            chunk_bytes: crate::wire::CHUNK_BUDGET,
            portion_bytes: 256 * 1024,
            fetches: 4,
            serves: 4,
            shared_bytes: 64 * 1024 * 1024,
            bulk_bytes_per_s: 256 * 1024 * 1024,
            bulk_burst: 1024 * 1024,
            send_bytes_per_s: SEND_BYTES_PER_S as u64,
        }
    }
}
