//! ST4, ST10: nodes that go down and come up, and what readers see of them.

use super::common::peer::Peer;
use super::common::replay::Replay;
use super::common::{Random, drain, listed, paged, told, topic_names, view};
use headcount::{EntryRef, Filter, NodeId, NodeState};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

const A: NodeId = NodeId(1);

#[test]
fn st4_down_emits_leaves_and_up_emits_the_joins_again_with_the_same_refs() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    on_a.track("room", "alice", "").unwrap();
    on_a.track("hall", "alice", "").unwrap();
    on_b.track("room", "bob", "").unwrap();
    b.pull(&a);
    on_a.update("room", "alice", "2").unwrap();
    b.pull(&a);
    let whole = view(&b.tracker);
    let mut events = b.tracker.subscribe(Filter::topics(["room", "hall"]).with_nodes());

    assert!(b.replica.origin_state(A, NodeState::Down));
    let down: BTreeSet<String> = told(&mut events).into_iter().collect();
    assert_eq!(down, ["-alice=", "-alice=2", "down 1.1", "empty hall"].map(String::from).into());
    assert_eq!(listed(&b.tracker, "room"), ["bob="]);
    assert_eq!(b.replica.state_of(A), Some(NodeState::Down));

    assert!(b.replica.origin_state(A, NodeState::Up));
    let up: BTreeSet<String> = told(&mut events).into_iter().collect();
    assert_eq!(up, ["+alice=", "+alice=2", "first hall", "up 1.1"].map(String::from).into());
    assert_eq!(view(&b.tracker), whole, "the same refs, versions and metas");
    assert_eq!(b.replica.state_of(A), Some(NodeState::Up));
    assert!(b.agrees_with(&a));
}

#[test]
fn st4_merging_an_unchanged_state_while_down_emits_nothing() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let session = a.tracker.session();
    session.track("room", "alice", "").unwrap();
    b.pull(&a);
    b.replica.origin_state(A, NodeState::Down);
    let mut events = b.tracker.subscribe(Filter::all());
    assert!(events.snapshot().is_empty(), "who is down is not in a snapshot");
    b.pull(&a);
    for lane in 0..2 {
        let delta = a.replica.delta(lane, 0, usize::MAX).unwrap();
        if delta.hi() > 0 {
            b.apply(&a, &delta).unwrap();
        }
    }
    assert!(drain(&mut events).is_empty() && b.tracker.is_empty());
    b.replica.origin_state(A, NodeState::Up);
    assert_eq!(told(&mut events), ["first room", "+alice=", "up 1.1"]);
}

#[test]
fn st4_changes_while_down_are_silent_and_show_when_it_is_up() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 4));
    let session = a.tracker.session();
    for key in ["stays", "goes", "changes"] {
        session.track("room", key, "").unwrap();
    }
    b.pull(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    b.replica.origin_state(A, NodeState::Down);
    assert_eq!(told(&mut events).len(), 5);
    session.untrack("room", "goes").unwrap();
    session.update("room", "changes", "2").unwrap();
    session.track("room", "comes", "").unwrap();
    session.track("hall", "comes", "").unwrap();
    b.pull(&a);
    assert!(drain(&mut events).is_empty());
    assert!(b.tracker.is_empty() && b.tracker.topics().is_empty());
    b.replica.origin_state(A, NodeState::Suspect);
    let mut up = told(&mut events);
    assert_eq!(up.pop().as_deref(), Some("up 1.1"), "after its entries");
    up.sort_unstable();
    assert_eq!(up, ["+changes=2", "+comes=", "+comes=", "+stays=", "first hall", "first room"]);
    assert_eq!(view(&b.tracker), view(&a.tracker));
}

#[test]
fn st4_suspect_changes_nothing_but_the_state() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let session = a.tracker.session();
    session.track("room", "alice", "").unwrap();
    b.pull(&a);
    let mut events = b.tracker.subscribe(Filter::all());
    for state in [NodeState::Suspect, NodeState::Up, NodeState::Suspect, NodeState::Suspect] {
        assert!(b.replica.origin_state(A, state));
        assert_eq!(b.tracker.node(A).unwrap().state, state);
        assert_eq!(listed(&b.tracker, "room"), ["alice="]);
    }
    assert!(drain(&mut events).is_empty());
    for _ in 0..2 {
        b.replica.origin_state(A, NodeState::Down);
    }
    assert_eq!(told(&mut events), ["-alice=", "empty room", "down 1.1"], "once");
    assert!(!b.replica.origin_state(NodeId(9), NodeState::Down), "not known");
}

