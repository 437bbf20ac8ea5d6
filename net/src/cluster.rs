//! A node's membership of a cluster, as the application holds it.

use crate::config::Config;
use crate::core::{
    BarrierOutcome, Budget, Core, Limits, MemberState, MemberView, Notice, Output, Phase, Security, Settings,
    Time,
};
use crate::driver::{Driver, EpochFile, Sockets, WAKER, mtu};
use crate::error::{BarrierError, JoinError, StopReason};
use crate::eviction::Evictions;
use crate::key_change::KeyChanges;
use crate::membership::{Health, Member, Status};
use crate::network::Network;
use crate::shown::Board;
use crate::stats::NetStats;
use headcount::replica::Replica;
use headcount::{Incarnation, NodeId, Tracker};
use mio::{Poll, Waker};
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Starting takes as long as listening does; beyond this something is wrong with the machine.
const START_MAX: Duration = Duration::from_secs(10);
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// Longer waits end after this.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// What the network thread may take to say that a barrier was not reached.
const BARRIER_GRACE: Duration = Duration::from_millis(500);
/// Notices that nobody has taken; the oldest are dropped.
const NOTICES_MAX: usize = 64;

/// A node's membership of a cluster. Clones are the same membership; when the last is dropped the node leaves.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    name: String,
    node: NodeId,
    local: SocketAddr,
    receive_buffer_asked: u64,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(all(unix, feature = "admin"))]
    admin: Option<crate::admin::AdminSocket>,
}

/// What the network thread and the application's handles share.
pub(crate) struct Shared {
    started: Instant,
    waker: Arc<Waker>,
    leave: AtomicBool,
    /// For how long this node's entries are to stay listed when it leaves, in milliseconds.
    handover_ms: AtomicU64,
    /// Barriers that the network thread has not begun: their numbers, and until when they may take.
    barriers: Mutex<Vec<(u64, Time)>>,
    view: Mutex<View>,
    changed: Condvar,
    pub(crate) key_changes: KeyChanges,
    pub(crate) evictions: Evictions,
    pub(crate) replica: Replica,
}

#[derive(Debug, Default)]
struct View {
    /// `None` while the node listens.
    status: Option<Status>,
    incarnation: Incarnation,
    members: Vec<MemberView>,
    stats: NetStats,
    stale_since: Option<Time>,
    /// In thousandths.
    strain: u32,
    network: Network,
    fallback_since: Option<Duration>,
    notices: VecDeque<Notice>,
    /// The number of the barrier begun last.
    barrier: u64,
    /// Barriers that somebody waits for, and how they ended.
    barriers: BTreeMap<u64, Option<BarrierOutcome>>,
}

impl View {
    /// Keeps notices for who asks.
    fn note(&mut self, notices: impl IntoIterator<Item = Notice>) {
        self.notices.extend(notices);
        while self.notices.len() > NOTICES_MAX {
            self.notices.pop_front();
        }
    }
}

impl Shared {
    /// Whether the application wants to leave, and for how long its entries are to stay listed.
    pub(crate) fn wants_to_leave(&self) -> Option<Duration> {
        // Acquire: pairs with the Release in `leave`. The waker's system call comes after that.
        let wants = self.leave.load(Ordering::Acquire);
        wants.then(|| Duration::from_millis(self.handover_ms.load(Ordering::Relaxed)))
    }

    /// The time by the network thread's clock.
    pub(crate) fn elapsed(&self) -> Time {
        self.started.elapsed()
    }

    pub(crate) fn publish(&self, core: &Core) {
        let mut view = self.view.lock();
        view.status = match core.phase() {
            Phase::Listening { .. } => None,
            Phase::Live | Phase::Leaving { .. } => Some(Status::Running),
            Phase::Left => Some(Status::Left),
            Phase::Stopped(reason) => Some(Status::Stopped(reason.clone())),
        };
        view.incarnation = core.incarnation();
        view.members = core.members();
        view.stats = core.stats();
        view.stale_since = core.stale_since();
        view.strain = core.strain(self.started.elapsed());
        view.network.multicast = core.multicasts();
        view.network.copies = core.fan_out().len();
        view.fallback_since = core.fallback_since();
        drop(view);
        self.changed.notify_all();
    }

    /// Wakes the network thread. One that fails leaves what there is to the next heartbeat.
    pub(crate) fn wake(&self) {
        let _ = self.waker.wake();
    }

    /// Barriers to begin.
    pub(crate) fn take_barriers(&self) -> Vec<(u64, Time)> {
        std::mem::take(&mut *self.barriers.lock())
    }

