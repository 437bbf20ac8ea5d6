//! Other nodes: which are known, in which life, and whether they are to be seen.

use super::lane::LaneState;
use super::{OriginError, Replica};
use crate::entry::{LOCAL, OriginIx};
use crate::event::EventKind;
use crate::shard::{Commons, State, Wakes};
use crate::sync::{Arc, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::tracker::Inner;
use crate::{Incarnation, Node, NodeId, NodeState};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Nodes that were forgotten and whose highest life is still remembered, so that nothing older comes back.
const FENCES_MAX: usize = 4096;

/// A node and its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}

/// What [`Replica::origin_join`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Joined {
    /// The node was not known; it has no entries yet.
    New,
    /// This life was known; nothing has changed.
    Known,
    /// An earlier life was known; its entries have left, and this one has none yet.
    Replaced,
    /// An earlier life was known; its entries are still to be seen, and those of this one are not yet.
    Succeeded,
}

/// One life of another node.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) index: OriginIx,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) incarnation: Incarnation,
    pub(crate) lanes: Box<[Mutex<LaneState>]>,
    pub(crate) entries: AtomicU64,
    state: AtomicU32,
    heard_ms: AtomicU64,
}

impl Origin {
    pub(crate) fn state(&self) -> NodeState {
        // Relaxed: for show. What is visible is decided under the shards' locks.
        match self.state.load(Ordering::Relaxed) {
            0 => NodeState::Up,
            1 => NodeState::Suspect,
            _ => NodeState::Down,
        }
    }

    fn set_state(&self, state: NodeState) {
        let code = match state {
            NodeState::Suspect => 1,
            NodeState::Down => 2,
            _ => 0,
        };
        self.state.store(code, Ordering::Relaxed);
    }

