//! One node: the tracker under test, and the oracle of what its sessions track.

use super::action::{Action, Spot};
use super::common::peer::Peer;
use super::common::replay::Replay;
use super::common::view;
use super::history::History;
use headcount::replica::Identity;
use headcount::{Config, Entry, Error, Event, EventKind, Filter, Incarnation, NodeId, Session, Subscription};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that a session may hold: few, so that the limit is met.
const SESSION_ENTRIES_MAX: usize = 6;

/// Operations that a lane remembers: as few as there can be, so that receivers fall behind.
pub(crate) const LANE_LOG_MAX: u64 = 16;

pub(crate) type Key = (String, String);

pub(crate) fn topic(number: u8) -> String {
    format!("topic:{number}")
}

fn key_of(spot: &Spot) -> Key {
    (topic(spot.topic), format!("key:{}", spot.key))
}

fn shown(entry: &Entry) -> (u64, String, String, String) {
    let session = entry.session().expect("a session's").0;
    (session, entry.topic().to_string(), entry.key_str().into_owned(), entry.meta_str().into_owned())
}

pub(crate) struct Owner {
    pub(crate) peer: Peer,
    pub(crate) identity: Identity,
    pub(crate) replay: Replay,
    pub(crate) lanes: Vec<History>,
    sessions: Vec<Session>,
    /// The oracle: what each session tracks.
    model: Vec<BTreeMap<Key, String>>,
    events: Subscription,
}

