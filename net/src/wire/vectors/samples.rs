//! What the vectors are of.

use super::CLUSTER;
use crate::crypto::{Direction, EpochKey, SALT_LEN, SenderId, SenderKey};
use crate::wire::chunk::{Chunk, Item, Payload};
use crate::wire::delta::{DeltaFrame, Op, SPAN_MAX};
use crate::wire::dots::DotsWriter;
use crate::wire::record::{Preamble, put_records};
use crate::wire::seal::{Header, SUITE_PLAIN, begin, finish};
use crate::wire::*;

const COOKIE: [u8; SALT_LEN] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";

/// One delta for each lane, leaning upon each other where there are several.
pub(super) fn deltas() -> Vec<(&'static str, Vec<Frame<'static>>)> {
    let add = |birth, topic: &'static str, key: &'static str, meta: &'static str| Op::Add {
        birth,
        topic: topic.as_bytes(),
        key: key.as_bytes(),
        meta: meta.as_bytes(),
    };
    let delta = |lane, lo, ops: &[Op<'static>]| {
        let clocks: u64 = ops.iter().map(Op::clocks).sum();
        Frame::Delta(DeltaFrame::made_of(lane, lo, lo + clocks, ops))
    };
    let adds = [
        add(1_001, "room:41", "alice", "typing"),
        add(1_002, "room:41", "bob", ""),
        add(1_003, "room:57", "carol", "away"),
        add(1_004, "room:9", "dave", "here"),
        add(1_005, "room:10", "erin", "busy"),
        add(1_006, "room:0010", "finn", "idle"),
        add(1_007, "room:lobby", "gus", ""),
        add(1_008, "room:41", "hank", ""),
        add(700, "", "", "born three hundred clocks before"),
        add(1_010, "lobby-of-a-house-with-a-long-name", "ida", ""),
    ];
    // More topics than a head has indices for, and each of the last ones once more.
    let many: Vec<_> = (0..32_u64).map(|at| (at, at % 16)).collect();
    let names =
        ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1", "b2", "b3", "b4", "b5"];
    let many: Vec<_> =
        many.into_iter().map(|(at, name)| add(at + 1, names[name as usize], "k", "")).collect();
    let update = |birth, meta: &'static [u8]| Op::Update { birth, meta };
    let remove = |birth| Op::Remove { birth };
    let clock = 200_000_000;
    let removes = [
        remove(clock),
        remove(clock - 1),
        remove(clock - 1 - 4),
        remove(clock - 8_000),
        remove(clock - 8_001 - 1_000),
        remove(clock - 8_700),
        remove(clock - 2_000_000),
        remove(clock - 5_000_000),
        remove(1),
        remove(9),
        remove(9 + 516),
    ];
    vec![
        ("delta: adds", vec![delta(3, 1_000, &adds)]),
        ("delta: more than thirteen topics", vec![delta(0, 0, &many)]),
        ("delta: removes", vec![delta(255, clock, &removes)]),
        (
            "delta: updates and skips",
            vec![delta(
                1,
                1 << 40,
                &[
                    update(1 << 40, b"one"),
                    update(7, b"two"),
                    update(8, b"three"),
                    Op::Skip { count: 1 },
                    update(9, b""),
                    Op::Skip { count: 6 },
                    remove(3),
                    Op::Skip { count: 7 },
                    remove(4),
                    Op::Skip { count: SPAN_MAX - 20 },
                ],
            )],
        ),
        (
            "deltas of four lanes in one datagram: later ones lean upon earlier ones",
            vec![
                delta(1, 10, &[add(11, "room:41", "alice", "typing")]),
                delta(2, 20, &[remove(5)]),
                delta(3, 30, &[add(31, "room:42", "bob", "typing"), add(32, "room:42", "eve", "away")]),
                delta(4, 40, &[update(12, b"busy"), add(42, "room:lobby", "eve", "away")]),
            ],
        ),
    ]
}

