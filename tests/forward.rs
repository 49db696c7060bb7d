//! Forwarding of the log, to real servers: what arrives, in which order, and through which failures.
//!
//! Kafka's part is in builds with the feature: `cargo test --features kafka --test forward`. It starts librdkafka's own cluster, which
//! speaks the real protocol.
#![expect(unreachable_pub, reason = "a program has no outside; the modules share with one another")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "what is waited for is real time")]

#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "support/redis.rs"]
mod redis_server;

#[path = "forward/house.rs"]
mod house;

#[path = "forward/dead_letters.rs"]
mod dead_letters;
#[path = "forward/deployments.rs"]
mod deployments;
#[path = "forward/faults.rs"]
mod faults;
#[cfg(feature = "kafka")]
#[path = "forward/kafka.rs"]
mod kafka;
#[path = "forward/stream.rs"]
mod stream;
#[path = "forward/throughput.rs"]
mod throughput;
