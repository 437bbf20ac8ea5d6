//! Finding and reaching nodes without multicast: addresses that may be nodes, and where a datagram to everybody goes.
//!
//! Without a group nobody hears an announcement of a node that nobody knows. So a node starts from addresses that it was
//! given (seeds), says hello there until somebody answers, and is told the addresses of others with the answer. Every
//! second it tells some that it knows to one member, in turn, so that whoever is known to one becomes known to all.

use super::Core;
use super::io::{Mode, Output, Target, Time};
use super::member::MemberState;
use crate::wire;
use headcount::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Addresses remembered that no member has answered from. Seeds have no part in it: they are this node's own configuration.
pub(super) const TOLD_MAX: usize = 256;
/// Addresses told at a time.
const ADDRS_PER_HELLO: usize = 12;
/// How often a member is told of others.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// From one attempt at an address to the next, doubling.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// What others told is believed for so many attempts.
const TRIES_MAX: u8 = 6;

/// An address that may be a node.
#[derive(Debug)]
struct Contact {
    is_seed: bool,
    tries: u8,
    due: Time,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    known: BTreeMap<SocketAddr, Contact>,
    /// When the first of them is due.
    next_due: Option<Time>,
    /// Where the turns of members go on: whom to tell, and of whom.
    next_told: usize,
    next_telling: usize,
    tell_at: Time,
    /// To whom a datagram for everybody goes, beside the group.
    fan_out: Vec<SocketAddr>,
    /// The [`Core::version`] that it was made for.
    made_for: Option<u64>,
}

impl Contacts {
    /// When an address is to be tried, or a member told of others.
    pub(super) fn due_at(&self) -> Time {
        // The clock of the telling starts with the first turn.
        let tell_at = if self.tell_at == Time::ZERO { Time::MAX } else { self.tell_at };
        self.next_due.unwrap_or(Time::MAX).min(tell_at)
    }

    /// Lets every address be tried at once.
    pub(super) fn start_over(&mut self, now: Time) {
        for contact in self.known.values_mut() {
            (contact.due, contact.tries) = (now, 0);
        }
        self.look_when_due();
    }

    fn look_when_due(&mut self) {
        self.next_due = self.known.values().map(|contact| contact.due).min();
    }

    /// Lets the list of those who get everything be made anew.
    pub(super) fn changed(&mut self) {
        self.made_for = None;
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn told(&self) -> usize {
        self.known.values().filter(|contact| !contact.is_seed).count()
    }
}

impl Core {
    /// Whether a datagram for everybody goes to the group.
    pub(crate) fn multicasts(&self) -> bool {
        self.settings.mode == Mode::Multicast
    }

    /// To whom it goes beside, or instead.
    pub(crate) fn fan_out(&self) -> &[SocketAddr] {
        &self.contacts.fan_out
    }

    /// Takes the addresses that the configuration names, as they resolve now.
    pub(super) fn set_seeds(&mut self, now: Time, seeds: &[SocketAddr]) {
        let seeds: BTreeSet<SocketAddr> = seeds.iter().copied().collect();
        self.contacts.known.retain(|addr, contact| !contact.is_seed || seeds.contains(addr));
        for addr in seeds {
            let new = || Contact { is_seed: true, tries: 0, due: now };
            self.contacts.known.entry(addr).or_insert_with(new).is_seed = true;
        }
        self.contacts.look_when_due();
    }

    /// Somebody tells of addresses. It is a member, or nothing is believed.
    pub(super) fn on_peers(&mut self, now: Time, peers: &wire::Peers) {
        if self.multicasts() {
            return;
        }
        let told = self.contacts.known.values().filter(|contact| !contact.is_seed).count();
        let mut room = TOLD_MAX.saturating_sub(told);
        for &addr in &peers.addrs {
            // A member heard there needs no introduction; one that is down is asked there by the detector.
            let is_member = self.members.values().any(|member| member.addr == addr);
            if !is_member && room > 0 && !self.contacts.known.contains_key(&addr) {
                room -= 1;
                self.contacts.known.insert(addr, Contact { is_seed: false, tries: 0, due: now });
            }
        }
        self.contacts.look_when_due();
    }

