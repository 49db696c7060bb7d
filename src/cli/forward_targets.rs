//! The targets of forwarding that settings and environment name.

use anyhow::Context;

use crate::cli::store;
use crate::config::forward::{ForwardConfig, ForwardRedisConfig};
use crate::enrich::redis_target::RedisTarget;
use crate::forward::settings::{Destination, RedisStreamSettings, TargetName, TargetSettings};

/// All of them.
pub(super) fn all(configs: &[ForwardConfig]) -> anyhow::Result<Vec<TargetSettings>> {
    configs.iter().map(target).collect()
}

fn target(config: &ForwardConfig) -> anyhow::Result<TargetSettings> {
    let context = || format!("the target {} of forwarding", config.name);
    Ok(TargetSettings {
        name: TargetName::parse(&config.name)?,
        destination: destination(config).with_context(context)?,
        kinds: config.kinds.clone(),
        start: config.start,
        batch_records_max: config.batch_records_max,
        message_bytes_max: config.message_bytes_max,
        dead_letters_bytes_max: config.dead_letters_mib_max << 20,
        on_dead_letters_full: config.on_dead_letters_full,
        resend_records_max: config.resend_records_max,
    })
}

fn destination(config: &ForwardConfig) -> anyhow::Result<Destination> {
    match (&config.redis, &config.kafka) {
        (Some(redis), _) => Ok(Destination::RedisStreams(stream(&config.name, redis)?)),
        #[cfg(feature = "kafka")]
        (None, Some(kafka)) => {
            let mut options = kafka.options.clone();
            for (option, variable) in [("sasl.username", "USERNAME"), ("sasl.password", "PASSWORD")] {
                if let Some(value) = variable_of(&config.name, variable) {
                    options.insert(option.to_owned(), value);
                }
            }
            let (brokers, topic) = (kafka.brokers.clone(), kafka.topic.clone());
            Ok(Destination::Kafka(crate::forward::kafka::KafkaSettings { brokers, topic, options }))
        }
        #[cfg(not(feature = "kafka"))]
        (None, Some(_)) => anyhow::bail!("Kafka is not built in (build with `--features kafka`)"),
        (None, None) => anyhow::bail!("neither redis nor kafka is named"),
    }
}

fn stream(name: &str, config: &ForwardRedisConfig) -> anyhow::Result<RedisStreamSettings> {
    let mut access = store::access(&config.tls, "redis.tls")?;
    access.username = variable_of(name, "USERNAME").or_else(|| store::or_none(&config.username));
    access.password = variable_of(name, "PASSWORD").or_else(|| store::or_none(&config.password));
    access.sentinel_username = store::or_none(&config.sentinel_username);
    access.sentinel_password = store::or_none(&config.sentinel_password);
    Ok(RedisStreamSettings {
        redis: RedisTarget::parse(&config.url, access)?,
        stream: config.stream.clone(),
        length_max: config.length_max,
        replicas_min: config.replicas_min,
    })
}

/// `TOLLGATE_FORWARD_RISK_LAKE_PASSWORD` for the target `risk-lake`: flags and files would show it to more people.
fn variable_of(target: &str, what: &str) -> Option<String> {
    let target = target.to_ascii_uppercase().replace('-', "_");
    std::env::var(format!("TOLLGATE_FORWARD_{target}_{what}")).ok()
}
