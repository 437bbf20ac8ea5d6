//! What comes from elsewhere makes a node stumble, wherever it comes: the node goes on, and whoever can be blamed is left alone.

use super::few::{Few, MS, keys};
use super::gate::Budget;
use super::*;

#[test]
fn a_strangers_datagram_that_makes_a_node_stumble_is_dropped() {
    let mut few = Few::new(&["a", "b"], Some(&keys('a')), Budget::default());
    few.nodes[0].core.gate.stumbles_at = Some("stranger");
    few.run(MS(600));
    let stats = few.stats(0);
    assert!(stats.stumbles >= 3, "b has announced itself");
    assert_eq!((stats.quarantines, stats.quarantined, stats.challenges_sent), (0, 0, 0));
    assert!(few.nodes[0].core.members.is_empty() && few.nodes[0].core.phase == Phase::Live);
    assert_eq!(few.nodes[0].core.broken_bound(), None);
    few.nodes[0].core.gate.stumbles_at = None;
    few.run(MS(600));
    assert_eq!(few.nodes[0].core.members.len(), 1, "nothing is held against it");
    assert_eq!(few.stats(0).stumbles, stats.stumbles);
}

#[test]
fn a_member_is_blamed_for_frames_that_cannot_even_be_read() {
    let mut few = Few::live(&["a", "b", "c"], Budget::default());
    let [b, c] = [1, 2].map(|at: usize| few.nodes[at].core.node);
    few.nodes[0].core.gate.stumbles_at = Some("frames");
    let to = Target::Node(few.nodes[0].addr);
    few.say(1, to, |_| {});
    assert_eq!((few.stats(0).quarantines, few.stats(0).stumbles), (1, 0));
    let life = few.nodes[1].core.incarnation();
    assert_eq!(few.nodes[0].core.gate.quarantined_life(b), Some(life));
    // It stays so, even if it happens again when nothing is known of it any more.
    few.say(1, to, |_| {});
    assert_eq!(few.nodes[0].core.gate.quarantined_life(b), Some(life));
    few.nodes[0].core.gate.stumbles_at = None;
    few.run(MS(300));
    assert!(few.nodes[0].core.peer(b).is_none() && few.nodes[0].core.peer(c).is_some());
}

#[test]
fn who_speaks_under_a_nodes_own_name_does_not_put_it_in_quarantine() {
    let mut few = Few::new(&["a", "a"], Some(&keys('a')), Budget::default());
    let node = few.nodes[0].core.node;
    few.nodes[0].core.gate.stumbles_at = Some("own name");
    few.run(MS(290));
    assert!(few.stats(0).stumbles > 0);
    assert_eq!((few.stats(0).quarantines, few.nodes[0].core.gate.quarantined_life(node)), (0, None));
    assert!(matches!(few.nodes[0].core.phase, Phase::Listening { .. }));
    few.nodes[0].core.gate.stumbles_at = None;
    few.run(MS(600));
    let live = few.nodes.iter().filter(|node| node.core.phase == Phase::Live);
    assert_eq!(live.count(), 1, "one of the two stops, as ever");
}

/// A giver of a lane that is only to be had by a stream, and an asker; one of them stumbles. What that leaves of streams on each.
fn over_streams(place: &'static str, stumbles: usize) {
    let mut few = Few::new(&["giver", "asker"], Some(&keys('a')), Budget::default());
    few.connects = true;
    few.nodes[0].session.track("room", "alice", "").unwrap();
    few.nodes[stumbles].core.gate.stumbles_at = Some(place);
    few.run(MS(1_000));
    let stats = few.stats(stumbles);
    assert!(stats.stumbles >= 2, "{place}: it is tried again");
    assert!(stats.stumbles <= 8, "{place}: not at once");
    assert_eq!(few.stats(1).snapshots_failed, stats.stumbles, "{place}: the asker knows");
    assert!(few.nodes[1].tracker.is_empty());
    for node in &few.nodes {
        assert_eq!((node.core.stats.quarantines, node.core.members.len()), (0, 1), "{place}");
        assert_eq!(node.core.broken_bound(), None);
        let streams = (node.core.sealed_streams.len(), node.core.serves.len(), node.core.fetches.len());
        assert_eq!(streams, (0, 0, 0), "{place}: nothing is left of them");
    }
    few.nodes[stumbles].core.gate.stumbles_at = None;
    few.run(MS(2_500));
    assert!(few.nodes[1].tracker.contains("room", "alice"), "{place}");
    assert_eq!(few.stats(stumbles).stumbles, stats.stumbles);
}

#[test]
fn a_request_that_makes_the_giver_stumble_costs_the_stream() {
    over_streams("request", 0);
}

#[test]
fn a_handshake_that_makes_a_node_stumble_costs_the_stream() {
    over_streams("handshake", 0);
    over_streams("handshake", 1);
}
