//! What goes into the core and what comes out of it. No clock, no socket, no thread: time is passed in, sockets are
//! somebody else's.

use crate::error::StopReason;
use crate::wire::Answer;
use headcount::{EntryRef, NodeId};
use std::net::SocketAddr;
use std::time::Duration;

/// Time since the core's driver started. No wall clock takes part in any decision.
pub(crate) type Time = Duration;

/// A TCP connection as the core and its driver name it. Outgoing ones are numbered by the core (even), incoming ones by
/// the driver (odd).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct StreamId(pub(crate) u64);

impl StreamId {
    /// A peer has connected, to be served.
    pub(crate) fn is_incoming(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// A datagram came, by group or to this node alone.
    Datagram { from: SocketAddr, bytes: &'a [u8], by_group: bool },
    /// The tracker's own lanes may have moved, or time has passed, to [`Core::wake_at`](super::Core::wake_at) or beyond.
    Turn,
    /// The application wants to leave; its entries are to stay listed for so long.
    Leave { handover: Duration },
    /// The application wants to know when what it did so far is seen by every member, until that time.
    Barrier { id: u64, until: Time },
    /// The application wants an entry of another node removed, and to know what has come of it by that time.
    Evict { id: u64, of: EntryRef, until: Time },
    /// The system has dropped so many datagrams for want of room since this node began.
    Drops { total: u64 },
    /// Something happened to a stream.
    Stream(StreamId, StreamInput<'a>),
    /// The addresses that the configuration names, as they resolve now.
    Peers(&'a [SocketAddr]),
}

/// Something that happened to a stream.
#[derive(Debug)]
pub(crate) enum StreamInput<'a> {
    /// A peer has connected.
    Accepted,
    /// Bytes came.
    Bytes(&'a [u8]),
    /// Most of what was to be written is written: more can be.
    Writable,
    /// It is gone: closed by the peer, or broken, or never connected.
    Closed,
}

/// How datagrams for everybody reach everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mode {
    /// By a group that all are in.
    #[default]
    Multicast,
    /// One by one.
    Unicast,
}

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// To everybody: the group if the core [`multicasts`](super::Core::multicasts), and each of its
    /// [`fan_out`](super::Core::fan_out).
    Group,
    Node(SocketAddr),
}

/// What is to be done with a stream.
#[derive(Debug)]
pub(crate) enum StreamAction {
    /// Connect, and send these bytes first.
    Connect { to: SocketAddr, first: Vec<u8> },
    /// Send, after what was to be sent before.
    Send(Vec<u8>),
    /// Send, without asking for more when it is sent.
    Greet(Vec<u8>),
    /// Send what is left and close.
    Finish,
    /// Close now.
    Abort,
}

/// What the application is told of this node's own situation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Most of the other nodes fell silent at once: the fault is likely this node's own or its network's. What is shown of them is as
    /// old as [`Cluster::stale_since`](crate::Cluster::stale_since) says; they are held for a while before they are declared down.
    Isolated,
    /// That is over: they are heard again, or were declared down.
    Rejoined,
    /// No member is heard by the multicast group any more, but members answer by unicast: a switch that snoops IGMP with no
    /// querier does that. What they send comes by unicast now, a copy for each node that needs one.
    MulticastLost,
    /// The group works again.
    MulticastBack,
    /// The system granted a smaller receive buffer than was asked for. Bursts may be lost and repaired.
    SmallReceiveBuffer {
        /// Bytes asked for.
        asked: u64,
        /// Bytes granted.
        granted: u64,
    },
}

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) datagrams: Vec<(Target, Vec<u8>)>,
    pub(crate) streams: Vec<(StreamId, StreamAction)>,
    pub(crate) barriers: Vec<(u64, BarrierOutcome)>,
    pub(crate) evictions: Vec<(u64, EvictOutcome)>,
    pub(crate) notices: Vec<Notice>,
    /// How long things took and who hears whom, if [`Settings::watched`](super::Settings::watched).
    pub(crate) measures: Vec<Measure>,
    /// A life of that epoch begins: whoever keeps epochs writes it down before anything else of this is done.
    pub(crate) epoch: Option<u32>,
}

/// Something that was measured. No decision rests on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// A gap of a lane was closed so long after it was noticed, by repair or because what was late came.
    Repair(Duration),
    /// Changes were told so long after they were seen to wait.
    Flush(Duration),
    /// What a stream was to bring was there so long after it was asked for.
    Snapshot(Duration),
    /// A node says that it had not heard another for so long; `None`: for longer than can be said.
    Heard { listener: NodeId, speaker: NodeId, silence: Option<Duration> },
}

/// How a barrier ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BarrierOutcome {
    Reached,
    /// These have not said that they have everything.
    TimedOut {
        missing: Vec<NodeId>,
    },
    TooMany,
    NotAMember,
}

/// How an eviction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EvictOutcome {
    /// The owner has said so, or its life is over.
    Answered(Answer),
    NoAnswer,
    TooMany,
    NotAMember,
}

/// Where the node is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Listening for what the cluster knows of it.
    Listening {
        until: Time,
    },
    Live,
    /// Saying goodbye.
    Leaving {
        farewells_left: u8,
        next_at: Time,
    },
    Left,
    Stopped(StopReason),
}
