//! T8 and the promises about lists: order, counts, snapshots, pages.

use super::common::{Random, listed, paged};
use headcount::{Config, Entry, EntryRef, Page, Tracker};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

#[test]
fn a_list_is_in_the_order_of_arrival_and_updates_keep_their_place() {
    let tracker = Tracker::new();
    let session = tracker.session();
    for key in ["d", "a", "c", "b"] {
        session.track("room", key, "1").unwrap();
    }
    session.update("room", "a", "2").unwrap();
    assert_eq!(listed(&tracker, "room"), ["d=1", "a=2", "c=1", "b=1"]);
    session.untrack("room", "d").unwrap();
    session.track("room", "d", "2").unwrap();
    assert_eq!(listed(&tracker, "room"), ["a=2", "c=1", "b=1", "d=2"]);
}

#[test]
fn t8_counts_len_topics_and_stats_agree_with_the_lists() {
    let tracker = Config::default().shards(4).build().unwrap();
    let sessions = [tracker.session(), tracker.session(), tracker.session()];
    let mut random = Random(8);
    for step in 0..3000 {
        let (topic, key) = (format!("topic:{}", random.below(23)), format!("key:{}", random.below(5)));
        let session = &sessions[step % 3];
        match random.below(5) {
            0 | 1 => _ = session.track(&topic, &key, ""),
            2 => _ = session.update(&topic, &key, step.to_string()),
            _ => _ = session.untrack(&topic, &key).unwrap(),
        }
        if step % 100 == 0 {
            agrees(&tracker, &sessions);
        }
    }
    agrees(&tracker, &sessions);
    let stats = tracker.stats();
    assert!(stats.updated_total > 0 && stats.entries > 0);
    assert_eq!(stats.tracked_total - stats.untracked_total, stats.entries as u64);
    drop(sessions);
    assert_eq!((tracker.len(), tracker.stats().topics), (0, 0));
}

fn agrees(tracker: &Tracker, sessions: &[headcount::Session]) {
    let topics = tracker.topics();
    let distinct: BTreeSet<_> = topics.iter().collect();
    assert_eq!(distinct.len(), topics.len(), "no topic twice");
    let mut len = 0;
    for topic in &topics {
        let list = tracker.list(topic);
        assert!(!list.is_empty());
        assert_eq!(list.len(), tracker.count(topic));
        assert_eq!(list, paged(tracker, topic, 3));
        assert_eq!(list, tracker.snapshot(topic).entries);
        for entry in &list {
            assert!(tracker.get(topic, entry.key()).contains(entry));
        }
        len += list.len();
    }
    assert_eq!((tracker.len(), tracker.is_empty()), (len, len == 0));
    assert_eq!(sessions.iter().map(headcount::Session::len).sum::<usize>(), len);
    let stats = tracker.stats();
    assert_eq!((stats.entries, stats.entries_local, stats.entries_remote), (len, len, 0));
    assert_eq!((stats.topics, stats.sessions), (topics.len(), sessions.len()));
    assert_eq!(stats.shards.iter().map(|shard| shard.entries).sum::<usize>(), len);
    assert_eq!(tracker.nodes()[0].entries, len);
}

#[test]
fn a_snapshot_has_the_shards_version_at_its_instant() {
    let tracker = Tracker::new();
    let session = tracker.session();
    let empty = tracker.snapshot("room");
    session.track("room", "alice", "").unwrap();
    let one = tracker.snapshot("room");
    session.update("room", "alice", "2").unwrap();
    let updated = tracker.snapshot("room");
    assert_eq!((empty.shard, one.shard), (updated.shard, updated.shard));
    assert!(empty.version < one.version && one.version < updated.version);
    assert_eq!(one.entries[0].meta(), b"", "a snapshot stays as it was read");
    assert_eq!(tracker.stats().shards[usize::from(updated.shard)].version, updated.version);
}

