//! A node's membership of a cluster, as the application holds it.

use crate::config::Config;
use crate::core::{Core, Limits, MemberState, MemberView, Notice, Phase, Settings};
use crate::driver::{Driver, Sockets, WAKER};
use crate::error::{JoinError, StopReason};
use crate::network::Network;
use crate::stats::NetStats;
use headcount::replica::Replica;
use headcount::{Incarnation, NodeId, Tracker};
use mio::{Poll, Waker};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Starting takes as long as listening does; beyond this something is wrong with the machine.
const START_MAX: Duration = Duration::from_secs(10);
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// Notices kept for an application that does not ask; the oldest go first.
const NOTICES_MAX: usize = 64;

/// Another node of the cluster, as this one hears it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Whether it is heard.
    pub state: MemberState,
    /// Whether this node has everything that it is known to have said.
    pub synced: bool,
    /// Where its datagrams come from.
    pub addr: SocketAddr,
    /// How long ago it was heard last.
    pub heard_age: Duration,
    /// How many lanes (shards) it has.
    pub lanes: u16,
}

/// Where a node is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Status {
    /// A member.
    Running,
    /// It has left, as it was asked to.
    Left,
    /// It stopped by itself. Its view of other nodes is empty; its own entries are not seen by others.
    Stopped(StopReason),
}

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
}

/// What the network thread and the application's handles share.
pub(crate) struct Shared {
    started: Instant,
    waker: Arc<Waker>,
    leave: AtomicBool,
    view: Mutex<View>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct View {
    /// `None` while the node listens.
    status: Option<Status>,
    incarnation: Incarnation,
    members: Vec<MemberView>,
    stats: NetStats,
    network: Network,
    fallback_since: Option<Duration>,
    notices: VecDeque<Notice>,
}

impl Shared {
    pub(crate) fn wants_to_leave(&self) -> bool {
        // Relaxed: the flag is all there is to it, and the waker's system call comes after it.
        self.leave.load(Ordering::Relaxed)
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

    /// Passes on what there is to say to the application.
    pub(crate) fn tell(&self, notices: &mut Vec<Notice>) {
        if notices.is_empty() {
            return;
        }
        let mut view = self.view.lock();
        view.notices.append(&mut notices.drain(..).collect());
        while view.notices.len() > NOTICES_MAX {
            view.notices.pop_front();
        }
        drop(view);
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self, reason: StopReason) {
        self.view.lock().status = Some(Status::Stopped(reason));
        self.changed.notify_all();
    }

    fn wait_until<T>(&self, timeout: Duration, mut found: impl FnMut(&mut View) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout.min(Duration::from_secs(86_400));
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
        let sockets = Sockets::open(&config)?;
        let poll = Poll::new().map_err(io("opening a poll"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(io("opening a waker"))?);
        let started = Instant::now();
        let shared = Arc::new(Shared {
            started,
            waker: Arc::clone(&waker),
            leave: AtomicBool::new(false),
            view: Mutex::new(View::default()),
            changed: Condvar::new(),
        });
        let settings = Settings {
            cluster: config.cluster_id(),
            name: config.node.clone(),
            timing: config.timing,
            limits: Limits::default(),
            tcp_port: sockets.tcp_port,
            receive_buffer: sockets.receive_buffer,
            seed: random_seed().map_err(io("reading the system's randomness"))?,
            mode: config.mode(),
            datagram_max: config.datagram_size.bytes(),
        };
        let (local, granted, asked) = (sockets.local, sockets.receive_buffer, config.receive_buffer as u64);
        if granted < asked {
            shared.tell(&mut vec![Notice::SmallReceiveBuffer { asked, granted }]);
        }
        let peers = config.peer_names();
        let core = Core::new(settings, tracker, Duration::ZERO);
        let node = core.node();
        let driver = Driver::new(poll, sockets, core, Arc::clone(&shared), started, peers)
            .map_err(io("registering the sockets"))?;
        replica.on_change(move || {
            // A wake-up that fails leaves the change to the next heartbeat.
            let _ = waker.wake();
        });
        let guard = ThreadGuard { shared: Arc::clone(&shared), replica: replica.clone() };
        let thread = std::thread::Builder::new()
            .name("headcount-net".into())
            .spawn(move || {
                let _guard = guard;
                driver.run();
            })
            .map_err(io("starting the network thread"))?;
        release.started();
        let thread = Mutex::new(Some(thread));
        let inner = Inner { shared, name: config.node, node, local, receive_buffer_asked: asked, thread };
        let cluster = Self { inner: Arc::new(inner) };
        let status = cluster.inner.shared.wait_until(START_MAX, |view| view.status.clone());
        match status {
            Some(Status::Running | Status::Left) => Ok(cluster),
            Some(Status::Stopped(reason)) => Err(JoinError::Stopped(reason)),
            None => Err(JoinError::Stopped(StopReason::Driver("it did not go live in time".into()))),
        }
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

    /// The other nodes known, those that are down included, by id.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let shared = &self.inner.shared;
        let now = shared.started.elapsed();
        let view = shared.view.lock();
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

    /// Numbers about this node's traffic, as of its last activity: at most one heartbeat old.
    #[must_use]
    pub fn stats(&self) -> NetStats {
        self.inner.shared.view.lock().stats
    }

    /// Whether the node is a member, has left, or has stopped, and why.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.shared.view.lock().status.clone().unwrap_or(Status::Running)
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

    /// Leaves: this node's entries leave everywhere at once, other nodes' entries leave here. Returns when the goodbyes are said,
    /// which takes less than a tenth of a second. A second call does nothing.
    pub fn leave(&self) {
        self.inner.leave();
    }
}

impl Inner {
    fn leave(&self) {
        self.shared.leave.store(true, Ordering::Relaxed);
        let _ = self.shared.waker.wake();
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
        self.leave();
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

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(bytes))
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.inner.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
