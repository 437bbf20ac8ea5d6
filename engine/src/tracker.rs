//! The tracker: shards, who is known, who listens; and the reads.

use crate::config::Config;
use crate::counters::Counters;
use crate::entry::content_hash;
use crate::event::{Event, EventKind};
use crate::evictions::Evictions;
use crate::gauges;
use crate::inbox::Inbox;
use crate::kernel::change::ChangeFlag;
use crate::replica::{Identity, Origins, Replica};
use crate::shard::{
    Commons, Entries, Joining, Meter, Meters, NameHash, Reader, Shard, State, Wakes, stable_hash,
};
use crate::subscription::Scope;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::{
    Entry, EntryRef, EntryView, Error, Filter, Node, NodeId, Page, PageToken, Pages, Session, SessionId,
    Snapshot, Stats, Subscription, Topic,
};
use std::collections::BTreeMap;
use std::fmt;

/// Own entries that a shutdown makes leave for each time that it locks a shard.
const LEAVES_PER_LOCK: usize = 64;

/// Knows who is present where. Cheap to clone; every clone is the same tracker; all of it can be used from every thread.
///
/// Reads take no argument that can fail: an unknown topic or key is simply empty. Operations that change something belong
/// to a [`Session`].
#[derive(Clone)]
pub struct Tracker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) commons: Arc<Commons>,
    pub(crate) shards: Box<[Shard]>,
    pub(crate) origins: Origins,
    pub(crate) change: ChangeFlag,
    pub(crate) change_hook: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// There is or was a hook: without, a change need not look whether somebody waits for it, which takes a fence.
    pub(crate) hooked: AtomicBool,
    /// Subscriptions by the address of their queue, which is theirs alone while they hold it.
    pub(crate) inboxes: Mutex<BTreeMap<usize, Listener>>,
    sessions_made: AtomicU64,
    pub(crate) sessions_live: AtomicU64,
    pub(crate) evictions: Evictions,
    closed: AtomicBool,
    /// A replication driver has it.
    pub(crate) claimed: AtomicBool,
}

pub(crate) struct Listener {
    pub(crate) inbox: Arc<Inbox>,
    nodes: bool,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracker")
            .field("node", &self.inner.origins.local().identity)
            .field("shards", &self.inner.shards.len())
            .finish_non_exhaustive()
    }
}

