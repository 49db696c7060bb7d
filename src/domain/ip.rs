//! An Internet address with its canonical text, so that one address has one spelling.

use std::net::IpAddr;

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (`::ffff:203.0.113.7`) is the IPv4 address that it stands for.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct IpAddress {
    address: IpAddr,
    text: Box<str>,
}

impl IpAddress {
    /// Reads an address; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let address = text.parse::<IpAddr>().ok()?.to_canonical();
        Some(Self { address, text: address.to_string().into() })
    }

    /// The address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The canonical text (RFC 5952 for IPv6).
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_one_spelling() {
        let canonical = |text| IpAddress::parse(text).map(|ip| ip.as_str().to_owned());
        assert_eq!(canonical("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(canonical("::ffff:203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(canonical("2001:DB8:0:0::1").as_deref(), Some("2001:db8::1"));
        assert_eq!(canonical("203.0.113"), None);
    }
}
