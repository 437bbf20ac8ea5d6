//! How long a wait may take: a deadline and a flag that ends every wait early.
//!
//! Everything that waits here (for a reply, for a child, for views to agree) takes a [`Limit`], so that nothing waits
//! without a bound and Ctrl-C is noticed wherever the program happens to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that anything sleeps or blocks before it looks at its limit again.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A bound on waiting. Clones share the flag.
#[derive(Clone, Debug)]
pub struct Limit {
    deadline: Instant,
    interrupted: Arc<AtomicBool>,
}

/// Why a wait ended before what it waited for came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The deadline passed.
    #[error("the time is up")]
    TimeUp,
    /// Somebody interrupted the program.
    #[error("interrupted")]
    Interrupted,
}

impl Limit {
    /// A limit that ends `after` from now, with a flag of its own.
    #[must_use]
    pub fn after(after: Duration) -> Self {
        Self::with_flag(after, Arc::new(AtomicBool::new(false)))
    }

    /// A limit that ends `after` from now, or when `interrupted` becomes true.
    #[must_use]
    pub fn with_flag(after: Duration, interrupted: Arc<AtomicBool>) -> Self {
        Self { deadline: Instant::now() + after, interrupted }
    }

    /// The same limit, ending `after` from now if that is sooner.
    #[must_use]
    pub fn within(&self, after: Duration) -> Self {
        let deadline = self.deadline.min(Instant::now() + after);
        Self { deadline, interrupted: Arc::clone(&self.interrupted) }
    }

    /// The time left; zero when it is up.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether going on is allowed.
    ///
    /// # Errors
    /// Interrupted, or the time is up.
    pub fn check(&self) -> Result<(), Stopped> {
        // Relaxed: the flag carries nothing but itself.
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Stopped::Interrupted)
        } else if self.left().is_zero() {
            Err(Stopped::TimeUp)
        } else {
            Ok(())
        }
    }

    /// Sleeps for `pause`, in slices, unless the limit ends sooner.
    ///
    /// # Errors
    /// Interrupted, or the time is up, before the pause was over.
    pub fn sleep(&self, pause: Duration) -> Result<(), Stopped> {
        let end = Instant::now() + pause;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK_AGAIN).min(self.left()));
        }
    }

    /// Tries `attempt` every `pause` until it finds something.
    ///
    /// # Errors
    /// What `attempt` fails with, or the limit as that error.
    pub fn poll<T, E: From<Stopped>>(
        &self,
        pause: Duration,
        mut attempt: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        loop {
            if let Some(found) = attempt()? {
                return Ok(found);
            }
            self.sleep(pause)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_with_the_limit_and_says_which() {
        let limit = Limit::after(Duration::from_millis(5));
        assert_eq!(limit.sleep(Duration::from_secs(60)), Err(Stopped::TimeUp));

        let flag = Arc::new(AtomicBool::new(true));
        let limit = Limit::with_flag(Duration::from_secs(60), flag);
        assert_eq!(limit.within(Duration::from_secs(1)).check(), Err(Stopped::Interrupted));
    }

    #[test]
    fn a_narrower_limit_never_outlasts_the_wider_one() {
        let wide = Limit::after(Duration::from_secs(1));
        assert!(wide.within(Duration::from_secs(60)).left() <= Duration::from_secs(1));
        assert!(wide.within(Duration::from_millis(1)).left() <= Duration::from_millis(1));
    }
}