impl Tracker {
    /// A tracker with the default [`Config`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    pub(crate) fn with_config(config: Config) -> Self {
        let identity = Identity { node: config.node, ..Identity::default() };
        let commons = Arc::new(Commons::new(&config));
        let counters = config.counters.claim();
        let meters = Meters::new(&counters, config.shards);
        let shard = |index| {
            let meter = Meter::new(&meters, index);
            Shard::new(Arc::clone(&commons), index, identity, config.lane_log_max, meter)
        };
        let shards = (0..u16::try_from(config.shards).unwrap_or(256)).map(shard).collect();
        let inner = Inner {
            shards,
            counters: counters.clone(),
            origins: Origins::new(Arc::clone(&commons), identity),
            commons,
            change: ChangeFlag::new(),
            change_hook: Mutex::new(None),
            hooked: AtomicBool::new(false),
            inboxes: Mutex::new(BTreeMap::new()),
            sessions_made: AtomicU64::new(0),
            sessions_live: AtomicU64::new(0),
            evictions: Evictions::default(),
            closed: AtomicBool::new(false),
            claimed: AtomicBool::new(false),
            config,
        };
        let inner = Arc::new(inner);
        gauges::show(&inner, &counters);
        Self { inner }
    }

    /// A new session: the owner of the entries that it tracks.
    #[must_use]
    pub fn session(&self) -> Session {
        // Relaxed: only the numbers matter, nothing is published with them.
        let id = self.inner.sessions_made.fetch_add(1, Ordering::Relaxed) + 1;
        self.inner.sessions_live.fetch_add(1, Ordering::Relaxed);
        Session::new(Arc::clone(&self.inner), SessionId(id))
    }

    /// Makes an own entry leave whoever its session is, if `of` names its present version: as if the session had untracked it. For
    /// administrators, and for those who ask on behalf of another node.
    ///
    /// True if an entry of exactly that version was there and has left, with its event; of several calls at once, one gets that. False, and
    /// nothing has changed, if it was updated, re-tracked or removed meanwhile, is another node's, or the ref was made before this node joined a
    /// cluster. The session does not have the key there any more ([`Error::NotTracked`]) and can track it again.
    ///
    /// ```
    /// # let tracker = headcount::Tracker::new();
    /// let session = tracker.session();
    /// let stale = session.track("room:42", "alice", "here")?;
    /// let fresh = session.update("room:42", "alice", "away")?;
    /// assert!(!tracker.evict(stale));
    /// assert!(tracker.evict(fresh));
    /// assert_eq!(session.update("room:42", "alice", "back"), Err(headcount::Error::NotTracked));
    /// # Ok::<(), headcount::Error>(())
    /// ```
    pub fn evict(&self, of: EntryRef) -> bool {
        let inner = &self.inner;
        let Some(shard) = inner.shards.get(usize::from(of.lane)) else {
            return false;
        };
        inner.waking(|wakes| {
            let evicting = inner.evictions.begin();
            let mut state = shard.lock();
            let found = state.find_version(of);
            if let Some((_, slot)) = found {
                state.untrack(slot, wakes);
            }
            inner.finish(shard, state, wakes);
            if let Some((session, _)) = found {
                evicting.note(session);
            }
            found.is_some()
        })
    }

    /// Every entry with this key in this topic, one for each session and node that tracks it, oldest here first, copied.
    /// [`read`](Self::read) does the same without the copies.
    #[must_use]
    pub fn get(&self, topic: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.read(topic, key, |entry| entries.push(entry.to_entry()));
        entries
    }

    /// Runs `visit` on every entry with this key in this topic, oldest here first; returns how many there were.
    ///
    /// Takes no lock and writes nothing that another thread reads: as many threads as there are cores read at full speed, whatever
    /// writers do meanwhile. What `visit` sees is whole, and of one version; of several entries with one key, each that was present
    /// throughout is seen. For many keys, [`read_many`](Self::read_many) is faster.
    pub fn read(
        &self,
        topic: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
        visit: impl FnMut(&EntryView<'_>),
    ) -> usize {
        let (topic, key) = (topic.as_ref(), key.as_ref());
        let shard = self.inner.commons.shard_of(stable_hash(topic));
        let hash = self.inner.commons.hash_key(topic, key);
        Reader::new(&self.inner.commons, shard).find(topic, key, hash, visit)
    }

    /// Whether anybody has this key in this topic.
    #[must_use]
    pub fn contains(&self, topic: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> bool {
        self.read(topic, key, |_| ()) > 0
    }

    /// The entries of the topic, in the order in which they came to this node, copied. Every entry that is present
    /// throughout the call is in it, once; one that joins or leaves meanwhile may be or not. For one instant see
    /// [`snapshot`](Self::snapshot), for topics that may be large [`pages`](Self::pages), and to copy nothing
    /// [`for_each`](Self::for_each).
    #[must_use]
    pub fn list(&self, topic: impl AsRef<[u8]>) -> Vec<Entry> {
        let topic = topic.as_ref();
        // Some more may come meanwhile.
        let mut entries = Vec::with_capacity(self.count(topic));
        let name = Topic::from(topic);
        self.for_each(topic, |entry| entries.push(entry.to_entry_of(&name)));
        entries
    }

    /// Runs `visit` on the entries of the topic, in the order in which they came to this node; returns how many there were. Sees what
    /// [`list`](Self::list) does, as a stream: no lock is held, and nothing is allocated for entries whose key and meta have up to 48 bytes
    /// together, however many there are.
    pub fn for_each(&self, topic: impl AsRef<[u8]>, mut visit: impl FnMut(&EntryView<'_>)) -> usize {
        let topic = topic.as_ref();
        let (reader, name) = self.inner.reader(topic);
        let mut seen = 0;
        reader.walk(topic, name, 0, |entry, _| {
            seen += 1;
            visit(entry);
            true
        });
        seen
    }

    /// The topic at one instant, with the version of the shard then: what subscribers were told of up to that version. Takes the
    /// shard's lock, but only to note which entries these are. While a node goes down or comes back, its entries leave and join
    /// here when their events are queued, which can be a moment after [`list`](Self::list) stops or begins to show them.
    #[must_use]
    pub fn snapshot(&self, topic: impl AsRef<[u8]>) -> Snapshot {
        let topic = topic.as_ref();
        let name = self.inner.commons.hash_name(topic);
        let shard = self.inner.shard_of(name);
        shard.pinned(
            |state| {
                let mut slots = Vec::new();
                if let Some(record) = state.find_topic(topic, name) {
                    state.add_told_slots(record, &mut slots);
                }
                (state.index, state.version, slots)
            },
            |commons, (shard, version, slots)| {
                let entries = Entries::new(commons).read_all(slots);
                Snapshot { shard, version, entries }
            },
        )
    }

    /// The next `max` entries (at least one) of the topic, after those of the page that `after` came from.
    #[must_use]
    pub fn list_page(&self, topic: impl AsRef<[u8]>, after: Option<PageToken>, max: usize) -> Page {
        let max = max.max(1);
        let topic = topic.as_ref();
        let (reader, hash) = self.inner.reader(topic);
        let mut page = Page { entries: Vec::new(), next: None };
        let name = Topic::from(topic);
        let mut last = 0;
        reader.walk(topic, hash, after.map_or(0, |PageToken(at)| at), |entry, position| {
            if page.entries.len() == max {
                page.next = Some(PageToken(last));
                return false;
            }
            last = position;
            page.entries.push(entry.to_entry_of(&name));
            true
        });
        page
    }

    /// The topic in pages of `page_len` entries (at least one). Every entry that is present throughout comes exactly
    /// once; one that joins or leaves meanwhile may come or not.
    #[must_use]
    pub fn pages(&self, topic: impl AsRef<[u8]>, page_len: usize) -> Pages {
        Pages::new(self.clone(), Topic::from(topic.as_ref()), page_len)
    }

    /// How many entries the topic has.
    #[must_use]
    pub fn count(&self, topic: impl AsRef<[u8]>) -> usize {
        let topic = topic.as_ref();
        let (reader, name) = self.inner.reader(topic);
        reader.count(topic, name).unwrap_or_else(|| self.inner.count_locked(topic, name))
    }

    /// The topics that have entries, shard by shard. Every topic that has some throughout is in it, once.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let mut topics = Vec::new();
        self.for_each_topic(|topic| topics.push(topic.clone()));
        topics
    }

    /// Runs `visit` on the topics that have entries; returns how many there were. Sees what [`topics`](Self::topics) does, and keeps no more
    /// names at once than one shard has. No lock is held.
    pub fn for_each_topic(&self, mut visit: impl FnMut(&Topic)) -> usize {
        let mut topics = Vec::new();
        let mut seen = 0;
        for shard in 0..self.inner.shards.len() {
            let reader = Reader::new(&self.inner.commons, u16::try_from(shard).unwrap_or(u16::MAX));
            reader.topics(&mut topics, |topic, name| self.inner.count_locked(topic, name));
            seen += topics.len();
            topics.drain(..).for_each(|topic| visit(&topic));
        }
        seen
    }

    /// How many entries are present: this node's, and those of nodes that are not down.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.entries_local() + self.inner.origins.entries_visible()
    }

    /// Whether no entry is present.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This node and every other node that is known, down ones included.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.inner.origins.nodes(self.inner.entries_local())
    }

    /// What is known of one node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Node> {
        self.nodes().into_iter().find(|node| node.id == id)
    }

    /// A view and every event after it, with no gap and no repeat between the two. After a
    /// [`shutdown`](Self::shutdown) the subscription is empty and closed from the start.
    #[must_use]
    pub fn subscribe(&self, filter: Filter) -> Subscription {
        Subscription::new(Arc::clone(&self.inner), filter)
    }

    /// The face that replication drives.
    #[must_use]
    pub fn replica(&self) -> Replica {
        Replica::new(self.clone())
    }

    /// The configuration that the tracker was built with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Where the tracker counts what it does: the counters that its [`Config`] was given, or its own.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Numbers about the tracker.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.measure(|_| ())
    }

    /// Ends the tracker: every entry of this node's sessions leaves, with its event; entries of other nodes stay as they
    /// were; subscriptions are closed once what waits in them was read; every later operation is
    /// [`Error::Shutdown`]. A second call does nothing.
    pub fn shutdown(&self) {
        let inner = &self.inner;
        // SeqCst is not needed: the flag is advisory for `attach`, which looks again under the lock taken below; the
        // shards have flags of their own under theirs. Release/Acquire by habit of the pair in `is_shutdown`.
        inner.closed.store(true, Ordering::Release);
        for shard in &inner.shards {
            let mut more = true;
            while more {
                more = inner.waking(|wakes| {
                    let mut state = shard.lock();
                    state.closed = true;
                    for _ in 0..LEAVES_PER_LOCK {
                        let Some((_, slot)) = state.lane.dots.last() else { break };
                        state.untrack(slot, wakes);
                    }
                    let more = state.lane.dots.last().is_some();
                    inner.finish(shard, state, wakes);
                    more
                });
            }
        }
        let listeners: Vec<_> =
            inner.inboxes.lock().values().map(|listener| Arc::clone(&listener.inbox)).collect();
        for inbox in listeners {
            inbox.close();
        }
    }

    /// Whether [`shutdown`](Self::shutdown) was called.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.inner.is_shutdown()
    }
}

