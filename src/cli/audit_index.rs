//! `tollgate audit index`

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::audit::segment::LogLock;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::progress;
use crate::pipeline::secret::Secret;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::search::log_search::LogSearch;
use crate::search::parts::SEARCH_DIRECTORY;

/// `tollgate audit index`
#[derive(Args, Debug)]
#[command(
    after_help = "A running service makes its index itself; this is for a directory at rest, such as one restored from a backup. What is\nindexed stays; what is missing or damaged is made from the log. The index can be deleted at any time: DIR/search.\n\nExample:\n  tollgate audit index --data restored && tollgate audit search --data restored --customer c_7"
)]
pub struct AuditIndexArgs {
    /// Data directory of a service that does not run.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Makes what is missing of the index.
pub fn run(args: &AuditIndexArgs) -> anyhow::Result<()> {
    let (log, directory) = (args.data.join(LOG_DIRECTORY), args.data.join(SEARCH_DIRECTORY));
    let Some(secret) = Secret::load(&args.data)? else {
        bail!(
            "{}: no secret there: an index is keyed by the secret of its installation",
            args.data.display()
        );
    };
    let _lock = LogLock::take(&log).context("a service that runs makes its index itself")?;
    let open = || {
        LogSearch::open(&log, &directory, Some(secret.search_key()))
            .with_context(|| format!("{}: no log to index", log.display()))
    };
    let (interrupt, search) = (Interrupt::listen(), open()?);
    for refused in &search.refused {
        eprintln!("made again: {refused}");
    }
    let bar = progress::things("index", None);
    let made = search.build(&directory, |stored| {
        bar.set_position(stored.header.sequence);
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    let (made, coverage) = (made?, open()?.coverage());
    if args.json {
        say!("{}", json!({"parts_made": made, "parts": coverage.parts, "records": coverage.records}));
    } else {
        say!("{made} parts made; {} parts cover {} records", coverage.parts, coverage.records);
    }
    Ok(())
}
