//! `tollgate archive`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use crate::archive::archiver::{Archive, Work};
use crate::archive::error::ArchiveError;
use crate::archive::restore::Wanted;
use crate::archive::verify::ArchiveReader;
use crate::audit::frame::Kind;
use crate::audit::open::{LogOptions, OpenedLog};
use crate::audit::receipt::LogId;
use crate::audit::record;
use crate::audit::retention_record::RetentionRecord;
use crate::audit::segment::list_segments;
use crate::cli::args_archive::{ArchiveCommand, ArchiveRestoreArgs, ArchiveRunArgs, ArchiveUrlArgs};
use crate::cli::interrupt::Interrupt;
use crate::cli::log_record;
use crate::cli::output::say;
use crate::cli::policy::settings;
use crate::cli::progress;
use crate::config::file::Config;
use crate::domain::time::{Clock, SystemClock};
use crate::pipeline::start::LOG_DIRECTORY;

/// Runs it.
pub fn run(command: &ArchiveCommand) -> anyhow::Result<()> {
    match command {
        ArchiveCommand::Run(args) => archive(args),
        ArchiveCommand::Verify(args) => verify(args),
        ArchiveCommand::Restore(args) => restore(args),
        ArchiveCommand::Compact(args) => compact(args),
        ArchiveCommand::Status(args) => status(args),
    }
}

/// The settings with the flags over them, and the data directory.
fn effective(args: &ArchiveUrlArgs) -> anyhow::Result<(Config, PathBuf)> {
    let mut config = settings(args.config.as_deref())?;
    if let Some(url) = &args.archive {
        config.archive.url.clone_from(url);
    }
    let data = args.data.clone().unwrap_or_else(|| config.paths.data.clone());
    Ok((config, data))
}

