//! What Prometheus reads of the search index and the queue of reviews: written anew at each scrape.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::pipeline::service::Service;

impl Service {
    /// Puts the series into a text.
    pub(super) fn write_search(&self, text: &mut String) -> std::fmt::Result {
        let status = self.search.status();
        let behind = self.log.status().head.sequence.saturating_sub(status.through);
        let behind = if status.is_whole { behind } else { behind.max(1) };
        let families = [
            (
                "search_index_lag_records",
                "gauge",
                "Records of the log that the search index does not hold yet",
                behind,
            ),
            ("search_index_parts", "gauge", "Files of the search index", status.parts as u64),
            (
                "search_index_unread_records",
                "counter",
                "Records that could not be read to be indexed",
                status.unread,
            ),
            (
                "search_index_erased_waiting",
                "gauge",
                "Keyed hashes of erased ids that parts of the search index may still hold",
                status.erased_waiting as u64,
            ),
            (
                "reviews_open",
                "gauge",
                "Decisions that wait for a person's verdict",
                status.open_reviews as u64,
            ),
            (
                "reviews_forgotten",
                "counter",
                "Open reviews that were forgotten because there were too many",
                status.forgotten_reviews,
            ),
            (
                "reviews",
                "counter",
                "Reviews recorded since the start",
                self.metrics.reviews.load(Ordering::Relaxed),
            ),
        ];
        for (name, kind, help, value) in families {
            let suffix = if kind == "counter" { "_total" } else { "" };
            writeln!(
                text,
                "# HELP tollgate_{name} {help}.\n# TYPE tollgate_{name} {kind}\ntollgate_{name}{suffix} {value}"
            )?;
        }
        Ok(())
    }
}
