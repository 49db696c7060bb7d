//! The feature catalogue and the vector that it makes of a transaction.
//!
//! One file, `models/features.yaml`, declares every feature that models and rules may name; adding one is editing that file.
//! A compiled catalogue is immutable. Serving, training and backtest make vectors with the same code here, so that the
//! features a model saw in training are the features that it sees live, bit for bit. A feature that has no value is missing.

pub mod catalogue;
pub mod extract;
pub mod facts;
pub mod file;
pub mod naming;
pub mod vector;
pub mod words;

mod derived;
