//! Names of peers, looked up beside the loop: the system's resolver blocks for as long as it likes.

use parking_lot::{Condvar, Mutex};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// How often names are looked up again: an orchestrator may have moved the node behind one.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How soon, while one of them has no answer.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Addresses taken of one name.
const ADDRS_PER_NAME: usize = 64;

/// What the lookups found.
#[derive(Debug, Default)]
struct Found {
    addrs: Vec<SocketAddr>,
    failures: u64,
    is_new: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Desk {
    found: Mutex<Found>,
    stopped: Condvar,
}

/// Looks names up until it is dropped. The thread then ends by itself, when the system has answered.
#[derive(Debug)]
pub(super) struct Resolver {
    desk: Arc<Desk>,
}

impl Resolver {
    /// Begins to look up `names` (`host:port`), with `resolve` standing for the system. `wake` is called when there is
    /// something to [`take`](Self::take). Addresses of the other family than `local` is of are passed over.
    pub(super) fn start(
        names: Vec<String>,
        local: SocketAddr,
        resolve: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let resolver = Self { desk: Arc::clone(&desk) };
        std::thread::Builder::new().name("headcount-names".into()).spawn(move || {
            // What a name answered last stays until it answers anew.
            let mut known: Vec<Vec<SocketAddr>> = vec![Vec::new(); names.len()];
            loop {
                let mut failures = 0;
                for (name, known) in names.iter().zip(&mut known) {
                    let mut addrs = resolve(name).unwrap_or_default();
                    addrs.retain(|addr| addr.is_ipv4() == local.is_ipv4());
                    addrs.truncate(ADDRS_PER_NAME);
                    if addrs.is_empty() {
                        failures += 1;
                    } else {
                        *known = addrs;
                    }
                }
                let mut found = desk.found.lock();
                if found.stop {
                    return;
                }
                found.addrs = known.concat();
                found.failures += failures;
                found.is_new = true;
                wake();
                let wait = if failures > 0 { RETRY_AFTER } else { AGAIN_AFTER };
                desk.stopped.wait_for(&mut found, wait);
                if found.stop {
                    return;
                }
            }
        })?;
        Ok(resolver)
    }

    /// What was found since the last time, and how many lookups have failed since then.
    pub(super) fn take(&self) -> Option<(Vec<SocketAddr>, u64)> {
        let mut found = self.desk.found.lock();
        std::mem::take(&mut found.is_new)
            .then(|| (std::mem::take(&mut found.addrs), std::mem::take(&mut found.failures)))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.desk.found.lock().stop = true;
        self.desk.stopped.notify_all();
    }
}

/// Asks the system.
pub(super) fn system(name: &str) -> io::Result<Vec<SocketAddr>> {
    name.to_socket_addrs().map(Iterator::collect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn names_are_looked_up_apart_and_those_of_the_other_family_passed_over() {
        let (woken, wakes) = mpsc::channel();
        let (asked, may_answer) = mpsc::channel();
        let may_answer = Mutex::new(may_answer);
        let resolve = move |name: &str| {
            if name.starts_with("slow") {
                let _ = may_answer.lock().recv();
            }
            if name.starts_with("nowhere") {
                return Err(io::Error::other("no such name"));
            }
            Ok(vec!["10.0.0.9:1".parse().unwrap(), "[2001:db8::9]:1".parse().unwrap()])
        };
        let names = vec!["slow:1".into(), "nowhere:1".into()];
        let local = "127.0.0.1:1".parse().unwrap();
        let resolver = Resolver::start(names, local, resolve, move || woken.send(()).unwrap()).unwrap();
        assert_eq!(resolver.take(), None, "the caller does not wait for an answer");
        asked.send(()).unwrap();
        wakes.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(resolver.take(), Some((vec!["10.0.0.9:1".parse().unwrap()], 1)));
        assert_eq!(resolver.take(), None);
    }

    #[test]
    fn localhost_is_known_to_the_system() {
        let found = system("localhost:7070").unwrap();
        assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7070), "{found:?}");
    }
}
