//! `tollgate audit prove` and `tollgate audit check-proof`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::audit::frame::{self, Frame};
use crate::audit::receipt::RecordHash;
use crate::cli::audit_checkpoint::newest;
use crate::cli::audit_verify::keys;
use crate::cli::output::{say, write};
use crate::pipeline::prove;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::pipeline::tree::{Signed, TREE_DIRECTORY};
use crate::proof::bundle::{ConsistencyProof, InclusionProof, PROOF_BYTES_MAX, Proof};
use crate::proof::checkpoint::Checkpoint;
use crate::proof::key::VerifierKey;

/// `tollgate audit prove`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  That record 88123 stands in the log, in one file with the record itself (C2SP tlog-proof):\n    tollgate audit prove 88123 > 88123.tlog-proof\n  The same without the record, for whoever has its hash from the answer to the payment (audit.hash):\n    tollgate audit prove 88123 --bare > 88123.tlog-proof\n  That today's log begins with what was signed a year ago:\n    tollgate audit prove --since 2025.checkpoint > since-2025.proof\n\nWhoever gets the file checks it with `tollgate audit check-proof` and the public key, and needs nothing else. A record newer than the\nlast checkpoint cannot be proven yet: wait for the next one."
)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["sequence", "since"]))]
pub struct AuditProveArgs {
    /// The sequence of the record.
    pub sequence: Option<u64>,
    /// Prove that the log goes on from this earlier checkpoint.
    #[arg(long, value_name = "OLD_CHECKPOINT")]
    pub since: Option<PathBuf>,
    /// Prove it against this checkpoint of the log instead of the newest one.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Leave the record itself out.
    #[arg(long, conflicts_with = "since")]
    pub bare: bool,
    /// Data directory of the service.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

/// `tollgate audit check-proof`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  A record with its proof:\n    tollgate audit check-proof 88123.tlog-proof --key fraud.example.com/tollgate+0123abcd+AbC=\n  A proof without the record, against the hash that the answer to the payment named:\n    tollgate audit check-proof 88123.tlog-proof --key keys.txt --hash blake3:5f0c...\n  That a log goes on from the checkpoint that you have kept:\n    tollgate audit check-proof since-2025.proof --key keys.txt --checkpoint 2025.checkpoint\n\nReads these files and nothing else: no log, no network. Exits with 1 when it proves nothing."
)]
pub struct AuditCheckProofArgs {
    /// The proof; - is standard input.
    pub file: PathBuf,
    /// Public key of the log, or a file of keys, one a line; may be repeated.
    #[arg(long, value_name = "VKEY", required = true)]
    pub key: Vec<String>,
    /// The record's hash, as an answer or an export names it.
    #[arg(long, value_name = "blake3:HEX")]
    pub hash: Option<String>,
    /// The earlier checkpoint, for a proof that the log goes on from it.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Print what was proven as JSON, with the record.
    #[arg(long)]
    pub json: bool,
}

fn read_checkpoint(file: &Path) -> anyhow::Result<Signed> {
    let note = std::fs::read_to_string(file).with_context(|| format!("{}: no checkpoint", file.display()))?;
    let checkpoint = Checkpoint::read_unverified(&note).with_context(|| file.display().to_string())?;
    Ok(Signed { checkpoint, note })
}

/// Runs `prove`.
pub fn prove(args: &AuditProveArgs) -> anyhow::Result<()> {
    let signed = match &args.checkpoint {
        Some(file) => read_checkpoint(file)?,
        None => newest(&args.data)?,
    };
    let tree = args.data.join(TREE_DIRECTORY);
    let text = if let Some(since) = &args.since {
        let old = read_checkpoint(since)?.checkpoint;
        let proof = prove::consistency(&tree, &signed, old.size)?;
        proof.check_path(&old, &signed.checkpoint).with_context(|| {
            format!(
                "{}: the log does not go on from it: its first {} records were changed",
                since.display(),
                old.size
            )
        })?;
        proof.to_text()
    } else {
        let sequence = args.sequence.unwrap_or_default();
        prove::inclusion(&args.data.join(LOG_DIRECTORY), &tree, &signed, sequence, args.bare)?.to_text()
    };
    write(format_args!("{text}"));
    Ok(())
}

