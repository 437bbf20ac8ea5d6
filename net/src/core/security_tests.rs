//! Enemies who are inside: they have the key, or say what nobody should say. A few cores, and a network that only passes on.

use super::few::{Few, MS, keys};
use super::gate::{Allowance, Budget};
use super::*;

fn hello_of_b(flags: u8, incarnation: u64) -> wire::Hello<'static> {
    wire::Hello {
        flags,
        incarnation,
        target_node: 0,
        target_known: 0,
        lanes: 1,
        tcp_port: 1,
        wire_min: 1,
        wire_max: 1,
        name: "b",
    }
}

fn reject(of: &Core, epoch: u32) -> wire::IncReject {
    wire::IncReject { target_node: of.node.0, highest: Incarnation { epoch, nonce: 1 }.to_u64() }
}

#[test]
fn a_session_is_nobody_until_it_gives_its_cookie_back() {
    let mut few = Few::new(&["a", "b"], Some(&keys('a')), Budget::default());
    few.run(MS(400));
    assert_eq!(few.nodes[0].core.members.len(), 1);
    // The same two, and nothing that b says by the group is followed by a proof: it is played by somebody else.
    let mut few = Few::new(&["a", "b"], Some(&keys('a')), Budget::default());
    let elsewhere = SocketAddr::from(([127, 0, 0, 9], 9));
    let (mut captured, mut longest) = (Vec::new(), 0);
    for step in 1..1000_u64 {
        let node = &mut few.nodes[1];
        node.core.handle(MS(step), Input::Turn, &mut node.out);
        captured.extend(std::mem::take(&mut node.out).datagrams);
    }
    for (target, bytes) in &captured {
        assert_eq!(*target, Target::Group);
        let a = &mut few.nodes[0];
        a.core.handle(MS(1000), Input::Datagram { from: elsewhere, bytes, by_group: true }, &mut a.out);
        for (target, answer) in std::mem::take(&mut a.out).datagrams {
            if target == Target::Node(elsewhere) {
                assert!(answer.len() <= bytes.len(), "an answer of {} B to {} B", answer.len(), bytes.len());
                longest = longest.max(answer.len());
            }
        }
    }
    assert_eq!(longest, wire::HEADER_LEN + wire::Challenge::LEN + 16, "it was challenged");
    let a = &few.nodes[0];
    assert!(a.core.members.is_empty() && a.tracker.is_empty());
    assert_eq!(few.stats(0).unproven, captured.len() as u64);
    assert_eq!((few.stats(0).challenges_sent, few.stats(0).incarnation_jumps), (1, 0));
}

#[test]
fn a_cookie_of_another_address_or_time_is_refused() {
    let mut few = Few::new(&["a", "b"], Some(&keys('a')), Budget::default());
    let (addr, elsewhere) = (few.nodes[1].addr, SocketAddr::from(([127, 0, 0, 9], 9)));
    let of = SenderId { node: few.nodes[1].core.node.0, session: few.nodes[1].core.session };
    let cookie = few.nodes[0].core.gate.challenge(MS(1), addr, of).unwrap();
    assert_eq!(few.nodes[0].core.gate.challenge(MS(2), addr, of), None, "not twice at once");
    let mut prove = |from, at, cookie| {
        let node = &mut few.nodes[1];
        let mut body = Vec::new();
        wire::Proof { cookie }.put(&mut body);
        let bytes = node.core.seal(&body);
        let a = &mut few.nodes[0];
        let before = a.core.stats.proofs_refused;
        a.core.handle(at, Input::Datagram { from, bytes: &bytes, by_group: true }, &mut a.out);
        a.core.stats.proofs_refused == before
    };
    let mut wrong = cookie;
    wrong[15] ^= 1;
    assert!(!prove(addr, MS(3), wrong));
    assert!(!prove(elsewhere, MS(3), cookie));
    assert!(!prove(addr, Duration::from_secs(25), cookie), "two slots later");
    // Time does not go back for a core; for this check it may. A slot later the cookie is still good.
    assert!(prove(addr, Duration::from_secs(19), cookie));
}

