//! What the cluster's keys are turned into: a key for each sender and direction, and tags over small things.
//!
//! AES-256-GCM, HKDF-SHA256 and HMAC-SHA256, all from the RustCrypto libraries. Nothing here allocates.

use crate::keys::Secret;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of an AEAD tag.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a cookie or a stream's salt.
pub(crate) const SALT_LEN: usize = 16;
/// Begins everything that is hashed, so that a key that is used elsewhere too gives nothing away.
const PROTOCOL: &[u8] = b"headcount v1";

/// The key of one epoch, bound to the cluster's name. Keys of senders come from it.
pub(crate) struct EpochKey(Secret);

/// The key of one sender, and of one direction. A nonce is used with it once.
#[derive(Clone)]
pub(crate) struct SenderKey(Aes256Gcm);

/// Who seals: part of what its key is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SenderId {
    pub(crate) node: u32,
    pub(crate) session: u64,
}

impl EpochKey {
    /// HKDF-Extract(salt = SHA-256(protocol, cluster name), key).
    pub(crate) fn new(cluster: &str, key: &Secret) -> Self {
        let mut salt = Sha256::new();
        salt.update(PROTOCOL);
        salt.update(cluster.as_bytes());
        let (mut extracted, _) = Hkdf::<Sha256>::extract(Some(&salt.finalize()), &key[..]);
        let mut kept = Secret::default();
        kept.copy_from_slice(&extracted);
        extracted.as_mut_slice().zeroize();
        Self(kept)
    }

    /// Whether this is the key that `key` would give.
    pub(crate) fn is_of(&self, cluster: &str, key: &Secret) -> bool {
        // Of keys that this node's operator has installed himself, so the time that it takes tells nobody anything.
        *Self::new(cluster, key).0 == *self.0
    }

    /// HKDF-Expand(protocol, label, node, session, context).
    fn expand(&self, label: &[u8], from: SenderId, context: &[u8]) -> Secret {
        let mut key = Secret::default();
        let (node, session) = (from.node.to_le_bytes(), from.session.to_le_bytes());
        let info = [PROTOCOL, label, &node, &session, context];
        // 32 bytes are a valid pseudorandom key, and 32 bytes of output are within what HKDF gives.
        if let Ok(hkdf) = Hkdf::<Sha256>::from_prk(&self.0[..]) {
            let _within = hkdf.expand_multi_info(&info, &mut key[..]);
        }
        key
    }

    /// The key that a node seals its datagrams with in one session.
    pub(crate) fn datagrams(&self, from: SenderId) -> SenderKey {
        SenderKey::new(&self.expand(b" datagram", from, &[]))
    }

    /// The key of one direction of a stream; `salts` are the asker's and the giver's.
    pub(crate) fn stream(
        &self,
        direction: Direction,
        asker: SenderId,
        salts: &[u8; 2 * SALT_LEN],
    ) -> SenderKey {
        let label: &[u8] = match direction {
            Direction::Asking => b" stream asking",
            Direction::Giving => b" stream giving",
        };
        SenderKey::new(&self.expand(label, asker, salts))
    }
}

/// A direction of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// From who connected.
    Asking,
    /// From who serves.
    Giving,
}

impl SenderKey {
    fn new(key: &Secret) -> Self {
        Self(Aes256Gcm::new((&**key).into()))
    }

    /// Encrypts in place; returns the tag.
    pub(crate) fn seal(&self, number: u64, aad: &[u8], body: &mut [u8]) -> [u8; TAG_LEN] {
        // Refused only above 64 GiB.
        let tag = self.0.encrypt_inout_detached(&nonce(number), aad, body.into());
        tag.map_or([0; TAG_LEN], Into::into)
    }

    /// Decrypts in place. False, and the body as it was or zeros, if the tag is not right.
    #[must_use]
    pub(crate) fn open(&self, number: u64, aad: &[u8], body: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        self.0.decrypt_inout_detached(&nonce(number), aad, body.into(), &Tag::from(*tag)).is_ok()
    }
}

/// 96 bits: the number, little endian, and zeros.
fn nonce(number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce.into()
}

/// Makes what only this process can make: cookies, and the salts of its streams. Not from the core's generator, whose first output
/// stands in every header.
pub(crate) struct Mint(Secret);

impl Mint {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*secret))
    }

    fn mac(&self, label: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0[..]).ok()?;
        mac.update(label);
        for part in parts {
            mac.update(part);
        }
        Some(mac)
    }

    /// HMAC over the parts, which must be of fixed lengths.
    pub(crate) fn make(&self, label: &[u8], parts: &[&[u8]]) -> [u8; SALT_LEN] {
        let tag = self.mac(label, parts).map(|mac| mac.finalize().into_bytes());
        tag.and_then(|tag| tag.first_chunk().copied()).unwrap_or_default()
    }

    /// Whether that is what [`make`](Self::make) makes, in constant time.
    pub(crate) fn made(&self, label: &[u8], parts: &[&[u8]], claimed: &[u8; SALT_LEN]) -> bool {
        self.mac(label, parts).is_some_and(|mac| mac.verify_truncated_left(claimed).is_ok())
    }
}

macro_rules! hidden {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

hidden!(EpochKey, SenderKey, Mint);

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(cluster: &str, byte: u8) -> EpochKey {
        EpochKey::new(cluster, &Zeroizing::new([byte; 32]))
    }

    #[test]
    fn each_cluster_epoch_node_session_and_direction_has_a_key_of_its_own() {
        let id = SenderId { node: 1, session: 2 };
        let salts = [3; 2 * SALT_LEN];
        let mut other_salts = salts;
        other_salts[31] ^= 1;
        let keys = [
            epoch("c", 1).datagrams(id),
            epoch("d", 1).datagrams(id),
            epoch("c", 2).datagrams(id),
            epoch("c", 1).datagrams(SenderId { node: 2, ..id }),
            epoch("c", 1).datagrams(SenderId { session: 3, ..id }),
            epoch("c", 1).stream(Direction::Asking, id, &salts),
            epoch("c", 1).stream(Direction::Giving, id, &salts),
            epoch("c", 1).stream(Direction::Giving, id, &other_salts),
        ];
        for (at, sealer) in keys.iter().enumerate() {
            let mut body = *b"body";
            let tag = sealer.seal(7, b"head", &mut body);
            for (other, opener) in keys.iter().enumerate() {
                assert_eq!(opener.open(7, b"head", &mut body.clone(), &tag), at == other);
            }
            assert!(!sealer.open(8, b"head", &mut body.clone(), &tag), "another number");
            assert!(!sealer.open(7, b"HEAD", &mut body.clone(), &tag), "another header");
            assert!(sealer.open(7, b"head", &mut body, &tag));
            assert_eq!(&body, b"body");
        }
    }

    #[test]
    fn a_cookie_is_of_its_maker_label_and_parts() {
        let (mint, other) = (Mint::new(&[1; 32]), Mint::new(&[2; 32]));
        let made = mint.make(b"l", &[b"ab"]);
        assert!(mint.made(b"l", &[b"ab"], &made));
        assert!(!mint.made(b"m", &[b"ab"], &made) && !mint.made(b"l", &[b"ac"], &made));
        assert!(!other.made(b"l", &[b"ab"], &made));
    }

    #[test]
    fn debug_shows_nothing() {
        let key = epoch("c", 9);
        let sender = key.datagrams(SenderId { node: 1, session: 1 });
        assert_eq!(
            format!("{key:?} {sender:?} {:?}", Mint::new(&[1; 32])),
            "EpochKey(..) SenderKey(..) Mint(..)"
        );
    }
}
