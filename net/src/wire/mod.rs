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
//! | 6 | Leave | incarnation `u64`, clocks `[lane v, clock v]`, handover in milliseconds `v` |
//! | 7 | IncReject | target node `u32`, highest `u64` |
//! | 8 | Challenge | target session `u64`, cookie 16 B |
//! | 9 | Proof | cookie 16 B |
//! | 10 | Heard | flags `u8`, reports `[session u32, age u8, covered v]` |
//! | 11 | Peers | addresses `[family u8 = 4 or 6, ip 4 or 16 B, port u16]` |
//! | 12 | Drops | total `v` |
//! | 13 | Evict | target node `u32`, incarnation `u64`, lane `v`, clock `v`, question `v` |
//! | 14 | Evicted | target session `u64`, question `v`, answer `u8`: 0 = removed, 1 = no such version, 2 = not allowed |
//!
//! Flags of Hello: 1 = an answer is wanted, 2 = the sender has no incarnation yet, 4 = it wants copies of everything for itself (no multicast
//! reaches it). Wire min is not above wire max. Of Heard: 1 = receivers shall say soon what they have covered. Other bits mean nothing yet
//! and are no error. A target node or a target known of 0 is none. An age in Heard is in units of 32 ms, rounded up, 255 = longer than that
//! says; its session is the low half of one. The count and the digest of a heartbeat are of the lane's living entries at that clock. An address of Peers is no broadcast, multicast, unspecified or link-local one, and its port is not 0; the ip's
//! bytes are in network order, the port is little endian as everything else.
//!
//! # Identities and digests
//!
//! A node's id, and a cluster's, is made of its name: h = XXH3-64 of its bytes, the low half of h ^ (h >> 32), 1 if that is 0. An incarnation is
//! epoch `u32` << 32 \| nonce `u32`. Clocks are below 2^48. An entry's part in its lane's digest, which is the sum of them modulo 2^64, is
//! mix(content ^ mix((birth + 9E3779B97F4A7C15) ^ mix(clock))), where clock is that of its latest version, content is the XXH3-64 of the meta, seeded with that of
//! the key, seeded with that of the topic, seeded with 0; and mix(z) is: z ^= z >> 30, z *= BF58476D1CE4E5B9, z ^= z >> 27, z *=
//! 94D049BB133111EB, z ^= z >> 31.
//!
//! `tests/vectors/wire.json` has bytes of everything here, and bytes that are refused; `tests/vectors/sealed.json` has sealed datagrams.
//!
//! # Operations of a Delta
//!
//! Each consumes the lane's next clock, skips several, so its dot needs no bytes; a Delta covers clocks `(lo, lo + consumed]`, at least
//! one and at most 2^20. An operation is a head `u8`, and what the head asks for, in this order. *Age* is clock − birth; births are at
//! least 1.
//!
//! | head | operation | then |
//! |---:|---|---|
//! | 0 – 7F | add | the topic, age `v` ≥ 1 if the head has 40, key length `v` if it has 20, meta length `v` if it has 10, key, meta |
//! | 80 – BF | remove, of an age of 8,193 + (low 6 bits of the head << 16 \| `u16`) | 2 B |
//! | C0 – DF | remove, of an age of 1 + (low 5 bits << 8 \| `u8`) | 1 B |
//! | E0 – E7 | remove, of an age of 4,202,497 + (low 3 bits << 24 \| 3 B, little endian) | 3 B |
//! | E8 – EF | remove, near the one before: distance = low 3 bits | |
//! | F0 – F3 | remove, near the one before: distance = 8 + (low 2 bits << 8 \| `u8`) | 1 B |
//! | F4 | remove, of an age of 138,420,225 + `v` | `v` |
//! | F5 | skip of 7 + `v` clocks | `v` |
//! | F6 | update | age `v` ≥ 1, meta length `v`, meta |
//! | F7 | update with a meta as long as the one before | age `v` ≥ 1, meta |
//! | F8, F9 | none: an error | |
//! | FA – FF | skip of 1 to 6 clocks | |
//!
//! **Lengths.** An add without 40 was born at its clock. A key, or a meta, whose length is not told is as long as the last key told, or the
//! last meta of an add or update.
//!
//! **Removes.** The distance of a birth from that of the frame's remove before (from lo, before the first one): 0 is 1 above, 1 is 1 below, 2
//! is 2 above, and so on. There is one right head for each remove: a distance below 8; else an age up to 8,192; else a distance below
//! 1,032; else the age. Any other is refused, and so are two skips in a row.
//!
//! **Topics.** The low 4 bits of an add's head: 2 to 14 = index 0 to 12, 15 = index 13 + `v`, in the list of the topics that this frame has
//! told in the other two ways, from 0. Those two tell a topic by *the one before*: the one that was told like that last.
//!
//! | low bits | the topic is told as | |
//! |---:|---|---|
//! | 0 | so many bytes of the one before, and more | `u8`: shared << 4 \| more, 15 each if it is 15 or above; then `v` = shared − 15 if so; `v` = more − 15 if so; so many bytes. Shared is at most 64 |
//! | 1 | the one before, with another number at its end | `v`: zigzag(number − its number) << 1 \| 1 if it has not as many digits |
//!
//! A topic's number is the digits (ASCII, at most 18) at its end, of which there is one at least, behind at most 64 bytes. The other number is
//! written with as many digits as that of the one before, zeros in front if need be; or else, with the lowest bit set, without zeros in front,
//! and then it has not as many. Zigzag: 0, −1, 1, −2, .. are 0, 1, 2, 3, .. A reader takes any way to tell a topic, also one that is in the
//! list already; a writer takes the index, else the number, else as many shared bytes as there are.
//!
//! **What leans upon what.** The list, and the births of removes, are of one frame. The topic before and the lengths before are carried on from
//! each Delta to the next one in the same datagram, so that with many lanes each says them once; the first Delta of a datagram, and
//! each Ops, begins with none, and what needs them there is refused. Nothing leans upon another datagram: a lost one poisons nothing. (A
//! frame that tells its first topic with 0 shared bytes and all its first lengths leans upon nothing and may stand anywhere.)
//!
//! # Bytes of an operation
//!
//! In full datagrams of 1200 B, with 46 B of header and tag and the frames' own 7 to 9 B shared by the operations in them, an add takes beside key
//! and meta: 1 B if its topic is known and its lengths are those before it; 1 or 2 B more (3 from four thousand numbers apart) if
//! the topic differs in its number; 1 B and what is not shared if it differs otherwise; 1 B for each length that changes. A remove
//! takes 1 to 4 B. `cargo bench -p headcount-benches --bench codec -- --list` weighs that, and `benches/tests/codec.rs` holds it to bounds.
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
//! | 7 | Refused | reason `u8` (1 = another life than that asked for), incarnation `u64`: the one that lives |
//! | 8 | OpsBegin | lane `v`, lo `v`, as of `v` |
//! | 9 | Ops | lane `v`, lo `v`, operations as in a Delta up to the message's end |
//! | 10 | Dots | lane `v`, lo `v`, hi − lo `v` ≥ 1, pairs `v`, dead k `u8` ≤ 48, live k `u8` ≤ 48, bits up to the message's end |
//! | 12 | RelayRequest | as Request, to a third node: target node and incarnation name the owner of the lanes |
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
mod delta_head;
mod delta_size;
mod delta_writer;
mod dictionary;
mod dots;
mod drops;
mod evict;
mod frame;
mod heard;
mod message_buffer;
mod peers;
mod proof;
mod record;
mod seal;
mod stream;
mod topic;
mod varint;
#[cfg(test)]
mod vectors;