#[test]
fn nobody_can_use_up_a_nodes_epochs() {
    let mut few = Few::live(&["a", "b"], Budget::default());
    let (target, before) = (Target::Node(few.nodes[0].addr), few.nodes[0].core.incarnation.epoch);
    for _ in 0..50 {
        let claim = reject(&few.nodes[0].core, u32::MAX);
        few.say(1, target, |body| claim.put(body));
        few.run(MS(2));
    }
    let after = few.nodes[0].core.incarnation.epoch;
    assert!(after > before && after <= before + (1 << 20) + 1, "from {before} to {after}");
    assert_eq!(few.stats(0).incarnation_jumps, 1, "and not again at once");
    assert!(few.stats(0).implausible >= 1);
    // Nor by what a Hello claims.
    let hello = wire::Hello {
        flags: 0,
        incarnation: few.nodes[1].core.incarnation.to_u64(),
        target_node: few.nodes[0].core.node.0,
        target_known: u64::MAX,
        lanes: 1,
        tcp_port: 1,
        wire_min: 1,
        wire_max: 1,
        name: "b",
    };
    few.say(1, target, |body| hello.put(body));
    assert!(few.nodes[0].core.highest.epoch <= after + (1 << 20));
    few.run(MS(600));
    assert!(few.nodes.iter().all(|node| node.core.members.len() == 1), "and they find each other again");
}

#[test]
fn rejections_of_an_old_life_are_paced() {
    let mut few = Few::live(&["a", "b"], Budget::default());
    let session = few.nodes[1].core.session;
    let hello = hello_of_b(0, 0);
    let (before, stale) = (few.stats(0).datagrams_sent, few.stats(0).stale);
    for _ in 0..100 {
        few.say(1, Target::Node(few.nodes[0].addr), |body| hello.put(body));
    }
    assert_eq!(few.stats(0).stale, stale + 100);
    assert!(few.stats(0).datagrams_sent <= before + 2, "one rejection");
    assert_eq!(few.nodes[1].core.session, session, "which told b nothing new");
}

#[test]
fn a_node_whose_frames_make_another_stumble_is_alone_until_its_next_life() {
    let mut few = Few::live(&["a", "b", "c"], Budget::default());
    let a = few.nodes[0].core.node;
    few.nodes[1].core.gate.planted = Some(a);
    few.nodes[0].session.track("room", "x", "").unwrap();
    few.nodes[2].session.track("room", "y", "").unwrap();
    few.run(MS(300));
    assert_eq!(few.stats(1).quarantines, 1);
    assert!(few.stats(1).quarantined > 0 && few.nodes[1].core.peer(a).is_none());
    assert_eq!(few.nodes[1].tracker.len(), 1, "c is heard as before");
    assert_eq!(few.nodes[2].tracker.len(), 2, "and c hears a");
    few.nodes[1].core.gate.planted = None;
    few.run(MS(300));
    assert!(few.nodes[1].core.peer(a).is_none(), "the same life stays out");
    let claim = reject(&few.nodes[0].core, 50);
    few.say(2, Target::Node(few.nodes[0].addr), |body| claim.put(body));
    few.run(MS(300));
    let life = few.nodes[1].core.peer(a).expect("a new life is let in").incarnation;
    assert_eq!(life.epoch, 51);
    // What it had is for a snapshot, and streams lead nowhere here. The rest is heard.
    for room in 0..40 {
        few.nodes[0].session.track(format!("room:{room}"), "z", "").unwrap();
    }
    few.run(MS(300));
    assert!(few.nodes[1].tracker.len() > 20, "{}", few.nodes[1].tracker.len());
}

#[test]
fn a_member_that_floods_spends_its_own_budget() {
    let member = Allowance { every: MS(10), burst: 40 };
    let mut few = Few::live(&["a", "b", "c"], Budget { member, ..Budget::default() });
    few.run(MS(500));
    let before = few.stats(0).over_budget;
    for _ in 0..500 {
        few.say(1, Target::Node(few.nodes[0].addr), |_| {});
    }
    assert!(few.stats(0).over_budget >= before + 460);
    let over = few.stats(0).over_budget;
    few.nodes[2].session.track("room", "y", "").unwrap();
    few.run(MS(5));
    assert_eq!(few.nodes[0].tracker.len(), 1, "c is served");
    assert_eq!(few.stats(0).over_budget, over);
}