    /// Passes on what the core has to say to the application.
    pub(crate) fn tell(&self, output: &mut Output) {
        output.evictions.drain(..).for_each(|(id, outcome)| self.evictions.tell(id, outcome));
        if output.barriers.is_empty() && output.notices.is_empty() {
            return;
        }
        let mut view = self.view.lock();
        for (id, outcome) in output.barriers.drain(..) {
            if let Some(waiting) = view.barriers.get_mut(&id) {
                *waiting = Some(outcome);
            }
        }
        view.note(output.notices.drain(..));
        drop(view);
        self.changed.notify_all();
    }

    /// See [`Cluster::members`].
    pub(crate) fn members(&self) -> Vec<Member> {
        let now = self.started.elapsed();
        let view = self.view.lock();
        let member = |member: &MemberView| Member {
            node: member.node,
            name: member.name.clone(),
            incarnation: member.incarnation,
            state: member.state,
            synced: member.synced,
            addr: member.addr,
            heard_age: now.saturating_sub(member.heard),
            lanes: member.lanes,
        };
        view.members.iter().map(member).collect()
    }

    /// See [`Cluster::status`].
    pub(crate) fn status(&self) -> Status {
        self.view.lock().status.clone().unwrap_or(Status::Running)
    }

    pub(crate) fn stop(&self, reason: StopReason) {
        self.view.lock().status = Some(Status::Stopped(reason));
        self.changed.notify_all();
    }

    fn wait_until<T>(&self, timeout: Duration, mut found: impl FnMut(&mut View) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout.min(WAIT_MAX);
        let mut view = self.view.lock();
        loop {
            if let Some(found) = found(&mut view) {
                return Some(found);
            }
            if self.changed.wait_until(&mut view, deadline).timed_out() {
                return found(&mut view);
            }
        }
    }
}

/// Says that the network thread is gone, however it went.
struct ThreadGuard {
    shared: Arc<Shared>,
    replica: Replica,
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.replica.clear_on_change();
        self.replica.release();
        if std::thread::panicking() {
            self.shared.stop(StopReason::Driver("it panicked".into()));
        }
    }
}

