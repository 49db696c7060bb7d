//! `[[forward]]`: where the log is sent on to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::audit::frame::{BODY_BYTES_MAX, Kind};
use crate::config::profiles::TlsConfig;
use crate::forward::message::ENVELOPE_BYTES;
use crate::forward::settings::{
    BATCH_RECORDS_DEFAULT, DEAD_LETTERS_MIB_DEFAULT, LENGTH_DEFAULT, MESSAGE_BYTES_DEFAULT,
    RESEND_RECORDS_DEFAULT, Start, TARGETS_MAX, TargetName, WhenFull,
};

/// The stream, unless config says otherwise.
const STREAM_DEFAULT: &str = "tollgate:{log}";

/// One target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ForwardConfig {
    pub name: String,
    #[serde(default)]
    pub redis: Option<ForwardRedisConfig>,
    #[serde(default)]
    pub kafka: Option<ForwardKafkaConfig>,
    #[serde(default)]
    pub kinds: Vec<Kind>,
    #[serde(default)]
    pub start: Start,
    #[serde(default = "batch_records_default")]
    pub batch_records_max: usize,
    #[serde(default = "message_bytes_default")]
    pub message_bytes_max: usize,
    #[serde(default = "dead_letters_default")]
    pub dead_letters_mib_max: u64,
    #[serde(default)]
    pub on_dead_letters_full: WhenFull,
    #[serde(default = "resend_default")]
    pub resend_records_max: u64,
}

/// `redis` of a target.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ForwardRedisConfig {
    pub url: String,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub password: String,
    #[serde(default)]
    pub sentinel_username: String,
    #[serde(default)]
    pub sentinel_password: String,
    #[serde(default)]
    pub tls: TlsConfig,
    #[serde(default = "stream_default")]
    pub stream: String,
    #[serde(default = "length_default")]
    pub length_max: u64,
    #[serde(default)]
    pub replicas_min: u32,
}

/// `kafka` of a target.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the default file explains each key")]
pub struct ForwardKafkaConfig {
    pub brokers: String,
    pub topic: String,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl std::fmt::Debug for ForwardRedisConfig {
    /// Without URL and credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardRedisConfig")
            .field("stream", &self.stream)
            .field("length_max", &self.length_max)
            .field("replicas_min", &self.replicas_min)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ForwardKafkaConfig {
    /// Without options: they hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardKafkaConfig").field("topic", &self.topic).finish_non_exhaustive()
    }
}

const fn batch_records_default() -> usize {
    BATCH_RECORDS_DEFAULT
}

const fn message_bytes_default() -> usize {
    MESSAGE_BYTES_DEFAULT
}

const fn dead_letters_default() -> u64 {
    DEAD_LETTERS_MIB_DEFAULT
}

const fn resend_default() -> u64 {
    RESEND_RECORDS_DEFAULT
}

fn stream_default() -> String {
    STREAM_DEFAULT.to_owned()
}

const fn length_default() -> u64 {
    LENGTH_DEFAULT
}

/// What is wrong with the targets; none when nothing is.
pub(super) fn check(targets: &[ForwardConfig]) -> Option<String> {
    if targets.len() > TARGETS_MAX {
        return Some(format!("there are {} targets of forwarding, and at most {TARGETS_MAX}", targets.len()));
    }
    let mut names = BTreeSet::new();
    targets.iter().find_map(|target| {
        let name = &target.name;
        if let Err(error) = TargetName::parse(name) {
            return Some(format!("forward: {error}"));
        }
        if !names.insert(name) {
            return Some(format!("there are two targets of forwarding with the name {name}"));
        }
        if target.redis.is_some() == target.kafka.is_some() {
            return Some(format!("the target {name} of forwarding must have either redis or kafka"));
        }
        if target.redis.as_ref().is_some_and(|redis| redis.stream.is_empty()) {
            return Some(format!("the target {name} of forwarding has a stream without a name"));
        }
        let replicas_min = target.redis.as_ref().map_or(0, |redis| redis.replicas_min);
        let message_bytes_most = (BODY_BYTES_MAX + ENVELOPE_BYTES) as u64;
        [
            ("batch_records_max", target.batch_records_max as u64, 1, 10_000),
            ("message_bytes_max", target.message_bytes_max as u64, 1_024, message_bytes_most),
            ("dead_letters_mib_max", target.dead_letters_mib_max, 1, 4_096),
            ("redis.replicas_min", u64::from(replicas_min), 0, 16),
        ]
        .into_iter()
        .find(|(_, actual, min, max)| !(min..=max).contains(&actual))
        .map(|(key, actual, min, max)| {
            format!("{key} of the target {name} of forwarding must be from {min} to {max}, is {actual}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::Config;

    fn read(text: &str) -> Vec<ForwardConfig> {
        let config: Config = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        config.forward
    }

    #[test]
    fn mistakes_are_named() {
        let redis = "redis = {url = \"redis://a\"}";
        for (text, expected) in [
            (format!("[[forward]]\nname = \"A\"\n{redis}"), "a target's name must be"),
            (
                format!("[[forward]]\nname = \"a\"\n{redis}\n[[forward]]\nname = \"a\"\n{redis}"),
                "two targets",
            ),
            ("[[forward]]\nname = \"a\"".to_owned(), "either redis or kafka"),
            (
                format!("[[forward]]\nname = \"a\"\n{redis}\nkafka = {{brokers = \"b\", topic = \"t\"}}"),
                "either redis or kafka",
            ),
            (
                format!("[[forward]]\nname = \"a\"\n{redis}\nmessage_bytes_max = 2000000"),
                "message_bytes_max of the target a of forwarding must be from 1024 to",
            ),
            (
                format!("[[forward]]\nname = \"a\"\nbatch_records_max = 0\n{redis}"),
                "must be from 1 to 10000, is 0",
            ),
        ] {
            let problem = check(&read(&text)).unwrap_or_else(|| panic!("{text}"));
            assert!(problem.contains(expected), "{problem}");
        }
        let many: String =
            (0..=TARGETS_MAX).map(|number| format!("[[forward]]\nname = \"t{number}\"\n{redis}\n")).collect();
        assert!(check(&read(&many)).unwrap().contains("at most 16"));
    }

    #[test]
    fn what_is_left_out_has_its_default_and_credentials_are_never_shown() {
        let text = "[[forward]]\nname = \"risk\"\nkinds = [\"decision\", \"label\"]\nstart = \"newest\"\n[forward.redis]\n\
                    url = \"redis://app:hunter2@a\"\npassword = \"hunter3\"\n[[forward]]\nname = \"lake\"\n[forward.kafka]\n\
                    brokers = \"a:9092\"\ntopic = \"t\"\noptions = {\"sasl.password\" = \"hunter4\"}";
        let targets = read(text);
        assert_eq!(check(&targets), None);
        let [risk, lake] = &targets[..] else { panic!("{targets:?}") };
        assert_eq!((&risk.kinds[..], risk.start), (&[Kind::Decision, Kind::Label][..], Start::Newest));
        let redis = risk.redis.as_ref().unwrap();
        assert_eq!(
            (&*redis.stream, redis.length_max, redis.replicas_min),
            (STREAM_DEFAULT, LENGTH_DEFAULT, 0)
        );
        assert_eq!((lake.start, lake.on_dead_letters_full), (Start::Oldest, WhenFull::Stop));
        assert!(!format!("{targets:?}").contains("hunter"), "{targets:?}");
    }
}
