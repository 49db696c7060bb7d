//! What decisions add to profiles, off the way of every answer: a thread follows the log (`audit::follow`) and writes to the
//! enrichment store.
//!
//! Each step carries its record's sequence, so that the store takes it once (`enrich::update`): what was done since the last note of
//! how far it has come is sent again after a crash, and changes nothing.
//!
//! Too far behind, it skips to the last records that the bound allows, and counts what it left out. Switched on for the first time,
//! it begins with the next decision. What a Redis loses afterwards, as in a failover before it was replicated, is not sent again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::audit::bodies::Opened;
use crate::audit::damage::ReadError;
use crate::audit::follow::{Ending, FollowError, FollowThread, Follower, Work};
use crate::audit::frame::Kind;
use crate::enrich::source::ProfileSource as _;
use crate::enrich::update::ProfileUpdate;
use crate::pipeline::profile_steps::Steps;
use crate::pipeline::service::Service;
use crate::pipeline::start::LOG_DIRECTORY;

/// The furthest behind that it catches up, in records, unless config says otherwise.
pub const CATCH_UP_RECORDS_MAX_DEFAULT: u64 = 1_000_000;
/// Most records of one batch.
const BATCH_RECORDS_MAX: usize = 256;
/// Wait before a failed write is tried again; doubled after each failure.
const RETRY_WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest such wait. It bounds how late a store that is back is noticed.
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);
/// The file in the data directory that says how far it has come.
pub const PLACE_FILE: &str = "profile_updates.json";

/// What the operator chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProfileUpdateSettings {
    /// The furthest behind that it catches up, in records; older ones are left out and counted.
    pub catch_up_records_max: u64,
}

/// Starts to follow the log of `service` under the data directory `data`. Writes run on `runtime`.
pub fn start(
    service: &Arc<Service>,
    data: &Path,
    settings: ProfileUpdateSettings,
    runtime: Handle,
) -> Result<FollowThread, FollowError> {
    let settled = service.log_status().head.sequence;
    let follower = Follower::open(
        &data.join(LOG_DIRECTORY),
        service.log_id,
        data.join(PLACE_FILE),
        settled,
        settled,
        Arc::clone(&service.clock),
    )?;
    let from = follower.done();
    info!(from = from + 1, behind = settled - from, "decisions update profiles");
    let updates = Updates { service: Arc::clone(service), settings, runtime };
    let service = Arc::clone(service);
    FollowThread::start("profile-updates", follower, move || service.log_status().head.sequence, updates)
}

struct Updates {
    service: Arc<Service>,
    settings: ProfileUpdateSettings,
    runtime: Handle,
}

impl Work for Updates {
    fn round(&mut self, follower: &mut Follower, settled: u64, ending: &Ending) -> Result<(), ReadError> {
        let metrics = &self.service.metrics.profiles;
        let behind = settled.saturating_sub(follower.done());
        metrics.set_update_lag(behind);
        metrics.set_updates_done(follower.done());
        let skipped = behind.saturating_sub(self.settings.catch_up_records_max);
        if skipped > 0 {
            warn!(skipped, "profiles are too far behind the log; decisions are left out of them");
            metrics.count_updates_skipped(skipped);
            follower.skip_to(follower.done() + skipped);
        }
        if follower.done() == settled {
            return Ok(());
        }
        let mut steps = Steps::new(follower.log());
        let last = follower.read(settled, BATCH_RECORDS_MAX, |record| {
            if record.header.kind == Kind::Decision {
                let sequence = record.header.sequence;
                let decided = self.service.privacy.bodies.decision(record);
                let taken = decided.and_then(|decided| match decided {
                    Opened::Whole(decided) => steps.take(sequence, &decided),
                    // Nobody is left whose profile it could change.
                    Opened::Left(..) => Ok(()),
                });
                if let Err(error) = taken {
                    error!(%error, sequence, "a decision cannot be read to update profiles");
                }
            }
            true
        })?;
        if self.write(&steps.into_updates(), follower.done(), ending) {
            follower.is_done(last);
        } else {
            follower.again();
        }
        Ok(())
    }
}

impl Updates {
    /// Writes until it is done; `false` when the service ends first.
    fn write(&self, updates: &[ProfileUpdate], done: u64, ending: &Ending) -> bool {
        let mut wait = RETRY_WAIT_MIN;
        let mut failures = 0_u64;
        let metrics = &self.service.metrics.profiles;
        loop {
            match self.runtime.block_on(self.service.profiles.apply(updates.to_vec())) {
                Ok(applied) => {
                    metrics.count_updates(applied);
                    return true;
                }
                Err(error) => {
                    failures += 1;
                    metrics.count_update_failure();
                    if failures.is_power_of_two() {
                        warn!(%error, failures, "profiles cannot be updated; trying on");
                    }
                }
            }
            if ending.is_asked() {
                return false;
            }
            metrics.set_update_lag(self.service.log_status().head.sequence.saturating_sub(done));
            ending.pause(wait);
            wait = wait.saturating_mul(2).min(RETRY_WAIT_MAX);
        }
    }
}
