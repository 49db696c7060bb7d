//! One connection, to a server or to a cluster: questions in, replies in their order out.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, RedisError, ServerError, Value};
use tokio::time::timeout;

/// How many nodes of a cluster may stay silent before the connection is doubted.
const CLUSTER_PINGS_MAX: usize = 3;

/// A connection that many may use at once; clones share it.
#[derive(Clone)]
pub(crate) enum RedisConnection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To each node of a cluster.
    Cluster(ClusterConnection),
}

/// What came back to one question.
pub(crate) enum Reply {
    /// An answer.
    Value(Value),
    /// An error that the server named.
    Error {
        /// Its first word.
        code: String,
        /// All of it.
        said: String,
    },
    /// The node that should answer cannot be reached, or is late.
    Lost,
}

/// Why nothing came back.
pub(crate) enum AskError {
    /// Not in time.
    TimedOut,
    /// The connection broke.
    Broken(RedisError),
}

impl Reply {
    fn of(value: Value) -> Self {
        match value {
            Value::ServerError(error) => Self::said(&error),
            value => Self::Value(value),
        }
    }

    /// As the server has put it.
    fn said(error: &ServerError) -> Self {
        let code = error.code().to_owned();
        let said = error.details().map_or_else(|| code.clone(), |details| format!("{code} {details}"));
        Self::Error { code, said }
    }

    fn error(error: &RedisError) -> Self {
        match error.code() {
            Some(code) => Self::Error { code: code.to_owned(), said: error.to_string() },
            None => Self::Lost,
        }
    }
}

impl RedisConnection {
    /// Sends all questions together, and waits for so long. To a server they are one write, and its replies come all or none. Of a
    /// cluster each node gets its own at the same time: what one does not answer in time is `Lost`, the others' replies stand.
    pub(crate) async fn ask(&mut self, questions: &Pipeline, wait: Duration) -> Result<Vec<Reply>, AskError> {
        match self {
            Self::Single(connection) => {
                let replies = connection.send_packed_commands(questions, 0, questions.len());
                let replies = timeout(wait, replies).await.map_err(|_| AskError::TimedOut)?;
                Ok(replies.map_err(AskError::Broken)?.into_iter().map(Reply::of).collect())
            }
            Self::Cluster(connection) => {
                let each = questions.cmd_iter().map(|question| {
                    let (mut connection, question) = (connection.clone(), question.clone());
                    async move {
                        match timeout(wait, connection.req_packed_command(&question)).await {
                            Ok(Ok(value)) => Reply::of(value),
                            Ok(Err(error)) => Reply::error(&error),
                            Err(_) => Reply::Lost,
                        }
                    }
                });
                let replies = join_all(each).await;
                let is_silent = replies.iter().all(|reply| matches!(reply, Reply::Lost));
                if is_silent { Err(AskError::TimedOut) } else { Ok(replies) }
            }
        }
    }

    /// Has one server carry out commands about one key in their order, all of them or none. `commands` is a transaction
    /// (`Pipeline::atomic`). A server that refuses one of them beforehand refuses all: then that is the only reply.
    pub(crate) async fn transact(
        &mut self,
        commands: &Pipeline,
        wait: Duration,
    ) -> Result<Vec<Reply>, AskError> {
        // Of all replies, only the last is one to the transaction as a whole.
        let (skipped, last) = (commands.len() + 1, 1);
        let replies = match self {
            Self::Single(connection) => {
                timeout(wait, connection.send_packed_commands(commands, skipped, last)).await
            }
            Self::Cluster(connection) => {
                timeout(wait, connection.req_packed_commands(commands, skipped, last)).await
            }
        };
        match replies.map_err(|_| AskError::TimedOut)? {
            Ok(replies) => Ok(match replies.into_iter().next() {
                Some(Value::Array(replies)) => replies.into_iter().map(Reply::of).collect(),
                Some(reply) => vec![Reply::of(reply)],
                None => Vec::new(),
            }),
            Err(error) => match error.clone().into_server_errors().as_deref() {
                Some([(_, first), ..]) => Ok(vec![Reply::said(first)]),
                _ => Err(AskError::Broken(error)),
            },
        }
    }

    /// Asks the server that has the key something that is not about it.
    pub(crate) async fn ask_node_of(
        &mut self,
        key: &str,
        question: Cmd,
        wait: Duration,
    ) -> Result<Reply, AskError> {
        let reply = match self {
            Self::Single(connection) => timeout(wait, connection.req_packed_command(&question)).await,
            Self::Cluster(connection) => {
                let node = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                timeout(wait, connection.route_command(question, RoutingInfo::SingleNode(node))).await
            }
        };
        match reply.map_err(|_| AskError::TimedOut)? {
            Ok(value) => Ok(Reply::of(value)),
            Err(error) => match Reply::error(&error) {
                Reply::Lost => Err(AskError::Broken(error)),
                reply => Ok(reply),
            },
        }
    }

    /// Whether some may be out of reach while others answer.
    pub(crate) const fn has_nodes(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&mut self) -> Result<(), String> {
        let ping = redis::cmd("PING");
        let answer = match self {
            Self::Single(connection) => ping.query_async::<Value>(connection).await,
            Self::Cluster(connection) => {
                // One node that is away is no reason to give up the others.
                let mut answer = Ok(Value::Nil);
                for _ in 0..CLUSTER_PINGS_MAX {
                    let anyone = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                    answer = connection.route_command(ping.clone(), anyone).await;
                    if answer.is_ok() {
                        break;
                    }
                }
                answer
            }
        };
        match answer {
            Ok(Value::SimpleString(pong)) if pong == "PONG" => Ok(()),
            // Any other answer would mean that replies no longer stand in the order of the requests.
            Ok(_) => Err("the answer to PING is not PONG".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the server is a master.
    pub(crate) async fn is_master(&mut self) -> Result<bool, String> {
        let Self::Single(connection) = self else { return Ok(true) };
        match redis::cmd("ROLE").query_async::<Value>(connection).await {
            Ok(Value::Array(role)) => {
                Ok(matches!(role.first(), Some(Value::BulkString(name)) if name == b"master"))
            }
            Ok(_) => Err("the answer to ROLE is none".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}
