//! Rules that work, but perhaps not as meant.
//!
//! [`run`] looks at a set and gives warnings. What it says of conditions it proves: [`clause`] brings a condition into alternatives,
//! each of which leaves to every name a set of values ([`leaf`], [`allowed`], [`known`]); [`ranking`] compares rules by them, and
//! [`exclusion`] says which parts of a condition exclude each other. [`doubtful`] looks at how a condition is written, [`traffic`] at
//! what recorded transactions held. What must hold:
//!
//! - a warning that a rule never hits, always hits or never decides is true for all transactions; where the proof would take too
//!   long, nothing is said;
//! - 10,000 rules take well under a second: rules are compared only where they share a name, and so many times at most.

pub mod allowed;
pub mod clause;
pub mod doubtful;
pub mod exclusion;
pub mod known;
pub mod leaf;
pub mod ranking;
pub mod run;
pub mod traffic;

#[cfg(test)]
mod lint_tests;
#[cfg(test)]
mod proof_tests;
