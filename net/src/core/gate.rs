//! The gate that every datagram passes: from cheap checks to dear ones, and nothing is kept of it before it is proven.
//!
//! Length and magic, cluster, budget of its source, tag, replay; then its frames are read. A session that has not proven itself is
//! given a cookie and nothing else (see [`stranger`](super::stranger)).

use super::io::Time;
use super::keyring::KeyRing;
use super::window::{Arrival, Window};
use crate::crypto::{Mint, SALT_LEN, SenderId, SenderKey};
use crate::keys::Keys;
use crate::stats::NetStats;
use crate::wire::{self, Header, WireError};
use headcount::{Incarnation, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Sessions that have proven themselves and are remembered. Each takes about 3 KiB.
const SESSIONS_MAX: usize = 2048;
/// Sources that have a budget of their own for what is of no proven session.
const STRANGERS_MAX: usize = 1024;
const QUARANTINED_MAX: usize = 1024;
/// A cookie is good for one to two of these.
const COOKIE_SLOT: Duration = Duration::from_secs(10);
/// The same challenge and the same rejection go out this often at most.
const PACE: Duration = Duration::from_millis(50);
const PACED_MAX: usize = 1024;

/// What a core's security is made with. `Debug` shows none of it.
#[derive(Clone)]
pub(crate) struct Security {
    /// The cluster's name, which its keys are bound to.
    pub(crate) cluster: String,
    /// `None`: everything is in clear.
    pub(crate) keys: Option<Keys>,
    /// From the system's randomness; cookies and salts are made from it.
    pub(crate) secret: [u8; 32],
    pub(crate) budget: Budget,
}

impl Security {
    /// In clear.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn clear(seed: u64) -> Self {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        Self { cluster: String::new(), keys: None, secret, budget: Budget::default() }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// How many datagrams of a source are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// In the name of a proven session, and from its address.
    pub(crate) member: Allowance,
    /// From any address, otherwise.
    pub(crate) stranger: Allowance,
    /// From all addresses together, otherwise: an address is easily made up.
    pub(crate) strangers: Allowance,
}

/// One datagram every so often, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) every: Duration,
    pub(crate) burst: u32,
}

impl Default for Budget {
    fn default() -> Self {
        let allowance = |a_second: u32, burst| Allowance { every: Duration::from_secs(1) / a_second, burst };
        Self {
            member: allowance(30_000, 16_384),
            stranger: allowance(200, 200),
            strangers: allowance(5_000, 2_000),
        }
    }
}

/// A token bucket: the time until which its tokens are spent.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    spent_until: Time,
}

impl Bucket {
    fn take(&mut self, now: Time, allowance: Allowance) -> bool {
        let from = self.spent_until.max(now);
        let within = from - now < allowance.every.saturating_mul(allowance.burst);
        if within {
            self.spent_until = from + allowance.every;
        }
        within
    }
}

/// When something was last done to whom, so that it is not done too often.
#[derive(Debug, Default)]
struct Pace(BTreeMap<(SocketAddr, u64), Time>);

impl Pace {
    fn allows(&mut self, now: Time, addr: SocketAddr, session: u64) -> bool {
        if self.0.get(&(addr, session)).is_some_and(|&at| now < at + PACE) {
            return false;
        }
        if self.0.len() >= PACED_MAX {
            self.0.retain(|_, &mut at| now < at + PACE);
        }
        if self.0.len() >= PACED_MAX {
            self.0.pop_first();
        }
        self.0.insert((addr, session), now);
        true
    }
}

