//! The heart: a thread that says at intervals that the process lives, and sets the gauges that nobody sets on the way.

use super::file::monotonic;
use super::format::word;
use super::region::Region;
use crate::sync::{Arc, Condvar, Mutex, Ordering, wait_until};
use std::fmt;
use std::io;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Between two beats.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(250);
/// Gauges are set once in so many beats.
const GAUGES_EVERY: u32 = 4;

/// Sets gauges; false if it has nothing to set any more.
pub(super) type Gauges = Box<dyn FnMut() -> bool + Send>;

/// What the thread and the counters share.
#[derive(Default)]
pub(super) struct Heart {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    gauges: Vec<Gauges>,
}

impl fmt::Debug for Heart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heart").finish_non_exhaustive()
    }
}

impl Heart {
    /// Starts the thread, which beats in this header until [`end`](Self::end).
    pub(super) fn start(self: &Arc<Self>, header: Arc<Region>) -> io::Result<()> {
        let heart = Arc::clone(self);
        Builder::new().name("headcount-counters".into()).spawn(move || heart.run(&header)).map(drop)
    }

    pub(super) fn add(&self, gauges: Gauges) {
        self.state.lock().gauges.push(gauges);
    }

    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.ended.notify_all();
    }

    fn run(&self, header: &Region) {
        let mut beats = 0_u32;
        loop {
            header.words()[word::BEAT].store(monotonic(), Ordering::Relaxed);
            if beats.is_multiple_of(GAUGES_EVERY) {
                self.set_gauges();
            }
            beats = beats.wrapping_add(1);
            let deadline = Instant::now() + BEAT_EVERY;
            let mut state = self.state.lock();
            while !state.ended && !wait_until(&self.ended, &mut state, deadline) {}
            if state.ended {
                return;
            }
        }
    }

    /// Runs the gauges without the lock: what they look at may end the counters.
    fn set_gauges(&self) {
        let mut gauges = std::mem::take(&mut self.state.lock().gauges);
        gauges.retain_mut(|set| set());
        let mut state = self.state.lock();
        gauges.append(&mut state.gauges);
        state.gauges = gauges;
    }
}
