//! What `tollgate` understands.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cli::args_archive::ArchiveCommand;
use crate::cli::args_backtest::{BacktestArgs, InputArgs, ReplayArgs};
use crate::cli::audit_checkpoint::AuditCheckpointArgs;
use crate::cli::audit_erase::AuditEraseArgs;
use crate::cli::audit_forward::AuditForwardArgs;
use crate::cli::audit_index::AuditIndexArgs;
use crate::cli::audit_prove::{AuditCheckProofArgs, AuditProveArgs};
use crate::cli::audit_redecide::AuditRedecideArgs;
use crate::cli::audit_repair::AuditRepairArgs;
use crate::cli::audit_search::AuditSearchArgs;
use crate::cli::audit_show::AuditShowArgs;
use crate::cli::audit_tail::AuditTailArgs;
use crate::cli::audit_verify::AuditVerifyArgs;
use crate::engine::policy::ChallengerFiles;
use crate::evaluation::truth::Unlabelled;
use crate::offline::recorded_traffic::DECISIONS_DEFAULT;

/// Low-latency fraud decisions: windowed features, an XGBoost model, rules, and an audit log that can be proven.
#[derive(Parser, Debug)]
#[command(name = "tollgate", version, about, max_term_width = 110)]
#[command(
    after_help = "Start here:\n  tollgate serve            decide over HTTP on 127.0.0.1:8080\n  tollgate check            check rules, model and features before they go live\n  tollgate decide tx.json   decide one transaction without a server, explained\n\nLogging goes to standard error; RUST_LOG chooses what (for example RUST_LOG=tollgate=debug)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Decide transactions over HTTP.
    Serve(ServeArgs),
    /// Check rules, model and features as a reload would, and run the tests inside the rule files.
    Check(CheckArgs),
    /// Decide transactions from a file or standard input, explained, without a server.
    Decide(DecideArgs),
    /// Decide past transactions again, of the audit log or of a file, and report how well that went and what would change.
    Backtest(Box<BacktestArgs>),
    /// Write a point-in-time training set: for each transaction the features that serving would have seen.
    Features(FeaturesArgs),
    /// Make realistic transactions with known fraud.
    Simulate(SimulateArgs),
    /// Look at the audit log and prove it.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Keep closed segments of the audit log as Parquet, prove them, and bring them back.
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Look at a model, or score rows with it.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Fill the enrichment store.
    #[command(subcommand)]
    Profiles(ProfilesCommand),
    /// Show what the local files know of an address, and which file says what.
    Ip(IpArgs),
}

/// Where a policy is read from.
#[derive(Args, Debug, Clone)]
pub struct PolicyArgs {
    /// Settings file; without it tollgate.toml in the working directory, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the rules [default: rules].
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// Directory of the model [default: models/default]; "none" decides by rules alone.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// A model that scores every decision beside the one that decides, and changes none; may be repeated. In place of those in the
    /// settings.
    #[arg(long, value_name = "NAME=DIR", value_parser = challenger)]
    pub challenger: Vec<ChallengerFiles>,
    /// Feature catalogue [default: models/features.yaml].
    #[arg(long, visible_alias = "catalogue", value_name = "FILE")]
    pub features: Option<PathBuf>,
}

fn challenger(text: &str) -> Result<ChallengerFiles, &'static str> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => {
            Ok(ChallengerFiles { name: name.to_owned(), model: model.into() })
        }
        _ => Err("write a name, =, and the model's directory: next=models/next"),
    }
}

