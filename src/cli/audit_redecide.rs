//! `tollgate audit redecide`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::args::PolicyArgs;
use crate::cli::backtest::moment;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::{policy, progress};
use crate::domain::time::{Clock, SystemClock};
use crate::engine::policy::Policy;
use crate::pipeline::recover::consequences_max;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::policy_archive::store::PolicyArchive;
use crate::redecide::policies::Policies;
use crate::redecide::rebuild;
use crate::redecide::report::{Compared, Counts, Difference, RedecideReport};
use crate::redecide::run::{self, Progress, Stretch, THREADS_MAX};
use crate::redecide::window_state::WindowSettings;

/// Most policies that can be given by hand.
const GIVEN_MAX: usize = 32;
/// How often the bar moves and Ctrl-C is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most rows of one table in the text; `--json` has all.
const ROWS_SHOWN_MAX: usize = 20;

/// `tollgate audit redecide`
#[derive(Args, Debug)]
#[command(
    about = "Make every recorded decision again and hold it against its record, bit for bit; with --rebuild its windows, too.",
    after_help = "Examples:\n  A whole log; the service may be running:\n    tollgate audit redecide --data data\n  Also count the windows anew from the log, and compare every feature of every decision:\n    tollgate audit redecide --data data --rebuild\n  One day; as data, for a nightly job:\n    tollgate audit redecide --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z --json\n  A log that is older than the policy archive: a checkout of what decided then, with its tollgate.toml, rules and models:\n    tollgate audit redecide --policy ../deployed-in-march --policy ../deployed-in-april\n\nEach record names its policy, and <data>/policies holds what that was made of. A record that cannot be made again is counted by\nthe reason: its policy is not in the archive, needs libxgboost, or is of a version of the program that named policies otherwise.\n\nExit codes:\n  0  all that could be made again is the same; the counts say what could not\n  1  a difference, damage, an interruption, or not one decision could be made again\n  2  the command line is wrong"
)]
pub struct AuditRedecideArgs {
    /// Data directory of the service: its log, its policy archive and, for --rebuild, its secret and snapshots.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// The first record.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
    pub from: u64,
    /// The last record [default: the last one of the log].
    #[arg(long, value_name = "SEQUENCE")]
    pub to: Option<u64>,
    /// Only what was recorded at or after this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what was recorded before this moment (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// A directory with a tollgate.toml, or laid out as one without (rules/, models/default/, models/features.yaml), for records whose
    /// policy is not in the archive; may be repeated. It decides records that name its hash, or else its rules, model and features.
    #[arg(long, value_name = "DIR")]
    pub policy: Vec<PathBuf>,
    /// Also count the windows anew, from the log alone, and compare the features of every decision.
    #[arg(long)]
    pub rebuild: bool,
    /// Settings file of the service, for --rebuild: how many decisions it remembers [default: tollgate.toml, if there is one].
    #[arg(long, value_name = "FILE", requires = "rebuild")]
    pub config: Option<PathBuf>,
    /// How many threads [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX as i64))]
    pub threads: Option<u16>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(args: &AuditRedecideArgs) -> anyhow::Result<()> {
    if args.policy.len() > GIVEN_MAX {
        bail!("{} policies are given; at most {GIVEN_MAX} can be", args.policy.len());
    }
    let given = args.policy.iter().map(|directory| given(directory)).collect::<anyhow::Result<_>>()?;
    let policies = Policies::new(PolicyArchive::new(&args.data), given);
    let stretch = Stretch {
        log: args.data.join(LOG_DIRECTORY),
        from: args.from,
        to: args.to.unwrap_or(u64::MAX),
        since: moment("--since", args.since.as_deref())?,
        until: moment("--until", args.until.as_deref())?,
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = args.threads.map_or(cores, usize::from);
    let clock = SystemClock;
    let started = clock.instant();
    let bytes = run::bytes(&stretch).with_context(|| format!("{}: no log to read", stretch.log.display()))?;
    let mut report = watched("redecide", bytes, |progress| run::run(&stretch, &policies, threads, progress))?;
    if args.rebuild && !report.is_interrupted {
        let config = policy::settings(args.config.as_deref())?;
        let settings = WindowSettings {
            data: args.data.clone(),
            log: stretch.log.clone(),
            decisions_max: config.decision.idempotency_keys_max,
            waiting_max: consequences_max(config.audit.queue_records_max),
        };
        let rebuilt = watched("rebuild", run::bytes(&Stretch { from: 1, ..stretch.clone() })?, |progress| {
            let rebuilt = rebuild::run(&stretch, &policies, &settings, progress);
            report.is_interrupted = progress.is_stopped();
            rebuilt
        })?;
        report.rebuilt = Some(rebuilt);
    }
    report.seconds = clock.instant().duration_since(started).as_secs_f64();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    verdict(&report)
}

fn verdict(report: &RedecideReport) -> anyhow::Result<()> {
    if report.is_interrupted {
        bail!("interrupted: the counts are of what had been read");
    }
    if !report.is_same() {
        bail!("the log does not show what was decided: see the differences and the damage above");
    }
    if report.decisions.seen > 0 && report.decisions.same == 0 {
        bail!("not one of {} decisions could be made again", report.decisions.seen);
    }
    Ok(())
}

/// Does long work on a thread of its own, with a bar, until Ctrl-C.
fn watched<T: Send, E: Send>(
    what: &'static str,
    bytes: u64,
    work: impl FnOnce(&Progress) -> Result<T, E> + Send,
) -> Result<T, E> {
    let (interrupt, progress, bar) = (Interrupt::listen(), Progress::default(), progress::bytes(what, bytes));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&progress));
        while !worker.is_finished() {
            bar.set_position(progress.bytes());
            if interrupt.is_set() {
                progress.stop();
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        bar.finish_and_clear();
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The policy of a directory as a service that is started in it has it.
fn given(directory: &Path) -> anyhow::Result<Arc<Policy>> {
    let settings = directory.join("tollgate.toml");
    let config = if settings.exists() { Some(settings) } else { None };
    let config = match config {
        Some(file) => policy::settings(Some(&file))?,
        None => crate::config::file::Config::default(),
    };
    let args = PolicyArgs { config: None, rules: None, model: None, challenger: Vec::new(), features: None };
    let mut files = policy::files(&args, &config);
    files.rules = directory.join(files.rules);
    files.features = directory.join(files.features);
    files.model = files.model.map(|model| directory.join(model));
    for challenger in &mut files.challengers {
        challenger.model = directory.join(&challenger.model);
    }
    match Policy::load(&files, config.on_missing.policy()) {
        Ok(policy) => Ok(Arc::new(policy)),
        Err(errors) => {
            bail!("--policy {}: it is not sound:\n  {}", directory.display(), errors.join("\n  "))
        }
    }
}

fn show(report: &RedecideReport) {
    match (report.first_sequence, report.last_sequence) {
        (Some(first), Some(last)) => say!("records {first} to {last} of {}", report.log),
        _ => say!("no records of {} are asked for", report.log),
    }
    show_compared("decisions", &report.decisions);
    show_compared("scores of challengers", &report.challenger_scores);
    if let Some(rebuilt) = &report.rebuilt {
        show_compared("vectors with windows counted anew", &rebuilt.vectors);
        say!("    {} features were compared", rebuilt.features);
        for note in &rebuilt.notes {
            say!("    {note}");
        }
    }
    for (policy, of_policy) in report.policies.iter().take(ROWS_SHOWN_MAX) {
        let from = match of_policy.from {
            None => "not found",
            Some(crate::redecide::policies::Origin::Archive) => "from the archive",
            Some(crate::redecide::policies::Origin::Given) => "given by --policy",
            Some(crate::redecide::policies::Origin::GivenByParts) => {
                "given by --policy, which has its rules, model and features, and another hash"
            }
        };
        let decisions = of_policy.decisions;
        say!(
            "policy {policy}: {} decisions from record {} on, {from}",
            decisions.count,
            decisions.first_sequence
        );
    }
    for damage in &report.damages {
        say!("damage: {damage}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = (report.decisions.same + report.decisions.different) as f64 / report.seconds.max(1e-9);
    say!("{:.1} s, {} threads, {rate:.0} decisions/s", report.seconds, report.threads);
}

fn show_compared(what: &str, compared: &Compared) {
    if compared.seen == 0 {
        return;
    }
    let not = compared.not_compared.total();
    say!(
        "{} {what}: {} the same, bit for bit; {} different; {not} could not be compared",
        compared.seen,
        compared.same,
        compared.different
    );
    show_counts("not compared", &compared.not_compared);
    show_counts("different in", &compared.differences);
    if let Some(first) = &compared.first_difference {
        show_difference(first);
    }
}

fn show_counts(what: &str, Counts(counts): &Counts) {
    for (name, count) in counts.iter().take(ROWS_SHOWN_MAX) {
        say!("    {what}: {name}: {}, the first at record {}", count.count, count.first_sequence);
    }
    if counts.len() > ROWS_SHOWN_MAX {
        say!("    {what}: {} more, which --json shows", counts.len() - ROWS_SHOWN_MAX);
    }
}

fn show_difference(first: &Difference) {
    let Difference { sequence, decision_id, transaction_id, recorded_at, policy, fields } = first;
    let of =
        if transaction_id.is_empty() { String::new() } else { format!(" of transaction {transaction_id}") };
    say!("    the first: record {sequence} of {recorded_at}, {decision_id}{of}, policy {policy}");
    for field in fields {
        say!(
            "        {}\n            recorded  {}\n            now       {}",
            field.field,
            field.recorded,
            field.decided
        );
    }
}
