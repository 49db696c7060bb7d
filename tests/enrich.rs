//! Profile stores: one table of facts for both of them, and what Redis's failures may cost.
#![expect(unreachable_pub, reason = "a program has no outside; the modules share with one another")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "support/redis.rs"]
mod redis_server;

#[path = "enrich/breaker.rs"]
mod breaker;
#[path = "enrich/cache.rs"]
mod cache;
#[path = "enrich/crash.rs"]
mod crash;
#[path = "enrich/deployments.rs"]
mod deployments;
#[path = "enrich/facts.rs"]
mod facts;
#[path = "enrich/faults.rs"]
mod faults;
#[path = "enrich/hedge.rs"]
mod hedge;
#[path = "enrich/import.rs"]
mod import;
#[path = "enrich/layout.rs"]
mod layout;
#[path = "enrich/proxy.rs"]
mod proxy;
#[path = "enrich/stores.rs"]
mod stores;
#[cfg(feature = "tls")]
#[path = "enrich/tls.rs"]
mod tls;
#[path = "enrich/updates.rs"]
mod updates;
