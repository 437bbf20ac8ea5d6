//! The outside of a datagram: clear header in front, trailer behind.
//!
//! Suite 1 is AES-256-GCM: the frames are encrypted, the header authenticated, the packet number is the nonce and the trailer the tag.
//! Suite 0 is in clear, with a checksum: it catches damage, not malice. Checks go from cheap to dear, and a foreign datagram is named
//! as such before it is called broken, so that two clusters on one group do not look like corruption.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::WireError;
use super::varint::Reader;
use crate::crypto::{SenderKey, TAG_LEN};

pub(crate) const HEADER_LEN: usize = 30;
pub(crate) const TRAILER_LEN: usize = 8;
/// The largest datagram sent by default: it fits one Ethernet frame with room for tunnels, so it is never
/// fragmented.
pub(crate) const DATAGRAM_MAX: usize = 1200;
/// What is left of that for frames, whichever the suite.
pub(crate) const BODY_MAX: usize = DATAGRAM_MAX - HEADER_LEN - TAG_LEN;
/// Nobody sends more than this; what is longer is refused before anything else.
pub(crate) const DATAGRAM_ACCEPTED_MAX: usize = 2048;
pub(crate) const WIRE_VERSION: u8 = 1;

const MAGIC: [u8; 2] = [0x48, 0xC7];
pub(crate) const SUITE_PLAIN: u8 = 0;
pub(crate) const SUITE_SEALED: u8 = 1;
const CLUSTER_AT: usize = 4;
const PACKET_AT: usize = 22;

/// Who sent a datagram, and which of theirs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) suite: u8,
    pub(crate) cluster: u32,
    /// Of the key that it is sealed with; 0 in clear.
    pub(crate) key_epoch: u16,
    pub(crate) node: u32,
    /// Random per start of the process.
    pub(crate) session: u64,
    /// Counts the session's datagrams; never used twice, because it is the nonce.
    pub(crate) packet: u64,
}

/// Starts a datagram in `buf`, whose old content is dropped. Frames are appended next, then [`finish`] or
/// [`finish_sealed`].
pub(crate) fn begin(buf: &mut Vec<u8>, header: &Header) {
    buf.clear();
    buf.extend_from_slice(&MAGIC);
    buf.push(WIRE_VERSION);
    buf.push(header.suite);
    buf.extend_from_slice(&header.cluster.to_le_bytes());
    buf.extend_from_slice(&header.key_epoch.to_le_bytes());
    buf.extend_from_slice(&header.node.to_le_bytes());
    buf.extend_from_slice(&header.session.to_le_bytes());
    buf.extend_from_slice(&header.packet.to_le_bytes());
    debug_assert_eq!(buf.len(), HEADER_LEN);
}

/// Ends the datagram that [`begin`] started in `buf`, in clear.
pub(crate) fn finish(buf: &mut Vec<u8>) {
    debug_assert!(buf.len() >= HEADER_LEN, "finish without begin");
    let cluster = buf.get(CLUSTER_AT..).and_then(|rest| rest.first_chunk()).copied();
    let checksum = checksum(buf, u32::from_le_bytes(cluster.unwrap_or_default()));
    buf.extend_from_slice(&checksum.to_le_bytes());
}

/// Ends the datagram that [`begin`] started in `buf`, sealed with the sender's key of the header's epoch.
pub(crate) fn finish_sealed(buf: &mut Vec<u8>, key: &SenderKey) {
    debug_assert!(buf.len() >= HEADER_LEN, "finish without begin");
    let packet = packet_of(buf).unwrap_or_default();
    if let Some((head, body)) = buf.split_at_mut_checked(HEADER_LEN) {
        let tag = key.seal(packet, head, body);
        buf.extend_from_slice(&tag);
    }
}

/// The packet number of a datagram of one's own.
pub(crate) fn packet_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(PACKET_AT..)?.first_chunk()?))
}

/// Reads the header of a datagram for `cluster`; nothing of it is proven yet.
pub(crate) fn peek(bytes: &[u8], cluster: u32) -> Result<Header, WireError> {
    if bytes.len() > DATAGRAM_ACCEPTED_MAX {
        return Err(WireError::TooLong);
    }
    if bytes.len() < HEADER_LEN + TRAILER_LEN {
        return Err(WireError::Truncated);
    }
    let mut reader = Reader::new(bytes.get(..HEADER_LEN).ok_or(WireError::Truncated)?);
    if reader.array()? != MAGIC {
        return Err(WireError::Magic);
    }
    if reader.u8()? != WIRE_VERSION && !planted!(VersionIgnored) {
        return Err(WireError::Version);
    }
    let header = Header {
        suite: reader.u8()?,
        cluster: reader.u32()?,
        key_epoch: reader.u16()?,
        node: reader.u32()?,
        session: reader.u64()?,
        packet: reader.u64()?,
    };
    reader.finish()?;
    if header.cluster != cluster {
        return Err(WireError::Cluster);
    }
    match header.suite {
        SUITE_PLAIN => Ok(header),
        SUITE_SEALED if bytes.len() < HEADER_LEN + TAG_LEN => Err(WireError::Truncated),
        SUITE_SEALED => Ok(header),
        _ => Err(WireError::Suite),
    }
}

