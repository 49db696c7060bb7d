//! Search over the audit log: an index of parts beside it, and what finds decisions by it.
//!
//! What must hold here:
//! - An index only ever makes a search fast. What it leaves out is read from the log; what it finds is read from the log before it
//!   counts. A part that is missing, damaged or of another log or secret is made again, and meanwhile its stretch is read.
//! - No value of a record stands in an index in clear: keyed hashes, times, scores and outcomes do.
//! - Building holds up nothing: a thread of its own follows the settled records.
//! - Bodies are read in one place, `facts`.
//!
//! Walk: `facts` says what is known of a record; `memory` gathers it with a `row` each, `file` writes it in pages (`paged`), `parts`
//! lists the files, `part` asks them. `run` searches the log by stretches for a `query`, `find` by ids, `related` for labels and reviews;
//! `dossier` is all
//! that is known of one record. `live` keeps the index of a service, with its `open_reviews`; `log_search` opens what there is for a
//! reader, `build` makes parts of a log at rest.

pub mod build;
pub mod dossier;
pub mod erased;
pub mod facts;
pub mod file;
pub mod find;
pub mod key;
pub mod live;
pub mod log_search;
pub mod memory;
pub mod open_reviews;
pub mod paged;
pub mod part;
pub mod parts;
pub mod query;
pub mod related;
pub mod row;
pub mod run;

#[cfg(test)]
mod tests;
