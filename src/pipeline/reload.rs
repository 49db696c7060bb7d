//! Hot reload: on a file change, on SIGHUP, and on request. Each attempt is recorded, also one that is refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::audit::frame::Kind;
use crate::audit::record::{self, PolicyRecord};
use crate::pipeline::fold::Consequence;
use crate::pipeline::policy::{PolicyStatus, Reloaded};
use crate::pipeline::service::Service;

/// How long a change may go on before it is read: an editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(100);

impl Service {
    /// What is live, and why the last candidate was refused.
    pub fn policy_status(&self) -> PolicyStatus {
        self.policies.status()
    }

    /// Reads the policy's files again and swaps it in when it is sound; records what came of it.
    pub async fn reload(self: &Arc<Self>, cause: &'static str) -> PolicyStatus {
        let service = Arc::clone(self);
        let now = self.clock.now();
        let reloaded = tokio::task::spawn_blocking(move || service.policies.reload(cause, now)).await;
        let status = self.policies.status();
        match reloaded {
            Ok(Reloaded::Unchanged) => return status,
            Ok(Reloaded::Live) => info!(cause, policy = %status.policy, "a new policy is live"),
            Ok(Reloaded::Refused(errors)) => {
                for error in &errors {
                    warn!(cause, "the policy candidate was refused: {error}");
                }
            }
            Err(error) => {
                error!(cause, %error, "the reload did not finish");
                return status;
            }
        }
        self.metrics.count_reload(status.refused.is_none());
        self.record_policy(cause, &status).await;
        status
    }

    /// Records which policy is live, or why a candidate is not.
    pub async fn record_policy(&self, cause: &'static str, status: &PolicyStatus) {
        let body = PolicyRecord {
            cause: cause.into(),
            policy: status.policy.clone(),
            versions: status.versions.clone(),
            refused: status.refused.as_ref().map_or_else(Vec::new, |refusal| refusal.errors.clone()),
        };
        let written = match (record::encode(&body), self.log.reserve()) {
            (Ok(body), Ok(ticket)) => ticket
                .commit(Kind::PolicyChange, self.clock.now(), body, Consequence::Policy)
                .await
                .map(|_| ()),
            (Err(error), _) => return error!(%error, "a policy change could not be written as a record"),
            (_, Err(error)) => Err(error),
        };
        if let Err(error) = written {
            error!(%error, "a policy change could not be recorded");
        }
    }
}

/// Watches the policy's files until the service goes away; each change leads to one reload.
pub fn watch(service: Arc<Service>) -> notify::Result<PolicyWatch> {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            let _ = changed.try_send(()); // one waiting change is enough: the reload reads everything
        }
    })?;
    for path in existing(&service.policies.watched()) {
        watcher.watch(&path, RecursiveMode::Recursive)?;
    }
    let task = tokio::spawn(async move {
        while changes.recv().await.is_some() {
            tokio::time::sleep(SETTLE).await;
            let _ = changes.try_recv();
            service.reload("file_change").await;
        }
    });
    Ok(PolicyWatch { _watcher: watcher, task })
}

/// What is there to be watched: a file is watched through its directory, so that replacing it is seen.
fn existing(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut watched: Vec<PathBuf> = paths
        .iter()
        .filter_map(|path| if path.is_dir() { Some(path.as_path()) } else { path.parent() })
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path }.to_owned())
        .collect();
    watched.sort();
    watched.dedup();
    watched
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct PolicyWatch {
    _watcher: RecommendedWatcher,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for PolicyWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
