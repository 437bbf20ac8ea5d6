//! `tests/vectors/wire.json`: bytes of every frame, every message of a stream and its records, and bytes that are refused. It is made here:
//!
//! ```text
//! cargo test -p headcount-net --lib make_the_vectors -- --ignored    writes the file anew
//! cargo test -p headcount-net --lib vectors                          holds the code to it
//! ```

mod fields;
mod samples;

use super::record::{Preamble, RecordBuffer, put_records};
use super::stream::LENGTH_LEN;
use super::*;
use crate::crypto::Direction;
use fields::{frame_fields, hex, id, message_fields};
use samples::{ASKER, SALTS, STREAM_KEY, all_frames, all_messages, bad, preamble, stream_key};
use serde_json::{Value, json};
use std::path::PathBuf;

const CLUSTER: u32 = crate::hostile::CLUSTER;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wire.json")
}

fn unhex(digits: &Value) -> Vec<u8> {
    let digits = digits.as_str().expect("bytes are a string");
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..][..2], 16).unwrap()).collect()
}

/// The frames as a node would write them: deltas in a row by one writer.
fn body_of(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = DeltaWriter::new(usize::MAX);
    for frame in frames {
        let Frame::Delta(delta) = frame else {
            frame.put(&mut body);
            continue;
        };
        writer.start(delta.lane, delta.lo);
        assert!(delta.ops().iter().all(|op| writer.push(op)));
        writer.finish_frame();
    }
    // None of the vectors has both.
    [body, writer.take()].concat()
}

fn decoded_message(bytes: &[u8]) -> Result<Message<'_>, WireError> {
    Message::decode(bytes[LENGTH_LEN], &bytes[LENGTH_LEN + 1..])
}

/// What both sides of a sealed stream say first, and two records of each direction.
fn sealed_stream() -> Value {
    let records = |direction| {
        let (mut number, mut all) = (0, Vec::new());
        for content in [&b"the first"[..], b"the second"] {
            let mut record = Vec::new();
            let record_number = number;
            put_records(&mut record, &stream_key(direction), &mut number, content);
            all.push(json!({"number": record_number, "content": hex(content), "record": hex(&record)}));
        }
        all
    };
    json!({
        "cluster": "chat",
        "key": hex(&STREAM_KEY),
        "key_epoch": 2,
        "asker": {"node": ASKER.node, "session": id(ASKER.session), "salt": hex(&SALTS[0])},
        "giver": {"node": 8, "session": id(9), "salt": hex(&SALTS[1])},
        "asker_says": hex(&preamble(ASKER.node, ASKER.session, SALTS[0]).encode()),
        "giver_says": hex(&preamble(8, 9, SALTS[1]).encode()),
        "asking": records(Direction::Asking),
        "giving": records(Direction::Giving),
    })
}

/// What the bytes of the vectors' kind are refused with.
fn refusal(what: &str, bytes: &[u8]) -> Option<WireError> {
    match what {
        "datagram" => open(bytes, CLUSTER).err(),
        "frames" => frames(bytes).find_map(Result::err),
        "message" => decoded_message(bytes).err(),
        "stream" => {
            let mut buffer = MessageBuffer::default();
            assert!(buffer.push(bytes));
            buffer.next().err()
        }
        "preamble" => Preamble::decode(bytes.try_into().expect("as long as a preamble")).err(),
        "record" => {
            let mut buffer = RecordBuffer::default();
            buffer.push(bytes);
            buffer.next(&stream_key(Direction::Asking)).err()
        }
        other => panic!("{other}?"),
    }
}

/// The counter that a refused datagram, or one with refused frames in it, goes into.
fn counter(what: &str, error: WireError) -> Option<&'static str> {
    match (what, error) {
        ("datagram", WireError::Version | WireError::Cluster | WireError::Suite) => Some("foreign"),
        ("datagram" | "frames", _) => Some("malformed"),
        _ => None,
    }
}

/// The id of a name.
fn identities() -> Vec<Value> {
    let of = |name: &str| json!({"name": name, "id": headcount::NodeId::from_name(name).0});
    ["chat", "node-1", "", "knoten-\u{fc}ber"].map(of).to_vec()
}

