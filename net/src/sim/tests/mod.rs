//! The simulator at work: many seeds with everything at once, and one test for each thing that went wrong elsewhere.

mod failures;
mod liveness;
mod membership;
mod modes;
#[cfg(feature = "tracing")]
mod notes;
mod random;
mod relay;
mod repair;
mod replication;
mod stage;
mod succession;
mod transfer;
mod versions;
