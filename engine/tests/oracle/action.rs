//! What can happen. Numbers are taken modulo what there is, so that every list of actions means something and shrinks.

use super::wire::KEPT_MAX;
use proptest::prelude::*;

/// One entry that a session may track.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) topic: u8,
    pub(crate) key: u8,
}

/// From whom to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    // A node's own operations.
    Track {
        node: usize,
        session: usize,
        spot: Spot,
        meta: u8,
    },
    Update {
        node: usize,
        session: usize,
        spot: Spot,
        meta: u8,
    },
    Untrack {
        node: usize,
        session: usize,
        spot: Spot,
    },
    /// By somebody else, of this version or one before it.
    Evict {
        node: usize,
        session: usize,
        spot: Spot,
        stale: bool,
    },
    UntrackTopic {
        node: usize,
        session: usize,
        topic: u8,
    },
    Batch {
        node: usize,
        session: usize,
        spots: Vec<Spot>,
        meta: u8,
    },
    Clear {
        node: usize,
        session: usize,
    },
    DropSession {
        node: usize,
        session: usize,
    },

    // What the network carries; a link keeps what was said until it is lost.
    Greet {
        link: Link,
    },
    /// What every lane did since the last flush.
    Flush {
        link: Link,
        cut: usize,
    },
    /// What a lane did since about the clock that the receiver holds.
    Repair {
        link: Link,
        lane: u16,
        back: u64,
        cut: usize,
    },
    /// Several messages, out of order if `pick` says so.
    Deliver {
        link: Link,
        pick: usize,
        messages: usize,
        keep: bool,
    },
    Lose {
        link: Link,
        pick: usize,
    },
    CatchUp {
        link: Link,
    },

    // Snapshots.
    Request {
        link: Link,
        lane: u16,
        back: u64,
    },
    Open {
        link: Link,
        pick: usize,
    },
    Chunk {
        link: Link,
        pick: usize,
        len: usize,
    },
    Finish {
        link: Link,
        pick: usize,
        len: usize,
    },
    Abort {
        link: Link,
        pick: usize,
    },
    Diverge {
        link: Link,
        lane: u16,
    },
    /// A lane of `from` as a third node holds it, if there are three.
    Relay {
        link: Link,
        via: usize,
        lane: u16,
        len: usize,
    },

    // What `to` decides about `from`.
    Down {
        link: Link,
    },
    Suspect {
        link: Link,
    },
    Up {
        link: Link,
    },
    Forget {
        link: Link,
    },
    Maintain {
        node: usize,
        max: usize,
    },

    // A kill and a start.
    Restart {
        node: usize,
        shards: usize,
    },
}

impl Action {
    /// Node and session of a node's own operation.
    pub(crate) fn own(&self) -> Option<(usize, usize)> {
        match *self {
            Self::Track { node, session, .. }
            | Self::Update { node, session, .. }
            | Self::Untrack { node, session, .. }
            | Self::Evict { node, session, .. }
            | Self::UntrackTopic { node, session, .. }
            | Self::Batch { node, session, .. }
            | Self::Clear { node, session }
            | Self::DropSession { node, session } => Some((node, session)),
            _ => None,
        }
    }

    /// The link that an action between two nodes is about.
    pub(crate) fn link(&self) -> Option<Link> {
        match *self {
            Self::Greet { link }
            | Self::Flush { link, .. }
            | Self::Repair { link, .. }
            | Self::Deliver { link, .. }
            | Self::Lose { link, .. }
            | Self::CatchUp { link }
            | Self::Request { link, .. }
            | Self::Open { link, .. }
            | Self::Chunk { link, .. }
            | Self::Finish { link, .. }
            | Self::Abort { link, .. }
            | Self::Diverge { link, .. }
            | Self::Relay { link, .. }
            | Self::Down { link }
            | Self::Suspect { link }
            | Self::Up { link }
            | Self::Forget { link } => Some(link),
            _ => None,
        }
    }
}

fn spot() -> impl Strategy<Value = Spot> + Clone {
    (0_u8..3, 0_u8..2).prop_map(|(topic, key)| Spot { topic, key })
}

fn link() -> impl Strategy<Value = Link> + Clone {
    (0_usize..12, 0_usize..12).prop_map(|(from, to)| Link { from, to })
}

