//! What the operator chose for one target.

use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::audit::frame::Kind;
use crate::enrich::redis_target::RedisTarget;

/// Most targets of one service: each is a thread.
pub const TARGETS_MAX: usize = 16;
/// Longest name of a target.
pub const NAME_BYTES_MAX: usize = 32;
/// Most records of one batch, unless config says otherwise.
pub const BATCH_RECORDS_DEFAULT: usize = 512;
/// Longest message, unless config says otherwise: what Kafka takes without being told otherwise, and more than a record ever has in practice.
pub const MESSAGE_BYTES_DEFAULT: usize = 1_000_000;
/// Longest dead-letter file, unless config says otherwise.
pub const DEAD_LETTERS_MIB_DEFAULT: u64 = 64;
/// How far it goes back for a target that has lost what it had, in records, unless config says otherwise.
pub const RESEND_RECORDS_DEFAULT: u64 = 1_000_000;
/// Entries that a stream keeps, unless config says otherwise.
pub const LENGTH_DEFAULT: u64 = 100_000;

/// The name of a target: what its files and metrics are called.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TargetName(Box<str>);

/// Not the name of a target.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a target's name must be 1 to {NAME_BYTES_MAX} of a-z, 0-9, - and _, is {0:?}")]
pub struct NameError(String);

impl TargetName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_allowed) {
            return Err(NameError(text.chars().take(NAME_BYTES_MAX).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a target begins that has no place of its own yet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest record that the log still has.
    #[default]
    Oldest,
    /// With the next record.
    Newest,
}

/// What happens when the dead-letter file is at its bound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The target waits at that record, until there is room.
    #[default]
    Stop,
    /// The record is left out and counted.
    Drop,
}

/// One target.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Its name.
    pub name: TargetName,
    /// Where it is.
    pub destination: Destination,
    /// Which records are sent; empty: all.
    pub kinds: Vec<Kind>,
    /// Where it begins.
    pub start: Start,
    /// Most records of one batch.
    pub batch_records_max: usize,
    /// Longest message, in bytes: body and about half a kilobyte. A longer one is refused.
    pub message_bytes_max: usize,
    /// Longest dead-letter file, in bytes.
    pub dead_letters_bytes_max: u64,
    /// What happens then.
    pub on_dead_letters_full: WhenFull,
    /// How far it goes back for a target that has lost what it had, in records.
    pub resend_records_max: u64,
}

impl TargetSettings {
    /// Whether records of that kind are sent.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// Where a target is.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A stream of a Redis.
    RedisStreams(RedisStreamSettings),
    /// A topic of a Kafka.
    #[cfg(feature = "kafka")]
    Kafka(crate::forward::kafka::KafkaSettings),
}

impl fmt::Display for Destination {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RedisStreams(it) => write!(f, "{} stream {}", it.redis, it.stream),
            #[cfg(feature = "kafka")]
            Self::Kafka(it) => write!(f, "kafka {} topic {}", it.brokers, it.topic),
        }
    }
}

/// A stream of a Redis.
#[derive(Clone, Debug)]
pub struct RedisStreamSettings {
    /// Which Redis.
    pub redis: RedisTarget,
    /// The stream's key; `{log}` in it stands for the log's id.
    pub stream: String,
    /// About how many entries the stream keeps; 0: all.
    pub length_max: u64,
    /// How many replicas must have a batch before it counts as taken.
    pub replicas_min: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_stand_in_a_path_and_in_a_metric() {
        for good in ["a", "risk-lake_2", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(TargetName::parse(good).unwrap().as_str(), good);
        }
        for wrong in ["", "A", "a.b", "../a", "a b", "ä", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(TargetName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
