//! What is said over an admin socket, in JSON, a line each. See [the module](super).

use headcount::Topic;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of what is said here. A client that reads another one in [`Hello`] should say so and go.
pub const PROTOCOL: u32 = 1;

/// The longest line of a request, in bytes. Longer ones are answered by an error, and the connection ends.
pub const REQUEST_LEN_MAX: usize = 1 << 18;

/// Bytes in JSON: a string if they are UTF-8, else an object with their digits: `{"hex": "ff00"}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Utf8(String),
    /// Anything.
    Hex {
        /// Two digits a byte.
        hex: String,
    },
}

impl Text {
    /// The bytes. `None` if the digits are none.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Utf8(text) => Some(text.clone().into_bytes()),
            Self::Hex { hex } => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                if hex.len() % 2 != 0 {
                    return None;
                }
                hex.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
            }
        }
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Utf8(text.to_owned()),
            Err(_) => Self::Hex { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        }
    }
}

impl From<&Topic> for Text {
    fn from(topic: &Topic) -> Self {
        Self::from(topic.as_bytes())
    }
}

/// What a client asks, in one line. Several may follow each other on a connection; each is answered to its end first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// The largest topics, [`Row::Topic`] each, the largest first.
    Topics {
        /// How many at the most; 10,000 are the most that are given.
        limit: usize,
    },
    /// The entries of a topic, [`Row::Entry`] each, in the order in which they came here.
    List {
        /// Which.
        topic: Text,
    },
    /// The entries with that key, [`Row::Entry`] each.
    Get {
        /// In which topic.
        topic: Text,
        /// Which key.
        key: Text,
    },
    /// The changes of a topic from now on, [`Row::Event`] each, until the connection is closed; and [`Row::Alive`] every half second.
    Watch {
        /// Which.
        topic: Text,
    },
    /// Entries that may not be true any more, [`Row::Ghost`] each.
    Ghosts,
    /// What is known of each node, [`Row::Node`] each, and of each lane of it that is held, [`Row::Lane`] each.
    Lanes,
    /// Has the version of an entry removed by its owner: [`Row::Evicted`].
    Evict {
        /// The ref, as entries have it.
        entry: String,
        /// For how long the owner may be asked, in milliseconds; 10,000 are the most.
        timeout_ms: u64,
    },
}

/// What a server says, in one line. An answer ends with [`Row::End`] or [`Row::Error`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Row {
    /// The first line of every connection.
    Hello(Hello),
    /// A topic.
    Topic {
        /// Its name.
        topic: Text,
        /// Its entries.
        members: u64,
    },
    /// An entry.
    Entry(EntryRow),
    /// A change of a topic.
    Event {
        /// What.
        event: Change,
        /// Where.
        topic: Text,
        /// The entry, as it is or, if it left, was. None for `first` and `empty`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        entry: Option<EntryRow>,
        /// The meta before an update.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        old_meta: Option<Text>,
    },
    /// The client did not read fast enough, and so many changes are not told.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// Nothing has happened; the process is there.
    Alive,
    /// An entry that may not be true any more.
    Ghost {
        /// Why it may not.
        why: Why,
        /// The entry.
        entry: EntryRow,
    },
    /// A node.
    Node(NodeRow),
    /// A lane of the node named last, or of an earlier one.
    Lane(LaneRow),
    /// What has come of an eviction.
    Evicted {
        /// That.
        outcome: Outcome,
    },
    /// The request is not answered, or not to its end.
    Error {
        /// Why.
        code: Code,
        /// The same for people.
        text: String,
    },
    /// The answer is complete.
    End {
        /// Rows of it.
        rows: u64,
        /// Of how many; the same where there is no limit.
        of: u64,
    },
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The version of this package.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// The node's name; empty if it has none.
    pub node: String,
    /// Its id.
    pub node_id: String,
    /// Its life.
    pub incarnation: String,
    /// Its cluster, if it is in one.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Whether it removes entries that other nodes want removed.
    #[serde(default)]
    pub obeys: bool,
}

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntryRow {
    /// Its topic.
    pub topic: Text,
    /// Its key.
    pub key: Text,
    /// Its meta.
    pub meta: Text,
    /// The name of its node; the id while the name is not known.
    pub node: String,
    /// The session that owns it, if it is of the process that was asked.
    #[serde(default)]
    pub session: Option<u64>,
    /// The ref of this version.
    pub entry: String,
    /// The ref of its first version.
    pub joined: String,
    /// How long ago its node was heard last, in milliseconds: how old the row may be. None for the process that was asked. (When an entry
    /// joined is written down nowhere.)
    #[serde(default)]
    pub heard_ms: Option<u64>,
}

