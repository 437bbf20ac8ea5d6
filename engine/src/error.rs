//! What an operation of a session, or a configuration, can be refused for.

use crate::EntryRef;

/// Why an operation was refused. Whatever it says, nothing was changed: operations happen whole or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This session tracks this key in this topic already; its entry stands as it was. Use
    /// [`update`](crate::Session::update) to change the meta.
    #[error("already tracked by this session as {existing}")]
    AlreadyTracked {
        /// The entry that is there.
        existing: EntryRef,
    },
    /// This session does not track this key in this topic.
    #[error("not tracked by this session")]
    NotTracked,
    /// A topic, key or meta is longer than the tracker's configuration allows.
    #[error("{field} is {len} bytes, the limit is {max}")]
    TooLong {
        /// `"topic"`, `"key"` or `"meta"`.
        field: &'static str,
        /// The length given, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A limit of the tracker's configuration is reached.
    #[error("{field} is reached: the limit is {max}")]
    Full {
        /// The configuration field that sets the limit.
        field: &'static str,
        /// The limit: entries, or bytes for `memory_max`.
        max: usize,
    },
    /// The tracker was shut down.
    #[error("the tracker is shut down")]
    Shutdown,
}

/// Why a [`Config`](crate::Config) was refused. No tracker was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field is below its least or above its greatest value.
    #[error("{field} is {value}, it must be within {min}..={max}")]
    OutOfRange {
        /// The name of the field.
        field: &'static str,
        /// The value given.
        value: u64,
        /// The least value allowed.
        min: u64,
        /// The greatest value allowed.
        max: u64,
    },
    /// A field that must be a power of two is not.
    #[error("{field} is {value}, it must be a power of two")]
    NotAPowerOfTwo {
        /// The name of the field.
        field: &'static str,
        /// The value given.
        value: u64,
    },
}