/// `tollgate serve`
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Where the policy is read from.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Address of the decision port [default: 127.0.0.1:8080]; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address of the admin port [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Directory of the audit log and the embedded profiles [default: data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Rules that decide every transaction beside the live ones, and change nothing: GET /v1/rules/candidate on the admin port
    /// says what would be different.
    #[arg(long, value_name = "DIR")]
    pub candidate: Option<PathBuf>,
    /// Redis that holds the profiles, as redis://host:port; without it the embedded store.
    #[arg(long, value_name = "URL", env = "TOLLGATE_REDIS", hide_env_values = true)]
    pub redis: Option<String>,
}

/// `tollgate check`
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  sound; warnings stand on standard error\n  1  not sound, or --deny-warnings and there are warnings, or the log cannot be read\n  2  the command line is wrong"
)]
pub struct CheckArgs {
    /// Where the policy is read from.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Also hold the rules against recorded decisions: the data directory of a service. Warns of names that are always missing and of
    /// rules that match nothing.
    #[arg(long, value_name = "DIR")]
    pub traffic: Option<PathBuf>,
    /// How many of the newest recorded decisions are looked at.
    #[arg(long, value_name = "N", requires = "traffic", default_value_t = DECISIONS_DEFAULT)]
    pub last: u64,
    /// Fail when there are warnings.
    #[arg(long)]
    pub deny_warnings: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate decide`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  One transaction that nobody has decided yet (its windows are empty):\n    tollgate decide tx.json --explain\n  A decision of a service: which rules hit, with which values, and which condition failed:\n    tollgate decide --data data --id dec_01M9Q2T7XV4B8K3N5C6D0E1F2G --explain\n  By the transaction's id; two of them, as data:\n    tollgate decide --data data --id pay_1 --id pay_2 --explain --json\n  What other rules would have made of it:\n    tollgate decide --data data --id pay_1 --rules candidate --explain\n\nWith --data the decision is made again from what its record says that it saw: the windows, the profile and the lists of then. The service may be running. It must have been recorded under the feature catalogue that is given; rules and model may be others. Lists at run time are as the log has them before that record."
)]
pub struct DecideArgs {
    /// Transactions as JSON or NDJSON, or any file that `backtest` reads; - is JSON on standard input.
    #[arg(default_value = "-", value_name = "FILE")]
    pub file: PathBuf,
    /// Decide recorded decisions again in place of a file: the data directory of a service, which may be running.
    #[arg(long, value_name = "DIR", requires = "id", conflicts_with_all = ["file", "map"])]
    pub data: Option<PathBuf>,
    /// Which recorded decision: its id, or the id of its transaction, then the newest of it; up to 32 times.
    #[arg(long, value_name = "ID", requires = "data")]
    pub id: Vec<String>,
    /// Which column of a foreign file is which field; see models/mappings/.
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Where the policy is read from.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Print which parts of each matching rule held with which values, which rules nearly matched and by how much, and the features
    /// that moved the score most.
    #[arg(long)]
    pub explain: bool,
    /// Print one JSON answer a line.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate features`
#[derive(Args, Debug)]
pub struct FeaturesArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Where the policy is read from: its answers fill the streams `approved` and `declined`.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Where to write: .csv or .parquet.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Print what was written as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate simulate`
#[derive(Args, Debug)]
pub struct SimulateArgs {
    /// Transactions to write, as NDJSON in the shape of the API.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Labels to write, as NDJSON: what becomes known, when it becomes known.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// The truth to write, as NDJSON: for every transaction whether it is fraud, and its scenario, also what nobody reports.
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// All parameters, as YAML; the flags below win.
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,
    /// Seed: the same seed and parameters make the same bytes.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many customers.
    #[arg(long, value_name = "N")]
    pub customers: Option<u32>,
    /// How many days.
    #[arg(long, value_name = "N")]
    pub days: Option<u32>,
    /// The first day (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Print a summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate audit`
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Check a whole log: checksums, hash chain, order, Merkle tree and signed checkpoints.
    Verify(AuditVerifyArgs),
    /// Print the newest signed checkpoint or the public key, sign one now, or add a key.
    Checkpoint(AuditCheckpointArgs),
    /// Prove that a record stands in the log, or that the log goes on from an earlier checkpoint.
    Prove(AuditProveArgs),
    /// Check a proof: with the public key, and without the log.
    CheckProof(AuditCheckProofArgs),
    /// Print records as JSON, one a line.
    Export(AuditExportArgs),
    /// Find decisions by time, customer, card, merchant, outcome, rule, reason or score.
    Search(Box<AuditSearchArgs>),
    /// Print one record, readably: what came in, what was known, why, and what became known later.
    Show(AuditShowArgs),
    /// See how far the log is forwarded; send dead letters again; go back to an earlier record.
    Forward(AuditForwardArgs),
    /// Print decisions as they are recorded.
    Tail(Box<AuditTailArgs>),
    /// Make the index that searches use, of a log at rest.
    Index(AuditIndexArgs),
    /// Make every recorded decision again and hold it against its record, bit for bit; with --rebuild its windows, too.
    Redecide(Box<AuditRedecideArgs>),
    /// Make somebody's personal data unreadable, in the log and in every copy of it.
    Erase(AuditEraseArgs),
    /// Show what is damaged at the log's end, and set it aside when asked to, so that a service can go on.
    Repair(AuditRepairArgs),
}

