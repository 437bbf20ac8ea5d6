//! The writer's side of a topic dictionary: which topics has this frame or chunk told already?
//!
//! Topics are not copied: they stand in a buffer of the writer's, and the dictionary remembers where. Readers need none of this; to them
//! the dictionary is a list.

use xxhash_rust::xxh3::xxh3_64;

/// Places of a table that are looked at for one topic. What finds none free is not found again: it is spelled out each time, which
/// readers accept, and so nobody gains by making hashes collide.
const PROBES: usize = 8;
/// Places of a table at first, and of one that is used again. A power of two.
const TABLE_LEN: usize = 64;

/// Topics in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    topics: Vec<Topic>,
    /// Indices in `topics`, and one; 0 is free. A power of two of places, or none.
    table: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Topic {
    start: usize,
    len: usize,
    hash: u64,
}

impl Dictionary {
    pub(super) fn clear(&mut self) {
        if !self.topics.is_empty() {
            self.topics.clear();
            self.table.truncate(TABLE_LEN);
            self.table.fill(0);
        }
    }

    /// The index of `topic`, if `buffer` holds it already.
    pub(super) fn find(&self, buffer: &[u8], topic: &[u8]) -> Option<u64> {
        // Operations on one topic come in runs, and most frames know one topic only.
        let newest = self.topics.len().checked_sub(1)?;
        if self.is(buffer, newest, topic) {
            return Some(newest as u64);
        }
        let hash = xxh3_64(topic);
        for place in places(hash, self.table.len()) {
            let index = match self.table.get(place) {
                None | Some(0) => return None,
                Some(&next) => next as usize - 1,
            };
            if self.topics.get(index).is_some_and(|topic| topic.hash == hash) && self.is(buffer, index, topic)
            {
                return Some(index as u64);
            }
        }
        None
    }

    /// Takes note of `topic`, just told; it stands at `start`.
    pub(super) fn add(&mut self, start: usize, topic: &[u8]) {
        let hash = xxh3_64(topic);
        self.topics.push(Topic { start, len: topic.len(), hash });
        if 2 * self.topics.len() > self.table.len() {
            self.table.clear();
            self.table.resize((4 * self.topics.len()).next_power_of_two().max(TABLE_LEN), 0);
            for index in 0..self.topics.len() {
                self.place(index);
            }
        } else {
            self.place(self.topics.len() - 1);
        }
    }

    fn place(&mut self, index: usize) {
        let Some(topic) = self.topics.get(index) else {
            return;
        };
        for place in places(topic.hash, self.table.len()) {
            if let Some(free @ 0) = self.table.get_mut(place) {
                // A message has 64 KiB, so there are not so many topics.
                *free = index as u32 + 1;
                return;
            }
        }
    }

    fn is(&self, buffer: &[u8], index: usize, topic: &[u8]) -> bool {
        let held = self.topics.get(index).and_then(|held| buffer.get(held.start..held.start + held.len));
        held == Some(topic)
    }
}

/// Where in a table of a power of two of places a topic may be.
fn places(hash: u64, len: usize) -> impl Iterator<Item = usize> {
    let mask = len.wrapping_sub(1);
    (0..PROBES).map(move |step| (hash as usize).wrapping_add(step) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_topic_at_the_index_it_was_added_under() {
        let topics: Vec<String> = (0..1000).map(|i| format!("room:{i}")).chain([String::new()]).collect();
        let mut buffer = vec![0xEE; 3];
        let mut dictionary = Dictionary::default();
        for count in [topics.len(), 20] {
            for topic in &topics[..count] {
                assert_eq!(dictionary.find(&buffer, topic.as_bytes()), None, "{topic}");
                dictionary.add(buffer.len(), topic.as_bytes());
                buffer.extend_from_slice(topic.as_bytes());
            }
            for (index, topic) in topics[..count].iter().enumerate() {
                assert_eq!(dictionary.find(&buffer, topic.as_bytes()), Some(index as u64));
            }
            dictionary.clear();
            assert_eq!(dictionary.find(&buffer, b"room:0"), None);
        }
    }

    #[test]
    fn a_hash_collision_never_gives_another_topics_index() {
        let buffer = b"firstsecondthird";
        let mut dictionary = Dictionary::default();
        for (start, topic) in [(0, &b"first"[..]), (5, b"second"), (11, b"third")] {
            dictionary.add(start, topic);
        }
        // As if "first" had the hash of "second", and came before it.
        dictionary.topics[0].hash = xxh3_64(b"second");
        dictionary.table.fill(1);
        assert_eq!(dictionary.find(buffer, b"second"), None);
        assert_eq!(dictionary.find(buffer, b"third"), Some(2));
    }

    #[test]
    fn topics_that_find_no_place_are_told_again() {
        let buffer = b"abcdefghijklmnop";
        let mut dictionary = Dictionary::default();
        for start in 0..PROBES {
            dictionary.add(start, &buffer[start..=start]);
        }
        dictionary.table.fill(1);
        dictionary.add(PROBES, &buffer[PROBES..=PROBES]);
        dictionary.add(PROBES + 1, &buffer[PROBES + 1..PROBES + 2]);
        assert_eq!(dictionary.find(buffer, &buffer[PROBES..=PROBES]), None);
    }
}
