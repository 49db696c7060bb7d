//! `tollgate audit repair`

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::audit::open::RepairKind;
use crate::audit::tail::{self, Piece, Readable, Tail};
use crate::cli::output::say;
use crate::domain::time::{Clock as _, SystemClock};
use crate::pipeline::start::LOG_DIRECTORY;
use crate::pipeline::tree::{Signed, TREE_DIRECTORY};

/// `tollgate audit repair`
#[derive(Args, Debug)]
#[command(
    after_help = "What a crash leaves behind, every start repairs by itself. This is for damage that no crash explains, in the last segment: a flipped byte, a\nfile that was cut. Look for a copy first: the archive, a backup. Where there is none, this lets the log end before the damage, and moves all\nthat came after it into *.torn files beside the log. Records among it are then no part of the log any more, although they were answered.\n\nExamples:\n  What would be set aside, and what of it can still be read (changes nothing; exits with 1 when there is something):\n    tollgate audit repair --data data\n  Do it:\n    tollgate audit repair --data data --apply"
)]
pub struct AuditRepairArgs {
    /// Data directory of the service, which must be stopped.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Set it aside. Without this, it is only shown.
    #[arg(long)]
    pub apply: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(args: &AuditRepairArgs) -> anyhow::Result<()> {
    let log = args.data.join(LOG_DIRECTORY);
    let tail = if args.apply { tail::set_aside(&log, SystemClock.now())? } else { tail::look(&log)? };
    let next = next(args, &tail);
    if args.json {
        let mut said = serde_json::to_value(&tail)?;
        said["applied"] = json!(args.apply && !tail.is_sound());
        said["given_up"] = tail
            .given_up()
            .map_or(Value::Null, |(first, last)| json!({"first_sequence": first, "last_sequence": last}));
        said["next"] = json!(next);
        say!("{said:#}");
    } else {
        say_text(args, &tail);
        for step in &next {
            say!("next: {step}");
        }
    }
    if !args.apply && !tail.is_sound() {
        bail!("nothing was changed");
    }
    Ok(())
}

fn say_text(args: &AuditRepairArgs, tail: &Tail) {
    if tail.is_sound() {
        say!("nothing to repair: the log ends with record {}", tail.last_sequence);
        return;
    }
    match (&tail.refused, args.apply) {
        (Some(refused), false) => say!("a service does not start on this log: {refused}\n"),
        (None, false) => say!("a crash explains what is wrong: the next start repairs it by itself\n"),
        (_, true) => {}
    }
    for piece in &tail.pieces {
        let Piece { repair, readable } = piece;
        let done = if args.apply { "set aside" } else { "would be set aside" };
        say!(
            "{done}: {} from byte {} on, {} bytes, after record {}{}",
            repair.path.display(),
            repair.offset,
            repair.bytes,
            repair.last_sequence,
            if repair.kind == RepairKind::DamagedTail { "" } else { " (a crash explains this)" }
        );
        say!("  why: {}", repair.reason);
        say!("  in it: {}", in_words(readable));
        if let Some(kept) = &repair.kept {
            say!("  is now: {}", kept.display());
        }
    }
    let ends = if args.apply { "the log ends" } else { "the log would end" };
    say!("{ends} with record {}", tail.last_sequence);
    if let Some((first, last)) = tail.given_up() {
        let are = if args.apply { "are" } else { "would be" };
        say!(
            "given up: records {first} to {last} were on stable storage, and {are} no part of the log any more"
        );
    }
}

fn in_words(readable: &Readable) -> String {
    match (readable.first_sequence, readable.last_sequence) {
        (Some(first), Some(last)) => format!(
            "good records follow the damage: {} from {first} to {last} can still be read, {} of them decisions",
            readable.records, readable.decisions
        ),
        _ => "no record that can be read".to_owned(),
    }
}

/// What the person does next.
fn next(args: &AuditRepairArgs, tail: &Tail) -> Vec<String> {
    let data = args.data.display();
    if tail.is_sound() {
        return Vec::new();
    }
    if !args.apply {
        let mut next = Vec::new();
        if tail.refused.is_some() {
            next.push(
                "put the file back from a copy if there is any (a backup of <data>/log, `tollgate archive restore`)"
                    .to_owned(),
            );
        }
        next.push(format!("without a copy: tollgate audit repair --data {data} --apply"));
        return next;
    }
    let mut next = vec![
        "keep the *.torn files: they are the evidence of what was given up".to_owned(),
        format!("tollgate audit verify --data {data}"),
    ];
    if let Ok(Some(signed)) = Signed::read(&args.data.join(TREE_DIRECTORY))
        && signed.checkpoint.size > tail.last_sequence
    {
        next.push(format!(
            "a checkpoint of {} records was signed, more than the log has: the service decides and records, but signs nothing until a new tree is \
             begun. Move {data}/proof and the key file away, and tell those who hold the old public key why",
            signed.checkpoint.size
        ));
    }
    next.push("what of these records was forwarded stays with its receivers; new records get the same numbers and other hashes".to_owned());
    next
}