#[test]
fn who_has_proven_itself_is_not_held_to_what_it_spent_as_a_stranger() {
    let mut few = Few::live(&["a", "b"], Budget::default());
    let (now, a) = (few.now, &mut few.nodes[0].core);
    let from = SocketAddr::from(([10, 9, 9, 9], 9));
    let (stranger, mut out) = (SenderId { node: 99, session: 99 }, Output::default());
    while a.stats.over_budget == 0 {
        let header = wire::Header { suite: 1, cluster: 7, key_epoch: 1, node: 99, session: 99, packet: 1 };
        let mut bytes = Vec::new();
        wire::begin(&mut bytes, &header);
        bytes.extend_from_slice(&[0; 20]);
        a.handle(now, Input::Datagram { from, bytes: &bytes, by_group: true }, &mut out);
        assert!(a.stats.auth_failed < 1_000, "its budget is small");
    }
    let header = wire::Header { suite: 1, cluster: 7, key_epoch: 1, node: 99, session: 99, packet: 1 };
    let cookie = a.gate.challenge(now, from, stranger).expect("the first is not paced");
    assert!(a.gate.prove(now, from, &header, &cookie, |_, _| false));
    let (over, failed) = (a.stats.over_budget, a.stats.auth_failed);
    let mut bytes = Vec::new();
    wire::begin(&mut bytes, &header);
    bytes.extend_from_slice(&[0; 20]);
    a.handle(now, Input::Datagram { from, bytes: &bytes, by_group: true }, &mut out);
    assert_eq!((a.stats.over_budget, a.stats.auth_failed), (over, failed + 1), "it is looked at");
}

#[test]
fn made_up_addresses_and_sessions_take_a_bounded_part_of_memory_and_time() {
    let mut few = Few::live(&["a", "b"], Budget::default());
    let mut body = Vec::new();
    hello_of_b(1, 1).put(&mut body);
    let (mut out, mut admitted) = (Output::default(), 0);
    for made_up in 0..6_000_u32 {
        let b = &mut few.nodes[1].core;
        b.session = u64::from(made_up) << 8;
        let me = SenderId { node: b.node.0, session: b.session };
        b.gate.keys.as_mut().unwrap().restart(me);
        let bytes = b.seal(&body);
        let [_, high, middle, low] = made_up.to_be_bytes();
        let from = SocketAddr::from(([10, high, middle, low], 1));
        let a = &mut few.nodes[0].core;
        let before = a.stats.unproven;
        a.handle(few.now, Input::Datagram { from, bytes: &bytes, by_group: true }, &mut out);
        admitted += a.stats.unproven - before;
        if made_up % 1000 == 999 {
            assert_eq!(a.broken_bound(), None);
        }
    }
    assert!(admitted <= 2_000, "{admitted} were looked at");
    assert_eq!(few.stats(0).over_budget, 6_000 - admitted);
    assert_eq!(few.nodes[0].core.members.len(), 1);
}

