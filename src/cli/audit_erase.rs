//! `tollgate audit erase`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::admin_client;
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::progress;
use crate::domain::time::SystemClock;
use crate::enrich::embedded::{EmbeddedProfiles, FILE_NAME};
use crate::enrich::source::ProfileSource as _;
use crate::pipeline::erasure::{ErasureDone, ErasureRequest};
use crate::pipeline::erasure_stopped::erase_stopped;

/// How long a running service may take: it counts for 10 s, and takes a state snapshot where old ones have to go.
const ADMIN_PATIENCE: Duration = Duration::from_secs(180);

/// `tollgate audit erase`
#[derive(Args, Debug)]
#[command(after_long_help = "\
The personal data of every record is sealed with a key of the customer's (else the card's, else the device's). Erasing records that it was \
asked for, and destroys the key: the data is gone from the log, from archives and from backups, while hash chain and proofs still verify and \
decisions can still be counted. Values of theirs are taken off lists at run time, and their profiles are removed. Nothing brings them back.

Examples:
  tollgate audit erase --customer cus_81 --note 'asked on 2026-10-21, ticket 12' --dry-run
  tollgate audit erase --customer cus_81 --note 'asked on 2026-10-21, ticket 12'
  TOLLGATE_ADMIN_KEY=... tollgate audit erase --admin 127.0.0.1:8081 --customer cus_81 --card fp_9 --note 'ticket 12'

Backups of <data>/keys must live shorter than an erasure may take by law: see src/privacy/README.md.")]
pub struct AuditEraseArgs {
    /// The customer's id.
    #[arg(long, value_name = "ID")]
    pub customer: Option<String>,
    /// The fingerprint of a card: of records that name no customer.
    #[arg(long, value_name = "FINGERPRINT")]
    pub card: Option<String>,
    /// The id of a device: of records that name neither customer nor card.
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Why: who asked, under which number. It stays in the log, and must not name anybody.
    #[arg(long, value_name = "TEXT")]
    pub note: String,
    /// Data directory of the service, which must be stopped.
    #[arg(long, value_name = "DIR", default_value = "data", conflicts_with = "admin")]
    pub data: PathBuf,
    /// Admin port of the service, when it runs; its API key stands in TOLLGATE_ADMIN_KEY.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Only say what would be erased. Takes the log's lock, too.
    #[arg(long, conflicts_with = "admin")]
    pub dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

impl AuditEraseArgs {
    fn request(&self) -> ErasureRequest {
        ErasureRequest {
            customer: self.customer.clone(),
            card: self.card.clone(),
            device: self.device.clone(),
            note: self.note.trim().to_owned(),
        }
    }
}

/// Runs it.
pub fn run(args: &AuditEraseArgs) -> anyhow::Result<()> {
    let request = args.request();
    request.check()?;
    let done = match &args.admin {
        Some(admin) => ask(admin, &request)?,
        None => serde_json::to_value(stopped(args, &request)?)?,
    };
    if args.json {
        say!("{done:#}");
    } else {
        say_text(&done, args.dry_run);
    }
    Ok(())
}

fn stopped(args: &AuditEraseArgs, request: &ErasureRequest) -> anyhow::Result<ErasureDone> {
    let (bar, interrupt) = (progress::things("count", None), Interrupt::listen());
    let erased = erase_stopped(&args.data, request, !args.dry_run, Arc::new(SystemClock), |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        !interrupt.is_set()
    });
    bar.finish_and_clear();
    let mut done = erased?;
    if args.dry_run {
        return Ok(done);
    }
    if args.data.join(FILE_NAME).exists() {
        match remove_profiles(args, request) {
            Ok(removed) => done.profiles_removed = removed,
            Err(error) => done.notes.push(format!("profiles are not removed: {error:#}")),
        }
    }
    done.notes.push(
        "profiles in Redis, if there are any, are removed by an erasure with --admin while the service runs"
            .to_owned(),
    );
    Ok(done)
}

fn remove_profiles(args: &AuditEraseArgs, request: &ErasureRequest) -> anyhow::Result<u64> {
    let profiles = EmbeddedProfiles::open(&args.data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let removed = runtime.block_on(profiles.remove(request.profiles()))?;
    drop(profiles);
    // Opened again, the file is written without what was removed.
    drop(EmbeddedProfiles::open(&args.data)?);
    Ok(removed)
}

/// Asks a running service. The answer is shown as it came.
fn ask(admin: &str, request: &ErasureRequest) -> anyhow::Result<Value> {
    let ErasureRequest { customer, card, device, note } = request;
    let body = json!({"customer": customer, "card": card, "device": device, "note": note}).to_string();
    let answer = admin_client::post(admin, "/v1/audit/erasures", &body, ADMIN_PATIENCE)?;
    Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
}

fn say_text(done: &Value, is_dry_run: bool) {
    let number = |name: &str| done[name].as_u64().unwrap_or(0);
    let records = |name: &str| done["records"][name].as_u64().unwrap_or(0);
    let counted = if done["records"]["is_complete"] == true { "" } else { " at least" };
    say!(
        "{}: {} keys;{counted} {} decisions, {} labels, {} reviews and {} changes of lists cannot be read any more, and are still counted",
        if is_dry_run { "would be erased" } else { "erased" },
        number("keys_destroyed"),
        records("decisions"),
        records("labels"),
        records("reviews"),
        records("list_changes")
    );
    let others = [
        ("entries taken off lists", number("list_entries")),
        ("profiles removed", number("profiles_removed")),
        ("state snapshots removed", number("snapshots_removed")),
    ];
    for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        say!("{what}: {count}");
    }
    if let Some(sequences) = done["sequences"].as_array().filter(|sequences| !sequences.is_empty()) {
        let sequences: Vec<String> = sequences.iter().map(Value::to_string).collect();
        say!("recorded: {}", sequences.join(", "));
    }
    for note in done["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        say!("note: {note}");
    }
}
