//! A data directory opened for searching, read only: of a service that runs or of one at rest.

use std::path::Path;

use anyhow::Context as _;

use crate::audit::segment::list_segments;
use crate::pipeline::secret::Secret;
use crate::pipeline::start::LOG_DIRECTORY;
use crate::search::log_search::LogSearch;
use crate::search::parts::SEARCH_DIRECTORY;

/// Opens it, and says on standard error when there is no index to help.
pub(super) fn open(data: &Path) -> anyhow::Result<LogSearch> {
    let log = data.join(LOG_DIRECTORY);
    let secret = Secret::load(data)?;
    let no_secret = secret.is_none();
    let key = secret.map(|secret| secret.search_key());
    let search = LogSearch::open(&log, &data.join(SEARCH_DIRECTORY), key)
        .with_context(|| format!("{}: no log to search", log.display()))?;
    let coverage = search.coverage();
    if search.log_id.is_some() && (coverage.parts == 0 || coverage.has_holes) {
        let why = if no_secret { ", since the installation's secret is not there" } else { "" };
        let what = if coverage.parts == 0 { "there is no index" } else { "a part of the index is missing" };
        eprintln!(
            "{what}{why}: the log itself is read, the newest first. The service makes the index; at rest, `tollgate audit index` does"
        );
    }
    Ok(search)
}

/// Where records are that this directory does not hold any more, as the end of a sentence; nothing where it holds all.
pub(super) fn elsewhere(data: &Path) -> String {
    match list_segments(&data.join(LOG_DIRECTORY)).ok().and_then(|segments| segments.first().copied()) {
        Some(oldest) if oldest > 1 => format!(
            "; the records 1 to {} are not here, but in the archive, if they have not outlived their retention: `tollgate archive restore --to DIR` \
             brings them back",
            oldest - 1
        ),
        _ => String::new(),
    }
}
