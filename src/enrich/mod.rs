//! What is known about the entities of a transaction beyond the transaction itself: stored profiles, asked for in one
//! round trip, with a deadline.
//!
//! - `plan` what to ask for, compiled once per policy; how a stored text becomes a typed value
//! - `record` one profile as it is written, checked
//! - `source` the trait of a profile store, the ids of one transaction, the errors of a write
//! - `embedded` the default store: one file in the data directory, or memory
//! - `redis`, `redis_link`, `redis_connection`, `redis_target`, `redis_url` Redis: the questions, the life of a connection, one server or
//!   a cluster, how it is reached, the URL
//! - `cache` what Redis said, kept for a while
//! - `breaker` leaves a dependency alone that mostly fails
//! - `hedge` asks a second time where an answer is late
//! - `profiles` either of the two, as configured
//! - `update`, `redis_update` what decisions add to profiles, exactly once
//! - `import` NDJSON into a store
//! - `counters` what an operator wants to see of all this
//!
//! What must hold:
//! - A fetch never fails. What did not arrive is `TimedOut`, by output; it is never zero.
//! - A fetch from Redis never outlasts its timeout, and costs microseconds while there is no connection or the breaker is open. The
//!   embedded store does not wait for anything but the operating system's page cache, and reads no clock.
//! - `Absent` is only said of a store that answered, or of an entity that the transaction does not have.
//! - An answer belongs to the transaction that asked: a late reply is dropped, never handed to another.
//! - One transaction costs at most one round trip, however many entities and fields it asks for; a bounded share costs another, at the
//!   same time, where the first is late.

pub mod breaker;
pub mod cache;
pub mod counters;
pub mod embedded;
pub mod hedge;
pub mod import;
pub mod plan;
pub mod profiles;
pub mod record;
pub mod redis;
mod redis_connection;
pub mod redis_link;
pub mod redis_target;
mod redis_update;
pub mod redis_url;
pub mod source;
pub mod update;
