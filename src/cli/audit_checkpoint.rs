//! `tollgate audit checkpoint`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::audit::checkpoint::CheckpointRecord;
use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::reader::LogReader;
use crate::audit::receipt::LogId;
use crate::audit::record;
use crate::audit::segment::list_segments;
use crate::cli::admin_client;
use crate::cli::log_record;
use crate::cli::output::say;
use crate::cli::policy::settings;
use crate::cli::progress;
use crate::domain::time::{Clock as _, SystemClock};
use crate::pipeline::checkpoints::CheckpointSettings;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::pipeline::tree::{LogTree, Signed, TREE_DIRECTORY};
use crate::proof::checkpoint::Checkpoint;
use crate::proof::key::Signers;

/// How long a running service may take.
const ADMIN_PATIENCE: Duration = Duration::from_secs(60);

/// `tollgate audit checkpoint`
#[derive(Args, Debug)]
#[command(
    after_help = "A checkpoint says which log, how many records and the root of their Merkle tree, and is signed (C2SP tlog-checkpoint). The service signs\none every audit.checkpoints.interval_s. Keep some where nobody who runs the service can change them: `tollgate audit verify\n--checkpoint` then finds whatever was changed since.\n\nExamples:\n  The newest one:\n    tollgate audit checkpoint > today.checkpoint\n  The public key for auditors:\n    tollgate audit checkpoint --public-key\n  Change the key: add a new one, restart the service, and both sign; hand out the new public key; some day take the first line out of the\n  key file and restart again. Verifiers take several --key:\n    tollgate audit checkpoint --new-key\n  Sign now, while no service runs (also makes lost tiles again from the log):\n    tollgate audit checkpoint --now\n  The same of a running service, which signs and records it; its API key stands in TOLLGATE_ADMIN_KEY:\n    tollgate audit checkpoint --now --admin 127.0.0.1:8081"
)]
#[command(group = clap::ArgGroup::new("what").args(["public_key", "now", "new_key"]))]
pub struct AuditCheckpointArgs {
    /// Data directory of the service.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Settings file; without it tollgate.toml in the working directory, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the public keys of those that sign, one a line.
    #[arg(long)]
    pub public_key: bool,
    /// Sign the log as it is and record that. A service that runs on it must be asked, with --admin.
    #[arg(long)]
    pub now: bool,
    /// Admin port of the service that runs.
    #[arg(long, value_name = "ADDRESS", requires = "now", conflicts_with = "data")]
    pub admin: Option<String>,
    /// Add a new key to the key file, and print its public key. It signs beside the others from the next start on.
    #[arg(long)]
    pub new_key: bool,
    /// Print the checkpoint as JSON, with the note in it.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(args: &AuditCheckpointArgs) -> anyhow::Result<()> {
    let config = settings(args.config.as_deref())?;
    let chosen = config.audit.checkpoints.settings_always();
    let key_file = chosen.key_file(&args.data);
    if args.public_key || args.new_key {
        let about =
            || format!("{}: no keys yet: the first start of the service makes them", key_file.display());
        let mut signers = Signers::load(&key_file)?.with_context(about)?;
        if args.new_key {
            say!("{}", signers.add_to(&key_file)?);
            return Ok(());
        }
        for key in signers.public() {
            say!("{key}");
        }
        return Ok(());
    }
    let signed = if let Some(admin) = &args.admin {
        ask(admin)?
    } else if args.now {
        sign(&args.data, &chosen, config.audit.segment_mib << 20)?
    } else {
        newest(&args.data)?
    };
    if args.json {
        let Signed { checkpoint, note } = &signed;
        let (origin, size) = (&checkpoint.origin, checkpoint.size);
        say!("{:#}", json!({"origin": origin, "size": size, "root": checkpoint.root, "note": note}));
    } else {
        crate::cli::output::write(format_args!("{}", signed.note));
    }
    Ok(())
}

fn ask(admin: &str) -> anyhow::Result<Signed> {
    let note = admin_client::post(admin, "/v1/audit/checkpoint", "", ADMIN_PATIENCE)?;
    let checkpoint =
        Checkpoint::read_unverified(&note).with_context(|| format!("{admin} answered {note:?}"))?;
    Ok(Signed { checkpoint, note })
}

/// The newest checkpoint of a data directory.
pub fn newest(data: &Path) -> anyhow::Result<Signed> {
    let tree = data.join(TREE_DIRECTORY);
    Signed::read(&tree)?.with_context(|| {
        format!(
            "{}: no checkpoint yet: the service signs the first one, or `tollgate audit checkpoint --now`",
            tree.display()
        )
    })
}

fn sign(data: &Path, chosen: &CheckpointSettings, segment_bytes_max: u64) -> anyhow::Result<Signed> {
    let directory = data.join(LOG_DIRECTORY);
    if list_segments(&directory).map_or(true, |segments| segments.is_empty()) {
        bail!("{}: no log to sign", directory.display());
    }
    let options = LogOptions { segment_bytes_max, ..LogOptions::default() };
    let opened = OpenedLog::open(&directory, LogId([0; 16]), SystemClock.now(), options).context(
        "a running service signs by itself; ask it with `tollgate audit checkpoint --now --admin ADDRESS`",
    )?;
    let signers = chosen.signers(data, &opened.log_id().to_string())?;
    let head = opened.head().sequence;
    let mut tree = LogTree::open(&directory, &data.join(TREE_DIRECTORY), signers, head)?;
    let bar = progress::things("records", Some(head - tree.size()));
    if tree.size() < head {
        let mut reader = LogReader::from_sequence_or_oldest(&directory, tree.size() + 1)?;
        while let Some(record) = reader.next()? {
            tree.push(&record)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let signed = tree.sign()?.clone();
    let body = record::encode(&CheckpointRecord { note: signed.note.clone() })?;
    log_record::write(opened, Kind::Checkpoint, body)
        .context("the checkpoint is signed and kept, but not recorded in the log")?;
    Ok(signed)
}
