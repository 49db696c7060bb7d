//! The life of one connection to Redis: made in the background, watched, given up when it stalls, made again.
//!
//! `current` answers at once, with a connection or with nothing: a fetch never waits for a connection to come. All waiting is
//! done by one task, the keeper. It asks the server `PING` whenever a fetch had reason to complain, and at a slow beat
//! besides, so that a peer that vanished without a word is noticed too. A `PING` stands in the same queue as the fetches:
//! if it is not answered in `PROBE_TIMEOUT`, neither are they, and the connection with all its late replies is dropped.
//! That also bounds how many unanswered requests can pile up in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::domain::time::Clock;
use crate::enrich::breaker::Breaker;
use crate::enrich::cache::ProfileCache;
use crate::enrich::counters::{ProfileCounters, count};
use crate::enrich::redis_connection::RedisConnection;
use crate::enrich::redis_target::RedisTarget;

/// Longest time to wait for a new connection, with authentication and the choice of database.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Wait before the first attempt to connect again; doubled after each failure.
pub const RECONNECT_WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest wait between two attempts to connect. Together with the handshake it keeps recovery within a second.
pub const RECONNECT_WAIT_MAX: Duration = Duration::from_millis(250);
/// How often an idle connection is asked whether it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// A connection that does not answer `PING` within this time is given up.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(250);
/// Shortest time between two probes, however many fetches complain.
pub const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// Most requests that wait to be written to the connection; more wait for room, inside their own timeouts.
pub const REQUESTS_QUEUED_MAX: usize = 256;

/// A connection that keeps itself alive. Dropping it ends the task and closes the connection.
#[derive(Debug)]
pub(super) struct RedisLink {
    shared: Arc<Shared>,
    up: watch::Receiver<bool>,
    keeper: JoinHandle<()>,
    runtime: Id,
}

struct Shared {
    connection: ArcSwapOption<RedisConnection>,
    complaint: Notify,
    /// A reply was none to its question: what stands must be given up, whatever it says next.
    is_distrusted: AtomicBool,
    around: Surroundings,
}

/// What all connections to one Redis share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) counters: Arc<ProfileCounters>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) cache: Option<Arc<ProfileCache>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("connected", &self.connection.load().is_some()).finish_non_exhaustive()
    }
}

impl RedisLink {
    /// Starts to connect, on `runtime`, and returns at once.
    pub(super) fn start(target: RedisTarget, around: Surroundings, runtime: &Handle) -> Self {
        let shared = Arc::new(Shared {
            connection: ArcSwapOption::empty(),
            complaint: Notify::new(),
            is_distrusted: AtomicBool::new(false),
            around,
        });
        let (up_sender, up) = watch::channel(false);
        let keeper = runtime.spawn(keep(target, Arc::clone(&shared), up_sender));
        Self { shared, up, keeper, runtime: runtime.id() }
    }

    /// Where its bytes are read and written.
    pub(super) const fn runtime(&self) -> Id {
        self.runtime
    }

    /// The connection that stands now.
    pub(super) fn current(&self) -> Option<RedisConnection> {
        self.shared.connection.load().as_deref().cloned()
    }

    /// Whether a connection stands now.
    pub(super) fn is_up(&self) -> bool {
        self.shared.connection.load().is_some()
    }

    /// A request was not answered, or not in time: have the connection looked at. Never waits.
    pub(super) fn complain(&self) {
        self.shared.complaint.notify_one();
    }

    /// A reply was none to its question, so that those after it may belong to others: nobody may ask here until there is another
    /// connection, and what comes back to those who have asked is not believed (`is_up`). Never waits.
    pub(super) fn distrust(&self) {
        self.shared.is_distrusted.store(true, Ordering::Release);
        self.shared.connection.store(None);
        self.complain();
    }

    /// Waits until a connection stands; `false` when none does within `wait`.
    pub(super) async fn wait_until_up(&self, wait: Duration) -> bool {
        let mut up = self.up.clone();
        timeout(wait, up.wait_for(|up| *up)).await.is_ok_and(|seen| seen.is_ok())
    }
}

