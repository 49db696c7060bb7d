//! Many conditions asked at once: which of them are exactly `true` for one transaction.
//!
//! [`term`] brings each condition into a few *terms*, conjunctions of [`leaf`]s that must all hold; a leaf asks whether the
//! key of one [`column`] lies in a range or a set, or is an opaque condition. [`build`] files each term under a leaf that holds
//! rarely, as far as the texts tell ([`filing`], [`selectivity`]). [`matcher`] then looks at the few terms whose leaf holds: two
//! comparisons each, two more for what is left, and only then the rest. What must hold:
//!
//! - the index says of every condition what [`super::program::Program::matches`] says, for all facts;
//! - asking it allocates nothing once its scratch has grown, hashes nothing, and asks for each slot once; opaque conditions
//!   are those of their own nodes, each evaluated at most once a transaction, however many rules share it.

mod build;
pub(crate) mod column;
mod filing;
mod leaf;
pub mod matcher;
mod selectivity;
mod term;

#[cfg(test)]
mod index_tests;