#[test]
fn a_stream_is_sealed_and_an_old_request_opens_nothing() {
    let mut few = Few::live(&["a", "b"], Budget::default());
    let lane = few.nodes[0].session.track("room", "a key that is told", "").unwrap().lane;
    // b asks a, by hand.
    let b = few.nodes[0].core.node;
    let asker = &mut few.nodes[1].core;
    asker.members.get_mut(&b).unwrap().want_snapshot(lane, few.now);
    asker.note_deadline(few.now, b);
    few.give(1, Input::Turn);
    let (_, asking, preamble) = few.streams.pop().expect("b connects");
    let giving = StreamId(1);
    let exchange = |few: &mut Few, at: usize, id: StreamId, bytes: &[u8]| {
        few.give(at, Input::Stream(id, StreamInput::Bytes(bytes)));
        std::mem::take(&mut few.streams).into_iter().flat_map(|(_, _, bytes)| bytes).collect::<Vec<u8>>()
    };
    few.give(0, Input::Stream(giving, StreamInput::Accepted));
    let greeting = exchange(&mut few, 0, giving, &preamble);
    assert_eq!((greeting.len(), &greeting[..4]), (wire::Preamble::LEN, &b"HCSK"[..]));
    let request = exchange(&mut few, 1, asking, &greeting);
    let given = exchange(&mut few, 0, giving, &request);
    assert!(!given.windows(4).any(|part| part == b"told") && given.len() > 60);
    let taken = few.stats(1).snapshot_lanes_taken;
    // Cut anywhere.
    for part in given.chunks(7) {
        few.give(1, Input::Stream(asking, StreamInput::Bytes(part)));
    }
    assert_eq!(few.stats(1).snapshot_lanes_taken, taken + 1);
    // The same bytes again, on another connection: another salt, so the request does not open.
    let again = StreamId(3);
    few.give(0, Input::Stream(again, StreamInput::Accepted));
    let sent = few.stats(0).snapshot_lanes_sent;
    assert_ne!(exchange(&mut few, 0, again, &preamble), greeting);
    assert!(exchange(&mut few, 0, again, &request).is_empty());
    assert_eq!((few.stats(0).auth_failed, few.stats(0).snapshot_lanes_sent), (1, sent));
    assert!(few.nodes[0].core.sealed_streams.is_empty() && few.nodes[0].core.serves.is_empty());
    // Without a key, and as another cluster.
    for (at, count) in [(6, [1, 0]), (10, [1, 1])] {
        let (id, mut turned) = (StreamId(5), preamble.clone());
        turned[at] ^= 1;
        few.give(0, Input::Stream(id, StreamInput::Accepted));
        assert!(exchange(&mut few, 0, id, &turned).is_empty());
        assert_eq!([few.stats(0).foreign, few.stats(0).no_key], count);
    }
    assert!(few.nodes[0].core.sealed_streams.is_empty() && few.nodes[0].core.serves.is_empty());
}

/// Three of one lane each in clear, of whom the first does not hear the third, and asks the second for what that one says.
fn asking() -> (Few, StreamId, NodeId) {
    let mut few = Few::new(&["a", "b", "c"], None, Budget::default());
    few.run(MS(600));
    let node = few.nodes[2].core.node();
    few.nodes[2].session.track("room", "carol", "").unwrap();
    few.run(MS(200));
    assert!(few.nodes[0].tracker.contains("room", "carol"));
    few.cut = Some((2, 0));
    few.streams.clear();
    few.run(MS(650));
    assert_eq!(few.nodes[0].core.members[&node].state, MemberState::UpIndirect);
    let (_, id, request) = few.streams.iter().find(|(at, ..)| *at == 0).expect("it asks").clone();
    let mut buffer = wire::MessageBuffer::default();
    assert!(buffer.push(&request));
    let (kind, body) = buffer.next().unwrap().expect("it is whole");
    let asked = wire::Message::decode(kind, body);
    assert!(
        matches!(asked, Ok(wire::Message::Request { relayed: true, target_node, .. }) if target_node == node.0),
        "{asked:?}"
    );
    (few, id, node)
}

/// A lane as somebody makes it up: nothing lives at that clock.
fn nothing_at(lane: u16, as_of: u64, digest: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::Message::LaneBegin { lane, base: 0, as_of, count: 0 }.put(&mut bytes).unwrap();
    bytes.extend(wire::ChunkWriter::new(lane, as_of, 1_000).finish(0));
    wire::Message::LaneEnd { lane, as_of, count: 0, digest }.put(&mut bytes).unwrap();
    bytes
}

fn lane_of_carol(few: &Few) -> u16 {
    few.nodes[2].tracker.list("room")[0].entry_ref().lane
}

