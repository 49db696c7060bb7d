//! All targets of one service: a thread for each.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tracing::info;

use crate::audit::follow::{FollowError, FollowThread, Follower};
use crate::audit::receipt::LogId;
use crate::domain::time::Clock;
use crate::forward::cursors::{FORWARD_DIRECTORY, place_file};
use crate::forward::dead_letters::DeadLetters;
use crate::forward::entity::EntityHasher;
use crate::forward::redis_streams::RedisStreams;
use crate::forward::settings::{Destination, Start, TargetName, TargetSettings};
use crate::forward::sink::Sink;
use crate::forward::status::TargetStatus;
use crate::forward::worker::Worker;

/// Why forwarding cannot begin.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The directory of places and dead letters.
    #[error("{path}: cannot be made: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A target cannot be set up.
    #[error("the target {name} of forwarding cannot be set up: {error}")]
    Target {
        /// Its name.
        name: TargetName,
        /// Why.
        error: io::Error,
    },
    /// Its thread.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

/// The log that is forwarded.
#[derive(Clone)]
pub struct ForwardedLog {
    /// The data directory.
    pub data: PathBuf,
    /// The directory of the log in it.
    pub directory: PathBuf,
    /// Its id.
    pub log: LogId,
    /// What keys the hashes of entities.
    pub hasher: EntityHasher,
    /// Says the last record that the log's writer will not take back.
    pub settled: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for ForwardedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardedLog").field("log", &self.log).finish_non_exhaustive()
    }
}

/// A target that is being followed up: its thread ends with this value.
#[derive(Debug)]
pub struct Forwarding {
    /// The thread.
    pub thread: FollowThread,
    /// How it is doing.
    pub status: Arc<TargetStatus>,
}

/// Starts a thread for each target. They connect by themselves: a target may be away now and come later.
pub fn start(targets: Vec<TargetSettings>, log: &ForwardedLog) -> Result<Vec<Forwarding>, ForwardError> {
    make_directory(&log.data)?;
    targets.into_iter().map(|settings| start_one(settings, log)).collect()
}

fn start_one(settings: TargetSettings, log: &ForwardedLog) -> Result<Forwarding, ForwardError> {
    let settled = (log.settled)();
    let otherwise = match settings.start {
        Start::Oldest => 0,
        Start::Newest => settled,
    };
    let follower = Follower::open(
        &log.directory,
        log.log,
        place_file(&log.data, &settings.name),
        settled,
        otherwise,
        Arc::clone(&log.clock),
    )?;
    let sink = sink(&settings, log.log)?;
    let done = follower.done();
    info!(forward = %settings.name, place = %settings.destination, from = done + 1, behind = settled - done, "the log is forwarded");
    let status = Arc::new(TargetStatus::new(settings.name.clone(), done));
    let letters = DeadLetters::of(&log.data, &settings.name);
    let hasher = log.hasher.clone();
    let worker = Worker::new(settings, sink, hasher, letters, Arc::clone(&status), Arc::clone(&log.clock));
    let settled = Arc::clone(&log.settled);
    let thread = FollowThread::start("forward", follower, move || settled(), worker)?;
    Ok(Forwarding { thread, status })
}

/// Makes the directory of places and dead letters.
pub fn make_directory(data: &Path) -> Result<(), ForwardError> {
    let path = data.join(FORWARD_DIRECTORY);
    std::fs::create_dir_all(&path).map_err(|error| ForwardError::Directory { path, error })
}

/// A target, for records of that log; connects to nothing yet.
pub fn sink(settings: &TargetSettings, log: LogId) -> Result<Box<dyn Sink>, ForwardError> {
    let sink: io::Result<Box<dyn Sink>> = match &settings.destination {
        Destination::RedisStreams(stream) => {
            RedisStreams::new(stream.clone(), log, settings.message_bytes_max).map(|sink| Box::new(sink) as _)
        }
        #[cfg(feature = "kafka")]
        Destination::Kafka(kafka) => {
            crate::forward::kafka::KafkaSink::new(kafka.clone(), settings.message_bytes_max)
                .map(|sink| Box::new(sink) as _)
        }
    };
    sink.map_err(|error| ForwardError::Target { name: settings.name.clone(), error })
}
