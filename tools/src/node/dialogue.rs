//! What one client has of the node: its session, its watches, and the reply that is being written to it.

use super::command::{Command, Refusal};
use super::host::Host;
use super::producer::{Heading, Producer, end, push_fmt};
use super::report;
use super::watch::{Pushed, Watches};
use headcount::{Error, Session};
use headcount_tools::line::HELP;

/// Replies and events are written whole, one after the other: while a reply is in progress, nothing else is.
#[derive(Debug)]
pub(crate) struct Dialogue {
    slot: usize,
    /// `None` when the client has said goodbye.
    session: Option<Session>,
    watches: Watches,
    reply: Option<Producer>,
}

impl Dialogue {
    pub(crate) fn new(slot: usize, host: &Host) -> Self {
        Self { slot, session: Some(host.tracker.session()), watches: Watches::default(), reply: None }
    }

    /// Whether the client has said goodbye, or its connection ended.
    pub(crate) fn is_over(&self) -> bool {
        self.session.is_none()
    }

    /// The end: the client's entries leave.
    pub(crate) fn finish(&mut self) {
        self.session = None;
        self.watches.clear();
    }

    pub(crate) fn rang(&mut self, watch: u64) -> bool {
        self.watches.rang(watch)
    }

    /// Writes the next piece of the reply in progress. False if there is none.
    pub(crate) fn go_on(&mut self, host: &mut Host, out: &mut Vec<u8>) -> bool {
        let Some(reply) = &mut self.reply else { return false };
        if reply.produce(host, out) {
            self.reply = None;
        }
        true
    }

    /// Writes events that wait. False if there are none.
    pub(crate) fn push_events(&mut self, host: &mut Host, out: &mut Vec<u8>) -> bool {
        match self.watches.push_events(host, out) {
            Pushed::Nothing => false,
            Pushed::Lines => true,
            Pushed::Resync(view) => {
                self.reply = Some(view);
                true
            }
        }
    }

    /// Executes one line.
    pub(crate) fn execute(&mut self, line: &[u8], host: &mut Host, out: &mut Vec<u8>) {
        host.clients.requests.add(1);
        let outcome = match Command::parse(line) {
            Ok(Some(command)) => self.command(command, host, out),
            Ok(None) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = outcome {
            refuse(&refusal, host, out);
        }
    }

    fn command(&mut self, command: Command<'_>, host: &mut Host, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Some(session) = &self.session else { return Ok(()) };
        let tracker = &host.tracker;
        match command {
            Command::Join { topic, key, meta } => match session.track(&topic, &key, &meta) {
                Ok(entry) => push_fmt(out, format_args!("OK {entry}\n")),
                Err(error) => return Err(refusal(error)),
            },
            Command::Update { topic, key, meta } => match session.update(&topic, &key, &meta) {
                Ok(entry) => push_fmt(out, format_args!("OK {entry}\n")),
                Err(error) => return Err(refusal(error)),
            },
            Command::Leave { topic, key } => {
                let left = session.untrack(&topic, &key).map_err(refusal)?;
                out.extend_from_slice(if left { b"OK left\n" } else { b"OK absent\n" });
            }
            Command::LeaveTopic { topic } => {
                let left = session.untrack_topic(&topic).map_err(refusal)?;
                push_fmt(out, format_args!("OK left {left}\n"));
            }
            Command::LeaveAll => {
                let left = session.clear().map_err(refusal)?;
                push_fmt(out, format_args!("OK left {left}\n"));
            }
            Command::List { topic } => self.reply = Some(Producer::list(topic.into_owned())),
            Command::Get { topic, key } => {
                self.reply = Some(Producer::entries(Heading::Entry, tracker.get(&topic, &key)));
            }
            Command::Count { topic } => {
                let count = topic.map_or_else(|| tracker.len(), |topic| tracker.count(&topic));
                push_fmt(out, format_args!("OK {count}\n"));
            }
            Command::Topics => self.reply = Some(Producer::topics(tracker.topics())),
            Command::Watch { scope } => self.reply = Some(self.watches.start(scope, self.slot, host)?),
            Command::Unwatch { scope } => {
                self.watches.end(&scope)?;
                out.extend_from_slice(b"OK\n");
            }
            Command::Nodes => report::nodes(host, out),
            Command::Stats => report::stats(host, out),
            Command::Ping => out.extend_from_slice(b"OK pong\n"),
            Command::Help => {
                out.extend_from_slice(HELP.as_bytes());
                end(out, HELP.lines().count() as u64);
            }
            Command::Quit => {
                self.finish();
                out.extend_from_slice(b"OK bye\n");
            }
        }
        Ok(())
    }
}

/// Writes an `ERR` line.
pub(crate) fn refuse(refusal: &Refusal, host: &mut Host, out: &mut Vec<u8>) {
    host.clients.refused.add(1);
    push_fmt(out, format_args!("ERR {} {}\n", refusal.code, refusal.text));
}

/// What the tracker refused, in the words of the protocol.
fn refusal(error: Error) -> Refusal {
    match error {
        Error::AlreadyTracked { existing } => Refusal::new(
            "already-tracked",
            format!("you are there with that key already, as {existing}; UPDATE changes the meta"),
        ),
        Error::NotTracked => Refusal::new(
            "not-tracked",
            "you are not there with that key; JOIN first (an entry is changed by the connection that joined)",
        ),
        Error::TooLong { field, len, max } => {
            Refusal::new("too-long", format!("{field} is {len} bytes, the limit is {max}"))
        }
        Error::Full { field, max } => Refusal::new(
            "full",
            format!("{field} is reached: the limit is {max} entries; LEAVE something first"),
        ),
        Error::Shutdown => Refusal::new("shutdown", "this node is leaving the cluster"),
        other => Refusal::new("refused", other.to_string()),
    }
}
