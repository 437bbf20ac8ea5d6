//! The tracker: shards, who is known, who listens; and the reads.

use crate::config::Config;
use crate::event::{Event, EventKind};
use crate::inbox::Inbox;
use crate::kernel::change::ChangeFlag;
use crate::replica::{Identity, Origins, Replica};
use crate::shard::{Shard, State, Wakes};
use crate::subscription::Scope;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, RwLockWriteGuard};
use crate::{
    Entry, Error, Filter, Node, NodeId, Page, PageToken, Pages, Session, SessionId, ShardStats, Snapshot,
    Stats, Subscription, Topic,
};
use std::collections::BTreeMap;
use std::fmt;

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
    pub(crate) shards: Box<[Shard]>,
    pub(crate) origins: Origins,
    pub(crate) change: ChangeFlag,
    pub(crate) change_hook: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// Subscriptions by the address of their queue, which is theirs alone while they hold it.
    inboxes: Mutex<BTreeMap<usize, Listener>>,
    sessions_made: AtomicU64,
    sessions_live: AtomicU64,
    closed: AtomicBool,
    /// A replication driver has it.
    pub(crate) claimed: AtomicBool,
}

struct Listener {
    inbox: Arc<Inbox>,
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
        let shards = (0..u16::try_from(config.shards).unwrap_or(256))
            .map(|index| Shard::new(index, identity, config.lane_log_max))
            .collect();
        let inner = Inner {
            shards,
            origins: Origins::new(identity),
            change: ChangeFlag::new(),
            change_hook: Mutex::new(None),
            inboxes: Mutex::new(BTreeMap::new()),
            sessions_made: AtomicU64::new(0),
            sessions_live: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            claimed: AtomicBool::new(false),
            config,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A new session: the owner of the entries that it tracks.
    #[must_use]
    pub fn session(&self) -> Session {
        // Relaxed: only the numbers matter, nothing is published with them.
        let id = self.inner.sessions_made.fetch_add(1, Ordering::Relaxed) + 1;
        self.inner.sessions_live.fetch_add(1, Ordering::Relaxed);
        Session::new(Arc::clone(&self.inner), SessionId(id))
    }

    /// Every entry with this key in this topic, one for each session and node that tracks it, oldest here first.
    #[must_use]
    pub fn get(&self, topic: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Vec<Entry> {
        let (topic, key) = (topic.as_ref(), key.as_ref());
        let state = self.inner.shard_of(topic).read();
        state.find_topic(topic).map_or_else(Vec::new, |id| state.find_visible(id, key))
    }

    /// Whether anybody has this key in this topic.
    #[must_use]
    pub fn contains(&self, topic: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> bool {
        let (topic, key) = (topic.as_ref(), key.as_ref());
        let state = self.inner.shard_of(topic).read();
        state
            .find_topic(topic)
            .is_some_and(|id| state.store.find(id, key).any(|slot| state.is_visible(slot.record.origin)))
    }

    /// Every entry of the topic, in the order in which they came to this node, at one instant. For topics that may be
    /// large, [`pages`](Self::pages) holds the shard for a page at a time only.
    #[must_use]
    pub fn list(&self, topic: impl AsRef<[u8]>) -> Vec<Entry> {
        self.snapshot(topic).entries
    }

    /// Like [`list`](Self::list), with the version of the shard at that instant.
    #[must_use]
    pub fn snapshot(&self, topic: impl AsRef<[u8]>) -> Snapshot {
        let topic = topic.as_ref();
        let state = self.inner.shard_of(topic).read();
        let entries = state.find_topic(topic).map_or_else(Vec::new, |id| {
            let mut entries = Vec::with_capacity(state.count(id));
            entries.extend(state.visible_after(id, 0).map(|(_, entry)| entry));
            entries
        });
        Snapshot { shard: state.index, version: state.version, entries }
    }

    /// The next `max` entries (at least one) of the topic, after those of the page that `after` came from.
    #[must_use]
    pub fn list_page(&self, topic: impl AsRef<[u8]>, after: Option<PageToken>, max: usize) -> Page {
        let max = max.max(1);
        let topic = topic.as_ref();
        let state = self.inner.shard_of(topic).read();
        let mut page = Page { entries: Vec::new(), next: None };
        let Some(id) = state.find_topic(topic) else {
            return page;
        };
        let mut last = 0;
        for (position, entry) in state.visible_after(id, after.map_or(0, |PageToken(at)| at)) {
            if page.entries.len() == max {
                page.next = Some(PageToken(last));
                break;
            }
            last = position;
            page.entries.push(entry);
        }
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
        let state = self.inner.shard_of(topic).read();
        state.find_topic(topic).map_or(0, |id| state.count(id))
    }

    /// The topics that have entries, shard by shard, each shard at one instant.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let mut topics = Vec::new();
        for shard in &self.inner.shards {
            let state = shard.read();
            let present = state.store.topics().filter(|&(id, _)| state.count(id) > 0);
            topics.extend(present.map(|(_, topic)| topic.name.clone()));
        }
        topics
    }

    /// How many entries are present, shard by shard.
    #[must_use]
    pub fn len(&self) -> usize {
        let visible = |shard: &Shard| {
            let state = shard.read();
            let hidden: usize = state.hidden.iter().map(|&origin| state.store.count_of(origin)).sum();
            state.store.len() - hidden
        };
        self.inner.shards.iter().map(visible).sum()
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

    /// Numbers about the tracker.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { entries_local: self.inner.entries_local(), ..Stats::default() };
        for shard in &self.inner.shards {
            let state = shard.read();
            let shard = ShardStats {
                entries: state.store.len(),
                topics: state.store.topics().count(),
                clock: state.lane.clock,
                version: state.version,
            };
            stats.entries += shard.entries;
            stats.topics += shard.topics;
            stats.shards.push(shard);
            stats.tracked_total += state.counters.tracked;
            stats.updated_total += state.counters.updated;
            stats.untracked_total += state.counters.untracked;
            stats.remote_operations_total += state.counters.remote_operations;
            stats.events_total += state.counters.events;
        }
        stats.entries_remote = stats.entries.saturating_sub(stats.entries_local);
        stats.sessions =
            usize::try_from(self.inner.sessions_live.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        (stats.nodes_remote, stats.origins_purging) = self.inner.origins.counts();
        let inboxes = self.inner.inboxes.lock();
        stats.subscriptions = inboxes.len();
        stats.events_missed_total = inboxes.values().map(|listener| listener.inbox.missed_total()).sum();
        stats
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
            inner.waking(|wakes| {
                let mut state = shard.write();
                if !state.closed {
                    let own: Vec<u32> = state.lane.by_dot.values().copied().collect();
                    for slot in own {
                        state.untrack(slot, wakes);
                    }
                    state.closed = true;
                }
                inner.finish(shard, state, wakes);
            });
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

    /// The shard of a topic. XXH3 and not a hasher with a key of its own: nodes with equally many shards then put a topic into
    /// the same one, and a delta of one lane finds all its topics in one shard.
    pub(crate) fn shard_index(&self, topic: &[u8]) -> usize {
        let hash = xxhash_rust::xxh3::xxh3_64(topic);
        usize::try_from(hash >> 32).unwrap_or(0) & (self.shards.len() - 1)
    }

    pub(crate) fn shard_of(&self, topic: &[u8]) -> &Shard {
        &self.shards[self.shard_index(topic)]
    }

    /// Ends a change: publishes the clock and unlocks.
    pub(crate) fn finish(&self, shard: &Shard, state: RwLockWriteGuard<'_, State>, wakes: &mut Wakes) {
        wakes.moved |= shard.clock() != state.lane.clock;
        shard.publish(&state);
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
        let fields = [("topic", topic), ("key", key), ("meta", meta)];
        for ((field, bytes), max) in fields.into_iter().zip(self.config.len_limits()) {
            if bytes.len() > max {
                return Err(Error::TooLong { field, len: bytes.len(), max });
            }
        }
        Ok(())
    }

    fn entries_local(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().lane.by_dot.len()).sum()
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
                    let mut state = self.shard_of(topic).write();
                    let id = state.store.intern_topic(topic);
                    state.store.topic_mut(id).listeners.push(Arc::clone(inbox));
                    if filter.snapshot {
                        snapshot.extend(state.visible_after(id, 0).map(|(_, entry)| entry));
                    }
                }
            }
            Scope::All => {
                for shard in &self.shards {
                    let mut state = shard.write();
                    state.everywhere.push(Arc::clone(inbox));
                    if filter.snapshot {
                        state.extend_with_everything(&mut snapshot);
                    }
                }
            }
            Scope::Nothing => {}
        }
        snapshot
    }