fn own() -> impl Strategy<Value = Action> {
    let who = (0_usize..12, 0_usize..2);
    prop_oneof![
        8 => (who.clone(), spot(), any::<u8>())
            .prop_map(|((node, session), spot, meta)| Action::Track { node, session, spot, meta }),
        8 => (who.clone(), spot(), any::<u8>())
            .prop_map(|((node, session), spot, meta)| Action::Update { node, session, spot, meta }),
        5 => (who.clone(), spot()).prop_map(|((node, session), spot)| Action::Untrack { node, session, spot }),
        2 => (who.clone(), spot(), prop::bool::weighted(0.3))
            .prop_map(|((node, session), spot, stale)| Action::Evict { node, session, spot, stale }),
        1 => (who.clone(), 0_u8..3)
            .prop_map(|((node, session), topic)| Action::UntrackTopic { node, session, topic }),
        2 => (who.clone(), prop::collection::vec(spot(), 1..5), any::<u8>())
            .prop_map(|((node, session), spots, meta)| Action::Batch { node, session, spots, meta }),
        1 => who.clone().prop_map(|(node, session)| Action::Clear { node, session }),
        1 => who.prop_map(|(node, session)| Action::DropSession { node, session }),
    ]
}

fn network() -> impl Strategy<Value = Action> {
    prop_oneof![
        1 => link().prop_map(|link| Action::Greet { link }),
        6 => (link(), 0_usize..6).prop_map(|(link, cut)| Action::Flush { link, cut }),
        3 => (link(), 0_u16..4, 0_u64..4, 0_usize..6)
            .prop_map(|(link, lane, back, cut)| Action::Repair { link, lane, back, cut }),
        9 => (link(), prop_oneof![2 => Just(0), 1 => any::<usize>()], 1_usize..4, prop::bool::weighted(0.3))
            .prop_map(|(link, pick, messages, keep)| Action::Deliver { link, pick, messages, keep }),
        1 => (link(), any::<usize>()).prop_map(|(link, pick)| Action::Lose { link, pick }),
        2 => link().prop_map(|link| Action::CatchUp { link }),
    ]
}

fn snapshots() -> impl Strategy<Value = Action> {
    let picked = (link(), 0_usize..KEPT_MAX);
    prop_oneof![
        6 => (link(), 0_u16..4, 0_u64..4).prop_map(|(link, lane, back)| Action::Request { link, lane, back }),
        8 => picked.clone().prop_map(|(link, pick)| Action::Open { link, pick }),
        6 => (picked.clone(), 0_usize..3).prop_map(|((link, pick), len)| Action::Chunk { link, pick, len }),
        3 => (picked.clone(), 1_usize..4).prop_map(|((link, pick), len)| Action::Finish { link, pick, len }),
        1 => picked.prop_map(|(link, pick)| Action::Abort { link, pick }),
        1 => (link(), 0_u16..4).prop_map(|(link, lane)| Action::Diverge { link, lane }),
        3 => (link(), 0_usize..12, 0_u16..4, 1_usize..4)
            .prop_map(|(link, via, lane, len)| Action::Relay { link, via, lane, len }),
    ]
}

fn members() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => link().prop_map(|link| Action::Down { link }),
        1 => link().prop_map(|link| Action::Suspect { link }),
        4 => link().prop_map(|link| Action::Up { link }),
        1 => link().prop_map(|link| Action::Forget { link }),
        2 => (0_usize..12, 0_usize..4).prop_map(|(node, max)| Action::Maintain { node, max }),
        1 => (0_usize..12, shards()).prop_map(|(node, shards)| Action::Restart { node, shards }),
    ]
}

fn shards() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(1), 2 => Just(2), 1 => Just(4)]
}

/// Shards of two to four nodes.
pub(crate) fn nodes() -> impl Strategy<Value = Vec<usize>> {
    let of = |count| prop::collection::vec(shards(), count);
    prop_oneof![3 => of(2), 2 => of(3), 1 => of(4)]
}

/// What happens in one case.
pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(
        prop_oneof![10 => own(), 10 => network(), 10 => snapshots(), 2 => members()],
        1..400,
    )
}

/// What happens in one case that is mostly about snapshots: receivers are behind, so that most of them fit.
pub(crate) fn mostly_snapshots() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(prop_oneof![20 => own(), 3 => network(), 40 => snapshots(), 1 => members()], 1..400)
}