impl Drop for RedisLink {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// The keeper: connect, watch, give up, wait, again. Ends only by being aborted.
async fn keep(target: RedisTarget, shared: Arc<Shared>, up: watch::Sender<bool>) {
    let mut wait = RECONNECT_WAIT_MIN;
    let (mut failures, mut last_reason) = (0_u64, String::new());
    for attempt in 0_usize.. {
        match connect(&target, attempt, shared.around.cache.as_ref()).await {
            Ok((connection, tracks)) => {
                info!(redis = %target, tracks, "connected to the profile store");
                // What changed while no connection said so.
                if let Some(cache) = &shared.around.cache {
                    cache.invalidate_all();
                }
                wait = RECONNECT_WAIT_MIN;
                failures = 0;
                let reason = {
                    let _published = Published::new(&shared, &up, connection.clone());
                    watch_over(&target, &shared, connection).await
                };
                warn!(redis = %target, reason, "lost the profile store; profiles are missing until it is back");
            }
            Err(reason) => {
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() || reason != last_reason {
                    warn!(redis = %target, reason, failures, "cannot reach the profile store; trying on");
                    last_reason = reason;
                }
            }
        }
        sleep(wait).await;
        wait = wait.saturating_mul(2).min(RECONNECT_WAIT_MAX);
    }
}

/// A connection that answers `PING`: without the right credentials, or while the server loads its data, it does not. Says as well
/// whether the server tells what changes.
async fn connect(
    target: &RedisTarget,
    attempt: usize,
    cache: Option<&Arc<ProfileCache>>,
) -> Result<(RedisConnection, bool), String> {
    // A Sentinel that does not answer must not hold up the next attempt, which asks another.
    let opened = timeout(2 * CONNECT_TIMEOUT, target.connect(attempt, cache)).await;
    let opened = opened.map_err(|_| format!("no connection in {} ms", 2 * CONNECT_TIMEOUT.as_millis()))?;
    let (mut connection, tracks) = opened.map_err(|error| error.to_string())?;
    match timeout(CONNECT_TIMEOUT, sign_of_life(target, &mut connection)).await {
        Ok(Ok(())) => Ok((connection, tracks)),
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err(format!("no answer to PING in {} ms", CONNECT_TIMEOUT.as_millis())),
    }
}

/// Returns why the connection must be given up, once it must.
async fn watch_over(target: &RedisTarget, shared: &Shared, mut connection: RedisConnection) -> String {
    loop {
        tokio::select! {
            () = shared.complaint.notified() => {}
            () = sleep(HEARTBEAT) => {}
        }
        if shared.is_distrusted.load(Ordering::Acquire) {
            return "a reply was none to its question".to_owned();
        }
        match timeout(PROBE_TIMEOUT, sign_of_life(target, &mut connection)).await {
            Ok(Ok(())) => sleep(PROBE_PAUSE).await,
            Ok(Err(reason)) => return reason,
            Err(_) => return format!("no answer to PING in {} ms", PROBE_TIMEOUT.as_millis()),
        }
    }
}

/// A master that has been demoted lives, and is not the one to ask any more.
async fn sign_of_life(target: &RedisTarget, connection: &mut RedisConnection) -> Result<(), String> {
    connection.ping().await?;
    if target.follows_the_master() && !connection.is_master().await? {
        return Err("the server is no longer the master".to_owned());
    }
    Ok(())
}

/// A connection on offer to fetches. Withdrawn on drop, so also when the keeper is aborted.
struct Published<'a> {
    shared: &'a Shared,
    up: &'a watch::Sender<bool>,
}

impl<'a> Published<'a> {
    fn new(shared: &'a Shared, up: &'a watch::Sender<bool>, connection: RedisConnection) -> Self {
        shared.is_distrusted.store(false, Ordering::Release);
        shared.connection.store(Some(Arc::new(connection)));
        count(&shared.around.counters.connects);
        count(&shared.around.counters.connections_up);
        shared.around.breaker.dependency_is_back(shared.around.clock.instant());
        up.send_replace(true);
        Self { shared, up }
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.shared.connection.store(None);
        count(&self.shared.around.counters.disconnects);
        self.shared.around.counters.connections_up.fetch_sub(1, Ordering::Relaxed);
        self.up.send_replace(false);
    }
}
