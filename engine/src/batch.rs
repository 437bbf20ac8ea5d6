//! Reads of many keys at once.

use crate::shard::{Reader, stable_hash};
use crate::{EntryView, Tracker};

/// Keys that are looked for at a time: about as many cache lines as a core can wait for at once.
const AHEAD: usize = 16;

/// A key, with what is worked out before it is looked for.
struct Sought<T, K> {
    at: usize,
    topic: T,
    key: K,
    shard: u16,
    hash: u32,
}

impl Tracker {
    /// Runs `visit` on every entry with each of these keys in its topic, with the index of the key among `keys`, in the order given; returns
    /// how many entries there were.
    ///
    /// Each key is read as by [`read`](Self::read), and promised the same; the keys together are no instant. It is a good deal faster than
    /// as many single reads where the entries are not in the processor's caches: sixteen keys at a time, what one of them needs is fetched
    /// while another is waited for. Allocates once.
    ///
    /// ```
    /// # let tracker = headcount::Tracker::new();
    /// # let session = tracker.session();
    /// session.track("room:42", "alice", "here")?;
    /// session.track("room:7", "bob", "away")?;
    /// let friends = [("room:42", "alice"), ("room:42", "bob"), ("room:7", "bob")];
    /// let mut seen = Vec::new();
    /// tracker.read_many(friends, |index, entry| seen.push((index, entry.meta().to_vec())));
    /// assert_eq!(seen, [(0, b"here".to_vec()), (2, b"away".to_vec())]);
    /// # Ok::<(), headcount::Error>(())
    /// ```
    pub fn read_many<T, K>(
        &self,
        keys: impl IntoIterator<Item = (T, K)>,
        mut visit: impl FnMut(usize, &EntryView<'_>),
    ) -> usize
    where
        T: AsRef<[u8]>,
        K: AsRef<[u8]>,
    {
        let commons = &self.inner.commons;
        let mut keys = keys.into_iter().enumerate().fuse();
        let mut part = Vec::with_capacity(AHEAD);
        let mut found = 0;
        loop {
            part.extend(keys.by_ref().take(AHEAD).map(|(at, (topic, key))| {
                let shard = commons.shard_of(stable_hash(topic.as_ref()));
                let hash = commons.hash_key(topic.as_ref(), key.as_ref());
                commons.prefetch_home(shard, hash);
                Sought { at, topic, key, shard, hash }
            }));
            if part.is_empty() {
                return found;
            }
            // The buckets are there, or nearly.
            part.iter().for_each(|sought| commons.prefetch_slots(sought.shard, sought.hash));
            for Sought { at, topic, key, shard, hash } in part.drain(..) {
                let reader = Reader::new(commons, shard);
                found += reader.find(topic.as_ref(), key.as_ref(), hash, |entry| visit(at, entry));
            }
        }
    }
}
