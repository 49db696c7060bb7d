//! Expressions: a typed scalar profile of the Common Expression Language (CEL).
//!
//! A text is parsed ([`syntax`]), type-checked against a [`schema`] ([`check`]) and compiled to a [`program`] over slots
//! (a tree of [`node`]s, one enum per type, which [`eval`] walks). [`explain`] says afterwards why a condition held; `PROFILE.md`
//! says how much of CEL this is. What must hold:
//!
//! - every wrong text is refused at load, with a place, a reason and, where a name is misspelt, a suggestion;
//! - evaluation looks up no string, hashes nothing and cannot fail: what has no value is *missing*;
//! - its time is bounded by the text: no loops, no user functions, and every text, tree and pattern has a bound.
//!
//! What CEL calls an error is missing here: a name without a value, an integer overflow, an integer division by zero, a
//! text that is no number. `&&` and `||` absorb it from either side; everything else passes it on.

pub mod check;
pub mod error;
pub mod eval;
pub mod explain;
pub mod function;
pub mod index;
pub mod node;
pub mod normal;
pub mod number;
pub mod operator;
pub mod program;
pub mod schema;
pub mod suggest;
pub mod syntax;
pub mod temporal;
pub mod text;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod program_tests;
