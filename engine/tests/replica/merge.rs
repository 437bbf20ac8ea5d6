//! ST1–ST3, ST5, ST6, ST9, ST15–ST17, R6: what merging does to views and what it tells.

use super::common::peer::Peer;
use super::common::{drain, fingerprint, listed, short, told, topic_names, view};
use headcount::replica::ApplyError;
use headcount::{Entry, EntryRef, Error, Event, EventKind, Filter, NodeId, NodeState};
use std::collections::BTreeMap;

#[test]
fn st1_a_fresh_nodes_state_is_empty() {
    let (a, b) = (Peer::new(1, 4), Peer::new(2, 4));
    assert!(a.tracker.is_empty() && a.tracker.topics().is_empty());
    for lane in 0..4 {
        assert_eq!(a.replica.lane_clock(lane), 0);
        assert_eq!(a.replica.lane_summary(lane), Default::default());
        assert!(a.replica.snapshot(lane).unwrap().entries.is_empty());
        assert_eq!(a.replica.delta(lane, 0, usize::MAX).unwrap().operations(), []);
    }
    b.pull(&a);
    assert!(b.tracker.is_empty() && b.replica.entries_of(a.id()).is_empty());
    assert!(b.agrees_with(&a));
    assert_eq!(b.tracker.stats().nodes_remote, 1);
}

#[test]
fn st2_a_join_is_listed_with_the_owners_ref_and_a_leave_is_gone() {
    let (a, b) = (Peer::new(1, 4), Peer::new(2, 1));
    let session = a.tracker.session();
    let dot = session.track("room", "alice", "hi").unwrap();
    b.pull(&a);
    let found = b.tracker.get("room", "alice");
    assert_eq!(found, a.tracker.get("room", "alice"));
    assert_eq!((found[0].entry_ref(), found[0].origin(), found[0].session()), (dot, a.id(), None));
    assert!(!found[0].is_local());
    assert_eq!((b.tracker.count("room"), b.tracker.len(), b.tracker.topics().len()), (1, 1, 1));
    assert_eq!(b.replica.entries_of(a.id()), found);

    session.untrack("room", "alice").unwrap();
    b.pull(&a);
    assert!(b.tracker.is_empty() && !b.tracker.contains("room", "alice"));
    assert!(b.tracker.topics().is_empty());
    assert!(b.agrees_with(&a));
}

#[test]
fn st3_merge_emits_exactly_the_peers_joins() {
    let (a, b) = (Peer::new(1, 4), Peer::new(2, 2));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    for topic in topic_names(10) {
        on_a.track(&topic, "from a", "").unwrap();
    }
    on_b.track("topic:3", "from b", "").unwrap();
    b.meet(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    b.pull(&a);
    let told = told(&mut events);
    assert_eq!(told.iter().filter(|line| *line == "+from a=").count(), 10);
    assert_eq!(told.iter().filter(|line| line.starts_with("first ")).count(), 9, "topic:3 was there");
    assert_eq!(told.len(), 19);
}

#[test]
fn st3_merging_again_is_a_no_op() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let session = a.tracker.session();
    for topic in topic_names(10) {
        session.track(&topic, "key", "").unwrap();
        session.update(&topic, "key", "2").unwrap();
    }
    session.untrack("topic:4", "key").unwrap();
    let deltas: Vec<_> = (0..2).map(|lane| a.replica.delta(lane, 0, usize::MAX).unwrap()).collect();
    b.pull(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    let before = fingerprint(&b.tracker);
    for delta in &deltas {
        assert_eq!(b.apply(&a, delta), Ok(delta.hi()));
    }
    b.pull(&a);
    assert_eq!(fingerprint(&b.tracker), before);
    assert!(drain(&mut events).is_empty());
}

#[test]
fn st3_merge_is_symmetric() {
    let (a, b) = (Peer::new(1, 4), Peer::new(2, 8));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    for topic in topic_names(10) {
        on_a.track(&topic, "a", "").unwrap();
        on_b.track(&topic, "b", "").unwrap();
        on_b.track(&topic, "gone", "").unwrap();
    }
    on_b.update("topic:1", "b", "2").unwrap();
    on_b.untrack_topic("topic:2").unwrap();
    on_a.clear().unwrap();
    on_a.track("topic:2", "a", "again").unwrap();
    a.pull(&b);
    b.pull(&a);
    assert_eq!(view(&a.tracker), view(&b.tracker));
    assert!(a.agrees_with(&b) && b.agrees_with(&a));
    assert_eq!(a.tracker.len(), 19);
}

#[test]
fn st3_an_observed_remove_is_one_leave_and_an_update_one_update() {
    let (a, b) = (Peer::new(1, 4), Peer::new(2, 4));
    let session = a.tracker.session();
    session.track("room", "alice", "1").unwrap();
    session.track("room", "bob", "1").unwrap();
    b.pull(&a);
    let held = b.tracker.get("room", "alice").remove(0);
    let mut events = b.tracker.subscribe(Filter::all());
    session.update("room", "alice", "2").unwrap();
    b.pull(&a);
    let updates = drain(&mut events);
    let now = b.tracker.get("room", "alice").remove(0);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].kind, EventKind::Update { old: held.clone(), new: now.clone() });
    assert_eq!(now.prev_ref(), Some(held.entry_ref()));
    assert_eq!(now.joined_ref(), held.entry_ref());

    // Several between two deltas are one, from what was held to what is.
    session.update("room", "alice", "3").unwrap();
    session.update("room", "alice", "4").unwrap();
    session.untrack("room", "bob").unwrap();
    b.pull(&a);
    let mut lines = told(&mut events);
    lines.sort_unstable();
    assert_eq!(lines, ["-bob=1", "alice:2>4"]);
    assert_eq!(b.tracker.list("room"), a.tracker.list("room"));
}

