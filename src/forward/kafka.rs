//! A topic of a Kafka, by librdkafka.
//!
//! The producer is idempotent: what librdkafka itself sends again, as after a broker was away, is not written twice and changes no order.
//! It waits for a broker without end, so a batch that was not acknowledged in time stays with it, and is waited for further when it comes
//! again. Gapless (`enable.gapless.guarantee`): when a broker refuses messages for good, nothing behind them is written. What was
//! not taken is then sent by a new producer, one message at a time, since brokers refuse batches and not messages: so the one at
//! fault is found, and the others keep their order.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use tracing::debug;

use crate::forward::message::Message;
use crate::forward::sink::{Fate, SendError, Sink};

/// How long one look for acknowledgements takes.
const POLL: Duration = Duration::from_millis(1);
/// How often it looks in one attempt: some seconds.
const POLLS_MAX: usize = 5_000;
/// What librdkafka holds at most, in KiB: more than a batch.
const QUEUE_KIB_MAX: &str = "65536";
/// How long it waits for more of a batch, in milliseconds.
const LINGER_MS: &str = "2";
/// What at-least-once and order rest on; config cannot choose it.
const FIXED: [(&str, &str); 5] = [
    ("enable.idempotence", "true"),
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"),
    ("queue.buffering.max.kbytes", QUEUE_KIB_MAX),
];
/// The same by other names, and what config says elsewhere.
const NOT_OPTIONS: [&str; 7] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "request.required.acks",
    "delivery.timeout.ms",
    "message.max.bytes",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
];

/// Which topic, and how it is reached.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// The topic. It should be there: brokers make missing ones with their own idea of partitions.
    pub topic: String,
    /// Further options of librdkafka.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaSettings {
    /// Without options: they hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KafkaSettings({} topic {})", self.brokers, self.topic)
    }
}

/// A topic.
pub struct KafkaSink {
    settings: KafkaSettings,
    config: ClientConfig,
    message_bytes_max: usize,
    producer: Option<BaseProducer<Acknowledgements>>,
    batch: Option<Batch>,
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What librdkafka says.
#[derive(Default)]
struct Acknowledgements {
    /// Place in the batch; and the error of what was not taken.
    said: Mutex<Vec<(usize, Option<KafkaError>)>>,
    /// The last trouble with brokers.
    trouble: Mutex<Option<String>>,
}

impl ClientContext for Acknowledgements {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        *self.trouble.lock() = Some(format!("{error}: {reason}"));
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        self.said.lock().push((place, error));
    }
}

/// The batch that is being sent, over several attempts if need be.
struct Batch {
    /// The first and the last id: which batch it is.
    ids: Option<(Box<str>, Box<str>)>,
    fates: Vec<Option<Fate>>,
    /// With the producer, and not acknowledged.
    on_the_way: Vec<bool>,
    /// Whether one message is sent at a time.
    is_apart: bool,
}

impl Batch {
    fn new(batch: &[Message], refusal: impl Fn(&Message) -> Option<Fate>) -> Self {
        Self {
            ids: ids(batch),
            fates: batch.iter().map(refusal).collect(),
            on_the_way: vec![false; batch.len()],
            is_apart: false,
        }
    }

    fn is_settled(&self) -> bool {
        self.fates.iter().all(Option::is_some)
    }

    fn is_on_the_way(&self) -> bool {
        self.on_the_way.contains(&true)
    }
}

fn ids(batch: &[Message]) -> Option<(Box<str>, Box<str>)> {
    Some((batch.first()?.id.clone(), batch.last()?.id.clone()))
}