/// `tollgate audit export`
#[derive(Args, Debug)]
pub struct AuditExportArgs {
    /// Data directory of the service.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// From this sequence on.
    #[arg(long, default_value_t = 1)]
    pub from: u64,
    /// At most that many records.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `tollgate model`
#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// Print what a model is made of.
    Inspect(ModelInspectArgs),
    /// Score rows.
    Score(ModelScoreArgs),
    /// Hold a model's scores to libxgboost's, row by row and bit by bit, and print a parity certificate.
    Verify(ModelVerifyArgs),
    /// Draw how far a model's scores can be trusted, and choose the threshold for a false-positive rate, with what it catches and costs.
    Report(Box<ModelReportArgs>),
}

/// `tollgate model inspect`
#[derive(Args, Debug)]
pub struct ModelInspectArgs {
    /// Model directory or XGBoost JSON file.
    pub model: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate model score`
#[derive(Args, Debug)]
pub struct ModelScoreArgs {
    /// Model directory or XGBoost JSON file.
    pub model: PathBuf,
    /// Rows as CSV: the header names the model's features; an empty field is missing.
    #[arg(long, value_name = "ROWS.csv")]
    pub input: PathBuf,
    /// Also write how much each feature moved the margin.
    #[arg(long)]
    pub contributions: bool,
    /// Where to write.
    #[arg(long, value_name = "OUT.csv")]
    pub output: PathBuf,
}

/// `tollgate model verify`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  Before a model goes live; keep the certificate in its manifest.json, as the field parity:\n    tollgate model verify models/default --rows 500000 --write\n  On rows that were really served, as `tollgate features` writes them (CSV):\n    tollgate model verify models/default --input features.csv\n\nDrawn rows are the same for the same seed. They hold missing values, infinities, denormals, -0.0 and the model's own thresholds\nwith their neighbours. It exits with 1 when one margin differs in one bit, or one probability by more than one unit in the\nlast place; a certificate that does not hold is not written.\n\nlibxgboost 1.6.2 is in builds with `cargo build --release --features xgboost` (models/README.md says what that needs). Other builds\ncompare Tollgate's own evaluators with each other, and say so. What libxgboost was given to read stands in brackets:\n  file                        the model's file\n  file_with_plain_base_score  the same, with base_score as versions before 3.1 write it\n  trees_of_tollgate           the trees as Tollgate read them, where 1.6.2 cannot read the file (UBJSON, DART, binary:logitraw)"
)]
pub struct ModelVerifyArgs {
    /// Model directory, or XGBoost's file in JSON or UBJSON.
    pub model: PathBuf,
    /// How many rows to draw.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub rows: u64,
    /// Which rows to draw.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u32,
    /// Take rows from a CSV file instead, whose header names the model's features; an empty field is missing.
    #[arg(long, value_name = "ROWS.csv", conflicts_with_all = ["rows", "seed"])]
    pub input: Option<PathBuf>,
    /// Write the certificate into the model directory's manifest.json.
    #[arg(long)]
    pub write: bool,
    /// Print the certificate as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate model report`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  Replay labelled transactions, and measure the model on those it was not trained on:\n    tollgate model report --input tx.ndjson --labels labels.ndjson --from 2026-03-22T00:00:00Z --output report\n  Another false-positive rate; several at once:\n    tollgate model report --input tx.ndjson --labels labels.ndjson --false-positive-rate 0.05% --false-positive-rate 1% --output report\n  Scores that anybody's model has written, in a file with the columns score,label,amount,currency:\n    tollgate model report --scored scored.csv --output report\n\nIt prints the thresholds with their 95 % intervals and writes into the output directory:\n  reliability.svg        does a score of 10 % mean that one in ten is fraud?\n  precision_recall.svg   what share of fraud each precision costs, with the thresholds marked\n  scores.svg             how the scores of legitimate transactions and of frauds spread\n  report.json            all numbers, also those of --json\n\nPut a threshold into rules/model.yaml (score >= ...), or into the model's manifest.json (thresholds.high), for the risk level."
)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["input", "scored"]))]
pub struct ModelReportArgs {
    /// Transactions to replay and score: CSV, NDJSON (both also .gz) or Parquet (with the cargo feature `parquet`).
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Rows that are scored already: columns score (0 to 1), label (1/0, fraud/legitimate), amount (major units), currency.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["labels", "map", "from", "limit", "rules", "model", "features", "config"])]
    pub scored: Option<PathBuf>,
    /// How they are replayed.
    #[command(flatten)]
    pub replay: ReplayArgs,
    /// Where the policy is read from.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Choose the threshold that stops at most this share of the legitimate transactions: 0.1% or 0.001; may be repeated.
    #[arg(long, value_name = "RATE", default_value = "0.1%", value_parser = false_positive_rate)]
    pub false_positive_rate: Vec<f64>,
    /// What a transaction without a label is: legitimate, or left-out. Measure where frauds have had time to be reported.
    #[arg(long, value_name = "WHAT", default_value = "legitimate", value_parser = unlabelled)]
    pub unlabelled: Unlabelled,
    /// Directory for the pictures and report.json; it is made if need be.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What a transaction without a label is.
