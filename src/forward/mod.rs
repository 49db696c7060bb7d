//! The log, sent on to other systems: Redis Streams, and Kafka in builds with the feature `kafka`. What consumers need to know stands
//! in `README.md` here.
//!
//! - `settings` what the operator chose; `message` a record as it is sent, `entity` whose order it keeps
//! - `sink` the trait of a target; `redis_streams` with `stream_id`, and `kafka`
//! - `forwarding` all targets of a service; `worker` follows the log (`audit::follow`) for one target; `retry` how long it waits after a failure
//! - `dead_letters`, `replay` what a target refuses for good, kept and sent again
//! - `cursors` how far the targets have come, on disk; `status` the same, live
//!
//! What must hold:
//! - At least once: a place is noted only after the target has said that it has everything before it. What comes twice carries
//!   the same id.
//! - In order: of one entity, no record is sent before an earlier one has been taken, or stands among the dead letters.
//! - A target that is away, full or wrongly set up is waited for, without end and without touching a decision; only what is wrong
//!   with the record itself makes a dead letter. Nothing is left out silently: each way to lose a record has a counter.
//! - A body goes out as it lies in the log. No file of this room holds more of a person than the log does.

pub mod cursors;
pub mod dead_letters;
pub mod entity;
pub mod forwarding;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod message;
pub mod redis_streams;
pub mod replay;
mod retry;
pub mod settings;
pub mod sink;
pub mod status;
mod stream_id;
mod worker;