/// Checks a datagram in clear for `cluster` from the outside and returns its header and its frames.
pub(crate) fn open(bytes: &[u8], cluster: u32) -> Result<(Header, &[u8]), WireError> {
    let header = peek(bytes, cluster)?;
    if header.suite != SUITE_PLAIN {
        return Err(WireError::Suite);
    }
    let (front, trailer) = bytes.split_last_chunk::<TRAILER_LEN>().ok_or(WireError::Truncated)?;
    let body = front.get(HEADER_LEN..).ok_or(WireError::Truncated)?;
    if checksum(front, cluster) != u64::from_le_bytes(*trailer) {
        return Err(WireError::Checksum);
    }
    Ok((header, body))
}

/// Opens a sealed datagram whose header was [`peek`]ed; its frames come into `room`.
pub(crate) fn open_sealed<'r>(
    bytes: &[u8],
    header: &Header,
    key: &SenderKey,
    room: &'r mut [u8; DATAGRAM_ACCEPTED_MAX],
) -> Result<&'r [u8], WireError> {
    let (front, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(WireError::Truncated)?;
    let (head, body) = front.split_at_checked(HEADER_LEN).ok_or(WireError::Truncated)?;
    let opened = room.get_mut(..body.len()).ok_or(WireError::TooLong)?;
    opened.copy_from_slice(body);
    if !key.open(header.packet, head, opened, tag) {
        return Err(WireError::Tag);
    }
    Ok(opened)
}

