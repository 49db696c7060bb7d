//! Hot reload: on a file change, on SIGHUP, and on request. Each attempt is recorded, also one that is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::audit::frame::Kind;
use crate::audit::record::{self, PolicyRecord, RECORDED_PROBLEMS_MAX};
use crate::pipeline::fold::Consequence;
use crate::pipeline::ip::{IpReloaded, IpStatus};
use crate::pipeline::policy::{PolicyStatus, Reloaded};
use crate::pipeline::service::Service;

/// How long a new policy may take to be in the log; one that takes longer does not go live.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long nothing must change before the files are read: an editor writes a file in several steps, a deployment many files.
const SETTLE: Duration = Duration::from_millis(100);
/// After so long they are read all the same: whoever never stops writing must not put off every change.
const SETTLE_MAX: Duration = Duration::from_millis(500);
/// How often a missing file or directory of the policy is looked for.
const MISSING_POLL: Duration = Duration::from_millis(250);

impl Service {
    /// What is live, and why the last candidate was refused.
    pub fn policy_status(&self) -> PolicyStatus {
        PolicyStatus { ip: self.ip.status(self.clock.now()), ..self.policies.status() }
    }

    /// Reads the policy's files again, and those about addresses, and swaps each in when it is sound; records what came of it.
    /// `by` is whose API key asked for it.
    pub async fn reload(self: &Arc<Self>, cause: &'static str, by: Option<&str>) -> PolicyStatus {
        let service = Arc::clone(self);
        let now = self.clock.now();
        let caller = by.map(str::to_owned);
        let runtime = tokio::runtime::Handle::current();
        let reloaded = tokio::task::spawn_blocking(move || {
            let write = |status: PolicyStatus| {
                let written = service.write_policy(cause, caller.as_deref(), &status);
                runtime
                    .block_on(timeout(RECORD_WAIT_MAX, written))
                    .unwrap_or_else(|_| Err("it was not written in time".to_owned()))
            };
            let record =
                |status: &PolicyStatus| write(PolicyStatus { ip: service.ip.status(now), ..status.clone() });
            let reloaded = service.policies.reload(cause, now, &record);
            // Behind the live policy, whose catalogue and model it has; what is wrong with it is its own affair.
            service.candidates.reload(|| service.policies.live(), cause, now);
            // Neither waits for the other to be sound: they have their files from different people.
            let record = |ip| write(PolicyStatus { ip: Some(ip), ..service.policies.status() });
            (reloaded, service.ip.reload(cause, now, &record))
        })
        .await;
        let ((reloaded, status), ip) = match reloaded {
            Ok(done) => done,
            // A defect of this program, which must not look like a success.
            Err(error) => {
                let message = format!("the reload ended unexpectedly: {error}");
                (self.policies.refuse(cause, now, message), IpReloaded::Unchanged)
            }
        };
        let status = PolicyStatus { ip: self.ip.status(now), ..status };
        match &reloaded {
            Reloaded::Unchanged => {}
            Reloaded::Live => {
                info!(cause, policy = %status.policy, "a new policy is live");
                self.shadow.follow(|| self.policies.live());
                self.metrics.count_reload(true);
            }
            Reloaded::Refused(errors) => {
                for error in errors {
                    warn!(cause, "the policy candidate was refused: {error}");
                }
                self.metrics.count_reload(false);
            }
        }
        // What went live was recorded before it did. The record of the files about addresses comes last, and says of the policy, too, why it was refused.
        let is_refused = matches!(reloaded, Reloaded::Refused(_)) || matches!(ip, IpReloaded::Refused(_));
        if is_refused && ip != IpReloaded::Live {
            self.record_policy(cause, by, &status).await;
        }
        status
    }

    /// Records which policy is live, or why a candidate is not.
    pub async fn record_policy(&self, cause: &'static str, by: Option<&str>, status: &PolicyStatus) {
        if let Err(error) = self.write_policy(cause, by, status).await {
            error!(%error, "a policy change could not be recorded");
        }
    }

