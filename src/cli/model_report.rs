//! `tollgate model report`

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};

use crate::cli::args::ModelReportArgs;
use crate::cli::backtest::{ROWS_PER_TICK, files, mapping, moment};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::evaluation::session::Session;
use crate::offline::backtest::{BacktestOptions, Other, replay};
use crate::offline::model_report::ModelReport;
use crate::offline::picture::pictures;
use crate::offline::scored::ScoredRows;

/// The file in the output directory that holds all numbers.
const NUMBERS_FILE: &str = "report.json";

/// Runs it.
pub fn run(args: &ModelReportArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen();
    let (file, model, scored) = match (&args.input, &args.scored) {
        (Some(input), _) => {
            let (model, scored) = replayed(args, input, &interrupt)?;
            (input, Some(model), scored)
        }
        (None, Some(file)) => (file, None, read(args, file, &interrupt)?),
        (None, None) => bail!("give --input or --scored"),
    };
    let frauds = scored.rows.iter().filter(|row| row.is_fraud).count();
    if frauds == 0 || frauds == scored.rows.len() {
        bail!(
            "{}: of {} scored rows that count {frauds} are fraud; both kinds are needed. {} scored rows have no label, {} rows no score: name \
             the file of labels with --labels, or their column in the mapping (--map)",
            file.display(),
            scored.rows.len(),
            scored.unlabelled,
            scored.unscored
        );
    }
    let report = ModelReport::new(file.display().to_string(), model, scored, &args.false_positive_rate);
    let numbers = serde_json::to_string_pretty(&report)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("{}: cannot be made; name another --output", args.output.display()))?;
    write(&args.output, NUMBERS_FILE, &numbers)?;
    let pictures = pictures(&report)?;
    for (name, svg) in &pictures {
        write(&args.output, name, svg)?;
    }
    if args.json {
        say!("{numbers}");
    } else {
        say!("{report}");
        let names: Vec<&str> = pictures.iter().map(|(name, _)| *name).chain([NUMBERS_FILE]).collect();
        say!("In {}: {}", args.output.display(), names.join(", "));
    }
    if interrupt.is_set() {
        bail!("interrupted: the report covers the transactions up to then");
    }
    Ok(())
}

fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let file = directory.join(name);
    std::fs::write(&file, text).with_context(|| format!("{}: cannot be written", file.display()))
}

/// The scores that the policy's model gives to transactions as they come, and the model's hash.
fn replayed(
    args: &ModelReportArgs,
    input: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<(String, ScoredRows)> {
    let policy = policy::load(&args.policy)?;
    let Some(model) = policy.versions.model.as_deref().map(str::to_owned) else {
        bail!("there is no model to report on: name its directory with --model");
    };
    let mapping = mapping(&args.replay)?;
    let options = BacktestOptions {
        files: files(input, &args.replay, mapping.as_ref()),
        from: moment("--from", args.replay.from.as_deref())?,
        to: None,
        limit: args.replay.limit,
    };
    let session = Session::with_ip(&policy, policy::ip_knowledge(&args.policy)?);
    let bar = progress::things("model report", None);
    let (mut scored, mut added, mut rows) = (ScoredRows::new(args.unlabelled), Ok(()), 0_u64);
    let done = replay(&session, Other::Nothing, &options, |decided, replay| {
        rows += 1;
        if decided.is_measured {
            let score = decided.judgement.score.map(f64::from);
            added = scored.add(input, score, decided.truth, decided.transaction.amount);
        }
        if rows.is_multiple_of(ROWS_PER_TICK) {
            progress::tick(&bar, &replay.source().progress());
        }
        if added.is_err() || interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    let done = done?;
    added?;
    let bad_rows = done.source().bad_rows();
    scored.skipped = bad_rows.count();
    scored.first_skipped = bad_rows.first().to_vec();
    Ok((model, scored))
}

fn read(args: &ModelReportArgs, file: &Path, interrupt: &Interrupt) -> anyhow::Result<ScoredRows> {
    let bar = progress::things("model report", None);
    let mut rows = 0_u64;
    let scored = ScoredRows::read(file, args.unlabelled, args.replay.skip_bad_rows, |progress| {
        rows += 1;
        if rows.is_multiple_of(ROWS_PER_TICK) {
            progress::tick(&bar, progress);
        }
        !interrupt.is_set()
    });
    bar.finish_and_clear();
    Ok(scored?)
}
