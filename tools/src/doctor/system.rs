//! What only the system knows: limits of its network buffers, huge pages, groups that were joined, bridges.

use serde::Serialize;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// See the module's documentation. `None` for what it does not tell: it is not Linux, or this user may not ask.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct System {
    /// The most that a socket may ask for, in bytes.
    pub(crate) receive_buffer_max: Option<u64>,
    /// `always`, `madvise` or `never`.
    pub(crate) huge_pages: Option<String>,
    /// Bytes of the process's memory that are huge pages.
    pub(crate) huge_bytes: Option<u64>,
    /// False if the process, or one that started it, forbade huge pages.
    pub(crate) huge_allowed: Option<bool>,
    /// The groups that were joined on the network that the process is in.
    pub(crate) groups: Option<Vec<IpAddr>>,
    pub(crate) bridges: Vec<Bridge>,
}

/// A bridge of this machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    /// It passes a group on only where somebody is known to have joined it.
    pub(crate) snoops: bool,
    /// It asks who has joined, as long as nobody else does.
    pub(crate) queries: bool,
}

impl System {
    pub(crate) fn of(pid: u32) -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let process = |file: &str| read(&format!("/proc/{pid}/{file}"));
        let groups = process("net/igmp").map(|four| {
            let six = process("net/igmp6").unwrap_or_default();
            let four = groups_of_igmp(&four).into_iter().map(IpAddr::V4);
            four.chain(groups_of_igmp6(&six).into_iter().map(IpAddr::V6)).collect()
        });
        Self {
            receive_buffer_max: read("/proc/sys/net/core/rmem_max").and_then(|text| text.trim().parse().ok()),
            huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
            huge_bytes: process("smaps_rollup").and_then(|text| kib(&text, "AnonHugePages:")),
            huge_allowed: process("status").and_then(|text| field(&text, "THP_enabled:").map(|n| n == 1)),
            groups,
            bridges: bridges(Path::new("/sys/class/net")),
        }
    }
}

/// `madvise` of `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(chosen, _)| chosen.to_owned())
}

/// The number behind a name, at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name).map(|kib| kib * 1024)
}

/// Each group is a line that begins with its address in hexadecimal, as the machine has it in memory.
fn groups_of_igmp(text: &str) -> Vec<Ipv4Addr> {
    let groups = text.lines().filter(|line| line.starts_with('\t'));
    let hex = groups.filter_map(|line| u32::from_str_radix(line.split_whitespace().next()?, 16).ok());
    hex.map(|word| Ipv4Addr::from(word.to_ne_bytes())).collect()
}

/// Each line: the interface's number and name, the address in hexadecimal, and more.
fn groups_of_igmp6(text: &str) -> Vec<Ipv6Addr> {
    let hex = text.lines().filter_map(|line| u128::from_str_radix(line.split_whitespace().nth(2)?, 16).ok());
    hex.map(Ipv6Addr::from_bits).collect()
}

fn bridges(class: &Path) -> Vec<Bridge> {
    let Ok(interfaces) = fs::read_dir(class) else { return Vec::new() };
    let mut bridges: Vec<_> = interfaces
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let set = |name: &str| {
                let text = fs::read_to_string(entry.path().join("bridge").join(name)).ok()?;
                Some(text.trim() == "1")
            };
            Some(Bridge {
                name: entry.file_name().to_string_lossy().into_owned(),
                snoops: set("multicast_snooping")?,
                queries: set("multicast_querier")?,
            })
        })
        .collect();
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    bridges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen("unheard of"), None);
        let rollup = "5599-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 1640 kB\nAnonHugePages:      4096 kB\n";
        assert_eq!(kib(rollup, "AnonHugePages:"), Some(4 << 20));
        assert_eq!(field("Name:\tx\nTHP_enabled:\t0\n", "THP_enabled:"), Some(0));
        assert_eq!(field("Name:\tx\n", "THP_enabled:"), None);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn groups_are_found_among_the_interfaces() {
        let igmp = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     2      V3\n\
                    \t\t\t\t4646FFEF     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
        let groups = [[239, 255, 70, 70], [224, 0, 0, 1]].map(Ipv4Addr::from);
        assert_eq!(groups_of_igmp(igmp), groups);
        let igmp6 = "1    lo              ff150000000000000000000000000001     1 0000000C 0\n";
        assert_eq!(groups_of_igmp6(igmp6), ["ff15::1".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn bridges_are_told_from_other_interfaces() {
        let class = std::env::temp_dir().join(format!("headcount-bridges-{}", std::process::id()));
        let bridge = class.join("br0/bridge");
        fs::create_dir_all(&bridge).unwrap();
        fs::create_dir_all(class.join("eth0")).unwrap();
        fs::write(bridge.join("multicast_snooping"), "1\n").unwrap();
        fs::write(bridge.join("multicast_querier"), "0\n").unwrap();
        let found = bridges(&class);
        fs::remove_dir_all(&class).unwrap();
        assert_eq!(found, [Bridge { name: "br0".into(), snoops: true, queries: false }]);
    }
}
