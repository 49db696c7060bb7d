//! The service's log, forwarded (`forward`): off the way of every answer.

use std::path::Path;
use std::sync::Arc;

use crate::audit::follow::FollowThread;
use crate::forward::entity::EntityHasher;
use crate::forward::forwarding::{self, ForwardError, ForwardedLog};
use crate::forward::settings::TargetSettings;
use crate::pipeline::service::Service;
use crate::pipeline::start::LOG_DIRECTORY;

/// Starts to forward the log of `service` under the data directory `data`.
pub fn start(
    service: &Arc<Service>,
    data: &Path,
    targets: Vec<TargetSettings>,
) -> Result<Vec<FollowThread>, ForwardError> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let log = ForwardedLog {
        data: data.to_owned(),
        directory: data.join(LOG_DIRECTORY),
        log: service.log_id,
        hasher: EntityHasher::new(service.secret.forward_key()),
        settled: {
            let service = Arc::clone(service);
            Arc::new(move || service.log_status().head.sequence)
        },
        clock: Arc::clone(&service.clock),
    };
    let started = forwarding::start(targets, &log)?;
    let (threads, statuses) = started.into_iter().map(|it| (it.thread, it.status)).unzip();
    service.metrics.forward.show(statuses);
    Ok(threads)
}
