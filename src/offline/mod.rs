//! Files instead of traffic: reading foreign files, replaying them as a live service would have seen them, and writing
//! feature tables, reports and pictures.
//!
//! - A row of any file becomes a JSON object shaped like the API's and passes the one validation there is
//!   ([`crate::wire::transaction::parse_value`]); nothing in this room builds a transaction by itself.
//! - Files are streamed: memory is bounded by a batch, the label delay and the named constants, never by the file's length.
//! - Money that comes as major units is read from decimal text and never rounded.
//! - A row that cannot be read stops the run with its file, row, column and reason, unless the caller asked to skip such rows;
//!   then they are counted and the first ones listed. No message repeats a card number.
//! - Nothing here is decided twice: transactions are passed on in file order, and a label is delivered when its time has come.

pub mod backtest;
pub mod binding;
pub mod calibration;
pub mod cell;
pub mod drawing;
pub mod error;
pub mod input;
pub mod input_csv;
pub mod input_ndjson;
#[cfg(feature = "parquet")]
pub mod input_parquet;
pub mod label_places;
pub mod labels;
pub mod mapping;
pub mod mapping_check;
pub mod mapping_yaml;
pub mod model_report;
pub mod model_report_text;
pub mod moment;
pub mod operating_point;
pub mod output;
#[cfg(feature = "parquet")]
pub mod output_parquet;
pub mod picture;
pub mod profiles;
pub mod recorded_traffic;
pub mod replay;
pub mod replay_files;
pub mod scored;
pub mod tradeoff;
pub mod transactions;

#[cfg(test)]
mod backtest_tests;
#[cfg(test)]
mod input_tests;
#[cfg(test)]
mod mapping_tests;
#[cfg(test)]
mod model_report_tests;
#[cfg(test)]
mod output_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod shared_data_tests;
#[cfg(test)]
mod tradeoff_tests;
