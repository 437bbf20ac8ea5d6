//! What fuzzers feed: the decoders, and a node among peers that say anything at all.
//! Each function takes the fuzzer's bytes and panics where a promise is broken. `net/fuzz` drives them; the tests here run its corpus.

use crate::config::Timing;
use crate::core::{
    Core, Input, Limits, Mode, Output, Phase, Settings, StreamAction, StreamId, StreamInput, Time,
};
use crate::driver::CONNECTIONS_MAX;
use crate::wire::{self, DeltaWriter, Frame, Message, MessageBuffer};
use headcount::replica::Op;
use headcount::{Entry, Incarnation, NodeId, Session, Tracker};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const CLUSTER: u32 = 7;
const NAME: &str = "attacked";
const TOPIC: &str = "own";
/// The last of the peers: the script has no say in what it does.
const BYSTANDER: u8 = 4;
/// What it has: under keys that the node itself has, too, and others may say that they have.
const KEPT: [(&str, &str); 2] = [("key-1", "kept"), ("key-2", "kept too")];
/// As many actions are taken from one input.
const ACTIONS_MAX: usize = 512;
/// The body of a datagram and what a stream gets at once.
const PIECE_MAX: usize = 1200;

/// Decodes a datagram, as it is and as the body of a sealed one. A frame that is understood, and written again, is understood as the same.
pub fn datagram(bytes: &[u8]) {
    let _refused_or_not = wire::open(bytes, CLUSTER);
    for frame in wire::frames(bytes).map_while(Result::ok) {
        let mut again = Vec::new();
        frame.put(&mut again);
        assert_eq!(
            wire::frames(&again).collect::<Vec<_>>(),
            [Ok(frame)],
            "a frame written again is the same"
        );
    }
}

/// Takes a stream apart, in pieces whose length the first byte says, and decodes its messages.
pub fn stream(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else {
        return;
    };
    let mut buffer = MessageBuffer::default();
    for piece in bytes.chunks(usize::from(piece) + 1) {
        if !buffer.push(piece) {
            return;
        }
        loop {
            match buffer.next() {
                Ok(Some((kind, body))) => decode_message(kind, body),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn decode_message(kind: u8, body: &[u8]) {
    let Ok(message) = Message::decode(kind, body) else {
        return;
    };
    let mut again = Vec::new();
    if message.put(&mut again).is_ok() {
        let (kind, body) = again[4..].split_first().expect("a message has a kind");
        let read = Message::decode(*kind, body).expect("what was written is understood");
        // Neighbouring skips are written as one, so of operations only what is written for the second time is the same.
        if let Message::Ops(_) = message {
            let mut third = Vec::new();
            assert_eq!(
                (read.put(&mut third), &third),
                (Ok(()), &again),
                "operations written again are the same"
            );
        } else {
            assert_eq!(read, message, "a message written again is the same");
        }
    }
}

/// Plays everybody else to a node: its peers, one that speaks as itself, and strangers at its streams. What any of them says is the
/// fuzzer's choice, in datagrams whose seal is right. One more peer keeps its entries, and is heard. One run of four has no multicast.
pub fn peers(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mode = if script.below(4) == 3 { Mode::Unicast } else { Mode::Multicast };
    let mut attacked = Attacked::new(mode);
    for _ in 0..ACTIONS_MAX {
        if script.0.is_empty() {
            break;
        }
        attacked.act(&mut script);
        attacked.check();
    }
}

/// The counters of refusals that a datagram moves, by their names.
#[cfg(test)]
pub(crate) fn refused_as(bytes: &[u8]) -> Vec<&'static str> {
    let mut attacked = Attacked::new(Mode::Multicast);
    let from = attacked.peers[0].addr;
    let datagram = Input::Datagram { from, bytes, by_group: true };
    refusals(&mut attacked, |attacked| attacked.core.handle(attacked.now, datagram, &mut attacked.out))
}

/// The same of a datagram of a peer that has these frames in it.
#[cfg(test)]
pub(crate) fn frames_refused_as(body: &[u8]) -> Vec<&'static str> {
    refusals(&mut Attacked::new(Mode::Multicast), |attacked| attacked.say(0, body))
}

#[cfg(test)]
fn refusals(attacked: &mut Attacked, happens: impl FnOnce(&mut Attacked)) -> Vec<&'static str> {
    let counters = |attacked: &Attacked| {
        let stats = attacked.core.stats();
        [
            ("malformed", stats.malformed),
            ("foreign", stats.foreign),
            ("no_key", stats.no_key),
            ("auth_failed", stats.auth_failed),
        ]
    };
    let before = counters(attacked);
    happens(attacked);
    let moved = before.into_iter().zip(counters(attacked)).filter(|(before, after)| before != after);
    moved.map(|((name, _), _)| name).collect()
}

/// The fuzzer's bytes, as choices. At the end there are zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Small ones mostly, large ones too.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ ..240 => u64::from(small),
            byte => (u64::from(self.short()) << (3 * u32::from(byte - 240))) | u64::from(byte),
        }
    }

    fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.short()) % PIECE_MAX;
        let (piece, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        piece
    }
}

