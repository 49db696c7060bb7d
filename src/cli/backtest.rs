//! `tollgate backtest`

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Context, bail};

use crate::cli::args::{BacktestArgs, InputArgs};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::domain::time::{Clock, EventTime, SystemClock};
use crate::offline::backtest::{self, BacktestOptions};
use crate::offline::mapping::Mapping;
use crate::offline::session::ReplayFiles;

/// How many rows pass between two looks at the progress bar and at Ctrl-C.
pub const ROWS_PER_TICK: u64 = 256;

/// Runs it.
pub fn run(args: &BacktestArgs) -> anyhow::Result<()> {
    let policy = policy::load(&args.policy)?;
    let mapping = mapping(&args.input)?;
    let options = BacktestOptions {
        files: files(&args.input, mapping.as_ref()),
        from: from(args.from.as_deref())?,
        limit: args.input.limit,
    };
    let mut decisions = args.decisions.as_ref().map(policy::create).transpose()?;
    if let Some(decisions) = &mut decisions {
        writeln!(decisions, "transaction_id,decision,reason,score")?;
    }
    let mut written = Ok(());
    let interrupt = Interrupt::listen();
    let bar = progress::things("backtest", None);
    let mut rows = 0_u64;
    let clock = SystemClock;
    let started = clock.instant();
    let report = backtest::run(
        &policy,
        &options,
        |decided, replay| {
            rows += 1;
            if let Some(decisions) = &mut decisions {
                let (judgement, id) = (decided.judgement, decided.transaction.id.as_str());
                let score = judgement.score.map_or_else(String::new, |score| score.to_string());
                written = writeln!(decisions, "{id},{},{},{score}", judgement.outcome, judgement.reason);
            }
            if rows.is_multiple_of(ROWS_PER_TICK) {
                progress::tick(&bar, &replay.source().progress());
            }
            if written.is_err() || interrupt.is_set() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
        || clock.instant().duration_since(started),
    );
    bar.finish_and_clear();
    written.context("the decisions could not be written")?;
    if let Some(mut decisions) = decisions {
        decisions.flush().context("the decisions could not be written")?;
    }
    let report = report?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{report}");
    }
    if interrupt.is_set() {
        bail!("interrupted: the report covers the transactions up to then");
    }
    Ok(())
}

/// The mapping that the arguments name.
pub fn mapping(args: &InputArgs) -> anyhow::Result<Option<Mapping>> {
    Ok(args.map.as_deref().map(Mapping::load).transpose()?)
}

/// The files that the arguments name.
pub fn files<'a>(args: &'a InputArgs, mapping: Option<&'a Mapping>) -> ReplayFiles<'a> {
    ReplayFiles {
        input: &args.input,
        labels: args.labels.as_deref(),
        mapping,
        skip_bad_rows: args.skip_bad_rows,
    }
}

/// The moment from which on rows count.
pub fn from(text: Option<&str>) -> anyhow::Result<Option<EventTime>> {
    text.map(|text| EventTime::parse_rfc3339(text).with_context(|| format!("--from {text:?}"))).transpose()
}
