//! `tollgate audit tail`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::audit::bodies::Bodies;
use crate::audit::damage::ReadError;
use crate::audit::frame::Kind;
use crate::audit::reader::{LogReader, Record};
use crate::cli::audit_filters::FilterArgs;
use crate::cli::audit_search::{line, titles};
use crate::cli::interrupt::Interrupt;
use crate::cli::log_search;
use crate::cli::output::say;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::search::facts::Facts;
use crate::search::query::{PAGE_MAX, Query};
use crate::search::run::Hit;

/// How often the log is looked at when there was nothing new.
const PAUSE: Duration = Duration::from_millis(100);

/// `tollgate audit tail`
#[derive(Args, Debug)]
#[command(
    after_help = "Prints the last decisions and then each one as it is recorded, until Ctrl-C. Reads the log itself, so that it costs the service nothing.\nA decision that is shown may in rare cases be taken back: when the disk refuses a write at that very moment.\n\nExamples:\n  tollgate audit tail\n  tollgate audit tail --outcome BLOCK --json | jq .reason\n  tollgate audit tail --customer c_7 --last 100 --no-follow"
)]
pub struct AuditTailArgs {
    /// Data directory of the service.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Which decisions.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Begin with that many of the last ones.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=PAGE_MAX as u64))]
    pub last: u64,
    /// End with the last one instead of waiting for the next.
    #[arg(long)]
    pub no_follow: bool,
    /// Print each as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// Follows until Ctrl-C.
pub fn run(args: &AuditTailArgs) -> anyhow::Result<()> {
    let mut query = args.filters.query()?;
    let search = log_search::open(&args.data)?;
    let interrupt = Interrupt::listen();
    let directory = args.data.join(LOG_DIRECTORY);
    // What is recorded between the two is read again by its sequence.
    let mut reader = at_end(&directory)?;
    query.limit = usize::try_from(args.last).unwrap_or(PAGE_MAX).max(1);
    query.before = reader.as_ref().map_or(u64::MAX, |reader| reader.head().sequence + 1);
    let go_on = |_| {
        if interrupt.is_set() {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    };
    if !args.json {
        say!("{}", titles());
    }
    if args.last > 0 && query.before > 1 {
        let found = search.searcher.search(&search.stretches, &query, go_on)?;
        found.hits.iter().rev().try_for_each(|hit| print(hit, args.json))?;
    }
    while !args.no_follow && !interrupt.is_set() {
        let next = match &mut reader {
            Some(reader) => read_new(reader, &directory, &query, args.json),
            None => {
                reader = at_end(&directory)?;
                Ok(0)
            }
        };
        match next {
            Ok(0) => std::thread::sleep(PAUSE),
            Ok(_) => {}
            // The writer took back what this reader had read: it begins again after the last record that stays.
            Err(error) => match error.downcast::<ReadError>() {
                Ok(ReadError::Damaged { .. }) => {
                    eprintln!("the last records were taken back: going on with the end of the log");
                    std::thread::sleep(PAUSE);
                    reader = at_end(&directory)?;
                }
                Ok(error) => return Err(error.into()),
                Err(error) => return Err(error),
            },
        }
    }
    Ok(())
}

/// A reader that has read all that is there; none while the log is empty.
fn at_end(directory: &Path) -> anyhow::Result<Option<LogReader>> {
    let segments = crate::audit::segment::list_segments(directory)
        .with_context(|| format!("{}: no log to follow", directory.display()))?;
    let Some(newest) = segments.last() else { return Ok(None) };
    let mut reader = LogReader::from_sequence(directory, *newest)?;
    while reader.next()?.is_some() {}
    Ok(Some(reader))
}

/// Prints what is new, and says how many records it was.
fn read_new(reader: &mut LogReader, directory: &Path, query: &Query, json: bool) -> anyhow::Result<u64> {
    let mut count = 0;
    // Anew each time: a service that has just made its first record has just made the file of its keys.
    let bodies = Bodies::beside(directory).context("the keys of subjects cannot be read")?;
    while let Some(stored) = reader.next()? {
        count += 1;
        if let Some(hit) = wanted(&bodies, &stored, query) {
            print(&hit, json)?;
        }
    }
    Ok(count)
}

fn wanted(bodies: &Bodies, stored: &Record<'_>, query: &Query) -> Option<Hit> {
    if stored.header.kind != Kind::Decision {
        return None;
    }
    match Facts::read(bodies, stored) {
        Ok(Facts::Decision(decision)) if query.takes(&decision, stored.header.recorded_at) => {
            Some(Hit::new(stored, *decision))
        }
        Ok(_) => None,
        Err(error) => {
            eprintln!("record {}: {error}", stored.header.sequence);
            None
        }
    }
}

fn print(hit: &Hit, json: bool) -> anyhow::Result<()> {
    if json {
        say!("{}", serde_json::to_string(hit)?);
    } else {
        say!("{}", line(hit));
    }
    Ok(())
}
