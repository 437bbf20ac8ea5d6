//! What a node answers, taken apart.

use super::token::Tokens;
use headcount::{EntryRef, Incarnation, NodeId};

/// The reply to one request, if it was not refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// One line: what follows `OK`.
    Ok(String),
    /// Several lines, without the `END` that closed them.
    Lines(Vec<Vec<u8>>),
}

impl Reply {
    /// The number that an `OK <n>` says, if this is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Reply::Ok(text) => text.parse().ok(),
            Reply::Lines(_) => None,
        }
    }

    /// The ref that an `OK <ref>` says, if this is one: what JOIN and UPDATE are answered with.
    #[must_use]
    pub fn entry_ref(&self) -> Option<EntryRef> {
        match self {
            Reply::Ok(text) => parse_ref(text.as_bytes()),
            Reply::Lines(_) => None,
        }
    }

    /// The lines of a reply of several lines; none for a reply of one.
    #[must_use]
    pub fn lines(&self) -> &[Vec<u8>] {
        match self {
            Reply::Ok(_) => &[],
            Reply::Lines(lines) => lines,
        }
    }
}

/// One entry as `ENTRY`, `SNAPSHOT` and `EVENT JOIN` lines show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listed {
    /// The key.
    pub key: Vec<u8>,
    /// The name of the node whose session made the entry.
    pub node: Vec<u8>,
    /// Its dot.
    pub entry_ref: EntryRef,
    /// Its metadata.
    pub meta: Vec<u8>,
}

impl Listed {
    /// Reads the entry that follows `heading` (such as `["ENTRY"]`, or `["EVENT", "JOIN", topic]`) in a line.
    #[must_use]
    pub fn parse(line: &[u8], heading: &[&[u8]]) -> Option<Self> {
        let mut tokens = Tokens::new(line);
        for &expected in heading {
            if *tokens.token().ok()??.bytes != *expected {
                return None;
            }
        }
        let key = tokens.token().ok()??.bytes.into_owned();
        let node = tokens.token().ok()??.bytes.into_owned();
        let entry_ref = parse_ref(&tokens.token().ok()??.bytes)?;
        let meta = tokens.token().ok()??.bytes.into_owned();
        tokens.at_end().then_some(Self { key, node, entry_ref, meta })
    }
}

/// Reads a ref as [`EntryRef`] displays it: node, incarnation, lane and clock.
#[must_use]
pub fn parse_ref(text: &[u8]) -> Option<EntryRef> {
    let text = str::from_utf8(text).ok()?;
    let mut parts = text.split('-');
    let node = NodeId(u32::from_str_radix(parts.next()?, 16).ok()?);
    let (epoch, nonce) = parts.next()?.split_once('.')?;
    let incarnation = Incarnation { epoch: epoch.parse().ok()?, nonce: u32::from_str_radix(nonce, 16).ok()? };
    let lane = parts.next()?.parse().ok()?;
    let clock = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(EntryRef { node, incarnation, lane, clock })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REF: EntryRef = EntryRef {
        node: NodeId(0x1a2b_3c4d),
        incarnation: Incarnation { epoch: 7, nonce: 0xfeed },
        lane: 12,
        clock: 345,
    };

    #[test]
    fn a_ref_reads_back_as_it_is_displayed() {
        assert_eq!(parse_ref(REF.to_string().as_bytes()), Some(REF));
        for bad in ["", "1a2b3c4d", "1a2b3c4d-7.feed-12", "1a2b3c4d-7.feed-12-345-6", "x-7.feed-12-345"] {
            assert_eq!(parse_ref(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_entry_reads_back_behind_its_heading() {
        let line = format!(r#"EVENT JOIN "room 1" alice web-1 {REF} "on the phone""#);
        let entry = Listed::parse(line.as_bytes(), &[b"EVENT", b"JOIN", b"room 1"]).unwrap();
        assert_eq!((&entry.key[..], &entry.node[..]), (&b"alice"[..], &b"web-1"[..]));
        assert_eq!((entry.entry_ref, &entry.meta[..]), (REF, &b"on the phone"[..]));
        assert_eq!(Listed::parse(line.as_bytes(), &[b"ENTRY"]), None);
        assert_eq!(Listed::parse(b"ENTRY alice", &[b"ENTRY"]), None);
    }
}
