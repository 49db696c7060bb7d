//! What `tollgate backtest` understands, and how every command reads files of transactions.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{PolicyArgs, unlabelled};
use crate::evaluation::comparison::SAMPLES_MAX;
use crate::evaluation::truth::Unlabelled;

/// How transactions are replayed.
#[derive(Args, Debug, Clone)]
pub struct ReplayArgs {
    /// Labels: what turned out to be fraud.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Which column of a foreign file is which field; see models/mappings/.
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Stop after that many transactions.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Leave out rows that are wrong, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_bad_rows: bool,
    /// Take transactions from this moment on (RFC 3339); earlier ones only fill the windows.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
}

/// Which file of transactions, and how it is replayed.
#[derive(Args, Debug, Clone)]
pub struct InputArgs {
    /// Transactions: CSV, NDJSON (both also .gz) or Parquet (with the cargo feature `parquet`).
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// How they are replayed.
    #[command(flatten)]
    pub replay: ReplayArgs,
}

/// Decisions to compare with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AgainstArg {
    /// Those that were made then.
    Recorded,
    /// Those of another directory of rules.
    Rules(PathBuf),
}

fn against(text: &str) -> Result<AgainstArg, String> {
    match text {
        "recorded" => Ok(AgainstArg::Recorded),
        "" => Err("write recorded, or a directory of rules".to_owned()),
        directory => Ok(AgainstArg::Rules(directory.into())),
    }
}

fn samples(text: &str) -> Result<usize, String> {
    let samples = text.parse().ok().filter(|samples| *samples <= SAMPLES_MAX);
    samples.ok_or_else(|| format!("write a number, at most {SAMPLES_MAX}"))
}

/// What `--help` ends with.
const EXAMPLES: &str = "\
Examples:
  What would my rules have done with the traffic that this service recorded? The service may go on running:
    tollgate backtest --rules my-rules --data data
  Only the last week, with a picture of what each rule catches and costs:
    tollgate backtest --rules my-rules --data data --from 2026-11-18T00:00:00Z --picture it.svg
  Mine against the live ones, on a file of transactions with labels:
    tollgate backtest --rules my-rules --against rules --input tx.ndjson --labels labels.ndjson
  A file that says itself what was decided, in a column that the mapping calls `decision`:
    tollgate backtest --rules my-rules --against recorded --input history.csv --map history.yaml
  No comparison: how good are these rules?
    tollgate backtest --rules rules --input tx.ndjson --labels labels.ndjson

Over the log (--data) each decision is made again from the values that were recorded with it: the same windows, the same profile. \
The labels of the log are the truth, all of them, to its end; more may come from --labels. When the feature catalogue is another one \
than then, or with --rebuild-windows, the windows are counted anew from all transactions and labels of the log, and the report says so.

Over a file (--input) they are always counted anew. What fills the streams `approved` and `declined` is what was decided then: the \
recorded decisions, or those of the --against directory; the candidate's own only where there is nothing else.

Most systems hear of frauds alone: with --unlabelled legitimate, a transaction that nobody complained about counts as legitimate. End \
the time (--to) early enough for frauds to have been reported.

In the report
  alone        hits that no other live rule has which asks for more than APPROVE
  without it   how many decisions would come out otherwise without this rule
  (a-b)        the 95 % interval: how far the figure may be chance
--json has all of it, every rule and every amount by currency, under names that stay.";

/// `tollgate backtest`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["input", "data"]))]
pub struct BacktestArgs {
    /// Transactions: CSV, NDJSON (both also .gz) or Parquet (with the cargo feature `parquet`).
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Data directory of a service: its audit log is read. The service may be running.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How transactions are replayed.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// Where the candidate is read from.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Compare with `recorded`, what was decided then (for --data, when nothing is said), or with another directory of rules.
    #[arg(long, value_name = "recorded|DIR", value_parser = against)]
    pub against: Option<AgainstArg>,
    /// Take transactions before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Take only so many of the last decisions of the log.
    #[arg(long, value_name = "N", conflicts_with = "input")]
    pub last: Option<u64>,
    /// Count the windows anew instead of taking those that were recorded.
    #[arg(long, conflicts_with = "input")]
    pub rebuild_windows: bool,
    /// What a transaction without a label is: left-out, or legitimate.
    #[arg(long, value_name = "WHAT", default_value = "left-out", value_parser = unlabelled)]
    pub unlabelled: Unlabelled,
    /// How many transactions to show of each kind of change.
    #[arg(long, value_name = "N", default_value = "5", value_parser = samples)]
    pub samples: usize,
    /// Draw what each rule catches and costs, beside thresholds on the score alone, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
    /// Write one line for each transaction: id, decision, reason, score.
    #[arg(long, value_name = "FILE")]
    pub decisions: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}