#[test]
fn st4_topic_edges_are_those_of_what_is_to_be_seen() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    on_a.track("room", "alice", "").unwrap();
    b.pull(&a);
    b.replica.origin_state(A, NodeState::Down);
    let mut events = b.tracker.subscribe(Filter::topic("room"));
    on_b.track("room", "bob", "").unwrap();
    assert_eq!(told(&mut events), ["first room", "+bob="], "for its readers the room was empty");
    b.replica.origin_state(A, NodeState::Up);
    assert_eq!(told(&mut events), ["+alice="]);
    b.replica.origin_state(A, NodeState::Down);
    on_b.untrack("room", "bob").unwrap();
    assert_eq!(told(&mut events), ["-alice=", "-bob=", "empty room"]);
    b.replica.origin_state(A, NodeState::Up);
    assert_eq!(told(&mut events), ["first room", "+alice="]);
}

#[test]
fn st4_every_read_agrees_on_who_is_hidden() {
    let peers: Vec<Peer> = (1..=3).map(|id| Peer::new(id, 4)).collect();
    let sessions: Vec<_> = peers.iter().map(|peer| peer.tracker.session()).collect();
    for (at, session) in sessions.iter().enumerate() {
        for topic in topic_names(12).iter().skip(at * 3) {
            session.track(topic, "key", "").unwrap();
            session.track(topic, at.to_string(), "").unwrap();
        }
    }
    let me = &peers[0];
    me.pull(&peers[1]);
    me.pull(&peers[2]);
    for hidden in [&[][..], &[2], &[2, 3], &[3], &[]] {
        for id in [2, 3] {
            let state = if hidden.contains(&id) { NodeState::Down } else { NodeState::Up };
            me.replica.origin_state(NodeId(id), state);
        }
        let shown =
            |topic: usize| (0..3).filter(|&at| topic >= at * 3 && !hidden.contains(&(at as u32 + 1))).count();
        let mut len = 0;
        for (at, topic) in topic_names(12).iter().enumerate() {
            let list = me.tracker.list(topic);
            assert_eq!(list.len(), 2 * shown(at), "{topic} without {hidden:?}");
            assert_eq!(me.tracker.count(topic), list.len());
            assert_eq!(me.tracker.get(topic, "key").len(), shown(at));
            assert_eq!(paged(&me.tracker, topic, 1), list);
            for other in 0..3 {
                let present = list.iter().any(|entry| entry.key_str() == other.to_string());
                assert_eq!(me.tracker.contains(topic, other.to_string()), present);
            }
            assert_eq!(me.tracker.topics().iter().any(|name| **name == *topic.as_bytes()), !list.is_empty());
            len += list.len();
        }
        assert_eq!(me.tracker.len(), len);
        let stats = me.tracker.stats();
        assert_eq!((stats.entries, stats.entries_local, stats.entries_remote), (54, 24, 30), "hidden or not");
    }
}

#[test]
fn st4_pages_under_a_flapping_node_have_every_lasting_entry_once() {
    let (a, b) = (Peer::new(1, 1), Peer::new(2, 1));
    let (on_a, on_b) = (a.tracker.session(), b.tracker.session());
    let mut lasting: Vec<EntryRef> = Vec::new();
    for key in 0..50 {
        on_a.track("room", format!("flaps {key}"), "").unwrap();
        b.pull(&a);
        lasting.push(on_b.track("room", format!("lasts {key}"), "").unwrap());
    }
    let token = Arc::new(());
    let over = Arc::downgrade(&token);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut walks = 0;
            while over.strong_count() > 0 || walks == 0 {
                let seen: Vec<EntryRef> =
                    paged(&b.tracker, "room", 3).into_iter().map(|e| e.entry_ref()).collect();
                let distinct: BTreeSet<_> = seen.iter().copied().collect();
                assert_eq!(distinct.len(), seen.len());
                assert!(lasting.iter().all(|dot| distinct.contains(dot)));
                let count = b.tracker.count("room");
                assert!(count == 50 || count == 100, "all of a node or nothing of it, not {count}");
                walks += 1;
            }
        });
        let _token = token;
        for _ in 0..1000 {
            b.replica.origin_state(A, NodeState::Down);
            b.replica.origin_state(A, NodeState::Up);
        }
    });
}

