//! Internet addresses that belong to nobody, laid out so that an address has a country and a kind.
//!
//! | range | kind | layout |
//! |---|---|---|
//! | `10.0.0.0/8` (RFC 1918) | homes, offices, hotels | eight /16 per country |
//! | `100.64.0.0/10` (RFC 6598) | mobile carriers: few addresses, many customers | two /16 per country |
//! | `172.16.0.0/12` (RFC 1918) | data centres: VPNs, proxies, scripts | one /20 per country |
//! | `2001:db8::/32` (RFC 3849) | homes with IPv6 | one /48 per country |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::simulate::catalogue::COUNTRIES;
use crate::simulate::draw::Draw;

/// Addresses that the mobile carriers of one country share among all their customers.
const CARRIER_ADDRESSES: u64 = 600;
/// Addresses that the data centres of one country offer.
const DATA_CENTRE_ADDRESSES: u64 = 400;

/// An address of a home in that country.
pub(crate) fn home(country: u8, ipv6_share: f64, draw: &mut Draw) -> IpAddr {
    if draw.chance(ipv6_share) {
        let site = draw.word();
        let [.., high_subnet, low_subnet] = site.to_be_bytes();
        let subnet = u16::from_be_bytes([high_subnet, low_subnet]);
        let host = draw.word().to_be_bytes();
        let pair = |at: usize| u16::from_be_bytes([host[at], host[at + 1]]);
        return Ipv6Addr::new(0x2001, 0xdb8, u16::from(country), subnet, pair(0), pair(2), pair(4), pair(6))
            .into();
    }
    fixed(country, draw.below(7 << 16))
}

/// An address of an office or hotel in that country, by its number there; one number is one address.
pub(crate) fn office(country: u8, number: u64) -> IpAddr {
    fixed(country, (7 << 16) + number % (1 << 16))
}

/// One of the few addresses of the mobile carriers in that country.
pub(crate) fn mobile(country: u8, draw: &mut Draw) -> IpAddr {
    let offset = (u64::from(country) << 17) + draw.below(CARRIER_ADDRESSES) * 37;
    v4(Ipv4Addr::new(100, 64, 0, 0), offset)
}

/// An address of a data centre in that country.
pub(crate) fn data_centre(country: u8, draw: &mut Draw) -> IpAddr {
    v4(Ipv4Addr::new(172, 16, 0, 0), (u64::from(country) << 12) + draw.below(DATA_CENTRE_ADDRESSES) * 7)
}

/// An address of a home or phone in that country, as hired proxies offer them.
pub(crate) fn proxy(country: u8, draw: &mut Draw) -> IpAddr {
    if draw.chance(0.4) { mobile(country, draw) } else { home(country, 0.15, draw) }
}

/// Some country's position, by its share of customers being ignored: attackers hire proxies anywhere.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256 countries")]
pub(crate) fn any_country(draw: &mut Draw) -> u8 {
    draw.position(COUNTRIES.len()) as u8
}

fn fixed(country: u8, offset: u64) -> IpAddr {
    v4(Ipv4Addr::new(10, 0, 0, 0), (u64::from(country) << 19) + offset)
}

#[expect(clippy::cast_possible_truncation, reason = "offsets are below 2^24")]
fn v4(base: Ipv4Addr, offset: u64) -> IpAddr {
    Ipv4Addr::from_bits(base.to_bits().wrapping_add(offset as u32)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_lies_in_a_range_that_names_no_host() {
        let mut draw = Draw::new(3, 0);
        for _ in 0..20_000 {
            let country = any_country(&mut draw);
            let number = draw.word();
            let addresses = [
                home(country, 0.5, &mut draw),
                office(country, number),
                mobile(country, &mut draw),
                data_centre(country, &mut draw),
            ];
            for address in addresses {
                let is_nobodys = match address {
                    IpAddr::V4(v4) => {
                        v4.is_private() || (v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]))
                    }
                    IpAddr::V6(v6) => v6.segments()[..2] == [0x2001, 0xdb8],
                };
                assert!(is_nobodys, "{address}");
            }
        }
    }
}