/// Who speaks to the node.
struct Peer {
    node: u32,
    name: &'static str,
    session: u64,
    incarnation: u64,
    packet: u64,
    addr: SocketAddr,
}

/// The node, and what must not change about it.
struct Attacked {
    core: Core,
    tracker: Tracker,
    session: Session,
    now: Time,
    out: Output,
    peers: Vec<Peer>,
    streams: BTreeSet<StreamId>,
    accepted: u64,
    /// What its own session has, by key.
    own: BTreeMap<String, Vec<u8>>,
    incarnation: Incarnation,
    by_group: bool,
    /// When the bystander is to be heard next, and in which heartbeat.
    beat: (Time, u64),
}

impl Attacked {
    fn new(mode: Mode) -> Self {
        let tracker = headcount::Config::default()
            .shards(4)
            .lane_log_max(64)
            .memory_max(1 << 26)
            .build()
            .expect("these sizes are valid");
        let settings = Settings {
            timing: Timing { forget_after: Duration::from_secs(30), ..Timing::default() },
            limits: Limits { ring_datagrams: 64, waiting_bytes: 16 * 1024, ..Limits::default() },
            mode,
            ..Settings::plain(CLUSTER, NAME, 1)
        };
        let core = Core::new(settings, &tracker, Time::ZERO);
        let names = ["peer-1", "peer-2", "peer-3", NAME, "bystander"];
        let peer = |(name, number): (&'static str, u8)| Peer {
            node: NodeId::from_name(name).0,
            name,
            session: 100 + u64::from(number),
            incarnation: Incarnation { epoch: 1, nonce: u32::from(number) }.to_u64(),
            packet: 0,
            addr: SocketAddr::from(([10, 0, 0, number], 1000)),
        };
        let mut attacked = Self {
            session: tracker.session(),
            tracker,
            core,
            now: Time::ZERO,
            out: Output::default(),
            peers: names.into_iter().zip(1..).map(peer).collect(),
            streams: BTreeSet::new(),
            accepted: 0,
            own: BTreeMap::new(),
            incarnation: Incarnation::default(),
            by_group: mode == Mode::Multicast,
            beat: (Time::MAX, 0),
        };
        attacked.change(1);
        attacked.pass(Duration::from_secs(1));
        assert_eq!(*attacked.core.phase(), Phase::Live, "it has listened long enough");
        (0..3).for_each(|peer| attacked.prove(peer));
        attacked.introduce_bystander();
        attacked
    }

