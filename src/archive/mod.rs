//! The archive: closed segments of the audit log as Parquet files, on a local disk or in an S3-compatible store.
//!
//! What must hold here:
//! - A segment leaves the log's directory only after its records were read back from the archive, and found to give the segment byte for byte.
//! - The archive proves itself: each row holds the whole record, so that checksums, chain and segments can be checked without the log.
//! - What the manifest names is there. It is written after the files that it names, and before those that it no longer names go; a crash
//!   at any instant leaves an archive that the next run finishes.
//! - No column but `frame` holds anything about a person.
//! - The columns of `schema` and the manifest's version are published: columns are only added, versions never reused.
//!
//! Walk: `archiver` makes pieces of a segment with `file_writer` (rows by `row`, columns by `schema`), puts them into a `store`, checks them with
//! `walk`, and names them in the `manifest`. `compact`, `retain` and `prune` change what is there; `restore` makes segments again; `delta`
//! tells readers of Delta Lake. `README.md` is for those who query it.

pub mod archiver;
pub mod compact;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "delta")]
mod delta_checkpoint;
pub mod error;
pub mod file_reader;
pub mod file_writer;
pub mod location;
pub mod manifest;
pub mod needs;
pub mod prune;
pub mod restore;
pub mod retain;
pub mod row;
#[cfg(feature = "s3")]
pub mod s3;
pub mod schema;
pub mod segment_file;
pub mod status;
pub mod store;
pub mod verify;
pub mod walk;

#[cfg(all(test, feature = "delta"))]
mod delta_tests;
#[cfg(test)]
mod tests;
