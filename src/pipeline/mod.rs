//! The walk of one transaction: from the bytes of a request to the bytes of an answer whose record is in the log.
//!
//! - Every answered live decision is in the log before its answer leaves, as `audit.ack` promises.
//! - One lane orders `observe`, so that a record's sequence is the order in which the windows saw its transaction. Nothing
//!   waits or does IO while it holds the lane.
//! - The consequences of a record (approved, declined, labels) reach the windows when the record is in the log, in its order,
//!   and before its answer leaves. A restart folds the same records and gets the same windows, whether it begins with a snapshot
//!   or with the first record.
//! - What is looked at after a decision (challengers, drift, a candidate's rules) and what it adds to profiles cannot delay, fail or
//!   change an answer.
//! - A request has one deadline. What did not arrive by then is missing, by name, in the answer and in the record.

pub mod answer;
#[cfg(feature = "parquet")]
mod archive_metrics;
#[cfg(feature = "parquet")]
pub mod archiving;
pub mod audit_search;
pub mod backtest;
pub mod candidate;
pub mod candidate_shadow;
mod checkpoint_metrics;
pub mod checkpoints;
mod drift;
pub mod erasure;
pub mod erasure_stopped;
pub mod erasure_traces;
pub mod fold;
pub mod forward;
mod forward_metrics;
pub mod index;
pub mod ip;
mod ip_metrics;
pub mod label;
pub mod lane;
pub mod list_status;
pub mod lists;
pub mod look_up;
pub mod metrics;
pub mod policy;
pub mod privacy;
mod profile_metrics;
mod profile_steps;
pub mod profile_updates;
pub mod prove;
pub mod readiness;
pub mod recover;
pub mod reload;
pub mod remembered;
pub mod restore;
pub mod retired;
pub mod reviews;
pub mod rule_counts;
mod rule_metrics;
pub mod rules_check;
pub mod rules_status;
mod search_metrics;
pub mod secret;
pub mod service;
pub mod settings;
pub mod shadow;
mod shadow_metrics;
pub mod snapshot;
pub mod snapshot_directory;
pub mod snapshot_file;
pub mod snapshot_header;
mod stage_times;
pub mod start;
pub mod stopwatch;
pub mod tree;

#[cfg(test)]
mod house_tests;
#[cfg(test)]
mod lists_tests;
#[cfg(test)]
mod restore_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tree_tests;
