//! What the benches of the window store share: one workload, the contestants that do the same work, and how they are timed.
//!
//! What must hold here: every contestant is given the same events and answers the same numbers, which `check` asserts
//! before anything is measured; and whatever is not the contestant's own work stays outside the clock.
#![allow(dead_code, reason = "each bench takes what it needs")]

pub(crate) mod check;
pub(crate) mod contestant;
pub(crate) mod fill;
pub(crate) mod measure;
pub(crate) mod naive;
pub(crate) mod naive_stores;
pub(crate) mod reads;
pub(crate) mod redis_peer;
pub(crate) mod redis_script;
#[path = "../../tests/support/redis.rs"]
pub(crate) mod redis_server;
pub(crate) mod roster;
pub(crate) mod workload;
