//! How long a node takes to join one that has many entries, and how late that one's live changes are seen meanwhile.
//!
//! ```text
//! cargo run --release -p headcount-net --example joiner -- 1000000
//! ```
//!
//! The process that is started is the owner: it fills its tracker and starts itself again as the joiner, a process of its own, with the
//! group to join. Both are on the loopback interface. The owner tracks a probe every 2 ms, with the time in it.

use headcount::{EventKind, Filter, Tracker};
use headcount_net::{Cluster, Config, Interface};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(60);
const TOPICS: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => own(1_000_000),
        [entries] => own(entries.parse()?),
        [group, entries] => join(group.parse()?, entries.parse()?),
        _ => Err("usage: joiner [ENTRIES]".into()),
    }
}

fn cluster(tracker: &Tracker, group: SocketAddr, name: &str) -> Result<Cluster, Box<dyn Error>> {
    Ok(Config::new("joiner").node(name).multicast(group, Interface::Loopback).join(tracker)?)
}

/// Ends with its owner.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn own(entries: usize) -> Result<(), Box<dyn Error>> {
    let [.., high, low] = std::process::id().to_be_bytes();
    let group = SocketAddr::from(([239, 255, high, low], 20_000 + u16::from(low)));
    let tracker = Tracker::new();
    let session = tracker.session();
    let topics: Vec<String> = (0..TOPICS).map(|at| format!("room:{at}")).collect();
    for start in (0..entries).step_by(1_000) {
        let batch = (start..entries.min(start + 1_000))
            .map(|at| (&topics[at % TOPICS], format!("{at:016}"), [7_u8; 32]));
        session.track_many(batch)?;
    }
    let cluster = cluster(&tracker, group, "owner")?;
    let arguments = [group.to_string(), entries.to_string()];
    let mut joiner = Command::new(std::env::current_exe()?);
    let mut joiner = Guard(joiner.args(arguments).stdout(Stdio::piped()).spawn()?);
    let lines = BufReader::new(joiner.0.stdout.take().ok_or("no output")?).lines();
    let reading = std::thread::spawn(move || lines.collect::<Result<Vec<_>, _>>());
    let started = Instant::now();
    let mut probe = 0_u64;
    while !reading.is_finished() && started.elapsed() < PATIENCE {
        session.track("probe", probe.to_string(), unix_nanos()?.to_le_bytes())?;
        session.untrack("probe", probe.to_string())?;
        probe += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    let lines = reading.join().map_err(|_| "the reader panicked")??;
    let stats = cluster.stats();
    let mut out = io::stdout();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "sent over streams: {} B", stats.snapshot_bytes_sent)?;
    Ok(())
}

fn unix_nanos() -> Result<u64, Box<dyn Error>> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?)
}

fn join(group: SocketAddr, entries: usize) -> Result<(), Box<dyn Error>> {
    let tracker = Tracker::new();
    let mut events = tracker.subscribe(Filter::topic("probe"));
    let started = Instant::now();
    let cluster = cluster(&tracker, group, "joiner")?;
    let (mut listening, mut latencies) = (None, Vec::new());
    while tracker.len() < entries || !cluster.wait_synced(Duration::ZERO) {
        if started.elapsed() > PATIENCE {
            return Err(format!("{} of {entries} entries, {:?}", tracker.len(), cluster.members()).into());
        }
        if listening.is_none() && !tracker.is_empty() {
            listening = Some(started.elapsed());
        }
        while let Ok(event) = events.try_recv() {
            if let EventKind::Join(entry) = &event.kind
                && let Ok(sent) = entry.meta().try_into().map(u64::from_le_bytes)
            {
                latencies.push(unix_nanos()?.saturating_sub(sent));
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = started.elapsed();
    let first = listening.unwrap_or(took);
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).map_or(0, |nanos| nanos / 1_000);
    let stats = cluster.stats();
    writeln!(
        io::stdout(),
        "{entries} entries: joined and synced in {took:?}, the first entry after {first:?}\n\
         {} probes seen meanwhile: p50 {} us, p99 {} us, worst {} us\n\
         {} lanes as snapshots, {} from the log, {} failed",
        latencies.len(),
        at(50),
        at(99),
        latencies.last().map_or(0, |nanos| nanos / 1_000),
        stats.snapshot_lanes_taken,
        stats.catch_ups_taken,
        stats.snapshots_failed,
    )?;
    Ok(())
}
