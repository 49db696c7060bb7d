//! Which Redis is meant: a URL read once, with credentials that never show up in a message.
//!
//! - `redis://[[user]:password@]host[:port][/database]`, `rediss://…` by TLS, `redis+unix:///path[?db=N&user=U&pass=P]`
//! - `redis+sentinel://[[user]:password@]host[:port],host[:port]…/master-name[/database]`: the hosts are Sentinels, the
//!   credentials are those of the master; `rediss+sentinel` uses TLS for both
//! - `redis+cluster://[[user]:password@]host[:port],host[:port]…`, `rediss+cluster://…`

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};
use thiserror::Error;

/// Longest Redis URL, in bytes.
pub const URL_BYTES_MAX: usize = 4096;
/// Most Sentinels, or nodes of a cluster, that a URL may name.
pub const HOSTS_MAX: usize = 64;
/// The port of a Sentinel whose URL names none.
const SENTINEL_PORT: &str = "26379";

/// Why a Redis URL is of no use. The URL itself is never repeated: it may hold a password.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the Redis URL cannot be used: {reason} (expected redis://[[user]:password@]host[:port][/database], rediss:// for TLS, \
     redis+sentinel://host,host/master-name, redis+cluster://host,host or redis+unix:///path/to/socket[?db=N&user=U&pass=P]; \
     special characters in a password must be percent-encoded)"
)]
pub struct RedisUrlError {
    reason: String,
}

impl RedisUrlError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Credentials and certificates beside the URL; what is here wins over the URL.
#[derive(Clone, Default)]
pub struct RedisAccess {
    /// The user of the server's ACL.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// The user of the Sentinels, where they ask for one.
    pub sentinel_username: Option<String>,
    /// Its password.
    pub sentinel_password: Option<String>,
    /// Authorities that the server's certificate may be signed by, in PEM; none: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's own certificate and key, in PEM, where the server asks for one.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for RedisAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAccess").finish_non_exhaustive()
    }
}

/// What the URL names.
#[derive(Clone)]
pub(super) enum Place {
    /// One server.
    Single(Box<ConnectionInfo>),
    /// The master that Sentinels know by a name.
    Sentinel { sentinels: Vec<ConnectionAddr>, master: String, redis: RedisConnectionInfo },
    /// A cluster, by some of its nodes.
    Cluster(Vec<ConnectionInfo>),
}

/// Reads a URL; also answers what may be shown of it.
pub(super) fn parse(url: &str, access: &RedisAccess) -> Result<(Place, String), RedisUrlError> {
    let refuse = |reason: &str| RedisUrlError::new(reason);
    if url.len() > URL_BYTES_MAX {
        return Err(refuse("it is too long"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refuse("it does not begin with a scheme such as redis://"));
    };
    if rest.contains('#') {
        return Err(refuse("it has a '#', which must be percent-encoded"));
    }
    let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
    let has_tls = matches!(scheme, "rediss" | "valkeys");
    if has_tls && cfg!(not(feature = "tls")) {
        return Err(refuse("TLS is not built in (build with `--features tls`)"));
    }
    match (scheme, kind) {
        ("redis" | "rediss" | "valkey" | "valkeys", "") | ("redis" | "valkey", "unix") | ("unix", "") => {
            let info = server(url, access)?;
            let database = info.redis_settings().db();
            let shown = match info.addr() {
                ConnectionAddr::Unix(path) => format!("redis+unix://{}?db={database}", path.display()),
                address => format!("{scheme}://{}/{database}", shown(address)),
            };
            Ok((Place::Single(Box::new(info)), shown))
        }
        ("redis" | "rediss", "sentinel") => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (master, database) = path.split_once('/').unwrap_or((path, "0"));
            if master.is_empty() || master.contains('?') {
                return Err(refuse("a Sentinel URL ends with the name of the master"));
            }
            let hosts = hosts(scheme, authority, &format!("/{database}"), Some(SENTINEL_PORT), access)?;
            let redis = hosts[0].redis_settings().clone();
            let sentinels: Vec<_> = hosts.iter().map(|host| host.addr().clone()).collect();
            let list = sentinels.iter().map(shown).collect::<Vec<_>>().join(",");
            let shown = format!("{scheme}+sentinel://{list}/{master}/{}", redis.db());
            Ok((Place::Sentinel { sentinels, master: master.to_owned(), redis }, shown))
        }
        ("redis" | "rediss", "cluster") => {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            if authority.contains('/') {
                return Err(refuse("a cluster has no databases"));
            }
            let nodes = hosts(scheme, authority, "", None, access)?;
            let list = nodes.iter().map(|node| shown(node.addr())).collect::<Vec<_>>().join(",");
            Ok((Place::Cluster(nodes), format!("{scheme}+cluster://{list}")))
        }
        _ => Err(refuse("its scheme is unknown")),
    }
}

/// Several hosts with the same credentials; at least one.
fn hosts(
    scheme: &str,
    authority: &str,
    path: &str,
    port: Option<&str>,
    access: &RedisAccess,
) -> Result<Vec<ConnectionInfo>, RedisUrlError> {
    let (login, list) = authority.rsplit_once('@').map_or(("", authority), |(login, list)| (login, list));
    let at = if login.is_empty() { "" } else { "@" };
    if list.split(',').count() > HOSTS_MAX {
        return Err(RedisUrlError::new("it names too many hosts"));
    }
    let with_port = |host: &str| match port {
        Some(port) if !host.rsplit(']').next().unwrap_or(host).contains(':') => format!("{host}:{port}"),
        _ => host.to_owned(),
    };
    list.split(',')
        .map(|host| server(&format!("{scheme}://{login}{at}{}{path}", with_port(host)), access))
        .collect()
}