/// A lane's digest with one entry in it, by the words of the documentation.
fn digest_of(topic: &str, key: &str, meta: &str, birth: u64, clock: u64) -> u64 {
    use xxhash_rust::xxh3::xxh3_64_with_seed as hash;
    let mix = |z: u64| {
        let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    };
    let content = hash(meta.as_bytes(), hash(key.as_bytes(), hash(topic.as_bytes(), 0)));
    mix(content ^ mix(birth.wrapping_add(0x9E37_79B9_7F4A_7C15) ^ mix(clock)))
}

fn digests() -> Vec<Value> {
    let of = |(topic, key, meta, clock): (&str, &str, &str, u64)| {
        json!({
            "topic": topic, "key": key, "meta": meta, "birth": 1, "clock": clock,
            "digest": id(digest_of(topic, key, meta, 1, clock)),
        })
    };
    [("room:41", "alice", "typing", 1), ("room:41", "alice", "away", 2), ("", "", "", 1)].map(of).to_vec()
}

fn vectors() -> Value {
    let frames = all_frames().into_iter().map(|(name, frames)| {
        let fields: Vec<_> = frames.iter().map(frame_fields).collect();
        json!({"name": name, "body": hex(&body_of(&frames)), "frames": fields})
    });
    let messages = all_messages().into_iter().map(|(name, bytes)| {
        let fields = message_fields(&decoded_message(&bytes).expect("it was made here"));
        json!({"name": name, "bytes": hex(&bytes), "message": fields})
    });
    let refused = bad().into_iter().map(|(what, name, bytes)| {
        let error = refusal(what, &bytes).unwrap_or_else(|| panic!("{what}: {name} is accepted"));
        let mut entry =
            json!({"what": what, "name": name, "bytes": hex(&bytes), "error": format!("{error:?}")});
        if let Some(counter) = counter(what, error) {
            entry["counter"] = json!(counter);
        }
        entry
    });
    json!({
        "about": "Bytes of the protocol, in hexadecimal; layouts: net/src/wire/mod.rs. Numbers that look random are \
            hexadecimal too. body: of a datagram, between header and trailer. bytes: of a message with its length, or \
            what is refused: a datagram in clear of cluster 7, the body of one, a message, what a stream begins with, \
            its preamble, its first record (key and salts as in stream).",
        "identities": identities(),
        "digests": digests(),
        "frames": frames.collect::<Vec<_>>(),
        "messages": messages.collect::<Vec<_>>(),
        "stream": sealed_stream(),
        "refused": refused.collect::<Vec<_>>(),
    })
}

fn list<'v>(file: &'v Value, name: &str) -> &'v Vec<Value> {
    file[name].as_array().unwrap_or_else(|| panic!("{name} is a list"))
}