    fn act(&mut self, script: &mut Script<'_>) {
        match script.below(12) {
            0 => {
                let (peer, body) = (script.below(4), script.piece());
                self.say(peer, body);
            }
            1 => {
                let (peer, bytes) = (usize::from(script.below(4)), script.piece());
                let (from, by_group) = (self.peers[peer].addr, self.by_group);
                let bystander = self.peers[usize::from(BYSTANDER)].node;
                if wire::open(bytes, CLUSTER).is_ok_and(|(header, _)| header.node == bystander) {
                    // Without keys anybody can forge what anybody says.
                    return;
                }
                self.core.handle(self.now, Input::Datagram { from, bytes, by_group }, &mut self.out);
            }
            2 => self.hello(script),
            3 => self.heartbeat(script),
            4 | 5 => {
                let (peer, lane, lo) = (script.below(4), script.below(6), script.number());
                let mut body = vec![lane];
                put_varint(&mut body, lo);
                body.extend_from_slice(script.piece());
                self.say_frame(peer, 3, &body);
            }
            6 => {
                let ms = u64::from(script.short()) % 4_000;
                self.pass(Duration::from_millis(ms));
            }
            7 => {
                // The driver takes no more.
                if self.streams.len() < CONNECTIONS_MAX {
                    self.accepted += 2;
                    let id = StreamId(2 * self.accepted + 1);
                    self.streams.insert(id);
                    self.stream(id, StreamInput::Accepted);
                }
            }
            8 | 9 => {
                let picked = usize::from(script.byte());
                let Some(&id) = self.streams.iter().nth(picked % self.streams.len().max(1)) else {
                    return;
                };
                match script.below(6) {
                    0 => self.stream(id, StreamInput::Closed),
                    1 => self.stream(id, StreamInput::Writable),
                    2 => self.stream(id, StreamInput::Bytes(script.piece())),
                    _ => {
                        let (kind, body) = (script.below(wire::KINDS_END), script.piece());
                        let mut message = (body.len() as u32 + 1).to_le_bytes().to_vec();
                        message.push(kind);
                        message.extend_from_slice(body);
                        self.stream(id, StreamInput::Bytes(&message));
                    }
                }
            }
            10 => self.change(script.byte()),
            _ => {
                // Another life of a peer, or another process of it.
                let peer = usize::from(script.below(4));
                let (epoch, nonce) = (u32::from(script.byte()), u32::from(script.below(3)));
                self.peers[peer].incarnation = Incarnation { epoch, nonce }.to_u64();
                self.peers[peer].session = 100 + u64::from(script.below(8));
                self.peers[peer].packet = 0;
                if script.below(4) > 0 {
                    self.prove(peer as u8);
                }
            }
        }
        self.follow();
    }

    fn hello(&mut self, script: &mut Script<'_>) {
        let peer = script.below(4);
        let Peer { name, incarnation, .. } = self.peers[usize::from(peer)];
        let hello = wire::Hello {
            flags: script.below(2 * wire::Hello::COPIES_WANTED),
            incarnation,
            target_node: if script.below(2) == 0 { 0 } else { self.core.node().0 },
            target_known: script.number(),
            lanes: u16::from(script.below(6)),
            tcp_port: u16::from(script.byte()),
            wire_min: 0,
            wire_max: script.below(3),
            name,
        };
        let mut body = Vec::new();
        Frame::Hello(hello).put(&mut body);
        self.say(peer, &body);
    }

    fn heartbeat(&mut self, script: &mut Script<'_>) {
        let peer = script.below(4);
        let Peer { incarnation, .. } = self.peers[usize::from(peer)];
        let mut clocks: Vec<(u16, u64)> = Vec::new();
        let mut digests = Vec::new();
        for _ in 0..script.below(5) {
            clocks.push((u16::from(script.below(5)), script.number()));
        }
        for _ in 0..script.below(3) {
            let lane = u16::from(script.below(5));
            digests.push(wire::LaneDigest {
                lane,
                clock: script.number(),
                count: script.number(),
                digest: script.number(),
            });
        }
        let (seq, since) = (script.number(), script.number());
        let heartbeat =
            wire::Heartbeat { seq, incarnation, lanes: 4, clocks, digests, epochs: vec![], since };
        let mut body = Vec::new();
        Frame::Heartbeat(heartbeat).put(&mut body);
        self.say(peer, &body);
    }

