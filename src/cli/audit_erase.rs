//! `tollgate audit erase`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

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
/// Longest answer of a running service, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// The environment variable with the admin API key: a flag would show it to everybody on the machine.
const KEY_VARIABLE: &str = "TOLLGATE_ADMIN_KEY";

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
    let authorization = std::env::var(KEY_VARIABLE)
        .map_or_else(|_| String::new(), |key| format!("Authorization: Bearer {}\r\n", key.trim()));
    let head = format!(
        "POST /v1/audit/erasures HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         {authorization}Connection: close\r\n\r\n",
        body.len()
    );
    let context = || format!("{admin}: the service cannot be asked");
    let mut stream = TcpStream::connect(admin).with_context(context)?;
    stream.set_read_timeout(Some(ADMIN_PATIENCE)).with_context(context)?;
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .with_context(context)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).with_context(context)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("{admin}: no answer that is HTTP"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    let said: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    if status != "200" {
        let detail = said["detail"].as_str().unwrap_or(body);
        let errors = said["errors"].as_array().into_iter().flatten();
        let errors: Vec<String> = errors
            .map(|error| {
                format!(
                    "\n  {} {}",
                    error["pointer"].as_str().unwrap_or_default(),
                    error["detail"].as_str().unwrap_or_default()
                )
            })
            .collect();
        bail!("{admin} answered {status}: {detail}{}", errors.concat());
    }
    Ok(said)
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