/// A session that has given back its cookie.
#[derive(Debug)]
struct Session {
    addr: SocketAddr,
    window: Window,
    /// The key that its last datagram was sealed with.
    key: Option<(u16, SenderKey)>,
    /// The epoch of its newest datagram.
    epoch: u16,
    /// A later session of its node is the one that counts.
    superseded: bool,
    heard: Time,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) keys: Option<KeyRing>,
    mint: Mint,
    budget: Budget,
    /// Budgets of addresses: of what comes in the name of a session that has proven itself there, and of what else comes.
    members: BTreeMap<SocketAddr, Bucket>,
    strangers: BTreeMap<SocketAddr, Bucket>,
    all_strangers: Bucket,
    sessions: BTreeMap<(NodeId, u64), Session>,
    challenges: Pace,
    rejections: Pace,
    /// Lives whose frames made this node stumble.
    quarantined: VecDeque<(NodeId, Incarnation)>,
    salts: u64,
    /// Frames of this node make it stumble.
    #[cfg(test)]
    pub(super) planted: Option<NodeId>,
    /// Whatever comes to that place does.
    #[cfg(test)]
    pub(super) stumbles_at: Option<&'static str>,
}

/// A datagram that is what it says.
#[derive(Debug)]
pub(super) struct Admitted<'b> {
    pub(super) header: Header,
    pub(super) body: &'b [u8],
    /// Its session has proven that it is alive and where it says.
    pub(super) proven: bool,
}

impl Gate {
    pub(super) fn new(security: &Security, me: SenderId) -> Self {
        let keys = security.keys.as_ref().map(|keys| KeyRing::new(security.cluster.clone(), keys, me));
        Self {
            keys,
            mint: Mint::new(&security.secret),
            budget: security.budget,
            members: BTreeMap::new(),
            strangers: BTreeMap::new(),
            all_strangers: Bucket::default(),
            sessions: BTreeMap::new(),
            challenges: Pace::default(),
            rejections: Pace::default(),
            quarantined: VecDeque::new(),
            salts: 0,
            #[cfg(test)]
            planted: None,
            #[cfg(test)]
            stumbles_at: None,
        }
    }