    /// A new snapshot for a connected queue; drops from it what the snapshot has.
    pub(crate) fn look_again(&self, scope: &Scope, inbox: &Inbox) -> Vec<Entry> {
        let mut snapshot = Vec::new();
        match scope {
            Scope::Topics(topics) => {
                let mut by_shard: Vec<(usize, &Topic)> =
                    topics.iter().map(|topic| (self.shard_index(topic), topic)).collect();
                by_shard.sort_by_key(|&(shard, _)| shard);
                for group in by_shard.chunk_by(|a, b| a.0 == b.0) {
                    let state = self.shards[group[0].0].read();
                    inbox.forget_shard(state.index);
                    for (_, topic) in group {
                        if let Some(id) = state.find_topic(topic) {
                            snapshot.extend(state.visible_after(id, 0).map(|(_, entry)| entry));
                        }
                    }
                }
            }
            Scope::All => {
                for shard in &self.shards {
                    let state = shard.read();
                    inbox.forget_shard(state.index);
                    state.extend_with_everything(&mut snapshot);
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
                    let mut state = self.shard_of(topic).write();
                    if let Some(id) = state.find_topic(topic) {
                        state.store.topic_mut(id).listeners.retain(other);
                        state.store.release_topic(id);
                    }
                }
            }
            Scope::All => {
                for shard in &self.shards {
                    shard.write().everywhere.retain(other);
                }
            }
            Scope::Nothing => {}
        }
        self.inboxes.lock().remove(&Arc::as_ptr(inbox).addr());
    }
}
