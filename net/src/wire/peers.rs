//! Where other nodes are reached, told from node to node when there is no multicast group to find them on.

use super::WireError;
use super::frame::{PEERS, put_frame};
use super::varint::{Reader, put_list};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V4: u8 = 4;
const V6: u8 = 6;
/// Family, address, port.
const ADDR_LEN_MIN: usize = 7;

/// Addresses of members that the sender hears. They say nothing about who is there: whoever is told them asks there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    /// Each is one that [`can_be_told`].
    pub(crate) addrs: Vec<SocketAddr>,
}

/// Whether an address means the same to every node: of one machine, and not only on one link.
pub(crate) fn can_be_told(addr: &SocketAddr) -> bool {
    let ip_is_usable = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let ip = addr.ip();
    ip_is_usable && !ip.is_unspecified() && !ip.is_multicast() && addr.port() != 0
}

impl Peers {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_frame(out, PEERS, |out| {
            put_list(out, &self.addrs, |out, addr| {
                match addr.ip() {
                    IpAddr::V4(ip) => {
                        out.push(V4);
                        out.extend_from_slice(&ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        out.push(V6);
                        out.extend_from_slice(&ip.octets());
                    }
                }
                out.extend_from_slice(&addr.port().to_le_bytes());
            });
        });
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body);
        let addrs = reader.list(ADDR_LEN_MIN, |reader| {
            let ip = match reader.u8()? {
                V4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)),
                V6 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)),
                _ => return Err(WireError::Range),
            };
            let addr = SocketAddr::new(ip, reader.u16()?);
            if can_be_told(&addr) { Ok(addr) } else { Err(WireError::Range) }
        })?;
        reader.finish()?;
        Ok(Self { addrs })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::frame::Frame;
    use crate::wire::frame::tests::{decoded, put_all};
    use proptest::collection::vec;
    use proptest::prelude::*;

    pub(in super::super) fn any_peers() -> impl Strategy<Value = Peers> {
        let v4 = any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddr::from((Ipv4Addr::from(ip), port)));
        let v6 = any::<(u128, u16)>().prop_map(|(ip, port)| SocketAddr::from((Ipv6Addr::from(ip), port)));
        let addr = prop_oneof![v4, v6].prop_filter("not of one machine", can_be_told);
        vec(addr, 0..12).prop_map(|addrs| Peers { addrs })
    }

    #[test]
    fn peers_bytes_are_as_the_table_says() {
        let addrs = vec!["10.1.2.3:7071".parse().unwrap(), "[2001:db8::5]:7072".parse().unwrap()];
        let body = put_all(&[Frame::Peers(Peers { addrs })]);
        let mut expected = vec![11, 27, 2, 4, 10, 1, 2, 3, 0x9F, 0x1B, 6, 0x20, 0x01, 0x0d, 0xb8];
        expected.extend_from_slice(&[0; 11]);
        expected.extend_from_slice(&[5, 0xA0, 0x1B]);
        assert_eq!(body, expected);
    }

    #[test]
    fn an_address_that_is_no_machines_is_refused() {
        for bad in [
            "0.0.0.0:1",
            "239.255.1.1:7070",
            "255.255.255.255:9",
            "10.0.0.1:0",
            "[::]:1",
            "[ff15::1]:5",
            "[fe80::1]:5",
        ] {
            let body = put_all(&[Frame::Peers(Peers { addrs: vec![bad.parse().unwrap()] })]);
            assert_eq!(decoded(&body), Err(WireError::Range), "{bad}");
        }
        assert_eq!(decoded(&[11, 8, 1, 5, 10, 0, 0, 1, 1, 1]), Err(WireError::Range), "family 5");
    }
}
