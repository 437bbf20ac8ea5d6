//! Whatever another node says: no panic, this node's own lanes untouched, and nothing that cannot be got rid of again.

use super::common::peer::Peer;
use super::common::replay::Replay;
use super::common::{life, view};
use headcount::replica::{DeltaView, Op, Payload, SnapshotItem};
use headcount::{Config, Filter, NodeId, NodeState, Tracker};
use proptest::prelude::*;
use proptest::test_runner::Config as ProptestConfig;

const LIAR: NodeId = NodeId(1);

/// What the liar says. Clocks are small, so that they meet; some are as large as they can be.
#[derive(Clone, Debug)]
enum Said {
    Delta {
        lane: u16,
        lo: u64,
        hi: u64,
        ops: Vec<SaidOp>,
    },
    /// With `hi` as its operations have it, and from about where the lane is.
    Fitting {
        lane: u16,
        back: u64,
        ops: Vec<SaidOp>,
    },
    Begin {
        lane: u16,
        base: u64,
        as_of: u64,
    },
    Chunk {
        lane: u16,
        lo: u64,
        hi: u64,
        items: Vec<SaidItem>,
    },
    /// With its items in order, from where the last one ended.
    NextChunk {
        lane: u16,
        items: Vec<SaidItem>,
        to: u64,
    },
    End {
        lane: u16,
        count: u64,
        digest: u64,
    },
    /// With count and digest of what is held, as a liar can know them.
    FittingEnd {
        lane: u16,
    },
    Abort {
        lane: u16,
    },
    Diverged {
        lane: u16,
    },
    State(NodeState),
    Forget,
    Life(u32),
    Maintain(usize),
}

#[derive(Clone, Debug)]
enum SaidOp {
    Add(u64, u8),
    Update(u64, u8),
    Remove(u64),
    Skip(u64),
}

type SaidItem = (u64, u64, Option<u8>);

fn clock() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![20 => 0_u64..8, 1 => Just(u64::MAX), 1 => (u64::MAX - 3)..u64::MAX, 1 => any::<u64>()]
}

fn said() -> impl Strategy<Value = Said> {
    let op = prop_oneof![
        4 => (clock(), any::<u8>()).prop_map(|(birth, name)| SaidOp::Add(birth, name)),
        2 => (clock(), any::<u8>()).prop_map(|(birth, name)| SaidOp::Update(birth, name)),
        2 => clock().prop_map(SaidOp::Remove),
        1 => clock().prop_map(SaidOp::Skip),
    ];
    let ops = prop::collection::vec(op, 0..6);
    let items = prop::collection::vec((clock(), clock(), prop::option::weighted(0.95, any::<u8>())), 0..6);
    let lane = prop_oneof![6 => Just(0_u16), 3 => Just(1), 1 => Just(2)];
    let state = prop_oneof![
        Just(NodeState::Up),
        Just(NodeState::Down),
        Just(NodeState::Suspect),
        Just(NodeState::Local)
    ];
    prop_oneof![
        2 => (lane.clone(), clock(), clock(), ops.clone())
            .prop_map(|(lane, lo, hi, ops)| Said::Delta { lane, lo, hi, ops }),
        6 => (lane.clone(), 0_u64..3, ops).prop_map(|(lane, back, ops)| Said::Fitting { lane, back, ops }),
        6 => (lane.clone(), prop_oneof![3 => Just(0), 1 => clock()], clock())
            .prop_map(|(lane, base, as_of)| Said::Begin { lane, base, as_of }),
        2 => (lane.clone(), clock(), clock(), items.clone())
            .prop_map(|(lane, lo, hi, items)| Said::Chunk { lane, lo, hi, items }),
        8 => (lane.clone(), items, prop_oneof![Just(0_u64), 0_u64..4]).prop_map(|(lane, items, to)| Said::NextChunk { lane, items, to }),
        1 => (lane.clone(), clock(), any::<u64>()).prop_map(|(lane, count, digest)| Said::End { lane, count, digest }),
        2 => lane.clone().prop_map(|lane| Said::FittingEnd { lane }),
        1 => lane.clone().prop_map(|lane| Said::Abort { lane }),
        1 => lane.prop_map(|lane| Said::Diverged { lane }),
        1 => state.prop_map(Said::State),
        1 => Just(Said::Forget),
        1 => (0_u32..3).prop_map(Said::Life),
        1 => (0_usize..4).prop_map(Said::Maintain),
    ]
}

