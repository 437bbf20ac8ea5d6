//! Who comes and goes in the cluster: remembered by name, and logged on standard error, one line each.

use super::bell::{Address, Signal};
use super::host::Host;
use crate::ui;
use headcount::{EventKind, Filter, Incarnation, NodeId, NodeState, Subscription};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The slot that rings for the log and not for a connection.
pub(crate) const SLOT: usize = usize::MAX;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Membership {
    started: Instant,
    subscription: Subscription,
    signal: Arc<Signal>,
    waker: Waker,
    quiet: bool,
}

impl Membership {
    pub(crate) fn new(host: &Host, quiet: bool) -> Self {
        let signal = host.bell.signal(Address { slot: SLOT, watch: 0 });
        let waker = signal.waker();
        let subscription = host.tracker.subscribe(Filter::nodes());
        Self { started: Instant::now(), subscription, signal, waker, quiet }
    }

    /// Writes who is there already. A second line for one who came just now does no harm.
    pub(crate) fn begin(&mut self, host: &mut Host) {
        for node in host.tracker.nodes() {
            if matches!(node.state, NodeState::Up | NodeState::Suspect) {
                self.is_up(host, node.id, node.incarnation);
            }
        }
        self.catch_up(host);
    }

    /// Writes what happened since the last time and asks to be woken for what comes.
    pub(crate) fn catch_up(&mut self, host: &mut Host) {
        self.signal.clear();
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        while let Poll::Ready(Some(event)) = self.subscription.poll_recv(&mut context) {
            match event.kind {
                EventKind::NodeUp { node, incarnation } => self.is_up(host, node, incarnation),
                EventKind::NodeDown { node, .. } => {
                    // A node that says goodbye is forgotten at once; one that falls silent is kept for a while.
                    let known = host.tracker.node(node);
                    let what = match known {
                        Some(known) if known.state == NodeState::Down => "is down: not heard any more",
                        Some(_) => "has started again: its old life is over",
                        None => "has left",
                    };
                    self.write(&format!("{} {what} (node {node})", host.node_name(node)));
                }
                EventKind::Lagged { missed } => {
                    self.write(&format!("{missed} changes of nodes were not logged"))
                }
                _ => {}
            }
        }
    }

    /// Also makes the host remember the node's name: a node that has left is not known to the tracker any more.
    fn is_up(&self, host: &mut Host, node: NodeId, incarnation: Incarnation) {
        let name = host.node_name(node);
        self.write(&format!("{name} is up (node {node}, incarnation {incarnation})"));
    }

    fn write(&self, line: &str) {
        if self.quiet {
            return;
        }
        ui::note(&format!("{:9.3} s  {line}", self.started.elapsed().as_secs_f64()));
    }
}
