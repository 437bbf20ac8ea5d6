//! Frames and messages as JSON has them.

use crate::wire::chunk::{Item, Payload};
use crate::wire::delta::{DeltaFrame, Op};
use crate::wire::{Answer, Frame, Message};
use serde_json::{Value, json};

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers that look random.
pub(super) fn id(number: u64) -> String {
    format!("{number:016x}")
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the vectors have text in them")
}

pub(super) fn operation(op: &Op<'_>) -> Value {
    match *op {
        Op::Add { birth, topic, key, meta } => {
            json!({"add": {"birth": birth, "topic": text(topic), "key": text(key), "meta": text(meta)}})
        }
        Op::Update { birth, meta } => json!({"update": {"birth": birth, "meta": text(meta)}}),
        Op::Remove { birth } => json!({"remove": {"birth": birth}}),
        Op::Skip { count } => json!({"skip": {"clocks": count}}),
    }
}

pub(super) fn delta_fields(delta: &DeltaFrame<'_>) -> Value {
    let ops: Vec<_> = delta.ops().iter().map(operation).collect();
    json!({"lane": delta.lane, "lo": delta.lo, "hi": delta.hi, "operations": ops})
}

pub(super) fn frame_fields(frame: &Frame<'_>) -> Value {
    match frame {
        Frame::Hello(hello) => json!({"hello": {
            "flags": hello.flags, "incarnation": id(hello.incarnation), "target_node": hello.target_node,
            "target_known": id(hello.target_known), "lanes": hello.lanes, "tcp_port": hello.tcp_port,
            "wire_min": hello.wire_min, "wire_max": hello.wire_max, "name": hello.name,
        }}),
        Frame::Heartbeat(beat) => json!({"heartbeat": {
            "seq": beat.seq, "incarnation": id(beat.incarnation), "lanes": beat.lanes, "clocks": beat.clocks,
            "digests": beat.digests.iter().map(|digest| json!({
                "lane": digest.lane, "clock": digest.clock, "count": digest.count, "digest": id(digest.digest),
            })).collect::<Vec<_>>(),
            "key_epochs": beat.epochs, "since": beat.since,
        }}),
        Frame::Delta(delta) => json!({"delta": delta_fields(delta)}),
        Frame::Nak(nak) => json!({"nak": {
            "target_node": nak.target_node, "target_session": id(nak.target_session), "ranges": nak.ranges,
        }}),
        Frame::SnapshotOffer(offer) => json!({"snapshot_offer": {
            "target_node": offer.target_node, "target_session": id(offer.target_session), "lanes": offer.lanes,
        }}),
        Frame::Leave(leave) => {
            json!({"leave": {"incarnation": id(leave.incarnation), "clocks": leave.clocks, "handover_ms": leave.handover_ms}})
        }
        Frame::IncReject(reject) => {
            json!({"inc_reject": {"target_node": reject.target_node, "highest": id(reject.highest)}})
        }
        Frame::Challenge(challenge) => json!({"challenge": {
            "target_session": id(challenge.target_session), "cookie": hex(&challenge.cookie),
        }}),
        Frame::Proof(proof) => json!({"proof": {"cookie": hex(&proof.cookie)}}),
        Frame::Heard(heard) => json!({"heard": {
            "flags": heard.flags,
            "reports": heard.reports.iter().map(|report| json!({
                "session": report.session, "age": report.age, "covered": report.covered,
            })).collect::<Vec<_>>(),
        }}),
        Frame::Peers(peers) => json!({"peers": peers.addrs}),
        Frame::Drops(drops) => json!({"drops": drops.total}),
        Frame::Evict(evict) => json!({"evict": {
            "target_node": evict.target_node, "incarnation": id(evict.incarnation),
            "lane": evict.lane, "clock": evict.clock, "question": evict.question,
        }}),
        Frame::Evicted(evicted) => json!({"evicted": {
            "target_session": id(evicted.target_session), "question": evicted.question,
            "answer": match evicted.answer {
                Answer::Removed => "removed",
                Answer::Gone => "no such version",
                Answer::NotAllowed => "not allowed",
            },
        }}),
    }
}

pub(super) fn message_fields(message: &Message<'_>) -> Value {
    match message {
        Message::Request { version, relayed, cluster, node, target_node, target_incarnation, lanes } => {
            json!({"request": {
                "version": version, "relayed": relayed, "cluster": cluster, "node": node, "target_node": target_node,
                "target_incarnation": id(*target_incarnation),
                "lanes": lanes.iter().map(|wanted| json!({
                    "lane": wanted.lane, "base": wanted.base, "reached": wanted.reached, "diverged": wanted.diverged,
                })).collect::<Vec<_>>(),
            }})
        }
        Message::LaneBegin { lane, base, as_of, count } => {
            json!({"lane_begin": {"lane": lane, "base": base, "as_of": as_of, "count": count}})
        }
        Message::Chunk(chunk) => {
            let item = |item: &Item<'_>| {
                let Payload { topic, key, meta } = item.payload.expect("a chunk has them");
                json!({
                    "dot": item.dot, "birth": item.birth,
                    "topic": text(topic), "key": text(key), "meta": text(meta),
                })
            };
            let items: Vec<_> = chunk.items.iter().map(item).collect();
            json!({"chunk": {"lane": chunk.lane, "lo": chunk.lo, "hi": chunk.hi, "items": items}})
        }
        Message::Dots(dots) => {
            let live: Vec<_> = dots.live().collect();
            json!({"dots": {"lane": dots.lane, "lo": dots.lo, "hi": dots.hi, "live": live}})
        }
        Message::OpsBegin { lane, lo, as_of } => {
            json!({"ops_begin": {"lane": lane, "lo": lo, "as_of": as_of}})
        }
        Message::Ops(delta) => json!({"ops": delta_fields(delta)}),
        Message::LaneEnd { lane, as_of, count, digest } => {
            json!({"lane_end": {"lane": lane, "as_of": as_of, "count": count, "digest": id(*digest)}})
        }
        Message::Done => json!("done"),
        Message::RetryAfter { ms } => json!({"retry_after": {"ms": ms}}),
        Message::Refused { reason, incarnation } => {
            json!({"refused": {"reason": reason, "incarnation": id(*incarnation)}})
        }
    }
}
