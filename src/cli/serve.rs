//! `tollgate serve`

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use crate::audit::follow::FollowThread;
use crate::cli::args::ServeArgs;
use crate::cli::policy::{files, settings};
use crate::cli::{forward_targets, store};
use crate::config::file::Config;
use crate::domain::time::{Clock, SystemClock};
use crate::enrich::profiles::Profiles;
use crate::http::admission::AdmissionOptions;
use crate::http::auth::ApiKeys;
use crate::http::options::ServerOptions;
use crate::http::server::Server;
use crate::http::workers::Workers;
#[cfg(feature = "parquet")]
use crate::pipeline::archiving::Archiving;
use crate::pipeline::checkpoints;
use crate::pipeline::forward;
use crate::pipeline::profile_updates;
use crate::pipeline::reload;
use crate::pipeline::service::Service;
use crate::pipeline::settings::ServiceSettings;
use crate::pipeline::shadow::ShadowSettings;
use crate::pipeline::start::{LogSettings, Parts};

/// How long the log may take to hold everything at the end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or Ctrl-C, then drains.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let config = effective(args)?;
    check_archive(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    runtime.block_on(serve(args, config))
}

/// The settings with the flags over them.
fn effective(args: &ServeArgs) -> anyhow::Result<Config> {
    let mut config = settings(args.policy.config.as_deref())?;
    let files = files(&args.policy, &config);
    config.paths.rules = files.rules;
    config.paths.model = files.model.unwrap_or_default();
    config.paths.features = files.features;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if let Some(admin) = args.admin {
        config.server.admin = admin;
    }
    if let Some(data) = &args.data {
        config.paths.data.clone_from(data);
    }
    if let Some(candidate) = &args.candidate {
        config.shadow.candidate_rules.clone_from(candidate);
    }
    if let Some(redis) = &args.redis {
        config.profiles.redis.clone_from(redis);
    }
    Ok(config)
}

async fn serve(args: &ServeArgs, config: Config) -> anyhow::Result<()> {
    let signals = Signals::listen().context("no signals")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = Parts {
        data: config.paths.data.clone(),
        files: files(&args.policy, &config),
        missing: config.on_missing.policy(),
        ip: config.ip.settings(),
        settings: ServiceSettings {
            deadline_default: Duration::from_millis(config.decision.deadline_ms),
            enrich_timeout_max: Duration::from_millis(config.decision.enrich_timeout_ms),
            clock_skew_max: Duration::from_secs(config.decision.clock_skew_max_s),
            in_flight_max: config.server.in_flight_max,
            decisions_max: config.decision.idempotency_keys_max,
            on_audit_failure: config.decision.on_audit_failure,
            on_backlog: config.audit.on_backlog,
        },
        log: LogSettings {
            ack: config.audit.ack,
            commit_interval: Duration::from_millis(config.audit.commit_interval_ms),
            segment_bytes_max: config.audit.segment_mib << 20,
            queue_max: config.audit.queue_records_max,
        },
        privacy: config.privacy.settings(),
        shadow: ShadowSettings {
            queue_max: config.shadow.queue_decisions_max,
            drift_window: Duration::from_secs(config.shadow.drift_window_s),
            candidate_rules: Some(config.shadow.candidate_rules.clone())
                .filter(|it| !it.as_os_str().is_empty()),
        },
        snapshot_interval: match config.state.snapshot_interval_s {
            0 => None,
            interval_s => Some(Duration::from_secs(interval_s)),
        },
    };
    let workers = workers(config.server.threads)?;
    let runtimes = workers.handles().to_vec();
    // This runtime as well: what is left to do when the deciding threads have ended needs a connection, too.
    let profiles = profiles(&config, &[&runtimes[..], &[Handle::current()]].concat())?;
    let targets = forward_targets::all(&config.forward)?;
    let service = tokio::task::spawn_blocking(move || Service::start(parts, profiles, clock)).await??;
    let followers = followers(&config, &service)?;
    #[cfg(feature = "parquet")]
    let archiving = archiving(&config, &service)?;
    let forwarding = forward::start(&service, &config.paths.data, targets)?;
    let _watch = reload::watch(Arc::clone(&service)).context("the policy's files cannot be watched")?;

    let server = Server::bind(server_options(&config)?, Arc::clone(&service), workers).await?;
    warm_up(&service, &runtimes).await;
    service.record_policy("start", None, &service.policy_status()).await;
    info!(
        listen = %server.decision_address(),
        admin = %server.admin_address(),
        policy = %service.policy_status().policy,
        "ready to decide"
    );
    server.run(signals.shutdown(Arc::clone(&service))).await;
    let closed = tokio::task::spawn_blocking(move || {
        // Forwarding ends last: a checkpoint that is signed at the end is a record, too.
        for threads in [&followers, &forwarding] {
            std::thread::scope(|scope| {
                for thread in threads {
                    scope.spawn(|| thread.close());
                }
            });
        }
        #[cfg(feature = "parquet")]
        if let Some(archiving) = archiving {
            archiving.close();
        }
        service.close(CLOSE_PATIENCE)
    });
    let closed = closed.await?;
    closed.context("the audit log could not be closed cleanly")?;
    info!("drained and closed");
    Ok(())
}

