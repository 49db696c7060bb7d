//! A data directory opened for searching, read only: of a service that runs or of one at rest.

use std::path::Path;

use anyhow::Context as _;

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
