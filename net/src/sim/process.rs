//! A running node: a real tracker and a real core, the sessions of its application, and what the simulator remembers of it.

use super::oracle::ProcessId;
use super::sealing;
use super::streams::StreamEnds;
use super::versions::Version;
use super::view::View;
use crate::config::Timing;
use crate::core::{Core, Limits, Mode, Notice, Security, Settings, Time};
use crate::keys::Keys;
use headcount::replica::Replica;
use headcount::{EntryRef, Event, Filter, Incarnation, NodeId, Session, Subscription, Tracker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a node is built.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    pub(crate) name: String,
    pub(crate) shards: usize,
    pub(crate) lane_log_max: usize,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) sessions: usize,
    pub(crate) mode: Mode,
    /// In unicast mode: the hosts that it is told of.
    pub(crate) seeds: Vec<usize>,
    /// A turn comes up to so much after the time that the core asked for.
    pub(crate) lag_max: Duration,
    /// It keeps its epoch from one life to the next.
    pub(crate) keeps_epoch: bool,
    pub(crate) version: Version,
    /// It has the name of another and starts only to be in its way.
    pub(crate) is_twin: bool,
}

/// How late the turns of a node come that has nothing else to do.
const LAG_MAX: Duration = Duration::from_micros(200);

impl Build {
    pub(crate) fn new(host: usize, shards: usize) -> Self {
        Self {
            name: format!("n{host}"),
            shards,
            lane_log_max: 8192,
            timing: Timing::default(),
            limits: Limits::default(),
            sessions: 4,
            mode: Mode::Multicast,
            seeds: Vec::new(),
            lag_max: LAG_MAX,
            keeps_epoch: false,
            version: Version::This,
            is_twin: false,
        }
    }

    pub(crate) fn is_laggard(&self) -> bool {
        self.lag_max > LAG_MAX
    }
}

/// Where the others are told that a host's node is.
pub(crate) fn static_addr(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(host + 1).unwrap_or(u8::MAX)], 9_000))
}

/// When a member was heard last, in which session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) session: u64,
    pub(crate) at: Time,
}

/// What a barrier waits for.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// The clocks that are to be reached.
    pub(crate) clocks: Vec<u64>,
    /// The heartbeat that the others have to cover, once it was said.
    pub(crate) seq: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) host: usize,
    pub(crate) node: NodeId,
    pub(crate) addr: SocketAddr,
    pub(crate) tcp_port: u16,
    pub(crate) started: Time,
    pub(crate) timing: Timing,
    pub(crate) tracker: Tracker,
    pub(crate) replica: Replica,
    pub(crate) core: Core,
    pub(crate) sessions: Vec<Session>,
    pub(crate) subscription: Subscription,
    pub(crate) view: View,
    pub(crate) streams: StreamEnds,
    /// The tracker's wake-up of the driver.
    woken: Arc<AtomicBool>,
    pub(crate) lag_max: Duration,
    /// The turn that is planned.
    pub(crate) turn_at: Option<Time>,
    /// Turns within the millisecond that began then.
    pub(crate) turns: (Time, u32),
    /// The life that the oracle knows.
    pub(crate) life: Incarnation,
    pub(crate) is_live: bool,
    /// For each own lane, how far it was told.
    pub(crate) told: Vec<u64>,
    /// The highest life of each node that was ever a member here.
    pub(crate) highest: BTreeMap<NodeId, Incarnation>,
    pub(crate) goodbyes: BTreeMap<NodeId, Incarnation>,
    pub(crate) heard: BTreeMap<NodeId, Heard>,
    /// The life of each node that was held for down last, and when that was at the latest.
    pub(crate) held_down: BTreeMap<NodeId, (Incarnation, Time)>,
    /// The packets taken of sessions that had proven themselves.
    pub(crate) taken: BTreeSet<(NodeId, u64, u64)>,
    /// Until then it may hold others for up longer than silence explains: it stood still.
    pub(crate) excused_until: Time,
    /// Datagrams that a full receive buffer has cost it, and whether its core is still to be told.
    pub(crate) drops: u64,
    pub(crate) drops_untold: bool,
    /// The barriers under way.
    pub(crate) barriers: BTreeMap<u64, Awaited>,
    pub(crate) barriers_begun: u64,
    pub(crate) barriers_reached: u64,
    /// Questions for entries to be removed that are under way.
    pub(crate) evictions: BTreeMap<u64, EntryRef>,
    pub(crate) evictions_begun: u64,
    /// Own entries that may be told to have left because others asked, and events that were looked at for that.
    pub(crate) obeyed: u64,
    pub(crate) untaken: VecDeque<Event>,
    /// Who was missing at those that were not.
    pub(crate) barriers_missed: Vec<NodeId>,
    /// What its core told the application.
    pub(crate) notices: Vec<Notice>,
    /// Clocks and digests held, per member and lane.
    pub(crate) contexts: BTreeMap<NodeId, (Incarnation, Vec<(u64, u64)>)>,
}

