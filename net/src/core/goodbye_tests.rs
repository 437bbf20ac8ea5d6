//! Goodbyes are final, in whatever order they come with what was said before them.

use super::few::{Few, MS};
use super::gate::Budget;
use super::*;

fn life(nonce: u32) -> Incarnation {
    Incarnation { epoch: 1, nonce }
}

#[test]
fn a_life_that_said_goodbye_is_not_back_because_another_one_said_it_after() {
    let mut few = Few::live(&["a", "b"], Budget::default());
    let (to, b) = (Target::Node(few.nodes[0].addr), few.nodes[1].core.node);
    let first = few.nodes[1].core.incarnation().to_u64();
    let leave = |few: &mut Few, incarnation: u64| {
        few.say(1, to, |body| wire::Leave { incarnation, clocks: Vec::new(), handover_ms: 0 }.put(body));
    };
    leave(&mut few, first);
    assert!(few.nodes[0].core.members.is_empty());
    // Two more lives came and went while a stood still: a heard no more of them than the end.
    leave(&mut few, first + 1);
    leave(&mut few, first - 1);
    let late = |few: &mut Few| {
        let hello = wire::Hello {
            flags: 0,
            incarnation: first,
            target_node: 0,
            target_known: 0,
            lanes: 16,
            tcp_port: 9_001,
            wire_min: 1,
            wire_max: 1,
            name: "b",
        };
        few.say(1, to, |body| hello.put(body));
    };
    let before = few.stats(0).stale;
    late(&mut few);
    assert!(few.nodes[0].core.members.is_empty(), "what the first life had said was only late");
    assert_eq!(few.stats(0).stale, before + 1);
    assert!(few.nodes[0].core.has_said_goodbye(b, Incarnation::from_u64(first)));
}

#[test]
fn the_last_goodbyes_of_each_node_are_remembered_and_no_more() {
    let mut few = Few::new(&["a"], None, Budget::default());
    few.run(MS(500));
    let core = &mut few.nodes[0].core;
    let (busy, calm) = (NodeId(7), NodeId(8));
    core.remember_goodbye(calm, life(1));
    for nonce in 1..=10_000 {
        core.remember_goodbye(busy, life(nonce));
        core.remember_goodbye(busy, life(nonce));
    }
    let (from, to) = (10_000 - FAREWELLS_PER_NODE as u32 + 1, 10_000);
    assert!((from..=to).all(|nonce| core.has_said_goodbye(busy, life(nonce))));
    assert!(!core.has_said_goodbye(busy, life(from - 1)));
    assert!(core.has_said_goodbye(calm, life(1)), "nobody takes the room of others");
    for node in 0..2 * FAREWELLS_MAX as u32 {
        core.remember_goodbye(NodeId(1_000 + node), life(1));
    }
    assert_eq!(core.farewells.len(), FAREWELLS_MAX);
}
