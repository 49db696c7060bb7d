//! The command line: wiring only. Each command turns arguments and settings into calls of the rooms below.

pub mod args;
pub mod args_backtest;
pub mod audit;
pub mod audit_erase;
pub mod backtest;
pub mod check;
pub mod decide;
pub mod decide_recorded;
pub mod explain;
pub mod features;
pub mod interrupt;
pub mod ip;
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