fn reader(args: &ArchiveUrlArgs) -> anyhow::Result<(ArchiveReader, PathBuf)> {
    let (config, data) = effective(args)?;
    Ok((ArchiveReader::open(&config.archive.url(&data))?, data))
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn with_archive<T>(
    args: &ArchiveUrlArgs,
    what: &'static str,
    act: impl FnOnce(&Archive, &Path, Work<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (config, data) = effective(args)?;
    let now = SystemClock.now();
    let archive = Archive::open(&data, config.archive.settings(&data)?, now)?;
    let interrupt = Interrupt::listen();
    let bar = progress::bytes(what, 0);
    let go_on = || !interrupt.is_set();
    let done = |bytes| bar.inc(bytes);
    let result = act(&archive, &data.join(LOG_DIRECTORY), Work { now, go_on: &go_on, done: &done });
    bar.finish_and_clear();
    result
}

fn archive(args: &ArchiveRunArgs) -> anyhow::Result<()> {
    let segment_bytes_max = effective(&args.place)?.0.audit.segment_mib << 20;
    let (archived, compacted, removed) = with_archive(&args.place, "archive", |archive, log, work| {
        let record = |removed: &RetentionRecord| {
            record_retention(log, segment_bytes_max, removed).map_err(|error| format!("{error:#}"))
        };
        let (archived, compacted) = (archive.archive_closed(log, work)?, archive.compact(false, work)?);
        match archive.retain(work, &record) {
            Err(error @ ArchiveError::NotRecorded { .. }) => Ok((archived, compacted, Err(error))),
            removed => Ok((archived, compacted, Ok(removed?))),
        }
    })?;
    if args.place.json {
        let said = removed.as_ref().ok();
        print_json(&json!({"archived": archived, "compacted": compacted, "removed": said}))?;
        removed?;
        return Ok(());
    }
    say!(
        "archived: {} segments, {} records, {} bytes as {} files with {} bytes; each was read back and is right",
        archived.segments,
        archived.records,
        archived.log_bytes,
        archived.files,
        archived.file_bytes
    );
    say!("merged: {} files into {}", compacted.files_before, compacted.files_after);
    let removed = removed?;
    match removed.kept_from {
        Some(day) => {
            say!("removed by age: {} records in {} files, from before {day}", removed.records, removed.files);
        }
        None => say!("removed by age: nothing, since archive.legal_hold is set"),
    }
    Ok(())
}

/// Records what is about to leave the archive. A service that runs holds its log, and applies retention itself.
fn record_retention(log: &Path, segment_bytes_max: u64, removed: &RetentionRecord) -> anyhow::Result<()> {
    if list_segments(log).map_or(true, |segments| segments.is_empty()) {
        bail!("{}: no log", log.display());
    }
    let options = LogOptions { segment_bytes_max, ..LogOptions::default() };
    let opened = OpenedLog::open(log, LogId([0; 16]), SystemClock.now(), options)
        .context("a service that runs applies retention itself, with archive.enabled")?;
    log_record::write(opened, Kind::Retention, record::encode(removed)?)
}

fn compact(args: &ArchiveRunArgs) -> anyhow::Result<()> {
    let compacted =
        with_archive(&args.place, "compact", |archive, _, work| Ok(archive.compact(true, work)?))?;
    if args.place.json {
        return print_json(&compacted);
    }
    say!(
        "merged: {} files into {} with {} bytes",
        compacted.files_before,
        compacted.files_after,
        compacted.bytes_after
    );
    Ok(())
}

/// Asked with the bytes that were done since; `false` after Ctrl-C.
fn go_on<'a>(bar: &'a ProgressBar, interrupt: &'a Interrupt) -> impl Fn(u64) -> bool + use<'a> {
    move |bytes| {
        bar.inc(bytes);
        !interrupt.is_set()
    }
}

/// `tollgate archive verify`, and `tollgate audit verify --archive`.
pub fn verify(args: &ArchiveUrlArgs) -> anyhow::Result<()> {
    let (reader, data) = reader(args)?;
    let interrupt = Interrupt::listen();
    let bar = progress::bytes("verify", reader.status(&data.join(LOG_DIRECTORY))?.record_bytes);
    let report = reader.verify(&go_on(&bar, &interrupt))?;
    bar.finish_and_clear();
    if args.json {
        print_json(&report)?;
    } else {
        for problem in &report.problems {
            say!("{problem}");
        }
        say!(
            "{} records in {} segments, {} bytes; {} files, {} bytes",
            report.records,
            report.segments,
            report.record_bytes,
            report.files,
            report.file_bytes
        );
        if let (Some(base), Some(head)) = (report.base, report.head) {
            say!("from: record {}, which follows blake3:{}", base.sequence + 1, base.hash);
            say!("head: record {}, blake3:{}", head.sequence, head.hash);
        }
    }
    if !report.is_good() {
        bail!("the archive is not intact: {} problems", report.problems_total);
    }
    Ok(())
}

fn restore(args: &ArchiveRestoreArgs) -> anyhow::Result<()> {
    let (reader, _) = reader(&args.place)?;
    let interrupt = Interrupt::listen();
    let bar = progress::bytes("restore", reader.status(&args.to.join(LOG_DIRECTORY))?.record_bytes);
    let go_on = go_on(&bar, &interrupt);
    let wanted = Wanted { from: args.from, until: args.until.unwrap_or(u64::MAX) };
    let restored = reader.restore(&args.to.join(LOG_DIRECTORY), wanted, &go_on)?;
    bar.finish_and_clear();
    if args.place.json {
        return print_json(&restored);
    }
    say!(
        "{} segments written, {} were there already: records {} to {}, {} bytes, in {}",
        restored.segments,
        restored.already_there,
        restored.first_sequence.unwrap_or(0),
        restored.last_sequence.unwrap_or(0),
        restored.bytes,
        args.to.join(LOG_DIRECTORY).display()
    );
    if restored.records_left_out > 0 {
        say!(
            "{} records are left out: retention has taken the others of their segment. They can be read in the archive.",
            restored.records_left_out
        );
    }
    Ok(())
}

fn status(args: &ArchiveUrlArgs) -> anyhow::Result<()> {
    let (reader, data) = reader(args)?;
    let status = reader.status(&data.join(LOG_DIRECTORY))?;
    if args.json {
        return print_json(&status);
    }
    say!("archive:  {}", status.place);
    match (status.first_sequence, status.last_sequence, &status.first_date, &status.last_date) {
        (Some(first), Some(last), Some(from), Some(to)) => {
            say!("holds:    records {first} to {last}, {from} to {to}");
            say!(
                "          {} bytes of records in {} files with {} bytes",
                status.record_bytes,
                status.files,
                status.file_bytes
            );
        }
        _ => say!("holds:    nothing yet"),
    }
    if status.pending + status.retired > 0 {
        say!("work:     {} files were being written, {} are to be removed", status.pending, status.retired);
    }
    for removal in &status.removals {
        say!(
            "removed:  {}, {} records up to {}, hash {}",
            removal.date,
            removal.records,
            removal.last.sequence,
            removal.last.hash
        );
    }
    say!(
        "here:     {} segments, of which {} wait to be archived",
        status.local_segments,
        status.waiting_segments
    );
    Ok(())
}
