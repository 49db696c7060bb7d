//! `tollgate profiles`

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::args::{ProfilesCommand, ProfilesImportArgs};
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::domain::time::SystemClock;
use crate::enrich::breaker::BreakerSettings;
use crate::enrich::counters::ProfileCounters;
use crate::enrich::embedded::EmbeddedProfiles;
use crate::enrich::import::import_ndjson;
use crate::enrich::profiles::Profiles;
use crate::enrich::redis::{RedisOptions, RedisProfiles};
use crate::enrich::redis_target::RedisTarget;

/// How long a Redis may take to be there.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Runs it.
pub fn run(command: &ProfilesCommand) -> anyhow::Result<()> {
    let ProfilesCommand::Import(args) = command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    runtime.block_on(import(args))
}

async fn import(args: &ProfilesImportArgs) -> anyhow::Result<()> {
    let store = match args.redis.as_deref() {
        None => {
            std::fs::create_dir_all(&args.data)
                .with_context(|| format!("{}: the data directory cannot be made", args.data.display()))?;
            Profiles::Embedded(EmbeddedProfiles::open(&args.data)?)
        }
        Some(url) => {
            let target = RedisTarget::parse(url).context("--redis")?;
            let shown = target.to_string();
            let redis = RedisProfiles::start(
                target,
                RedisOptions { breaker: BreakerSettings::never() },
                Arc::new(ProfileCounters::default()),
                Arc::new(SystemClock),
                &tokio::runtime::Handle::current(),
            );
            if !redis.wait_until_up(CONNECT_WAIT).await {
                bail!("{shown} cannot be reached within {} s", CONNECT_WAIT.as_secs());
            }
            Profiles::Redis(redis)
        }
    };
    let bar = progress::things("profiles", None);
    let imported =
        import_ndjson(policy::open(&args.file)?, &store, |progress| bar.set_position(progress.lines)).await;
    bar.finish_and_clear();
    let imported = imported.with_context(|| format!("{}", args.file.display()))?;
    say!("{} profiles stored", imported.stored);
    Ok(())
}
