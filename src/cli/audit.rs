//! `tollgate audit`

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::json;

use crate::audit::bodies::Bodies;
use crate::audit::reader::{LogReader, Record};
use crate::audit::verify::{VerifyOptions, verify};
use crate::cli::args::{AuditArgs, AuditCommand, AuditExportArgs, AuditShowArgs};
use crate::cli::audit_erase;
use crate::cli::output::say;
use crate::cli::progress;
use crate::pipeline::start::LOG_DIRECTORY;

/// Runs it.
pub fn run(command: &AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(args) => verify_log(args),
        AuditCommand::Export(args) => export(args),
        AuditCommand::Show(args) => show(args),
        AuditCommand::Erase(args) => audit_erase::run(args),
    }
}

fn verify_log(args: &AuditArgs) -> anyhow::Result<()> {
    let bar = progress::bytes("verify", 0);
    let report = verify(&args.data.join(LOG_DIRECTORY), VerifyOptions::default(), &|progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
    })?;
    bar.finish_and_clear();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for problem in &report.problems {
            say!("{problem}");
        }
        let kinds: Vec<String> =
            report.by_kind.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        say!(
            "{} records ({}) in {} segments, {} bytes",
            report.records,
            kinds.join(", "),
            report.segments,
            report.bytes
        );
        if let Some(head) = report.head_hash {
            say!("head: record {}, blake3:{head}", report.last_sequence.unwrap_or(0));
        }
    }
    if !report.is_good() {
        bail!("the log is not intact: {} problems", report.problems_total);
    }
    Ok(())
}

fn each(
    data: &Path,
    from: u64,
    mut see: impl FnMut(&Bodies, &Record<'_>) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let directory = data.join(LOG_DIRECTORY);
    let bodies = Bodies::beside(&directory).context("the keys of subjects cannot be read")?;
    let mut reader = LogReader::from_sequence(&directory, from)
        .with_context(|| format!("{}: no log to read", directory.display()))?;
    while let Some(record) = reader.next()? {
        if !see(&bodies, &record)? {
            break;
        }
    }
    Ok(())
}

fn as_json(bodies: &Bodies, record: &Record<'_>) -> anyhow::Result<serde_json::Value> {
    let body = bodies.json(record).with_context(|| format!("record {}", record.header.sequence))?;
    Ok(json!({
        "sequence": record.header.sequence, "kind": record.header.kind.name(),
        "recorded_at": record.header.recorded_at.to_string(), "hash": format!("blake3:{}", record.hash), "body": body,
    }))
}

fn export(args: &AuditExportArgs) -> anyhow::Result<()> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut left = args.limit.unwrap_or(u64::MAX);
    each(&args.data, args.from, |bodies, record| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        serde_json::to_writer(&mut output, &as_json(bodies, record)?)?;
        output.write_all(b"\n")?;
        Ok(true)
    })?;
    Ok(output.flush()?)
}

fn show(args: &AuditShowArgs) -> anyhow::Result<()> {
    let mut found = None;
    each(&args.data, args.sequence, |bodies, record| {
        found = Some(as_json(bodies, record)?);
        Ok(false)
    })?;
    match found {
        Some(record) => say!("{record:#}"),
        None => bail!("the log has no record {}", args.sequence),
    }
    Ok(())
}
