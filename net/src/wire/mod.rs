//! The bytes of the replication protocol, and nothing else: no I/O, no clock, no state between calls.
//!
//! Decoders borrow from the input. They never panic, never allocate by a number that the input merely claims
//! (a list's capacity is bounded by the bytes that are there), and accept one spelling only of every number:
//! an overlong varint, a value out of range or a byte too many is a [`WireError`]. Encoders are infallible
//! unless they take a budget; what they are given is this node's own, so its invariants are `debug_assert`ed.
//!
//! Numbers that look random (identities, digests) are fixed width, little endian. Numbers that count
//! something (clocks, lanes, lengths) are `v`: LEB128 varints of 1 to 10 bytes. Lanes are below 256. `bytes`
//! is a length `v`, then so many bytes; `[..]` is a count `v`, then so many items.
//!
//! # Datagram
//!
//! At most [`DATAGRAM_MAX`] bytes by default: header, frames, trailer.
//!
//! | at | size | field |
//! |---:|---:|---|
//! | 0 | 2 | magic `48 C7` |
//! | 2 | 1 | wire version, 1 |
//! | 3 | 1 | suite: 0 = in clear, checksum; 1 = sealed, AES-256-GCM |
//! | 4 | 4 | cluster id |
//! | 8 | 2 | key epoch, 0 in clear |
//! | 10 | 4 | node id |
//! | 14 | 8 | session, random per start |
//! | 22 | 8 | packet number |
//! | 30 | … | frames; suite 1: encrypted |
//! | end − 8 | 8 | suite 0: xxh3-64 of all before it, seeded with the cluster id |
//! | end − 16 | 16 | suite 1: tag; the header is authenticated with the frames, the nonce is the packet number and four zero bytes |
//!
//! # Frames
//!
//! Type `u8`, length `v`, body. The type's low 7 bits name it. Its top bit says what a receiver that does not
//! know the name has to do: skip the frame (clear) or drop the datagram (set). It changes nothing for one
//! that does know it.
//!
//! | type | frame | body |
//! |---:|---|---|
//! | 1 | Hello | flags `u8`, incarnation `u64`, target node `u32`, target known `u64`, lanes `v` ≤ 256, tcp port `u16`, wire min `u8`, wire max `u8`, name `bytes` ≤ 64 utf-8 |
//! | 2 | Heartbeat | seq `v`, incarnation `u64`, lanes `v` ≤ 256, clocks `[lane v, clock v]`, digests `[lane v, clock v, count v, digest u64]`, key epochs `[epoch v]` ≤ 4, since `v` |
//! | 3 | Delta | lane `v`, lo `v`, operations up to the frame's end |
//! | 4 | Nak | target node `u32`, target session `u64`, ranges `[lane v, lo v, hi − lo v ≥ 1]` |
//! | 5 | SnapshotOffer | target node `u32`, target session `u64`, lanes `[lane v]` |
//! | 6 | Leave | incarnation `u64`, clocks `[lane v, clock v]` |
//! | 7 | IncReject | target node `u32`, highest `u64` |
//! | 8 | Challenge | target session `u64`, cookie 16 B |
//! | 9 | Proof | cookie 16 B |
//! | 10 | Heard | flags `u8`, reports `[session u32, age u8, covered v]` |
//! | 11 | Peers | addresses `[family u8 = 4 or 6, ip 4 or 16 B, port u16]` |
//! | 16 | Drops | total `v` |
//!
//! # Operations of a Delta
//!
//! Each consumes the lane's next clock, so its dot needs no bytes; a Delta covers clocks `(lo, lo +
//! consumed]`. The first `v` is `value << 3 | tag`. *Age* is clock − birth. The topic dictionary lives in one
//! frame only, so that a lost datagram poisons nothing.
//!
//! | tag | operation | value | then |
//! |---:|---|---|---|
//! | 0 | add, topic from the dictionary | index | key `bytes`, meta `bytes` |
//! | 1 | add, new topic | topic length | topic, key `bytes`, meta `bytes` |
//! | 2 | as 0, with an age | index | age `v` ≥ 1, key `bytes`, meta `bytes` |
//! | 3 | as 1, with an age | topic length | topic, age `v` ≥ 1, key `bytes`, meta `bytes` |
//! | 4 | update | age ≥ 1 | meta `bytes` |
//! | 5 | remove | age ≥ 1 | |
//! | 6 | skip | clocks ≥ 1 | |
//!
//! # Stream messages
//!
//! Length `u32` of what follows (1 to 64 KiB), type `u8`, body.
//!
//! | type | message | body |
//! |---:|---|---|
//! | 1 | Request | `HCSN`, version `u8` = 1, cluster `u32`, node `u32`, target node `u32`, target incarnation `u64`, lanes `[lane v, base v, (reached − base) << 1 \| diverged v]` |
//! | 2 | LaneBegin | lane `v`, base `v`, as of `v`, count `v` |
//! | 3 | Chunk | lane `v`, lo `v`, hi − lo `v` ≥ 1, items up to the message's end |
//! | 4 | LaneEnd | lane `v`, as of `v`, count `v`, digest `u64` |
//! | 5 | Done | |
//! | 6 | RetryAfter | milliseconds `u32` |
//! | 7 | Refused | reason `u8`, incarnation `u64` |
//! | 8 | OpsBegin | lane `v`, lo `v`, as of `v` |
//! | 9 | Ops | lane `v`, lo `v`, operations as in a Delta up to the message's end |
//! | 10 | Dots | lane `v`, lo `v`, hi − lo `v` ≥ 1, pairs `v`, dead k `u8` ≤ 48, live k `u8` ≤ 48, bits up to the message's end |
//!
//! An item of a chunk is `v` previous dot − dot (≥ 1; the first is counted from hi + 1), then `v` age `<< 2
//! |` kind:
//!
//! | kind | then |
//! |---:|---|
//! | 1 | topic `bytes` (it joins the chunk's dictionary), key `bytes`, meta `bytes` |
//! | 2 | dictionary index `v`, key `bytes`, meta `bytes` |
//!
//! The bits of Dots, lowest of each byte first and padded with zeros, are so many pairs of runs, from hi down: of dead clocks
//! (at least 0 in the first pair, else 1), then of live ones (at least 1). A run's length less its least one is `length >> k` ones, a zero, and
//! the k low bits, lowest first. What is below the last pair is dead.