#[test]
fn pages_together_are_the_list_whatever_their_length() {
    let tracker = Tracker::new();
    let session = tracker.session();
    for key in 0..10 {
        session.track("room", key.to_string(), "").unwrap();
    }
    session.untrack("room", "4").unwrap();
    let list = tracker.list("room");
    for page_len in 0..12 {
        let pages: Vec<Vec<Entry>> = tracker.pages("room", page_len).collect();
        let full = page_len.max(1);
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == full), "of {page_len}");
        assert_eq!(pages.len(), list.len().div_ceil(full));
        assert_eq!(pages.concat(), list);
    }
    let last = tracker.list_page("room", None, list.len());
    assert!(last.next.is_none(), "a page that has everything is the last");
}

#[test]
fn a_page_goes_on_after_its_last_entry_even_if_that_is_gone() {
    let tracker = Tracker::new();
    let session = tracker.session();
    for key in ["a", "b", "c", "d", "e"] {
        session.track("room", key, "").unwrap();
    }
    let keys = |page: &Page| page.entries.iter().map(|e| e.key_str().into_owned()).collect::<Vec<_>>();
    let first = tracker.list_page("room", None, 2);
    assert_eq!(keys(&first), ["a", "b"]);
    for gone in ["a", "b", "c"] {
        session.untrack("room", gone).unwrap();
    }
    session.track("room", "a", "back").unwrap();
    session.update("room", "d", "2").unwrap();
    let second = tracker.list_page("room", first.next, 2);
    assert_eq!(keys(&second), ["d", "e"]);
    let third = tracker.list_page("room", second.next, 2);
    assert_eq!(keys(&third), ["a"], "a new entry, after all others");
    assert!(third.next.is_none());
}

#[test]
fn under_churn_pages_have_every_lasting_entry_once_and_nothing_twice() {
    const LASTING: usize = 200;
    let tracker = Config::default().shards(1).build().unwrap();
    let (lasting, churning) = (tracker.session(), tracker.session());
    let mut stays: Vec<EntryRef> = Vec::new();
    for at in 0..LASTING {
        // Lasting and passing entries alternate, so that every page has gaps to step over.
        churning.track("room", format!("passing {at}"), "").unwrap();
        stays.push(lasting.track("room", format!("lasting {at}"), "").unwrap());
    }
    // Dropped by the churner when it is through, however it ends.
    let token = Arc::new(());
    let churned = Arc::downgrade(&token);
    thread::scope(|scope| {
        for page_len in [1, 7, 64] {
            let (tracker, stays, churned) = (&tracker, &stays, churned.clone());
            scope.spawn(move || {
                let mut walks = 0;
                while churned.strong_count() > 0 || walks == 0 {
                    let seen: Vec<EntryRef> = paged(tracker, "room", page_len)
                        .into_iter()
                        .map(|entry| entry.joined_ref())
                        .collect();
                    let distinct: BTreeSet<EntryRef> = seen.iter().copied().collect();
                    assert_eq!(distinct.len(), seen.len(), "an entry twice");
                    assert!(stays.iter().all(|dot| distinct.contains(dot)), "a lasting entry is missing");
                    walks += 1;
                }
            });
        }
        scope.spawn(|| {
            let _churning = token;
            for round in 0..60 {
                for at in 0..LASTING {
                    let key = format!("passing {at}");
                    if churning.untrack("room", &key) == Ok(true) || (at + round) % 3 == 0 {
                        churning.track("room", &key, "").unwrap();
                    }
                    lasting.update("room", format!("lasting {at}"), round.to_string()).unwrap();
                }
            }
        });
    });
}

#[test]
fn a_topic_that_was_emptied_and_filled_again_is_a_new_listing() {
    let tracker = Tracker::new();
    let session = tracker.session();
    session.track_many([("room", "a", ""), ("room", "b", ""), ("room", "c", "")]).unwrap();
    let first = tracker.list_page("room", None, 2);
    session.clear().unwrap();
    session.track_many([("room", "x", ""), ("room", "y", "")]).unwrap();
    // What joined meanwhile may come or not; nothing comes twice and nothing of the old topic comes at all.
    let rest = tracker.list_page("room", first.next, 10);
    assert!(rest.entries.iter().all(|entry| [b"x", b"y"].iter().any(|key| entry.key() == *key)));
    assert_eq!(listed(&tracker, "room"), ["x=", "y="]);
}
