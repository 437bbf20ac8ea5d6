//! What the wire costs: the bytes of each operation in full datagrams, and the time to make datagrams of a delta and to
//! read them.
//!
//! ```text
//! cargo bench -p headcount-benches --bench codec             both
//! cargo bench -p headcount-benches --bench codec -- --list   the table of bytes, and the names of what is timed
//! ```

use criterion::{Criterion, Throughput};
use headcount::Config;
use headcount_benches::traffic::TRAFFIC;
use headcount_benches::{Shape, criterion};
use headcount_net::codec::{PLAIN_OVERHEAD, SEALED_OVERHEAD, decode_delta, encode_delta};
use std::io::{self, Write};

/// Entries of the delta.
const DELTA: usize = 1_000;
/// Operations that are weighed.
const WEIGHED: usize = 100_000;

fn main() {
    weigh(&mut io::stdout().lock()).expect("standard output is there");
    let mut criterion = criterion();
    time(&mut criterion);
    criterion.final_summary();
}

/// Writes the table of bytes.
fn weigh(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "Bytes of an operation beside key (16 B) and meta (32 B), in full datagrams of at most 1,200 B."
    )?;
    writeln!(
        out,
        "Sealed: with {SEALED_OVERHEAD} B of header and tag shared by the operations of a datagram;"
    )?;
    writeln!(out, "in clear: with {PLAIN_OVERHEAD} B of header and checksum; bare: without either.\n")?;
    writeln!(
        out,
        "{:>9} {:>9} {:>9} {:>9} {:>7}  traffic",
        "a datagr.", "sealed", "in clear", "bare", "bound"
    )?;
    for traffic in TRAFFIC {
        let (_, weight) = traffic.told(WEIGHED).pack();
        let [each, sealed, plain, bare, bound] =
            [weight.operations_each(), weight.sealed(), weight.plain(), weight.bare(), weight.bound()];
        writeln!(out, "{each:9.1} {sealed:9.2} {plain:9.2} {bare:9.2} {bound:7.1}  {}", traffic.name)?;
    }
    writeln!(out)
}

fn time(criterion: &mut Criterion) {
    // One lane, so that all of it is one delta; of the ten topics that a lane of many rows has, say.
    let tracker = Config::default().shards(1).build().expect("one shard is valid");
    let session = tracker.session();
    let rows = Shape { entries: DELTA, topic_members: DELTA / 10 }.resident();
    session.track_many(rows.iter().map(|row| (row.topic, row.key, row.meta))).expect("the limits are far");
    let delta = tracker.replica().delta(0, 0, usize::MAX).expect("the log reaches back");
    let bodies = encode_delta(&delta);
    assert_eq!(bodies.iter().map(operations_in).sum::<usize>(), DELTA);

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(DELTA as u64));
    group.bench_function("encode_delta", |b| b.iter(|| encode_delta(&delta)));
    group.bench_function("decode_delta", |b| {
        b.iter(|| bodies.iter().map(operations_in).sum::<usize>());
    });
    for (name, at) in [("joins_1000_topics", 1), ("leaves_old", 8)] {
        let told = TRAFFIC[at].told(DELTA);
        let (bodies, _) = told.pack();
        group.bench_function(format!("encode_{name}"), |b| b.iter(|| told.pack()));
        group.bench_function(format!("decode_{name}"), |b| {
            b.iter(|| bodies.iter().map(operations_in).sum::<usize>());
        });
    }
    group.finish();
}

fn operations_in(body: impl AsRef<[u8]>) -> usize {
    decode_delta(body.as_ref()).expect("it was encoded here")
}