#[test]
fn st10_down_keeps_the_data_and_forgetting_purges_it() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let session = a.tracker.session();
    for topic in topic_names(20) {
        session.track(&topic, "alice", "").unwrap();
    }
    b.pull(&a);
    b.replica.origin_state(A, NodeState::Down);
    assert!(b.tracker.is_empty());
    assert_eq!((b.tracker.stats().entries_remote, b.replica.entries_of(A).len()), (20, 20));
    assert_eq!(b.tracker.node(A).unwrap().entries, 20);

    let mut events = b.tracker.subscribe(Filter::all());
    assert!(b.replica.forget(A));
    assert!(!b.replica.forget(A), "no longer known");
    assert!(drain(&mut events).is_empty(), "it was down already");
    assert!(b.tracker.node(A).is_none() && b.replica.entries_of(A).is_empty());
    assert_eq!((b.tracker.stats().origins_purging, b.tracker.stats().nodes_remote), (1, 0));
    assert!(b.replica.maintain(7), "more is left");
    assert_eq!(b.tracker.stats().entries, 13, "a slice of seven");
    assert!(!b.replica.maintain(usize::MAX));
    let stats = b.tracker.stats();
    assert_eq!((stats.entries, stats.topics, stats.origins_purging), (0, 0, 0));
    assert!(drain(&mut events).is_empty(), "the purge is silent");
}

#[test]
fn st10_coming_up_after_being_forgotten_brings_nothing_back_until_it_is_transferred_again() {
    let (a, b) = (Peer::new(1, 2), Peer::new(2, 2));
    let session = a.tracker.session();
    let dot = session.track("room", "alice", "").unwrap();
    b.pull(&a);
    for purged_first in [false, true] {
        let mut events = b.tracker.subscribe(Filter::all());
        assert!(b.replica.forget(A));
        assert_eq!(told(&mut events), ["-alice=", "empty room", "down 1.1"], "it was to be seen");
        if purged_first {
            assert!(!b.replica.maintain(usize::MAX));
        }
        assert!(!b.replica.origin_state(A, NodeState::Up), "not known");
        assert_eq!(b.replica.remote_lane(A, 0), None);
        b.meet(&a);
        assert_eq!(told(&mut events), ["up 1.1"]);
        assert!(b.tracker.is_empty());
        assert_eq!(b.clock_of(&a, dot.lane), 0, "from nothing");
        b.replica.maintain(usize::MAX);
        assert!(b.tracker.is_empty() && b.tracker.stats().entries == 0);
        b.pull(&a);
        assert_eq!(told(&mut events), ["first room", "+alice="]);
        assert_eq!(b.tracker.list("room")[0].entry_ref(), dot);
        assert_eq!(b.tracker.stats().entries, 1);
    }
}

#[test]
fn replay_leads_to_the_view_while_nodes_go_down_up_and_are_forgotten() {
    let (a, b, c) = (Peer::new(1, 2), Peer::new(2, 4), Peer::new(3, 2));
    let (on_a, on_b, on_c) = (a.tracker.session(), b.tracker.session(), c.tracker.session());
    let mut events = b.tracker.subscribe(Filter::all());
    let mut replay = Replay::of(&mut events);
    let mut random = Random(4);
    for round in 0..2000 {
        let (topic, key) = (format!("topic:{}", random.below(4)), random.below(3).to_string());
        let session = [&on_a, &on_b, &on_c][usize::try_from(random.below(3)).unwrap()];
        match random.below(12) {
            0..3 => _ = session.track(&topic, &key, ""),
            3..5 => _ = session.untrack(&topic, &key),
            5..7 => _ = session.update(&topic, &key, round.to_string()),
            7 => b.pull(&a),
            8 => b.pull(&c),
            9 => _ = b.replica.origin_state(A, NodeState::Down),
            10 => _ = b.replica.origin_state(A, NodeState::Up),
            _ if random.below(5) == 0 => {
                let _was_known = b.replica.forget([a.id(), c.id()][usize::from(round % 2 == 0)]);
            }
            _ => _ = b.replica.maintain(usize::try_from(random.below(4)).unwrap()),
        }
        replay.drain(&mut events);
        replay.assert_settled();
        assert_eq!(replay.entries, view(&b.tracker), "round {round}");
    }
}
