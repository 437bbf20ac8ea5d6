//! One key that very many sessions have.

use super::common::node;
use std::collections::BTreeSet;

/// More than the numbers of them fit a page of the arena.
const SESSIONS: usize = 2500;

#[test]
fn one_key_can_have_thousands_of_sessions() {
    let tracker = node(1, 1);
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| tracker.session()).collect();
    for (at, session) in sessions.iter().enumerate() {
        session.track("room", "anonymous", "").unwrap();
        if at % 50 == 0 {
            assert_eq!(tracker.read("room", "anonymous", |_| ()), at + 1);
        }
    }
    let found: BTreeSet<_> =
        tracker.get("room", "anonymous").iter().filter_map(|entry| entry.session()).collect();
    assert_eq!((found.len(), tracker.count("room")), (SESSIONS, SESSIONS));
    sessions.truncate(1);
    assert_eq!(tracker.get("room", "anonymous").len(), 1);
}