/// Runs `check-proof`.
pub fn check(args: &AuditCheckProofArgs) -> anyhow::Result<()> {
    let keys = keys(&args.key)?;
    let mut text = String::new();
    let about = || format!("{}: no proof", args.file.display());
    let read = if args.file.as_os_str() == "-" {
        std::io::stdin().take(PROOF_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(&args.file).and_then(|file| file.take(PROOF_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(about)?;
    match Proof::parse(&text).with_context(about)? {
        Proof::Inclusion(proof) => check_inclusion(args, &proof, &keys),
        Proof::Consistency(proof) => check_consistency(args, &proof, &keys),
    }
}

fn check_inclusion(
    args: &AuditCheckProofArgs,
    proof: &InclusionProof,
    keys: &[VerifierKey],
) -> anyhow::Result<()> {
    if args.checkpoint.is_some() {
        bail!(
            "this is a proof of a record; --checkpoint is for proofs made with `tollgate audit prove --since`"
        );
    }
    let named =
        args.hash.as_deref().map(|hash| hash.strip_prefix("blake3:").unwrap_or(hash).parse::<RecordHash>());
    let named = named.transpose().context("--hash")?;
    let frame = proof.extra.as_deref().map(|bytes| whole_record(bytes, proof.index)).transpose()?;
    let hash = match (frame.as_ref().map(Frame::hash), named) {
        (Some(held), Some(named)) if held != named => {
            bail!("the proof is of another record: its hash is blake3:{held}, not blake3:{named}");
        }
        (Some(hash), _) | (None, Some(hash)) => hash,
        (None, None) => bail!("the proof does not hold the record: give its hash with --hash"),
    };
    let checkpoint = proof.check(&hash.0, keys).context("the proof does not hold")?;
    let (sequence, Checkpoint { origin, size, .. }) = (proof.index + 1, &checkpoint);
    if args.json {
        let record = frame.as_ref().map(as_json).transpose()?;
        let hash = format!("blake3:{hash}");
        say!(
            "{:#}",
            json!({"proven": "record", "origin": origin, "size": size, "sequence": sequence, "hash": hash, "record": record})
        );
        return Ok(());
    }
    say!("proven: record {sequence} of {origin} is blake3:{hash}");
    if let Some(frame) = &frame {
        let header = &frame.header;
        say!("it is a {}, recorded at {}; --json prints it", header.kind.name(), header.recorded_at);
    }
    say!("by its checkpoint of {size} records, signed by a key that you gave");
    Ok(())
}

/// The record that a proof holds, if it is one and stands where the proof says.
fn whole_record(bytes: &[u8], index: u64) -> anyhow::Result<Frame<'_>> {
    let frame = frame::decode(bytes).context("the record in the proof")?;
    let (sequence, expected) = (frame.header.sequence, index.saturating_add(1));
    if frame.bytes() != bytes.len() || sequence != expected {
        bail!(
            "the proof is of record {expected}, and what it holds is record {sequence}, of {} bytes",
            bytes.len()
        );
    }
    Ok(frame)
}

fn as_json(frame: &Frame<'_>) -> anyhow::Result<Value> {
    let header = &frame.header;
    let body: Value = serde_json::from_slice(frame.body).context("the record's body is no JSON")?;
    Ok(json!({"kind": header.kind.name(), "recorded_at": header.recorded_at.to_string(), "body": body}))
}

fn check_consistency(
    args: &AuditCheckProofArgs,
    proof: &ConsistencyProof,
    keys: &[VerifierKey],
) -> anyhow::Result<()> {
    if args.hash.is_some() {
        bail!(
            "this is a proof that a log goes on from an earlier checkpoint; --hash is for proofs of records"
        );
    }
    let Some(file) = &args.checkpoint else {
        bail!(
            "the proof says that the log goes on from {} records: give the checkpoint that you have of them with --checkpoint",
            proof.old_size
        );
    };
    let note = std::fs::read_to_string(file).with_context(|| format!("{}: no checkpoint", file.display()))?;
    let (old, _) = Checkpoint::open(&note, keys).with_context(|| file.display().to_string())?;
    let new = proof.check(&old, keys).context("the proof does not hold")?;
    let (origin, old_size, size) = (&new.origin, old.size, new.size);
    if args.json {
        say!("{:#}", json!({"proven": "extension", "origin": origin, "old_size": old_size, "size": size}));
    } else {
        say!(
            "proven: {origin} had {old_size} records when the earlier checkpoint was signed, and still begins with them; it has {size} in the later one"
        );
    }
    Ok(())
}
