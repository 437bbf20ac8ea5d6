//! What several commands make of the tables: the states of peers, the largest topics, and what happened last.

use super::snapshot::{Snapshot, Table};
use super::words::plain;
use std::time::Duration;

/// What the state of a peer is called.
pub(crate) fn peer_state(state: Option<u64>) -> &'static str {
    match state {
        Some(1) => "up",
        Some(2) => "up, heard by others only",
        Some(3) => "suspect",
        Some(4) => "leaving",
        Some(5) => "down",
        _ => "unknown",
    }
}

/// The largest topics, by members.
pub(crate) fn largest(now: &Snapshot) -> Vec<(u64, String)> {
    let Some(large) = now.table("topic_large") else { return Vec::new() };
    let topic = |row| Some((large.number(row, "members")?, plain(large.text(row, "topic")?, 64)));
    let mut topics: Vec<(u64, String)> = large.rows.iter().filter_map(topic).collect();
    topics.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    topics
}

/// Rows of a diary's table with when they were, the latest first.
pub(crate) fn latest<'a>(
    now: &'a Snapshot,
    table: &str,
    at: &str,
    order: &str,
) -> Vec<(Duration, &'a Table, usize)> {
    let Some(table) = now.table(table) else { return Vec::new() };
    let mut rows: Vec<usize> = (0..table.rows.len()).collect();
    rows.sort_by_key(|&row| std::cmp::Reverse(table.number(&table.rows[row], order)));
    let age = |row: &usize| now.ago(table.number(&table.rows[*row], at).unwrap_or(0));
    rows.iter().map(|row| (age(row), table, *row)).collect()
}
