//! What the programs of this package share: the line protocol that a node speaks to its clients, a client for it, and
//! node processes that never outlive whoever started them.
//!
//! The `headcount` command is built on it, the `chaos` lab is, and so are their tests. [`program`] is where both start.

// The programs' modules name this library as everybody else does.
extern crate self as headcount_tools;

#[cfg(target_os = "linux")]
mod chaos;
// Only the lab asks what was put where, and it is of Linux.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "used by the lab"))]
mod churn;
mod demo;
#[cfg(unix)]
mod doctor;
mod error;
mod failure;
#[cfg(unix)]
mod inspect;
mod node;
mod number;
mod process_cost;
#[cfg(unix)]
mod stat;
#[cfg(unix)]
mod top;
mod ui;
mod visible;

pub mod limit;
pub mod line;
pub mod process;
pub mod program;

pub use limit::{Limit, Stopped};
