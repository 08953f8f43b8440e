//! The fred driver: connects with the settings of a `Client` or a `Pool`.
//!
//! Called by `connections`. The only file besides `channel` that knows fred. Knows nothing about
//! sessions.

use std::{future::ready, pin::pin, time::Duration};

use ::fred::{
    clients::{Client, Pool},
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand, Value,
        config::{Config, ConnectionConfig, Options},
    },
    util::redis_keyslot,
};
use bytes::Bytes;
use tokio::{sync::watch, task::AbortHandle};

use super::{
    super::{
        error::{CommandError, MalformedReply, Source},
        wire::reply::Reply,
    },
    client::{Call, Command, Connect, Connection, Connector, ScriptName},
};

impl Connect for Client {
    type Connector = FredConnector;

    fn connectors(&self) -> Vec<FredConnector> {
        vec![FredConnector(self.clone())]
    }
}

impl Connect for Pool {
    type Connector = FredConnector;

    fn connectors(&self) -> Vec<FredConnector> {
        self.clients().iter().cloned().map(FredConnector).collect()
    }
}

/// Opens connections with the settings of a client.
///
/// The store does not use the client itself. With a reconnect policy, the client itself would
/// decide when to give up a connection. Without a reconnect policy, its task would end with its
/// first connection.
pub struct FredConnector(Client);

impl Connector for FredConnector {
    type Connection = FredConnection;

    async fn connect(&self) -> Result<FredConnection, Source> {
        let config = Config { fail_fast: true, ..self.0.client_config() };
        let connection = without_delay(self.0.connection_config().clone());
        let client = Client::new(config, Some(self.0.perf_config()), Some(connection), None);
        let observer = client.clone();
        let mut connected = pin!(observer.wait_for_connect());
        // `connected` would miss an outcome before its first poll, so it is polled before
        // `connect`.
        tokio::select! {
            biased;
            _ = &mut connected => {}
            () = ready(()) => {}
        }
        let mut task = client.connect();
        // From here on, dropping this future aborts the task.
        let (alive, ended) = watch::channel(());
        let connection = FredConnection { client, task: task.abort_handle(), ended };
        tokio::select! {
            biased;
            connected = &mut connected => connected?,
            ended = &mut task => {
                ended??;
                return Err(Closed.into());
            }
        }
        tokio::spawn(async move {
            let _ = task.await;
            drop(alive);
        });
        Ok(connection)
    }
}

/// Turns `TCP_NODELAY` on, unless the settings choose a value. Without `TCP_NODELAY`, a second
/// command would wait until the server has acknowledged the first one.
fn without_delay(mut connection: ConnectionConfig) -> ConnectionConfig {
    connection.tcp.nodelay.get_or_insert(true);
    connection
}

/// A client without a reconnect policy. The task that drives it ends with its connection.
pub struct FredConnection {
    client: Client,
    task: AbortHandle,
    /// The sender is dropped when the task ends.
    ended: watch::Receiver<()>,
}

impl Drop for FredConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection for FredConnection {
    fn is_closed(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    async fn call(&self, call: Call<'_>, timeout: Duration) -> Result<Reply, CommandError> {
        match call {
            Call::Script { name, keys, arguments } => {
                let command = script(name, keys, arguments);
                self.send(command, ClusterHash::Offset(2), timeout).await
            }
            Call::Commands { key, commands: [first, second, third] } => {
                let slot = redis_keyslot(key);
                let send =
                    |command| self.send(arguments_of(command), ClusterHash::Custom(slot), timeout);
                // All three commands are in fred's queue before fred reads it, so they are sent
                // together.
                let replies = tokio::try_join!(biased; send(first), send(second), send(third));
                replies.map(|(first, second, third)| Reply::Array(vec![first, second, third]))
            }
        }
    }
}

impl FredConnection {
    async fn send(
        &self,
        (name, arguments): (&'static str, Vec<Value>),
        hash: ClusterHash,
        timeout: Duration,
    ) -> Result<Reply, CommandError> {
        // By default, fred waits for a reconnection and sends the command again, without a time
        // limit: `fail_fast` turns this off. `max_attempts` counts only redirections here. With
        // fewer than three attempts, a redirection ends the task of the client.
        let client = self.client.with_options(&Options {
            max_attempts: Some(3),
            max_redirections: Some(1),
            timeout: Some(timeout),
            fail_fast: true,
            cluster_hash: Some(hash.clone()),
            ..Options::default()
        });
        let command = CustomCommand::new_static(name, hash, false);
        let mut ended = self.ended.clone();
        tokio::select! {
            biased;
            answer = client.custom(command, arguments) => {
                answer.map_err(command_error).and_then(reply)
            }
            // After the end of the task, a command never gets an answer.
            _ = ended.changed() => Err(CommandError::OutcomeUnknown(Closed.into())),
        }
    }
}

/// Returns the command that runs a script, and its arguments.
///
/// fred's own `eval` ignores the options of `with_options`. All arguments are bytes, for speed:
/// fred checks that text is UTF-8, and computes a logarithm to write a number.
fn script(script: ScriptName, keys: &[Bytes], arguments: &[Bytes]) -> (&'static str, Vec<Value>) {
    let (name, text) = script.command();
    let count = match keys.len() {
        1 => Bytes::from_static(b"1"),
        count => count.to_string().into(),
    };
    let arguments = [Bytes::from_static(text.as_bytes()), count]
        .into_iter()
        .chain(keys.iter().cloned())
        .chain(arguments.iter().cloned())
        .map(Value::Bytes)
        .collect();
    (name, arguments)
}

fn arguments_of(command: &Command) -> (&'static str, Vec<Value>) {
    (command.name, command.arguments.iter().cloned().map(Value::Bytes).collect())
}

/// The connection has closed.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed")]
struct Closed;

fn reply(value: Value) -> Result<Reply, CommandError> {
    Ok(match value {
        Value::Null => Reply::Nil,
        Value::Integer(number) => Reply::Int(number),
        Value::Bytes(bytes) => Reply::Bytes(bytes),
        Value::String(text) => Reply::Bytes(text.into_inner()),
        Value::Array(items) => {
            Reply::Array(items.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        // Only RESP3 has maps.
        Value::Map(pairs) => {
            let items = pairs.inner().into_iter().flat_map(|(key, value)| [key.into(), value]);
            Reply::Array(items.map(reply).collect::<Result<_, _>>()?)
        }
        _ => return Err(CommandError::OutcomeUnknown(Box::new(MalformedReply))),
    })
}

const TOO_MANY_REDIRECTIONS: &str = "Too many redirections.";

/// Converts a fred error. The text of an error from the server begins with a code in capitals.
/// Nothing else distinguishes such an error from one of fred itself.
fn command_error(error: Error) -> CommandError {
    use ErrorKind::{Backpressure, Canceled, IO, Parse, Protocol, Routing, Timeout};
    let code: String =
        error.details().chars().take_while(|char| char.is_ascii_uppercase()).collect();
    match error.kind() {
        Backpressure => CommandError::NotSent(Box::new(error)),
        Routing if error.details() == TOO_MANY_REDIRECTIONS => {
            CommandError::Server("MOVED".to_owned(), Box::new(error))
        }
        IO | Timeout | Canceled | Parse | Protocol | Routing => {
            CommandError::OutcomeUnknown(Box::new(error))
        }
        _ if code.len() > 1 => CommandError::Server(code, Box::new(error)),
        _ => CommandError::OutcomeUnknown(Box::new(error)),
    }
}
