//! The command line: wiring only. Each command turns arguments and settings into calls of the rooms below.

#[cfg(feature = "parquet")]
pub mod archive;
pub mod args;
pub mod args_archive;
pub mod args_backtest;
pub mod audit;
pub mod audit_checkpoint;
pub mod audit_erase;
pub mod audit_filters;
pub mod audit_forward;
pub mod audit_index;
pub mod audit_prove;
pub mod audit_redecide;
pub mod audit_repair;
pub mod audit_search;
pub mod audit_show;
mod audit_show_text;
pub mod audit_tail;
pub mod audit_verify;
pub mod backtest;
pub mod check;
mod covered_by;
pub mod decide;
pub mod decide_recorded;
pub mod explain;
pub mod features;
mod forward_targets;
pub mod interrupt;
pub mod ip;
#[cfg(feature = "parquet")]
mod log_record;
mod log_search;
pub mod logging;
pub mod model;
pub mod model_report;
pub mod model_verify;
pub mod output;
pub mod policy;
pub mod profiles;
pub mod progress;
pub mod serve;
pub mod simulate;
mod store;
