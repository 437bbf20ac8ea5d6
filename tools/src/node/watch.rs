//! The watches of one connection: subscriptions, and their events as lines.

use super::bell::{Address, Signal};
use super::command::{Refusal, Scope};
use super::host::Host;
use super::producer::{Heading, Producer, push_entry, push_fmt};
use headcount::{Event, EventKind, Filter, Subscription};
use headcount_tools::line::push_token;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Watches that one connection may have.
const WATCHES_MAX: usize = 1024;
/// Events written at once.
const PIECE: usize = 64;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_number: HashMap<u64, Watch>,
    /// Watches that rang and were not looked at yet, or not to the end.
    ready: VecDeque<u64>,
}

#[derive(Debug)]
struct Watch {
    scope: Scope,
    subscription: Subscription,
    signal: Arc<Signal>,
    waker: Waker,
}

/// What a look at the watches came to.
#[derive(Debug)]
pub(crate) enum Pushed {
    Nothing,
    Lines,
    /// Events were missed; the producer writes what there is instead.
    Resync(Producer),
}

impl Watches {
    /// Starts a watch; the reply is the producer's.
    pub(crate) fn start(&mut self, scope: Scope, slot: usize, host: &mut Host) -> Result<Producer, Refusal> {
        if self.by_number.values().any(|watch| watch.scope == scope) {
            return Err(Refusal::new("already-watching", "this connection watches that already"));
        }
        if self.by_number.len() == WATCHES_MAX {
            let text = format!("a connection may have {WATCHES_MAX} watches; UNWATCH one, or WATCH *");
            return Err(Refusal::new("too-many-watches", text));
        }
        let (filter, heading) = match &scope {
            Scope::Topic(topic) => (Filter::topic(topic), Heading::Snapshot(topic.clone())),
            Scope::All => (Filter::all().without_snapshot(), Heading::Entry),
        };
        let mut subscription = host.tracker.subscribe(filter);
        let snapshot = subscription.take_snapshot();
        let watch = host.watch_numbers.next();
        let signal = host.bell.signal(Address { slot, watch });
        let waker = signal.waker();
        self.by_number.insert(watch, Watch { scope, subscription, signal, waker });
        // The first look leaves the waker with the subscription.
        self.ready.push_back(watch);
        Ok(Producer::entries(heading, snapshot))
    }

    /// Ends a watch.
    pub(crate) fn end(&mut self, scope: &Scope) -> Result<(), Refusal> {
        let found = self.by_number.iter().find(|(_, watch)| watch.scope == *scope);
        let Some((&number, _)) = found else {
            return Err(Refusal::new("not-watching", "this connection does not watch that"));
        };
        self.by_number.remove(&number);
        Ok(())
    }

    /// Ends all.
    pub(crate) fn clear(&mut self) {
        self.by_number.clear();
        self.ready.clear();
    }

    /// A signal rang. False if it is not one of these watches.
    pub(crate) fn rang(&mut self, number: u64) -> bool {
        let Some(watch) = self.by_number.get(&number) else { return false };
        watch.signal.clear();
        self.ready.push_back(number);
        true
    }

    /// Writes some of the events that wait.
    pub(crate) fn push_events(&mut self, host: &mut Host, out: &mut Vec<u8>) -> Pushed {
        let Some(&number) = self.ready.front() else { return Pushed::Nothing };
        let Some(watch) = self.by_number.get_mut(&number) else {
            self.ready.pop_front();
            return Pushed::Lines;
        };
        for _ in 0..PIECE {
            let mut context = Context::from_waker(&watch.waker);
            match watch.subscription.poll_recv(&mut context) {
                Poll::Ready(Some(event)) => {
                    if let EventKind::Lagged { missed } = event.kind {
                        return watch.lagged(missed, out);
                    }
                    push_event(out, host, &event);
                }
                // The tracker is shut down, and with it the node: there will be no more events.
                Poll::Ready(None) => {
                    self.by_number.remove(&number);
                    self.ready.pop_front();
                    return Pushed::Lines;
                }
                Poll::Pending => {
                    self.ready.pop_front();
                    return Pushed::Lines;
                }
            }
        }
        // More may wait; the other watches first.
        self.ready.rotate_left(1);
        Pushed::Lines
    }
}

impl Watch {
    fn lagged(&mut self, missed: u64, out: &mut Vec<u8>) -> Pushed {
        push_fmt(out, format_args!("EVENT LAGGED {missed} "));
        match &self.scope {
            Scope::Topic(topic) => {
                push_token(out, topic);
                out.push(b'\n');
                let view = self.subscription.resync();
                Pushed::Resync(Producer::entries(Heading::Resync(topic.clone()), view))
            }
            // A snapshot of everything would be too much to push at somebody who is too slow already.
            Scope::All => {
                out.extend_from_slice(b"*\n");
                Pushed::Lines
            }
        }
    }
}

fn push_event(out: &mut Vec<u8>, host: &mut Host, event: &Event) {
    match &event.kind {
        EventKind::Join(entry) | EventKind::Leave(entry) => {
            let joined = matches!(event.kind, EventKind::Join(_));
            out.extend_from_slice(if joined { b"EVENT JOIN " } else { b"EVENT LEAVE " });
            push_token(out, entry.topic());
            out.push(b' ');
            push_entry(out, host, entry);
        }
        EventKind::Update { old, new } => {
            out.extend_from_slice(b"EVENT UPDATE ");
            push_token(out, new.topic());
            out.push(b' ');
            push_token(out, new.key());
            out.push(b' ');
            push_token(out, host.node_name(new.origin()).as_bytes());
            push_fmt(out, format_args!(" {} {} ", new.entry_ref(), old.entry_ref()));
            push_token(out, new.meta());
            out.push(b'\n');
        }
        EventKind::First(topic) | EventKind::Empty(topic) => {
            let first = matches!(event.kind, EventKind::First(_));
            out.extend_from_slice(if first { b"EVENT FIRST " } else { b"EVENT EMPTY " });
            push_token(out, topic);
            out.push(b'\n');
        }
        EventKind::NodeUp { node, incarnation } | EventKind::NodeDown { node, incarnation } => {
            let up = matches!(event.kind, EventKind::NodeUp { .. });
            out.extend_from_slice(if up { b"EVENT NODE-UP " } else { b"EVENT NODE-DOWN " });
            push_token(out, host.node_name(*node).as_bytes());
            push_fmt(out, format_args!(" {node} {incarnation}\n"));
        }
        // `Lagged` is dealt with before; a kind that is newer than this protocol has no line.
        _ => {}
    }
}
