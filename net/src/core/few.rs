//! A few cores for tests of what one says to another, and a network that only passes on: no delay, no loss, nothing checked. (Random runs with
//! all of that are the simulator's.)

use super::gate::{Budget, Security};
use super::*;
use crate::keys::Keys;
use headcount::{Config, Session};

pub(super) const MS: fn(u64) -> Duration = Duration::from_millis;
/// Where the first node is asked for its lanes; each next one a port further.
const TCP_PORT: u16 = 9_000;

pub(super) struct Node {
    pub(super) tracker: Tracker,
    pub(super) core: Core,
    pub(super) addr: SocketAddr,
    /// Keeps its entries.
    pub(super) session: Session,
    pub(super) out: Output,
}

pub(super) struct Few {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Time,
    /// What was said on streams, by the node that said it.
    pub(super) streams: Vec<(usize, StreamId, Vec<u8>)>,
    /// From whom to whom nothing passes.
    pub(super) cut: Option<(usize, usize)>,
    /// What has come of evictions, by the number of each.
    pub(super) evicted: Vec<(u64, EvictOutcome)>,
    /// Streams lead somewhere. If not, they are written down only.
    pub(super) connects: bool,
    /// The two ends of each stream.
    pipes: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    /// What is on its way on streams.
    flowing: VecDeque<(usize, StreamId, Flow)>,
    next_incoming: u64,
}

enum Flow {
    Accepted,
    Bytes(Vec<u8>),
    Writable,
    Closed,
}

pub(super) fn keys(byte: char) -> Keys {
    Keys::parse(&format!("1:{}", byte.to_string().repeat(64))).unwrap()
}

fn node(at: usize, name: &str, keys: Option<Keys>, budget: Budget, config: Config) -> Node {
    let tracker = config.build().expect("sizes that are allowed");
    let seed = at as u64 + 1;
    let security = Security { cluster: "c".into(), keys, secret: [at as u8 + 1; 32], budget };
    let nth = u16::try_from(at).unwrap();
    let settings = Settings { tcp_port: TCP_PORT + nth, security, ..Settings::plain(7, name, seed) };
    let core = Core::new(settings, &tracker, Time::ZERO);
    let addr = SocketAddr::from(([127, 0, 0, 1], 10_000 + nth));
    Node { session: tracker.session(), tracker, core, addr, out: Output::default() }
}

impl Few {
    pub(super) fn new(names: &[&str], keys: Option<&Keys>, budget: Budget) -> Self {
        Self::with(names, keys, budget, |_| Config::default())
    }

    /// With a configuration for the tracker of each.
    pub(super) fn with(
        names: &[&str],
        keys: Option<&Keys>,
        budget: Budget,
        config: impl Fn(usize) -> Config,
    ) -> Self {
        let all = names.iter().enumerate();
        let nodes = all.map(|(at, name)| node(at, name, keys.cloned(), budget, config(at))).collect();
        Self {
            nodes,
            now: Time::ZERO,
            streams: Vec::new(),
            cut: None,
            evicted: Vec::new(),
            connects: false,
            pipes: BTreeMap::new(),
            flowing: VecDeque::new(),
            next_incoming: 1,
        }
    }

    /// A cluster in agreement.
    pub(super) fn live(names: &[&str], budget: Budget) -> Self {
        let mut few = Self::new(names, Some(&keys('a')), budget);
        few.run(MS(600));
        for node in &few.nodes {
            assert_eq!(node.core.members.len(), names.len() - 1);
        }
        few
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_micros(500);
            for at in 0..self.nodes.len() {
                self.give(at, Input::Turn);
            }
            self.flow();
        }
    }

    pub(super) fn give(&mut self, at: usize, input: Input<'_>) {
        let node = &mut self.nodes[at];
        node.core.handle(self.now, input, &mut node.out);
        self.pass_on(at);
    }

    /// Delivers what a node has said. Streams are written down, and what they bring waits for its turn.
    pub(super) fn pass_on(&mut self, at: usize) {
        let out = std::mem::take(&mut self.nodes[at].out);
        self.evicted.extend(out.evictions);
        for (id, action) in out.streams {
            self.take_action(at, id, action);
        }
        let from = self.nodes[at].addr;
        for (target, bytes) in out.datagrams {
            for to in 0..self.nodes.len() {
                if self.cut == Some((at, to)) {
                    continue;
                }
                if to != at && (target == Target::Group || target == Target::Node(self.nodes[to].addr)) {
                    self.give(to, Input::Datagram { from, bytes: &bytes, by_group: true });
                }
            }
        }
    }

    fn take_action(&mut self, at: usize, id: StreamId, action: StreamAction) {
        if self.connects {
            if let StreamAction::Connect { to, .. } = &action {
                let (server, incoming) = (usize::from(to.port() - TCP_PORT), StreamId(self.next_incoming));
                self.next_incoming += 2;
                self.pipes.insert((at, id), (server, incoming));
                self.pipes.insert((server, incoming), (at, id));
                self.flowing.push_back((server, incoming, Flow::Accepted));
            }
            if let Some(&(to, other)) = self.pipes.get(&(at, id)) {
                match &action {
                    StreamAction::Connect { first: bytes, .. }
                    | StreamAction::Send(bytes)
                    | StreamAction::Greet(bytes) => {
                        self.flowing.push_back((to, other, Flow::Bytes(bytes.clone())));
                    }
                    StreamAction::Finish | StreamAction::Abort => {
                        self.pipes.remove(&(at, id));
                        self.flowing.push_back((to, other, Flow::Closed));
                    }
                }
                if matches!(action, StreamAction::Send(_)) {
                    self.flowing.push_back((at, id, Flow::Writable));
                }
            }
        }
        if let StreamAction::Connect { first: bytes, .. }
        | StreamAction::Send(bytes)
        | StreamAction::Greet(bytes) = action
        {
            self.streams.push((at, id, bytes));
        }
    }

    /// Delivers what is on its way on streams, and what that leads to.
    fn flow(&mut self) {
        while let Some((at, id, flow)) = self.flowing.pop_front() {
            // Its end has been closed.
            if !self.pipes.contains_key(&(at, id)) {
                continue;
            }
            let input = match &flow {
                Flow::Accepted => StreamInput::Accepted,
                Flow::Bytes(bytes) => StreamInput::Bytes(bytes),
                Flow::Writable => StreamInput::Writable,
                Flow::Closed => {
                    self.pipes.remove(&(at, id));
                    StreamInput::Closed
                }
            };
            self.give(at, Input::Stream(id, input));
        }
    }

    /// Lets a node say something that it would not say.
    pub(super) fn say(&mut self, at: usize, target: Target, put: impl FnOnce(&mut Vec<u8>)) {
        let mut body = Vec::new();
        put(&mut body);
        let node = &mut self.nodes[at];
        node.core.send(target, &body, &mut node.out);
        self.pass_on(at);
    }

    pub(super) fn stats(&self, at: usize) -> NetStats {
        self.nodes[at].core.stats()
    }

    /// What has moved since: the names of the counters that are not those of ordinary traffic.
    pub(super) fn moved(&self, at: usize, before: &NetStats) -> Vec<&'static str> {
        let ordinary =
            ["datagrams_sent", "bytes_sent", "datagrams_received", "bytes_received", "send_budget"];
        let now = self.stats(at);
        let both = before.iter().zip(now.iter());
        let moved = both.filter(|((name, before), (_, now))| before != now && !ordinary.contains(name));
        moved.map(|((name, _), _)| name).collect()
    }
}