#[test]
fn r6_a_remote_track_update_and_session_end_tell_what_they_tell_their_owner() {
    let (a, b) = (Peer::new(1, 4), Peer::new(2, 2));
    b.meet(&a);
    let (mut here, mut there) = (a.tracker.subscribe(Filter::all()), b.tracker.subscribe(Filter::all()));
    let mut both = |expected: &[&str]| {
        b.pull(&a);
        let (local, remote) = (drain(&mut here), drain(&mut there));
        assert_eq!(refs(&remote), refs(&local), "events of the owner and of another node name the same");
        let mut lines: Vec<String> = remote.iter().map(|event| short(&event.kind)).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected);
    };
    let (one, other) = (a.tracker.session(), a.tracker.session());
    one.track("room", "alice", "1").unwrap();
    both(&["+alice=1", "first room"]);
    other.track("room", "bob", "1").unwrap();
    both(&["+bob=1"]);
    one.track("hall", "alice", "").unwrap();
    both(&["+alice=", "first hall"]);
    one.update("room", "alice", "2").unwrap();
    both(&["alice:1>2"]);
    one.update_with("room", "alice", |_| "3").unwrap();
    both(&["alice:2>3"]);
    drop(one);
    both(&["-alice=", "-alice=3", "empty hall"]);
    drop(other);
    both(&["-bob=1", "empty room"]);
}

/// An event, and the versions that it is about.
type Told = (String, Vec<Option<EntryRef>>);

/// Each event with the versions that it is about, topic by topic: between topics there is no order.
fn refs(events: &[Event]) -> BTreeMap<Vec<u8>, Vec<Told>> {
    let mut by_topic = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        let (topic, entries) = match &event.kind {
            EventKind::Join(entry) | EventKind::Leave(entry) => (entry.topic(), vec![entry]),
            EventKind::Update { old, new } => (new.topic(), vec![old, new]),
            EventKind::First(topic) | EventKind::Empty(topic) => (topic, vec![]),
            other => panic!("nothing of the kind was done: {other:?}"),
        };
        let versions = |entry: &Entry| [Some(entry.entry_ref()), Some(entry.joined_ref()), entry.prev_ref()];
        let versions = entries.into_iter().flat_map(versions).collect();
        by_topic.entry(topic.to_vec()).or_default().push((short(&event.kind), versions));
    }
    by_topic
}

#[test]
fn r6_remote_changes_tell_a_topics_edges_like_local_ones() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let mut events = b.tracker.subscribe(Filter::topic("room"));
    let (here, there) = (b.tracker.session(), a.tracker.session());
    there.track("room", "there", "").unwrap();
    b.pull(&a);
    assert_eq!(told(&mut events), ["first room", "+there="]);
    here.track("room", "here", "").unwrap();
    drop(there);
    b.pull(&a);
    assert_eq!(told(&mut events), ["+here=", "-there="]);
    drop(here);
    assert_eq!(told(&mut events), ["-here=", "empty room"]);
}

// Only the owner tells its lane, and B does not merge A's state into what it says itself. What B hands on is A's lane as B holds it, of
// which C takes what is above its own clock (`core/relay.rs` in `net` decides who asks whom, and when).