pub(super) fn all_frames() -> Vec<(&'static str, Vec<Frame<'static>>)> {
    let hello = Hello {
        flags: Hello::REPLY_WANTED,
        incarnation: 0x0102_0304_0506_0708,
        target_node: 0x1112_1314,
        target_known: 0x2122_2324_2526_2728,
        lanes: 64,
        tcp_port: 7071,
        wire_min: 1,
        wire_max: 1,
        name: "knoten-\u{fc}ber",
    };
    let heartbeat = Heartbeat {
        seq: 300,
        incarnation: 0x0102_0304_0506_0708,
        lanes: 256,
        clocks: vec![(0, 0), (200, 1 << 40)],
        digests: vec![LaneDigest { lane: 5, clock: 1_000, count: 20, digest: 0x3132_3334_3536_3738 }],
        epochs: vec![1, 65_535],
        since: 299,
    };
    let nak =
        Nak { target_node: 7, target_session: 8, ranges: vec![(1, 0, 1), (255, 1 << 40, (1 << 40) + 300)] };
    let reports = vec![
        Report { session: 0x4142_4344, age: 3, covered: 300 },
        Report { session: 1, age: 255, covered: 0 },
    ];
    let addrs = vec!["10.1.2.3:7071".parse().unwrap(), "[2001:db8::5]:7072".parse().unwrap()];
    let mut all = vec![
        ("hello", vec![Frame::Hello(hello)]),
        ("heartbeat", vec![Frame::Heartbeat(heartbeat)]),
        ("nak", vec![Frame::Nak(nak)]),
        (
            "snapshot offer",
            vec![Frame::SnapshotOffer(SnapshotOffer {
                target_node: 7,
                target_session: 8,
                lanes: vec![0, 255],
            })],
        ),
        (
            "leave",
            vec![Frame::Leave(Leave { incarnation: 9, clocks: vec![(0, 300), (1, 2)], handover_ms: 5_000 })],
        ),
        ("incarnation rejected", vec![Frame::IncReject(IncReject { target_node: 7, highest: 10 })]),
        ("challenge", vec![Frame::Challenge(Challenge { target_session: 8, cookie: COOKIE })]),
        ("proof", vec![Frame::Proof(Proof { cookie: COOKIE })]),
        ("heard", vec![Frame::Heard(Heard { flags: Heard::ANSWER_WANTED, reports })]),
        ("peers", vec![Frame::Peers(Peers { addrs })]),
        ("drops", vec![Frame::Drops(Drops { total: 300 })]),
        (
            "evict",
            vec![Frame::Evict(Evict {
                target_node: 7,
                incarnation: 0x0102_0304_0506_0708,
                lane: 200,
                clock: 1_018,
                question: 300,
            })],
        ),
        (
            "evicted",
            vec![Frame::Evicted(Evicted { target_session: 8, question: 300, answer: Answer::NotAllowed })],
        ),
        (
            "several frames",
            vec![
                Frame::Leave(Leave { incarnation: 9, clocks: Vec::new(), handover_ms: 0 }),
                Frame::Proof(Proof { cookie: COOKIE }),
            ],
        ),
    ];
    all.extend(deltas());
    all
}