impl Cluster {
    pub(crate) fn start(config: Config, tracker: &Tracker) -> Result<Self, JoinError> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source: io::Error| JoinError::Io { what, source }
        };
        let replica = tracker.replica();
        if !replica.claim() {
            return Err(JoinError::AlreadyJoined);
        }
        // Until the thread has it, a failure gives the claim back.
        let release = ReleaseUnlessStarted(Some(replica.clone()));
        #[cfg(all(unix, feature = "admin"))]
        let admin = config.admin.as_ref().map(crate::admin::Opened::at).transpose()?;
        let kept = config.epoch_file.as_deref().map(EpochFile::open).transpose()?;
        let (epoch_file, epoch) = kept.map_or((None, 0), |(file, epoch)| (Some(file), epoch));
        let sockets = Sockets::open(&config)?;
        let poll = Poll::new().map_err(io("opening a poll"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(io("opening a waker"))?);
        let started = Instant::now();
        let shared = Arc::new(Shared {
            started,
            waker: Arc::clone(&waker),
            leave: AtomicBool::new(false),
            handover_ms: AtomicU64::new(0),
            barriers: Mutex::new(Vec::new()),
            view: Mutex::new(View::default()),
            changed: Condvar::new(),
            key_changes: KeyChanges::default(),
            evictions: Evictions::default(),
            replica: replica.clone(),
        });
        let no_randomness = io("reading the system's randomness");
        let (seed, secret) = randomness().map_err(no_randomness)?;
        let settings = Settings {
            cluster: config.cluster_id(),
            name: config.node.clone(),
            timing: config.timing,
            limits: Limits { send_bytes_per_s: config.send_budget as u64, ..Limits::default() },
            tcp_port: sockets.tcp_port,
            receive_buffer: sockets.receive_buffer,
            seed,
            security: Security {
                cluster: config.cluster.clone(),
                keys: config.keys.clone(),
                secret,
                budget: Budget::default(),
            },
            mode: config.mode(),
            epoch,
            datagram_max: config.datagram_size.bytes(),
            watched: tracker.counters().are_seen(),
            obey_evictions: config.obey_evictions,
        };
        let (local, granted, asked) = (sockets.local, sockets.receive_buffer, config.receive_buffer as u64);
        let small_buffer = (granted < asked).then_some(Notice::SmallReceiveBuffer { asked, granted });
        shared.view.lock().note(small_buffer);
        let peers = config.peer_names();
        let mtu = mtu(&config, peers.addrs.first().copied()).unwrap_or(0);
        let board = Board::new(tracker, &config, &settings, (local, asked, mtu), started);
        let core = Core::new(settings, tracker, Duration::ZERO);
        let node = core.node();
        let mut driver = Driver::new(poll, sockets, core, Arc::clone(&shared), started, peers, epoch_file)
            .map_err(io("registering the sockets"))?;
        if let Some(board) = board {
            driver.show_on(board);
        }
        note!(small_buffer.inspect(|&notice| driver.teller().tell_notice(notice)));
        #[cfg(all(unix, feature = "admin"))]
        let admin = match admin {
            Some(opened) => {
                let (shared, cluster) = (Arc::clone(&shared), config.cluster.clone());
                let member = crate::admin::Membership { shared, cluster, obeys: config.obey_evictions };
                Some(opened.serve(tracker, Some(member))?)
            }
            None => None,
        };
        replica.on_change(move || {
            // A wake-up that fails leaves the change to the next heartbeat.
            let _ = waker.wake();
        });
        let guard = ThreadGuard { shared: Arc::clone(&shared), replica: replica.clone() };
        #[cfg(feature = "tracing")]
        let caller = crate::trace::Caller::new();
        let thread = std::thread::Builder::new()
            .name("headcount-net".into())
            .spawn(move || {
                let _guard = guard;
                #[cfg(feature = "tracing")]
                caller.scope(|| driver.run());
                #[cfg(not(feature = "tracing"))]
                driver.run();
            })
            .map_err(io("starting the network thread"))?;
        release.started();
        let thread = Mutex::new(Some(thread));
        let inner = Inner {
            shared,
            name: config.node,
            node,
            local,
            receive_buffer_asked: asked,
            thread,
            #[cfg(all(unix, feature = "admin"))]
            admin,
        };
        let cluster = Self { inner: Arc::new(inner) };
        let status = cluster.inner.shared.wait_until(START_MAX, |view| view.status.clone());
        match status {
            Some(Status::Running | Status::Left) => Ok(cluster),
            Some(Status::Stopped(reason)) => Err(JoinError::Stopped(reason)),
            None => Err(JoinError::Stopped(StopReason::Driver("it did not go live in time".into()))),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Where the [admin socket](crate::admin) is, if this node has one.
    #[cfg(all(unix, feature = "admin"))]
    #[must_use]
    pub fn admin_path(&self) -> Option<&std::path::Path> {
        self.inner.admin.as_ref().map(crate::admin::AdminSocket::path)
    }

    /// This node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.node
    }

    /// This node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// This node's present life. It can change while the node runs, if a peer knows a higher one.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.inner.shared.view.lock().incarnation
    }

    /// Where this node's datagrams come from.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// The other nodes known, those that are down included, by id. As of the last packet handled: while one is being handled,
    /// the tracker may show entries of a node that is not in here yet, or of its next life.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.inner.shared.members()
    }

    /// Numbers about this node's traffic, as of its last activity: at most one heartbeat old.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.inner.shared.view.lock().stats
    }

    /// Whether the node is a member, has left, or has stopped, and why.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.status()
    }

    /// How this node reaches the others.
    #[must_use]
    pub fn network(&self) -> Network {
        let shared = &self.inner.shared;
        let now = shared.started.elapsed();
        let view = shared.view.lock();
        Network {
            fallback: view.fallback_since.map(|since| now.saturating_sub(since)),
            receive_buffer_asked: self.inner.receive_buffer_asked,
            receive_buffer: view.stats.receive_buffer_bytes,
            receive_drops: view.stats.receive_drops,
            ..view.network
        }
    }

    /// Waits until this node has everything that every node that it hears is known to have said. True at once if it is alone.
    /// False if that did not come in time, or the node is no longer a member.
    #[must_use]
    pub fn wait_synced(&self, timeout: Duration) -> bool {
        let synced = |view: &mut View| {
            if view.status != Some(Status::Running) {
                return Some(false);
            }
            let mut heard = view.members.iter().filter(|member| member.state != MemberState::Down);
            heard.all(|member| member.synced).then_some(true)
        };
        self.inner.shared.wait_until(timeout, synced).unwrap_or(false)
    }

    /// Waits until every member that is not down has applied everything that this node's sessions did before the call, and shows it
    /// to who looks. A few milliseconds between nodes that hear each other well; the others are asked to answer at once, which
    /// costs each of them a packet. Returns at once if this node is alone.
    ///
    /// A member that is suspect is waited for, until it answers or is down; who is down is not waited for. A member that shows the
    /// writes can stop to show them, if it holds this node for down.
    ///
    /// # Errors
    /// [`BarrierError`]: it was not reached in time, and who has not answered.
    pub fn barrier(&self, timeout: Duration) -> Result<(), BarrierError> {
        let shared = &self.inner.shared;
        let timeout = timeout.min(WAIT_MAX);
        let id = {
            let mut view = shared.view.lock();
            if view.status != Some(Status::Running) {
                return Err(BarrierError::NotAMember);
            }
            view.barrier += 1;
            let id = view.barrier;
            view.barriers.insert(id, None);
            id
        };
        let until = shared.started.elapsed() + timeout;
        shared.barriers.lock().push((id, until));
        shared.wake();
        let ended = |view: &mut View| match view.barriers.get(&id) {
            Some(Some(_)) => view.barriers.remove(&id).flatten(),
            _ => (view.status != Some(Status::Running)).then_some(BarrierOutcome::NotAMember),
        };
        // The network thread says when the time is over, and who is missing; a little more for it to say so.
        let outcome = shared.wait_until(timeout + BARRIER_GRACE, ended);
        let mut view = shared.view.lock();
        view.barriers.remove(&id);
        let missing = match outcome {
            Some(BarrierOutcome::Reached) => return Ok(()),
            Some(BarrierOutcome::NotAMember) => return Err(BarrierError::NotAMember),
            Some(BarrierOutcome::TooMany) => return Err(BarrierError::TooMany),
            Some(BarrierOutcome::TimedOut { missing }) => missing,
            None => Vec::new(),
        };
        let names = view.members.iter().filter(|member| missing.contains(&member.node));
        Err(BarrierError::TimedOut { missing: names.map(|member| member.name.clone()).collect() })
    }

    /// For how long most of the other nodes have been out of hearing, if they fell silent at once: then the fault is likely this node's
    /// or its network's, and what is shown of them is so old. `None` in good times.
    #[must_use]
    pub fn stale_since(&self) -> Option<Duration> {
        self.health().stale_since
    }

    /// How far this node's view can be trusted at present.
    #[must_use]
    pub fn health(&self) -> Health {
        let shared = &self.inner.shared;
        let now = shared.started.elapsed();
        let view = shared.view.lock();
        Health {
            patience: 1.0 + f64::from(view.strain) / 1_000.0,
            stale_since: view.stale_since.map(|since| now.saturating_sub(since)),
        }
    }

    /// Waits for what this node has to say of its own situation, in order. Each notice is given once, to whoever waits first, and
    /// the oldest are dropped if nobody does. `None`: there was none in time, or the node is no longer a member.
    #[must_use]
    pub fn wait_notice(&self, timeout: Duration) -> Option<Notice> {
        let next = |view: &mut View| match view.notices.pop_front() {
            Some(notice) => Some(Some(notice)),
            None => (view.status != Some(Status::Running)).then_some(None),
        };
        self.inner.shared.wait_until(timeout, next).flatten()
    }

    /// Leaves: this node's entries leave everywhere at once, other nodes' entries leave here. Returns when the goodbyes are said,
    /// which takes less than a tenth of a second. A second call does nothing.
    pub fn leave(&self) {
        self.inner.leave(Duration::ZERO);
    }

    /// As [`leave`](Self::leave), but this node's entries stay listed on the other nodes for so long, at most as long as those allow
    /// ([`Config::handover_max`]). If a new life of this node comes meanwhile, its entries take their place in one go: for a program that is
    /// replaced by a newer one.
    pub fn leave_with_handover(&self, time: Duration) {
        self.inner.leave(time);
    }
}