    async fn write_policy(
        &self,
        cause: &'static str,
        by: Option<&str>,
        status: &PolicyStatus,
    ) -> Result<(), String> {
        let body = PolicyRecord {
            cause: cause.into(),
            by: by.map(Box::from),
            policy: status.policy.clone(),
            versions: status.versions.clone(),
            challengers: status.challengers.clone(),
            refused: status.refused.as_ref().map_or_else(Vec::new, |refusal| refusal.errors.clone()),
            problems: status.refused.as_ref().map_or_else(Vec::new, |refusal| {
                refusal.problems.iter().take(RECORDED_PROBLEMS_MAX).cloned().collect()
            }),
            ip: status.ip.as_ref().map(IpStatus::record),
        };
        let body = record::encode(&body).map_err(|error| error.to_string())?;
        let ticket = self.log.reserve().map_err(|error| error.to_string())?;
        let pending = ticket.commit(Kind::PolicyChange, self.clock.now(), body, Consequence::Policy);
        pending.await.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// Watches the policy's files until the service goes away; each change leads to one reload.
pub fn watch(service: Arc<Service>) -> notify::Result<PolicyWatch> {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let candidate = service.candidates.directory().map(Path::to_owned);
    let paths: Vec<PathBuf> = service
        .policies
        .watched()
        .iter()
        .chain(&candidate)
        .map(PathBuf::as_path)
        .chain(service.ip.watched())
        .map(absolute)
        .collect();
    let concerned = paths.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access() && concerns(&event, &concerned)) {
            let _ = changed.try_send(()); // one waiting change is enough: the reload reads everything
        }
    })?;
    for (path, mode) in places(&paths) {
        watcher.watch(&path, mode)?;
    }
    let task = tokio::spawn(async move {
        loop {
            let there = existing(&paths);
            let is_whole = there.iter().all(|exists| *exists);
            tokio::select! {
                change = changes.recv() => if change.is_none() { break },
                // Nobody reports a directory whose parent is gone as well: whatever is missing is looked for.
                () = tokio::time::sleep(MISSING_POLL), if !is_whole => if existing(&paths) == there { continue },
            }
            settle(&mut changes).await;
            // A directory that was replaced is another one under the same name: the old watch sees nothing of it. Watching
            // comes before reading, so that no change falls in between.
            for (path, mode) in places(&paths) {
                let _ = watcher.unwatch(&path); // it may be unwatched already, by having been deleted
                if let Err(error) = watcher.watch(&path, mode) {
                    warn!(path = %path.display(), %error, "cannot be watched; changes need POST /v1/policy/reload or SIGHUP");
                }
            }
            service.reload("file_change", None).await;
        }
    });
    Ok(PolicyWatch { task })
}

/// Waits until nothing has changed for a while.
async fn settle(changes: &mut mpsc::Receiver<()>) {
    let changing = async { while matches!(timeout(SETTLE, changes.recv()).await, Ok(Some(()))) {} };
    // Over in either case: at rest, or not to be waited for.
    let _ = timeout(SETTLE_MAX, changing).await;
}

/// The path as events name it.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether something happened to one of these paths, or below it.
fn concerns(event: &notify::Event, paths: &[PathBuf]) -> bool {
    let is_below = |changed: &PathBuf| paths.iter().any(|path| changed.starts_with(path));
    event.need_rescan() || event.paths.iter().any(is_below)
}

/// Which of these paths are there.
fn existing(paths: &[PathBuf]) -> Vec<bool> {
    paths.iter().map(|path| path.exists()).collect()
}

/// What to watch: a directory with all below it, and the directory around each path, so that replacing it is seen, also
/// where it is a symbolic link.
fn places(paths: &[PathBuf]) -> BTreeMap<PathBuf, RecursiveMode> {
    let mut places = BTreeMap::new();
    for parent in paths.iter().filter_map(|path| path.parent()).filter(|parent| parent.is_dir()) {
        places.insert(parent.to_owned(), RecursiveMode::NonRecursive);
    }
    for directory in paths.iter().filter(|path| path.is_dir()) {
        places.insert(directory.clone(), RecursiveMode::Recursive);
    }
    places
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct PolicyWatch {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for PolicyWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
