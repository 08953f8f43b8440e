use std::time::Duration;

use ::redis::{
    Cmd, ErrorKind, RedisError, Value,
    aio::{ConnectionLike, ConnectionManager, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};
use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Call, Failure, NoAnswer, Reply, Text};

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

impl Call for ConnectionManager {
    async fn call(
        &self,
        script: Text,
        key: Bytes,
        arguments: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let deadline = Instant::now() + timeout;
        send(self.clone(), &command(script, &key, &arguments), timeout, deadline).await
    }
}

impl Call for MultiplexedConnection {
    async fn call(
        &self,
        script: Text,
        key: Bytes,
        arguments: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let deadline = Instant::now() + timeout;
        send(self.clone(), &command(script, &key, &arguments), timeout, deadline).await
    }
}

/// How long to wait for a cluster's new map of its slots.
const REMAPPING: Duration = Duration::from_millis(20);

impl Call for RedisCluster {
    async fn call(
        &self,
        script: Text,
        key: Bytes,
        arguments: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let deadline = Instant::now() + timeout;
        let command = command(script, &key, &arguments);
        loop {
            match send(self.0.clone(), &command, timeout, deadline).await {
                // The node refused, so nothing was done there: the client is fetching a new map.
                Err(Failure::Refused(code, _))
                    if matches!(&*code, "MOVED" | "ASK" | "TRYAGAIN")
                        && Instant::now() + REMAPPING < deadline =>
                {
                    sleep(REMAPPING).await;
                }
                answer => return answer,
            }
        }
    }
}

fn command(script: Text, key: &Bytes, arguments: &[Bytes]) -> Cmd {
    let (name, text) = script.command();
    let mut command = ::redis::cmd(name);
    command.arg(text).arg(1).arg(&**key);
    for argument in arguments {
        command.arg(&**argument);
    }
    command
}

async fn send(
    mut connection: impl ConnectionLike,
    command: &Cmd,
    timeout: Duration,
    deadline: Instant,
) -> Result<Reply, Failure> {
    match timeout_at(deadline, connection.req_packed_command(command)).await {
        Ok(Ok(value)) => value.extract_error().map_err(failure).and_then(reply),
        Ok(Err(error)) => Err(failure(error)),
        Err(_) => Err(Failure::Lost(Box::new(NoAnswer(timeout)))),
    }
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
