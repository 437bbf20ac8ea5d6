//! What the programs of this package share: the line protocol that a node speaks to its clients, a client for it, and
//! node processes that never outlive whoever started them.
//!
//! The `headcount` command is built on it, its tests are, and so is whatever drives real nodes from outside.

pub mod limit;
pub mod line;
pub mod process;

pub use limit::{Limit, Stopped};