impl Inner {
    pub(crate) fn is_shutdown(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn shard_of(&self, name: NameHash) -> &Shard {
        &self.shards[usize::from(self.commons.shard_of(name.stable))]
    }

    /// Who reads a topic, and its hashes.
    #[inline(always)]
    fn reader(&self, topic: &[u8]) -> (Reader<'_>, NameHash) {
        let name = self.commons.hash_name(topic);
        (Reader::new(&self.commons, self.commons.shard_of(name.stable)), name)
    }

    /// An entry to be, with all that needs no lock.
    pub(crate) fn joining<'a>(&self, topic: &'a [u8], key: &'a [u8], meta: &'a [u8]) -> Joining<'a> {
        let stable = stable_hash(topic);
        let key_hash = self.commons.hash_key(topic, key);
        // On its way while the rest is worked out.
        self.commons.prefetch(self.commons.shard_of(stable), key_hash);
        Joining { topic, stable, key, key_hash, meta, content: content_hash(stable, key, meta) }
    }

    /// The count of a topic that writers did not leave alone.
    fn count_locked(&self, topic: &[u8], name: NameHash) -> usize {
        let state = self.shard_of(name).lock();
        state.find_topic(topic, name).map_or(0, |record| state.visible_count(record))
    }

    /// Ends a change: publishes the clock and unlocks.
    pub(crate) fn finish(&self, shard: &Shard, mut state: MutexGuard<'_, State>, wakes: &mut Wakes) {
        self.publish(shard, &mut state, wakes);
    }

    /// Publishes the clock of a shard that is locked.
    pub(crate) fn publish(&self, shard: &Shard, state: &mut State, wakes: &mut Wakes) {
        // Relaxed: the lock that is held orders this with `Replica::on_change`, which takes it after it has set the flag.
        wakes.moved |= self.hooked.load(Ordering::Relaxed) && shard.clock() != state.lane.clock;
        shard.publish(state);
    }

    /// Runs what takes locks and makes changes; when it has let go of them all, wakes readers and the replication. Those are
    /// foreign code, which may use the tracker, and the very session or node that changed.
    pub(crate) fn waking<R>(&self, change: impl FnOnce(&mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = change(&mut wakes);
        for inbox in wakes.inboxes {
            inbox.wake();
        }
        if wakes.moved && self.change.changed() {
            let hook = self.change_hook.lock().clone();
            if let Some(hook) = hook {
                hook();
            }
        }
        result
    }

    /// Refuses what is too long, naming it.
    pub(crate) fn check_lens(&self, topic: &[u8], key: &[u8], meta: &[u8]) -> Result<(), Error> {
        let lens = [topic.len(), key.len(), meta.len()];
        let limits = self.config.len_limits();
        let over = (0..3).find(|&field| lens[field] > limits[field]);
        over.map_or(Ok(()), |field| {
            let name = ["topic", "key", "meta"][field];
            Err(Error::TooLong { field: name, len: lens[field], max: limits[field] })
        })
    }

    pub(crate) fn entries_local(&self) -> usize {
        (0..self.shards.len() as u16).map(|shard| self.commons.own(shard) as usize).sum()
    }

    pub(crate) fn session_ended(&self) {
        self.sessions_live.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tells every subscription that wants node events.
    pub(crate) fn emit_node(&self, kind: EventKind, wakes: &mut Wakes) {
        let event = Event { shard: 0, version: 0, kind };
        for listener in self.inboxes.lock().values().filter(|listener| listener.nodes) {
            listener.inbox.push(&event);
            wakes.add(&listener.inbox);
        }
    }

    /// Connects a subscription's queue, shard by shard together with that shard's snapshot.
    pub(crate) fn attach(&self, filter: &Filter, inbox: &Arc<Inbox>) -> Vec<Entry> {
        {
            let mut inboxes = self.inboxes.lock();
            let listener = Listener { inbox: Arc::clone(inbox), nodes: filter.nodes };
            inboxes.insert(Arc::as_ptr(inbox).addr(), listener);
        }
        if self.is_shutdown() {
            inbox.close();
            return Vec::new();
        }
        let mut snapshot = Vec::new();
        match &filter.scope {
            Scope::Topics(topics) => {
                for topic in topics {
                    self.attach_topic(topic, filter.snapshot, inbox, &mut snapshot);
                }
            }
            Scope::All => {
                for shard in &self.shards {
                    let connect = |state: &mut State| {
                        state.everywhere.push(Arc::clone(inbox));
                        let mut slots = Vec::new();
                        if filter.snapshot {
                            state.add_all_told_slots(&mut slots);
                        }
                        slots
                    };
                    snapshot.extend(shard.entries(connect));
                }
            }
            Scope::Nothing => {}
        }
        snapshot
    }

    /// Connects a queue to a topic, and takes the topic's snapshot.
    fn attach_topic(
        &self,
        topic: &Topic,
        with_snapshot: bool,
        inbox: &Arc<Inbox>,
        snapshot: &mut Vec<Entry>,
    ) {
        let name = self.commons.hash_name(topic);
        let connect = |state: &mut State| {
            let mut slots = Vec::new();
            state.connect(topic, name, inbox, with_snapshot.then_some(&mut slots));
            slots
        };
        snapshot.extend(self.shard_of(name).entries(connect));
    }

    /// A new snapshot for a connected queue; drops from it what the snapshot has.
    pub(crate) fn look_again(&self, scope: &Scope, inbox: &Arc<Inbox>) -> Vec<Entry> {
        let mut snapshot = Vec::new();
        match scope {
            Scope::Topics(topics) => {
                let hashed = topics.iter().map(|topic| (self.commons.hash_name(topic), topic));
                let mut by_shard: Vec<(u16, NameHash, &Topic)> =
                    hashed.map(|(name, topic)| (self.commons.shard_of(name.stable), name, topic)).collect();
                by_shard.sort_by_key(|&(shard, ..)| shard);
                for group in by_shard.chunk_by(|a, b| a.0 == b.0) {
                    // A topic that could not be connected is, now that there may be memory for it.
                    let again = |state: &mut State| {
                        inbox.forget_shard(state.index);
                        let mut slots = Vec::new();
                        for &(_, name, topic) in group {
                            state.connect(topic, name, inbox, Some(&mut slots));
                        }
                        slots
                    };
                    let shard = &self.shards[usize::from(group[0].0)];
                    snapshot.extend(shard.entries(again));
                }
            }
            Scope::All => {
                for shard in &self.shards {
                    let choose = |state: &mut State| {
                        inbox.forget_shard(state.index);
                        let mut slots = Vec::new();
                        state.add_all_told_slots(&mut slots);
                        slots
                    };
                    snapshot.extend(shard.entries(choose));
                }
            }
            Scope::Nothing => {}
        }
        snapshot
    }

    /// Disconnects a subscription's queue.
    pub(crate) fn detach(&self, filter: &Filter, inbox: &Arc<Inbox>) {
        let other = |held: &Arc<Inbox>| !Arc::ptr_eq(held, inbox);
        match &filter.scope {
            Scope::Topics(topics) => {
                for topic in topics {
                    let name = self.commons.hash_name(topic);
                    let mut state = self.shard_of(name).lock();
                    if let Some(record) = state.find_topic(topic, name) {
                        state.store.topics.get_mut(record).listeners.retain(other);
                        state.store.release_topic(record);
                    }
                }
            }
            Scope::All => {
                for shard in &self.shards {
                    shard.lock().everywhere.retain(other);
                }
            }
            Scope::Nothing => {}
        }
        self.inboxes.lock().remove(&Arc::as_ptr(inbox).addr());
        self.note_missed_by(inbox.newly_missed());
    }
}
