//! **headcount** answers "who is here?": an embeddable presence tracker for game and chat servers.
//!
//! A [`Tracker`] knows which sessions are present in which topic, with their metadata. A [`Session`] owns entries; when
//! it is dropped, panics included, they leave. Readers [`get`](Tracker::get), [`list`](Tracker::list) and
//! [`count`](Tracker::count); a [`Subscription`] is a snapshot and every later change with no gap between them.
//!
//! The state is a sharded ORSWOT (an observed-remove set without tombstones: Bieniusa et al., "An optimized conflict-free
//! replicated set", 2012), so trackers on several nodes merge into one view; the crate `headcount-net` moves the deltas
//! over UDP multicast through the face in [`replica`].
//!
//! ```
//! use headcount::{EventKind, Filter, Tracker};
//!
//! let tracker = Tracker::new();
//! let mut events = tracker.subscribe(Filter::topic("room:42"));
//!
//! let session = tracker.session();
//! let joined = session.track("room:42", "alice", "typing")?;
//! assert_eq!(tracker.list("room:42")[0].entry_ref(), joined);
//!
//! session.update("room:42", "alice", "away")?;
//! assert_eq!(tracker.get("room:42", "alice")[0].meta(), b"away");
//!
//! drop(session); // a disconnect, a crash of the connection's task …
//! assert_eq!(tracker.count("room:42"), 0);
//!
//! let last = std::iter::from_fn(|| events.try_recv().ok()).last().unwrap();
//! assert!(matches!(last.kind, EventKind::Empty(_)));
//! # Ok::<(), headcount::Error>(())
//! ```
//!
//! # What is promised
//!
//! * **Read your writes.** When an operation returns, every read on this node sees it.
//! * **Order.** Operations on one topic have one order, and its events come in it. Topics are not ordered against each
//!   other.
//! * **Atomic per key.** A reader during an update sees the old or the new version, never neither and never a mixture.
//! * **Lists.** [`Tracker::list`], [`Tracker::for_each`] and pages have every entry that was present throughout, once, and no entry twice;
//!   what joins or leaves meanwhile may be there or not. [`Tracker::snapshot`] and a subscription's are one instant of the topic.
//! * **Reads take no lock** and write no memory that another thread reads: [`Tracker::get`], [`read`](Tracker::read),
//!   [`read_many`](Tracker::read_many), [`contains`](Tracker::contains), `list`, `for_each`, pages, [`count`](Tracker::count) and
//!   [`topics`](Tracker::topics). A writer that the system puts to sleep in the middle of a change holds none of them up. (`count` takes the
//!   topic's lock if, while a node is down, writers leave it no moment in 64 looks.)
//! * **Between nodes** the view is eventually consistent: an entry is its owner's to change, and other nodes see the owner's
//!   operations in the owner's order, later. The same key tracked on two nodes is two entries, on both.
//!
//! No guard leaves this crate and no lock is held while a caller's code runs, so nothing here deadlocks with it and everything
//! can be held across an `await`.

/// Whether a bug is planted; without the feature, the literal `false`.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

mod batch;
mod config;
pub mod counters;
mod entry;
mod error;
mod event;
mod evictions;
mod gauges;
mod id;
mod inbox;
mod kernel;
mod lane;
mod memory;
mod owned;
#[cfg(feature = "planted")]
pub mod planted;
pub mod replica;
mod session;
mod shard;
mod stats;
mod subscription;
mod sync;
mod tracker;
mod view;

pub use config::Config;
pub use entry::{Entry, EntryView};
pub use error::{ConfigError, Error};
pub use event::{Event, EventKind};
pub use id::{EntryRef, Incarnation, NodeId, ParseRefError, SessionId, Topic};
pub use session::Session;
pub use stats::{ShardStats, Stats};
pub use subscription::{Filter, RecvError, RecvTimeoutError, Subscription, TryRecvError};
pub use tracker::Tracker;
pub use view::{Node, NodeState, Page, PageToken, Pages, Snapshot};