pub fn unlabelled(text: &str) -> Result<Unlabelled, &'static str> {
    match text {
        "legitimate" => Ok(Unlabelled::Legitimate),
        "left-out" => Ok(Unlabelled::LeftOut),
        _ => Err("write legitimate or left-out"),
    }
}

/// A share of legitimate transactions, as `0.1%` or `0.001`.
fn false_positive_rate(text: &str) -> Result<f64, String> {
    let (number, hundred) = text.trim().strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let rate = number.trim().parse::<f64>().map(|number| number / hundred).ok();
    rate.filter(|rate| (0.0..1.0).contains(rate))
        .ok_or_else(|| "write 0.1% or 0.001: at least 0, less than 100%".to_owned())
}

/// `tollgate profiles`
#[derive(Subcommand, Debug)]
pub enum ProfilesCommand {
    /// Fill the store from a file: NDJSON, CSV (also .csv.gz) or Parquet (with the cargo feature `parquet`).
    Import(ProfilesImportArgs),
}

/// `tollgate profiles import`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  NDJSON, one profile per line; null removes a field, fields that are not named stay:\n    {\"entity\": \"customer\", \"id\": \"c_7\", \"lifetime_orders\": 5, \"last_country\": \"DE\"}\n  CSV or Parquet, where each further column is a field and an empty cell leaves what is stored:\n    tollgate profiles import --entity customer --id customer_id customers.csv\n  Into Redis; other systems may as well write HSET tollgate:profile:customer:c_7 lifetime_orders 5:\n    tollgate profiles import --redis redis://localhost customers.parquet --entity customer\n\nThe first wrong row stops the import and is named; rows before it are stored. Importing again is safe."
)]
pub struct ProfilesImportArgs {
    /// The file; - is standard input, with NDJSON.
    pub file: PathBuf,
    /// CSV and Parquet: whose profiles they all are; else the column `entity` says so.
    #[arg(long, value_name = "ENTITY")]
    pub entity: Option<String>,
    /// CSV and Parquet: the column with the id.
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    pub id: String,
    /// Data directory whose embedded store is filled.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Settings, for what they say about Redis' credentials and certificates.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Redis to fill instead.
    #[arg(long, value_name = "URL", env = "TOLLGATE_REDIS", hide_env_values = true)]
    pub redis: Option<String>,
}

/// `tollgate ip`
#[derive(Args, Debug)]
#[command(
    after_help = "The files are those that [ip] of the settings names; none: only the kind of the address is known.\n\nExamples:\n  What rules would read of an address (ip.country, ip.is_tor, ...), and which file says so:\n    tollgate ip 198.51.100.7\n  The same as data; what is missing is null:\n    tollgate ip 2a02:cf40::1 --json\n\nA name is missing when no file knows it. ip.is_tor is false when there is a list of the category tor and the address is not on it,\nand missing when there is no such list."
)]
pub struct IpArgs {
    /// The address, of version 4 or 6.
    pub address: String,
    /// Settings file; without it tollgate.toml in the working directory, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}