/// The listener, and what the liar needs to remember to lie well.
struct Listener {
    peer: Peer,
    epoch: u32,
    next_hi: [u64; 3],
}

fn bytes(name: &u8) -> &[u8] {
    std::slice::from_ref(name)
}

fn topic(name: u8) -> &'static [u8] {
    match name {
        250.. => b"far too long a topic",
        _ if name.is_multiple_of(2) => b"x",
        _ => b"y",
    }
}

impl Listener {
    fn clock(&self, lane: u16) -> u64 {
        self.peer.replica.remote_lane(LIAR, lane).map_or(0, |lane| lane.summary.clock)
    }

    fn hear(&mut self, said: &Said) {
        let (replica, life) = (&self.peer.replica, life(self.epoch));
        match said {
            Said::Delta { lane, lo, hi, ops } => self.delta(*lane, *lo, *hi, ops),
            Said::Fitting { lane, back, ops } => {
                let lo = self.clock(*lane).saturating_sub(*back);
                let clocks = |op: &SaidOp| if let SaidOp::Skip(count) = op { *count } else { 1 };
                let hi = ops.iter().fold(lo, |hi, op| hi.saturating_add(clocks(op)));
                self.delta(*lane, lo, hi, ops);
            }
            Said::Begin { lane, base, as_of } => {
                if replica.snapshot_begin(LIAR, life, *lane, *base, *as_of).is_ok() {
                    self.next_hi[usize::from(*lane)] = *as_of;
                }
            }
            Said::Chunk { lane, lo, hi, items } => self.chunk(*lane, *lo, *hi, items),
            Said::NextChunk { lane, items, to } => {
                let hi = self.next_hi[usize::from(*lane)];
                let mut items = items.clone();
                items.retain(|item| item.0 > *to && item.0 <= hi);
                items.sort_unstable_by_key(|item| std::cmp::Reverse(item.0));
                items.dedup_by_key(|item| item.0);
                self.chunk(*lane, *to, hi, &items);
            }
            Said::End { lane, count, digest } => {
                let _ = replica.snapshot_end(LIAR, life, *lane, *count, *digest);
            }
            Said::FittingEnd { lane } => {
                if let Some(held) = replica.remote_lane(LIAR, *lane) {
                    let _ = replica.snapshot_end(LIAR, life, *lane, held.summary.count, held.summary.digest);
                }
            }
            Said::Abort { lane } => replica.snapshot_abort(LIAR, *lane),
            Said::Diverged { lane } => replica.mark_diverged(LIAR, *lane),
            Said::State(state) => _ = replica.origin_state(LIAR, *state),
            Said::Forget => _ = replica.forget(LIAR),
            Said::Life(epoch) => {
                if replica.origin_join(LIAR, "liar", self::life(*epoch), 2).is_ok() {
                    self.epoch = *epoch;
                }
            }
            Said::Maintain(entries_max) => _ = replica.maintain(*entries_max),
        }
    }

    fn delta(&self, lane: u16, lo: u64, hi: u64, ops: &[SaidOp]) {
        let ops: Vec<Op<'_>> = ops
            .iter()
            .map(|op| match op {
                SaidOp::Add(birth, name) => {
                    Op::Add { birth: *birth, topic: topic(*name), key: bytes(name), meta: b"" }
                }
                SaidOp::Update(birth, name) => Op::Update { birth: *birth, meta: bytes(name) },
                SaidOp::Remove(birth) => Op::Remove { birth: *birth },
                SaidOp::Skip(count) => Op::Skip { count: *count },
            })
            .collect();
        let _ = self.peer.replica.apply(LIAR, life(self.epoch), &DeltaView { lane, lo, hi, ops: &ops });
    }

