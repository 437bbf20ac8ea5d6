//! What there is to say about a tracker and its cluster.

use super::protocol::{
    Change, Code, EntryRow, Hello, LaneRow, NodeRow, Outcome, PROTOCOL, Request, Row, Text, Why,
};
use super::server::Lines;
use crate::cluster::Shared;
use crate::core::MemberState;
use crate::eviction::{EvictError, Eviction};
use crate::membership::Member;
use headcount::replica::{LaneCondition, LaneSummary, Replica};
use headcount::{
    Entry, EntryRef, Event, EventKind, Filter, Incarnation, Node, NodeId, NodeState, RecvTimeoutError, Topic,
    Tracker,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// Entries read, and changes told, before a client is written to.
const PAGE: usize = 256;
const TOPICS_MAX: usize = 10_000;
/// Nodes remembered by a watch.
const NODES_MAX: usize = 4_096;
const EVICT_MAX: Duration = Duration::from_secs(10);
/// Whoever watches is told this often that the process is there.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// A cluster that the tracker is in. Not a handle of it: an admin socket keeps nobody a member.
pub(crate) struct Membership {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cluster: String,
    pub(crate) obeys: bool,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Answers requests.
#[derive(Debug)]
pub(super) struct Answers {
    tracker: Tracker,
    member: Option<Membership>,
}

/// The nodes at one moment.
struct Nodes(BTreeMap<NodeId, (Node, Option<Member>)>);

impl Nodes {
    fn name(&self, id: NodeId) -> String {
        match self.0.get(&id) {
            Some((node, _)) if !node.name.is_empty() => node.name.clone(),
            _ => id.to_string(),
        }
    }

    /// Takes what is known by now, and keeps who was known before: what leaves last is of nodes that have left.
    fn look_again(&mut self, now: Self) {
        if self.0.len() > NODES_MAX {
            self.0.clear();
        }
        self.0.extend(now.0);
    }

    fn row(&self, entry: &Entry) -> EntryRow {
        let known = self.0.get(&entry.origin());
        EntryRow {
            topic: Text::from(entry.topic()),
            key: Text::from(entry.key()),
            meta: Text::from(entry.meta()),
            node: self.name(entry.origin()),
            session: entry.session().map(|session| session.0),
            entry: entry.entry_ref().to_string(),
            joined: entry.joined_ref().to_string(),
            heard_ms: known.and_then(|(node, _)| node.heard_age).map(millis),
        }
    }

    /// Why an entry may not be true any more, as far as can be known here.
    fn doubt(&self, entry: &Entry, replica: &Replica) -> Option<Why> {
        if entry.is_local() {
            return None;
        }
        let of = entry.entry_ref();
        let Some((node, member)) = self.0.get(&of.node) else {
            return Some(Why::LifeOver);
        };
        if node.incarnation != of.incarnation {
            return Some(Why::LifeOver);
        }
        match (member.as_ref().map(|member| member.state), node.state) {
            (Some(MemberState::Leaving), _) => return Some(Why::Leaving),
            (Some(MemberState::UpIndirect), _) => return Some(Why::Indirect),
            (Some(MemberState::Suspect | MemberState::Down), _)
            | (None, NodeState::Suspect | NodeState::Down) => return Some(Why::Silent),
            _ => {}
        }
        let lane = replica.remote_lane(of.node, of.lane)?;
        (lane.condition != LaneCondition::Clean).then_some(Why::Behind)
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Why a request is not answered.
struct Refusal(Code, String);

fn failed(code: Code, text: impl Into<String>) -> Refusal {
    Refusal(code, text.into())
}

fn bytes(text: &Text, what: &str) -> Result<Vec<u8>, Refusal> {
    text.to_bytes().ok_or_else(|| failed(Code::BadRequest, format!("{what}: the digits of \"hex\" are none")))
}

impl Answers {
    pub(super) fn new(tracker: Tracker, member: Option<Membership>) -> Self {
        Self { tracker, member }
    }

    pub(super) fn hello(&self) -> Hello {
        let identity = self.tracker.replica().identity();
        let local = self.tracker.node(identity.node);
        Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: local.map(|node| node.name).unwrap_or_default(),
            node_id: identity.node.to_string(),
            incarnation: identity.incarnation.to_string(),
            cluster: self.member.as_ref().map(|member| member.cluster.clone()),
            obeys: self.member.as_ref().is_some_and(|member| member.obeys),
        }
    }

    /// Writes the answer. No lock of the tracker is held while that waits for the client.
    pub(super) fn answer(&self, request: Request, out: &mut Lines<'_>) -> io::Result<()> {
        let refused = match request {
            Request::Topics { limit } => return self.topics(limit, out),
            Request::Ghosts => return self.ghosts(out),
            Request::Lanes => return self.lanes(out),
            Request::Evict { entry, timeout_ms } => self.evict(&entry, Duration::from_millis(timeout_ms)),
            Request::List { topic } => match bytes(&topic, "topic") {
                Ok(topic) => return self.list(&topic, out),
                Err(refused) => Err(refused),
            },
            Request::Watch { topic } => match bytes(&topic, "topic") {
                Ok(topic) => return self.watch(&topic, out),
                Err(refused) => Err(refused),
            },
            Request::Get { topic, key } => match (bytes(&topic, "topic"), bytes(&key, "key")) {
                (Ok(topic), Ok(key)) => return self.get(&topic, &key, out),
                (Err(refused), _) | (_, Err(refused)) => Err(refused),
            },
        };
        match refused {
            Ok(row) => {
                out.say(&row)?;
                out.say(&Row::End { rows: 1, of: 1 })
            }
            Err(Refusal(code, text)) => out.say(&Row::Error { code, text }),
        }
    }

    fn nodes(&self) -> Nodes {
        let nodes = self.tracker.nodes().into_iter().map(|node| (node.id, (node, None)));
        let mut nodes: BTreeMap<_, _> = nodes.collect();
        for member in self.member.iter().flat_map(|member| member.shared.members()) {
            if let Some((_, known)) = nodes.get_mut(&member.node) {
                *known = Some(member);
            }
        }
        Nodes(nodes)
    }

    fn topics(&self, limit: usize, out: &mut Lines<'_>) -> io::Result<()> {
        let limit = limit.min(TOPICS_MAX);
        // The least of those kept is on top: the fewest members, of these the last name.
        let mut largest: BinaryHeap<(Reverse<usize>, Topic)> = BinaryHeap::new();
        let of = self.tracker.for_each_topic(|topic| {
            let members = self.tracker.count(topic);
            if members > 0 {
                largest.push((Reverse(members), topic.clone()));
            }
            if largest.len() > limit {
                largest.pop();
            }
        });
        let largest = largest.into_sorted_vec();
        for (Reverse(members), topic) in &largest {
            out.say(&Row::Topic { topic: Text::from(topic), members: *members as u64 })?;
        }
        out.say(&Row::End { rows: largest.len() as u64, of: of as u64 })
    }

    fn list(&self, topic: &[u8], out: &mut Lines<'_>) -> io::Result<()> {
        let (mut after, mut rows) = (None, 0);
        loop {
            let page = self.tracker.list_page(topic, after, PAGE);
            let nodes = self.nodes();
            for entry in &page.entries {
                out.say(&Row::Entry(nodes.row(entry)))?;
            }
            rows += page.entries.len() as u64;
            after = page.next;
            if after.is_none() {
                return out.say(&Row::End { rows, of: rows });
            }
        }
    }

    fn get(&self, topic: &[u8], key: &[u8], out: &mut Lines<'_>) -> io::Result<()> {
        let entries = self.tracker.get(topic, key);
        let nodes = self.nodes();
        for entry in &entries {
            out.say(&Row::Entry(nodes.row(entry)))?;
        }
        let rows = entries.len() as u64;
        out.say(&Row::End { rows, of: rows })
    }

    fn watch(&self, topic: &[u8], out: &mut Lines<'_>) -> io::Result<()> {
        let mut events = self.tracker.subscribe(Filter::topic(topic).without_snapshot());
        out.be_patient()?;
        let mut nodes = self.nodes();
        // Whoever reads this knows that nothing after it is missed.
        out.say(&Row::Alive)?;
        loop {
            out.flush()?;
            match events.recv_timeout(ALIVE_EVERY) {
                Ok(first) => {
                    nodes.look_again(self.nodes());
                    let more = std::iter::from_fn(|| events.try_recv().ok());
                    for event in std::iter::once(first).chain(more).take(PAGE) {
                        if let Some(row) = change(event, &nodes) {
                            out.say(&row)?;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => out.say(&Row::Alive)?,
                Err(_) => return out.say(&Row::End { rows: 0, of: 0 }),
            }
        }
    }

    fn ghosts(&self, out: &mut Lines<'_>) -> io::Result<()> {
        let replica = self.tracker.replica();
        let (mut rows, mut of, mut written) = (0, 0, Ok(()));
        self.tracker.for_each_topic(|topic| {
            let mut after = None;
            while written.is_ok() {
                let page = self.tracker.list_page(topic, after, PAGE);
                let nodes = self.nodes();
                for entry in &page.entries {
                    of += 1;
                    if let Some(why) = nodes.doubt(entry, &replica).filter(|_| written.is_ok()) {
                        rows += 1;
                        written = out.say(&Row::Ghost { why, entry: nodes.row(entry) });
                    }
                }
                after = page.next;
                if after.is_none() {
                    return;
                }
            }
        });
        written?;
        out.say(&Row::End { rows, of })
    }

    fn lanes(&self, out: &mut Lines<'_>) -> io::Result<()> {
        let replica = self.tracker.replica();
        let mut rows = 0;
        for (id, (node, member)) in self.nodes().0 {
            let is_local = node.state == NodeState::Local;
            let life = node.incarnation;
            let lanes: Vec<LaneRow> = if is_local {
                let own = |lane| lane_row(id, life, lane, replica.lane_summary(lane), true);
                (0..replica.lanes()).map(own).collect()
            } else {
                let held = (0..=u16::MAX).map_while(|lane| Some((lane, replica.remote_lane(id, lane)?)));
                held.map(|(lane, held)| {
                    let clean = held.condition == LaneCondition::Clean;
                    lane_row(id, life, lane, held.summary, clean)
                })
                .collect()
            };
            let state = match (&member, node.state) {
                (Some(member), _) => state_name(member.state),
                (None, NodeState::Local) => "local",
                (None, NodeState::Up) => "up",
                (None, NodeState::Suspect) => "suspect",
                (None, _) => "down",
            };
            out.say(&Row::Node(NodeRow {
                name: node.name,
                node: id.to_string(),
                incarnation: life.to_string(),
                state: state.to_owned(),
                heard_ms: node.heard_age.map(millis),
                synced: is_local || member.is_some_and(|member| member.synced),
                lanes: u16::try_from(lanes.len()).unwrap_or(u16::MAX),
                entries: node.entries as u64,
            }))?;
            rows += 1 + lanes.len() as u64;
            for lane in lanes {
                out.say(&Row::Lane(lane))?;
            }
        }
        out.say(&Row::End { rows, of: rows })
    }

    fn evict(&self, entry: &str, timeout: Duration) -> Result<Row, Refusal> {
        let parsed = entry.parse::<EntryRef>();
        let of = parsed.map_err(|error| failed(Code::BadRequest, format!("{entry:?}: {error}")))?;
        if of.node == self.tracker.replica().identity().node {
            let outcome = if self.tracker.evict(of) { Outcome::Removed } else { Outcome::Gone };
            return Ok(Row::Evicted { outcome });
        }
        let member = self.member.as_ref().ok_or_else(|| {
            failed(Code::NotAMember, "the process is in no cluster, so it cannot ask the owner of that entry")
        })?;
        match member.shared.evict(of, timeout.min(EVICT_MAX)) {
            Ok(Eviction::Removed) => Ok(Row::Evicted { outcome: Outcome::Removed }),
            Ok(Eviction::Gone) => Ok(Row::Evicted { outcome: Outcome::Gone }),
            Err(error) => {
                let code = match error {
                    EvictError::NoAnswer { .. } => Code::NoAnswer,
                    EvictError::NotAllowed { .. } => Code::NotAllowed,
                    EvictError::NotAMember => Code::NotAMember,
                    EvictError::TooMany => Code::Failed,
                };
                Err(failed(code, error.to_string()))
            }
        }
    }
}

fn lane_row(node: NodeId, incarnation: Incarnation, lane: u16, summary: LaneSummary, clean: bool) -> LaneRow {
    LaneRow {
        node: node.to_string(),
        incarnation: incarnation.to_string(),
        lane,
        clock: summary.clock,
        count: summary.count,
        digest: format!("{:016x}", summary.digest),
        clean,
    }
}

fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Up => "up",
        MemberState::UpIndirect => "up_indirect",
        MemberState::Suspect => "suspect",
        MemberState::Down => "down",
        MemberState::Leaving => "leaving",
    }
}

/// A change as a row; none of those that are not of a topic.
fn change(event: Event, nodes: &Nodes) -> Option<Row> {
    let of = |event, entry: &Entry| Row::Event {
        event,
        topic: Text::from(entry.topic()),
        entry: Some(nodes.row(entry)),
        old_meta: None,
    };
    let edge =
        |event, topic: &Topic| Row::Event { event, topic: Text::from(topic), entry: None, old_meta: None };
    Some(match event.kind {
        EventKind::Join(entry) => of(Change::Join, &entry),
        EventKind::Leave(entry) => of(Change::Leave, &entry),
        EventKind::Update { old, new } => Row::Event {
            event: Change::Update,
            topic: Text::from(new.topic()),
            entry: Some(nodes.row(&new)),
            old_meta: Some(Text::from(old.meta())),
        },
        EventKind::First(topic) => edge(Change::First, &topic),
        EventKind::Empty(topic) => edge(Change::Empty, &topic),
        EventKind::Lagged { missed } => Row::Lagged { missed },
        _ => return None,
    })
}
