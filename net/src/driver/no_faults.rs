//! In the place of `faults.rs` in a build without the feature: everything passes, and the compiler sees that.

use crate::config::Config;
use std::net::SocketAddr;
use std::time::Duration;

/// There are none.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
    pub(super) by_group: bool,
}

/// No trouble at all.
#[derive(Debug)]
pub(super) struct Disorder;

impl Disorder {
    pub(super) fn of(_: &Config) -> Self {
        Self
    }

    pub(super) fn keeps(&mut self, _: SocketAddr, _: &[u8], _: bool) -> bool {
        false
    }

    pub(super) fn due(&mut self) -> Option<Late> {
        None
    }

    pub(super) fn due_in(&self) -> Option<Duration> {
        None
    }

    pub(super) fn refuses(&self, _: SocketAddr) -> bool {
        false
    }
}
