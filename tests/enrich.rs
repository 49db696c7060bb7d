//! Profile stores: one table of facts for both of them, and what Redis's failures may cost.
#![expect(unreachable_pub, reason = "a program has no outside; the modules share with one another")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/redis.rs"]
mod redis_server;

#[path = "enrich/crash.rs"]
mod crash;
#[path = "enrich/facts.rs"]
mod facts;
#[path = "enrich/faults.rs"]
mod faults;
#[path = "enrich/import.rs"]
mod import;
#[path = "enrich/proxy.rs"]
mod proxy;
#[path = "enrich/stores.rs"]
mod stores;
