//! What sort of address an address is: one of the open Internet, or of a block that is kept for something else.
//!
//! The blocks are those of the IANA special-purpose registries (RFC 6890 and its updates) that are not globally reachable, and of the
//! registries of multicast addresses. An address of one of them has no country, no operator and no reputation, whoever sends it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What sort of address it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpKind {
    /// Of the open Internet.
    Public,
    /// Of a private network: RFC 1918, and unique local addresses of RFC 4193.
    Private,
    /// Behind a carrier's translation: RFC 6598.
    CarrierNat,
    /// The machine itself: RFC 1122, RFC 4291.
    Loopback,
    /// Of one link: RFC 3927, RFC 4291.
    LinkLocal,
    /// For documents: RFC 5737, RFC 3849, RFC 9637.
    Documentation,
    /// For measuring devices: RFC 2544, RFC 5180.
    Benchmarking,
    /// For many receivers: RFC 5771, RFC 4291.
    Multicast,
    /// Kept for protocols or for later, and the unspecified and the broadcast address.
    Reserved,
}

/// A block of version 4: its first address, the length of its prefix, and what it is for.
type Block4 = (Ipv4Addr, u32, IpKind);
/// A block of version 6.
type Block6 = (Ipv6Addr, u32, IpKind);

/// Blocks inside others stand first.
const BLOCKS_4: [Block4; 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, IpKind::Reserved), // this network, RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8, IpKind::Private), // RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10, IpKind::CarrierNat), // RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8, IpKind::Loopback), // RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16, IpKind::LinkLocal), // RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12, IpKind::Private), // RFC 1918
    (Ipv4Addr::new(192, 0, 0, 9), 32, IpKind::Public), // port control anycast, RFC 7723: globally reachable
    (Ipv4Addr::new(192, 0, 0, 10), 32, IpKind::Public), // TURN anycast, RFC 8155: globally reachable
    (Ipv4Addr::new(192, 0, 0, 0), 24, IpKind::Reserved), // protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24, IpKind::Documentation), // TEST-NET-1, RFC 5737
    (Ipv4Addr::new(192, 168, 0, 0), 16, IpKind::Private), // RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15, IpKind::Benchmarking), // RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24, IpKind::Documentation), // TEST-NET-2, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, IpKind::Documentation), // TEST-NET-3, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4, IpKind::Multicast), // RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4, IpKind::Reserved), // RFC 1112, with broadcast, RFC 919
];

/// Blocks inside others stand first.
const BLOCKS_6: [Block6; 21] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 1), 128, IpKind::Loopback), // RFC 4291
    (Ipv6Addr::UNSPECIFIED, 128, IpKind::Reserved),                 // RFC 4291
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, IpKind::Reserved), // local translation, RFC 8215
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, IpKind::Reserved), // discard only, RFC 6666
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, IpKind::Benchmarking), // RFC 5180
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, IpKind::Public), // Teredo, RFC 4380: left to the files
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, IpKind::Public), // port control anycast, RFC 7723
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, IpKind::Public), // TURN anycast, RFC 8155
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, IpKind::Public), // DNS-SD anycast, RFC 9665
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32, IpKind::Public), // AMT, RFC 7450
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48, IpKind::Public), // AS112, RFC 7535
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28, IpKind::Public), // ORCHIDv2, RFC 7343
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28, IpKind::Public), // drone ids, RFC 9374
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, IpKind::Reserved), // protocol assignments, RFC 2928
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, IpKind::Documentation), // RFC 3849
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, IpKind::Documentation), // RFC 9637
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, IpKind::Reserved), // segment routing, RFC 9602
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, IpKind::Private), // RFC 4193
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, IpKind::LinkLocal), // RFC 4291
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, IpKind::Private), // site local, RFC 3879: out of use
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, IpKind::Multicast), // RFC 4291
];

impl IpKind {
    /// What sort of address it is. An IPv4-mapped IPv6 address is the IPv4 address that it stands for.
    pub fn of(address: IpAddr) -> Self {
        let found = match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                let holds = |(first, length, _): &&Block4| (bits ^ first.to_bits()) >> (32 - length) == 0;
                BLOCKS_4.iter().find(holds).map(|(_, _, kind)| *kind)
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                let holds = |(first, length, _): &&Block6| (bits ^ first.to_bits()) >> (128 - length) == 0;
                BLOCKS_6.iter().find(holds).map(|(_, _, kind)| *kind)
            }
        };
        found.unwrap_or(Self::Public)
    }

    /// Whether it is none of the open Internet.
    pub const fn is_reserved(self) -> bool {
        !matches!(self, Self::Public)
    }

    /// Its name, as rules and records write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::CarrierNat => "carrier_nat",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_begins_and_ends_where_its_registry_says() {
        let facts = [
            ("0.0.0.0", "reserved"),
            ("0.255.255.255", "reserved"),
            ("1.0.0.0", "public"),
            ("9.255.255.255", "public"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.63.255.255", "public"),
            ("100.64.0.0", "carrier_nat"),
            ("100.127.255.255", "carrier_nat"),
            ("100.128.0.0", "public"),
            ("127.0.0.1", "loopback"),
            ("169.254.169.254", "link_local"),
            ("172.15.255.255", "public"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", "public"),
            ("192.0.0.8", "reserved"),
            ("192.0.0.9", "public"),
            ("192.0.2.255", "documentation"),
            ("192.168.1.1", "private"),
            ("198.17.255.255", "public"),
            ("198.19.255.255", "benchmarking"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.7", "documentation"),
            ("223.255.255.255", "public"),
            ("224.0.0.1", "multicast"),
            ("240.0.0.0", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "reserved"),
            ("::1", "loopback"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:8.8.8.8", "public"),
            ("64:ff9b::808:808", "public"),
            ("64:ff9b:1::1", "reserved"),
            ("100::1", "reserved"),
            ("2001:2::1", "benchmarking"),
            ("2001::1", "public"),
            ("2001:1::1", "public"),
            ("2001:1::4", "reserved"),
            ("2001:5::1", "reserved"),
            ("2001:1ff::1", "reserved"),
            ("2001:200::1", "public"),
            ("2001:db8::1", "documentation"),
            ("2001:4860:4860::8888", "public"),
            ("3fff:fff:ffff::1", "documentation"),
            ("3fff:1000::1", "public"),
            ("5f00::1", "reserved"),
            ("fbff::1", "public"),
            ("fc00::1", "private"),
            ("fdff::1", "private"),
            ("fe80::1", "link_local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ];
        for (address, expected) in facts {
            let kind = IpKind::of(address.parse().unwrap());
            assert_eq!(kind.name(), expected, "{address}");
            assert_eq!(kind.is_reserved(), expected != "public", "{address}");
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{expected}\""));
        }
    }
}
