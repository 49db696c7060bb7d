//! Tollgate: a low-latency, in-process fraud decision service.
//!
//! `ARCHITECTURE.md` is the map: the rooms below, what must hold in each, and the walk of one transaction.
//! Imports point down only, from the last line of this list to the first; `tests/architecture.rs` guards it.

pub mod domain;

pub mod expr;
pub mod model;
pub mod privacy;
pub mod proof;
pub mod simulate;
pub mod window;
pub mod wire;

pub mod feature;

pub mod rules;

pub mod audit;
pub mod engine;
pub mod enrich;
pub mod ip;

#[cfg(feature = "parquet")]
pub mod archive;
pub mod evaluation;
pub mod forward;
pub mod policy_archive;
pub mod search;

pub mod offline;
pub mod pipeline;

pub mod http;
pub mod redecide;

pub mod cli;
pub mod config;