fn read() -> Value {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

#[test]
#[ignore = "writes tests/vectors/wire.json"]
fn make_the_vectors() {
    let mut text = serde_json::to_string_pretty(&vectors()).unwrap();
    text.push('\n');
    std::fs::write(path(), text).unwrap();
}

#[test]
fn the_vectors_are_what_is_made() {
    let (file, made) = (read(), vectors());
    for name in ["identities", "digests", "frames", "messages", "refused"] {
        for (of_file, made) in list(&file, name).iter().zip(list(&made, name)) {
            assert_eq!(of_file, made, "{name}");
        }
    }
    assert!(file == made, "the file is not what make_the_vectors makes");
}

#[test]
fn every_frame_of_the_vectors_is_read_and_written_bit_for_bit() {
    let file = read();
    let mut kinds = std::collections::BTreeSet::new();
    for vector in list(&file, "frames") {
        let body = unhex(&vector["body"]);
        crate::hostile::datagram(&body);
        let frames: Vec<_> = frames(&body).collect::<Result<_, _>>().unwrap();
        let fields: Vec<_> = frames.iter().map(frame_fields).collect();
        assert_eq!(&fields, list(vector, "frames"), "{}", vector["name"]);
        assert_eq!(hex(&body_of(&frames)), hex(&body), "{}", vector["name"]);
        kinds.insert(body[0]);
    }
    assert!((super::frame::HELLO..=super::frame::DROPS).all(|kind| kinds.contains(&kind)), "{kinds:?}");
}

#[test]
fn every_message_of_the_vectors_is_read_and_written_bit_for_bit() {
    let file = read();
    let mut kinds = std::collections::BTreeSet::new();
    for vector in list(&file, "messages") {
        let bytes = unhex(&vector["bytes"]);
        // In pieces of eight bytes.
        crate::hostile::stream(&[&[7], &bytes[..]].concat());
        let mut buffer = MessageBuffer::default();
        assert!(buffer.push(&bytes));
        let (kind, body) = buffer.next().unwrap().unwrap();
        kinds.insert(kind);
        let message = Message::decode(kind, body).unwrap();
        assert_eq!(message_fields(&message), vector["message"]);
        let mut again = Vec::new();
        message.put(&mut again).unwrap();
        assert_eq!(hex(&again), hex(&bytes), "{}", vector["name"]);
    }
    let all = (1..=super::stream::DOTS).chain([super::stream::RELAY_REQUEST]);
    assert_eq!(kinds, all.collect());
}

#[test]
fn the_stream_of_the_vectors_opens() {
    let stream = &read()["stream"];
    for (side, says) in [("asker", "asker_says"), ("giver", "giver_says")] {
        let bytes = unhex(&stream[says]);
        let preamble = Preamble::decode(bytes.as_slice().try_into().unwrap()).unwrap();
        assert_eq!(json!(preamble.node), stream[side]["node"]);
        assert_eq!(json!(id(preamble.session)), stream[side]["session"]);
        assert_eq!(json!(hex(&preamble.salt)), stream[side]["salt"]);
        assert_eq!(json!(preamble.key_epoch), stream["key_epoch"]);
        assert_eq!(preamble.encode(), bytes);
    }
    for (name, direction) in [("asking", Direction::Asking), ("giving", Direction::Giving)] {
        let (mut buffer, mut number) = (RecordBuffer::default(), 0);
        for record in list(stream, name) {
            let (bytes, content) = (unhex(&record["record"]), unhex(&record["content"]));
            buffer.push(&bytes);
            assert_eq!(buffer.next(&stream_key(direction)), Ok(Some(&content[..])));
            let mut again = Vec::new();
            put_records(&mut again, &stream_key(direction), &mut number, &content);
            assert_eq!(again, bytes);
        }
    }
}

#[test]
fn a_tracker_has_the_digests_of_the_vectors() {
    for vector in list(&read(), "digests") {
        let [topic, key, meta] = ["topic", "key", "meta"].map(|name| vector[name].as_str().unwrap());
        let tracker = headcount::Config::default().shards(1).build().unwrap();
        let session = tracker.session();
        let clock = vector["clock"].as_u64().unwrap();
        session.track(topic, key, if clock == 1 { meta } else { "before" }).unwrap();
        if clock == 2 {
            session.update(topic, key, meta).unwrap();
        }
        let summary = tracker.replica().lane_summary(0);
        assert_eq!((summary.clock, summary.count), (clock, 1));
        assert_eq!(json!(id(summary.digest)), vector["digest"]);
    }
}

#[test]
fn what_the_vectors_refuse_is_refused_and_counted_under_its_name() {
    for vector in list(&read(), "refused") {
        let (what, bytes) = (vector["what"].as_str().unwrap(), unhex(&vector["bytes"]));
        let error = refusal(what, &bytes).map(|error| json!(format!("{error:?}")));
        assert_eq!(error.as_ref(), Some(&vector["error"]), "{}", vector["name"]);
        let counted = match what {
            "datagram" => crate::hostile::refused_as(&bytes),
            "frames" => crate::hostile::frames_refused_as(&bytes),
            _ => continue,
        };
        assert_eq!(json!(counted), json!([vector["counter"]]), "{}", vector["name"]);
    }
}
