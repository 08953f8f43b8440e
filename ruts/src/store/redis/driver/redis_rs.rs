//! The redis-rs driver: connects with a `Client`, a [`RedisCluster`] or a [`RedisSentinel`].
//!
//! Called by `connections`. The only file besides `channel` that knows redis-rs. Knows nothing
//! about sessions.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, ServerErrorKind, Value,
    aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection, SendError},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
    sentinel::SentinelClient,
};
use bytes::Bytes;
use tokio::sync::Mutex;

use super::{
    super::{
        error::{CommandError, MalformedReply, Source},
        wire::reply::Reply,
    },
    client::{Call, Command, Connect, Connection, Connector, ScriptName},
};

/// The nodes of a cluster, for a [`RedisStore`](crate::store::redis::RedisStore).
///
/// If a connection breaks, a redis-rs `ClusterClient` may send a command again. A store cannot read
/// this setting of the client. This type turns the retries off.
#[derive(Clone)]
pub struct RedisCluster(ClusterClient);

impl RedisCluster {
    /// Creates a client for the cluster of `builder`, without retries, and with `timeout` for each
    /// attempt to connect and for each answer. Sends nothing.
    ///
    /// # Errors
    ///
    /// Fails if the settings contradict each other.
    pub fn new(builder: ClusterClientBuilder, timeout: Duration) -> Result<Self, RedisError> {
        // Only with RESP3 does redis-rs notice that a connection has closed. It then opens a new
        // one.
        let builder = builder.retries(0).use_protocol(ProtocolVersion::RESP3);
        builder.connection_timeout(timeout).response_timeout(timeout).build().map(Self)
    }
}

impl fmt::Debug for RedisCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisCluster(..)")
    }
}

/// The leader that Sentinel names, for a [`RedisStore`](crate::store::redis::RedisStore).
///
/// The store asks Sentinel before each new connection. So it follows a failover.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use redis::{ConnectionAddr, sentinel::{SentinelClientBuilder, SentinelServerType}};
/// use ruts::store::redis::{RedisSentinel, RedisStore};
///
/// let sentinels = ["a", "b", "c"].map(|host| ConnectionAddr::Tcp(host.to_owned(), 26379));
/// let client = SentinelClientBuilder::new(sentinels, "shop", SentinelServerType::Master)?;
/// let store = RedisStore::builder(Arc::new(RedisSentinel::new(client.build()?))).build();
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisSentinel(Arc<Mutex<SentinelClient>>);

impl RedisSentinel {
    /// Wraps a client, which has to ask for the leader (`SentinelServerType::Master`). Sends
    /// nothing.
    pub fn new(client: SentinelClient) -> Self {
        Self(Arc::new(Mutex::new(client)))
    }
}

impl fmt::Debug for RedisSentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisSentinel(..)")
    }
}

impl Connect for RedisSentinel {
    type Connector = Self;

    fn connectors(&self) -> Vec<Self> {
        vec![self.clone()]
    }
}

impl Connector for RedisSentinel {
    type Connection = ServerConnection;

    async fn connect(&self) -> Result<ServerConnection, Source> {
        let client = self.0.lock().await.async_get_client().await?;
        Connector::connect(&client).await
    }
}

impl Connect for Client {
    type Connector = Self;

    fn connectors(&self) -> Vec<Self> {
        vec![self.clone()]
    }
}

impl Connector for Client {
    type Connection = ServerConnection;

    async fn connect(&self) -> Result<ServerConnection, Source> {
        let is_closed = Arc::new(AtomicBool::new(false));
        // redis-rs reports a closed connection only with RESP3.
        let info = self.get_connection_info();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Self::open(info.clone().set_redis_settings(settings))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(CloseFlag(Arc::clone(&is_closed)));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(ServerConnection { connection, is_closed })
    }
}

/// Records that a connection has closed. redis-rs drops this value together with the task of the
/// connection. So the end of that task also counts, for example when its runtime shuts down.
struct CloseFlag(Arc<AtomicBool>);

impl AsyncPushSender for CloseFlag {
    fn send(&self, push: PushInfo) -> Result<(), SendError> {
        self.0.fetch_or(push.kind == PushKind::Disconnection, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for CloseFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection to a server.
pub struct ServerConnection {
    connection: MultiplexedConnection,
    is_closed: Arc<AtomicBool>,
}

impl Connection for ServerConnection {
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    async fn call(&self, call: Call<'_>, _: Duration) -> Result<Reply, CommandError> {
        let mut connection = self.connection.clone();
        match call {
            Call::Script { name, keys, arguments } => {
                let command = script(name, keys, arguments);
                answer(connection.req_packed_command(&command).await)
            }
            Call::Commands { commands, .. } => {
                let pipeline = pipeline(commands);
                answers(connection.req_packed_commands(&pipeline, 0, commands.len()).await)
            }
        }
    }
}

impl Connect for RedisCluster {
    type Connector = Self;

    fn connectors(&self) -> Vec<Self> {
        vec![self.clone()]
    }
}

impl Connector for RedisCluster {
    type Connection = ClusterConnection;

    async fn connect(&self) -> Result<ClusterConnection, Source> {
        Ok(self.0.get_async_connection().await?)
    }
}

impl Connection for ClusterConnection {
    /// Returns `false`, because redis-rs itself reopens closed connections to single nodes.
    fn is_closed(&self) -> bool {
        false
    }

    async fn call(&self, call: Call<'_>, _: Duration) -> Result<Reply, CommandError> {
        let mut connection = self.clone();
        let command = match call {
            Call::Script { name, keys, arguments } => script(name, keys, arguments),
            Call::Commands { key, commands } => {
                let node = Route::with_key(key, SlotAddr::Master);
                let node = SingleNodeRoutingInfo::SpecificNode(node);
                let (pipeline, count) = (pipeline(commands), commands.len());
                return answers(connection.route_pipeline(pipeline, 0, count, node).await);
            }
        };
        answer(match connection.req_packed_command(&command).await {
            Err(error) => match asked_node(&error) {
                // Without retries, redis-rs leaves `ASK` redirections to its caller.
                Some(node) => {
                    let asking = ::redis::pipe().cmd("ASKING").add_command(command).to_owned();
                    let answers = connection.route_pipeline(asking, 1, 1, node).await;
                    answers.and_then(|mut answers| answers.pop().ok_or(error))
                }
                None => Err(error),
            },
            answer => answer,
        })
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

/// Returns the command that runs a script.
fn script(script: ScriptName, keys: &[Bytes], arguments: &[Bytes]) -> Cmd {
    let (name, text) = script.command();
    let mut command = ::redis::cmd(name);
    command.arg(text).arg(keys.len());
    for argument in keys.iter().chain(arguments) {
        command.arg(&**argument);
    }
    command
}

fn pipeline(commands: &[Command]) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for Command { name, arguments } in commands {
        let command = pipeline.cmd(name);
        for argument in arguments {
            command.arg(&**argument);
        }
    }
    pipeline
}

fn answers(answers: RedisResult<Vec<Value>>) -> Result<Reply, CommandError> {
    answer(answers.map(Value::Array))
}

fn answer(answer: RedisResult<Value>) -> Result<Reply, CommandError> {
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
        Value::Map(pairs) => {
            let items = pairs.into_iter().flat_map(|(key, value)| [key, value]);
            Reply::Array(items.map(reply).collect::<Result<_, _>>()?)
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
