//! `tollgate backtest`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::ProgressBar;

use crate::cli::args_backtest::{AgainstArg, BacktestArgs, ReplayArgs};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::domain::time::{Clock, EventTime, SystemClock};
use crate::domain::transaction::Transaction;
use crate::engine::judge::Judgement;
use crate::engine::policy::{Policy, load_rules};
use crate::evaluation::recorded::{self, Rebuild, RecordedOptions, Step};
use crate::evaluation::report::{BacktestReport, Stopped};
use crate::evaluation::session::Session;
use crate::evaluation::tally::Against;
use crate::evaluation::truth::Truth;
use crate::offline::backtest::{self, BacktestOptions, Other};
use crate::offline::labels::LabelTable;
use crate::offline::mapping::Mapping;
use crate::offline::replay_files::ReplayFiles;
use crate::offline::tradeoff;
use crate::offline::transactions::ReadOptions;
use crate::pipeline::start::LOG_DIRECTORY;

/// How many rows pass between two looks at the progress bar and at Ctrl-C.
pub const ROWS_PER_TICK: u64 = 256;

/// Runs it.
pub fn run(args: &BacktestArgs) -> anyhow::Result<()> {
    let policy = policy::load(&args.policy)?;
    let mut work = Work {
        args,
        other: other(args, &policy)?,
        decisions: args.decisions.as_ref().map(Decisions::create).transpose()?,
        interrupt: Interrupt::listen(),
        bar: progress::things("backtest", None),
    };
    let report = match (&args.input, &args.data) {
        (Some(input), _) => work.of_file(&policy, input),
        (None, Some(data)) => work.of_log(&policy, data),
        (None, None) => bail!("give --input or --data"),
    };
    work.bar.finish_and_clear();
    let report = report?;
    if let Some(decisions) = work.decisions {
        decisions.finish()?;
    }
    let picture = match &args.picture {
        Some(file) if report.truth.fraud > 0 => {
            let svg = tradeoff::picture(&report)?;
            std::fs::write(file, svg).with_context(|| format!("{}: cannot be written", file.display()))?;
            Some(file)
        }
        Some(_) => bail!(
            "there is nothing to draw: no transaction is known to be fraud; name labels with --labels, or in the mapping (--map)"
        ),
        None => None,
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{report}");
        if let Some(file) = picture {
            say!("The trade-off is drawn in {}", file.display());
        }
    }
    if report.input.stopped == Some(Stopped::Interrupted) {
        bail!("interrupted: the report covers the transactions up to then");
    }
    Ok(())
}

struct Work<'a> {
    args: &'a BacktestArgs,
    /// The rules that the candidate is held against, when they are not what was recorded.
    other: Option<Policy>,
    decisions: Option<Decisions>,
    interrupt: Interrupt,
    bar: ProgressBar,
}

/// The candidate with the rules of the directory that it is held against.
fn other(args: &BacktestArgs, policy: &Policy) -> anyhow::Result<Option<Policy>> {
    let Some(AgainstArg::Rules(directory)) = &args.against else { return Ok(None) };
    match load_rules(directory, &policy.catalogue) {
        Ok(rules) => Ok(Some(policy.with_rules(rules))),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("the rules to compare with are not sound:\n  {}", problems.join("\n  "))
        }
    }
}