#[test]
fn st5_a_join_of_a_reaches_c_through_b_and_only_the_new_one() {
    let (a, b, c) = (Peer::new(1, 2), Peer::new(2, 4), Peer::new(3, 1));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    let old = on_a.track("room", "old", "").unwrap();
    on_b.track("room", "from b", "").unwrap();
    for (to, from) in [(&b, &a), (&c, &a), (&c, &b)] {
        to.pull(from);
    }
    let mut events = c.tracker.subscribe(Filter::all());
    // From here on A and C do not hear each other.
    let new = on_a.track("room", "new", "").unwrap();
    assert_eq!((old.lane, new.lane), (new.lane, old.lane));
    b.pull(&a);
    let said = c.ask(&a, new.lane);
    assert_eq!(c.take_over(&a, &b, new.lane, 1), Ok(new.clock));
    assert_eq!(told(&mut events), ["+new="]);
    assert_eq!(view(&c.tracker), view(&b.tracker));
    assert!(c.agrees_with(&a));

    // From both sides at last, and from B once more.
    assert_eq!(c.apply(&a, &said), Ok(new.clock));
    let again = c.take_over(&a, &b, new.lane, 1);
    assert!(matches!(again, Err(ApplyError::SnapshotMisfit { .. })), "{again:?}");
    assert!(told(&mut events).is_empty());
    assert_eq!(view(&c.tracker), view(&b.tracker));
}

#[test]
fn st6_a_leave_of_a_reaches_c_through_b_and_only_that_one() {
    let (a, b, c) = (Peer::new(1, 2), Peer::new(2, 4), Peer::new(3, 1));
    let on_a = a.tracker.session();
    on_a.track("room", "stays", "").unwrap();
    let goes = on_a.track("room", "goes", "").unwrap();
    b.pull(&a);
    c.pull(&a);
    let mut events = c.tracker.subscribe(Filter::all());
    on_a.untrack("room", "goes").unwrap();
    b.pull(&a);
    assert_eq!(c.take_over(&a, &b, goes.lane, 1), Ok(a.replica.lane_clock(goes.lane)));
    assert_eq!(told(&mut events), ["-goes="]);
    assert_eq!(listed(&c.tracker, "room"), ["stays="]);
    assert!(c.agrees_with(&a));
}

#[test]
fn st5_what_b_has_by_a_snapshot_of_a_reaches_c_too() {
    for chunk_len in [1, 1000] {
        let (a, b, c) = (Peer::new(1, 1), Peer::new(2, 1), Peer::new(3, 1));
        let on_a = a.tracker.session();
        for key in ["old", "goes", "changes"] {
            on_a.track("room", key, "1").unwrap();
        }
        c.pull(&a);
        on_a.track("room", "new", "1").unwrap();
        on_a.untrack("room", "goes").unwrap();
        on_a.update("room", "changes", "2").unwrap();
        b.take_all(&a, chunk_len);
        let mut events = c.tracker.subscribe(Filter::all());
        assert_eq!(c.take_over(&a, &b, 0, chunk_len), Ok(a.replica.lane_clock(0)));
        let mut lines = told(&mut events);
        lines.sort_unstable();
        assert_eq!(lines, ["+new=1", "-goes=1", "changes:1>2"]);
        assert!(c.agrees_with(&a));
    }
}

#[test]
fn st9_lists_over_three_replicas_then_with_one_down_then_two() {
    let peers = [Peer::new(1, 4), Peer::new(2, 2), Peer::new(3, 1)];
    let _sessions: Vec<_> = peers
        .iter()
        .map(|peer| {
            let session = peer.tracker.session();
            session.track("room", format!("from {}", peer.id().0), "").unwrap();
            session
        })
        .collect();
    for to in &peers {
        for from in &peers {
            if to.id() != from.id() {
                to.pull(from);
            }
        }
    }
    let keys = || {
        let mut keys = listed(&peers[0].tracker, "room");
        keys.sort_unstable();
        assert_eq!(keys.len(), peers[0].tracker.count("room"));
        keys
    };
    assert_eq!(keys(), ["from 1=", "from 2=", "from 3="]);
    assert!(peers[0].replica.origin_state(NodeId(2), NodeState::Down));
    assert_eq!(keys(), ["from 1=", "from 3="]);
    assert!(peers[0].replica.origin_state(NodeId(3), NodeState::Down));
    assert_eq!(keys(), ["from 1="]);
    assert_eq!(listed(&peers[1].tracker, "room").len(), 3, "the others' views are their own");
    assert!(peers[0].replica.origin_state(NodeId(2), NodeState::Up));
    assert_eq!(keys(), ["from 1=", "from 2="]);
}