/// One server with its credentials.
fn server(url: &str, access: &RedisAccess) -> Result<ConnectionInfo, RedisUrlError> {
    if redis::parse_redis_url(url).is_none() {
        return Err(RedisUrlError::new("it is not a well-formed URL"));
    }
    let info = url.into_connection_info().map_err(|error| RedisUrlError::new(fixed_reason(&error)))?;
    let mut settings = info.redis_settings().clone();
    if let Some(username) = &access.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &access.password {
        settings = settings.set_password(password);
    }
    // Without `nodelay`, the requests of one transaction would wait for the acknowledgement of another's.
    let info = info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
    certified(info, access)
}

/// With the certificates that it is to be trusted by and to show.
#[cfg(feature = "tls")]
fn certified(info: ConnectionInfo, access: &RedisAccess) -> Result<ConnectionInfo, RedisUrlError> {
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(info);
    }
    redis::Client::build_with_tls(info, certificates(access))
        .map(|client| client.get_connection_info().clone())
        .map_err(|_| RedisUrlError::new("a certificate or key cannot be used"))
}

/// As the client takes them.
#[cfg(feature = "tls")]
pub(super) fn certificates(access: &RedisAccess) -> redis::TlsCertificates {
    let client_tls = access
        .client_pem
        .clone()
        .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    redis::TlsCertificates { client_tls, root_cert: access.ca_pem.clone() }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "builds with TLS can fail here")]
const fn certified(info: ConnectionInfo, _access: &RedisAccess) -> Result<ConnectionInfo, RedisUrlError> {
    Ok(info)
}

/// Host and port.
fn shown(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            }
        }
        other => other.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(Place, String), RedisUrlError> {
        parse(url, &RedisAccess::default())
    }

    #[test]
    fn a_place_shows_where_but_not_the_credentials() {
        let cases = [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://:hunter2@10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("redis://app:hunter2@[::1]:7000", "redis://[::1]:7000/0"),
            ("redis+unix:///run/redis.sock?db=2&user=app&pass=hunter2", "redis+unix:///run/redis.sock?db=2"),
            ("redis+sentinel://a,b:7/mymaster", "redis+sentinel://a:26379,b:7/mymaster/0"),
            ("redis+sentinel://u:hunter2@a,[::1]/m/4", "redis+sentinel://a:26379,[::1]:26379/m/4"),
            ("redis+cluster://:hunter2@a:7000,b", "redis+cluster://a:7000,b:6379"),
            #[cfg(feature = "tls")]
            ("rediss://:hunter2@a", "rediss://a:6379/0"),
            #[cfg(feature = "tls")]
            ("rediss+cluster://:hunter2@a,b:1/", "rediss+cluster://a:6379,b:1"),
        ];
        for (url, expected) in cases {
            assert_eq!(read(url).unwrap_or_else(|error| panic!("{url}: {error}")).1, expected);
        }
    }

    #[test]
    fn credentials_beside_the_url_win() {
        let access = RedisAccess {
            username: Some("app".to_owned()),
            password: Some("s/e@c".to_owned()),
            ..RedisAccess::default()
        };
        assert!(!format!("{access:?}").contains("s/e"));
        for url in ["redis://x:y@a", "redis+sentinel://a/m", "redis+cluster://x:y@a,b"] {
            let (place, _) = parse(url, &access).unwrap();
            let settings = match &place {
                Place::Single(info) => info.redis_settings(),
                Place::Sentinel { redis, .. } => redis,
                Place::Cluster(nodes) => nodes[1].redis_settings(),
            };
            assert_eq!((settings.username(), settings.password()), (Some("app"), Some("s/e@c")), "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_explained_without_repeating_it() {
        let cases = [
            ("", "scheme"),
            ("localhost:6379", "scheme"),
            ("http://:hunter2@localhost", "scheme is unknown"),
            #[cfg(not(feature = "tls"))]
            ("rediss://:hunter2@localhost", "TLS is not built in"),
            ("redis://:hunter2@localhost:notaport", "well-formed"),
            ("redis://:hunter2@localhost/hunter2", "Invalid database number"),
            ("redis://:hunter2@localhost/?protocol=hunter2", "Invalid protocol version"),
            ("redis://:hunter2@", "well-formed"),
            ("redis://:hunter2@0.0.0.0", "wildcard address"),
            ("redis://:hunter2@a/#insecure", "percent-encoded"),
            ("redis+sentinel://:hunter2@a,b", "name of the master"),
            ("redis+sentinel://:hunter2@a,/m", "well-formed"),
            ("redis+cluster://:hunter2@a,b/3", "no databases"),
            ("redis+proxy://:hunter2@a", "scheme is unknown"),
        ];
        for (url, expected) in cases {
            let Err(error) = read(url) else { panic!("{url}") };
            let error = error.to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(read(&format!("redis://{}", "x".repeat(URL_BYTES_MAX))).is_err());
        assert!(read(&format!("redis+cluster://{}", vec!["a"; HOSTS_MAX + 1].join(","))).is_err());
    }
}
