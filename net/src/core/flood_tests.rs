//! Floods: what somebody spends who says too much, and what that leaves to others.

use super::few::{Few, MS};
use super::gate::{Allowance, Budget};
use super::*;

/// So little for each member that a few hundred datagrams are a flood: 40 at once, and 100 a second.
fn little() -> Budget {
    Budget { member: Allowance { every: MS(10), burst: 40 }, ..Budget::default() }
}

#[test]
fn a_member_that_floods_with_what_is_true_is_held_to_its_budget_and_nobody_else_notices() {
    let mut few = Few::live(&["a", "b", "c"], little());
    let told = few.nodes[0].session.track("hall", "alice", "").unwrap().lane;
    few.run(MS(500));
    let (a, to) = (&few.nodes[0].core, Target::Node(few.nodes[0].addr));
    let (a, session) = (a.node, a.session);
    let life = few.nodes[1].core.incarnation().to_u64();
    // Entries of b that its deltas tell one by one, each once; requests that name what a has told; greetings that want an answer.
    let refs = few.nodes[1].session.track_many((0..170).map(|n| ("room", format!("user-{n}"), ""))).unwrap();
    let lane = refs[0].lane;
    let (before, sent) = (few.stats(0), few.stats(0).datagrams_sent);
    for n in 0..510_u64 {
        let delta = few.nodes[1].core.replica.delta(lane, n / 3, 1).unwrap();
        few.say(1, to, |body| match n % 3 {
            0 => {
                let mut writer = wire::DeltaWriter::new(wire::BODY_MAX);
                writer.start(lane, n / 3);
                assert!(delta.ops().all(|op| writer.push(&op)));
                writer.finish_frame();
                body.extend_from_slice(writer.body());
            }
            1 => {
                let ranges = vec![(told, 0, 1)];
                wire::Nak { target_node: a.0, target_session: session, ranges }.put(body);
            }
            _ => {
                let flags = wire::Hello::REPLY_WANTED;
                let (target_node, target_known) = (a.0, n);
                let (lanes, tcp_port, wire_min, wire_max) = (16, 9_001, 1, 1);
                wire::Hello {
                    flags,
                    incarnation: life,
                    target_node,
                    target_known,
                    lanes,
                    tcp_port,
                    wire_min,
                    wire_max,
                    name: "b",
                }
                .put(body);
            }
        });
    }
    let stats = few.stats(0);
    let heard = 510 - (stats.over_budget - before.over_budget);
    assert!((30..=40).contains(&heard), "{heard} were heard");
    assert_eq!(
        few.nodes[0].tracker.count("room") as u64,
        heard.div_ceil(3),
        "and those that were, were believed"
    );
    assert!(stats.datagrams_sent - sent <= 2 * heard, "answers go out to what was heard");
    // Under its own name; beside that, only its requests.
    assert_eq!(few.moved(0, &before), ["over_budget", "naks_received"]);
    // Others are heard at once.
    few.nodes[2].session.track("room", "carol", "").unwrap();
    few.give(2, Input::Turn);
    few.run(MS(5));
    assert!(few.nodes[0].tracker.contains("room", "carol"));
    assert!(few.nodes[0].core.members.values().all(|member| member.state == MemberState::Up));
    // When it stops, it is heard again, and all that was true is there.
    few.run(MS(3_000));
    assert_eq!(few.nodes[0].tracker.count("room"), 171);
    assert_eq!((few.stats(0).downs, few.stats(0).malformed), (0, 0));
}

/// So many datagrams from b's address to a that nobody has sealed, of a session of b's name.
fn forge(few: &mut Few, count: u64, session: impl Fn(u64) -> u64) {
    let (from, node) = (few.nodes[1].addr, few.nodes[1].core.node.0);
    for n in 0..count {
        let packet = (1 << 40) + n;
        let header = wire::Header { suite: 1, cluster: 7, key_epoch: 1, node, session: session(n), packet };
        let mut bytes = Vec::new();
        wire::begin(&mut bytes, &header);
        bytes.extend_from_slice(&[0; 100]);
        few.give(0, Input::Datagram { from, bytes: &bytes, by_group: false });
    }
}

#[test]
fn who_makes_up_a_members_address_without_its_session_takes_nothing_from_it() {
    let mut few = Few::live(&["a", "b", "c"], little());
    few.run(MS(500));
    let before = few.stats(0);
    forge(&mut few, 1_000, |n| n);
    assert_eq!(few.moved(0, &before), ["auth_failed", "over_budget"]);
    assert_eq!(
        few.stats(0).auth_failed - before.auth_failed,
        200,
        "as many as of any stranger are looked at"
    );
    for at in [1, 2] {
        few.nodes[at].session.track("room", format!("user-{at}"), "").unwrap();
    }
    few.run(MS(5));
    assert_eq!(few.nodes[0].tracker.count("room"), 2, "both are heard");
    assert_eq!(few.moved(0, &before), ["auth_failed", "over_budget"]);
}

#[test]
fn who_makes_up_a_members_address_and_session_silences_it_for_as_long_as_he_floods_and_no_more() {
    let mut few = Few::live(&["a", "b", "c"], little());
    few.run(MS(500));
    let (before, session) = (few.stats(0), few.nodes[1].core.session);
    forge(&mut few, 1_000, |_| session);
    assert_eq!(few.moved(0, &before), ["auth_failed", "over_budget"]);
    assert!(
        few.stats(0).auth_failed - before.auth_failed <= 40,
        "what is looked at is bounded as the member's own"
    );
    for at in [1, 2] {
        few.nodes[at].session.track("room", format!("user-{at}"), "").unwrap();
    }
    // He goes on for a while: he is always there before b.
    for _ in 0..20 {
        few.now += MS(1);
        forge(&mut few, 10, |_| session);
        (0..3).for_each(|at| few.give(at, Input::Turn));
    }
    let heard = |few: &Few| [1, 2].map(|at| few.nodes[0].tracker.contains("room", format!("user-{at}")));
    assert_eq!(heard(&few), [false, true], "what b says is lost, and nobody else's");
    few.run(MS(1_000));
    assert_eq!(heard(&few), [true, true], "and mended as any loss");
    assert_eq!((few.stats(0).downs, few.stats(0).snapshots_failed), (0, 0));
}