    /// Says hello to addresses that are due, and tells a member of others.
    pub(super) fn drive_contacts(&mut self, now: Time, out: &mut Output) {
        if self.contacts.next_due.is_some_and(|at| at <= now) {
            self.try_contacts(now, out);
        }
        if !self.multicasts() && now >= self.contacts.tell_at {
            if self.contacts.tell_at > Time::ZERO {
                self.tell_somebody(out);
            }
            self.contacts.tell_at = now + TELL_EVERY;
        }
    }

    fn try_contacts(&mut self, now: Time, out: &mut Output) {
        let retry_max = self.settings.timing.probe_every;
        let heard = |member: &&super::member::Member| member.state != MemberState::Down;
        let heard: BTreeSet<SocketAddr> =
            self.members.values().filter(heard).map(|member| member.addr).collect();
        let mut to_ask = Vec::new();
        self.contacts.known.retain(|&addr, contact| {
            if contact.due > now {
                return true;
            }
            if heard.contains(&addr) {
                (contact.tries, contact.due) = (0, now + retry_max);
                return contact.is_seed;
            }
            if contact.tries >= TRIES_MAX && !contact.is_seed {
                return false;
            }
            to_ask.push(addr);
            contact.due = now + RETRY_FIRST.saturating_mul(1 << contact.tries.min(16)).min(retry_max);
            contact.tries = contact.tries.saturating_add(1);
            true
        });
        self.contacts.look_when_due();
        for addr in to_ask {
            self.send_hello(Target::Node(addr), NodeId(0), true, out);
        }
    }

    fn tell_somebody(&mut self, out: &mut Output) {
        let hears = self.members.values().filter(|member| member.state != MemberState::Down);
        let hears: Vec<(NodeId, SocketAddr)> = hears.map(|member| (member.node, member.addr)).collect();
        if hears.len() >= 2 {
            let (node, addr) = hears[self.contacts.next_told % hears.len()];
            self.contacts.next_told = self.contacts.next_told.wrapping_add(1);
            self.send_hello(Target::Node(addr), node, false, out);
        }
    }

    /// Adds addresses of members to a hello for one node: first that of another process that speaks under the asker's
    /// name, so that the two meet and one of them stops.
    pub(super) fn tell_peers(&mut self, to: SocketAddr, node: NodeId, body: &mut Vec<u8>) {
        if self.multicasts() {
            return;
        }
        let tellable = |member: &&super::member::Member| {
            member.state != MemberState::Down
                && member.addr != to
                && wire::can_be_told(&member.addr)
                // What is on this machine alone is nowhere for others.
                && member.addr.ip().is_loopback() == to.ip().is_loopback()
        };
        let known: Vec<(NodeId, SocketAddr)> =
            self.members.values().filter(tellable).map(|member| (member.node, member.addr)).collect();
        let namesake = known.iter().find(|&&(other, _)| other == node).copied();
        let turn = self.contacts.next_telling;
        self.contacts.next_telling = turn.wrapping_add(ADDRS_PER_HELLO);
        let others = known.iter().cycle().skip(turn % known.len().max(1)).take(known.len());
        let others = others.filter(|&&(other, _)| other != node);
        let addrs: Vec<SocketAddr> =
            namesake.iter().chain(others).map(|&(_, addr)| addr).take(ADDRS_PER_HELLO).collect();
        if !addrs.is_empty() {
            wire::Peers { addrs }.put(body);
        }
    }

    /// Makes the list of those who get what is for everybody, if who is there has changed.
    pub(super) fn refresh_fan_out(&mut self, now: Time) {
        let copies_end = self.fallback.copies_end;
        if self.contacts.made_for == Some(self.version) && now < copies_end {
            return;
        }
        let everybody = !self.multicasts();
        let mut fan_out: Vec<SocketAddr> = Vec::new();
        let mut next_end = Time::MAX;
        for member in self.members.values() {
            let wants_copies = now < member.copies_until;
            if wants_copies {
                next_end = next_end.min(member.copies_until);
            }
            // One that is down too: it may hear this node well.
            if everybody || wants_copies {
                fan_out.push(member.addr);
            }
        }
        self.contacts.fan_out = fan_out;
        self.fallback.copies_end = next_end;
        self.contacts.made_for = Some(self.version);
    }
}
