//! Counters that another process can read: what a running tracker does, at next to no cost to it.
//!
//! A process that opts in keeps a file under the shared-memory file system; `headcount stat` and anybody's own tool map it for reading. Whoever
//! counts takes no lock and makes no system call for it: operations count in the mapped memory instead of the process's own, whether somebody
//! looks or not. What there is besides is a thread that wakes four times a second and says that the process lives; once a second it takes the
//! lock of each shard in turn, for a handful of numbers ([`Counters::every_second`]). What is said in words (facts, errors, events) takes a
//! lock of its own, where it is said. No port is opened, and nothing is sent; a node of `headcount-net` whose tracker has a file sends its
//! members a probe at most every five seconds, while changes are told.
//!
//! ```
//! use headcount::counters::{Counters, Reader};
//! use headcount::Config;
//!
//! # let dir = std::env::temp_dir();
//! let counters = Counters::create(&dir)?; // usually `Counters::create(headcount::counters::default_dir())`
//! let path = counters.path().unwrap().to_owned();
//! let tracker = Config::default().shards(1).counters(counters).build()?;
//! let session = tracker.session();
//! session.track("room:42", "alice", "")?;
//!
//! // As another process would.
//! let reader = Reader::open(&path)?;
//! let shards = reader.table("shard").unwrap();
//! assert_eq!(shards.number(0, "tracked_total"), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The file
//!
//! It describes itself: tables with names, fields with units, kinds and help. A tool of another version finds what it knows by name, and can
//! show what it does not know. It is made as `headcount.PID.N.new`, locked (`flock`) for as long as the process lives, and then named
//! `headcount.PID.N`; when the [`Counters`] are dropped it is removed. What a killed process leaves behind is told from a living one by the
//! lock, which the system lets go of, and removed by the next process of the same user that makes a file there, [`KEPT_SECS`] seconds after
//! its last beat. A name that a living process has is left to it, and the next number taken: two containers may share a directory and have
//! processes of one number. That of a dead one is taken over.
//!
//! The directory may be one that everybody may write. What is opened there is a regular file (no FIFO is waited for, no link is followed),
//! and one of the reader's own user or of root: the owner of a file can cut it short, which ends who has it mapped by a signal, SIGBUS. Root
//! reads the files of all users, and bears that risk; a tool that is run as root and is to be sure of its life looks as the user in question.
//!
//! All of it is 64-bit words in the machine's byte order, each written whole. Words of the header:
//!
//! | word | what |
//! |---|---|
//! | 0 | `hcounter` |
//! | 1 | version: major in the upper half, minor in the lower. Another major is another layout |
//! | 2 | process id |
//! | 3 | when it was made, nanoseconds since 1970 |
//! | 4 | nanoseconds between two beats |
//! | 5 | tables in the directory; those up to here are whole (written last, Release) |
//! | 6 | the last beat: nanoseconds of the system's monotonic clock |
//! | 7 | 1 once the process has ended it |
//!
//! The directory begins at word 64, with 32 words a table: name (32 bytes), help (128), then words: where the table begins, in bytes of the
//! file, and its length in bytes, fields, rows, words of a row. A table begins with its fields, 32 words each: name (40 bytes), unit (24),
//! help (128), then words: kind, first word of it in a row, its words, and a parameter. Rows follow, from the next multiple of 16 words on.
//! The first word of a row is 0 while it means nothing. Texts are UTF-8, with zeros behind.
//!
//! | kind | words | parameter |
//! |---|---|---|
//! | 1 counter | 1: only grows | |
//! | 2 gauge | 1: goes up and down | |
//! | 3 histogram | sum, greatest, then the buckets | bits of a bucket's position within its power of two |
//! | 4 text | a number that is odd while the text changes, its length, its bytes | most bytes |
//!
//! Buckets are log-linear, as in HdrHistogram: with `b` bits, values below 2^b have a bucket each, and each power of two above has 2^b.

mod beat;
mod cells;
mod diary;
mod error;
mod file;
mod format;
mod histogram;
mod open;
mod prune;
mod reader;
mod region;
mod schema;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod writer;

pub use cells::{Histogram, Number, Row, Table, Text};
pub use error::{CreateError, ReadError};
pub use file::default_dir;
pub use format::{VERSION_MAJOR, VERSION_MINOR};
pub use histogram::Distribution;
pub use prune::KEPT_SECS;
pub use reader::{FieldInfo, Found, Life, Reader, TableReader, find};
pub use schema::{Field, Kind, Schema};
pub use writer::Counters;