impl KafkaSink {
    /// The topic; connects in the background. Fails when an option is unknown or not config's to choose.
    pub fn new(settings: KafkaSettings, message_bytes_max: usize) -> io::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("linger.ms", LINGER_MS).set("client.id", "tollgate");
        for (option, value) in &settings.options {
            if FIXED.iter().any(|(fixed, _)| fixed == option) || NOT_OPTIONS.contains(&&**option) {
                return Err(io::Error::other(format!("the option {option} is not for config to choose")));
            }
            config.set(option, value);
        }
        config.set("bootstrap.servers", &settings.brokers);
        config.set("message.max.bytes", message_bytes_max.to_string());
        for (option, value) in FIXED {
            config.set(option, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        let mut sink = Self { settings, config, message_bytes_max, producer: None, batch: None };
        // Options are looked at when a producer is made.
        sink.producer = Some(sink.new_producer().map_err(io::Error::other)?);
        Ok(sink)
    }

    fn new_producer(&self) -> Result<BaseProducer<Acknowledgements>, KafkaError> {
        self.config.create_with_context(Acknowledgements::default())
    }

    fn refusal(&self, message: &Message) -> Option<Fate> {
        let bytes = message.bytes();
        (bytes > self.message_bytes_max).then(|| {
            Fate::Refused(format!("{bytes} bytes, and message_bytes_max is {}", self.message_bytes_max))
        })
    }

    /// Looks and sends until each message has a fate.
    fn carry_on(&mut self, messages: &[Message], batch: &mut Batch) -> Result<(), SendError> {
        for _ in 0..POLLS_MAX {
            let producer = match self.producer.take() {
                Some(producer) => producer,
                None => self.new_producer().map_err(|error| SendError::Outage(error.to_string()))?,
            };
            let producer = self.producer.insert(producer);
            let mut failed = produce(producer, &self.settings.topic, messages, batch);
            producer.poll(POLL);
            let said = std::mem::take(&mut *producer.context().said.lock());
            failed.extend(take_over(said, batch));
            if batch.is_settled() {
                return Ok(());
            }
            if let Some((place, error)) = failed.into_iter().next() {
                self.give_up_producer(batch);
                self.judge(place, &error, batch)?;
            }
        }
        let trouble = self.producer.as_ref().and_then(|producer| producer.context().trouble.lock().take());
        let trouble = trouble.map_or(String::new(), |trouble| format!(": {trouble}"));
        Err(SendError::Outage(format!("no acknowledgement in some seconds{trouble}")))
    }

    /// After an error the producer takes nothing any more. What it still held may have been written: that comes twice.
    fn give_up_producer(&mut self, batch: &mut Batch) {
        if let Some(producer) = self.producer.take() {
            let context = std::sync::Arc::clone(producer.context());
            drop(producer);
            let said = std::mem::take(&mut *context.said.lock());
            take_over(said, batch);
        }
        batch.on_the_way.fill(false);
    }

    /// What an error says of the message: alone, it was at fault itself; among others, each is sent apart.
    fn judge(&self, place: usize, error: &KafkaError, batch: &mut Batch) -> Result<(), SendError> {
        if !is_refusal(error) {
            return Err(SendError::Outage(error.to_string()));
        }
        if batch.is_apart
            && let Some(fate) = batch.fates.get_mut(place)
        {
            *fate = Some(Fate::Refused(error.to_string()));
        }
        batch.is_apart = true;
        Ok(())
    }
}

/// Hands over what is not on its way; answers what librdkafka does not take.
fn produce(
    producer: &BaseProducer<Acknowledgements>,
    topic: &str,
    messages: &[Message],
    batch: &mut Batch,
) -> Vec<(usize, KafkaError)> {
    for (place, message) in messages.iter().enumerate() {
        if batch.is_apart && batch.is_on_the_way() {
            break;
        }
        if batch.on_the_way[place] || batch.fates[place].is_some() {
            continue;
        }
        let (key, schema) = (message.key.to_string(), message.schema.to_string());
        let (recorded_at, hash) = (message.recorded_at.to_string(), message.hash.to_string());
        let headers = [
            ("id", &*message.id),
            ("kind", message.kind.name()),
            ("schema", &schema),
            ("recorded_at", &recorded_at),
            ("hash", &hash),
        ];
        let headers = headers
            .into_iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let record = BaseRecord::with_opaque_to(topic, place)
            .key(&key)
            .payload(&message.body)
            .timestamp(message.recorded_at.unix_millis())
            .headers(headers);
        match producer.send(record) {
            Ok(()) => batch.on_the_way[place] = true,
            // There is room after some acknowledgements.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
            Err((error, _)) if is_refusal(&error) => {
                batch.fates[place] = Some(Fate::Refused(error.to_string()));
            }
            Err((error, _)) => return vec![(place, error)],
        }
    }
    Vec::new()
}

/// Notes what was taken; answers what was not.
fn take_over(said: Vec<(usize, Option<KafkaError>)>, batch: &mut Batch) -> Vec<(usize, KafkaError)> {
    let mut failed = Vec::new();
    for (place, error) in said {
        batch.on_the_way[place] = false;
        match error {
            None => batch.fates[place] = Some(Fate::Taken),
            Some(error) => failed.push((place, error)),
        }
    }
    failed
}

/// Whether it is the message that is at fault.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::InvalidTimestamp
        )
    )
}

impl Sink for KafkaSink {
    fn send(&mut self, _after: u64, messages: &[Message]) -> Result<Vec<Fate>, SendError> {
        let mut batch = match self.batch.take() {
            Some(batch) if batch.ids == ids(messages) && batch.fates.len() == messages.len() => batch,
            before => {
                if before.is_some_and(|batch| batch.is_on_the_way()) {
                    self.producer = None;
                }
                Batch::new(messages, |message| self.refusal(message))
            }
        };
        match self.carry_on(messages, &mut batch) {
            Ok(()) => Ok(batch.fates.into_iter().flatten().collect()),
            Err(error) => {
                self.batch = Some(batch);
                Err(error)
            }
        }
    }

    fn send_late(&mut self, message: &Message) -> Result<Fate, SendError> {
        let fates = self.send(0, std::slice::from_ref(message))?;
        Ok(fates.into_iter().next().unwrap_or(Fate::Taken))
    }
}
