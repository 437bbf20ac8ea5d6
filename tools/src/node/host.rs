//! What all connections of a node share.

use super::bell::{Bell, WatchNumbers};
use super::clients::Clients;
use headcount::{NodeId, Tracker};
use headcount_net::Cluster;
use std::borrow::Cow;
use std::collections::HashMap;

/// Names remembered at once; beyond it they are looked up again.
const NAMES_MAX: usize = 4096;

/// The node, as its connections see it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) tracker: Tracker,
    pub(crate) cluster: Cluster,
    pub(crate) name: String,
    pub(crate) bell: Bell,
    pub(crate) watch_numbers: WatchNumbers,
    pub(crate) clients: Clients,
    names: HashMap<NodeId, String>,
}

impl Host {
    pub(crate) fn new(tracker: Tracker, cluster: Cluster, name: String, bell: Bell) -> Self {
        let clients = Clients::new(tracker.counters());
        let names = HashMap::from([(cluster.node_id(), name.clone())]);
        Self { tracker, cluster, name, bell, watch_numbers: WatchNumbers::default(), clients, names }
    }

    /// The name of a node; its id while nobody has said its name. The id is made from the name, so it stays.
    pub(crate) fn node_name(&mut self, id: NodeId) -> Cow<'_, str> {
        if !self.names.contains_key(&id) {
            let name = self.tracker.node(id).map(|node| node.name).filter(|name| !name.is_empty());
            let Some(name) = name else { return Cow::Owned(id.to_string()) };
            if self.names.len() == NAMES_MAX {
                self.names.clear();
            }
            self.names.insert(id, name);
        }
        self.names.get(&id).map_or(Cow::Borrowed(""), |name| Cow::Borrowed(name))
    }
}
