//! The tracker of one node: the rows T1–T15 of the conformance table, lists, limits and handles.

#[path = "../common/mod.rs"]
mod common;

mod config;
#[cfg(unix)]
mod counters;
mod events;
mod evict;
mod handles;
mod lists;
mod overflow;
mod ownership;
mod readers;
mod same_key;
mod sessions;
mod shutdown;
mod storage;
mod track;
mod update;
