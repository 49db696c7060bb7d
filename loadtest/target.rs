//! Where the load goes: an `http://` URL of a host and a port.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, anyhow};

/// The decision port of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// `host:port`, as the Host header says it.
    authority: String,
    /// The same, always with a port.
    address: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(authority) = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
            return Err("must begin with http://".to_owned());
        };
        let is_plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_')
        };
        if authority.is_empty() || !authority.bytes().all(is_plain) {
            return Err("must be http://HOST:PORT, without a path".to_owned());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority: authority.to_owned(), address })
    }
}

impl Target {
    /// For the Host header.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Looks the address up. Blocks.
    pub(crate) fn resolve(&self) -> anyhow::Result<SocketAddr> {
        self.address
            .to_socket_addrs()
            .with_context(|| format!("{} cannot be found", self.address))?
            .next()
            .ok_or_else(|| anyhow!("{} has no address", self.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, address) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://localhost:8080/", Some("localhost:8080")),
            ("http://tollgate", Some("tollgate:80")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("https://127.0.0.1", None),
            ("127.0.0.1:8080", None),
            ("http://", None),
            ("http://a/b", None),
            ("http://a\r\nX: y", None),
        ] {
            let actual = text.parse::<Target>().ok().map(|target| target.address);
            assert_eq!(actual.as_deref(), address, "{text}");
        }
    }
}
