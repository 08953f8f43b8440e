//! redis-rs: `ConnectionManager`, and [`RedisCluster`].

use std::{fmt, future::Future, sync::Arc, time::Duration};

use ::redis::{
    Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::SingleNodeRoutingInfo,
};
use bytes::Bytes;

use super::{
    super::{
        error::{CommandError, MalformedReply, TimedOut},
        wire::reply::Reply,
    },
    client::{Connect, ScriptClient, ScriptName},
};

/// Connections to the nodes of a cluster, for a [`RedisStore`](crate::store::redis::RedisStore).
///
/// A cluster client of redis-rs sends a command again when a connection breaks, by a setting that
/// cannot be changed once it is connected. This one never does.
#[derive(Clone)]
pub struct RedisCluster(ClusterConnection);

impl RedisCluster {
    /// Connects to the cluster that `builder` names, without retries, and with `timeout` for each
    /// connection and answer.
    ///
    /// # Errors
    ///
    /// No node can be reached, or the settings contradict each other.
    pub async fn connect(
        builder: ClusterClientBuilder,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let client =
            builder.retries(0).connection_timeout(timeout).response_timeout(timeout).build()?;
        client.get_async_connection().await.map(Self)
    }
}

impl fmt::Debug for RedisCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisCluster(..)")
    }
}

impl Connect for ConnectionManager {
    type Scripts = Self;

    fn scripts(self: Arc<Self>) -> Self {
        (*self).clone()
    }
}

impl ScriptClient for ConnectionManager {
    async fn call(
        &self,
        script: ScriptName,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> Result<Reply, CommandError> {
        let (mut connection, command) = (self.clone(), command(script, keys, arguments));
        within(timeout, connection.req_packed_command(&command)).await
    }
}

impl Connect for RedisCluster {
    type Scripts = Self;

    fn scripts(self: Arc<Self>) -> Self {
        (*self).clone()
    }
}

impl ScriptClient for RedisCluster {
    async fn call(
        &self,
        script: ScriptName,
        keys: &[Bytes],
        arguments: &[Bytes],
        timeout: Duration,
    ) -> Result<Reply, CommandError> {
        let (mut connection, command) = (self.0.clone(), command(script, keys, arguments));
        let answer = within(timeout, async {
            match connection.req_packed_command(&command).await {
                Err(error) => match asked_node(&error) {
                    // Without retries, redis-rs leaves this to its caller.
                    Some(node) => {
                        let asking = ::redis::pipe().cmd("ASKING").add_command(command).to_owned();
                        let mut answers = connection.route_pipeline(asking, 1, 1, node).await?;
                        answers.pop().ok_or(error)
                    }
                    None => Err(error),
                },
                answer => answer,
            }
        });
        answer.await
    }
}

/// Returns the node that imports the key's slot, if the error is an `ASK`.
fn asked_node(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
}

fn command(script: ScriptName, keys: &[Bytes], arguments: &[Bytes]) -> Cmd {
    let (name, text) = script.command();
    let mut command = ::redis::cmd(name);
    command.arg(text).arg(keys.len());
    for argument in keys.iter().chain(arguments) {
        command.arg(&**argument);
    }
    command
}

async fn within(
    timeout: Duration,
    answer: impl Future<Output = Result<Value, RedisError>>,
) -> Result<Reply, CommandError> {
    let answer = tokio::time::timeout(timeout, answer).await;
    let answer = answer.map_err(|_| CommandError::OutcomeUnknown(Box::new(TimedOut)))?;
    answer.and_then(Value::extract_error).map_err(command_error).and_then(reply)
}

fn reply(value: Value) -> Result<Reply, CommandError> {
    Ok(match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes.into()),
        Value::SimpleString(text) => Reply::Bytes(text.into()),
        Value::Array(items) => {
            Reply::Array(items.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        _ => return Err(CommandError::OutcomeUnknown(Box::new(MalformedReply))),
    })
}

fn command_error(error: RedisError) -> CommandError {
    match error.code() {
        Some(code) => CommandError::Server(code.to_owned(), Box::new(error)),
        None if error.is_connection_refusal()
            || error.kind() == ErrorKind::ClusterConnectionNotFound =>
        {
            CommandError::NotSent(Box::new(error))
        }
        None => CommandError::OutcomeUnknown(Box::new(error)),
    }
}
