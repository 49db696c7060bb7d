//! What `tollgate archive` understands.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `tollgate archive`
#[derive(Subcommand, Debug)]
pub enum ArchiveCommand {
    /// Archive what is closed, merge small files, and remove what has outlived its retention: once, as the service does by itself.
    Run(ArchiveRunArgs),
    /// Prove the archive without the log: every file, checksum, link of the chain and segment.
    Verify(ArchiveUrlArgs),
    /// Make segment files of archived ones again, byte for byte.
    Restore(ArchiveRestoreArgs),
    /// Merge small files of all days, the last one excepted.
    Compact(ArchiveRunArgs),
    /// Show what is archived, and what waits.
    Status(ArchiveUrlArgs),
}

/// Which archive, of which log.
#[derive(Args, Debug)]
pub struct ArchiveUrlArgs {
    /// Settings file; without it tollgate.toml in the working directory, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the service [default: the settings' paths.data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The archive: a directory, file:///directory or s3://bucket/prefix [default: the settings' archive.url].
    #[arg(long, value_name = "URL")]
    pub archive: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tollgate archive run` and `compact`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  What a service with [archive] enabled does by itself, for one that has it not:\n    tollgate archive run --data data --archive /mnt/archive\n  Then prove it, and ask it something:\n    tollgate archive verify --archive /mnt/archive\n    duckdb -c \"SELECT decision, count(*) FROM read_parquet('/mnt/archive/records/date=*/*.parquet') GROUP BY 1\"\n\nThe service may be running. Segments leave the log's directory only by the service itself, which knows what still needs them. Ctrl-C\nstops it between two pieces of work; the next run goes on from there."
)]
pub struct ArchiveRunArgs {
    /// Which archive, of which log.
    #[command(flatten)]
    pub place: ArchiveUrlArgs,
}

/// `tollgate archive restore`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  Bring everything back into a directory of its own, and look at it there:\n    tollgate archive restore --archive s3://audit/tollgate --to /tmp/then\n    tollgate audit verify --data /tmp/then\n    tollgate backtest --data /tmp/then\n  Only the segments with these records:\n    tollgate archive restore --to /tmp/then --from 1200000 --until 1300000\n  Put back what a service lacks to rebuild its state; it must not be running:\n    tollgate archive restore --data data --to data\n\nA segment that is there already stays, and must be the same."
)]
pub struct ArchiveRestoreArgs {
    /// Which archive, of which log.
    #[command(flatten)]
    pub place: ArchiveUrlArgs,
    /// The data directory to write into: the segments go into DIR/log.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// From the segment with this record on.
    #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
    pub from: u64,
    /// Up to the segment with this record.
    #[arg(long, value_name = "SEQUENCE")]
    pub until: Option<u64>,
}