    /// The bystander becomes a member and tells what it has.
    fn introduce_bystander(&mut self) {
        self.prove(BYSTANDER);
        let Peer { name, incarnation, .. } = self.peers[usize::from(BYSTANDER)];
        let hello = wire::Hello {
            flags: 0,
            incarnation,
            target_node: 0,
            target_known: 0,
            lanes: 1,
            tcp_port: 1,
            wire_min: wire::WIRE_VERSION,
            wire_max: wire::WIRE_VERSION,
            name,
        };
        let mut body = Vec::new();
        Frame::Hello(hello).put(&mut body);
        let mut writer = DeltaWriter::new(PIECE_MAX);
        writer.start(0, 0);
        for (birth, (key, meta)) in (1..).zip(KEPT) {
            let (topic, key, meta) = (TOPIC.as_bytes(), key.as_bytes(), meta.as_bytes());
            assert!(writer.push(&Op::Add { birth, topic, key, meta }), "it fits");
        }
        assert!(writer.finish_frame().is_some(), "there is something to tell");
        body.extend_from_slice(writer.body());
        self.say(BYSTANDER, &body);
        self.beat.0 = self.now;
        self.pass(Duration::from_millis(1));
        self.check();
    }

    /// Whoever is heard is not down, so nobody has a reason to hide what it has.
    fn beat(&mut self) {
        let (at, seq) = self.beat;
        if self.now < at {
            return;
        }
        self.beat = (self.now + Timing::default().heartbeat, seq + 1);
        let incarnation = self.peers[usize::from(BYSTANDER)].incarnation;
        let clocks = vec![(0, KEPT.len() as u64)];
        let heartbeat = wire::Heartbeat { seq: seq + 1, incarnation, lanes: 1, clocks, ..Default::default() };
        let mut body = Vec::new();
        Frame::Heartbeat(heartbeat).put(&mut body);
        self.say(BYSTANDER, &body);
    }

    /// The peer gives back the cookie that the node would have given it.
    fn prove(&mut self, peer: u8) {
        let Peer { node, session, addr, .. } = self.peers[usize::from(peer)];
        let cookie = self.core.cookie_for(self.now, addr, NodeId(node), session);
        let mut body = Vec::new();
        Frame::Proof(wire::Proof { cookie }).put(&mut body);
        self.say(peer, &body);
    }

    /// A frame of that kind with that body.
    fn say_frame(&mut self, peer: u8, kind: u8, body: &[u8]) {
        let mut frame = vec![kind];
        put_varint(&mut frame, body.len() as u64);
        frame.extend_from_slice(body);
        self.say(peer, &frame);
    }

    /// A datagram of a peer, with its seal.
    fn say(&mut self, peer: u8, body: &[u8]) {
        let peer = &mut self.peers[usize::from(peer)];
        peer.packet += 1;
        let header = wire::Header {
            suite: 0,
            cluster: CLUSTER,
            key_epoch: 0,
            node: peer.node,
            session: peer.session,
            packet: peer.packet,
        };
        let mut bytes = Vec::new();
        wire::begin(&mut bytes, &header);
        bytes.extend_from_slice(body);
        wire::finish(&mut bytes);
        self.core.handle(
            self.now,
            Input::Datagram { from: peer.addr, bytes: &bytes, by_group: self.by_group },
            &mut self.out,
        );
    }

    fn stream(&mut self, id: StreamId, input: StreamInput<'_>) {
        if matches!(input, StreamInput::Closed) {
            self.streams.remove(&id);
        }
        self.core.handle(self.now, Input::Stream(id, input), &mut self.out);
    }

