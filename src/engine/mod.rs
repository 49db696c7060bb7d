//! The decision: `observe` reads and updates the windows, `judge` makes a decision of everything that is known.
//!
//! Both are synchronous and pure of IO, clock and randomness: the same state and arguments give the same bits. Serving,
//! dry runs, backtests and training sets all call these two functions; there is no second way to decide.

pub mod consequences;
pub mod doubts;
pub mod explain;
pub mod judge;
pub mod ledger;
pub mod mistake;
pub mod observe;
pub mod policy;
pub mod settings;
pub mod shadow;
pub mod state;

#[cfg(test)]
mod judge_tests;
