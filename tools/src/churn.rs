//! A client that changes without end, at a rate, and knows what it has put where: so what every node has to list.

use crate::failure::Failure;
use headcount::EntryRef;
use headcount_tools::Limit;
use headcount_tools::line::{Client, Listed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Topics that the entries of all churning clients are spread over.
const TOPICS: usize = 64;
/// Requests sent before their replies are read. Small enough for the sockets' buffers to hold both.
const PIPELINED: usize = 128;
/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// What is lost beyond this is not made up for: a rate is a rate, not a sum.
const BEHIND_MAX: Duration = Duration::from_millis(500);

/// One connection and its entries. Dropping it closes the connection: its entries leave.
#[derive(Debug)]
pub(crate) struct Churner {
    client: Client,
    node: String,
    /// Entries that it may have; about half of them are present in the long run.
    keys: usize,
    present: BTreeMap<usize, Present>,
    random: u64,
    changes: u64,
}

#[derive(Debug)]
struct Present {
    entry_ref: EntryRef,
    meta: Vec<u8>,
}

/// A churner at work in a thread of its own. Dropping it tells the thread to end.
#[derive(Debug)]
pub(crate) struct Churning {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(Churner, Result<(), Failure>)>>,
}

enum Change {
    Join(Vec<u8>),
    Update(Vec<u8>),
    Leave,
}

impl Churner {
    /// A client of the node of that name. The same seed makes the same changes.
    pub(crate) fn new(client: Client, node: &str, keys: usize, seed: u64) -> Self {
        Self {
            client,
            node: node.into(),
            keys: keys.max(1),
            present: BTreeMap::new(),
            // Not zero, where the generator would stay.
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            changes: 0,
        }
    }

    /// Changes that were answered, since it was filled.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Entries that it has.
    pub(crate) fn present(&self) -> usize {
        self.present.len()
    }

    /// Its entries with their topics, as every node has to list them.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Listed)> + '_ {
        self.present.iter().map(|(&key, present)| {
            let listed = Listed {
                key: self.key(key),
                node: self.node.clone().into_bytes(),
                entry_ref: present.entry_ref,
                meta: present.meta.clone(),
            };
            (topic(key), listed)
        })
    }

    /// Joins with this many of its keys.
    pub(crate) fn fill(&mut self, count: usize, limit: &Limit) -> Result<(), Failure> {
        let mut keys = 0..count.min(self.keys);
        loop {
            let batch: Vec<(usize, Change)> =
                keys.by_ref().take(PIPELINED).map(|key| (key, Change::Join(self.meta(key)))).collect();
            if batch.is_empty() {
                self.changes = 0;
                return Ok(());
            }
            self.perform(batch, limit)?;
        }
    }

    /// Goes to work: this many changes a second until it is told to stop.
    pub(crate) fn start(mut self, rate: u64, limit: &Limit) -> Churning {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, limit) = (Arc::clone(&stop), limit.clone());
        let thread = thread::spawn(move || {
            let outcome = self.run(rate, &flag, &limit);
            (self, outcome)
        });
        Churning { stop, thread: Some(thread) }
    }

    fn run(&mut self, rate: u64, stop: &AtomicBool, limit: &Limit) -> Result<(), Failure> {
        let behind_max = rate * u64::try_from(BEHIND_MAX.as_millis()).unwrap_or(0) / 1000;
        let began = Instant::now();
        let mut done = 0;
        // Relaxed: the flag carries nothing but itself.
        while !stop.load(Ordering::Relaxed) {
            let elapsed = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let due = rate.saturating_mul(elapsed) / 1_000_000;
            done = done.max(due.saturating_sub(behind_max));
            let batch = self.choose(usize::try_from(due - done).unwrap_or(0).min(PIPELINED));
            if batch.is_empty() {
                limit.sleep(TICK)?;
                continue;
            }
            done += batch.len() as u64;
            self.perform(batch, limit)?;
        }
        Ok(())
    }

    /// Changes to make: keys that are absent join, the others are updated or leave.
    fn choose(&mut self, count: usize) -> Vec<(usize, Change)> {
        let mut batch: BTreeMap<usize, Change> = BTreeMap::new();
        for _ in 0..count {
            let random = self.random();
            let key = usize::try_from(random >> 8).unwrap_or(0) % self.keys;
            // One change a key in a batch: the next would depend on its outcome.
            let change = match self.present.contains_key(&key) {
                false => Change::Join(self.meta(key)),
                true if random & 1 == 0 => Change::Update(self.meta(key)),
                true => Change::Leave,
            };
            batch.entry(key).or_insert(change);
        }
        batch.into_iter().collect()
    }

    fn perform(&mut self, batch: Vec<(usize, Change)>, limit: &Limit) -> Result<(), Failure> {
        for (key, change) in &batch {
            let (topic, name) = (topic(*key), self.key(*key));
            match change {
                Change::Join(meta) => self.client.queue("JOIN", &[&topic, &name, meta]),
                Change::Update(meta) => self.client.queue("UPDATE", &[&topic, &name, meta]),
                Change::Leave => self.client.queue("LEAVE", &[&topic, &name]),
            }
        }
        self.client.send(limit)?;
        for (key, change) in batch {
            let reply = self.client.reply(limit)?;
            match change {
                Change::Join(meta) | Change::Update(meta) => {
                    let entry_ref = reply.entry_ref().ok_or_else(|| Failure::unclear("JOIN or UPDATE"))?;
                    self.present.insert(key, Present { entry_ref, meta });
                }
                Change::Leave => {
                    self.present.remove(&key);
                }
            }
            self.changes += 1;
        }
        Ok(())
    }

    fn key(&self, key: usize) -> Vec<u8> {
        format!("{}-{key:09}", self.node).into_bytes()
    }

    /// Never the same twice for a key, so that an update that was missed shows.
    fn meta(&mut self, key: usize) -> Vec<u8> {
        format!("seat={:03};visit={:016x}", key % 1000, self.random()).into_bytes()
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Churning {
    /// Stops it. What it did is answered when this returns, unless it failed.
    pub(crate) fn stop(mut self) -> Result<(Churner, Result<(), Failure>), Failure> {
        self.tell();
        let thread = self.thread.take();
        let ended = thread.and_then(|thread| thread.join().ok());
        ended.ok_or_else(|| Failure::other("a thread that makes changes was lost"))
    }

    fn tell(&self) {
        // Relaxed: the flag carries nothing but itself.
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Churning {
    fn drop(&mut self) {
        self.tell();
    }
}

fn topic(key: usize) -> Vec<u8> {
    format!("churn:{}", key % TOPICS).into_bytes()
}
