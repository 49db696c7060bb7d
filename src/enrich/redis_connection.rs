//! One connection, to a server or to a cluster: questions in, replies in their order out.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Pipeline, RedisError, Value};
use tokio::time::timeout;

/// How many nodes of a cluster may stay silent before the connection is doubted.
const CLUSTER_PINGS_MAX: usize = 3;

/// A connection that many may use at once; clones share it.
#[derive(Clone)]
pub(super) enum RedisConnection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To each node of a cluster.
    Cluster(ClusterConnection),
}

/// What came back to one question.
pub(super) enum Reply {
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
pub(super) enum AskError {
    /// Not in time.
    TimedOut,
    /// The connection broke.
    Broken(RedisError),
}

impl Reply {
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
    pub(super) async fn ask(&mut self, questions: &Pipeline, wait: Duration) -> Result<Vec<Reply>, AskError> {
        match self {
            Self::Single(connection) => {
                let replies = connection.send_packed_commands(questions, 0, questions.len());
                let replies = timeout(wait, replies).await.map_err(|_| AskError::TimedOut)?;
                let reply = |value| match value {
                    Value::ServerError(error) => {
                        Reply::Error { code: error.code().to_owned(), said: error.to_string() }
                    }
                    value => Reply::Value(value),
                };
                Ok(replies.map_err(AskError::Broken)?.into_iter().map(reply).collect())
            }
            Self::Cluster(connection) => {
                let each = questions.cmd_iter().map(|question| {
                    let (mut connection, question) = (connection.clone(), question.clone());
                    async move {
                        match timeout(wait, connection.req_packed_command(&question)).await {
                            Ok(Ok(value)) => Reply::Value(value),
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

    /// Whether some may be out of reach while others answer.
    pub(super) const fn has_nodes(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), String> {
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
    pub(super) async fn is_master(&mut self) -> Result<bool, String> {
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