    /// Checks a datagram, in order; counts why it is refused. `None` for those, and for this node's own.
    pub(super) fn admit<'b>(
        &mut self,
        now: Time,
        (me, cluster): (SenderId, u32),
        from: SocketAddr,
        bytes: &'b [u8],
        room: &'b mut [u8; wire::DATAGRAM_ACCEPTED_MAX],
        stats: &mut NetStats,
    ) -> Option<Admitted<'b>> {
        let header = match wire::peek(bytes, cluster) {
            Ok(header) if (SenderId { node: header.node, session: header.session }) == me => {
                stats.echoes += 1;
                return None;
            }
            Ok(header) => Ok(header),
            Err(error) => Err(error),
        };
        stats.datagrams_received += 1;
        stats.bytes_received += bytes.len() as u64;
        let header = count(header, stats)?;
        if !self.affords(now, from, &header) {
            stats.over_budget += 1;
            return None;
        }
        let body = self.open(bytes, &header, room);
        let body = count(body, stats)?;
        let mut proven = false;
        if let Some(session) = self.sessions.get_mut(&(NodeId(header.node), header.session)) {
            proven = true;
            let arrival = session.window.take(header.packet);
            match if planted!(PacketsTwice) { Arrival::New } else { arrival } {
                Arrival::Newest => session.epoch = header.key_epoch,
                Arrival::New => {}
                Arrival::Seen if !session.superseded => {
                    stats.duplicates += 1;
                    return None;
                }
                Arrival::Seen | Arrival::Behind => {
                    stats.replayed += 1;
                    return None;
                }
            }
            session.heard = now;
        }
        Some(Admitted { header, body, proven })
    }

    /// Whether its source has something left. It is not opened yet, so the source may be made up: what comes from a member's address
    /// without naming the session that has proven itself there is a stranger's, and takes nothing from the member.
    fn affords(&mut self, now: Time, from: SocketAddr, header: &Header) -> bool {
        let named = self.sessions.get(&(NodeId(header.node), header.session));
        if named.is_some_and(|session| session.addr == from)
            && let Some(bucket) = self.members.get_mut(&from)
        {
            return bucket.take(now, self.budget.member);
        }
        if self.strangers.len() >= STRANGERS_MAX && !self.strangers.contains_key(&from) {
            // Those that have spent nothing lose nothing. If all have, all begin anew: the common budget holds.
            self.strangers.retain(|_, bucket| bucket.spent_until > now);
            if self.strangers.len() >= STRANGERS_MAX {
                self.strangers.clear();
            }
        }
        let bucket = self.strangers.entry(from).or_default();
        bucket.take(now, self.budget.stranger) && self.all_strangers.take(now, self.budget.strangers)
    }

    fn open<'b>(
        &mut self,
        bytes: &'b [u8],
        header: &Header,
        room: &'b mut [u8; wire::DATAGRAM_ACCEPTED_MAX],
    ) -> Result<&'b [u8], WireError> {
        let Some(keys) = &self.keys else {
            if header.suite != wire::SUITE_PLAIN {
                return Err(WireError::NoKey);
            }
            return wire::open(bytes, header.cluster).map(|(_, body)| body);
        };
        if header.suite != wire::SUITE_SEALED {
            return Err(WireError::NoKey);
        }
        let epoch = keys.get(header.key_epoch).ok_or(WireError::NoKey)?;
        let derive = || epoch.datagrams(SenderId { node: header.node, session: header.session });
        let Some(session) = self.sessions.get_mut(&(NodeId(header.node), header.session)) else {
            return wire::open_sealed(bytes, header, &derive(), room);
        };
        if let Some((of, key)) = &session.key
            && *of == header.key_epoch
        {
            return wire::open_sealed(bytes, header, key, room);
        }
        let key = derive();
        let opened = wire::open_sealed(bytes, header, &key, room);
        if opened.is_ok() {
            session.key = Some((header.key_epoch, key));
        }
        opened
    }

    /// A cookie for a session that is to prove itself, unless it was given one just now.
    pub(super) fn challenge(&mut self, now: Time, from: SocketAddr, of: SenderId) -> Option<[u8; SALT_LEN]> {
        let allowed = self.challenges.allows(now, from, of.session);
        allowed.then(|| self.mint.make(b"cookie", &[&cookie(from, of, slot(now))]))
    }

    /// Takes a cookie back; the session is proven if it is the one that it was given.
    pub(super) fn prove(
        &mut self,
        now: Time,
        from: SocketAddr,
        header: &Header,
        claimed: &[u8; SALT_LEN],
        is_member: impl Fn(NodeId, u64) -> bool,
    ) -> bool {
        let of = SenderId { node: header.node, session: header.session };
        let slot = slot(now);
        let good = [slot, slot.wrapping_sub(1)]
            .into_iter()
            .any(|slot| self.mint.made(b"cookie", &[&cookie(from, of, slot)], claimed));
        if !good {
            return false;
        }
        self.make_room(is_member);
        // What it has sent before this may be an old copy, and says nothing that it will not say again.
        let window = Window::after(header.packet);
        let (epoch, addr) = (header.key_epoch, from);
        let session = Session { addr, window, key: None, epoch, superseded: false, heard: now };
        self.sessions.insert((NodeId(of.node), of.session), session);
        // It begins anew: what it spent by the measure of strangers would keep it silent for a while by that of members.
        self.strangers.remove(&from);
        self.members.entry(from).or_default();
        true
    }

    /// Forgets the session that was silent for the longest, not a member's if there is another.
    fn make_room(&mut self, is_member: impl Fn(NodeId, u64) -> bool) {
        if self.sessions.len() < SESSIONS_MAX {
            return;
        }
        let oldest =
            self.sessions.iter().min_by_key(|(key, session)| (is_member(key.0, key.1), session.heard));
        if let Some(key) = oldest.map(|(&key, _)| key)
            && let Some(gone) = self.sessions.remove(&key)
            && self.sessions.values().all(|session| session.addr != gone.addr)
        {
            self.members.remove(&gone.addr);
        }
    }

    /// Of a node, this session counts from now on.
    pub(super) fn supersede_others(&mut self, node: NodeId, counts: u64) {
        for ((_, session), state) in self.sessions.range_mut((node, 0)..=(node, u64::MAX)) {
            state.superseded = *session != counts;
        }
    }

    /// Whether an answer to a life that is over may go out.
    pub(super) fn may_reject(&mut self, now: Time, addr: SocketAddr, session: u64) -> bool {
        self.rejections.allows(now, addr, session)
    }

    /// The epoch that a session seals with.
    pub(super) fn epoch_of(&self, node: NodeId, session: u64) -> Option<u16> {
        self.sessions.get(&(node, session)).map(|session| session.epoch)
    }

    /// 16 bytes that nobody has seen before or can foresee.
    pub(super) fn salt(&mut self) -> [u8; SALT_LEN] {
        self.salts += 1;
        self.mint.make(b"salt", &[&self.salts.to_le_bytes()])
    }

    #[cfg(test)]
    pub(super) fn stumble_at(&self, place: &str) {
        assert_ne!(self.stumbles_at, Some(place), "planted");
    }

    /// From now on nothing is taken from that life, nor from one that nothing was taken from before.
    pub(super) fn quarantine(&mut self, node: NodeId, life: Incarnation) {
        let life = self.quarantined_life(node).map_or(life, |before| before.max(life));
        self.quarantined.retain(|&(other, _)| other != node);
        if self.quarantined.len() == QUARANTINED_MAX {
            self.quarantined.pop_front();
        }
        self.quarantined.push_back((node, life));
    }

    /// The life of a node that nothing is taken from, nor from those before it.
    pub(super) fn quarantined_life(&self, node: NodeId) -> Option<Incarnation> {
        self.quarantined.iter().find(|&&(other, _)| other == node).map(|&(_, life)| life)
    }

    /// Whether a packet would pass for a proven session's.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn would_take(&self, node: NodeId, session: u64, packet: u64) -> bool {
        let session = self.sessions.get(&(node, session));
        session.is_some_and(|session| matches!(session.window.look(packet), Arrival::Newest | Arrival::New))
    }

    /// Whether a session has proven itself, and is remembered.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_proven(&self, node: NodeId, session: u64) -> bool {
        self.sessions.contains_key(&(node, session))
    }

    /// The first bound that is broken, in words.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn broken_bound(&self) -> Option<String> {
        let held =
            [self.sessions.len(), self.strangers.len(), self.challenges.0.len(), self.rejections.0.len()];
        let bounds = [SESSIONS_MAX, STRANGERS_MAX, PACED_MAX, PACED_MAX];
        let broken = held.iter().zip(bounds).any(|(&held, bound)| held > bound);
        (broken || self.members.len() > self.sessions.len()).then(|| format!("the gate holds {held:?}"))
    }
}

/// Counts why something was refused.
pub(super) fn count<T>(result: Result<T, WireError>, stats: &mut NetStats) -> Option<T> {
    match result {
        Ok(value) => return Some(value),
        Err(WireError::Version | WireError::Cluster | WireError::Suite) => stats.foreign += 1,
        Err(WireError::NoKey) => stats.no_key += 1,
        Err(WireError::Tag) => stats.auth_failed += 1,
        Err(_) => stats.malformed += 1,
    }
    None
}

fn slot(now: Time) -> u64 {
    now.as_secs() / COOKIE_SLOT.as_secs()
}

/// What a cookie is made over, in fixed lengths.
fn cookie(from: SocketAddr, of: SenderId, slot: u64) -> [u8; 38] {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 38];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..18].copy_from_slice(&from.port().to_le_bytes());
    bytes[18..22].copy_from_slice(&of.node.to_le_bytes());
    bytes[22..30].copy_from_slice(&of.session.to_le_bytes());
    bytes[30..].copy_from_slice(&slot.to_le_bytes());
    bytes
}
