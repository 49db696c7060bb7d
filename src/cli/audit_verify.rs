//! `tollgate audit verify`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::audit::segment::list_segments;
use crate::audit::verify::{Problem, Verified, VerifyOptions, verify_with_tree};
use crate::audit::verify_tree::{KnownCheckpoint, TreeCheck};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::say;
use crate::cli::progress;
use crate::domain::time::{Clock as _, SystemClock};
use crate::pipeline::start::LOG_DIRECTORY;
use crate::pipeline::tree::{CHECKPOINT_FILE, TREE_DIRECTORY};
use crate::proof::checkpoint::Checkpoint;
use crate::proof::key::VerifierKey;
use crate::proof::path;
use crate::proof::range::Range;
use crate::proof::tiles::TileReader;

/// Longest file of keys.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// `tollgate audit verify`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  Nothing damaged, dropped, inserted or reordered, and every checkpoint in the log fits its records:\n    tollgate audit verify\n  The same for somebody who trusts nobody but a public key, and the checkpoint that was handed out a year ago:\n    tollgate audit verify --data /mnt/copy --key fraud.example.com/tollgate+0123abcd+AbC= --checkpoint 2025.checkpoint\n\nChecksums and the hash chain find what was changed by accident or by halves. Whoever rewrites all records with right hashes is found by\nsigned checkpoints alone: by those in the log, if the key is not in the same hands, and by those that were kept elsewhere.\n<data>/proof/checkpoint is among those that are checked. Exits with 1 when something is wrong."
)]
pub struct AuditVerifyArgs {
    /// Data directory of the service, or a copy of it.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Public key that checkpoints must be signed by, or a file of keys, one a line; may be repeated, for keys that were changed. Without one,
    /// signatures are not checked.
    #[arg(long, value_name = "VKEY")]
    pub key: Vec<String>,
    /// A checkpoint that was kept elsewhere: the log must still begin with what it covers; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// Threads [default: one for each processor].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The keys of a command line: each a key, or a file of keys.
pub fn keys(named: &[String]) -> anyhow::Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    for name in named {
        let path = Path::new(name);
        if name.contains('+') && !path.exists() {
            keys.push(name.parse()?);
            continue;
        }
        let about = || format!("{name}: neither a key nor a file of keys");
        if path.metadata().with_context(about)?.len() > KEY_FILE_BYTES_MAX {
            bail!("{}", about());
        }
        let text = std::fs::read_to_string(path).with_context(about)?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            keys.push(line.parse().with_context(|| format!("{name}: a line is no key"))?);
        }
    }
    Ok(keys)
}

/// Runs it.
pub fn run(args: &AuditVerifyArgs) -> anyhow::Result<()> {
    let directory = args.data.join(LOG_DIRECTORY);
    let keys = keys(&args.key)?;
    let (known, refused) = known(args, &keys)?;
    let segments =
        list_segments(&directory).with_context(|| format!("{}: no log to read", directory.display()))?;
    let before = before(&args.data.join(TREE_DIRECTORY), segments.first().copied().unwrap_or(1));
    let check = TreeCheck { keys, known, before };
    let mut options = VerifyOptions::default();
    options.threads = args.threads.unwrap_or(options.threads);
    let (bar, interrupt) = (progress::bytes("verify", 0), Interrupt::listen());
    let (clock, started) = (SystemClock, SystemClock.instant());
    let mut found = verify_with_tree(&directory, options, &check, &|progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    let seconds = clock.instant().saturating_duration_since(started).as_secs_f64();
    found.log.problems_total += refused.len() as u64;
    found.log.problems.extend(refused);
    if args.json {
        say!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found, &check);
        let megabytes = found.log.bytes as f64 / 1e6;
        say!("in {seconds:.1} s with {} threads: {:.0} MB/s", options.threads, megabytes / seconds);
    }
    if found.interrupted {
        bail!("interrupted: what was not read was not checked");
    }
    if !found.log.is_good() {
        bail!("the log is not intact: {} problems", found.log.problems_total);
    }
    Ok(())
}

/// The checkpoints to hold the log to; and those that are not to be believed.
fn known(
    args: &AuditVerifyArgs,
    keys: &[VerifierKey],
) -> anyhow::Result<(Vec<KnownCheckpoint>, Vec<Problem>)> {
    let newest = args.data.join(TREE_DIRECTORY).join(CHECKPOINT_FILE);
    let (mut known, mut refused) = (Vec::new(), Vec::new());
    for file in args.checkpoint.iter().cloned().chain(newest.exists().then_some(newest)) {
        let note =
            std::fs::read_to_string(&file).with_context(|| format!("{}: no checkpoint", file.display()))?;
        let opened = if keys.is_empty() {
            Checkpoint::read_unverified(&note)
        } else {
            Checkpoint::open(&note, keys).map(|(checkpoint, _)| checkpoint)
        };
        match opened {
            Ok(checkpoint) => known.push(KnownCheckpoint { file, checkpoint }),
            Err(error) => {
                let problem = format!("the checkpoint is not to be believed: {error}");
                refused.push(Problem { path: file, offset: 0, after_sequence: 0, problem });
            }
        }
    }
    Ok((known, refused))
}

/// The tree of the records before the log's first, from the tiles. What they say is proven by the checkpoints that follow, or not at all.
fn before(tree: &Path, first_sequence: u64) -> Option<Range> {
    let size = first_sequence.checked_sub(1).filter(|size| *size > 0)?;
    path::range(&mut TileReader::new(tree, size), size).ok()
}

fn print(found: &Verified, check: &TreeCheck) {
    let (log, tree) = (&found.log, &found.tree);
    for problem in &log.problems {
        say!("{problem}");
    }
    let kinds: Vec<String> = log.by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    say!("{} records ({}) in {} segments, {} bytes", log.records, kinds.join(", "), log.segments, log.bytes);
    if let Some(head) = log.head_hash {
        say!("head: record {}, blake3:{head}", log.last_sequence.unwrap_or(0));
    }
    if let Some(root) = tree.root {
        say!("tree: records 1 to {}, root {root}", tree.size);
    }
    let signed = match check.keys.as_slice() {
        [] => "their signatures were not checked: give --key".to_owned(),
        keys => {
            let names: Vec<String> =
                keys.iter().map(|key| format!("{}+{:08x}", key.name(), key.id())).collect();
            format!("{} signed by {}", tree.checkpoints_signed, names.join(" or "))
        }
    };
    say!(
        "checkpoints: {} in the log, {} fit their records, {signed}",
        tree.checkpoints,
        tree.checkpoints_agreeing
    );
    say!("kept outside of the log: {} of {} fit", tree.known_agreeing, check.known.len());
    let uncovered = tree.size.saturating_sub(tree.covered);
    say!(
        "covered by a checkpoint: records 1 to {}; {uncovered} newer ones by the hash chain alone",
        tree.covered
    );
}
