//! `tollgate profiles`

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::Handle;

use crate::cli::args::{ProfilesCommand, ProfilesImportArgs};
use crate::cli::output::say;
use crate::cli::policy::settings;
use crate::cli::{policy, progress, store};
use crate::config::profiles::BreakerConfig;
use crate::enrich::import::import_ndjson;
use crate::offline::input::Format;
use crate::offline::profiles::ProfileRows;

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
        None => store::embedded(&args.data)?,
        Some(url) => {
            let breaker = BreakerConfig { failure_percent: 0, ..BreakerConfig::default() };
            let mut config = settings(args.config.as_deref())?.profiles;
            (config.redis, config.breaker, config.connections) = (url.to_owned(), breaker, 1);
            let target = store::target(&config)?;
            let redis = store::redis(&config, &target, &[Handle::current()]);
            if !redis.wait_until_up(CONNECT_WAIT).await {
                bail!("{target} cannot be reached within {} s", CONNECT_WAIT.as_secs());
            }
            redis
        }
    };
    let (format, is_gzip) = Format::of_path(&args.file).unwrap_or((Format::Ndjson, false));
    let imported = if format == Format::Ndjson && !is_gzip {
        let length = std::fs::metadata(&args.file).map_or(0, |metadata| metadata.len());
        let bar = progress::bytes("profiles", length);
        let imported = import_ndjson(policy::open(&args.file)?, &store, |done| bar.set_position(done.bytes));
        let imported = imported.await;
        bar.finish_and_clear();
        imported
    } else {
        let rows = ProfileRows::open(&args.file, args.entity.as_deref(), &args.id)?;
        let bar = progress::things("profiles", None);
        let imported = rows.import(&store, |done| progress::tick(&bar, &done)).await;
        bar.finish_and_clear();
        imported
    };
    let imported = imported.with_context(|| format!("{}", args.file.display()))?;
    say!("{} profiles stored", imported.stored);
    Ok(())
}
