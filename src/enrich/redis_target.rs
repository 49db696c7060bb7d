//! Where Redis is: the URL, read once, with credentials that never show up in a message.

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _};
use thiserror::Error;

use crate::enrich::redis_link::{CONNECT_TIMEOUT, REQUESTS_QUEUED_MAX};

/// Longest Redis URL, in bytes.
const URL_BYTES_MAX: usize = 4096;

/// Why a Redis URL is of no use. The URL itself is never repeated: it may hold a password.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the Redis URL cannot be used: {reason} (expected redis://[[user]:password@]host[:port][/database] \
     or redis+unix:///path/to/socket[?db=N&user=U&pass=P]; special characters in a password must be percent-encoded)"
)]
pub struct RedisUrlError {
    reason: String,
}

/// A Redis server, database and credentials.
#[derive(Clone)]
pub struct RedisTarget {
    client: Client,
    shown: Box<str>,
}

impl RedisTarget {
    /// Reads a URL; connects to nothing.
    pub fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let refuse = |reason: &str| RedisUrlError { reason: reason.to_owned() };
        if url.len() > URL_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        match url.split_once("://").map(|(scheme, _)| scheme) {
            None => return Err(refuse("it does not begin with a scheme such as redis://")),
            Some("rediss" | "valkeys") => return Err(refuse("TLS is not built in")),
            Some("redis" | "valkey" | "redis+unix" | "valkey+unix" | "unix") => {}
            Some(_) => return Err(refuse("its scheme is unknown")),
        }
        if redis::parse_redis_url(url).is_none() {
            return Err(refuse("it is not a well-formed URL"));
        }
        // Without `nodelay`, the requests of one transaction would wait for the acknowledgement of another's.
        let client = url
            .into_connection_info()
            .map(|info| info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
            .and_then(Client::open)
            .map_err(|error| refuse(fixed_reason(&error)))?;
        let info = client.get_connection_info();
        let database = info.redis_settings().db();
        let shown = match info.addr() {
            ConnectionAddr::Tcp(host, port) if host.contains(':') => {
                format!("redis://[{host}]:{port}/{database}")
            }
            ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
            ConnectionAddr::Unix(path) => format!("redis+unix://{}?db={database}", path.display()),
            _ => return Err(refuse("its kind of address is not built in")),
        };
        Ok(Self { client, shown: shown.into() })
    }

    /// Opens a connection: transport, credentials, database.
    pub(super) async fn connect(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        // Each fetch brings its own timeout, so that the crate's would only be a second timer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(REQUESTS_QUEUED_MAX);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

/// What the client found wrong, out of a fixed list: its own message may repeat a part of the URL.
fn fixed_reason(error: &redis::RedisError) -> &'static str {
    const REASONS: [&str; 7] = [
        "Missing hostname",
        "Missing path",
        "Invalid database number",
        "Invalid protocol version",
        "Username is not valid UTF-8 string",
        "Password is not valid UTF-8 string",
        "Cannot connect to a wildcard address",
    ];
    let text = error.to_string();
    REASONS.into_iter().find(|reason| text.contains(reason)).unwrap_or("it was not understood")
}

impl fmt::Display for RedisTarget {
    /// The URL without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisTarget({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_shows_where_but_not_the_credentials() {
        let cases = [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:hunter2@10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("redis://app:hunter2@[::1]:7000", "redis://[::1]:7000/0"),
            ("redis+unix:///run/redis.sock?db=2&user=app&pass=hunter2", "redis+unix:///run/redis.sock?db=2"),
        ];
        for (url, shown) in cases {
            let target = RedisTarget::parse(url).unwrap();
            assert_eq!(target.to_string(), shown);
            assert!(!format!("{target:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_wrong_url_is_explained_without_repeating_it() {
        let cases = [
            ("", "scheme"),
            ("localhost:6379", "scheme"),
            ("http://:hunter2@localhost", "scheme is unknown"),
            ("rediss://:hunter2@localhost", "TLS is not built in"),
            ("redis://:hunter2@localhost:notaport", "well-formed"),
            ("redis://:hunter2@localhost/hunter2", "Invalid database number"),
            ("redis://:hunter2@localhost/?protocol=hunter2", "Invalid protocol version"),
            ("redis://:hunter2@", "well-formed"),
            ("redis://:hunter2@0.0.0.0", "wildcard address"),
        ];
        for (url, expected) in cases {
            let error = RedisTarget::parse(url).unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(RedisTarget::parse(&format!("redis://{}", "x".repeat(URL_BYTES_MAX))).is_err());
    }
}
