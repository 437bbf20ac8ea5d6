//! Connections: who is let in, for how long it may stand still, and how all of it ends.

use super::answer::Answers;
use super::protocol::{Code, REQUEST_LEN_MAX, Request, Row};
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients at once. One more is told so.
const CLIENTS_MAX: usize = 8;
/// How long a client may take nothing of what is said to it.
const TAKE_WITHIN: Duration = Duration::from_secs(10);
/// The same while it watches: to stand still and go on is what its queue is for.
pub(super) const TAKE_WITHIN_WATCHING: Duration = Duration::from_secs(60);
/// How long a client may ask nothing.
const ASK_WITHIN: Duration = Duration::from_secs(30);
/// How long accepting rests when the system has no more descriptors.
const REST: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// A thread that accepts clients, and theirs.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    over: AtomicBool,
    answers: Answers,
    /// Clients by number, to be cut off at the end.
    clients: Mutex<BTreeMap<u64, UnixStream>>,
}

impl Server {
    pub(super) fn start(listener: UnixListener, answers: Answers) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut listener = mio::net::UnixListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let over = AtomicBool::new(false);
        let shared = Arc::new(Shared { over, answers, clients: Mutex::new(BTreeMap::new()) });
        let thread = std::thread::Builder::new().name("headcount-admin".into()).spawn({
            let shared = Arc::clone(&shared);
            move || accept(poll, &listener, &shared)
        })?;
        Ok(Self { shared, waker, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of whoever looks, under the clients' lock or after the wake-up.
        self.shared.over.store(true, Ordering::Release);
        for client in self.shared.clients.lock().values() {
            let _ = client.shutdown(Shutdown::Both);
        }
        let woken = self.waker.wake().is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        // Clients' threads find their streams shut and end by themselves: one may be waiting for another node's answer.
    }
}

fn accept(mut poll: Poll, listener: &mio::net::UnixListener, shared: &Arc<Shared>) {
    let mut events = Events::with_capacity(4);
    let mut number = 0;
    let mut wait = None;
    while !shared.over.load(Ordering::Acquire) {
        if poll.poll(&mut events, wait.take()).is_err_and(|error| error.kind() != ErrorKind::Interrupted) {
            return;
        }
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    number += 1;
                    admit(stream.into(), number, shared);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // Out of descriptors or memory: those who wait are not reported again, so the clock looks.
                Err(_) => {
                    wait = Some(REST);
                    break;
                }
            }
        }
    }
}

/// Gives a client a thread, or tells it that there is none.
fn admit(stream: UnixStream, number: u64, shared: &Arc<Shared>) {
    let mut clients = shared.clients.lock();
    if clients.len() >= CLIENTS_MAX {
        drop(clients);
        let text = format!("{CLIENTS_MAX} clients are connected, and no more are served at once");
        let mut line = serde_json::to_vec(&Row::Error { code: Code::Busy, text }).unwrap_or_default();
        line.push(b'\n');
        // It is not waited for: what an empty buffer takes is enough.
        let _ = stream.set_nonblocking(true).and_then(|()| (&stream).write_all(&line));
        return;
    }
    let Ok(known) = stream.try_clone() else { return };
    if shared.over.load(Ordering::Acquire) {
        return;
    }
    clients.insert(number, known);
    drop(clients);
    let serving = std::thread::Builder::new().name("headcount-admin-client".into()).spawn({
        let shared = Arc::clone(shared);
        move || {
            let _leaves = Leaves(&shared, number);
            // Its end, or its silence, is all that can go wrong, and nobody else's business.
            let _ = serve(&stream, &shared);
        }
    });
    if serving.is_err() {
        shared.clients.lock().remove(&number);
    }
}

/// Makes room for another client, also if the thread panics.
struct Leaves<'a>(&'a Shared, u64);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.clients.lock().remove(&self.1);
    }
}

/// Answers one client until it goes, or is cut off.
fn serve(stream: &UnixStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ASK_WITHIN))?;
    stream.set_write_timeout(Some(TAKE_WITHIN))?;
    let mut requests = BufReader::new(stream);
    let mut out = Lines { stream, out: BufWriter::new(stream) };
    out.say(&Row::Hello(shared.answers.hello()))?;
    loop {
        out.flush()?;
        let mut line = Vec::new();
        let limit = REQUEST_LEN_MAX as u64 + 1;
        if requests.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() > REQUEST_LEN_MAX {
            let text = format!("the request is longer than {REQUEST_LEN_MAX} bytes");
            out.say(&Row::Error { code: Code::BadRequest, text })?;
            return out.flush();
        }
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => shared.answers.answer(request, &mut out)?,
            Err(error) => {
                out.say(&Row::Error { code: Code::BadRequest, text: format!("no request: {error}") })?;
            }
        }
    }
}

/// Writes rows to a client.
pub(super) struct Lines<'a> {
    stream: &'a UnixStream,
    out: BufWriter<&'a UnixStream>,
}

impl Lines<'_> {
    pub(super) fn say(&mut self, row: &Row) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, row)?;
        self.out.write_all(b"\n")
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Bears a client that stands still for as long as a watch may.
    pub(super) fn be_patient(&self) -> io::Result<()> {
        self.stream.set_write_timeout(Some(TAKE_WITHIN_WATCHING))
    }
}