pub(crate) use chunk_writer::{CHUNK_BUDGET, ChunkWriter};
pub(crate) use control::{Heartbeat, Hello, IncReject, LaneDigest, Leave, NAME_LEN_MAX, Nak, SnapshotOffer};
pub(crate) use delta::DeltaFrame;
pub(crate) use delta_size::op_len_max;
pub(crate) use delta_writer::DeltaWriter;
pub(crate) use dots::DotsWriter;
pub(crate) use drops::Drops;
pub(crate) use evict::{Answer, Evict, Evicted};
#[cfg(any(test, feature = "sim"))]
pub(crate) use frame::{CRITICAL, is_known, put_frame, whole_frames};
pub(crate) use frame::{Frame, frames};
pub(crate) use heard::{Heard, Report};
pub(crate) use message_buffer::MessageBuffer;
pub(crate) use peers::{Peers, can_be_told};
pub(crate) use proof::{Challenge, Proof};
pub(crate) use record::{Preamble, RecordBuffer, put_records};
pub(crate) use seal::{
    BODY_MAX, DATAGRAM_ACCEPTED_MAX, DATAGRAM_MAX, HEADER_LEN, Header, SUITE_PLAIN, SUITE_SEALED,
    TRAILER_LEN, WIRE_VERSION, begin, finish, finish_sealed, open, open_sealed, packet_of, peek,
};
#[cfg(any(test, feature = "sim"))]
pub(crate) use stream::KINDS_END;
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