#[test]
fn a_relayed_lane_that_is_not_newer_is_passed_over() {
    let (mut few, id, node) = asking();
    let lane = lane_of_carol(&few);
    let held = few.nodes[0].core.members[&node].lanes[usize::from(lane)].clock;
    assert_eq!(held, 1);
    few.give(0, Input::Stream(id, StreamInput::Bytes(&nothing_at(lane, held, 0))));
    assert_eq!(few.stats(0).relayed_lanes_refused, 1);
    assert!(few.nodes[0].tracker.contains("room", "carol"));
    assert!(few.nodes[0].core.fetches.contains_key(&id), "others on the stream may be");
    // The owner's operations are the owner's to tell.
    let mut bytes = Vec::new();
    wire::Message::OpsBegin { lane, lo: held, as_of: held + 1 }.put(&mut bytes).unwrap();
    few.give(0, Input::Stream(id, StreamInput::Bytes(&bytes)));
    assert!(!few.nodes[0].core.fetches.contains_key(&id));
    assert_eq!(few.stats(0).relayed_lanes_taken, 0);
}

#[test]
fn a_relayed_lane_of_another_digest_moves_no_clock() {
    let (mut few, id, node) = asking();
    let lane = lane_of_carol(&few);
    few.give(0, Input::Stream(id, StreamInput::Bytes(&nothing_at(lane, 9, 77))));
    assert_eq!((few.stats(0).relayed_lanes_refused, few.stats(0).relayed_lanes_taken), (1, 0));
    let held = few.nodes[0].core.replica.remote_lane(node, lane).unwrap();
    assert_eq!((held.summary.clock, held.condition), (1, headcount::replica::LaneCondition::Diverged));
    assert!(few.nodes[0].core.members[&node].lanes[usize::from(lane)].needs_snapshot);
}

#[test]
fn a_lane_that_a_relay_has_made_up_is_found_out_when_its_owner_is_heard_again() {
    let (mut few, id, node) = asking();
    let lane = lane_of_carol(&few);
    few.give(0, Input::Stream(id, StreamInput::Bytes(&nothing_at(lane, 1 << 40, 0))));
    assert_eq!(few.stats(0).relayed_lanes_taken, 1);
    assert!(!few.nodes[0].tracker.contains("room", "carol"), "it was believed");
    few.cut = None;
    few.run(MS(1_500));
    assert_eq!(few.stats(0).relayed_lanes_refused, 0, "it may have been on its way");
    few.run(MS(3_000));
    assert_eq!(few.stats(0).relayed_lanes_refused, 1);
    // Met anew, with nothing held: the lane is asked for from its beginning.
    let member = &few.nodes[0].core.members[&node];
    assert_eq!((member.state, member.lanes[usize::from(lane)].clock), (MemberState::Up, 0));
    assert!(member.lanes[usize::from(lane)].in_transfer || member.lanes[usize::from(lane)].needs_snapshot);
}

#[test]
fn who_is_no_member_and_who_asks_for_another_life_are_relayed_nothing() {
    let (mut few, _, node) = asking();
    let life = few.nodes[2].core.incarnation();
    let known = few.nodes[0].core.node();
    let request = |asker: NodeId, owner: NodeId, life: Incarnation| {
        let mut bytes = Vec::new();
        let (node, target_node, target_incarnation) = (asker.0, owner.0, life.to_u64());
        let lanes = Vec::new();
        let (version, cluster) = (wire::WIRE_VERSION, 7);
        wire::Message::Request {
            version,
            relayed: true,
            cluster,
            node,
            target_node,
            target_incarnation,
            lanes,
        }
        .put(&mut bytes)
        .unwrap();
        bytes
    };
    let other = Incarnation { epoch: life.epoch + 1, ..life };
    for (at, (bytes, refused)) in [
        (request(known, node, life), false),
        (request(NodeId(77), node, life), true),
        (request(known, node, other), true),
        (request(known, known, life), true),
    ]
    .into_iter()
    .enumerate()
    {
        let id = StreamId(2 * at as u64 + 1);
        few.streams.clear();
        few.give(1, Input::Stream(id, StreamInput::Accepted));
        few.give(1, Input::Stream(id, StreamInput::Bytes(&bytes)));
        let (_, _, answer) =
            few.streams.iter().find(|(from, of, _)| (*from, *of) == (1, id)).expect("it answers");
        let mut buffer = wire::MessageBuffer::default();
        assert!(buffer.push(answer));
        let (kind, body) = buffer.next().unwrap().expect("it is whole");
        let is_refused = matches!(wire::Message::decode(kind, body), Ok(wire::Message::Refused { .. }));
        assert_eq!(is_refused, refused, "request {at}");
    }
}

