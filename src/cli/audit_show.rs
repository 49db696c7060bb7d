//! `tollgate audit show`

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::cli::audit_show_text;
use crate::cli::covered_by::{self, CoveredBy, covered_by};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::policy::settings;
use crate::cli::{log_search, progress};
use crate::feature::catalogue::Catalogue;
use crate::search::dossier::Dossier;

/// `tollgate audit show`
#[derive(Args, Debug)]
#[command(
    after_help = "Shows what came in, what was known, why it was decided so, what became known later, where the record stands in the chain, and which signed\ncheckpoint covers it.\nValues of features have their names where --features names the catalogue of then.\n\nExamples:\n  tollgate audit show 88123\n  tollgate audit show dec_01K5ZV1Q2M8T7B9W3R6Y4N0XCE\n  tollgate audit show pay_9_1 --json | jq .body.enrichment"
)]
pub struct AuditShowArgs {
    /// Data directory of the service.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// The sequence of any record, or the id of a decision or of its transaction.
    #[arg(value_name = "SEQUENCE|ID")]
    pub which: String,
    /// The feature catalogue of then; without it the one of the settings, where it is the same.
    #[arg(long, value_name = "FILE")]
    pub features: Option<PathBuf>,
    /// Settings file; without it tollgate.toml in the working directory, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the record as JSON, with what became known later and the checkpoint that covers it.
    #[arg(long)]
    pub json: bool,
}

/// A record with what vouches for it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    dossier: &'a Dossier,
    /// The newest checkpoint that is kept in the data directory; null where it does not cover the record.
    checkpoint: Option<CoveredBy>,
}

/// Finds a record and prints it.
pub fn run(args: &AuditShowArgs) -> anyhow::Result<()> {
    let search = log_search::open(&args.data)?;
    let Some(log_id) = search.log_id else { bail!("the log in {} is empty", args.data.display()) };
    let interrupt = Interrupt::listen();
    let go_on = || if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let bar = progress::things("search", None);
    let sequence = if let Ok(sequence) = args.which.parse::<u64>() {
        Some(sequence)
    } else {
        let found =
            search.searcher.find(&search.stretches, std::slice::from_ref(&args.which), |scanned| {
                bar.set_position(scanned);
                go_on()
            })?;
        found.into_iter().next().flatten().map(|found| found.sequence)
    };
    let dossier = match sequence {
        Some(sequence) => search.searcher.dossier(&search.stretches, log_id, sequence, go_on)?,
        None => None,
    };
    bar.finish_and_clear();
    let Some(dossier) = dossier else {
        bail!(
            "{}: the log has no record with this sequence, no decision with this id and none of a transaction with this id{}",
            args.which,
            log_search::elsewhere(&args.data)
        );
    };
    let checkpoint = covered_by(&args.data, dossier.sequence).unwrap_or_else(|error| {
        eprintln!("which checkpoint covers it cannot be said: {error:#}");
        None
    });
    if args.json {
        say!("{}", serde_json::to_string_pretty(&Shown { dossier: &dossier, checkpoint })?);
        return Ok(());
    }
    audit_show_text::print(&dossier, catalogue(args)?.as_deref())?;
    covered_by::print(checkpoint.as_ref(), dossier.sequence);
    Ok(())
}

/// The catalogue that names values: one that was asked for must be sound, that of the settings is taken if it is there.
fn catalogue(args: &AuditShowArgs) -> anyhow::Result<Option<Arc<Catalogue>>> {
    if let Some(file) = &args.features {
        return match Catalogue::load(file) {
            Ok(catalogue) => Ok(Some(Arc::new(catalogue))),
            Err(errors) => bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        };
    }
    let file = settings(args.config.as_deref())?.paths.features;
    Ok(Catalogue::load(&file).ok().map(Arc::new))
}
