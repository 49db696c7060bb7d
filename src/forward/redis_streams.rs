//! A stream of a Redis: one entry per record, in transactions of many.
//!
//! The id of an entry is its record's sequence (`stream_id`), so the server refuses what it has already; and `MULTI` makes a batch whole or
//! nothing, so that no entry is missing before one that stands: a server that is out of memory may refuse some commands of a plain
//! pipeline and take others. Before each batch the server is asked for the stream's last id. That says three things: of which log the
//! stream is; what of the batch an attempt before, or a process before a crash, has written already; and whether the server has lost
//! what it had, as in a failover before it was replicated.
//!
//! What may have been written already is read back and known by its hash. What is not found is put behind the newest entry, as is a late
//! record: it has been trimmed or deleted meanwhile, and comes twice; or the entry with its sequence is of a record that the log lost
//! in a power failure, and this one came in its place.

use std::collections::HashSet;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::runtime::Runtime;

use crate::audit::receipt::LogId;
use crate::enrich::redis_connection::{AskError, RedisConnection, Reply};
use crate::enrich::redis_link::CONNECT_TIMEOUT;
use crate::forward::message::Message;
use crate::forward::settings::RedisStreamSettings;
use crate::forward::sink::{Fate, SendError, Sink};
use crate::forward::stream_id::{LogTag, StreamId, hashes, last_generated};

/// Longest wait for the answer to a transaction or a question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for replicas.
const REPLICAS_TIMEOUT: Duration = Duration::from_secs(2);
/// Most messages of one transaction. After a failure it is halved, down to one, so that what is too much for a server gets through.
const TRANSACTION_MESSAGES_MAX: usize = 1_024;
/// Most entries that are read back to be compared. What lies beyond is written once more.
const COMPARED_ENTRIES_MAX: usize = 4_096;
/// Most attempts to put a late record behind the newest entry, while others are written.
const LATE_TRIES_MAX: usize = 50;

/// What a server says of an id that is not above the last one.
const ID_IS_TOO_SMALL: &str = "equal or smaller";
/// What stands in a stream's name for the id of the log.
const LOG_PLACEHOLDER: &str = "{log}";

/// A stream.
pub struct RedisStreams {
    settings: RedisStreamSettings,
    stream: String,
    tag: LogTag,
    message_bytes_max: usize,
    runtime: Runtime,
    connection: Option<RedisConnection>,
    attempts: usize,
    transaction_messages: usize,
}

impl std::fmt::Debug for RedisStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStreams").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl RedisStreams {
    /// The stream of that log; connects to nothing yet.
    pub fn new(settings: RedisStreamSettings, log: LogId, message_bytes_max: usize) -> std::io::Result<Self> {
        Ok(Self {
            stream: settings.stream.replace(LOG_PLACEHOLDER, &log.to_string()),
            settings,
            tag: LogTag::of(log),
            message_bytes_max,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            connection: None,
            attempts: 0,
            transaction_messages: TRANSACTION_MESSAGES_MAX,
        })
    }

    /// Does something with a connection that stands. After an outage, the next one is another.
    fn with_connection<T>(
        &mut self,
        work: impl AsyncFnOnce(&Writing<'_>, &mut RedisConnection) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let writing = Writing {
            settings: &self.settings,
            stream: &self.stream,
            tag: self.tag,
            transaction_messages: self.transaction_messages,
        };
        let (kept, attempt) = (self.connection.take(), self.attempts);
        let (result, connection) = self.runtime.block_on(async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => match writing.connect(attempt).await {
                    Ok(connection) => connection,
                    Err(error) => return (Err(error), None),
                },
            };
            (work(&writing, &mut connection).await, Some(connection))
        });
        if matches!(result, Err(SendError::Outage(_))) {
            self.attempts = self.attempts.wrapping_add(1);
            self.transaction_messages = (self.transaction_messages / 2).max(1);
        } else {
            self.connection = connection;
            self.transaction_messages = (self.transaction_messages * 2).min(TRANSACTION_MESSAGES_MAX);
        }
        result
    }

    /// Why the server need not be asked to take it.
    fn refusal(&self, message: &Message) -> Option<Fate> {
        let bytes = message.bytes();
        (bytes > self.message_bytes_max).then(|| {
            Fate::Refused(format!("{bytes} bytes, and message_bytes_max is {}", self.message_bytes_max))
        })
    }
}