impl Process {
    pub(crate) fn start(
        build: &Build,
        (host, epoch): (usize, u32),
        id: ProcessId,
        (cluster, keys): (u32, Option<Keys>),
        seed: u64,
        started: Time,
    ) -> Self {
        let tracker = headcount::Config::default()
            .shards(build.shards)
            .lane_log_max(build.lane_log_max)
            .subscription_queue_max(1 << 20)
            .build()
            .expect("the simulator's sizes are valid");
        let replica = tracker.replica();
        let woken = Arc::new(AtomicBool::new(false));
        let hook = Arc::clone(&woken);
        replica.on_change(move || hook.store(true, Ordering::Relaxed));
        let number = u16::try_from(id).unwrap_or(u16::MAX);
        let ip = [10, 0, 0, u8::try_from(host + 1).unwrap_or(u8::MAX)];
        let settings = Settings {
            timing: build.timing,
            limits: build.limits,
            tcp_port: 20_000 + number,
            security: Security { cluster: sealing::NAME.to_owned(), keys, ..Security::clear(seed) },
            mode: build.mode,
            epoch,
            // Some do and some do not.
            obey_evictions: host % 3 != 2,
            ..Settings::plain(cluster, &build.name, seed)
        };
        let core = Core::new(settings, &tracker, Duration::ZERO);
        Self {
            id,
            host,
            node: core.node(),
            addr: match build.mode {
                Mode::Multicast => SocketAddr::from((ip, 10_000 + number)),
                Mode::Unicast => static_addr(host),
            },
            tcp_port: 20_000 + number,
            started,
            timing: build.timing,
            sessions: (0..build.sessions).map(|_| tracker.session()).collect(),
            subscription: tracker.subscribe(Filter::all()),
            view: View::default(),
            streams: StreamEnds::default(),
            woken,
            lag_max: build.lag_max,
            turn_at: None,
            turns: (Time::ZERO, 0),
            life: Incarnation::default(),
            is_live: false,
            told: vec![0; build.shards],
            highest: BTreeMap::new(),
            goodbyes: BTreeMap::new(),
            heard: BTreeMap::new(),
            held_down: BTreeMap::new(),
            taken: BTreeSet::new(),
            excused_until: Time::ZERO,
            drops: 0,
            drops_untold: false,
            barriers: BTreeMap::new(),
            barriers_begun: 0,
            evictions: BTreeMap::new(),
            evictions_begun: 0,
            obeyed: 0,
            untaken: VecDeque::new(),
            barriers_reached: 0,
            barriers_missed: Vec::new(),
            notices: Vec::new(),
            contexts: BTreeMap::new(),
            replica,
            tracker,
            core,
        }
    }

    /// Whether the tracker has woken its driver since the last time.
    pub(crate) fn take_wake(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }
}
