//! One record into the log of a service that does not run.

use std::time::Duration;

use anyhow::Context;

use crate::audit::frame::Kind;
use crate::audit::open::OpenedLog;
use crate::audit::writer::{LogHandle, LogWriter, WriterOptions};
use crate::domain::time::{Clock as _, SystemClock};

/// How long the log may take to hold it.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Writes it, and returns when it is on stable storage.
pub(super) fn write(opened: OpenedLog, kind: Kind, body: Vec<u8>) -> anyhow::Result<()> {
    let log: LogHandle<()> =
        LogWriter::start(opened, WriterOptions::default(), Box::new(|_| {}), Box::new(|_| {}))?;
    let ticket = log.reserve().context("the log takes no record")?;
    ticket.commit(kind, SystemClock.now(), body, ()).wait_blocking()?;
    Ok(log.close(CLOSE_PATIENCE)?)
}
