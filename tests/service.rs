//! The real program from end to end: `tollgate serve` as a process of its own, spoken to over sockets, with real files, a real
//! Redis and real kills. One module for each promise.
#![expect(unreachable_pub, reason = "a program has no outside; the modules share with one another")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "what a client waits for is real time")]

#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "support/http.rs"]
mod http;
#[path = "support/redis.rs"]
mod redis_server;
#[path = "support/tollgate.rs"]
mod tollgate_process;

#[cfg(feature = "parquet")]
#[path = "service/archive.rs"]
mod archive;
#[path = "service/backtest.rs"]
mod backtest;
#[path = "service/candidates.rs"]
mod candidates;
#[path = "service/challengers.rs"]
mod challengers;
#[path = "service/check.rs"]
mod check;
#[path = "service/crash.rs"]
mod crash;
#[path = "service/drift.rs"]
mod drift;
#[path = "service/explain.rs"]
mod explain;
#[path = "service/faults.rs"]
mod faults;
#[path = "service/forward.rs"]
mod forward;
#[path = "service/full_disk.rs"]
mod full_disk;
#[path = "service/hostile.rs"]
mod hostile;
#[path = "service/idempotency.rs"]
mod idempotency;
#[path = "service/ip.rs"]
mod ip;
#[path = "service/kills.rs"]
mod kills;
#[path = "service/labels.rs"]
mod labels;
#[path = "service/lists.rs"]
mod lists;
#[path = "service/parity.rs"]
mod parity;
#[path = "service/privacy.rs"]
mod privacy;
#[path = "service/profiles.rs"]
mod profiles;
#[path = "service/proof.rs"]
mod proof;
#[path = "service/recorded.rs"]
mod recorded;
#[path = "service/redecide.rs"]
mod redecide;
#[path = "service/reload.rs"]
mod reload;
#[path = "service/reload_load.rs"]
mod reload_load;
#[path = "service/repair.rs"]
mod repair;
#[path = "service/restart.rs"]
mod restart;
#[path = "service/reviews.rs"]
mod reviews;
#[path = "service/rules.rs"]
mod rules;
#[path = "service/search.rs"]
mod search;
#[path = "service/shutdown.rs"]
mod shutdown;
#[path = "service/traffic.rs"]
mod traffic;
#[path = "service/updates.rs"]
mod updates;