/// Where the archive is to be must be a place; whether it can be reached is seen, and tried again, while the service runs.
#[cfg(feature = "parquet")]
fn check_archive(config: &Config) -> anyhow::Result<()> {
    if config.archive.enabled {
        crate::archive::location::store(&config.archive.settings(&config.paths.data)?.url)?;
    }
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn check_archive(config: &Config) -> anyhow::Result<()> {
    anyhow::ensure!(
        !config.archive.enabled,
        "archive.enabled: this tollgate was built without an archive: build it with the cargo feature `parquet`"
    );
    Ok(())
}

/// Starts to archive the log, if config says so.
#[cfg(feature = "parquet")]
fn archiving(config: &Config, service: &Arc<Service>) -> anyhow::Result<Option<Archiving>> {
    if !config.archive.enabled {
        return Ok(None);
    }
    let data = &config.paths.data;
    Ok(Some(Archiving::start(service, data, config.archive.settings(data)?)?))
}

/// Starts everything that follows the log.
fn followers(config: &Config, service: &Arc<Service>) -> anyhow::Result<Vec<FollowThread>> {
    let mut followers = Vec::new();
    if let Some(settings) = config.profiles.updates() {
        let runtime = tokio::runtime::Handle::current();
        followers.push(profile_updates::start(service, &config.paths.data, settings, runtime)?);
    }
    if let Some(settings) = config.audit.checkpoints.settings() {
        followers.push(checkpoints::start(service, &config.paths.data, &settings)?);
    }
    Ok(followers)
}

/// The threads that decide: `count`, or with 0 one for each processor.
fn workers(count: usize) -> anyhow::Result<Workers> {
    let count = match count {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        count => count,
    };
    Workers::start(count).with_context(|| format!("{count} threads for connections cannot be started"))
}

/// Every worker thread decides once before the first client comes: its part of the allocator starts cold, too.
async fn warm_up(service: &Arc<Service>, runtimes: &[Handle]) {
    let mut warm = tokio::task::JoinSet::new();
    for runtime in runtimes {
        let service = Arc::clone(service);
        warm.spawn_on(async move { service.warm_up().await }, runtime);
    }
    warm.join_all().await;
}

fn profiles(config: &Config, runtimes: &[Handle]) -> anyhow::Result<Profiles> {
    if config.profiles.redis.is_empty() {
        return store::embedded(&config.paths.data);
    }
    let target = store::target(&config.profiles)?;
    info!(%target, "profiles come from Redis");
    Ok(store::redis(&config.profiles, &target, runtimes))
}

fn server_options(config: &Config) -> anyhow::Result<ServerOptions> {
    let server = &config.server;
    Ok(ServerOptions {
        decision_address: server.listen,
        admin_address: server.admin,
        keys: ApiKeys::new(&config.auth.decision_keys, &config.auth.admin_keys)?,
        admission: AdmissionOptions {
            on_overload: config.overload.answer,
            in_flight_max: config.overload.in_flight_per_thread_max,
            queue_delay_target: Duration::from_millis(config.overload.queue_delay_target_ms),
            deadline_default: Duration::from_millis(config.decision.deadline_ms),
        },
        rate_limits: config.rate_limit.limits(),
        connections_max: server.connections_max,
        head_timeout: Duration::from_millis(server.header_timeout_ms),
        body_timeout: Duration::from_millis(server.body_timeout_ms),
        drain_timeout: Duration::from_millis(server.drain_timeout_ms),
        ..ServerOptions::default()
    })
}

/// The signal by which the kernel says that a file has reached its limit (`ulimit -f`).
const SIGXFSZ: i32 = 25;

/// The signals that the service answers to. Made before anything else, so that a SIGHUP during a long start does not end it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Only so that it does not end the process: the write fails, too, and `decision.on_audit_failure` says what then.
    _file_limit: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _file_limit: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Ends at SIGTERM or Ctrl-C; SIGHUP reloads the policy.
    async fn shutdown(mut self, service: Arc<Service>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break info!("SIGTERM: draining"),
                _ = self.interrupt.recv() => break info!("interrupted: draining"),
                _ = self.hang_up.recv() => {
                    service.reload("sighup", None).await;
                }
            }
        }
        service.start_draining();
    }
}
