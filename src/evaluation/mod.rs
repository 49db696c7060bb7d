//! What a policy's decisions are worth: decided again from what was recorded, counted, held against other decisions and against
//! what became of the transactions, and reported.
//!
//! - Nothing is decided in another way than live: [`crate::engine::judge`] decides, from recorded values or from windows that
//!   [`crate::engine::observe`] filled.
//! - One tally and one report, whoever asks: a backtest of a file or of the log, the admin port, and a candidate on live traffic.
//! - Counts and amounts are exact. What is drawn (samples) depends on the transactions alone: two runs show the same.
//! - Whoever decides never sees the truth: it is for counting.

pub mod again;
pub mod comparison;
pub mod comparison_text;
pub mod interval;
pub mod metrics;
pub mod recorded;
pub mod report;
pub mod report_parts;
pub mod report_text;
pub mod rule_tally;
pub mod rules_text;
pub mod said;
pub mod session;
pub mod standing;
pub mod tally;
pub mod text_table;
pub mod truth;

#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod standing_tests;
