//! Names of things: nodes, their lives, sessions, topics, and the dot that names one version of one entry.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// A node of the cluster: a process that runs a [`Tracker`](crate::Tracker). Chosen by configuration or derived from the
/// node's name; two live nodes must not share it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NodeId(pub u32);

impl NodeId {
    /// The id that belongs to a name: 32 bits of its XXH3 hash, never 0. The same on every platform and version.
    ///
    /// ```
    /// use headcount::NodeId;
    /// assert_eq!(NodeId::from_name("web-1"), NodeId::from_name("web-1"));
    /// assert_ne!(NodeId::from_name("web-1"), NodeId::from_name("web-2"));
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "32 of the 64 bits are wanted")]
        let id = (hash ^ (hash >> 32)) as u32;
        Self(id.max(1))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One life of a node, from its start to its end. A later life has a greater incarnation (epoch first, then nonce), and
/// nothing of an earlier life survives the sight of a later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Incarnation {
    /// Counts the node's starts as far as anybody remembers them.
    pub epoch: u32,
    /// Random per start: tells two lives apart that both believe to be the n-th.
    pub nonce: u32,
}

impl Incarnation {
    /// Both parts in one number that sorts like the incarnation.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.nonce)
    }

    /// The inverse of [`to_u64`](Self::to_u64).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
    pub fn from_u64(packed: u64) -> Self {
        Self { epoch: (packed >> 32) as u32, nonce: packed as u32 }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.epoch, self.nonce)
    }
}

/// A session of this node, unique within the life of its tracker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The dot of an entry: names one version of one entry, in the whole cluster and for ever.
///
/// Every track and every update makes a new one; the same ref is seen on every node. (A *dot* in the sense of dotted
/// version vectors: Preguiça, Baquero et al., "Dotted Version Vectors", 2010; here the writer is a lane of a node.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EntryRef {
    /// The node whose session made the entry.
    pub node: NodeId,
    /// The life of that node.
    pub incarnation: Incarnation,
    /// The lane (shard) of that node.
    pub lane: u16,
    /// The position in that lane, from 1.
    pub clock: u64,
}

impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.node, self.incarnation, self.lane, self.clock)
    }
}

/// A text is no [`EntryRef`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a ref; it reads NODE-EPOCH.NONCE-LANE-CLOCK, such as 0000001a-3.0000beef-4-17")]
pub struct ParseRefError;

impl FromStr for EntryRef {
    type Err = ParseRefError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, ParseRefError> {
        let hex = |text: &str| {
            let is_hex = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            u32::from_str_radix(text, 16).ok().filter(|_| is_hex)
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let parse = || {
            let mut parts = text.split('-');
            let node = NodeId(hex(parts.next()?)?);
            let (epoch, nonce) = parts.next()?.split_once('.')?;
            let (lane, clock) = (parts.next()?, parts.next()?);
            if parts.next().is_some() || ![epoch, lane, clock].into_iter().all(digits) {
                return None;
            }
            let incarnation = Incarnation { epoch: epoch.parse().ok()?, nonce: hex(nonce)? };
            Some(Self { node, incarnation, lane: lane.parse().ok()?, clock: clock.parse().ok()? })
        };
        parse().ok_or(ParseRefError)
    }
}

/// The name of a topic: arbitrary bytes, cheap to clone.
#[derive(Clone)]
pub struct Topic(Name);

/// Bytes of a name that lie in the topic itself, so that a reader that makes one writes to no line that others read.
const NAME_INLINE_MAX: usize = 22;

#[derive(Clone)]
enum Name {
    Inline(u8, [u8; NAME_INLINE_MAX]),
    Shared(Arc<[u8]>),
}

const _: () = assert!(size_of::<Topic>() == 24);

impl Topic {
    /// The bytes of the name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Name::Shared(bytes) => bytes,
        }
    }

    /// The name as text, with a replacement character where it is not UTF-8.
    #[must_use]
    pub fn as_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl Deref for Topic {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Topic {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<&[u8]> for Topic {
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; NAME_INLINE_MAX];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(inline), Ok(len)) => {
                inline.copy_from_slice(name);
                Self(Name::Inline(len, bytes))
            }
            _ => Self(Name::Shared(name.into())),
        }
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Topic {}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::from(name.as_bytes())
    }
}

impl PartialEq<str> for Topic {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Topic {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str_lossy())
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str_lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnations_sort_by_epoch_then_nonce_in_both_forms() {
        let mut lives = [
            Incarnation { epoch: 2, nonce: 0 },
            Incarnation { epoch: 1, nonce: u32::MAX },
            Incarnation { epoch: 1, nonce: 7 },
        ];
        lives.sort();
        assert_eq!(lives.map(|life| life.epoch), [1, 1, 2]);
        assert!(lives.windows(2).all(|pair| pair[0].to_u64() < pair[1].to_u64()));
        assert!(lives.iter().all(|&life| Incarnation::from_u64(life.to_u64()) == life));
    }

    #[test]
    fn a_ref_reads_as_node_life_lane_and_clock() {
        let dot = EntryRef {
            node: NodeId(0x1a),
            incarnation: Incarnation { epoch: 3, nonce: 0xbeef },
            lane: 4,
            clock: 17,
        };
        assert_eq!(dot.to_string(), "0000001a-3.0000beef-4-17");
        assert_eq!("0000001a-3.0000beef-4-17".parse(), Ok(dot));
        for bad in [
            "",
            "1a-3.0000beef-4-17",
            "0000001a-3.0000beef-4",
            "0000001a-3.0000beef-4-17-1",
            "0000001a-+3.0000beef-4-17",
            "0000001a-3.0000beef-65536-17",
            "+000001a-3.0000beef-4-17",
            "0000001a-3-4-17",
        ] {
            assert_eq!(bad.parse::<EntryRef>(), Err(ParseRefError), "{bad}");
        }
    }
}