impl Owner {
    pub(crate) fn start(identity: Identity, shards: usize) -> Self {
        let config = Config::default()
            .shards(shards)
            .session_entries_max(SESSION_ENTRIES_MAX)
            .lane_log_max(usize::try_from(LANE_LOG_MAX).expect("small"))
            .subscription_queue_max(1 << 20);
        let peer = Peer::with(config.build().expect("the configuration is valid"));
        peer.replica.set_identity(identity.node, "", identity.incarnation);
        let events = peer.tracker.subscribe(Filter::all());
        Self {
            identity,
            replay: Replay::default(),
            lanes: vec![History::default(); shards],
            sessions: vec![peer.tracker.session(), peer.tracker.session()],
            model: vec![BTreeMap::new(), BTreeMap::new()],
            events,
            peer,
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.identity.node
    }

    pub(crate) fn life(&self) -> Incarnation {
        self.identity.incarnation
    }

    /// One of this node's own operations.
    pub(crate) fn act(&mut self, session: usize, action: &Action) {
        match *action {
            Action::Track { ref spot, meta, .. } => self.track(session, spot, meta),
            Action::Update { ref spot, meta, .. } => self.update(session, spot, meta),
            Action::Untrack { ref spot, .. } => self.untrack(session, spot),
            Action::Evict { ref spot, stale, .. } => self.evict(session, spot, stale),
            Action::UntrackTopic { topic, .. } => self.untrack_topic(session, topic),
            Action::Batch { ref spots, meta, .. } => self.batch(session, spots, meta),
            Action::Clear { .. } => self.clear(session),
            Action::DropSession { .. } => self.drop_session(session),
            _ => unreachable!("not of a node's own: {action:?}"),
        }
    }

    fn track(&mut self, session: usize, spot: &Spot, meta: u8) {
        let key = key_of(spot);
        let tracked = self.sessions[session].track(&key.0, &key.1, meta.to_string());
        let room = self.model[session].len() < SESSION_ENTRIES_MAX;
        match tracked {
            Ok(_) => {
                assert!(room);
                let before = self.model[session].insert(key, meta.to_string());
                assert!(before.is_none(), "tracked twice");
            }
            Err(Error::AlreadyTracked { existing }) => {
                assert!(self.model[session].contains_key(&key));
                let mut refs = self.peer.tracker.get(&key.0, &key.1);
                refs.retain(|entry| entry.session() == Some(self.sessions[session].id()));
                assert_eq!(refs[0].entry_ref(), existing);
            }
            Err(Error::Full { .. }) => assert!(!room),
            Err(other) => panic!("{other}"),
        }
    }

    fn update(&mut self, session: usize, spot: &Spot, meta: u8) {
        let key = key_of(spot);
        let updated = match meta % 2 {
            0 => self.sessions[session].update(&key.0, &key.1, meta.to_string()),
            _ => self.sessions[session].update_with(&key.0, &key.1, |_| meta.to_string()),
        };
        match self.model[session].get_mut(&key) {
            Some(held) => {
                updated.expect("it is tracked");
                *held = meta.to_string();
            }
            None => assert_eq!(updated, Err(Error::NotTracked)),
        }
    }

    fn untrack(&mut self, session: usize, spot: &Spot) {
        let key = key_of(spot);
        let held = self.model[session].remove(&key).is_some();
        assert_eq!(self.sessions[session].untrack(&key.0, &key.1), Ok(held));
    }

    fn evict(&mut self, session: usize, spot: &Spot, stale: bool) {
        let key = key_of(spot);
        let mut found = self.peer.tracker.get(&key.0, &key.1);
        found.retain(|entry| entry.session() == Some(self.sessions[session].id()));
        assert_eq!(found.len(), usize::from(self.model[session].contains_key(&key)));
        let Some(entry) = found.pop() else { return };
        if stale {
            let before = entry.prev_ref().filter(|&before| before != entry.entry_ref());
            assert!(before.is_none_or(|before| !self.peer.tracker.evict(before)));
            return;
        }
        assert!(self.peer.tracker.evict(entry.entry_ref()));
        assert!(!self.peer.tracker.evict(entry.entry_ref()), "it is gone");
        self.model[session].remove(&key);
    }

    fn untrack_topic(&mut self, session: usize, number: u8) {
        let before = self.model[session].len();
        self.model[session].retain(|(held, _), _| *held != topic(number));
        let left = before - self.model[session].len();
        assert_eq!(self.sessions[session].untrack_topic(topic(number)), Ok(left));
    }

    fn batch(&mut self, session: usize, spots: &[Spot], meta: u8) {
        let entries: Vec<(String, String, String)> =
            spots.iter().map(key_of).map(|(topic, key)| (topic, key, meta.to_string())).collect();
        let keys: BTreeSet<Key> = spots.iter().map(key_of).collect();
        let model = &mut self.model[session];
        let fresh = keys.len() == spots.len() && keys.iter().all(|key| !model.contains_key(key));
        let room = model.len() + spots.len() <= SESSION_ENTRIES_MAX;
        match self.sessions[session].track_many(entries) {
            Ok(refs) => {
                assert!(fresh && room);
                assert_eq!(refs.len(), spots.len());
                model.extend(keys.into_iter().map(|key| (key, meta.to_string())));
            }
            Err(Error::AlreadyTracked { .. }) => assert!(!fresh),
            Err(Error::Full { .. }) => assert!(!room),
            Err(other) => panic!("{other}"),
        }
    }

    fn clear(&mut self, session: usize) {
        let held = std::mem::take(&mut self.model[session]).len();
        assert_eq!(self.sessions[session].clear(), Ok(held));
    }

    fn drop_session(&mut self, session: usize) {
        self.model[session].clear();
        self.sessions[session] = self.peer.tracker.session();
    }

    /// What this node's sessions track, by the oracle: session, topic, key and meta.
    pub(crate) fn model(&self) -> BTreeSet<(u64, String, String, String)> {
        let of = |(session, model): (&Session, &BTreeMap<Key, String>)| {
            let id = session.id().0;
            let entries =
                model.iter().map(move |((topic, key), meta)| (id, topic.clone(), key.clone(), meta.clone()));
            entries.collect::<Vec<_>>()
        };
        self.sessions.iter().zip(&self.model).flat_map(of).collect()
    }

    /// What this node's sessions say that they track, in the same form.
    pub(crate) fn tracked(&self) -> BTreeSet<(u64, String, String, String)> {
        let of = |session: &Session| {
            assert_eq!(session.entries().len(), session.len());
            session.entries()
        };
        self.sessions.iter().flat_map(of).map(|entry| shown(&entry)).collect()
    }

    /// What is listed of this node's own, in the same form.
    pub(crate) fn listed(&self) -> BTreeSet<(u64, String, String, String)> {
        let listed = view(&self.peer.tracker).into_values();
        listed.filter(Entry::is_local).map(|entry| shown(&entry)).collect()
    }

    /// Reads what this node's subscription was told: into the replay and, of its own entries, into the history of its lanes.
    pub(crate) fn listen(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            self.replay.take(&event);
            match &event.kind {
                EventKind::Join(entry) | EventKind::Update { new: entry, .. } if entry.is_local() => {
                    self.lane(entry).version(entry);
                }
                EventKind::Leave(entry) if entry.is_local() => self.lane(entry).removal(entry),
                _ => events.push(event),
            }
        }
        self.replay.assert_settled();
        events
    }

    fn lane(&mut self, entry: &Entry) -> &mut History {
        &mut self.lanes[usize::from(entry.entry_ref().lane)]
    }
}