/// A node, as the process that was asked sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Its id.
    pub node: String,
    /// Its life.
    pub incarnation: String,
    /// `local`, `up`, `up_indirect`, `suspect`, `down` or `leaving`.
    pub state: String,
    /// How long ago it was heard last, in milliseconds; none for the process itself.
    #[serde(default)]
    pub heard_ms: Option<u64>,
    /// Whether everything is here that it is known to have said.
    pub synced: bool,
    /// How many lanes it has.
    pub lanes: u16,
    /// Its entries, hidden or not.
    pub entries: u64,
}

/// A lane of a node at one instant. At equal clocks of a lane that is quiet, count and digest are equal everywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaneRow {
    /// The node's id.
    pub node: String,
    /// Its life.
    pub incarnation: String,
    /// The lane.
    pub lane: u16,
    /// Its clock.
    pub clock: u64,
    /// Entries that live.
    pub count: u64,
    /// Their digest, 16 digits.
    pub digest: String,
    /// Whether clock, count and digest belong together: no snapshot is under way and nothing has diverged.
    pub clean: bool,
}

/// A kind of change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// An entry came.
    Join,
    /// It has a new meta.
    Update,
    /// It left.
    Leave,
    /// The topic has its first entry.
    First,
    /// The topic has none any more.
    Empty,
}

/// Why an entry may not be true any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// Its node has said goodbye, and its entries stay listed for a while.
    Leaving,
    /// That life of its node is over; the next one is not shown in full yet.
    LifeOver,
    /// Its node is not heard, by nobody.
    Silent,
    /// Its node is not heard here, but by others.
    Indirect,
    /// Its node is heard, but the lane is not here to its end: it may have left already.
    Behind,
}

/// What has come of an eviction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The owner has removed it.
    Removed,
    /// There is no such version any more.
    Gone,
}

/// Why a request is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// It is not JSON, not one of [`Request`], or too long.
    BadRequest,
    /// As many clients as there can be are connected.
    Busy,
    /// The owner did not answer in time.
    NoAnswer,
    /// The owner does not obey.
    NotAllowed,
    /// The process is not a member of a cluster, or not any more, so it cannot ask the owner.
    NotAMember,
    /// Anything else.
    Failed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leaving => "its node has left and its entries stay for a while",
            Self::LifeOver => "that life of its node is over",
            Self::Silent => "its node is silent",
            Self::Indirect => "its node is heard by others only",
            Self::Behind => "its lane is not here to its end",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be_and_read_back() {
        for (bytes, json) in [
            (&b"alice"[..], r#""alice""#),
            ("knoten-\u{fc}ber \"x\"\n".as_bytes(), "\"knoten-\u{fc}ber \\\"x\\\"\\n\""),
            (&[0xff, 0, 0x7f], r#"{"hex":"ff007f"}"#),
            (b"", r#""""#),
        ] {
            let text = Text::from(bytes);
            assert_eq!(serde_json::to_string(&text).unwrap(), json);
            assert_eq!(serde_json::from_str::<Text>(json).unwrap(), text);
            assert_eq!(text.to_bytes().unwrap(), bytes);
        }
        for bad in ["f", "fg", "é", "0x"] {
            assert_eq!(Text::Hex { hex: bad.into() }.to_bytes(), None, "{bad}");
        }
    }

    #[test]
    fn requests_are_objects_with_an_op() {
        let json = r#"{"op":"get","topic":"room:42","key":{"hex":"ff"}}"#;
        let request: Request = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        assert_eq!(serde_json::from_str::<Request>(r#"{"op":"lanes"}"#).unwrap(), Request::Lanes);
        for bad in ["", "{}", "7", r#"{"op":"dance"}"#, r#"{"op":"list"}"#, r#"{"op":"list","topic":7}"#] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
