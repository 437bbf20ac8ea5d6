//! Replication by hand: the rows ST1–ST20 of the conformance table that concern the engine.

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod catch_up;
mod delta;
mod hidden;
mod hooks;
mod hostile;
mod lives;
mod merge;
mod order;
mod relay;
mod snapshot;
mod succession;
