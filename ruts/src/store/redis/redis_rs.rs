use std::{future::Future, sync::Arc, time::Duration};

use ::redis::{
    Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::SingleNodeRoutingInfo,
};
use bytes::Bytes;
use tokio::time::timeout;

use super::client::{Call, Connect, Failure, NoAnswer, Reply, Text};

/// Connections to the nodes of a cluster, for a [`RedisStore`](super::RedisStore).
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

impl std::fmt::Debug for RedisCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisCluster(..)")
    }
}

impl Connect for ConnectionManager {
    type Link = Self;

    fn link(self: Arc<Self>) -> Self {
        (*self).clone()
    }
}

impl Call for ConnectionManager {
    async fn call(
        &self,
        script: Text,
        keys: &[Bytes],
        arguments: &[Bytes],
        limit: Duration,
    ) -> Result<Reply, Failure> {
        let (mut connection, command) = (self.clone(), command(script, keys, arguments));
        within(limit, connection.req_packed_command(&command)).await
    }
}

impl Connect for RedisCluster {
    type Link = Self;

    fn link(self: Arc<Self>) -> Self {
        (*self).clone()
    }
}

impl Call for RedisCluster {
    async fn call(
        &self,
        script: Text,
        keys: &[Bytes],
        arguments: &[Bytes],
        limit: Duration,
    ) -> Result<Reply, Failure> {
        let (mut connection, command) = (self.0.clone(), command(script, keys, arguments));
        let answer = within(limit, async {
            match connection.req_packed_command(&command).await {
                Err(error) => match asked(&error) {
                    // Without retries, this is left to us.
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

/// The node that is getting the key's slot, if that is what the error says.
fn asked(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
}

fn command(script: Text, keys: &[Bytes], arguments: &[Bytes]) -> Cmd {
    let (name, text) = script.command();
    let mut command = ::redis::cmd(name);
    command.arg(text).arg(keys.len());
    for argument in keys.iter().chain(arguments) {
        command.arg(&**argument);
    }
    command
}

async fn within(
    limit: Duration,
    answer: impl Future<Output = Result<Value, RedisError>>,
) -> Result<Reply, Failure> {
    let answer = timeout(limit, answer).await;
    let answer = answer.map_err(|_| Failure::Lost(Box::new(NoAnswer)))?;
    answer.and_then(Value::extract_error).map_err(failure).and_then(reply)
}

fn reply(value: Value) -> Result<Reply, Failure> {
    Ok(match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes.into()),
        Value::SimpleString(text) => Reply::Bytes(text.into()),
        Value::Array(items) => {
            Reply::Array(items.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        _ => {
            let error = (ErrorKind::UnexpectedReturnType, "an answer that no script gives");
            return Err(Failure::Lost(Box::new(RedisError::from(error))));
        }
    })
}

fn failure(error: RedisError) -> Failure {
    match error.code() {
        Some(code) => Failure::Refused(code.to_owned(), Box::new(error)),
        None if error.is_connection_refusal()
            || error.kind() == ErrorKind::ClusterConnectionNotFound =>
        {
            Failure::Unsent(Box::new(error))
        }
        None => Failure::Lost(Box::new(error)),
    }
}