fn checksum(front: &[u8], cluster: u32) -> u64 {
    xxh3_64_with_seed(front, u64::from(cluster))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: Header = Header {
        suite: SUITE_PLAIN,
        cluster: 0xC0FF_EE01,
        key_epoch: 0x0203,
        node: 0x0405_0607,
        session: 0x0809_0A0B_0C0D_0E0F,
        packet: 0x1011_1213_1415_1617,
    };

    fn sealed(header: &Header, body: &[u8]) -> Vec<u8> {
        let mut buf = vec![0xEE; 7];
        begin(&mut buf, header);
        buf.extend_from_slice(body);
        finish(&mut buf);
        buf
    }

    #[test]
    fn header_bytes_are_where_the_table_says() {
        let buf = sealed(&HEADER, b"frames");
        assert_eq!(
            buf[..HEADER_LEN],
            [
                0x48, 0xC7, 1, 0, 0x01, 0xEE, 0xFF, 0xC0, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0F, 0x0E,
                0x0D, 0x0C, 0x0B, 0x0A, 0x09, 0x08, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x10
            ]
        );
        let (front, trailer) = buf.split_last_chunk::<8>().unwrap();
        assert_eq!(u64::from_le_bytes(*trailer), xxh3_64_with_seed(front, 0xC0FF_EE01));
        assert_eq!(open(&buf, HEADER.cluster), Ok((HEADER, &b"frames"[..])));
    }

    #[test]
    fn checks_are_made_in_order() {
        let good = sealed(&HEADER, b"");
        assert_eq!(good.len(), HEADER_LEN + TRAILER_LEN);
        // Each step breaks a field that is checked before those broken so far, so its error must take over.
        let mut bytes = good.clone();
        let mut breaking = |at: usize, error| {
            bytes[at] ^= 0x40;
            assert_eq!(open(&bytes, HEADER.cluster), Err(error));
        };
        breaking(HEADER_LEN, WireError::Checksum);
        breaking(3, WireError::Suite);
        breaking(4, WireError::Cluster);
        breaking(2, WireError::Version);
        breaking(0, WireError::Magic);
        assert_eq!(open(&bytes[..HEADER_LEN + TRAILER_LEN - 1], HEADER.cluster), Err(WireError::Truncated));
        assert_eq!(open(&good, HEADER.cluster + 1), Err(WireError::Cluster));
    }

    #[test]
    fn checksum_is_bound_to_the_cluster() {
        let mut bytes = sealed(&HEADER, b"frames");
        bytes[CLUSTER_AT] ^= 1;
        assert_eq!(open(&bytes, HEADER.cluster ^ 1), Err(WireError::Checksum));
    }

    proptest! {
        #[test]
        fn any_datagram_round_trips(
            (cluster, key_epoch, node, session, packet) in any::<(u32, u16, u32, u64, u64)>(),
            body in prop::collection::vec(any::<u8>(), 0..=BODY_MAX),
        ) {
            let header = Header { suite: SUITE_PLAIN, cluster, key_epoch, node, session, packet };
            let bytes = sealed(&header, &body);
            prop_assert!(bytes.len() <= DATAGRAM_MAX);
            prop_assert_eq!(open(&bytes, cluster), Ok((header, &body[..])));
        }

        #[test]
        fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100), cluster: u32) {
            prop_assert!(open(&bytes, cluster).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_bit_flip_and_every_cut_is_refused(body in prop::collection::vec(any::<u8>(), 0..=BODY_MAX)) {
            let mut bytes = sealed(&HEADER, &body);
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(open(&bytes, HEADER.cluster).is_err(), "bit {}", bit);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for len in 0..bytes.len() {
                prop_assert!(open(&bytes[..len], HEADER.cluster).is_err(), "cut to {}", len);
            }
            bytes.push(0);
            prop_assert!(open(&bytes, HEADER.cluster).is_err(), "one byte more");
        }
    }

    mod sealed {
        use super::*;
        use crate::crypto::{EpochKey, SenderId};

        const SEALED: Header = Header { suite: SUITE_SEALED, ..HEADER };

        fn key(byte: u8) -> SenderKey {
            let id = SenderId { node: SEALED.node, session: SEALED.session };
            EpochKey::new("chat", &zeroize::Zeroizing::new([byte; 32])).datagrams(id)
        }

        fn datagram(body: &[u8]) -> Vec<u8> {
            let mut buf = Vec::new();
            begin(&mut buf, &SEALED);
            buf.extend_from_slice(body);
            finish_sealed(&mut buf, &key(1));
            buf
        }

        fn opened(bytes: &[u8], key: &SenderKey) -> Result<Vec<u8>, WireError> {
            let header = peek(bytes, SEALED.cluster)?;
            let mut room = [0; DATAGRAM_ACCEPTED_MAX];
            open_sealed(bytes, &header, key, &mut room).map(<[u8]>::to_vec)
        }

        #[test]
        fn a_sealed_datagram_hides_its_frames_and_opens_with_its_key_alone() {
            let bytes = datagram(b"some frames");
            assert_eq!(bytes.len(), HEADER_LEN + 11 + TAG_LEN);
            assert!(!bytes.windows(4).any(|part| part == b"some"));
            assert_eq!(opened(&bytes, &key(1)), Ok(b"some frames".to_vec()));
            assert_eq!(opened(&bytes, &key(2)), Err(WireError::Tag));
            assert_eq!(open(&bytes, SEALED.cluster), Err(WireError::Suite));
            assert_eq!(peek(&bytes[..HEADER_LEN + TAG_LEN - 1], SEALED.cluster), Err(WireError::Truncated));
            assert_eq!(peek(&vec![0; DATAGRAM_ACCEPTED_MAX + 1], SEALED.cluster), Err(WireError::TooLong));
        }

        #[test]
        fn every_bit_is_authenticated_that_is_not_checked_before() {
            let mut bytes = datagram(b"frames");
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(opened(&bytes, &key(1)).is_err(), "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            for len in 0..bytes.len() {
                assert!(opened(&bytes[..len], &key(1)).is_err(), "cut to {len}");
            }
        }

        /// Made by another implementation (Python's `cryptography`, by the words of `DESIGN.md`).
        #[test]
        fn known_datagrams_are_sealed_and_opened_bit_for_bit() {
            let vectors = include_str!("../../tests/vectors/sealed.json");
            let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
            let vectors = vectors["datagrams"].as_array().unwrap();
            assert!(vectors.len() >= 3);
            for vector in vectors {
                let number = |name: &str| vector[name].as_u64().unwrap();
                let hex = |name: &str| -> Vec<u8> {
                    let digits = vector[name].as_str().unwrap();
                    (0..digits.len() / 2)
                        .map(|at| u8::from_str_radix(&digits[2 * at..][..2], 16).unwrap())
                        .collect()
                };
                let header = Header {
                    suite: SUITE_SEALED,
                    cluster: number("cluster_id") as u32,
                    key_epoch: number("key_epoch") as u16,
                    node: number("node") as u32,
                    session: u64::from_str_radix(vector["session"].as_str().unwrap(), 16).unwrap(),
                    packet: u64::from_str_radix(vector["packet"].as_str().unwrap(), 16).unwrap(),
                };
                let psk = zeroize::Zeroizing::new(hex("key").try_into().unwrap());
                let name = vector["cluster"].as_str().unwrap();
                assert_eq!(headcount::NodeId::from_name(name).0, header.cluster);
                let key = EpochKey::new(name, &psk);
                let key = key.datagrams(SenderId { node: header.node, session: header.session });
                let mut made = Vec::new();
                begin(&mut made, &header);
                made.extend_from_slice(&hex("frames"));
                finish_sealed(&mut made, &key);
                assert_eq!(made, hex("datagram"));
                let mut room = [0; DATAGRAM_ACCEPTED_MAX];
                assert_eq!(peek(&made, header.cluster), Ok(header));
                assert_eq!(open_sealed(&made, &header, &key, &mut room), Ok(&hex("frames")[..]));
            }
        }
    }
}
