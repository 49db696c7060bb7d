//! `tollgate audit`

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::audit::bodies::Bodies;
use crate::audit::reader::{LogReader, Record};
use crate::cli::args::{AuditCommand, AuditExportArgs};
use crate::cli::{
    audit_checkpoint, audit_erase, audit_forward, audit_index, audit_prove, audit_redecide, audit_repair,
    audit_search, audit_show, audit_tail, audit_verify,
};
use crate::pipeline::start::LOG_DIRECTORY;

/// Runs it.
pub fn run(command: &AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(args) => audit_verify::run(args),
        AuditCommand::Checkpoint(args) => audit_checkpoint::run(args),
        AuditCommand::Prove(args) => audit_prove::prove(args),
        AuditCommand::CheckProof(args) => audit_prove::check(args),
        AuditCommand::Export(args) => export(args),
        AuditCommand::Forward(args) => audit_forward::run(args),
        AuditCommand::Search(args) => audit_search::run(args),
        AuditCommand::Show(args) => audit_show::run(args),
        AuditCommand::Tail(args) => audit_tail::run(args),
        AuditCommand::Index(args) => audit_index::run(args),
        AuditCommand::Redecide(args) => audit_redecide::run(args),
        AuditCommand::Erase(args) => audit_erase::run(args),
        AuditCommand::Repair(args) => audit_repair::run(args),
    }
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