impl Inner {
    fn leave(&self, handover: Duration) {
        let ms = u64::try_from(handover.as_millis()).unwrap_or(u64::MAX);
        if ms > 0 {
            self.shared.handover_ms.store(ms, Ordering::Relaxed);
        }
        // Release: pairs with the Acquire in `wants_to_leave`.
        self.shared.leave.store(true, Ordering::Release);
        self.shared.wake();
        let gone =
            |view: &mut View| matches!(view.status, Some(Status::Left | Status::Stopped(_))).then_some(());
        let gone = self.shared.wait_until(LEAVE_MAX, gone);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|_| gone.is_some()) {
            // A panic of the thread was reported as its status.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.leave(Duration::ZERO);
    }
}

/// Gives the claim on the tracker back if starting fails before the thread has it.
struct ReleaseUnlessStarted(Option<Replica>);

impl ReleaseUnlessStarted {
    fn started(mut self) {
        self.0 = None;
    }
}

impl Drop for ReleaseUnlessStarted {
    fn drop(&mut self) {
        if let Some(replica) = self.0.take() {
            replica.clear_on_change();
            replica.release();
        }
    }
}

/// A seed for what may be guessed, and a secret for what may not.
fn randomness() -> io::Result<(u64, [u8; 32])> {
    let (mut seed, mut secret) = ([0; 8], [0; 32]);
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok((u64::from_le_bytes(seed), secret))
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.inner.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