pub(super) fn all_messages() -> Vec<(&'static str, Vec<u8>)> {
    let payload =
        |topic: &'static [u8], key: &'static [u8], meta: &'static [u8]| Some(Payload { topic, key, meta });
    let chunk = Chunk {
        lane: 3,
        lo: 1_000,
        hi: 1_020,
        items: vec![
            Item { dot: 1_020, birth: 1_020, payload: payload(b"room:41", b"alice", b"typing") },
            Item { dot: 1_018, birth: 300, payload: payload(b"room:41", b"bob", b"") },
            Item { dot: 1_017, birth: 1_017, payload: payload(b"room:42", b"carol", b"away") },
        ],
    };
    let (mut dots, lanes) = (DotsWriter::new(3, 1_000, 1 << 10), [false, true]);
    let pushed = [(990, 999), (980, 985), (10, 900)].into_iter().all(|range| dots.push(range));
    assert!(pushed);
    let dots = dots.finish(0);
    let lanes = (1..).zip(lanes).map(|(lane, diverged)| Wanted { lane, base: 300, reached: 305, diverged });
    let lanes: Vec<_> = lanes.collect();
    let request = |relayed| Message::Request {
        version: 1,
        relayed,
        cluster: CLUSTER,
        node: 7,
        target_node: 8,
        target_incarnation: 9,
        lanes: lanes.clone(),
    };
    let Some(Frame::Delta(ops)) = deltas().into_iter().next().and_then(|(_, mut frames)| frames.pop()) else {
        panic!("the first delta is one");
    };
    let encoded = |message: &Message<'_>| {
        let mut out = Vec::new();
        message.put(&mut out).expect("these are short");
        out
    };
    vec![
        ("request", encoded(&request(false))),
        ("request to a third node", encoded(&request(true))),
        ("lane begins", encoded(&Message::LaneBegin { lane: 3, base: 1_000, as_of: 1_020, count: 60 })),
        ("chunk", encoded(&Message::Chunk(chunk))),
        ("dots", dots),
        ("operations begin", encoded(&Message::OpsBegin { lane: 3, lo: 1_000, as_of: 1_010 })),
        ("operations", encoded(&Message::Ops(ops))),
        (
            "lane ends",
            encoded(&Message::LaneEnd { lane: 3, as_of: 1_020, count: 60, digest: 0x3132_3334_3536_3738 }),
        ),
        ("done", encoded(&Message::Done)),
        ("come back later", encoded(&Message::RetryAfter { ms: 250 })),
        ("refused", encoded(&Message::Refused { reason: 1, incarnation: 0x0102_0304_0506_0708 })),
    ]
}

pub(super) const STREAM_KEY: [u8; 32] = [7; 32];
pub(super) const ASKER: SenderId = SenderId { node: 7, session: 0x0102_0304_0506_0708 };
pub(super) const SALTS: [[u8; SALT_LEN]; 2] = [COOKIE, [0x5A; SALT_LEN]];

pub(super) fn stream_key(direction: Direction) -> SenderKey {
    let salts = [SALTS[0], SALTS[1]].concat().try_into().expect("two salts");
    EpochKey::new("chat", &zeroize::Zeroizing::new(STREAM_KEY)).stream(direction, ASKER, &salts)
}

pub(super) fn preamble(node: u32, session: u64, salt: [u8; SALT_LEN]) -> Preamble {
    Preamble { cluster: headcount::NodeId::from_name("chat").0, key_epoch: 2, node, session, salt }
}

/// A datagram in clear, of a peer of [`crate::hostile`]'s node.
pub(super) fn datagram(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let header =
        Header { suite: SUITE_PLAIN, cluster: CLUSTER, key_epoch: 0, node: 1, session: 2, packet: 3 };
    let mut bytes = Vec::new();
    begin(&mut bytes, &header);
    Frame::Proof(Proof { cookie: COOKIE }).put(&mut bytes);
    finish(&mut bytes);
    change(&mut bytes);
    bytes
}

