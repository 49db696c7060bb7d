//! The JSON of transactions and labels, the same for HTTP bodies, files and audit records.
//!
//! Past this room there are only domain types, which cannot be wrong. A body with wrong fields is refused with all of them
//! named at once, by JSON Pointer (RFC 6901); a raw card number anywhere in it is refused and never repeated in an error.

pub mod label;
pub mod pan;
pub mod reader;
pub mod recorded;
pub mod rejection;
pub mod transaction;
