//! The writer's side of a topic dictionary: which topics has this frame or chunk spelled out already?
//!
//! Topics are not copied: they stand in the bytes written so far, and the dictionary remembers where. Readers
//! need none of this; to them the dictionary is a list of slices.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

/// Topics in the order in which they were spelled out in one buffer.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// `(start, len)` in the buffer, by dictionary index.
    spans: Vec<(usize, usize)>,
    by_hash: HashMap<u64, usize>,
}

impl Dictionary {
    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.by_hash.clear();
    }

    /// The index of `topic`, if `buffer` holds it already.
    pub(super) fn find(&self, buffer: &[u8], topic: &[u8]) -> Option<u64> {
        // Operations on one topic come in runs, and most frames know one topic only.
        let newest = self.spans.len().checked_sub(1)?;
        if self.is(buffer, newest, topic) {
            return Some(newest as u64);
        }
        let index = *self.by_hash.get(&xxh3_64(topic))?;
        self.is(buffer, index, topic).then_some(index as u64)
    }

    /// Takes note of `topic`, just spelled out at `start`. Of two topics with one hash only the first is
    /// found again: the other is spelled out each time, which readers accept, and so nobody gains by making
    /// hashes collide.
    pub(super) fn add(&mut self, start: usize, topic: &[u8]) {
        self.by_hash.entry(xxh3_64(topic)).or_insert(self.spans.len());
        self.spans.push((start, topic.len()));
    }

    fn is(&self, buffer: &[u8], index: usize, topic: &[u8]) -> bool {
        self.spans.get(index).and_then(|&(start, len)| buffer.get(start..start + len)) == Some(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_topic_at_the_index_it_was_added_under() {
        let topics: Vec<String> = (0..1000).map(|i| format!("room:{i}")).chain([String::new()]).collect();
        let mut buffer = vec![0xEE; 3];
        let mut dictionary = Dictionary::default();
        for topic in &topics {
            assert_eq!(dictionary.find(&buffer, topic.as_bytes()), None, "{topic}");
            dictionary.add(buffer.len(), topic.as_bytes());
            buffer.extend_from_slice(topic.as_bytes());
        }
        for (index, topic) in topics.iter().enumerate() {
            assert_eq!(dictionary.find(&buffer, topic.as_bytes()), Some(index as u64));
        }
        dictionary.clear();
        assert_eq!(dictionary.find(&buffer, b"room:0"), None);
    }

    #[test]
    fn a_hash_collision_never_gives_another_topics_index() {
        let buffer = b"firstsecondthird";
        let mut dictionary = Dictionary::default();
        dictionary.add(0, b"first");
        dictionary.add(5, b"second");
        dictionary.add(11, b"third");
        dictionary.by_hash.insert(xxh3_64(b"second"), 0);
        assert_eq!(dictionary.find(buffer, b"second"), None);
        assert_eq!(dictionary.find(buffer, b"first"), Some(0));
    }
}