pub(super) fn bad() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let flipped = |at: usize| datagram(|bytes| bytes[at] ^= 0x40);
    let delta = |content: &[u8]| [&[3, content.len() as u8 + 2, 1, 7], content].concat();
    let message = |kind, body: &[u8]| [&(body.len() as u32 + 1).to_le_bytes()[..], &[kind], body].concat();
    let mut preamble_of = [0, 4, 5].map(|at| {
        let mut bytes = preamble(8, 9, SALTS[1]).encode();
        bytes[at] ^= 1;
        bytes
    });
    let (mut record, mut number) = (Vec::new(), 1);
    put_records(&mut record, &stream_key(Direction::Asking), &mut number, b"the second before the first");
    vec![
        ("datagram", "shorter than header and checksum", datagram(|bytes| bytes.truncate(37))),
        ("datagram", "another protocol's magic", flipped(0)),
        ("datagram", "another version", flipped(2)),
        ("datagram", "another suite", flipped(3)),
        ("datagram", "another cluster", flipped(4)),
        ("datagram", "a flipped bit", flipped(40)),
        ("frames", "a length beyond the datagram", vec![7, 13, 0]),
        ("frames", "an overlong length", vec![0x7F, 0x80, 0]),
        ("frames", "unknown and critical", vec![0xFF, 0]),
        (
            "frames",
            "a byte too many in a frame",
            vec![9, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("frames", "leave: lane 256", vec![6, 12, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 2, 5]),
        ("frames", "heard: more reports than bytes", vec![10, 2, 0, 1]),
        ("frames", "peers: an address of no machine", vec![11, 8, 1, 4, 0, 0, 0, 0, 1, 0]),
        ("frames", "delta: no operation", delta(&[])),
        ("frames", "delta: an operation of no kind", delta(&[0xF8])),
        ("frames", "delta: a topic that was not told", delta(&[0x32, 0, 0])),
        ("frames", "delta: a part of a topic that is not", delta(&[0x30, 0x10, 0, 0])),
        ("frames", "delta: a number behind no topic", delta(&[0x31, 4, 0, 0])),
        ("frames", "delta: a number below 0", delta(&[0x30, 1, b'0', 0, 0, 0x01, 2])),
        ("frames", "delta: a number of a digit more than it says", delta(&[0x30, 1, b'9', 0, 0, 0x01, 4])),
        ("frames", "delta: a key as long as none before", delta(&[0x10, 0, 0])),
        ("frames", "delta: an age of 0", delta(&[0x70, 0, 0, 0, 0])),
        ("frames", "delta: born at clock 0", delta(&[0xC0, 7])),
        ("frames", "delta: three bytes where two do", delta(&[0xFA, 0x80, 0, 0])),
        ("frames", "delta: an age where a distance is shorter", delta(&[0xC0, 1])),
        ("frames", "delta: skips in a row", delta(&[0xFA, 0xFA])),
        ("frames", "delta: more clocks than a frame may span", delta(&[0xF5, 0xFA, 0xFF, 0x3F])),
        ("frames", "delta: a key beyond the frame", delta(&[0x30, 0, 1, 0])),
        ("message", "of no kind", message(11, &[])),
        ("message", "request: another protocol's magic", message(1, b"GET / HTTP/1.1\r\n")),
        ("message", "request: another version", message(1, b"HCSN\x02")),
        ("message", "done, and more", message(5, &[0])),
        ("message", "chunk: the same dot twice", message(3, &[1, 5, 4, 1, 1, 0, 0, 0, 0])),
        ("message", "chunk: lo = hi", message(3, &[1, 5, 0])),
        ("message", "dots: a k above 48", message(10, &[3, 9, 11, 1, 49, 0, 0])),
        ("message", "dots: a padding that says something", message(10, &[3, 9, 11, 1, 0, 0, 0x80])),
        ("message", "operations: none", message(9, &[1, 7])),
        ("stream", "a message without a kind", vec![0, 0, 0, 0]),
        ("stream", "a message above 64 KiB", vec![1, 0, 1, 0]),
        ("preamble", "another protocol's magic", std::mem::take(&mut preamble_of[0])),
        ("preamble", "another version", std::mem::take(&mut preamble_of[1])),
        ("preamble", "in clear", std::mem::take(&mut preamble_of[2])),
        ("record", "shorter than its tag", vec![16, 0, 0, 0]),
        ("record", "above 64 KiB", vec![1, 0, 1, 0]),
        ("record", "out of its turn", record),
    ]
}
