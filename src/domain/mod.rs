//! The words of the trade, as types that cannot hold a wrong value.
//!
//! Everything here is a plain value: no IO, no clock, no randomness, no knowledge of JSON, HTTP or files. Money is
//! exact integers; time is event time in milliseconds; a value that is not there is `Missing`, never zero.

pub mod decision;
pub mod enrichment;
pub mod field;
pub mod hash;
pub mod ip;
pub mod ip_facts;
pub mod ip_kind;
pub mod label;
pub mod limits;
pub mod money;
pub mod recorded_value;
pub mod text;
pub mod time;
pub mod transaction;
pub mod value;