#[test]
fn st15_a_concurrent_add_wins_over_a_remove() {
    let (a, b, c) = (Peer::new(1, 2), Peer::new(2, 2), Peer::new(3, 2));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    on_a.track("room", "alice", "a").unwrap();
    c.pull(&a);
    // A removes it while B, which has not heard of that, adds the same.
    on_a.untrack("room", "alice").unwrap();
    on_b.track("room", "alice", "b").unwrap();
    for (to, from) in [(&c, &b), (&c, &a), (&a, &b), (&b, &a)] {
        to.pull(from);
    }
    for peer in [&a, &b, &c] {
        assert_eq!(listed(&peer.tracker, "room"), ["alice=b"]);
    }
}

#[test]
fn st15_a_re_added_entry_does_not_lose_to_its_old_dot() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    let mut said = Vec::new();
    let mut say = || said.push(a.replica.delta(0, said.len() as u64, usize::MAX).unwrap());
    session.track("room", "alice", "1").unwrap();
    say();
    session.untrack("room", "alice").unwrap();
    say();
    session.track("room", "alice", "2").unwrap();
    say();
    b.meet(&a);
    for delta in &said {
        b.apply(&a, delta).unwrap();
    }
    let mut events = b.tracker.subscribe(Filter::all());
    // The old remove, and everything else, once more and in any order.
    for at in [1, 0, 2, 1, 0] {
        assert_eq!(b.apply(&a, &said[at]), Ok(3));
    }
    assert!(drain(&mut events).is_empty());
    assert_eq!(listed(&b.tracker, "room"), ["alice=2"]);
    assert!(b.agrees_with(&a));
}

#[test]
fn st16_the_same_key_added_on_two_nodes_is_two_entries_on_both() {
    let (a, b, c) = (Peer::new(1, 4), Peer::new(2, 1), Peer::new(3, 16));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    on_a.track("room", "alice", "a").unwrap();
    on_b.track("room", "alice", "b").unwrap();
    for (to, from) in [(&a, &b), (&b, &a), (&c, &a), (&c, &b)] {
        to.pull(from);
    }
    for peer in [&a, &b, &c] {
        assert_eq!(peer.tracker.get("room", "alice").len(), 2);
        assert_eq!((peer.tracker.count("room"), peer.tracker.len()), (2, 2));
        assert_eq!(view(&peer.tracker), view(&c.tracker));
    }
    on_a.update("room", "alice", "a2").unwrap();
    drop(on_b);
    for (to, from) in [(&a, &b), (&b, &a), (&c, &a), (&c, &b)] {
        to.pull(from);
    }
    for peer in [&a, &b, &c] {
        assert_eq!(listed(&peer.tracker, "room"), ["alice=a2"]);
    }
}

// There is no operation on an entry that another node owns: a session names topic and key, and finds its own entries only.
#[test]
fn st17_a_session_cannot_change_what_another_node_owns() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    on_a.track("room", "alice", "a").unwrap();
    b.pull(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    let before = fingerprint(&b.tracker);
    assert_eq!(on_b.untrack("room", "alice"), Ok(false));
    assert_eq!(on_b.untrack_topic("room"), Ok(0));
    assert_eq!(on_b.clear(), Ok(0));
    assert_eq!(on_b.update("room", "alice", "b"), Err(Error::NotTracked));
    assert_eq!(on_b.update_with("room", "alice", |_| "b"), Err(Error::NotTracked));
    drop(on_b);
    let before = before.replace("sessions: 1", "sessions: 0");
    assert_eq!(fingerprint(&b.tracker), before);
    assert!(drain(&mut events).is_empty());
    assert!((0..2).all(|lane| b.replica.lane_clock(lane) == 0), "B's lanes said nothing");
    assert!(b.agrees_with(&a));

    // The same key by a session of this node is an entry of its own, and ends without the other's.
    let on_b = b.tracker.session();
    on_b.track("room", "alice", "b").unwrap();
    assert_eq!(on_b.untrack("room", "alice"), Ok(true));
    assert_eq!(listed(&b.tracker, "room"), ["alice=a"]);
}

#[test]
fn st17_a_shutdown_takes_this_nodes_entries_and_no_others() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    on_a.track("room", "alice", "a").unwrap();
    on_b.track("room", "bob", "b").unwrap();
    b.pull(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    b.tracker.shutdown();
    assert_eq!(told(&mut events), ["-bob=b"]);
    assert_eq!(listed(&b.tracker, "room"), ["alice=a"]);
    on_a.untrack("room", "alice").unwrap();
    let delta = a.replica.delta(0, 0, usize::MAX).unwrap();
    let delta = if delta.hi() > 0 { delta } else { a.replica.delta(1, 0, usize::MAX).unwrap() };
    assert_eq!(b.apply(&a, &delta), Err(headcount::replica::ApplyError::Shutdown));
    assert_eq!(listed(&b.tracker, "room"), ["alice=a"]);
}
