//! Who is where in the demo: what it puts into the cluster, and so what every node has to list.
//!
//! Nothing is stored but refs: who is in which topic, under which key and with which metadata, follows from numbers.
//! *Items* are the entries of the demo. Item `c` below the number of clients is client `c`, present in the lobby; the
//! others are the members of rooms. A client's items are spread over all rooms, so that a room's members are on all nodes.

use headcount::EntryRef;
use std::io::Write;

/// The topic where every client is present once.
pub(crate) const LOBBY: &str = "lobby";
/// Members of a room.
const ROOM_LEN: usize = 100;

const NAMES: [&str; 24] = [
    "ada",
    "alan",
    "barbara",
    "claude",
    "dennis",
    "donald",
    "edith",
    "edsger",
    "frances",
    "grace",
    "hedy",
    "jean",
    "joan",
    "john",
    "katherine",
    "ken",
    "leslie",
    "lynn",
    "margaret",
    "niklaus",
    "radia",
    "sophie",
    "tim",
    "tony",
];
const DEVICES: [&str; 4] = ["phone", "laptop", "tablet", "tv"];

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Population {
    nodes: usize,
    clients: usize,
    entries: usize,
    /// How often each node was started; keys and metas depend on it, so that what an old life left behind would show.
    lives: Vec<u32>,
    /// By item; `None` while its owner is not connected.
    refs: Vec<Option<EntryRef>>,
}

/// Key and metadata of an item, as a client sends them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) key: Vec<u8>,
    pub(crate) meta: Vec<u8>,
}

impl Population {
    pub(crate) fn new(nodes: usize, clients: usize, entries: usize) -> Self {
        Self { nodes, clients, entries, lives: vec![1; nodes], refs: vec![None; clients + entries] }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// The node that a client is connected to.
    pub(crate) fn node_of_client(&self, client: usize) -> usize {
        client % self.nodes
    }

    /// The clients of a node.
    pub(crate) fn clients_of(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        (node..self.clients).step_by(self.nodes)
    }

    /// A client's items in rooms.
    pub(crate) fn rooms_of(&self, client: usize) -> impl Iterator<Item = usize> + use<> {
        (self.clients + client..self.clients + self.entries).step_by(self.clients)
    }

    /// Every topic that the demo uses.
    pub(crate) fn topics(&self) -> impl Iterator<Item = String> + use<> {
        let rooms = self.entries.div_ceil(ROOM_LEN);
        std::iter::once(LOBBY.to_owned()).chain((1..=rooms).map(|room| format!("room:{room}")))
    }

    pub(crate) fn topic_count(&self) -> usize {
        1 + self.entries.div_ceil(ROOM_LEN)
    }

    /// The items of the topic at this place in `topics`, present or not.
    pub(crate) fn items_at(&self, place: usize) -> std::ops::Range<usize> {
        match place {
            0 => 0..self.clients,
            room => {
                let first = (room - 1) * ROOM_LEN;
                self.clients + first..self.clients + self.entries.min(first + ROOM_LEN)
            }
        }
    }

    pub(crate) fn topic_of(&self, item: usize) -> String {
        match item.checked_sub(self.clients) {
            None => LOBBY.to_owned(),
            Some(entry) => format!("room:{}", entry / ROOM_LEN + 1),
        }
    }

    pub(crate) fn node_of(&self, item: usize) -> usize {
        self.node_of_client(match item.checked_sub(self.clients) {
            None => item,
            Some(entry) => entry % self.clients,
        })
    }

    pub(crate) fn person(&self, item: usize) -> Person {
        let life = self.lives[self.node_of(item)];
        let mut person = Person::default();
        // Vectors take everything that is written to them.
        if item < self.clients {
            let _ = write!(person.key, "client-{item}");
            let _ = write!(person.meta, "device={};visit={life}", DEVICES[item % DEVICES.len()]);
        } else {
            // An odd factor: another number for each item, none that looks counted.
            #[expect(clippy::cast_possible_truncation, reason = "items are fewer than 2³²")]
            let number = (item as u32).wrapping_mul(0x9E37_79B1).wrapping_add(life);
            let name = NAMES[number as usize % NAMES.len()];
            let device = DEVICES[(number >> 8) as usize % DEVICES.len()];
            let _ = write!(person.key, "{name}-{number:08x}");
            let _ = write!(person.meta, "device={device};seat={};visit={life}", number % 1000);
        }
        person
    }

    pub(crate) fn entry_ref(&self, item: usize) -> Option<EntryRef> {
        self.refs[item]
    }

    pub(crate) fn set_ref(&mut self, item: usize, entry_ref: EntryRef) {
        self.refs[item] = Some(entry_ref);
    }

    /// How many items are present.
    pub(crate) fn present(&self) -> usize {
        self.refs.iter().flatten().count()
    }

    /// Bytes of keys and metas in rooms, and of how many entries.
    pub(crate) fn payload(&self) -> (u64, u64) {
        let rooms = self.clients..self.clients + self.entries;
        let bytes = |item| {
            let person = self.person(item);
            (person.key.len() + person.meta.len()) as u64
        };
        (rooms.map(bytes).sum(), self.entries as u64)
    }

    /// A node's process is gone, and with it its clients' items. Returns how many there were.
    pub(crate) fn end_life(&mut self, node: usize) -> usize {
        self.lives[node] += 1;
        let mut gone = 0;
        for item in 0..self.refs.len() {
            if self.node_of(item) == node && self.refs[item].take().is_some() {
                gone += 1;
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_item_has_one_topic_one_client_and_a_key_of_its_own() {
        let population = Population::new(3, 7, 250);
        let topics: Vec<_> = population.topics().collect();
        assert_eq!(topics, ["lobby", "room:1", "room:2", "room:3"]);
        assert_eq!(topics.len(), population.topic_count());

        let mut seen = HashSet::new();
        for (place, topic) in topics.iter().enumerate() {
            for item in population.items_at(place) {
                assert_eq!(population.topic_of(item), *topic);
                assert!(seen.insert((topic.clone(), population.person(item).key)));
            }
        }
        assert_eq!(seen.len(), 257);

        let mut owned = HashSet::new();
        for node in 0..3 {
            for client in population.clients_of(node) {
                for item in std::iter::once(client).chain(population.rooms_of(client)) {
                    assert_eq!(population.node_of(item), node);
                    assert!(owned.insert(item));
                }
            }
        }
        assert_eq!(owned.len(), 257);
    }

    #[test]
    fn another_life_has_other_entries_everywhere_in_the_rooms() {
        let mut population = Population::new(2, 4, 100);
        let item = population.rooms_of(1).next().unwrap();
        let before = population.person(item);
        let other = population.person(population.rooms_of(0).next().unwrap());
        assert_eq!(population.end_life(1), 0);
        assert_ne!(population.person(item), before);
        assert_eq!(population.person(population.rooms_of(0).next().unwrap()), other);
    }
}