impl Work<'_> {
    fn against(&self) -> Option<Against> {
        let against = match (&self.args.against, &self.other) {
            (Some(AgainstArg::Rules(directory)), Some(other)) => {
                Against::policy(directory.display().to_string(), other)
            }
            (Some(_), _) => Against::recorded(),
            (None, _) => return None,
        };
        Some(against.samples(self.args.samples))
    }

    fn of_file(&mut self, policy: &Policy, input: &Path) -> anyhow::Result<BacktestReport> {
        let args = self.args;
        let mapping = mapping(&args.replay)?;
        let options = BacktestOptions {
            files: files(input, &args.replay, mapping.as_ref()),
            from: moment("--from", args.replay.from.as_deref())?,
            to: moment("--to", args.to.as_deref())?,
            limit: args.replay.limit,
        };
        let against = self.against();
        let Self { other, decisions, interrupt, bar, .. } = self;
        let other = match (&args.against, other) {
            (Some(AgainstArg::Recorded), _) => Other::Recorded,
            (_, Some(other)) => Other::Policy(other),
            (_, None) => Other::Nothing,
        };
        let (clock, mut rows) = (SystemClock, 0_u64);
        let started = clock.instant();
        let mut written = Ok(());
        let session = Session::with_ip(policy, policy::ip_knowledge(&args.policy)?);
        let report = backtest::run(
            &session,
            other,
            against,
            args.unlabelled,
            &options,
            |decided, replay| {
                rows += 1;
                if let Some(decisions) = decisions.as_mut().filter(|_| decided.is_measured) {
                    written = decisions.write(decided.transaction, decided.judgement);
                }
                if rows.is_multiple_of(ROWS_PER_TICK) {
                    progress::tick(bar, &replay.source().progress());
                }
                if written.is_err() || interrupt.is_set() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
            || clock.instant().duration_since(started),
        );
        written?;
        let report = report?;
        if let (Other::Recorded, Some(0)) = (other, report.comparison.as_ref().map(|it| it.compared)) {
            bail!(
                "{}: no row says what was decided; name the column in the mapping: decision: {{column: NAME}}",
                input.display()
            );
        }
        Ok(report)
    }

    fn of_log(&mut self, policy: &Policy, data: &Path) -> anyhow::Result<BacktestReport> {
        let args = self.args;
        let mut truth = Truth::default();
        if let Some(labels) = &args.replay.labels {
            let mapping = mapping(&args.replay)?;
            let options = ReadOptions { mapping: mapping.as_ref(), skip_bad_rows: args.replay.skip_bad_rows };
            for label in LabelTable::load(labels, options)?.labels() {
                truth.tell(label.transaction, label.occurred_at, label.verdict);
            }
        }
        let options = RecordedOptions {
            from: moment("--from", args.replay.from.as_deref())?,
            to: moment("--to", args.to.as_deref())?,
            last: args.last,
            limit: args.replay.limit,
            rebuild: if args.rebuild_windows { Rebuild::Always } else { Rebuild::WhenNeeded },
            unlabelled: args.unlabelled,
            labels_file: args.replay.labels.as_ref().map(|file| file.display().to_string()),
            ..RecordedOptions::all(data.join(LOG_DIRECTORY))
        };
        let against = self.against().unwrap_or_else(|| Against::recorded().samples(args.samples));
        let Self { other, decisions, interrupt, bar, .. } = self;
        let clock = SystemClock;
        let started = clock.instant();
        let mut written = Ok(());
        let report = recorded::run(
            policy,
            against,
            other.as_ref(),
            &options,
            truth,
            |step| {
                match step {
                    Step::Progress { done, total } => {
                        if let Some(total) = total {
                            bar.set_length(total);
                        }
                        bar.set_position(done);
                    }
                    Step::Decided { transaction, judgement } => {
                        if let Some(decisions) = decisions.as_mut() {
                            written = decisions.write(transaction, judgement);
                        }
                    }
                }
                if written.is_err() || interrupt.is_set() {
                    ControlFlow::Break(Stopped::Interrupted)
                } else {
                    ControlFlow::Continue(())
                }
            },
            || clock.instant().duration_since(started),
        );
        written?;
        Ok(report?)
    }
}

/// The file that holds one line for each transaction.
struct Decisions(BufWriter<File>);

impl Decisions {
    const FAILED: &str = "the decisions could not be written";

    fn create(file: &PathBuf) -> anyhow::Result<Self> {
        let mut made = policy::create(file)?;
        writeln!(made, "transaction_id,decision,reason,score").context(Self::FAILED)?;
        Ok(Self(made))
    }

    fn write(&mut self, transaction: &Transaction, judgement: &Judgement) -> anyhow::Result<()> {
        let score = judgement.score.map_or_else(String::new, |score| score.to_string());
        let id = transaction.id.as_str();
        writeln!(self.0, "{id},{},{},{score}", judgement.outcome, judgement.reason).context(Self::FAILED)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.0.flush().context(Self::FAILED)
    }
}

/// The mapping that the arguments name.
pub fn mapping(args: &ReplayArgs) -> anyhow::Result<Option<Mapping>> {
    Ok(args.map.as_deref().map(Mapping::load).transpose()?)
}

/// The files that the arguments name.
pub fn files<'a>(input: &'a Path, args: &'a ReplayArgs, mapping: Option<&'a Mapping>) -> ReplayFiles<'a> {
    ReplayFiles { input, labels: args.labels.as_deref(), mapping, skip_bad_rows: args.skip_bad_rows }
}

/// The moment that a flag names.
pub fn moment(flag: &str, text: Option<&str>) -> anyhow::Result<Option<EventTime>> {
    text.map(|text| EventTime::parse_rfc3339(text).with_context(|| format!("{flag} {text:?}"))).transpose()
}
