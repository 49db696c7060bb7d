//! Rules: files, lists, evaluation, and the decision that follows from what matched.
//!
//! A [`set::RuleSet`] is read as a whole ([`directory`], [`mod@file`], [`list`]), type-checked, its in-file tests run ([`in_file_tests`]), and
//! only then exists: a set that exists is a set that works. What must hold:
//!
//! - a wrong set is refused with *every* [`problem`] at once, each with file, line, column and, for a misspelt name, a
//!   suggestion;
//! - a rule matches only when its condition is exactly `true`; a missing value never matches by itself;
//! - every live and every shadow rule is evaluated for every transaction, by one evaluator;
//! - what is decided when nothing matched stands in a file, not in code;
//! - nothing here reads a clock: the transaction's event time is an argument.

pub mod budget;
pub mod candidate;
pub mod directory;
pub mod document;
pub mod explain;
pub mod file;
pub mod in_file_tests;
pub mod lint;
pub mod list;
pub mod markup;
pub mod message;
pub mod problem;
pub mod raw;
pub mod rollout;
pub mod run_time;
pub mod set;

#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod markup_tests;
#[cfg(test)]
mod set_tests;
#[cfg(test)]
mod shipped_pack_tests;