#[test]
fn what_its_owner_has_not_attested_is_not_relayed() {
    let (mut few, _, node) = asking();
    let (lane, life) = (lane_of_carol(&few), few.nodes[2].core.incarnation());
    let wanted = wire::Wanted { lane, base: 0, reached: 0, diverged: false };
    let request = few.nodes[0].core.request((node, life), vec![wanted], true);
    let kinds = |few: &Few, id: StreamId| -> Vec<u8> {
        let mut buffer = wire::MessageBuffer::default();
        for (_, _, bytes) in few.streams.iter().filter(|(from, of, _)| (*from, *of) == (1, id)) {
            assert!(buffer.push(bytes));
        }
        std::iter::from_fn(|| buffer.next().unwrap().map(|(kind, _)| kind)).collect()
    };
    let member = few.nodes[1].core.members.get_mut(&node).expect("b knows c");
    // As if the lane had moved since the owner's last digest, and b does not hear the next.
    member.lanes[usize::from(lane)].attested = None;
    few.cut = Some((2, 1));
    let ask = |few: &mut Few, id: StreamId| {
        few.streams.clear();
        few.give(1, Input::Stream(id, StreamInput::Accepted));
        few.give(1, Input::Stream(id, StreamInput::Bytes(&request)));
    };
    ask(&mut few, StreamId(1));
    few.run(MS(400));
    assert!(kinds(&few, StreamId(1)).is_empty(), "it waits for that");
    few.run(MS(200));
    assert_eq!(kinds(&few, StreamId(1)).len(), 1, "nothing but that this is all");
    assert_eq!(few.stats(1).relayed_lanes_sent, 0);
    // With the next digest it is told at once.
    ask(&mut few, StreamId(3));
    few.cut = None;
    few.run(MS(450));
    assert!(kinds(&few, StreamId(3)).len() >= 3);
    assert_eq!(few.stats(1).relayed_lanes_sent, 1);
}

#[test]
fn a_question_that_is_said_again_gets_the_same_answer_and_only_the_owners() {
    let mut few = Few::live(&["a", "b", "c"], Budget::default());
    few.nodes[0].core.settings.obey_evictions = true;
    let of = few.nodes[0].session.track("room", "alice", "").unwrap();
    few.run(MS(50));
    let ask = |few: &mut Few, id| {
        let until = few.now + MS(1_000);
        few.give(1, Input::Evict { id, of, until });
    };
    // The owner's answers are lost for a while, so that it is asked more than once.
    few.cut = Some((0, 1));
    ask(&mut few, 7);
    few.run(MS(100));
    assert!(few.nodes[0].tracker.is_empty() && few.evicted.is_empty());
    // What somebody else says for it is nothing.
    let (asker, to) = (few.nodes[1].core.session, few.nodes[1].addr);
    let answer = wire::Evicted { target_session: asker, question: 7, answer: wire::Answer::NotAllowed };
    few.say(2, Target::Node(to), |body| answer.put(body));
    assert!(few.evicted.is_empty());
    few.cut = None;
    few.run(MS(400));
    assert_eq!(few.evicted, [(7, EvictOutcome::Answered(wire::Answer::Removed))]);
    assert_eq!(few.stats(0).evictions_obeyed, 1);
    ask(&mut few, 8);
    few.run(MS(50));
    assert_eq!(few.evicted[1], (8, EvictOutcome::Answered(wire::Answer::Gone)));
    few.cut = Some((1, 0));
    ask(&mut few, 9);
    few.run(MS(1_100));
    assert_eq!(few.evicted[2], (9, EvictOutcome::NoAnswer));
    assert!(few.nodes[1].core.evictions.due_at() == Time::MAX, "nothing is left over");
}