    /// Time goes by, and the node does what is due.
    fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        while self.now < end {
            let due = self.core.wake_at(self.now).min(self.beat.0);
            self.now = due.max(self.now + Duration::from_micros(100)).min(end);
            self.beat();
            self.core.handle(self.now, Input::Turn, &mut self.out);
            self.follow();
        }
    }

    /// The node's own session does something.
    fn change(&mut self, choice: u8) {
        let key = format!("key-{}", choice % 16);
        let meta = vec![choice; usize::from(choice)];
        let changed = match (choice % 3, self.own.contains_key(&key)) {
            (0, true) => {
                self.own.remove(&key);
                self.session.untrack(TOPIC, &key).map(drop)
            }
            (_, true) => {
                self.own.insert(key.clone(), meta.clone());
                self.session.update(TOPIC, &key, meta).map(drop)
            }
            (_, false) => {
                self.own.insert(key.clone(), meta.clone());
                self.session.track(TOPIC, &key, meta).map(drop)
            }
        };
        assert_eq!(changed, Ok(()), "there is room for what the node itself does");
        self.core.handle(self.now, Input::Turn, &mut self.out);
    }

    /// Looks at what the node wants to do.
    fn follow(&mut self) {
        self.out.datagrams.clear();
        for (id, action) in std::mem::take(&mut self.out.streams) {
            match action {
                StreamAction::Connect { .. } => drop(self.streams.insert(id)),
                StreamAction::Abort | StreamAction::Finish => drop(self.streams.remove(&id)),
                StreamAction::Send(_) | StreamAction::Greet(_) => {}
            }
        }
    }

    /// Nothing that others say changes what is the node's own, or what it shows of somebody else, and nothing grows without bound.
    fn check(&mut self) {
        assert_eq!(self.core.broken_bound(), None);
        let stats = self.core.stats();
        assert_eq!(
            (stats.quarantines, stats.stumbles),
            (0, 0),
            "nothing panicked, not even where it is caught"
        );
        let own: BTreeMap<String, Vec<u8>> = self
            .session
            .entries()
            .into_iter()
            .map(|entry| (entry.key_str().into_owned(), entry.meta().to_vec()))
            .collect();
        assert_eq!(own, self.own, "the node's own entries are its own");
        assert!(self.core.incarnation() >= self.incarnation, "a life does not go back");
        self.incarnation = self.core.incarnation();
        for (key, meta) in &self.own {
            let is_listed =
                self.tracker.get(TOPIC, key).iter().any(|entry| entry.is_local() && entry.meta() == meta);
            assert!(is_listed, "{key} is listed");
        }
        // Two processes of one name end in one of them stopping, which shows nobody any more.
        let kept = if *self.core.phase() == Phase::Live { &KEPT[..] } else { &[] };
        let bystander = NodeId(self.peers[usize::from(BYSTANDER)].node);
        let mut shown = self.tracker.list(TOPIC);
        shown.retain(|entry| entry.origin() == bystander);
        shown.sort_by(|a, b| a.key().cmp(b.key()));
        let shown = shown.iter().map(|entry: &Entry| (entry.key_str(), entry.meta_str())).collect::<Vec<_>>();
        let kept = kept.iter().map(|&(key, meta)| (key.into(), meta.into())).collect::<Vec<_>>();
        assert_eq!(shown, kept, "another node's entries are its own");
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    /// Every input of the corpus once more: what was found stays found.
    fn corpus(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            run(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }

    #[test]
    fn the_corpus_breaks_nothing() {
        corpus("datagram", datagram);
        corpus("stream", stream);
        corpus("peers", peers);
    }

    /// The same bytes, said by the one whose entry it is and by another.
    fn remove_what_is_kept(by: u8) {
        let mut attacked = Attacked::new(Mode::Unicast);
        let mut writer = DeltaWriter::new(PIECE_MAX);
        writer.start(0, KEPT.len() as u64);
        assert!(writer.push(&Op::Remove { birth: 1 }) && writer.finish_frame().is_some());
        attacked.say(by, writer.body());
        attacked.check();
    }

    #[test]
    fn a_peer_says_nothing_of_what_another_has() {
        (0..BYSTANDER).for_each(remove_what_is_kept);
    }

    #[test]
    #[should_panic(expected = "another node's entries are its own")]
    fn a_change_of_what_the_bystander_has_is_noticed() {
        remove_what_is_kept(BYSTANDER);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 2_000 }))]

        #[test]
        fn random_peers_break_nothing(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            peers(&bytes);
        }

        #[test]
        fn random_bytes_break_no_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            datagram(&bytes);
            stream(&bytes);
        }
    }
}