impl Sink for RedisStreams {
    fn send(&mut self, after: u64, batch: &[Message]) -> Result<Vec<Fate>, SendError> {
        // First what is refused: that the stream has gone past a record does not mean that it has it.
        let mut fates: Vec<Option<Fate>> = batch.iter().map(|message| self.refusal(message)).collect();
        self.with_connection(async |writing, connection| {
            writing.write(connection, after, batch, &mut fates).await
        })?;
        Ok(fates.into_iter().map(|fate| fate.unwrap_or(Fate::Taken)).collect())
    }

    fn send_late(&mut self, message: &Message) -> Result<Fate, SendError> {
        if let Some(refused) = self.refusal(message) {
            return Ok(refused);
        }
        self.with_connection(async |writing, connection| writing.write_late(connection, message).await)
    }
}

/// What each step of an attempt needs.
struct Writing<'a> {
    settings: &'a RedisStreamSettings,
    stream: &'a str,
    tag: LogTag,
    transaction_messages: usize,
}

impl Writing<'_> {
    async fn connect(&self, attempt: usize) -> Result<RedisConnection, SendError> {
        let patience = 4 * CONNECT_TIMEOUT;
        match tokio::time::timeout(patience, self.settings.redis.connect(attempt, None)).await {
            Ok(Ok((connection, _))) => Ok(connection),
            Ok(Err(error)) => Err(SendError::Outage(error.to_string())),
            Err(_) => Err(SendError::Outage(format!("no connection in {} ms", patience.as_millis()))),
        }
    }

    /// Writes what is not refused; afterwards, a fate that is still none is `Taken`.
    async fn write(
        &self,
        connection: &mut RedisConnection,
        after: u64,
        batch: &[Message],
        fates: &mut [Option<Fate>],
    ) -> Result<(), SendError> {
        let mut last = self.last_id(connection).await?;
        let holds = last.map_or(0, |last| last.sequence);
        if holds < after {
            return Err(SendError::Behind { holds });
        }
        let perhaps = || batch.iter().filter(|message| message.sequence <= holds);
        let written = match (perhaps().next(), perhaps().next_back()) {
            (Some(first), Some(end)) => self.written(connection, first.sequence, end.sequence).await?,
            _ => HashSet::new(),
        };
        let mut entries = Vec::with_capacity(batch.len());
        for (message, fate) in batch.iter().zip(fates).filter(|(_, fate)| fate.is_none()) {
            if message.sequence > holds {
                entries.push((StreamId::new(message.sequence, self.tag), message));
            } else if written.contains(message.hash.to_string().as_bytes()) {
                *fate = Some(Fate::Repeated);
            } else {
                last = last.and_then(StreamId::next_late);
                entries.push((last.ok_or_else(too_many_late)?, message));
            }
        }
        for entries in entries.chunks(self.transaction_messages) {
            self.transact(connection, entries).await?;
        }
        self.wait_for_replicas(connection).await
    }

    async fn write_late(
        &self,
        connection: &mut RedisConnection,
        message: &Message,
    ) -> Result<Fate, SendError> {
        let mut result = Err(SendError::Outage("others write too fast".to_owned()));
        for _ in 0..LATE_TRIES_MAX {
            let id = match self.last_id(connection).await? {
                Some(last) => last.next_late().ok_or_else(too_many_late)?,
                None => StreamId::new(message.sequence, self.tag),
            };
            result = self.transact(connection, &[(id, message)]).await;
            // Something else than a record that was written in between.
            if !matches!(&result, Err(SendError::Outage(reason)) if reason.contains(ID_IS_TOO_SMALL)) {
                break;
            }
        }
        result?;
        self.wait_for_replicas(connection).await?;
        Ok(Fate::Taken)
    }

    /// The last id that the stream was given; none of a stream that is not there.
    async fn last_id(&self, connection: &mut RedisConnection) -> Result<Option<StreamId>, SendError> {
        let mut question = Cmd::new();
        question.arg("XINFO").arg("STREAM").arg(self.stream);
        match self.ask(connection, question).await? {
            Reply::Error { said, .. } if said.contains("no such key") => Ok(None),
            Reply::Value(answer) => match last_generated(&answer) {
                Some(last) if last.is_of(self.tag) => Ok(Some(last)),
                Some(last) => Err(SendError::Outage(format!(
                    "the stream {} is of another log, or others write to it (its last id is {last}); give this log a stream \
                     of its own",
                    self.stream
                ))),
                None => Err(SendError::Outage("the answer to XINFO STREAM is none".to_owned())),
            },
            reply => Err(refused(&reply)),
        }
    }

    /// The hashes of the records from `first` to `end` that stand in the stream.
    async fn written(
        &self,
        connection: &mut RedisConnection,
        first: u64,
        end: u64,
    ) -> Result<HashSet<Box<[u8]>>, SendError> {
        let mut question = Cmd::new();
        question.arg("XRANGE").arg(self.stream).arg(first).arg(end);
        question.arg("COUNT").arg(COMPARED_ENTRIES_MAX);
        let answer = self.ask(connection, question).await?;
        let Reply::Value(answer) = &answer else { return Err(refused(&answer)) };
        let Some(entries) = hashes(answer) else {
            return Err(SendError::Outage("the answer to XRANGE is none".to_owned()));
        };
        Ok(entries.into_iter().map(|(_, hash)| hash.into()).collect())
    }

    /// All entries or none.
    async fn transact(
        &self,
        connection: &mut RedisConnection,
        entries: &[(StreamId, &Message)],
    ) -> Result<(), SendError> {
        let mut pipeline = Pipeline::with_capacity(entries.len());
        pipeline.atomic();
        for (id, message) in entries {
            pipeline.add_command(self.entry(*id, message));
        }
        let replies = connection.transact(&pipeline, ANSWER_TIMEOUT).await.map_err(|error| outage(&error))?;
        // Also an id that is too small: somebody has written since the last id was asked for.
        match replies.iter().find(|reply| !matches!(reply, Reply::Value(Value::BulkString(_)))) {
            None if replies.len() == entries.len() => Ok(()),
            None => Err(SendError::Outage("an answer to another transaction".to_owned())),
            Some(reply) => Err(refused(reply)),
        }
    }

    fn entry(&self, id: StreamId, message: &Message) -> Cmd {
        let mut add = Cmd::with_capacity(20, message.bytes());
        add.arg("XADD").arg(self.stream);
        if self.settings.length_max > 0 {
            add.arg("MAXLEN").arg("~").arg(self.settings.length_max);
        }
        add.arg(id.to_string());
        add.arg("id").arg(&*message.id);
        add.arg("kind").arg(message.kind.name());
        add.arg("schema").arg(message.schema);
        add.arg("recorded_at").arg(message.recorded_at.to_string());
        add.arg("hash").arg(message.hash.to_string());
        add.arg("key").arg(message.key.to_string());
        add.arg("body").arg(&*message.body);
        add
    }

    /// Waits until enough replicas have all that this connection has seen, which is more than it has written.
    async fn wait_for_replicas(&self, connection: &mut RedisConnection) -> Result<(), SendError> {
        let wanted = self.settings.replicas_min;
        if wanted == 0 {
            return Ok(());
        }
        let mut wait = Cmd::new();
        let patience_ms = u64::try_from(REPLICAS_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        wait.arg("WAIT").arg(wanted).arg(patience_ms);
        let replies = connection.ask_node_of(self.stream, wait, ANSWER_TIMEOUT).await;
        match replies.map_err(|error| outage(&error))? {
            Reply::Value(Value::Int(have)) if have >= i64::from(wanted) => Ok(()),
            Reply::Value(Value::Int(have)) => {
                Err(SendError::Outage(format!("{have} replicas have it, and replicas_min is {wanted}")))
            }
            reply => Err(refused(&reply)),
        }
    }

    async fn ask(&self, connection: &mut RedisConnection, question: Cmd) -> Result<Reply, SendError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(question);
        let replies = connection.ask(&pipeline, ANSWER_TIMEOUT).await.map_err(|error| outage(&error))?;
        let reply = replies.into_iter().next();
        reply.ok_or_else(|| SendError::Outage("no answer".to_owned()))
    }
}

fn too_many_late() -> SendError {
    SendError::Outage("too many late records behind one entry; they go on behind the next".to_owned())
}

fn outage(error: &AskError) -> SendError {
    SendError::Outage(match error {
        AskError::TimedOut => format!("no answer in {} ms", ANSWER_TIMEOUT.as_millis()),
        AskError::Broken(error) => without_arguments(&error.to_string()),
    })
}

fn refused(reply: &Reply) -> SendError {
    SendError::Outage(match reply {
        Reply::Error { said, .. } => without_arguments(said),
        Reply::Lost => "a node of the cluster cannot be reached".to_owned(),
        Reply::Value(_) => "a reply that is none to its command".to_owned(),
    })
}

/// A server that does not know a command repeats the beginning of what came with it, which may be somebody's.
fn without_arguments(said: &str) -> String {
    said.split(", with args").next().unwrap_or_default().to_owned()
}