    /// Nothing is applied to it any more.
    fn freeze(&self) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            lane.retired = true;
            lane.transfer = None;
        }
    }

    pub(crate) fn heard(&self, elapsed: Duration) {
        // Relaxed: for show.
        self.heard_ms.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct LocalNode {
    pub(crate) identity: Identity,
    pub(crate) name: String,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    local: LocalNode,
    by_node: BTreeMap<NodeId, Arc<Origin>>,
    /// Lives that are over and still to be seen, as the ones after them are not yet.
    succeeded: BTreeMap<NodeId, Arc<Origin>>,
    /// Lives that are over, hidden, with entries still to be purged. Oldest first.
    pub(super) retired: VecDeque<Arc<Origin>>,
    fences: HashMap<NodeId, Incarnation, ahash::RandomState>,
    fence_order: VecDeque<NodeId>,
    pub(super) free: Vec<OriginIx>,
    used: OriginIx,
}

/// Entries and topics looked at for each time that a shard is locked while events of a node that goes or comes are told.
const TOLD_PER_LOCK: usize = 256;

/// All other nodes.
#[derive(Debug)]
pub(crate) struct Origins {
    started: Instant,
    /// Taken before any lane or shard by whatever makes a node come, go, hide or show, so that these take turns.
    turn: Mutex<()>,
    table: Mutex<Table>,
    commons: Arc<Commons>,
}

impl Origins {
    pub(crate) fn new(commons: Arc<Commons>, identity: Identity) -> Self {
        let local = LocalNode { identity, name: String::new() };
        commons.origins.set(commons.words(), LOCAL, identity.node.0, identity.incarnation.to_u64());
        Self {
            commons,
            started: Instant::now(),
            turn: Mutex::new(()),
            table: Mutex::new(Table { local, ..Table::default() }),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn local(&self) -> LocalNode {
        self.table.lock().local.clone()
    }

    pub(crate) fn set_local(&self, identity: Identity, name: &str) {
        let mut table = self.table.lock();
        table.local = LocalNode { identity, name: name.to_owned() };
        let (node, life) = (identity.node.0, identity.incarnation.to_u64());
        self.commons.origins.set(self.commons.words(), LOCAL, node, life);
    }

    /// Entries of nodes that are not down.
    pub(crate) fn entries_visible(&self) -> usize {
        let table = self.table.lock();
        let all = table.by_node.values().chain(table.succeeded.values());
        let up = all.filter(|origin| origin.state() != NodeState::Down);
        // Relaxed: a number for show.
        let entries: u64 = up.map(|origin| origin.entries.load(Ordering::Relaxed)).sum();
        usize::try_from(entries).unwrap_or(usize::MAX)
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<Arc<Origin>> {
        self.table.lock().by_node.get(&node).cloned()
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    pub(crate) fn highest(&self, node: NodeId) -> Option<Incarnation> {
        self.table.lock().highest(node)
    }

    /// Nodes known, and lives waiting to be purged.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let table = self.table.lock();
        (table.by_node.len(), table.retired.len())
    }

    pub(crate) fn nodes(&self, entries_local: usize) -> Vec<Node> {
        let elapsed = self.elapsed();
        let table = self.table.lock();
        let local = Node {
            id: table.local.identity.node,
            name: table.local.name.clone(),
            incarnation: table.local.identity.incarnation,
            state: NodeState::Local,
            heard_age: None,
            entries: entries_local,
        };
        let others = table.by_node.values().map(|origin| Node {
            id: origin.node,
            name: origin.name.clone(),
            incarnation: origin.incarnation,
            state: origin.state(),
            heard_age: Some(
                elapsed.saturating_sub(Duration::from_millis(origin.heard_ms.load(Ordering::Relaxed))),
            ),
            entries: usize::try_from(origin.entries.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
        });
        std::iter::once(local).chain(others).collect()
    }
}

impl Table {
    fn highest(&self, node: NodeId) -> Option<Incarnation> {
        let known = self.by_node.get(&node).map(|origin| origin.incarnation);
        known.max(self.fences.get(&node).copied().filter(|_| !planted!(FenceForgotten)))
    }

    fn fence(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.fences.insert(node, incarnation).is_none() {
            self.fence_order.push_back(node);
        }
        if self.fence_order.len() > FENCES_MAX
            && let Some(oldest) = self.fence_order.pop_front()
        {
            self.fences.remove(&oldest);
        }
    }

    /// A number for a life, if one is left.
    fn take_index(&mut self, commons: &Commons) -> Option<OriginIx> {
        self.free.pop().or_else(|| {
            let fits = self.used + 1 < commons.origins_max;
            self.used += OriginIx::from(fits);
            fits.then_some(self.used)
        })
    }
}

impl Replica {
    /// Makes a life of another node known, from its announcement: an empty view of so many lanes, up.
    ///
    /// # Errors
    /// [`OriginError`]: it is this node, a later life is known, or a limit is reached. Nothing has changed.
    pub fn origin_join(
        &self,
        node: NodeId,
        name: &str,
        incarnation: Incarnation,
        lanes: u16,
    ) -> Result<Joined, OriginError> {
        let inner = self.inner();
        if !(1..=256).contains(&lanes) {
            return Err(OriginError::Lanes { lanes });
        }
        inner.waking(|wakes| self.join_origin((node, incarnation), name, lanes, false, wakes))
    }

    /// As [`origin_join`](Self::origin_join), but that the entries of an earlier life that are to be seen stay so, though nothing changes
    /// them any more ([`Joined::Succeeded`]). Those of the new life are hidden meanwhile. [`origin_state`](Self::origin_state) makes the change, in one go:
    /// [`NodeState::Up`] or [`NodeState::Suspect`] shows the new and takes away the old; [`NodeState::Down`] takes away the old only.
    ///
    /// # Errors
    /// As for [`origin_join`](Self::origin_join).
    pub fn origin_succeed(
        &self,
        node: NodeId,
        name: &str,
        incarnation: Incarnation,
        lanes: u16,
    ) -> Result<Joined, OriginError> {
        if !(1..=256).contains(&lanes) {
            return Err(OriginError::Lanes { lanes });
        }
        self.inner().waking(|wakes| self.join_origin((node, incarnation), name, lanes, true, wakes))
    }

    fn join_origin(
        &self,
        (node, incarnation): (NodeId, Incarnation),
        name: &str,
        lanes: u16,
        succeeds: bool,
        wakes: &mut Wakes,
    ) -> Result<Joined, OriginError> {
        let inner = self.inner();
        let _turn = inner.origins.turn();
        let old = {
            let table = inner.origins.table();
            if node == table.local.identity.node {
                return Err(OriginError::IsLocal);
            }
            if let Some(highest) = table.highest(node).filter(|&highest| highest > incarnation) {
                return Err(OriginError::Stale { highest });
            }
            let old = table.by_node.get(&node).cloned();
            if old.as_ref().is_some_and(|old| old.incarnation == incarnation) {
                return Ok(Joined::Known);
            }
            let max = inner.config.origins_max;
            if old.is_none() && table.by_node.len() >= max {
                return Err(OriginError::TooMany { max });
            }
            old
        };
        let mut succeeds = succeeds;
        match &old {
            Some(old) if succeeds && old.state() != NodeState::Down => inner.supersede(old),
            Some(old) => {
                succeeds &= inner.origins.table().succeeded.contains_key(&node);
                if !succeeds {
                    inner.end_succession(node, wakes);
                }
                inner.retire(old, wakes);
            }
            None => succeeds = false,
        }
        let index = inner.origins.table().take_index(&inner.commons);
        let index = match index {
            Some(index) => index,
            None => {
                // Too many lives that are over wait to be purged: now is the time.
                let waiting: Vec<NodeId> = inner.origins.table().succeeded.keys().copied().collect();
                for node in waiting {
                    inner.end_succession(node, wakes);
                }
                succeeds = false;
                self.purge_all(wakes);
                let max = inner.config.origins_max;
                inner.origins.table().take_index(&inner.commons).ok_or(OriginError::TooMany { max })?
            }
        };
        inner.commons.origins.set(inner.commons.words(), index, node.0, incarnation.to_u64());
        let mut table = inner.origins.table();
        let origin = Arc::new(Origin {
            index,
            node,
            name: name.to_owned(),
            incarnation,
            lanes: (0..lanes).map(|_| Mutex::new(LaneState::default())).collect(),
            entries: AtomicU64::new(0),
            state: AtomicU32::new(0),
            heard_ms: AtomicU64::new(0),
        });
        origin.heard(inner.origins.elapsed());
        if succeeds {
            origin.set_state(NodeState::Down);
        }
        table.by_node.insert(node, origin);
        drop(table);
        if succeeds {
            // It has no entries yet: nobody is told of anything.
            inner.hide(index, wakes);
            return Ok(Joined::Succeeded);
        }
        inner.emit_node(EventKind::NodeUp { node, incarnation }, wakes);
        Ok(if old.is_some() { Joined::Replaced } else { Joined::New })
    }

    /// Sets the state of another node. [`NodeState::Down`] hides its entries, with their leave events, and keeps them;
    /// [`NodeState::Up`] and [`NodeState::Suspect`] show them again, with the same refs. Returns false for a node that is not known.
    pub fn origin_state(&self, node: NodeId, state: NodeState) -> bool {
        self.inner().waking(|wakes| self.turn_origin(node, state, wakes))
    }

    fn turn_origin(&self, node: NodeId, state: NodeState, wakes: &mut Wakes) -> bool {
        let inner = self.inner();
        let _turn = inner.origins.turn();
        let Some(origin) = inner.origins.get(node) else {
            return false;
        };
        let was_down = origin.state() == NodeState::Down;
        let is_down = state == NodeState::Down;
        origin.set_state(state);
        let incarnation = origin.incarnation;
        if is_down {
            inner.end_succession(node, wakes);
        }
        if is_down && !was_down {
            // As below.
            let _lanes: Vec<_> = origin.lanes.iter().map(Mutex::lock).collect();
            inner.hide(origin.index, wakes);
            inner.emit_node(EventKind::NodeDown { node, incarnation }, wakes);
        } else if was_down && !is_down {
            // Its entries do not change while subscribers are told of them.
            let _lanes: Vec<_> = origin.lanes.iter().map(Mutex::lock).collect();
            let before = inner.origins.table().succeeded.get(&node).map(|before| before.index);
            inner.commons.hide(origin.index, false);
            // Readers see the new ones before the old ones are gone, and subscribers as well.
            if let Some(before) = before {
                inner.commons.hide(before, true);
            }
            inner.tell(origin.index, State::begin_joining, wakes);
            inner.end_succession(node, wakes);
            inner.emit_node(EventKind::NodeUp { node, incarnation }, wakes);
        }
        true
    }

    /// Forgets a node: its entries leave if they were to be seen, and are purged by [`maintain`](Self::maintain). Its
    /// highest life is remembered, so that an older one is refused; the same one may join again, from nothing. Returns
    /// false for a node that is not known.
    pub fn forget(&self, node: NodeId) -> bool {
        let inner = self.inner();
        inner.waking(|wakes| {
            let _turn = inner.origins.turn();
            let origin = inner.origins.get(node);
            inner.end_succession(node, wakes);
            if let Some(origin) = &origin {
                inner.retire(origin, wakes);
            }
            origin.is_some()
        })
    }
}

impl Inner {
    /// Takes an origin's entries out of every reader's sight, and tells subscribers after that. They do not change meanwhile.
    fn hide(&self, origin: OriginIx, wakes: &mut Wakes) {
        if !planted!(HiddenShown) {
            self.commons.hide(origin, true);
        }
        self.tell(origin, State::begin_leaving, wakes);
    }

    fn tell(&self, origin: OriginIx, begin: fn(&mut State, OriginIx), wakes: &mut Wakes) {
        for shard in &self.shards {
            begin(&mut shard.lock(), origin);
            let mut more = true;
            while more {
                let mut state = shard.lock();
                more = state.tell(origin, TOLD_PER_LOCK, wakes);
                self.finish(shard, state, wakes);
            }
        }
    }

    /// Ends a life whose entries are still to be seen: nothing of it is applied any more.
    fn supersede(&self, origin: &Arc<Origin>) {
        origin.freeze();
        let mut table = self.origins.table();
        table.by_node.remove(&origin.node);
        table.fence(origin.node, origin.incarnation);
        table.succeeded.insert(origin.node, Arc::clone(origin));
    }

    /// Nothing of a life that was [`superseded`](Self::supersede) is seen any more, if there is one; its entries wait to be purged.
    fn end_succession(&self, node: NodeId, wakes: &mut Wakes) {
        let Some(origin) = self.origins.table().succeeded.remove(&node) else {
            return;
        };
        self.hide(origin.index, wakes);
        let incarnation = origin.incarnation;
        self.origins.table().retired.push_back(origin);
        self.emit_node(EventKind::NodeDown { node, incarnation }, wakes);
    }

    /// Ends a life: nothing of it is applied or seen any more; its entries wait to be purged.
    fn retire(&self, origin: &Arc<Origin>, wakes: &mut Wakes) {
        origin.freeze();
        self.hide(origin.index, wakes);
        let was_down = origin.state() == NodeState::Down;
        {
            let mut table = self.origins.table();
            table.by_node.remove(&origin.node);
            table.fence(origin.node, origin.incarnation);
            table.retired.push_back(Arc::clone(origin));
        }
        if !was_down {
            let (node, incarnation) = (origin.node, origin.incarnation);
            self.emit_node(EventKind::NodeDown { node, incarnation }, wakes);
        }
    }
}
