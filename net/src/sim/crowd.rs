//! One real node that hears a crowd of others, for benches and tests of what many members cost it. The others are no nodes: they only
//! say that they are there.

use crate::core::{Core, Input, MemberState, Output, Settings, Time};
use crate::wire;
use headcount::{Incarnation, NodeId, Tracker};
use std::net::SocketAddr;
use std::time::Duration;

const CLUSTER: u32 = 7;
/// Until the node is live.
const BEGIN: Duration = Duration::from_millis(400);

/// See the module's documentation.
#[derive(Debug)]
pub struct Crowd {
    core: Core,
    others: Vec<Other>,
    output: Output,
    longest: usize,
    now: Time,
}

/// One of the others: what it is called, and the body of its heartbeat.
#[derive(Debug)]
struct Other {
    from: SocketAddr,
    node: u32,
    session: u64,
    packet: u64,
    heartbeat: Vec<u8>,
}

impl Crowd {
    /// A node that knows so many others, each with so many lanes (1 to 256), all of them empty.
    #[must_use]
    pub fn new(members: u16, lanes: u16) -> Self {
        let settings = Settings::plain(CLUSTER, "listener", 1);
        let core = Core::new(settings, &Tracker::new(), Time::ZERO);
        let mut crowd =
            Self { core, others: Vec::new(), output: Output::default(), longest: 0, now: Time::ZERO };
        crowd.take(Time::ZERO, Input::Turn);
        crowd.take(BEGIN, Input::Turn);
        for member in 0..members {
            let name = format!("member-{member}");
            let node = NodeId::from_name(&name).0;
            let incarnation = Incarnation { epoch: 1, nonce: member.into() }.to_u64();
            let mut hello = Vec::new();
            wire::Hello {
                flags: 0,
                incarnation,
                target_node: 0,
                target_known: 0,
                lanes,
                tcp_port: 1,
                wire_min: wire::WIRE_VERSION,
                wire_max: wire::WIRE_VERSION,
                name: &name,
            }
            .put(&mut hello);
            let (mut heartbeat, mut clocks) = (Vec::new(), Vec::new());
            (0..lanes).for_each(|lane| clocks.push((lane, 0)));
            wire::Heartbeat { seq: 1, incarnation, lanes, clocks, ..wire::Heartbeat::default() }
                .put(&mut heartbeat);
            let from = SocketAddr::from(([10, 0, 0, 1], 10_000 + member));
            let session = u64::from(node) << 32 | u64::from(member);
            let mut proof = Vec::new();
            let cookie = crowd.core.cookie_for(BEGIN, from, NodeId(node), session);
            wire::Proof { cookie }.put(&mut proof);
            crowd.others.push(Other { from, node, session, packet: 0, heartbeat });
            let number = crowd.others.len() - 1;
            crowd.say(BEGIN, number, &proof);
            crowd.say(BEGIN, number, &hello);
        }
        crowd
    }

    /// The node hears a datagram of one of the others.
    fn say(&mut self, now: Time, number: usize, body: &[u8]) {
        let other = &mut self.others[number];
        other.packet += 1;
        let bytes = seal(other.node, other.session, other.packet, body);
        let from = other.from;
        self.take(now, Input::Datagram { from, bytes: &bytes, by_group: true });
    }

    /// The node hears a heartbeat of one of the others, so long after the beginning, which never goes back. What was due before is done
    /// before.
    pub fn hear(&mut self, after: Duration, member: usize) {
        let now = BEGIN + after;
        loop {
            let due = self.core.wake_at(self.now).max(self.now);
            if due >= now {
                break;
            }
            // Not all of it at one moment: time passes for who is never content.
            self.take(due + Duration::from_micros(10), Input::Turn);
        }
        self.now = self.now.max(now);
        let heartbeat = std::mem::take(&mut self.others[member].heartbeat);
        self.say(self.now, member, &heartbeat);
        self.others[member].heartbeat = heartbeat;
    }

    /// Members known, and how many of them are down.
    #[must_use]
    pub fn members(&self) -> (usize, usize) {
        let members = self.core.members();
        let down = members.iter().filter(|member| member.state == MemberState::Down).count();
        (members.len(), down)
    }

    /// The longest datagram that the node has sent, in bytes.
    #[must_use]
    pub fn longest_sent(&self) -> usize {
        self.longest
    }

    fn take(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        self.core.handle(now, input, &mut self.output);
        self.drain();
    }

    fn drain(&mut self) {
        self.output.streams.clear();
        for (_, bytes) in self.output.datagrams.drain(..) {
            self.longest = self.longest.max(bytes.len());
        }
    }
}

fn seal(node: u32, session: u64, packet: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::begin(
        &mut bytes,
        &wire::Header { suite: 0, cluster: CLUSTER, key_epoch: 0, node, session, packet },
    );
    bytes.extend_from_slice(body);
    wire::finish(&mut bytes);
    bytes
}
