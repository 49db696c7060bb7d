//! How a Redis is reached: one server, the master that Sentinels name, or a cluster; and whether it says what changes.

use std::fmt;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult, Value,
};

use crate::enrich::cache::ProfileCache;
use crate::enrich::redis_connection::RedisConnection;
use crate::enrich::redis_link::{CONNECT_TIMEOUT, REQUESTS_QUEUED_MAX};
use crate::enrich::redis_url::{Place, RedisAccess, RedisUrlError, parse};

/// How often a cluster's client asks again after a redirection or a lost node, within the time that the fetch has.
const CLUSTER_RETRIES_MAX: u32 = 3;

/// A Redis with its credentials.
#[derive(Clone)]
pub struct RedisTarget {
    place: Place,
    access: RedisAccess,
    shown: Box<str>,
}

impl RedisTarget {
    /// Reads a URL; connects to nothing.
    pub fn parse(url: &str, access: RedisAccess) -> Result<Self, RedisUrlError> {
        let (place, shown) = parse(url, &access)?;
        Ok(Self { place, access, shown: shown.into() })
    }

    /// Whether the server must be a master: one that Sentinels have demoted is left.
    pub(super) const fn follows_the_master(&self) -> bool {
        matches!(self.place, Place::Sentinel { .. })
    }

    /// Opens a connection: transport, credentials, database. `attempt` counts attempts, so that each begins with another Sentinel.
    /// With a cache, the server is asked to say what changes; answers whether it will.
    pub(crate) async fn connect(
        &self,
        attempt: usize,
        cache: Option<&Arc<ProfileCache>>,
    ) -> RedisResult<(RedisConnection, bool)> {
        match &self.place {
            Place::Single(info) => open(info, cache).await,
            Place::Sentinel { .. } => open(&self.master(attempt).await?, cache).await,
            Place::Cluster(nodes) => {
                let builder = ClusterClient::builder(nodes.iter().cloned())
                    .retries(CLUSTER_RETRIES_MAX)
                    .min_retry_wait(1)
                    .max_retry_wait(50)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .tcp_settings(TcpSettings::default().set_nodelay(true));
                #[cfg(feature = "tls")]
                let builder =
                    if nodes.iter().any(|node| matches!(node.addr(), redis::ConnectionAddr::TcpTls { .. })) {
                        builder.certs(crate::enrich::redis_url::certificates(&self.access))
                    } else {
                        builder
                    };
                let connection = builder.build()?.get_async_connection().await?;
                Ok((RedisConnection::Cluster(connection), false))
            }
        }
    }

    /// The master that the Sentinels name now.
    async fn master(&self, attempt: usize) -> RedisResult<ConnectionInfo> {
        let Place::Sentinel { sentinels, master, redis } = &self.place else {
            return Err((redis::ErrorKind::InvalidClientConfig, "there are no Sentinels").into());
        };
        let mut sentinels = sentinels.clone();
        let first = attempt % sentinels.len().max(1);
        sentinels.rotate_left(first);
        #[cfg(feature = "tls")]
        let has_tls =
            sentinels.iter().any(|sentinel| matches!(sentinel, redis::ConnectionAddr::TcpTls { .. }));
        let mut builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
            .set_client_to_redis_db(redis.db())
            .set_client_to_redis_tcp_settings(TcpSettings::default().set_nodelay(true));
        if let Some(username) = redis.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = redis.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = &self.access.sentinel_username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = &self.access.sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        #[cfg(feature = "tls")]
        if has_tls {
            let certificates = crate::enrich::redis_url::certificates(&self.access);
            builder = builder
                .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_tls_mode(redis::TlsMode::Secure)
                .set_client_to_sentinel_certificates(certificates);
        }
        let mut client = builder.build()?;
        Ok(client.async_get_client().await?.get_connection_info().clone())
    }
}

/// Opens a connection to one server; with a cache, by RESP3 and with tracking where it knows them.
async fn open(
    info: &ConnectionInfo,
    cache: Option<&Arc<ProfileCache>>,
) -> RedisResult<(RedisConnection, bool)> {
    if let Some(cache) = cache {
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let cache = Arc::clone(cache);
        let config = config().set_push_sender(move |info: PushInfo| {
            invalidate(&cache, &info);
            Ok::<(), ()>(())
        });
        match multiplexed(info.clone().set_redis_settings(settings), &config).await {
            Ok(mut connection) => {
                let mut tracking = redis::cmd("CLIENT");
                tracking.arg("TRACKING").arg("ON");
                let tracks = matches!(tracking.query_async::<Value>(&mut connection).await, Ok(Value::Okay));
                return Ok((RedisConnection::Single(connection), tracks));
            }
            // No server, or one that is too slow, does not answer to the older protocol either.
            Err(error) if error.is_io_error() || error.is_timeout() => return Err(error),
            Err(_) => {}
        }
    }
    let connection = multiplexed(info.clone(), &config()).await?;
    Ok((RedisConnection::Single(connection), false))
}

async fn multiplexed(
    info: ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    Client::open(info)?.get_multiplexed_async_connection_with_config(config).await
}

fn config() -> AsyncConnectionConfig {
    // Each fetch brings its own timeout, so that the crate's would only be a second timer.
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(REQUESTS_QUEUED_MAX)
}

/// Runs between two replies, so that no answer that is older can be kept after it.
fn invalidate(cache: &ProfileCache, info: &PushInfo) {
    if info.kind != PushKind::Invalidate {
        return;
    }
    match info.data.first() {
        Some(Value::Array(keys)) => {
            for key in keys {
                match key {
                    Value::BulkString(key) => {
                        if let Ok(key) = std::str::from_utf8(key) {
                            cache.invalidate(key);
                        }
                    }
                    _ => cache.invalidate_all(),
                }
            }
        }
        // Everything was flushed.
        _ => cache.invalidate_all(),
    }
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
