//! What a node's link does to what arrives: loss, cuts, and what passed.
//!
//! Rules of nftables drop datagrams as they arrive, in the receiver's namespace: each receiver of a multicast loses its own
//! share of it, and a link can be cut one way. `numgen random` draws from the kernel's generator, which takes no seed, so two
//! runs lose different datagrams; what was dropped is counted.

use super::netns::Namespace;
use crate::failure::Failure;
use serde::Serialize;
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Sub;

/// Cuts come before losses, so that what is counted as lost would have arrived.
const RULES: &str = r#"
table inet chaos {
  counter lost { }
  counter cut { }
  chain cuts { }
  chain losses { }
  chain arriving {
    type filter hook input priority 0; policy accept;
    iifname "eth0" jump cuts
    iifname "eth0" jump losses
  }
}
"#;

/// The link of one node.
#[derive(Debug)]
pub(crate) struct Link {
    namespace: Namespace,
}

/// What passed a link since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Traffic {
    /// Ethernet frames, their headers included.
    pub(crate) sent_bytes: u64,
    pub(crate) sent_packets: u64,
    pub(crate) received_bytes: u64,
    pub(crate) received_packets: u64,
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
            sent_packets: self.sent_packets.saturating_sub(before.sent_packets),
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
            received_packets: self.received_packets.saturating_sub(before.received_packets),
        }
    }
}

impl Link {
    /// The link of the node in this namespace, whole.
    pub(crate) fn new(namespace: Namespace) -> Result<Self, Failure> {
        let link = Self { namespace };
        link.rules(RULES)?;
        Ok(link)
    }

    /// Loses so much of what arrives from now on; 0 ends it.
    pub(crate) fn lose(&self, percent: u32) -> Result<(), Failure> {
        let mut rules = String::from("flush chain inet chaos losses\n");
        if percent > 0 {
            rules += &format!(
                "add rule inet chaos losses numgen random mod 100 < {percent} counter name lost drop\n"
            );
        }
        self.rules(&rules)
    }

    /// Nothing arrives from `source` any more.
    pub(crate) fn cut(&self, source: Ipv4Addr) -> Result<(), Failure> {
        self.rules(&format!("add rule inet chaos cuts ip saddr {source} counter name cut drop\n"))
    }

    /// Ends all cuts.
    pub(crate) fn mend(&self) -> Result<(), Failure> {
        self.rules("flush chain inet chaos cuts\n")
    }

    /// Packets dropped so far, by loss and by cuts.
    pub(crate) fn dropped(&self) -> Result<Dropped, Failure> {
        let text = self.namespace.exec("nft -j list counters table inet chaos", "")?;
        Dropped::parse(&text).ok_or_else(|| Failure::other("nft does not tell its counters"))
    }

    /// Delays, reorders and duplicates what is sent, if the kernel has netem; the reason if not.
    pub(crate) fn disturb(&self) -> Result<(), Failure> {
        let netem = "tc qdisc add dev eth0 root netem delay 20ms 10ms reorder 25% 50% duplicate 5%";
        self.namespace.exec(netem, "").map(drop)
    }

    /// What passed so far.
    pub(crate) fn traffic(&self) -> Result<Traffic, Failure> {
        self.namespace.inside(|| {
            let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
            Traffic::parse(&text).ok_or_else(|| Failure::other("/proc does not tell what passed eth0"))
        })
    }

    /// Datagrams that the kernel had for a socket and no room in its buffer, so far.
    pub(crate) fn overflows(&self) -> Result<u64, Failure> {
        self.namespace.inside(|| {
            let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
            parse_overflows(&text).ok_or_else(|| Failure::other("/proc does not tell what UDP lost"))
        })
    }

    fn rules(&self, rules: &str) -> Result<(), Failure> {
        self.namespace.exec("nft -f -", rules).map(drop)
    }
}

/// Packets dropped by rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) lost: u64,
    pub(crate) cut: u64,
}

impl Dropped {
    fn parse(text: &str) -> Option<Self> {
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        let counters = json["nftables"].as_array()?;
        let packets = |name: &str| {
            let counter = counters.iter().find(|item| item["counter"]["name"] == name)?;
            counter["counter"]["packets"].as_u64()
        };
        Some(Self { lost: packets("lost")?, cut: packets("cut")? })
    }
}

impl Traffic {
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:"))?;
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        Some(Self {
            received_bytes: *fields.first()?,
            received_packets: *fields.get(1)?,
            sent_bytes: *fields.get(8)?,
            sent_packets: *fields.get(9)?,
        })
    }
}

/// From the two lines `Udp:`, names and numbers.
fn parse_overflows(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "RcvbufErrors")?;
    numbers.split(' ').nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_read_from_the_right_columns() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets ...\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
                    eth0: 5000 40 0 1 0 0 0 30 7000 60 0 0 0 0 0 0\n";
        let traffic =
            Traffic { sent_bytes: 7000, sent_packets: 60, received_bytes: 5000, received_packets: 40 };
        assert_eq!(Traffic::parse(text), Some(traffic));
        assert_eq!(traffic - traffic, Traffic::default());
        assert_eq!(Traffic::parse("lo: 1 2 3"), None);
    }

    #[test]
    fn overflows_are_found_by_name() {
        let text = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
                    Udp: 10 2 3 4 77 6\nUdpLite: InDatagrams\nUdpLite: 0\n";
        assert_eq!(parse_overflows(text), Some(77));
        assert_eq!(parse_overflows("Tcp: A\nTcp: 1\n"), None);
    }

    #[test]
    fn dropped_packets_are_read_from_what_nft_lists() {
        let text = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"name": "lost", "packets": 12, "bytes": 100}},
            {"counter": {"name": "cut", "packets": 3, "bytes": 100}}]}"#;
        assert_eq!(Dropped::parse(text), Some(Dropped { lost: 12, cut: 3 }));
        assert_eq!(Dropped::parse(r#"{"nftables": []}"#), None);
    }
}
