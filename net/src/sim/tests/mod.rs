//! The simulator at work: many seeds with everything at once, and one test for each thing that went wrong elsewhere.

mod failures;
mod membership;
mod random;
mod replication;
mod stage;
mod transfer;