mod chunk;
mod chunk_writer;
mod control;
mod delta;
mod delta_size;
mod delta_writer;
mod dictionary;
mod dots;
mod drops;
mod frame;
mod heard;
mod message_buffer;
mod peers;
mod proof;
mod record;
mod seal;
mod stream;
mod varint;

pub(crate) use chunk_writer::{CHUNK_BUDGET, ChunkWriter};
pub(crate) use control::{Heartbeat, Hello, IncReject, LaneDigest, Leave, NAME_LEN_MAX, Nak, SnapshotOffer};
pub(crate) use delta::DeltaFrame;
pub(crate) use delta_size::op_len_max;
pub(crate) use delta_writer::DeltaWriter;
pub(crate) use dots::DotsWriter;
pub(crate) use drops::Drops;
pub(crate) use frame::{Frame, frames};
pub(crate) use heard::{Heard, Report};
pub(crate) use message_buffer::MessageBuffer;
pub(crate) use peers::{Peers, can_be_told};
pub(crate) use proof::{Challenge, Proof};
pub(crate) use record::{Preamble, RecordBuffer, put_records};
pub(crate) use seal::{
    BODY_MAX, DATAGRAM_ACCEPTED_MAX, DATAGRAM_MAX, HEADER_LEN, Header, SUITE_PLAIN, SUITE_SEALED,
    WIRE_VERSION, begin, finish, finish_sealed, open, open_sealed, packet_of, peek,
};
pub(crate) use stream::{Message, Wanted};
pub(crate) use varint::varint_len;

/// Why bytes were refused. Decoding has no state, so a refusal changes nothing but the caller's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// The bytes end inside a field, or a length or count claims more than is there.
    #[error("the bytes end early")]
    Truncated,
    /// Not ours at all.
    #[error("the magic number is another protocol's")]
    Magic,
    /// Ours, in a version that this node does not read.
    #[error("the wire version is not supported")]
    Version,
    /// Meant for another cluster on the same group or port.
    #[error("the bytes belong to another cluster")]
    Cluster,
    /// Sealed in a way that this node does not open.
    #[error("the suite is not supported")]
    Suite,
    /// Damaged on the way.
    #[error("the checksum does not match")]
    Checksum,
    /// In clear where a key is needed, or sealed with a key that this node does not have.
    #[error("there is no key for it")]
    NoKey,
    /// Sealed with another key, or forged, or damaged on the way.
    #[error("the tag does not match")]
    Tag,
    /// A varint of more than 64 bits, or one that a shorter one says too.
    #[error("a varint is overlong")]
    Varint,
    /// A value that its field does not allow.
    #[error("a value is out of range")]
    Range,
    /// A lane, or a count of lanes, above the protocol's limit.
    #[error("a lane is out of range")]
    Lane,
    /// A name that is too long or not UTF-8.
    #[error("a name is too long or not UTF-8")]
    Name,
    /// An operation, item or message of an unknown kind. These cannot be skipped: what follows depends on
    /// them.
    #[error("an operation, item or message is of an unknown kind")]
    Kind,
    /// An unknown frame that its sender forbids to skip.
    #[error("an unknown frame is marked critical")]
    CriticalFrame,
    /// Bytes are left over behind the last field.
    #[error("bytes are left over")]
    Trailing,
    /// A stream message above the limit.
    #[error("a message is longer than the limit")]
    TooLong,
}
