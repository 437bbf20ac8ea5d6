//! The line protocol between a node and its clients: made for a person with `nc` and for a program alike.
//!
//! A connection is a session. Entries belong to the connection that joined them and leave with it, however it ends.
//!
//! # Lines and tokens
//! A line ends in `\n` or `\r\n` and is at most [`LINE_LEN_MAX`] bytes long; what is longer is refused and skipped to
//! its end. An empty line means nothing. Tokens are separated by spaces. A token in double quotes may hold anything,
//! with the escapes `\" \\ \n \r \t \xNN`; without quotes it is taken as it stands. Everything a node writes is quoted
//! where it has to be, so that it reads back as what it was.
//!
//! # Requests
//! ```text
//! JOIN topic key [meta]     OK <ref>         enter; meta is the rest of the line
//! UPDATE topic key [meta]   OK <ref>         change the meta of an entry of this connection
//! LEAVE topic key           OK left | OK absent
//! LEAVE topic               OK left <n>      everything of this connection in the topic; LEAVE * in all topics
//! LIST topic                ENTRY <key> <node> <ref> <meta> ...  END <n>
//! GET topic key             ENTRY <key> <node> <ref> <meta> ...  END <n>
//! COUNT [topic]             OK <n>
//! TOPICS                    TOPIC <name> <count> ...  END <n>
//! WATCH topic               SNAPSHOT <topic> <key> <node> <ref> <meta> ...  END <n>, then events; WATCH * for all
//! UNWATCH topic             OK               UNWATCH * ends WATCH *
//! NODES                     NODE <name> <id> <state> <silent ms|-> entries=<n> synced=<yes|no> incarnation=<i> ...  END <n>
//! STATS                     STAT <name> <value> ...  END <n>
//! PING, HELP, QUIT          OK pong, text, OK bye
//! ```
//! Verbs may be in either case. Every request gets one reply, in the order of the requests: one line that starts with
//! `OK` or with `ERR <code> <what is wrong>`, or several lines of which the last is `END <number of lines before it>`.
//! A topic that is really called `*` is written `"*"`. An entry is changed and ended by the connection that joined it.
//!
//! # Events
//! Between replies, never inside one:
//! ```text
//! EVENT JOIN   <topic> <key> <node> <ref> <meta>
//! EVENT LEAVE  <topic> <key> <node> <ref> <meta>
//! EVENT UPDATE <topic> <key> <node> <ref> <replaced ref> <meta>
//! EVENT FIRST  <topic>                        the topic has got its first entry
//! EVENT EMPTY  <topic>                        the topic has lost its last entry
//! EVENT NODE-UP   <node> <id> <incarnation>   WATCH * only
//! EVENT NODE-DOWN <node> <id> <incarnation>   WATCH * only
//! EVENT LAGGED <n> <topic>                    n events were dropped, because this client reads too slowly
//! ```
//! After `EVENT LAGGED` of a topic comes what the topic holds now, as `SNAPSHOT` lines and one
//! `EVENT RESYNCED <topic> <number of SNAPSHOT lines>`, and then events again. `EVENT LAGGED <n> *` is not followed by
//! a snapshot: list what matters.

mod client;
mod reply;
mod token;

pub use client::{Client, ClientError};
pub use reply::{Listed, Reply, parse_ref};
pub use token::{QuoteError, Token, Tokens, push_token};

/// The longest line that a node accepts, its end not counted.
pub const LINE_LEN_MAX: usize = 4096;

/// What HELP answers. The same as this module's documentation, shorter.
pub const HELP: &str = "\
JOIN topic key [meta]    enter a topic; meta is the rest of the line    -> OK <ref>
UPDATE topic key [meta]  change the meta of an entry of yours           -> OK <ref>
LEAVE topic key          leave                                          -> OK left | OK absent
LEAVE topic | LEAVE *    leave with all keys, or everywhere             -> OK left <n>
LIST topic               who is there    -> ENTRY <key> <node> <ref> <meta> ... END <n>
GET topic key            one key, from whichever node and connection    -> as LIST
COUNT [topic]            how many are there, or in all topics           -> OK <n>
TOPICS                   all topics      -> TOPIC <name> <count> ... END <n>
WATCH topic              who is there, then changes as they happen
                         -> SNAPSHOT <topic> <key> <node> <ref> <meta> ... END <n>, then
                            EVENT JOIN|LEAVE <topic> <key> <node> <ref> <meta>
                            EVENT UPDATE <topic> <key> <node> <ref> <replaced ref> <meta>
                            EVENT FIRST|EMPTY <topic>
                            EVENT LAGGED <n> <topic>: you read too slowly and missed n events;
                            SNAPSHOT lines and EVENT RESYNCED <topic> <n> follow
WATCH *                  changes in all topics, and nodes: EVENT NODE-UP|NODE-DOWN <node> <id> <incarnation>
UNWATCH topic | *        end a watch                                    -> OK
NODES                    the cluster     -> NODE <name> <id> <state> <silent ms> ... END <n>
STATS                    counters        -> STAT <name> <value> ... END <n>
PING, HELP, QUIT
You are present while this connection is open: whatever it joined leaves when it closes.
Quote a token that has spaces: JOIN \"room 1\" alice. Escapes in quotes: \\\" \\\\ \\n \\r \\t \\xNN.
A topic that is really called * is written \"*\".
Mistakes are answered by ERR <code> <what is wrong>. A line may have 4096 bytes.
";
