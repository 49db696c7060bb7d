//! The profile store that flags, environment and settings name, opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Handle;

use crate::config::profiles::{ProfilesConfig, TlsConfig};
use crate::domain::time::SystemClock;
use crate::enrich::counters::ProfileCounters;
use crate::enrich::embedded::EmbeddedProfiles;
use crate::enrich::profiles::Profiles;
use crate::enrich::redis::RedisProfiles;
use crate::enrich::redis_target::RedisTarget;
use crate::enrich::redis_url::RedisAccess;

/// Environment variables with the credentials of Redis: flags would show them to everybody on the machine.
const USERNAME_VARIABLE: &str = "TOLLGATE_REDIS_USERNAME";
const PASSWORD_VARIABLE: &str = "TOLLGATE_REDIS_PASSWORD";

/// The embedded store in `data`; the directory is made if need be.
pub(super) fn embedded(data: &Path) -> anyhow::Result<Profiles> {
    std::fs::create_dir_all(data)
        .with_context(|| format!("{}: the data directory cannot be made", data.display()))?;
    Ok(Profiles::Embedded(EmbeddedProfiles::open(data)?))
}

/// Where Redis is, with credentials from settings and environment.
pub(super) fn target(config: &ProfilesConfig) -> anyhow::Result<RedisTarget> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut access = access(&config.tls, "profiles.tls")?;
    access.username = variable(USERNAME_VARIABLE).or_else(|| or_none(&config.username));
    access.password = variable(PASSWORD_VARIABLE).or_else(|| or_none(&config.password));
    access.sentinel_username = or_none(&config.sentinel_username);
    access.sentinel_password = or_none(&config.sentinel_password);
    RedisTarget::parse(&config.redis, access).context("--redis")
}

/// Certificates, and no credentials yet. `table` is where the settings stand.
pub(super) fn access(tls: &TlsConfig, table: &str) -> anyhow::Result<RedisAccess> {
    let TlsConfig { ca_file, cert_file, key_file } = tls;
    let client_pem = match (read(cert_file)?, read(key_file)?) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => anyhow::bail!("{table}: cert_file and key_file go together"),
    };
    Ok(RedisAccess { ca_pem: read(ca_file)?, client_pem, ..RedisAccess::default() })
}

/// None for an empty setting.
pub(super) fn or_none(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn read(file: &PathBuf) -> anyhow::Result<Option<Vec<u8>>> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    std::fs::read(file).map(Some).with_context(|| format!("{}: cannot be read", file.display()))
}

/// Redis, as configured, for those who ask on `runtimes`; connecting goes on in the background.
pub(super) fn redis(config: &ProfilesConfig, target: &RedisTarget, runtimes: &[Handle]) -> Profiles {
    let (counters, clock) = (Arc::new(ProfileCounters::default()), Arc::new(SystemClock));
    Profiles::Redis(RedisProfiles::start(target, config.redis_options(), counters, clock, runtimes))
}