    fn chunk(&mut self, lane: u16, lo: u64, hi: u64, items: &[SaidItem]) {
        let items: Vec<SnapshotItem<'_>> = items
            .iter()
            .map(|(dot, birth, name)| {
                let payload =
                    name.as_ref().map(|name| Payload { topic: topic(*name), key: bytes(name), meta: b"" });
                // Mostly births that are not refused outright.
                let birth = if *birth > 8 { *birth } else { 1 + birth % (*dot).max(1) };
                SnapshotItem { dot: *dot, birth, payload }
            })
            .collect();
        if self.peer.replica.snapshot_chunk(LIAR, life(self.epoch), lane, (lo, hi), &items).is_ok() {
            self.next_hi[usize::from(lane)] = lo;
        }
    }
}

fn listener() -> Listener {
    let config = Config::default().node(NodeId(2)).shards(2).topic_len_max(8).shard_entries_max(20);
    let peer = Peer::with(config.build().unwrap());
    peer.replica.origin_join(LIAR, "liar", life(0), 2).unwrap();
    Listener { peer, epoch: 0, next_hi: [0; 3] }
}

fn own_lanes(tracker: &Tracker) -> String {
    let replica = tracker.replica();
    let lanes: Vec<_> = (0..2).map(|lane| (replica.lane_summary(lane), replica.delta(lane, 0, 99))).collect();
    format!("{lanes:?} {:?}", tracker.stats().entries_local)
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = std::env::var_os("PROPTEST_CASES").map_or(1024, |_| default.cases);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 20_000, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn r17_arbitrary_input_never_panics_and_never_changes_own_lanes(all in prop::collection::vec(said(), 0..80)) {
        let mut listener = listener();
        let tracker = listener.peer.tracker.clone();
        let session = tracker.session();
        session.track_many([("x", "mine", "1"), ("y", "mine", "1"), ("z", "gone", "")]).unwrap();
        session.update("x", "mine", "2").unwrap();
        session.untrack("z", "gone").unwrap();
        let mut events = tracker.subscribe(Filter::all());
        let mut replay = Replay::of(&mut events);
        replay.nodes.insert((LIAR, life(0)));
        let (own, mine) = (own_lanes(&tracker), session.entries());
        for said in &all {
            listener.hear(said);
            prop_assert_eq!(&own_lanes(&tracker), &own, "after {:?}", said);
            prop_assert_eq!(&session.entries(), &mine);
            replay.drain(&mut events);
            replay.assert_settled();
            prop_assert_eq!(&replay.entries, &view(&tracker), "after {:?}", said);
        }
        // Every read agrees, and what lanes hold is what is stored.
        let replica = &listener.peer.replica;
        let held = replica.entries_of(LIAR).len();
        prop_assert_eq!(tracker.node(LIAR).map_or(0, |node| node.entries), held, "counted");
        while replica.maintain(1) {}
        prop_assert_eq!(tracker.stats().entries_remote, held, "stored");
        // And it can all be got rid of.
        replica.forget(LIAR);
        while replica.maintain(3) {}
        prop_assert_eq!(tracker.stats().entries, 2);
        prop_assert_eq!(tracker.len(), 2);
        prop_assert_eq!(view(&tracker).len(), 2);
        drop(session);
        let stats = tracker.stats();
        drop(events);
        prop_assert_eq!((tracker.is_empty(), stats.topics, stats.origins_purging), (true, 0, 0));
    }
}

/// Two entries with one dot: the first must not stay behind where nothing names it any more.
#[test]
fn r17_a_snapshot_that_gives_a_held_dot_to_another_entry_leaves_no_ghost() {
    let peer = listener().peer;
    let say = |as_of, birth, key: &[u8]| {
        let payload = Some(Payload { topic: b"x", key, meta: b"" });
        peer.replica.snapshot_begin(LIAR, life(0), 0, 0, as_of).unwrap();
        peer.replica
            .snapshot_chunk(LIAR, life(0), 0, (0, as_of), &[SnapshotItem { dot: 5, birth, payload }])
            .unwrap();
    };
    say(5, 5, b"first");
    say(6, 4, b"second");
    assert_eq!(peer.replica.entries_of(LIAR).len(), peer.tracker.len(), "held by the lane, and listed");
    assert_eq!(peer.replica.remote_lane(LIAR, 0).unwrap().summary.count, 1);
    peer.replica.forget(LIAR);
    assert!(!peer.replica.maintain(usize::MAX));
    assert_eq!(peer.tracker.stats().entries, 0);
    assert!(peer.tracker.is_empty(), "back from the purge: {:?}", view(&peer.tracker));
}
