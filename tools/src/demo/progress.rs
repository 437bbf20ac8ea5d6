//! What the demo is doing, on standard error: a bar on a terminal, a line a phase elsewhere.

use crate::failure::Failure;
use crate::number::grouped;
use crate::ui;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The whole run.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    terminal: bool,
}

/// One phase. Its bar vanishes when it is dropped.
#[derive(Debug)]
pub(crate) struct Phase {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    /// Starts a phase of `total` steps; 0 if they cannot be counted.
    pub(crate) fn phase(&self, what: &str, total: usize) -> Phase {
        let (bar, template) = match total {
            0 => (ProgressBar::no_length(), "{spinner} {msg}"),
            _ => (ProgressBar::new(total as u64), "{spinner} {msg:46} {wide_bar} {human_pos} of {human_len}"),
        };
        let bar = bar.with_message(what.to_owned());
        if !self.terminal {
            ui::note(&format!("{:7.2} s  {what}", self.started.elapsed().as_secs_f64()));
            bar.set_draw_target(ProgressDrawTarget::hidden());
            return Phase { bar };
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Phase { bar }
    }
}

impl Phase {
    /// `steps` more are done.
    pub(crate) fn advance(&self, steps: usize) {
        self.bar.inc(steps as u64);
    }

    /// Completes a failure for want of time with how far the phase got.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match (failure, self.bar.length()) {
            (Failure::TimeUp, Some(total)) => {
                let (done, what) = (grouped(self.bar.position()), self.bar.message());
                Failure::Missing(format!("{what} (step {done} of {})", grouped(total)))
            }
            (failure, _) => failure,
        }
    }

    /// `done` steps are done in all.
    pub(crate) fn set(&self, done: usize) {
        self.bar.set_position(done as u64);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
