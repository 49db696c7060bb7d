//! `tollgate load`: a run from the command line, its report and its pictures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use crate::load::options::{LoadOptions, Rate};
use crate::load::picture;
use crate::load::run::{Load, Ran};
use crate::load::saturation;

/// Runs, and prints the report.
pub(crate) fn main(options: LoadOptions) -> anyhow::Result<()> {
    let (json, path) = (options.json, options.picture.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let ran = runtime.block_on(run(options))?;
    if json {
        println!("{}", ran.report.to_json()?);
    } else {
        print!("{}", ran.report);
    }
    if let Some(path) = path {
        picture::write(&path, &ran)?;
    }
    Ok(())
}

/// Runs until all requests are answered or given up, or until Ctrl-C.
pub(crate) async fn run(options: LoadOptions) -> anyhow::Result<Ran> {
    let stop = Arc::new(AtomicBool::new(false));
    let stop_run = Arc::clone(&stop);
    let mut run = tokio::task::spawn_blocking(move || {
        let (rate, duration) = (options.rate, options.duration);
        let load = Load::prepare(options)?;
        match rate {
            Rate::PerSecond(rate) => load.run(rate, duration, &stop_run),
            Rate::Max => saturation::find(&load, &stop_run),
        }
    });
    tokio::select! {
        result = &mut run => return result.context("the run ended early")?,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C")?,
    }
    stop.store(true, Ordering::Relaxed);
    run.await.context("the run ended early")?
}
